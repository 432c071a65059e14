"""The example for Dagster: its assets, materialized in a process of Dagster's own environment."""

import json
from pathlib import Path
from typing import Any

import pytest

from examples.surroundings import EXAMPLES, TABLES, attempt, ends, logins, programs_of, use_up_quota
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, loaded

pytestmark = pytest.mark.slow

MATERIALIZE = """
import json, sys
import dagster as dg
from definitions import defs, salesforce_tables

dg.Definitions.validate_loadable(defs)
wanted = sys.argv[1].split(",") if sys.argv[1] else None
with dg.DagsterInstance.ephemeral() as instance:
    done = dg.materialize(
        [salesforce_tables], selection=wanted, resources=defs.resources, instance=instance, raise_on_error=False
    )
print(json.dumps({
    "success": done.success,
    "events": [each.event_type_value for each in done.all_events],
    "failures": [each.event_specific_data.error_display_string for each in done.get_step_failure_events()],
    "tables": {
        each.asset_key.to_user_string(): {name: value.value for name, value in each.materialization.metadata.items()}
        for each in done.get_asset_materialization_events()
    },
    "checks": {each.asset_key.to_user_string(): each.passed for each in done.get_asset_check_evaluations()},
}))
"""


def materialize(org: SimulatedOrg, folder: Path, database: Path, *tables: str, **changes: str) -> dict[str, Any]:
    """Materialize assets, all of them where none is named, and tell what Dagster recorded."""
    command: list[str | Path] = [programs_of("dagster") / "python", "-c", MATERIALIZE, ",".join(tables)]
    known = {"DAGSTER_HOME": str(folder), "DAGSTER_DISABLE_TELEMETRY": "true", "RETRY_SECONDS": "0.1"}
    known["PYTHONPATH"] = f"{EXAMPLES.parent / 'src'}:{EXAMPLES / 'dagster'}"
    done = attempt(command, folder, **known, **ends(org, database, **changes))
    assert done.returncode == 0, done.stderr
    assert org.client_secret not in done.stdout + done.stderr
    recorded: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return recorded


def test_assets_carry_the_numbers_and_the_check(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """Every table has its rows, its numbers and a check of both sides; one alone can be materialized again."""
    first = materialize(org, tmp_path, database)
    assert first["success"], first["failures"]
    for table, name in TABLES.items():
        truth = expected(org, name, deleted=True)
        assert_same(loaded(database, f"crm.{table}"), truth)
        numbers = first["tables"][table]
        assert (numbers["rows_read"], numbers["rows_inserted"]) == (truth.num_rows, truth.num_rows)
        assert numbers["rows_in_source"] == numbers["dagster/row_count"] == org.count(name)
    assert first["checks"] == dict.fromkeys(TABLES, True)
    org.insert("Account", [{"Name": "New"}])
    org.clock.advance(60)
    second = materialize(org, tmp_path, database, "account")
    assert list(second["tables"]) == ["account"]
    assert second["tables"]["account"]["rows_inserted"] == 1
    assert_same(loaded(database, "crm.account"), expected(org, "Account", deleted=True))


def test_a_refused_login_fails_without_a_retry(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """The step fails at once and says why."""
    done = materialize(org, tmp_path, database, client_secret="wrong-secret")
    assert not done["success"]
    assert (logins(org), done["events"].count("STEP_UP_FOR_RETRY")) == (1, 0)
    assert "refused" in done["failures"][0]
    assert not database.exists()


def test_a_used_up_quota_is_tried_again_later(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """The tables that were copied stay, and the step's next try brings the other."""
    use_up_quota(org)
    done = materialize(org, tmp_path, database)
    assert done["success"], done["failures"]
    assert done["events"].count("STEP_UP_FOR_RETRY") == 1
    assert done["checks"] == dict.fromkeys(TABLES, True)
    for table, name in TABLES.items():
        assert_same(loaded(database, f"crm.{table}"), expected(org, name, deleted=True))
