"""Knows what is measured: which object, how many rows, which ways, how often; not how a way works.

Every way gets a turn before the next turn begins, since the machine's speed drifts: what means something is the ratio
of two runs of one turn.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients import environment
from measure import Cost, Org, count_rows, run
from servers import Server, newest, running
from ways import WAYS, Command, available, command, old_program, one_by_one, ours, own_programs, pushed

CHANGES, DELETES = 10_000, 1_000
# Small pages: what several in flight can save is waiting, and with large ones two cores have more to do than to wait.
LATENCY, BYTES_PER_SECOND, NETWORK_PAGE_ROWS = 0.1, 20_000_000, 2_000
FULL, UNCHANGED, MERGE = "full load", "no change", f"{CHANGES:,} changes and {DELETES:,} deletes"
ONE_PAGE, EIGHT_PAGES = "one page at a time", "eight pages in flight"
TOGETHER, APART, TOGETHER_AGAIN = "one command", "one command a table", "one command again, nothing changed"
_LEAST_ROWS = 1_000


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        title: what it is, for people; `{rows}` is put in.
        object_name: API name of the object.
        table: what ingestr calls it.
        fields: how many fields Bulk reads of it.
        sizes: how many rows, at each of which it is measured.
        more_sizes: sizes for those who have the time.
        ways: what is measured side by side.
        reference: what the others are compared with.
        page_rows: rows of a page.
        objects: how many objects have these rows together; 0 for the one that is named.
    """

    title: str
    object_name: str = "Lead"
    table: str = "lead"
    fields: int = 54
    sizes: tuple[int, ...] = ()
    more_sizes: tuple[int, ...] = ()
    ways: tuple[str, ...] = ("ours", "floor", "script", "dlt")
    reference: str = "floor"
    page_rows: int = 25_000
    objects: int = 0

    def objects_of(self, rows: int) -> int:
        """How many objects share so many rows: fewer where there would be next to none for each."""
        return min(self.objects, rows // _LEAST_ROWS)


CASES = {
    "leads": Case(
        "Full load of {rows} leads, 54 fields",
        sizes=(200_000, 1_000_000), more_sizes=(10_000_000,), ways=tuple(WAYS),
    ),
    "narrow": Case(
        "A narrow object: {rows} rows, 8 fields", "Narrow__c", "custom:Narrow__c", 8, sizes=(1_000_000,),
    ),
    "wide": Case("A wide object: {rows} rows, 512 fields", "Wide__c", "custom:Wide__c", 512, sizes=(20_000,)),
    "text": Case(
        "Long texts: {rows} rows of 32 kB", "Text__c", "custom:Text__c", 10, sizes=(12_000,), page_rows=2_500,
    ),
    "merge": Case(
        "Changes merged into {rows} accounts, 56 fields", "Account", "account", 56,
        sizes=(1_000_000,), more_sizes=(5_000_000,), ways=("ours",), reference=FULL,
    ),
    "postgres": Case(
        "Full load of {rows} leads into PostgreSQL, 54 fields",
        sizes=(1_000_000,), ways=("postgres", "adbc"), reference="adbc",
    ),
    "postgres-merge": Case(
        "Changes merged into {rows} accounts in PostgreSQL, 56 fields", "Account", "account", 56,
        sizes=(1_000_000,), ways=("postgres",), reference=FULL,
    ),
    "network": Case(
        f"{LATENCY * 1000:.0f} ms of latency, {BYTES_PER_SECOND // 1_000_000} MB/s a connection: {{rows}} leads "
        f"in pages of {NETWORK_PAGE_ROWS:,}",
        sizes=(1_000_000,), ways=("ours",), reference=ONE_PAGE, page_rows=NETWORK_PAGE_ROWS,
    ),
    "org": Case(
        "A whole org, of 300 objects at the most: {rows} rows in all", "Part_000__c", "part_*", 25,
        sizes=(2_000_000,), ways=("ours",), reference=APART, objects=300,
    ),
    "small": Case("A small table: {rows} leads", sizes=(10,), ways=tuple(WAYS)),
    "help": Case("--help", sizes=(0,), ways=("ours", "old"), reference="ours"),
}  # fmt: skip


Measured = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Turns:
    """How one case is run at one size, and what came of it so far."""

    case: Case
    rows: int
    repeat: int
    ways: tuple[str, ...]
    measured: Measured

    def keep(self, label: str, turn: int, cost: Cost) -> None:
        """Keep a run; turn 0 is the one that warms the org."""
        say = f"  {label}, {f'turn {turn}' if turn else 'warming'}: {cost.cpu:.2f} s CPU, {cost.wall:.2f} s"
        print(f"{say}, {cost.peak_mb:.0f} MB, {cost.api_calls} calls, org {cost.org_cpu:.2f} s", file=sys.stderr)
        if turn:
            self.measured.setdefault(label, []).append({"turn": turn, **cost.rounded()})


def measure(name: str, rows: int, repeat: int, wanted: Sequence[str]) -> Measured:
    """Measure a case at a size and return the runs of each way."""
    case = CASES[name]
    cells = rows * case.fields
    ways = tuple(way for way in case.ways if way in wanted and cells <= WAYS[way].most_cells and available(way))
    turns = Turns(case, rows, repeat, ways, {})
    print(case.title.format(rows=f"{rows:,}"), file=sys.stderr)
    if name == "help":
        _ask_for_help(turns)
        return turns.measured
    with Org(case.object_name, rows, case.objects_of(rows)) as org:
        org.ask("settings", page_rows=case.page_rows)
        special = {"merge": _merge, "network": _network, "postgres": _push, "postgres-merge": _merge_in_postgres}
        special["org"] = _whole_org
        special.get(name, _load)(turns, org)
    return turns.measured


def _load(turns: Turns, org: Org) -> None:
    """Every way loads the whole object into a new database."""
    case, cells = turns.case, turns.rows * turns.case.fields
    for turn in range(turns.repeat + 1):
        for way in turns.ways:
            facts = WAYS[way]
            if (turn == 0 and not facts.prepared) or (turn > 1 and cells > facts.once_above):
                continue
            with _folder() as folder:
                load = command(way, org, case.table, case.object_name, folder)
                cost = org.measured(load.words, load.environment, folder)
                _check(turns, org, load, folder)
            turns.keep(way, turn, cost)


def _merge(turns: Turns, org: Org) -> None:
    """Full loads, then runs with nothing new, then runs with changes, into the last full load's table."""
    case = turns.case
    load = ours(org, case.table)
    with _folder() as folder:
        for turn in range(turns.repeat + 1):
            for old in folder.iterdir():
                old.unlink()
            turns.keep(FULL, turn, org.measured(load.words, load.environment, folder))
        _check(turns, org, load, folder)
        for turn in range(turns.repeat + 1):
            turns.keep(UNCHANGED, turn, org.measured(load.words, load.environment, folder))
        for turn in range(turns.repeat + 1):
            org.ask("change", name=case.object_name, updates=CHANGES, deletes=DELETES)
            turns.keep(MERGE, turn, org.measured(load.words, load.environment, folder))


def _push(turns: Turns, org: Org) -> None:
    """Both ways load the whole object into a new PostgreSQL database; CPU is the client's alone."""
    with running(newest()) as server, _folder() as folder:
        for turn in range(turns.repeat + 1):
            for way in turns.ways:
                uri = _new_database(server)
                load = ours(org, turns.case.table, uri=uri) if way == "postgres" else pushed(org, turns.case.table, uri)
                turns.keep(way, turn, org.measured(load.words, load.environment, folder))
                _check_postgres(turns, org, server)


def _merge_in_postgres(turns: Turns, org: Org) -> None:
    """The same as into DuckDB: a full load, runs with nothing new, and runs with changes."""
    with running(newest()) as server, _folder() as folder:
        for turn in range(turns.repeat + 1):
            load = ours(org, turns.case.table, uri=_new_database(server))
            turns.keep(FULL, turn, org.measured(load.words, load.environment, folder))
        _check_postgres(turns, org, server)
        for turn in range(turns.repeat + 1):
            turns.keep(UNCHANGED, turn, org.measured(load.words, load.environment, folder))
        for turn in range(turns.repeat + 1):
            org.ask("change", name=turns.case.object_name, updates=CHANGES, deletes=DELETES)
            turns.keep(MERGE, turn, org.measured(load.words, load.environment, folder))


def _new_database(server: Server) -> str:
    with server.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS data WITH (FORCE)")
        connection.execute("CREATE DATABASE data")
    return server.uri("data")


def _check_postgres(turns: Turns, org: Org, server: Server) -> None:
    with server.connect("data") as connection:
        found = connection.execute("SELECT count(*) FROM public.t").fetchone()
    if found is None or found[0] < org.ask("count", name=turns.case.object_name):
        sys.exit(f"too few rows were loaded: {found}")


def _network(turns: Turns, org: Org) -> None:
    """One page at a time against eight, after a turn without a network in between that prepares the pages."""
    case = turns.case
    for turn in range(turns.repeat + 1):
        for label, pages in ((ONE_PAGE, 1), (EIGHT_PAGES, 8)):
            if turn == 1:
                org.ask("settings", latency=LATENCY, bytes_per_second=BYTES_PER_SECOND)
            with _folder() as folder:
                load = ours(org, case.table, "--extract-parallelism", str(pages))
                turns.keep(label, turn, org.measured(load.words, load.environment, folder))
                _check(turns, org, load, folder)


def _whole_org(turns: Turns, org: Org) -> None:
    """One command copies all objects, twice; and, in one turn as it takes long, a command for each of them."""
    parts, schema = org.ask("parts"), "raw"
    together = ours(org, turns.case.table, dest_table=f"{schema}.{{table}}")
    for turn in range(turns.repeat + 1):
        with _folder() as folder:
            for label in (TOGETHER, TOGETHER_AGAIN):
                turns.keep(label, turn, org.measured(together.words, together.environment, folder))
            _check_parts(parts, folder)
        if turn == 1:
            with _folder() as folder:
                apart = one_by_one(org, list(parts), schema)
                turns.keep(APART, turn, org.measured(apart.words, apart.environment, folder))
                _check_parts(parts, folder)


def _check_parts(parts: dict[str, int], folder: Path) -> None:
    """Every row of every object has been loaded."""
    tables = [f"raw.{name.lower()}" for name in parts]
    have, want = count_rows(folder / "data.db", f"query_table({tables}, true)"), sum(parts.values())
    if have != want:
        sys.exit(f"{have:,} rows of {want:,} have been loaded")


def _ask_for_help(turns: Turns) -> None:
    """The command says what it can do."""
    programs = {"ours": (f"{own_programs()}/ingestr", environment())}
    if "old" in turns.ways:
        programs["old"] = (old_program(), environment())
    with _folder() as folder:
        for turn in range(turns.repeat + 1):
            for way in turns.ways:
                program, variables = programs[way]
                turns.keep(way, turn, run([program, "--help"], variables, folder))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ingestr-benchmark-") as folder:
        yield Path(folder)


def _check(turns: Turns, org: Org, load: Command, folder: Path) -> None:
    """A way that loads too few rows is not fast but wrong."""
    have, want = count_rows(folder / "data.db", load.table), org.ask("count", name=turns.case.object_name)
    if have < want:
        sys.exit(f"{load.words[0]} has loaded {have:,} rows of {want:,}")
