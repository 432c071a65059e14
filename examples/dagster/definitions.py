"""Salesforce tables as assets that are copied together with one login, and checked by the rows of both sides.

The variables SOURCE_URI and DESTINATION_URI hold the URIs. Try it: `dagster dev -f definitions.py`.
"""

import os
from collections.abc import Iterator

import dagster as dg

import ingestr
from ingestr.errors import IngestrError

TABLES = ["account", "contact", "opportunity"]
# A wrong option or URI, and a refused login: they stay wrong, and repeating a login may lock the user out.
LASTING = (2, 3)
# 5, 10, 20, … minutes: some hours in all, as a quota takes to refill.
RETRIES = dg.RetryPolicy(
    max_retries=6, delay=float(os.environ.get("RETRY_SECONDS", "300")), backoff=dg.Backoff.EXPONENTIAL
)


class Salesforce(dg.ConfigurableResource):
    """Both ends. The URIs hold secrets, so they are named here and read when a run begins."""

    source_uri: str
    destination_uri: str


@dg.multi_asset(
    specs=[dg.AssetSpec(table, group_name="salesforce", kinds={"salesforce"}) for table in TABLES],
    check_specs=[dg.AssetCheckSpec("same_rows_on_both_sides", asset=table) for table in TABLES],
    can_subset=True,
    retry_policy=RETRIES,
    # With a limit of 1 for the pool, no two runs write to one file of DuckDB.
    pool="salesforce",
)
def salesforce_tables(context: dg.AssetExecutionContext, salesforce: Salesforce) -> Iterator[dg.MaterializeResult]:
    """Copy the tables that the run selects; those that fail do not stop the others."""
    wanted = [key.to_user_string() for key in context.selected_asset_keys]
    try:
        session = ingestr.ingest_tables(
            salesforce.source_uri,
            wanted,
            salesforce.destination_uri,
            "crm.{table}",
            # Only what changed, also of tables that are replaced else: a merge counts both sides at each run.
            incremental_key="last_timestamp",
            progress="log",
        )
    except IngestrError as error:
        # What concerns all tables, such as the login.
        raise dg.Failure(f"{error} ({error.hint})", allow_retries=error.exit_code not in LASTING) from error
    for table in session.tables:
        if table.result is not None:
            yield materialized(table.source_table, table.result)
    wrong = [f"{table.source_table}: {table.error or table.reason}" for table in session.tables if table.result is None]
    if wrong:
        raise dg.Failure("; ".join(wrong), allow_retries=session.exit_code not in LASTING)


def materialized(table: str, result: ingestr.IngestResult) -> dg.MaterializeResult:
    """What Dagster shows of a table."""
    both = {"rows_in_source": result.rows_in_source, "rows_in_destination": result.rows_in_destination}
    return dg.MaterializeResult(
        asset_key=table,
        metadata={
            "dagster/row_count": result.rows_in_destination,
            "rows_read": result.rows_read,
            "rows_inserted": result.rows_inserted,
            "rows_updated": result.rows_updated,
            "rows_deleted": result.rows_deleted,
            "rows_quarantined": result.rows_quarantined,
            "seconds": result.seconds,
            "notes": list(result.notes),
            **both,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="same_rows_on_both_sides",
                asset_key=table,
                # Rows in quarantine are in Salesforce only. What could not be counted is a warning, no proof.
                passed=result.rows_in_source == result.rows_in_destination + result.rows_quarantined,
                severity=dg.AssetCheckSeverity.WARN if result.rows_in_source is None else dg.AssetCheckSeverity.ERROR,
                metadata=both,
            )
        ],
    )


every_hour = dg.ScheduleDefinition(
    name="salesforce_every_hour",
    target=dg.AssetSelection.groups("salesforce"),
    cron_schedule="7 * * * *",
)

defs = dg.Definitions(
    assets=[salesforce_tables],
    schedules=[every_hour],
    resources={
        "salesforce": Salesforce(source_uri=dg.EnvVar("SOURCE_URI"), destination_uri=dg.EnvVar("DESTINATION_URI"))
    },
)
