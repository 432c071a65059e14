"""Measures ingestr beside what one would use instead, on a simulated org, and prints tables with ratios.

python benchmarks/run.py                          what takes some minutes
python benchmarks/run.py --all --write            everything, kept in results.json and RESULTS.md
python benchmarks/run.py --cases leads --rows 50000 --ways ours floor --repeat 1
"""

import argparse
import shlex
import sys
from pathlib import Path

# The tests' servers are the benchmarks' too.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import report
from cases import CASES, measure
from results import Record, conditions, keep, load
from ways import WAYS


def main() -> None:
    """Parse, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rows", nargs="+", type=int, help="sizes, instead of each case's own")
    parser.add_argument("--all", action="store_true", help="also the sizes that take long: 10 million rows")
    parser.add_argument("--repeat", type=int, default=3, help="turns that count, after one that warms the org")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--write", action="store_true", help="keep the numbers and write RESULTS.md")
    parser.add_argument("--report", action="store_true", help="only write RESULTS.md from the numbers that are kept")
    asked = parser.parse_args()
    if asked.report:
        report.write(load())
        return
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    for name in asked.cases:
        case = CASES[name]
        for rows in asked.rows or (*case.sizes, *(case.more_sizes if asked.all else ())):
            known = conditions(command)
            record = Record(name, rows, known, measure(name, rows, asked.repeat, asked.ways))
            if not record.runs:
                continue
            print(report.table(record), flush=True)
            if asked.write:
                # After each case: what was measured is kept if the next one is broken off.
                keep(record)
                report.write(load())


if __name__ == "__main__":
    main()
