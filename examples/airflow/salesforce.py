"""Copies Salesforce tables every hour, a task for each, into the database that a variable names.

ingestr runs in Airflow's own environment rather than as a command, because the type of its errors then tells a task
whether to try again. Airflow holds

- the connection `salesforce`: host (My Domain, such as `acme.my`), login (client id), password (client secret);
- the variable `salesforce_destination`: the URI of the database.

Each run passes its interval, so that clearing an old run reads that hour again. The first run should read everything,
or the tables begin with its hour: `airflow dags trigger salesforce --conf '{"everything": true}'`.

In Airflow 2, `dag` and `task` come from `airflow.decorators`, the exceptions from `airflow.exceptions`, the timetable
from `airflow.timetables.interval`, `Variable` from `airflow.models`; `BaseHook.get_connection` of `airflow.hooks.base`
is there what `Connection.get` is here.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from airflow.sdk import Connection, CronDataIntervalTimetable, Variable, dag, task
from airflow.sdk.exceptions import AirflowFailException

TABLES = ["account", "contact", "opportunity"]
# A wrong command or URI, and a refused login: they stay wrong, and repeating a login may lock the user out.
LASTING = (2, 3)


@task(
    # After 5, 10, 20, … minutes: some hours in all, as a quota takes to refill.
    retries=6,
    retry_delay=timedelta(seconds=float(os.environ.get("RETRY_SECONDS", "300"))),
    retry_exponential_backoff=2,
    max_retry_delay=timedelta(hours=2),
    multiple_outputs=False,
    # One process at a time may write to a file of DuckDB; PostgreSQL takes as many as there are tables.
    max_active_tis_per_dag=1,
    map_index_template="{{ task.op_kwargs['table'] }}",
)
def copy(
    table: str,
    params: dict[str, Any] | None = None,
    data_interval_start: datetime | None = None,
    data_interval_end: datetime | None = None,
) -> dict[str, Any]:
    """Copy one table; what is returned becomes the task's XCom."""
    # Here, as Airflow reads this file over and over.
    import ingestr  # noqa: PLC0415
    from ingestr.errors import IngestrError  # noqa: PLC0415

    salesforce = Connection.get("salesforce")
    login = {"client_id": salesforce.login, "client_secret": salesforce.password, "domain": salesforce.host}
    interval = {"interval_start": data_interval_start, "interval_end": data_interval_end}
    try:
        result = ingestr.ingest(
            "salesforce://?" + urlencode(login),
            table,
            Variable.get("salesforce_destination"),
            f"crm.{table}",
            # Only what changed, also of tables that are replaced else: a merge counts both sides at each run.
            incremental_key="last_timestamp",
            progress="log",
            **({} if (params or {}).get("everything") else interval),
        )
    except IngestrError as error:
        if error.exit_code in LASTING:
            raise AirflowFailException(f"{error} ({error.hint})") from error
        raise
    return {
        "rows_read": result.rows_read,
        "rows_inserted": result.rows_inserted,
        "rows_updated": result.rows_updated,
        "rows_deleted": result.rows_deleted,
        "rows_in_source": result.rows_in_source,
        "rows_in_destination": result.rows_in_destination,
        "notes": list(result.notes),
    }


# A plain cron text has no interval in Airflow 3: start and end would be the same moment.
@dag(
    schedule=CronDataIntervalTimetable("7 * * * *", timezone="UTC"),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"everything": False},
)
def salesforce() -> None:
    """One task for each table."""
    copy.expand(table=TABLES)


salesforce()
