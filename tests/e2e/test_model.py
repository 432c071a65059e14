"""After any sequence of changes, faults, kills and runs, the destination is what the org holds.

``TEST_EXAMPLES=5000 pytest tests/e2e/test_model.py`` tries as many sequences as one likes.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from databases import new_database
from ingestr.errors import IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from kill import Killer
from support import (
    EXAMPLES,
    JSON_HEADERS,
    THOROUGH,
    Database,
    claim_huge,
    expected,
    ingest,
    loaded,
    source_uri,
    table_names,
)

# Several tests of a part each, so that they run side by side.
PARTS = 4
# Of each engine, so many of the sequences.
SHARES = [*(("DuckDB", part, 1) for part in range(PARTS)), ("PostgreSQL", PARTS, 1 if THOROUGH else 2)]
HIDDEN = {"Account": "Site", "Lead": "Industry"}

CHANGES = st.sampled_from(
    ["insert", "late", "very late", "update", "delete", "undelete", "purge", "purge quietly", "add field", "hide field",
     "show field", "merge", "wait"]
)  # fmt: skip
PASSING = {
    "busy": Fault(method="GET", path="/query", times=2, status=503, headers=JSON_HEADERS, body="[]"),
    "session": Fault(method="GET", path="/query", times=1, expire_sessions=True),
    "cut": Fault(method="GET", path="/query|/results", times=1, truncate=200),
    "no log": Fault(path="/deleted", times=1, status=400, headers=JSON_HEADERS,
                    body='[{"errorCode":"INVALID_REPLICATION_DATE"}]'),
    "too large": Fault(path="/query|/jobs/query$", times=1, status=400, headers=JSON_HEADERS,
                       body='[{"errorCode":"QUERY_TIMEOUT","message":"running for too long"}]'),
    "bulk": None,
}  # fmt: skip
LASTING = {
    "down": Fault(method="GET", path="/query|/results", times=None, status=503, headers=JSON_HEADERS, body="[]"),
    "wrong count": Fault(method="GET", path="/results", times=None, record_count_delta=1),
    "quota": Fault(method="GET", path="/results", skip=1, times=None, status=403, headers=JSON_HEADERS,
                   body='[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'),
}  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("change"), CHANGES, st.integers(0, 10**6)),
    st.tuples(st.just("run"), st.sampled_from(["", *PASSING]), st.just(0)),
    st.tuples(st.just("failing run"), st.sampled_from(list(LASTING)), st.just(0)),
    st.tuples(st.just("killed run"), st.sampled_from(["", "bulk"]), st.integers(0, 90)),
)


def change(org: SimulatedOrg, name: str, kind: str, pick: int) -> None:
    """Do one thing to the org; ``pick`` chooses the rows."""
    live: list[str] = org.table(name).column("Id").to_pylist()
    everything = org.table(name, deleted=True)
    dead = sorted(set(everything.column("Id").to_pylist()) - set(live))
    some = [live[(pick + i) % len(live)] for i in range(1 + pick % 3)] if live else []
    late = org.clock.now() - timedelta(days=2)
    fields = {f for f in everything.column_names if f.startswith("Drift")}
    row = {"LastName": "new", "Company": f"new {pick}"} if name == "Lead" else {"Name": f"new {pick}"}
    long_ago = {**row, "CreatedDate": late}
    actions: dict[str, Any] = {
        "insert": lambda: org.insert(name, [{**row, "Description": 'a\n"b",c'}]),
        "late": lambda: org.insert(name, [row], system_modstamp=org.clock.now() - timedelta(minutes=8)),
        "very late": lambda: org.insert(name, [long_ago], system_modstamp=late),
        "update": lambda: org.update(name, some, {"Phone": str(pick)}),
        "delete": lambda: org.delete(name, some),
        "undelete": lambda: org.undelete(name, dead[:2]),
        "purge": lambda: org.purge(name, dead[:2]),
        "purge quietly": lambda: (org.delete(name, some), org.purge(name, some)),
        "add field": lambda: org.add_field(name, f"Drift{len(fields)}__c", "double", values=[1.5, None, float(pick)]),
        "hide field": lambda: org.hide_field(name, HIDDEN[name]),
        "show field": lambda: org.hide_field(name, HIDDEN[name], hidden=False),
        "merge": lambda: org.merge(name, some[0], some[1:2]) if len(some) > 1 else None,
        "wait": lambda: org.clock.advance(pick % 100_000),
    }
    actions[kind]()
    org.clock.advance(5)


def differs(org: SimulatedOrg, name: str, database: Database) -> str | None:
    """What of the table is not as the org: live rows have the same values, others are marked, or gone from a copy."""
    truth = expected(org, name, deleted=False)
    rows = loaded(database)
    alive = rows.filter([not mark for mark in rows.column("is_deleted").to_pylist()])
    if name == "Lead" and alive.num_rows != rows.num_rows:
        return "a table that is replaced holds deleted rows"
    if alive.column("id").to_pylist() != truth.column("id").to_pylist():
        return "other rows"
    return next((c for c in truth.column_names if alive.column(c).to_pylist() != truth.column(c).to_pylist()), None)


def unchanged(before: Any, database: Database) -> bool:
    """Whether the target is what it was."""
    if before is None:
        return "public.t" not in table_names(database)
    return bool(loaded(database).equals(before))


@pytest.mark.thorough
@pytest.mark.parametrize(("engine", "part", "share"), SHARES)
def test_any_sequence_ends_right(
    killer: Killer, request: pytest.FixtureRequest, engine: str, part: int, share: int, tell: Callable[[str], None]
) -> None:
    """Whatever happens in between: each good run leaves the truth, each failing one what was there."""
    number = -(-EXAMPLES // PARTS // share)

    @seed(part)
    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(["Account", "Lead"]), st.lists(STEPS, min_size=2, max_size=9))
    def try_sequence(name: str, steps: list[tuple[str, str, int]]) -> None:
        with ExitStack() as stack:
            org = stack.enter_context(SimulatedOrg(rows=25, seed=5))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database: Database = Path(folder, "sf.db")
            if engine == "PostgreSQL":
                database = stack.enter_context(new_database(request.getfixturevalue("postgres_server")))
            org.page_rows = 10
            for step in [*steps, ("run", "", 0)]:
                take(org, name, database, str(Path(folder, "cache")), step, killer)
            assert org.internal_errors == []
            assert [file for file in Path(folder, "cache").rglob("*") if file.is_file()] == []

    try_sequence()
    tell(f"{number} sequences of changes, faults, kills and runs")


def take(
    org: SimulatedOrg, name: str, database: Database, cache: str, step: tuple[str, str, int], killer: Killer
) -> None:
    """Take one step, and check what it leaves."""
    what, which, pick = step
    if what == "change":
        change(org, name, which, pick)
        return
    org.clock.advance(60)
    before = loaded(database) if "public.t" in table_names(database) else None
    if which in ("bulk", "wrong count", "quota"):
        claim_huge(org, name)
    if (fault := (PASSING | LASTING).get(which)) is not None:
        org.faults.add(fault)
    if what == "killed run":
        options = {"source_uri": source_uri(org), "source_table": name.lower(), "dest_table": "public.t"}
        killer.run(database, pick, pipelines_dir=cache, allow_mass_delete=True, **options)
        assert unchanged(before, database) or differs(org, name, database) is None
    else:
        try:
            # A few changes in a row may take most rows of so small a table.
            ingest(org, name.lower(), database, pipelines_dir=cache, allow_mass_delete=True)
        except IngestrError:
            assert what == "failing run"
            assert unchanged(before, database)
        else:
            assert differs(org, name, database) is None
            assert "_ingestr.reads" not in table_names(database)
    org.faults.clear()
