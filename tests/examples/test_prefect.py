"""The example for Prefect: its flow, run beside a temporary server of Prefect's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from examples.surroundings import EXAMPLES, TABLES, attempt, ends, logins, programs_of, use_up_quota
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, loaded

pytestmark = pytest.mark.slow

RUN = """
import json
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

with prefect_test_harness(server_startup_timeout=300):
    from salesforce import salesforce

    state = salesforce(return_state=True)
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs()
        artifacts = client.read_artifacts()
    print(json.dumps({
        "state": state.type.value,
        "tasks": {each.name: [each.state.type.value, each.run_count, each.state.message] for each in runs},
        "artifact": json.loads(artifacts[0].data) if artifacts else None,
    }))
"""


def flow(org: SimulatedOrg, folder: Path, database: Path, **changes: str) -> dict[str, Any]:
    """Run the flow, and tell what Prefect recorded."""
    known = {"PREFECT_HOME": str(folder / "prefect"), "RETRY_SECONDS": "0.1"}
    known |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    known["PYTHONPATH"] = f"{EXAMPLES.parent / 'src'}:{EXAMPLES / 'prefect'}"
    command: list[str | Path] = [programs_of("prefect") / "python", "-c", RUN]
    done = attempt(command, folder, **known, **ends(org, database, **changes))
    assert done.returncode == 0, done.stderr
    assert org.client_secret not in done.stdout + done.stderr
    recorded: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return recorded


def test_a_flow_copies_the_tables_side_by_side(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """A task a table, each at its first try; the artifact has the numbers."""
    done = flow(org, tmp_path, database)
    assert done["state"] == "COMPLETED", done
    assert {name: each[:2] for name, each in done["tasks"].items()} == {
        f"copy-{table}": ["COMPLETED", 1] for table in TABLES
    }
    numbers = {each["table"]: each for each in done["artifact"]}
    for table, name in TABLES.items():
        truth = expected(org, name, deleted=True)
        assert_same(loaded(database, f"crm.{table}"), truth)
        assert numbers[table]["rows_inserted"] == truth.num_rows
        assert numbers[table]["rows_in_source"] == numbers[table]["rows_in_destination"] == org.count(name)


def test_a_refused_login_fails_without_a_retry(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """Each task is tried once, and the flow fails with them."""
    done = flow(org, tmp_path, database, client_secret="wrong-secret")
    assert done["state"] == "FAILED"
    assert [each[:2] for each in done["tasks"].values()] == [["FAILED", 1]] * len(TABLES)
    assert logins(org) == len(TABLES)
    assert "AuthenticationError" in next(iter(done["tasks"].values()))[2]
    assert not database.exists()


def test_a_used_up_quota_is_tried_again_later(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """The task that met it succeeds at its second try, and the others are not touched."""
    use_up_quota(org)
    done = flow(org, tmp_path, database)
    assert done["state"] == "COMPLETED", done
    assert sorted(each[1] for each in done["tasks"].values()) == [1, 1, 2]
    for table, name in TABLES.items():
        assert_same(loaded(database, f"crm.{table}"), expected(org, name, deleted=True))
