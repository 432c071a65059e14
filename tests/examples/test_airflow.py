"""The example for Airflow: its DAG, run by `airflow dags test` on a database of Airflow's own."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.surroundings import EXAMPLES, TABLES, attempt, logins, programs_of, use_up_quota
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, loaded

pytestmark = pytest.mark.slow
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)


class Airflow:
    """An Airflow with nothing but the example."""

    def __init__(self, home: Path) -> None:
        self.programs = programs_of("airflow")
        self.home = home
        self.call("db", "migrate")

    def call(self, *words: str, **variables: str) -> str:
        """A command of Airflow, and all that it printed."""
        known = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "RETRY_SECONDS": "1",
            "SCARF_ANALYTICS": "false",
        }
        done = attempt([self.programs / "airflow", *words], self.home, **known, **variables)
        self.code = done.returncode
        return done.stdout + done.stderr

    def run(self, org: SimulatedOrg, database: Path, moment: datetime, secret: str = "", **conf: bool) -> str:
        """One run of the DAG as if it were that moment; the connection and the variable come as Airflow takes them."""
        connection = {"conn_type": "generic", "host": org.url, "login": org.client_id}
        connection["password"] = secret or org.client_secret
        return self.call(
            "dags", "test", "salesforce", moment.isoformat(), "--conf", json.dumps(conf),
            AIRFLOW_CONN_SALESFORCE=json.dumps(connection),
            AIRFLOW_VAR_SALESFORCE_DESTINATION=f"duckdb:///{database}",
        )  # fmt: skip

    def query(self, sql: str, moment: datetime) -> list[Any]:
        """Rows of Airflow's database about the run of a moment."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as opened:
            of_run = "run_id IN (SELECT run_id FROM dag_run WHERE datetime(logical_date) = datetime(?))"
            return opened.execute(f"{sql} WHERE {of_run}", [moment.isoformat()]).fetchall()

    def tries(self, moment: datetime) -> dict[str, tuple[str, int]]:
        """The state of each task, and how often it was tried."""
        rows = self.query("SELECT rendered_map_index, state, try_number FROM task_instance", moment)
        return {name: (state, tries) for name, state, tries in rows}

    def returned(self, moment: datetime) -> list[dict[str, Any]]:
        """What the tasks pushed."""
        return [json.loads(text) for (text,) in self.query("SELECT value FROM xcom", moment)]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """One Airflow for all tests; each takes moments of its own."""
    return Airflow(tmp_path_factory.mktemp("airflow"))


def test_a_run_copies_everything_and_the_next_what_changed(airflow: Airflow, org: SimulatedOrg, database: Path) -> None:
    """The first reads all, whatever its interval; the next passes its interval, and its numbers are its XCom."""
    said = airflow.run(org, database, LATER, everything=True)
    assert airflow.code == 0, said
    assert airflow.tries(LATER) == dict.fromkeys(TABLES, ("success", 1))
    org.update("Account", org.table("Account").column("Id").to_pylist()[:3], {"Name": "New name"})
    org.clock.advance(60)
    said += airflow.run(org, database, LATER + timedelta(hours=1))
    for table, name in TABLES.items():
        assert_same(loaded(database, f"crm.{table}"), expected(org, name, deleted=True))
    pushed = airflow.returned(LATER + timedelta(hours=1))
    assert [each["rows_updated"] for each in pushed if each["rows_updated"]] == [3]
    assert [each["rows_in_source"] for each in pushed] == [each["rows_in_destination"] for each in pushed]
    assert org.client_secret not in said


def test_a_refused_login_fails_without_a_retry(airflow: Airflow, org: SimulatedOrg, database: Path) -> None:
    """Each task is tried once, and says why it failed."""
    moment = LATER + timedelta(days=1)
    said = airflow.run(org, database, moment, secret="wrong-secret")
    assert airflow.tries(moment) == dict.fromkeys(TABLES, ("failed", 1))
    assert logins(org) == len(TABLES)
    assert "AirflowFailException" in said
    assert "wrong-secret" not in said
    assert not database.exists()


def test_a_used_up_quota_is_tried_again_later(airflow: Airflow, org: SimulatedOrg, database: Path) -> None:
    """The task that met it succeeds at its second try, and the others are not touched."""
    moment = LATER + timedelta(days=2)
    use_up_quota(org)
    said = airflow.run(org, database, moment, everything=True)
    assert sorted(airflow.tries(moment).values()) == [("success", 1), ("success", 1), ("success", 2)], said
    for table, name in TABLES.items():
        assert_same(loaded(database, f"crm.{table}"), expected(org, name, deleted=True))
