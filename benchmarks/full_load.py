"""Loads the leads of a simulated org into DuckDB, with ingestr and with a script by hand, in turn.

Prints CPU seconds, wall seconds and peak memory of each whole process, and the ratios pair by pair. The machine's
speed drifts, so only the ratios of one run mean something.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Cost(NamedTuple):
    """What one process took."""

    cpu: float
    wall: float
    peak_mb: float


def measure(command: list[str], folder: Path) -> Cost:
    """Run a command in a folder and ask the operating system what it took."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    talk = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command[:3])} failed:\n{talk.decode()}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1024)


def main() -> None:
    """Parse, serve, measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    org = subprocess.Popen(
        [sys.executable, str(HERE / "org.py"), "--rows", str(asked.rows)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert org.stdout is not None
    uri = org.stdout.readline().strip()
    ours = [
        sys.executable, "-m", "ingestr", "ingest", "--source-uri", uri, "--source-table", "lead",
        "--dest-uri", "duckdb:///ours.db", "--dest-table", "public.lead",
    ]  # fmt: skip
    by_hand = [sys.executable, str(HERE / "by_hand.py"), uri, "by_hand.db"]
    costs: dict[str, list[Cost]] = {"ingestr": [], "by hand": []}
    try:
        # The first turn warms the org, which prepares its pages, and is not counted.
        for turn in range(asked.repeat + 1):
            for name, command in (("ingestr", ours), ("by hand", by_hand)):
                with tempfile.TemporaryDirectory() as folder:
                    cost = measure(command, Path(folder))
                if turn:
                    costs[name].append(cost)
    finally:
        org.communicate("")
    print(f"{asked.rows:,} leads, {asked.repeat} paired runs, medians; {os.cpu_count()} cores\n")
    print(f"{'':10}{'CPU s':>10}{'wall s':>10}{'peak MB':>10}")
    for name, runs in costs.items():
        print(f"{name:10}" + "".join(f"{statistics.median(column):>10.1f}" for column in zip(*runs, strict=True)))
    ratios = [
        [a / b for a, b in zip(x, y, strict=True)] for x, y in zip(costs["ingestr"], costs["by hand"], strict=True)
    ]
    print(f"{'ratio':10}" + "".join(f"{statistics.median(column):>10.2f}" for column in zip(*ratios, strict=True)))


if __name__ == "__main__":
    main()
