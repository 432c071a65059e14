"""Writes `RESULTS.md` from the measurements that are kept, with `notes.md` at its end; knows not how they are made."""

import operator
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from cases import APART, CASES, EIGHT_PAGES, FULL, MERGE, ONE_PAGE, TOGETHER, TOGETHER_AGAIN, UNCHANGED
from results import Record
from ways import WAYS

HERE = Path(__file__).parent
FILE, NOTES = HERE / "RESULTS.md", HERE / "notes.md"
_HEAD = """# Results

Written by `benchmarks/run.py`; `make bench` measures anew. Whole processes, measured by the operating system; medians
of the runs, ratios turn by turn. The machine's speed drifts, so only ratios of one turn mean something. CPU is the
process's and its children's, peak memory that of the largest of them, API calls are counted by the org. The org serves
from a process of its own on the same cores and has its pages ready; what it took of the cores is the column *org CPU*.
"""
_KNOWN = dict[tuple[str, int], Record]
# Runs that do not read every row.
_NOT_ALL_ROWS = frozenset({UNCHANGED, MERGE, TOGETHER_AGAIN})


def write(records: Sequence[Record]) -> None:
    """Write the page."""
    parts = [_HEAD, _conditions(records), _targets(records), *(table(each) for each in _ordered(records))]
    if NOTES.exists():
        parts.append(NOTES.read_text())
    FILE.write_text("\n".join(parts))


def table(record: Record) -> str:
    """Return one case at one size as a table."""
    case = CASES[record.case]
    reference = case.reference if case.reference in record.runs else next(iter(record.runs))
    head = [
        "",
        "runs",
        "CPU s",
        "wall s",
        "rows/s",
        "peak MB",
        "API calls",
        "org CPU s",
        "CPU ratio",
        "wall ratio",
        "memory ratio",
    ]
    lines = [
        f"## {case.title.format(rows=f'{record.rows:,}')}\n",
        f"Ratios are to *{_title(reference)}*.\n",
        _row(head),
    ]
    lines.append(_row(["---", *["---:"] * (len(head) - 1)]))
    for label, runs in record.runs.items():
        numbers = {name: record.median(label, name) or 0 for name in ("cpu", "wall", "peak_mb", "api_calls", "org_cpu")}
        speed = f"{record.rows / numbers['wall']:,.0f}" if record.rows and label not in _NOT_ALL_ROWS else ""
        ratios = [record.ratio(label, reference, name) for name in ("cpu", "wall", "peak_mb")]
        lines.append(
            _row([
                _title(label), str(len(runs)), f"{numbers['cpu']:.2f}",
                f"{numbers['wall']:.2f}", speed, f"{numbers['peak_mb']:,.0f}", f"{numbers['api_calls']:.0f}",
                f"{numbers['org_cpu']:.2f}", *("" if each is None else f"{each:.2f}" for each in ratios),
            ])
        )  # fmt: skip
    return "\n".join(lines) + f"\n\n{_share(record)}\n"


def _share(record: Record) -> str:
    """Return what the org took of the cores, as far as it can have held up those that it served."""
    cores = record.conditions["cores"]
    shares = [
        f"{median(each['org_cpu'] / each['wall'] / cores for each in runs):.1%} during *{_title(label)}*"
        for label, runs in record.runs.items()
        if any(each["api_calls"] for each in runs)
    ]
    return "" if not shares else f"The org took of the cores' time {', '.join(shares)}."


def _title(label: str) -> str:
    return WAYS[label].title if label in WAYS else label


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ordered(records: Sequence[Record]) -> list[Record]:
    order = list(CASES)
    return sorted(records, key=lambda each: (order.index(each.case), each.rows))


def _conditions(records: Sequence[Record]) -> str:
    """Return machines and versions, and under each the commands with the cases that they measured."""
    places: dict[str, dict[str, list[str]]] = {}
    for each in _ordered(records):
        known = each.conditions
        versions = ", ".join(f"{name} {number}" for name, number in known["versions"].items())
        commands = places.setdefault(f"{known['machine']}; {versions}; commit {known['commit']}", {})
        case = f"{each.case} {each.rows:,}" if each.rows else each.case
        commands.setdefault(known["command"], []).append(f"{case} ({known['load_before']})")
    lines = ["## Conditions\n", "In brackets the machine's load average when the case began.\n"]
    for place, commands in places.items():
        lines.append(f"- {place}")
        lines += [f"  - `{command}`: {', '.join(cases)}" for command, cases in commands.items()]
    return "\n".join(lines) + "\n"


class _Target(NamedTuple):
    """One promise: `value` finds the number in what was measured, None where it was not."""

    text: str
    value: Callable[[_KNOWN], float | None]
    holds: Callable[[float, float], bool]
    limit: float


def _of(case: str, rows: int, label: str, column: str) -> Callable[[_KNOWN], float | None]:
    return lambda known: known[case, rows].median(label, column) if (case, rows) in known else None


