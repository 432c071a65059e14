"""After any sequence of changes, faults and runs, the destination is what the org holds.

``INGESTR_EXAMPLES=500 pytest tests/e2e/test_model.py`` tries as many sequences as one likes.
"""

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestr.errors import IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, claim_huge, expected, ingest, loaded, table_names

EXAMPLES = int(os.environ.get("INGESTR_EXAMPLES", "12"))
NAME = "Account"

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
    "bulk": None,
}  # fmt: skip
LASTING = {
    "down": Fault(method="GET", path="/query|/results", times=None, status=503, headers=JSON_HEADERS, body="[]"),
    "wrong count": Fault(method="GET", path="/results", times=None, record_count_delta=1),
    "quota": Fault(method="GET", path="/describe", times=None, status=403, headers=JSON_HEADERS,
                   body='[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'),
}  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("change"), CHANGES, st.integers(0, 10**6)),
    st.tuples(st.just("run"), st.sampled_from(["", *PASSING]), st.just(0)),
    st.tuples(st.just("failing run"), st.sampled_from(list(LASTING)), st.just(0)),
)


def change(org: SimulatedOrg, kind: str, pick: int) -> None:
    """Do one thing to the org; ``pick`` chooses the rows."""
    live: list[str] = org.table(NAME).column("Id").to_pylist()
    everything = org.table(NAME, deleted=True)
    dead = sorted(set(everything.column("Id").to_pylist()) - set(live))
    some = [live[(pick + i) % len(live)] for i in range(1 + pick % 3)] if live else []
    late = org.clock.now() - timedelta(days=2)
    fields = {f for f in everything.column_names if f.startswith("Drift")}
    actions: dict[str, Any] = {
        "insert": lambda: org.insert(NAME, [{"Name": f"new {pick}", "Description": 'a\n"b",c'}]),
        "late": lambda: org.insert(NAME, [{"Name": "late"}], system_modstamp=org.clock.now() - timedelta(minutes=8)),
        "very late": lambda: org.insert(NAME, [{"Name": "very late", "CreatedDate": late}], system_modstamp=late),
        "update": lambda: org.update(NAME, some, {"Phone": str(pick)}),
        "delete": lambda: org.delete(NAME, some),
        "undelete": lambda: org.undelete(NAME, dead[:2]),
        "purge": lambda: org.purge(NAME, dead[:2]),
        "purge quietly": lambda: (org.delete(NAME, some), org.purge(NAME, some)),
        "add field": lambda: org.add_field(NAME, f"Drift{len(fields)}__c", "double", values=[1.5, None, float(pick)]),
        "hide field": lambda: org.hide_field(NAME, "Site"),
        "show field": lambda: org.hide_field(NAME, "Site", hidden=False),
        "merge": lambda: org.merge(NAME, some[0], some[1:2]) if len(some) > 1 else None,
        "wait": lambda: org.clock.advance(pick % 100_000),
    }
    actions[kind]()
    org.clock.advance(5)


def check(org: SimulatedOrg, database: Path) -> None:
    """Live rows are the same on both sides, with the same values in every visible field; the rest is marked."""
    truth = expected(org, NAME, deleted=False)
    rows = loaded(database)
    alive = rows.filter([not mark for mark in rows.column("is_deleted").to_pylist()])
    assert alive.column("id").to_pylist() == truth.column("id").to_pylist()
    for name in truth.column_names:
        assert alive.column(name).to_pylist() == truth.column(name).to_pylist(), name


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=2, max_size=12))
def test_any_sequence_ends_right(steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens in between: each good run leaves the truth, each failing one what was there."""
    with SimulatedOrg(rows=25, seed=5) as org, tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "sf.db"
        for what, which, pick in [*steps, ("run", "", 0)]:
            if what == "change":
                change(org, which, pick)
                continue
            org.clock.advance(60)
            before = loaded(database) if database.exists() and table_names(database) else None
            fault = (PASSING if what == "run" else LASTING).get(which)
            if which in ("bulk", "wrong count"):
                claim_huge(org, NAME)
            if fault is not None:
                org.faults.add(fault)
            try:
                ingest(org, "account", database)
            except IngestrError:
                assert what == "failing run"
                assert table_names(database) == [] if before is None else loaded(database).equals(before)
            else:
                check(org, database)
            org.faults.clear()
        assert org.live_jobs == []
        assert org.internal_errors == []
