"""A process that is killed at any instant and started again ends with the right table, and leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestr.simulator import SimulatedOrg
from kill import Killer
from support import (
    THOROUGH,
    Database,
    Engine,
    assert_same,
    claim_huge,
    expected,
    ingest,
    loaded,
    source_uri,
    table_names,
)

SYSTEM_TABLES = ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]
MOST_INSTANTS = 200
# An instant is a second or so; neighbouring ones differ in little.
STEP = 1 if THOROUGH else 6


@pytest.fixture
def bulk_org() -> Iterator[SimulatedOrg]:
    """An org whose leads and accounts come through Bulk in three pages, with a job that is not ready at once."""
    with SimulatedOrg(rows=40, seed=3) as org:
        org.grow("Account", 40)
        org.page_rows = 15
        for name in ("Lead", "Account"):
            claim_huge(org, name, times=None)
        yield org
        assert org.internal_errors == []


def check(org: SimulatedOrg, table: str, database: Database, cache: Path) -> None:
    """The table is the truth, and nothing else is left: no staging, no pages, no job that anybody remembers."""
    truth = expected(org, table.capitalize(), deleted=False)
    rows = loaded(database)
    assert_same(rows.filter([not mark for mark in rows.column("is_deleted").to_pylist()]), truth)
    if table == "lead":
        assert rows.num_rows == truth.num_rows
    assert table_names(database) == SYSTEM_TABLES
    assert [file for file in cache.rglob("*") if file.is_file()] == []


@pytest.mark.thorough
@pytest.mark.parametrize(("table", "step"), [("lead", STEP), ("account", 5 * STEP)])
def test_killed_at_every_instant(
    bulk_org: SimulatedOrg, killer: Killer, tmp_path: Path, engine: Engine, table: str, step: int
) -> None:
    """Call, page, statement or commit of a first run: the next one is right, and uses what was downloaded."""
    resumed, step = 0, step if THOROUGH else step * engine.share
    for instant in range(0, MOST_INSTANTS, step):
        database, cache = engine.new(str(instant)), tmp_path / f"cache-{instant}"
        options: dict[str, Any] = {
            "source_uri": source_uri(bulk_org), "source_table": table, "dest_table": "public.t",
            "pipelines_dir": str(cache), "extract_parallelism": 1,
        }  # fmt: skip
        before = bulk_org.jobs_created
        killed = killer.run(database, instant, **options)
        noted = "_ingestr.reads" in table_names(database)
        if table == "lead":
            bulk_org.insert("Lead", [{"LastName": f"After {instant}", "Company": "the crash"}])
            bulk_org.clock.advance(5)
        ingest(bulk_org, table, database, pipelines_dir=str(cache))
        check(bulk_org, table, database, cache)
        resumed += killed and bulk_org.jobs_created == before + 1
        # A job whose id was not yet written anywhere when the process died is Salesforce's to remove.
        assert bulk_org.live_jobs == [] or (killed and not noted)
        for job in bulk_org.live_jobs:
            bulk_org.jobs.pop(job)
        if not killed:
            break
    else:
        pytest.fail(f"still killed at instant {MOST_INSTANTS}")
    assert instant > 20
    assert resumed >= 30 // step


@pytest.mark.thorough
def test_a_merge_killed_at_every_instant(killer: Killer, tmp_path: Path, engine: Engine) -> None:
    """The same for a run that brings a table up to date, by REST and with deletions without a trace."""
    with SimulatedOrg(rows=40, seed=4) as org:
        org.grow("Account", 40)
        database = engine.new("sf")
        options: dict[str, Any] = {
            "source_uri": source_uri(org), "source_table": "account", "dest_table": "public.t",
            "pipelines_dir": str(tmp_path / "cache"),
        }  # fmt: skip
        ingest(org, "account", database)
        org.clock.advance(3600)
        ids = org.table("Account").column("Id").to_pylist()
        org.update("Account", ids[:5], {"Phone": "1"})
        org.delete("Account", ids[5:8])
        org.delete("Account", ids[8:10])
        org.purge("Account", ids[8:10])
        org.add_field("Account", "Fresh__c", "double", values=[1.5, None])
        org.clock.advance(60)
        for instant in range(0, MOST_INSTANTS, STEP if THOROUGH else STEP * engine.share):
            copy = engine.copy(database, "copy")
            before = loaded(copy)
            killed = killer.run(copy, instant, **options)
            rows = loaded(copy)
            if killed and "fresh__c" not in rows.column_names:
                assert rows.equals(before)
            ingest(org, "account", copy, pipelines_dir=str(tmp_path / "cache"))
            check(org, "account", copy, tmp_path / "cache")
            if not killed:
                break
        else:
            pytest.fail(f"still killed at instant {MOST_INSTANTS}")
        assert instant > 20