def _beside(case: str, rows: int, label: str, other: str, column: str) -> Callable[[_KNOWN], float | None]:
    return lambda known: known[case, rows].ratio(label, other, column) if (case, rows) in known else None


def _calls_a_table(label: str) -> Callable[[_KNOWN], float | None]:
    """All calls of a run over the whole org, those for the session among them, for each object."""
    calls = _of("org", _ORG_ROWS, label, "api_calls")
    return lambda known: None if (made := calls(known)) is None else made / CASES["org"].objects


def _memory_growth(known: _KNOWN) -> float | None:
    small, large = (_of("leads", rows, "ours", "peak_mb")(known) for rows in (1_000_000, 10_000_000))
    return large / small if small and large else None


_ORG_ROWS = 2_000_000
_TARGETS = [
    *(
        _Target(f"{rows:,} leads: {text}", _beside("leads", rows, "ours", "floor", column), operator.le, limit)
        for rows in (200_000, 1_000_000, 10_000_000)
        for text, column, limit in (("CPU ÷ floor", "cpu", 0.8), ("wall ÷ floor", "wall", 0.6))
    ),
    _Target("1,000,000 leads: peak MB", _of("leads", 1_000_000, "ours", "peak_mb"), operator.lt, 600),
    _Target("peak at 10,000,000 leads ÷ peak at 1,000,000", _memory_growth, operator.le, 1.1),
    _Target("1,000,000 leads: API calls", _of("leads", 1_000_000, "ours", "api_calls"), operator.le, 60),
    _Target("200,000 leads: CPU of ingestr 0.14.155 ÷ ours",
            _beside("leads", 200_000, "old", "ours", "cpu"), operator.ge, 15),
    *(
        _Target(f"changes into {rows:,} rows: wall ÷ full load",
                _beside("merge", rows, MERGE, FULL, "wall"), operator.lt, 0.1)
        for rows in (1_000_000, 5_000_000)
    ),
    _Target("1,000,000 leads into PostgreSQL: CPU ÷ pushing the batches with ADBC",
            _beside("postgres", 1_000_000, "postgres", "adbc", "cpu"), operator.le, 1.3),
    _Target("1,000,000 leads into PostgreSQL: peak MB",
            _of("postgres", 1_000_000, "postgres", "peak_mb"), operator.lt, 600),
    _Target("changes into 1,000,000 rows in PostgreSQL: wall ÷ full load",
            _beside("postgres-merge", 1_000_000, MERGE, FULL, "wall"), operator.lt, 0.1),
    _Target("no change: API calls", _of("merge", 1_000_000, UNCHANGED, "api_calls"), operator.le, 4),
    _Target("no change: wall s", _of("merge", 1_000_000, UNCHANGED, "wall"), operator.lt, 1),
    _Target("eight pages in flight: rows/s ÷ one page at a time",
            _beside("network", 1_000_000, ONE_PAGE, EIGHT_PAGES, "wall"), operator.ge, 4),
    _Target("10 rows: wall s", _of("small", 10, "ours", "wall"), operator.lt, 1.5),
    _Target("10 rows: API calls", _of("small", 10, "ours", "api_calls"), operator.le, 3),
    _Target("a whole org: wall ÷ one command a table",
            _beside("org", _ORG_ROWS, TOGETHER, APART, "wall"), operator.le, 0.33),
    _Target("a whole org: CPU ÷ one command a table",
            _beside("org", _ORG_ROWS, TOGETHER, APART, "cpu"), operator.le, 0.5),
    _Target("a whole org: peak MB", _of("org", _ORG_ROWS, TOGETHER, "peak_mb"), operator.lt, 900),
    _Target("a whole org: API calls a table", _calls_a_table(TOGETHER), operator.le, 4),
    _Target("a whole org, no change: API calls a table", _calls_a_table(TOGETHER_AGAIN), operator.le, 2),
    _Target("a whole org, no change: wall s", _of("org", _ORG_ROWS, TOGETHER_AGAIN, "wall"), operator.lt, 30),
    _Target("--help: wall s", _of("help", 0, "ours", "wall"), operator.lt, 0.2),
]  # fmt: skip
_SIGNS: dict[Callable[[float, float], bool], str] = {
    operator.le: "at most",
    operator.lt: "under",
    operator.ge: "at least",
}


def _targets(records: Sequence[Record]) -> str:
    known = {(each.case, each.rows): each for each in records}
    lines = ["## Targets\n", _row(["", "target", "measured", ""]), _row(["---", "---:", "---:", "---"])]
    for each in _TARGETS:
        value = each.value(known)
        said = (
            ["not measured", ""]
            if value is None
            else [f"{value:.2f}", "met" if each.holds(value, each.limit) else "**missed**"]
        )
        lines.append(_row([each.text, f"{_SIGNS[each.holds]} {each.limit:g}", *said]))
    return "\n".join(lines) + "\n"
