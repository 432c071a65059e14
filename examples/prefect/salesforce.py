"""Copies Salesforce tables every hour, a task for each; those that fail do not stop the others.

The variables SOURCE_URI and DESTINATION_URI hold the URIs. `python salesforce.py` serves the flow.
"""

import os
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

import ingestr
from ingestr.errors import AuthenticationError, ConfigurationError

TABLES = ["account", "contact", "opportunity"]


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether to try again: a quota refills, but what is wrong with an option, a URI or the login stays wrong."""
    return not isinstance(state.result(raise_on_failure=False), (ConfigurationError, AuthenticationError))


@task(
    task_run_name="copy-{table}",
    retries=6,
    # 5, 10, 20, … minutes: some hours in all, as a quota takes to refill.
    retry_delay_seconds=exponential_backoff(float(os.environ.get("RETRY_SECONDS", "300"))),
    retry_condition_fn=may_pass,
    cache_policy=NO_CACHE,
)
def copy(table: str) -> dict[str, Any]:
    """Copy one table. Loads into one file of DuckDB take turns by themselves, as they run in one process."""
    result = ingestr.ingest(
        os.environ["SOURCE_URI"],
        table,
        os.environ["DESTINATION_URI"],
        f"crm.{table}",
        # Only what changed, also of tables that are replaced else: a merge counts both sides at each run.
        incremental_key="last_timestamp",
        progress="log",
    )
    return {
        "table": table,
        "rows_read": result.rows_read,
        "rows_inserted": result.rows_inserted,
        "rows_updated": result.rows_updated,
        "rows_deleted": result.rows_deleted,
        "rows_in_source": result.rows_in_source,
        "rows_in_destination": result.rows_in_destination,
    }


@flow(name="salesforce")
def salesforce(tables: list[str] = TABLES) -> list[State[dict[str, Any]]]:
    """Copy the tables; what the states of its tasks are, is that of the flow."""
    runs = copy.map(tables)
    runs.wait()
    states = [run.state for run in runs]
    done = [state.result() for state in states if state.is_completed()]
    create_table_artifact(done, key="salesforce", description="What the latest run did")
    return states


if __name__ == "__main__":
    # One run at a time, as only one process may write to a file of DuckDB.
    salesforce.serve(name="every-hour", cron="7 * * * *", limit=1)
