"""The Python interface: the same names and defaults as the command line."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

from ingestr.core.clock import SystemClock
from ingestr.core.stream import RecordStream
from ingestr.errors import IngestrError
from ingestr.options import IngestOptions, ReadOptions, make_options
from ingestr.progress import open_progress
from ingestr.progress_many import open_session_progress
from ingestr.result import IngestResult, SessionResult
from ingestr.run import many, pipeline
from ingestr.run.preview import Preview
from ingestr.table_list import make_session_options

__all__ = ["IngestResult", "Preview", "RecordStream", "SessionResult", "ingest", "ingest_tables", "plan", "read"]


def ingest(
    source_uri: str,
    source_table: str,
    dest_uri: str,
    dest_table: str | None = None,
    *,
    full_refresh: bool = False,
    interval_start: str | date | None = None,
    interval_end: str | date | None = None,
    lag: str | timedelta = "10m",
    incremental_key: str | None = None,
    incremental_strategy: str | None = None,
    incremental_predicate: str | None = None,
    primary_key: Sequence[str] = (),
    sql_exclude_columns: Sequence[str] = (),
    columns: Sequence[str] = (),
    no_inference: bool = False,
    numbers: str = "double",
    mask: Sequence[str] = (),
    mask_key: str | None = None,
    trim_whitespace: bool = False,
    sql_limit: int | None = None,
    page_size: int = 25_000,
    extract_parallelism: int = 5,
    schema_naming: str = "auto",
    no_load_timestamp: bool = False,
    deletes: str = "soft",
    refresh_formulas: str | bool = "auto",
    with_metadata: bool = False,
    schema_contract: str = "evolve",
    quarantine_limit: int = 100,
    allow_mass_delete: bool = False,
    api_budget: str | None = None,
    staging_dataset: str | None = None,
    pipelines_dir: str | None = None,
    progress: str = "interactive",
    debug: bool = False,
    yes: bool = False,
) -> IngestResult:
    """Copy one Salesforce table into a database; the target changes in one transaction at the end, or not at all.

    Args:
        source_uri: ``salesforce://?…``; the documentation lists the logins.
        source_table: a documented name, ``custom:<API name>``, or any object's name.
        dest_uri: ``duckdb:///file.db``; ``duckdb:///:memory:`` is the database behind ``duckdb.sql``.
        dest_table: ``schema.table`` or ``catalog.schema.table``; the source table's name if None.
        full_refresh: read everything and replace the table, whatever its strategy; an interval is ignored then.
        interval_start: first moment to read, inclusive.
        interval_end: last moment to read, inclusive; a date alone means its whole day.
        lag: how long after the time that they carry rows may become visible; windows overlap by so much.
        incremental_key: a date or datetime field; makes the load a merge over windows of that field.
        incremental_strategy: ``replace``, ``append``, ``merge``, ``delete+insert``, ``truncate+insert`` or ``scd2``;
            the table's own if ``none`` or None.
        incremental_predicate: a condition in SQL on the target's columns: the rows that a merge may change.
        primary_key: columns that identify a row; the Id if empty.
        sql_exclude_columns: columns that are not even downloaded.
        columns: ``name:type``, ``name:type:source`` or ``name::source``: columns of another type or name.
        no_inference: read only the columns named there, and what the load needs.
        numbers: ``double``, or ``decimal``: currency, percent and double with every digit.
        mask: ``column:algorithm`` or ``column:algorithm:parameter``; these values are made unreadable on the way.
        mask_key: key of the masks that need one; a random one is made and kept in the database if None.
        trim_whitespace: texts lose white space at their ends.
        sql_limit: at most this many rows.
        page_size: rows a page: REST takes 200 to 2,000 of it, Bulk all where Salesforce lets us choose.
        extract_parallelism: pages in flight at once.
        schema_naming: ``auto`` (as the table has its columns, else snake_case), ``default`` or ``direct``.
        deletes: what becomes of rows that Salesforce deleted: ``soft`` marks them, ``hard`` removes, ``ignore`` leaves.
        refresh_formulas: read formulas and roll-ups of all rows again, as they change without a trace: ``auto`` when a
            day has passed, ``always`` (or True), ``never`` (or False).
        with_metadata: keep labels, help texts and picklist values in the tables ``objects``, ``fields`` and
            ``picklist_values`` of the schema ``_ingestr``.
        schema_contract: what a table that exists does with new fields and with values that its columns do not hold:
            ``evolve`` changes the columns, ``freeze`` refuses the run, ``discard_row`` and ``discard_value`` leave out.
        quarantine_limit: so many rows that cannot be read may be set aside in ``_ingestr.quarantine``.
        allow_mass_delete: go on although an unusual share of the rows would be marked, removed or replaced by nothing.
        api_budget: ``80%`` stops when the org has used so much of its daily calls, ``5000`` after so many of ours.
        staging_dataset: schema in which rows wait until they are all there; the target's if None.
        pipelines_dir: folder in which complete pages wait until they are committed; the user's cache if None.
        no_load_timestamp: leave out the column ``_ingestr_loaded_at``.
        progress: ``interactive``, ``log`` or ``json``.
        debug: log what is sent and why; the caller configures the logger ``ingestr``.
        yes: accepted so that old scripts run; there is no prompt.

    Variables such as ``INGESTR_DEST_TABLE`` are for the command line; nothing of the environment is read here.

    Raises:
        IngestrError: see ``ingestr.errors`` for the tree.
    """
    given = dict(locals())
    clock = SystemClock()
    with _in_python():
        options = make_options(IngestOptions, **given)
        with open_progress(options.progress, clock) as shown:
            return pipeline.run(options, clock=clock, progress=shown, in_process=True)


def read(
    source_uri: str,
    source_table: str,
    *,
    interval_start: str | date | None = None,
    interval_end: str | date | None = None,
    incremental_key: str | None = None,
    sql_exclude_columns: Sequence[str] = (),
    sql_limit: int | None = None,
    page_size: int = 25_000,
    extract_parallelism: int = 5,
    schema_naming: str = "auto",
    numbers: str = "double",
    mask: Sequence[str] = (),
    mask_key: str | None = None,
    trim_whitespace: bool = False,
) -> RecordStream:
    """The rows of one Salesforce table as an Arrow stream, which polars, pandas, pyarrow and DuckDB read.

    The arguments are those of ``ingest``. The stream can be read once; close it, or leave its ``with`` block, when
    you stop early.

    Raises:
        IngestrError: now for what is wrong with the request, while reading for what goes wrong then.
    """
    given = dict(locals())
    with _in_python():
        return pipeline.read(make_options(ReadOptions, **given), clock=SystemClock())


def plan(source_uri: str, source_table: str, dest_uri: str, dest_table: str | None = None, **options: Any) -> Preview:
    """What ``ingest`` would do now with the same arguments; writes nothing, and costs a few cheap calls.

    Args:
        source_uri, source_table, dest_uri, dest_table, options: as for ``ingest``.

    Raises:
        TypeError: an argument that ``ingest`` does not take.
        IngestrError: what the load itself would end with before its first row.
    """
    bound = inspect.signature(ingest).bind(source_uri, source_table, dest_uri, dest_table, **options)
    bound.apply_defaults()
    clock = SystemClock()
    with _in_python():
        settled = make_options(
            IngestOptions, **{name: bound.arguments[name] for name in bound.arguments if name != "yes"}
        )
        with open_progress(settled.progress, clock) as shown:
            return pipeline.plan(settled, clock=clock, progress=shown, in_process=True)


def ingest_tables(
    source_uri: str,
    source_table: str | Sequence[str],
    dest_uri: str,
    dest_table: str = "{table}",
    *,
    exclude_table: str | Sequence[str] = (),
    tables_in_flight: int = 4,
    consistent: bool = False,
    **options: Any,
) -> SessionResult:
    """Copy several Salesforce tables into a database, each in a transaction of its own, with one login.

    Args:
        source_uri, dest_uri, options: as for ``ingest``; the options hold for each table.
        source_table: names, and patterns such as ``*`` or ``opportunity*``; a text may hold several, with commas.
        dest_table: where they go, with ``{table}`` for the name of each.
        exclude_table: names and patterns of tables that are not meant.
        tables_in_flight: so many at once.
        consistent: all end at one moment, and the references between them are checked.

    Returns:
        What became of each table. A table that fails does not stop the others: its error is in the result.

    Raises:
        TypeError: an argument that ``ingest`` does not take.
        IngestrError: what concerns all tables, such as the login.
    """
    bound = inspect.signature(ingest).bind(source_uri, "", dest_uri, dest_table, **options)
    given = {name: value for name, value in bound.arguments.items() if name not in ("yes", "source_table")}
    given |= {"source_table": source_table, "exclude_table": exclude_table, "tables_in_flight": tables_in_flight}
    given["consistent"] = consistent
    clock = SystemClock()
    with _in_python():
        settled = make_session_options(**given)
        with open_session_progress(settled.common.progress, clock) as shown:
            return many.run_tables(settled, clock=clock, progress=shown, in_process=True)


_PARAMETERS = {f"--{name.replace('_', '-')}": name for name in inspect.signature(ingest).parameters}


@contextmanager
def _in_python() -> Iterator[None]:
    """Errors name parameters as Python spells them: ``source_uri`` for ``--source-uri``."""
    try:
        yield
    except IngestrError as error:
        error.spell(_PARAMETERS)
        raise
