"""Whatever the strategy, a process that is killed at any statement leaves the table as it was, or as it should be."""

from pathlib import Path
from typing import Any

import pytest

from ingestr.simulator import SimulatedOrg
from kill import Killer
from support import THOROUGH, Database, Engine, ingest, loaded, source_uri, table_names

MOST_INSTANTS = 200
STEP = 1 if THOROUGH else 15


def rows(database: Database) -> list[str]:
    """The table without what differs from run to run."""
    return sorted(map(repr, loaded(database).to_pylist()))


@pytest.mark.thorough
@pytest.mark.parametrize("strategy", ["replace", "append", "delete+insert", "truncate+insert", "scd2"])
def test_a_strategy_killed_at_every_instant(killer: Killer, tmp_path: Path, engine: Engine, strategy: str) -> None:
    """The next run ends with the table that a run without a kill would have left, and nothing else is left."""
    with SimulatedOrg(rows=40, seed=4) as org:
        database, cache = engine.new("sf"), str(tmp_path / "cache")
        options: dict[str, Any] = {"incremental_strategy": strategy, "pipelines_dir": cache}
        ingest(org, "account", database, **options)
        org.clock.advance(3600)
        ids = org.table("Account").column("Id").to_pylist()
        org.update("Account", ids[:5], {"Phone": "1"})
        org.delete("Account", ids[5:8])
        org.clock.advance(1200)
        before = rows(database)
        copy = engine.copy(database, "copy")
        ingest(org, "account", copy, **options)
        wanted = rows(copy)
        for instant in range(0, MOST_INSTANTS, STEP if THOROUGH else STEP * engine.share):
            copy = engine.copy(database, "copy")
            named = {"source_uri": source_uri(org), "source_table": "account", "dest_table": "public.t"}
            killed = killer.run(copy, instant, **named, **options)
            assert rows(copy) == wanted or (killed and rows(copy) == before)
            ingest(org, "account", copy, **options)
            assert rows(copy) == wanted
            assert table_names(copy) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]
            if not killed:
                break
        else:
            pytest.fail(f"still killed at instant {MOST_INSTANTS}")
        assert instant > 15
