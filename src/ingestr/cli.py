"""The command line: parses, calls the API, renders. Heavy imports wait until a command runs."""

import json
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingestr import __version__
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError
from ingestr.terminal import (
    EXIT_UNWRITTEN,
    close_streams,
    explain_usage,
    fail,
    guarded,
    interruptible,
    open_streams,
    print_out,
    set_up_logging,
    tell,
)

if TYPE_CHECKING:
    from ingestr.api import IngestResult

# The parser's own errors; the module that it keeps them in is not the same in all of its versions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
# Arguments that nothing takes are counted, not repeated: half of a secret with a space in it looks like one.
_EXTRA = {"allow_extra_args": True}

log = logging.getLogger("ingestr")
app = typer.Typer(
    name="ingestr",
    help="Copies Salesforce objects into a database with one command.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print_out(f"ingestr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        tell(context.get_help())
        raise typer.Exit(2)


def _refuse_extra(context: typer.Context) -> None:
    if context.args:
        raise _UsageError(f"{counted(len(context.args), 'argument')} without an option before it; quote your values")


@app.command("ingest", context_settings=_EXTRA)
def ingest(
    context: typer.Context,
    source_uri: Annotated[
        str, typer.Option(metavar="URI", envvar=["INGESTR_SOURCE_URI", "SOURCE_URI"], help="salesforce://?… (required)")
    ] = "",
    source_table: Annotated[
        str,
        typer.Option(
            metavar="TABLE", envvar="INGESTR_SOURCE_TABLE", help="account, custom:<API name>, or any object (required)"
        ),
    ] = "",
    dest_uri: Annotated[
        str,
        typer.Option(
            metavar="URI",
            envvar=["INGESTR_DESTINATION_URI", "INGESTR_DEST_URI", "DESTINATION_URI"],
            help="duckdb:///file.db (required)",
        ),
    ] = "",
    dest_table: Annotated[
        str | None,
        typer.Option(metavar="TABLE", envvar="INGESTR_DEST_TABLE", help="schema.table [default: the source table]"),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", envvar="INGESTR_FULL_REFRESH", help="Read everything, replace the table.")
    ] = False,
    interval_start: Annotated[
        str | None,
        typer.Option(metavar="TIME", envvar="INGESTR_INTERVAL_START", help="First moment to read, inclusive."),
    ] = None,
    interval_end: Annotated[
        str | None, typer.Option(metavar="TIME", envvar="INGESTR_INTERVAL_END", help="Last moment to read, inclusive.")
    ] = None,
    incremental_key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            envvar="INGESTR_INCREMENTAL_KEY",
            help="Date or datetime column to merge by [default: the table's]",
        ),
    ] = None,
    primary_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            envvar="INGESTR_PRIMARY_KEY",
            help="Columns that identify a row; repeatable [default: the Id]",
        ),
    ] = None,
    sql_exclude_columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", envvar="INGESTR_SQL_EXCLUDE_COLUMNS", help="Columns not even to download; repeatable."
        ),
    ] = None,
    sql_limit: Annotated[
        int | None, typer.Option(metavar="ROWS", envvar="INGESTR_SQL_LIMIT", help="At most this many rows.")
    ] = None,
    page_size: Annotated[
        int,
        typer.Option(
            metavar="ROWS", envvar="INGESTR_PAGE_SIZE", help="Rows a page: REST takes 200 to 2,000 of it, Bulk all."
        ),
    ] = 25_000,
    extract_parallelism: Annotated[
        int, typer.Option(metavar="PAGES", envvar="INGESTR_EXTRACT_PARALLELISM", help="Pages in flight at once.")
    ] = 5,
    schema_naming: Annotated[
        str, typer.Option(metavar="NAMING", envvar="INGESTR_SCHEMA_NAMING", help="default (snake_case) or direct.")
    ] = "default",
    no_load_timestamp: Annotated[
        bool,
        typer.Option("--no-load-timestamp", envvar="INGESTR_NO_LOAD_TIMESTAMP", help="Add no _ingestr_loaded_at."),
    ] = False,
    deletes: Annotated[
        str,
        typer.Option(
            metavar="WAY", envvar="INGESTR_DELETES", help="soft marks deleted rows, hard removes, ignore leaves them."
        ),
    ] = "soft",
    refresh_formulas: Annotated[
        bool,
        typer.Option("--refresh-formulas", envvar="INGESTR_REFRESH_FORMULAS", help="Read formulas of all rows again."),
    ] = False,
    schema_contract: Annotated[
        str,
        typer.Option(
            metavar="CONTRACT",
            envvar="INGESTR_SCHEMA_CONTRACT",
            help="For a table that exists: evolve changes its columns, freeze refuses; discard_row, discard_value.",
        ),
    ] = "evolve",
    quarantine_limit: Annotated[
        int,
        typer.Option(
            metavar="ROWS", envvar="INGESTR_QUARANTINE_LIMIT", help="Rows that cannot be read and may be set aside."
        ),
    ] = 100,
    api_budget: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGET",
            envvar="INGESTR_API_BUDGET",
            help="80% stops when the org has used so much of its daily calls, 5000 after so many of this run.",
        ),
    ] = None,
    pipelines_dir: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            envvar="INGESTR_PIPELINES_DIR",
            help="Where pages wait for the commit [default: the user's cache]",
        ),
    ] = None,
    progress: Annotated[
        str, typer.Option(metavar="MODE", envvar="INGESTR_PROGRESS", help="interactive, log or json.")
    ] = "interactive",
    debug: Annotated[bool, typer.Option("--debug", envvar="INGESTR_DEBUG", help="Say what is sent, and why.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", envvar="INGESTR_YES", help="Accepted for old scripts; nothing is asked.")
    ] = False,
    loader_file_size: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Copy one Salesforce table into a database."""
    given = {name: value for name, value in locals().items() if name not in ("context", "loader_file_size")}
    _refuse_extra(context)
    set_up_logging(debug=debug)
    guarded(lambda: _ingest(given), debug=debug)


def _ingest(given: dict[str, Any]) -> None:
    from ingestr import pipeline  # noqa: PLC0415
    from ingestr.core.clock import SystemClock  # noqa: PLC0415
    from ingestr.options import IngestOptions, ProgressMode, make_options  # noqa: PLC0415
    from ingestr.progress import open_progress  # noqa: PLC0415

    options = make_options(IngestOptions, **given)
    clock = SystemClock()
    interruptible()
    with open_progress(options.progress, clock) as shown:
        result = pipeline.run(options, clock=clock, progress=shown, in_process=False)
    try:
        print_out(json.dumps(_as_event(result)) if options.progress is ProgressMode.JSON else _as_text(result))
    except OSError as error:
        log.warning("the load is done, but its result cannot be printed: %s", error.strerror)


@app.command("example-uris", context_settings=_EXTRA)
def example_uris(context: typer.Context) -> None:
    """Print an example URI for every login and destination."""
    _refuse_extra(context)
    from ingestr.registry import DESTINATIONS, SOURCES  # noqa: PLC0415

    for title, entries in (("sources", SOURCES), ("destinations", DESTINATIONS)):
        print_out("\n".join([f"{title}:", *(f"  {text}" for entry in entries.values() for text in entry.examples)]))


@app.command("simulate", context_settings=_EXTRA)
def simulate(
    context: typer.Context,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")
    ] = 8080,
    rows: Annotated[
        int, typer.Option(metavar="ROWS", min=0, help="Rows of the large objects; small ones have fewer.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(metavar="SEED", help="The same seed gives the same data.")] = 42,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve HTTPS with a certificate of a throw-away authority.")
    ] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="With TLS, also a proxy that leads *.salesforce.com to the org.")
    ] = False,
) -> None:
    """Run a simulated Salesforce org on this machine."""
    _refuse_extra(context)
    set_up_logging(debug=False)

    def serve() -> None:
        extra = "simulator"
        try:
            from ingestr.simulator import PortError  # noqa: PLC0415
            from ingestr.simulator import serve as serve_org  # noqa: PLC0415

            if tls or proxy:
                extra = "simulator-tls"
                import_module("trustme")
        except ImportError as error:
            raise ConfigurationError(
                f"the simulated org needs a package that is not installed: {error.name}",
                hint=f"pip install 'ingestr[{extra}]'",
            ) from None
        interruptible()
        try:
            serve_org(host="127.0.0.1", port=port, rows=rows, seed=seed, tls=tls, proxy=proxy)
        except PortError as error:
            raise ConfigurationError(str(error), hint="choose another --port; 0 picks a free one") from None

    guarded(serve, debug=False)


def _as_event(result: "IngestResult") -> dict[str, Any]:
    window = result.window
    return {
        "event": "result",
        "source_object": result.source_object,
        "dest_table": result.dest_table,
        "strategy": str(result.strategy),
        "read_by": result.read_by,
        "rows_read": result.rows_read,
        "rows_inserted": result.rows_inserted,
        "rows_updated": result.rows_updated,
        "rows_unchanged": result.rows_unchanged,
        "rows_deleted": result.rows_deleted,
        "rows_in_source": result.rows_in_source,
        "rows_in_destination": result.rows_in_destination,
        "rows_quarantined": result.rows_quarantined,
        "duplicates": result.duplicates,
        "resumed": result.resumed,
        "window_start": window.start.isoformat() if window and window.start else None,
        "window_end": window.end.isoformat() if window and window.end else None,
        "api_calls": result.usage.calls,
        "api_used": result.usage.used,
        "api_limit": result.usage.limit,
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
    }


def _as_text(result: "IngestResult") -> str:
    usage = result.usage
    allowance = (
        f"; the org has used {usage.used:,} of {usage.limit:,}" if usage.used is not None and usage.limit else ""
    )
    counts = f"{result.rows_inserted:,} inserted, {result.rows_updated:,} updated, {result.rows_unchanged:,} unchanged"
    if result.rows_deleted:
        counts += f", {result.rows_deleted:,} found deleted"
    if result.strategy == "replace":
        counts = f"the table now holds {result.rows_inserted:,}"
    if result.rows_quarantined:
        counts += f", {result.rows_quarantined:,} in quarantine"
    if result.rows_in_source is not None:
        counts += f"; live rows: {result.rows_in_source:,} in Salesforce, {result.rows_in_destination:,} here"
    return (
        f"{result.dest_table}: {counted(result.rows_read, 'row')} of {result.source_object} read by {result.read_by}, "
        f"{counts} ({result.strategy}, {result.seconds:.1f} s)\n"
        f"API calls: {usage.calls}{allowance}"
    )


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code."""
    open_streams()
    try:
        code = app(prog_name="ingestr", standalone_mode=False)
    except _UsageError as error:
        explain_usage(error, [command.name or "" for command in app.registered_commands])
    except OSError as error:
        fail(f"the output cannot be written: {error.strerror}", None, EXIT_UNWRITTEN)
    close_streams()
    sys.exit(code)
