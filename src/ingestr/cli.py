"""The command line: parses, calls the API, renders. Heavy imports wait until a command runs."""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ingestr import __version__
from ingestr.errors import IngestrError

if TYPE_CHECKING:
    from ingestr.api import IngestResult

EXIT_BUG = 70
EXIT_INTERRUPTED = 130

log = logging.getLogger("ingestr")
app = typer.Typer(
    name="ingestr",
    help="Copies Salesforce objects into a database with one command.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ingestr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def ingest(
    source_uri: Annotated[
        str, typer.Option(envvar=["INGESTR_SOURCE_URI", "SOURCE_URI"], help="salesforce://?… (required)")
    ] = "",
    source_table: Annotated[
        str,
        typer.Option(envvar="INGESTR_SOURCE_TABLE", help="account, custom:<API name>, or any object (required)"),
    ] = "",
    dest_uri: Annotated[
        str,
        typer.Option(
            envvar=["INGESTR_DESTINATION_URI", "INGESTR_DEST_URI", "DESTINATION_URI"],
            help="duckdb:///file.db (required)",
        ),
    ] = "",
    dest_table: Annotated[
        str | None, typer.Option(envvar="INGESTR_DEST_TABLE", help="schema.table [default: the source table]")
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", envvar="INGESTR_FULL_REFRESH", help="Read everything, replace the table.")
    ] = False,
    interval_start: Annotated[
        str | None, typer.Option(envvar="INGESTR_INTERVAL_START", help="First moment to read, inclusive.")
    ] = None,
    interval_end: Annotated[
        str | None, typer.Option(envvar="INGESTR_INTERVAL_END", help="Last moment to read, inclusive.")
    ] = None,
    incremental_key: Annotated[
        str | None,
        typer.Option(
            envvar="INGESTR_INCREMENTAL_KEY", help="Date or datetime column to merge by [default: the table's]"
        ),
    ] = None,
    primary_key: Annotated[
        list[str] | None,
        typer.Option(envvar="INGESTR_PRIMARY_KEY", help="Columns that identify a row; repeatable [default: the Id]"),
    ] = None,
    sql_exclude_columns: Annotated[
        list[str] | None,
        typer.Option(envvar="INGESTR_SQL_EXCLUDE_COLUMNS", help="Columns not even to download; repeatable."),
    ] = None,
    sql_limit: Annotated[int | None, typer.Option(envvar="INGESTR_SQL_LIMIT", help="At most this many rows.")] = None,
    page_size: Annotated[
        int, typer.Option(envvar="INGESTR_PAGE_SIZE", help="Rows a page, where we may choose.")
    ] = 25_000,
    extract_parallelism: Annotated[
        int, typer.Option(envvar="INGESTR_EXTRACT_PARALLELISM", help="Pages in flight at once.")
    ] = 5,
    schema_naming: Annotated[
        str, typer.Option(envvar="INGESTR_SCHEMA_NAMING", help="default (snake_case) or direct.")
    ] = "default",
    no_load_timestamp: Annotated[
        bool,
        typer.Option("--no-load-timestamp", envvar="INGESTR_NO_LOAD_TIMESTAMP", help="Add no _ingestr_loaded_at."),
    ] = False,
    deletes: Annotated[
        str, typer.Option(envvar="INGESTR_DELETES", help="soft marks deleted rows, hard removes, ignore leaves them.")
    ] = "soft",
    refresh_formulas: Annotated[
        bool,
        typer.Option("--refresh-formulas", envvar="INGESTR_REFRESH_FORMULAS", help="Read formulas of all rows again."),
    ] = False,
    schema_contract: Annotated[
        str,
        typer.Option(
            envvar="INGESTR_SCHEMA_CONTRACT",
            help="For a table that exists: evolve changes its columns, freeze refuses; discard_row, discard_value.",
        ),
    ] = "evolve",
    quarantine_limit: Annotated[
        int,
        typer.Option(envvar="INGESTR_QUARANTINE_LIMIT", help="Rows that cannot be read and may be set aside."),
    ] = 100,
    api_budget: Annotated[
        str | None,
        typer.Option(
            envvar="INGESTR_API_BUDGET", help="stop at 80% of the org's daily calls, or after 5000 calls of this run"
        ),
    ] = None,
    pipelines_dir: Annotated[
        str | None,
        typer.Option(
            envvar="INGESTR_PIPELINES_DIR", help="Where pages wait for the commit [default: the user's cache]"
        ),
    ] = None,
    progress: Annotated[str, typer.Option(envvar="INGESTR_PROGRESS", help="interactive, log or json.")] = "interactive",
    debug: Annotated[bool, typer.Option("--debug", envvar="INGESTR_DEBUG", help="Say what is sent, and why.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", envvar="INGESTR_YES", help="Accepted for old scripts; nothing is asked.")
    ] = False,
    loader_file_size: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Copy one Salesforce table into a database."""
    given = {name: value for name, value in locals().items() if name != "loader_file_size"}
    _set_up_logging(debug=debug)
    _guarded(lambda: _ingest(given), debug=debug)


def _ingest(given: dict[str, Any]) -> None:
    from ingestr import pipeline  # noqa: PLC0415
    from ingestr.core.clock import SystemClock  # noqa: PLC0415
    from ingestr.options import IngestOptions, ProgressMode, make_options  # noqa: PLC0415
    from ingestr.progress import open_progress  # noqa: PLC0415

    options = make_options(IngestOptions, **given)
    clock = SystemClock()
    with open_progress(options.progress, clock) as shown:
        result = pipeline.run(options, clock=clock, progress=shown, in_process=False)
    if options.progress is ProgressMode.JSON:
        typer.echo(json.dumps(_as_event(result)))
    else:
        typer.echo(_as_text(result))


@app.command("example-uris")
def example_uris() -> None:
    """Print an example URI for every login and destination."""
    from ingestr.registry import DESTINATIONS, SOURCES  # noqa: PLC0415

    for title, entries in (("sources", SOURCES), ("destinations", DESTINATIONS)):
        typer.echo(f"{title}:")
        for entry in entries.values():
            for example in entry.examples:
                typer.echo(f"  {example}")


@app.command()
def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")] = 8080,
    rows: Annotated[int, typer.Option(min=0, help="Rows of the large objects; small ones have fewer.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 42,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve HTTPS with a certificate of a throw-away authority.")
    ] = False,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="With TLS, also a proxy that leads *.salesforce.com to the org.")
    ] = False,
) -> None:
    """Run a simulated Salesforce org on this machine."""
    _set_up_logging(debug=False)

    def serve() -> None:
        try:
            from ingestr.simulator import serve as serve_org  # noqa: PLC0415
        except ImportError as error:
            from ingestr.errors import ConfigurationError  # noqa: PLC0415

            raise ConfigurationError(
                f"the simulated org needs a package that is not installed: {error.name}",
                hint="pip install 'ingestr[simulator]'",
            ) from None
        serve_org(host="127.0.0.1", port=port, rows=rows, seed=seed, tls=tls, proxy=proxy)

    _guarded(serve, debug=False)


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
        f"{result.dest_table}: {result.rows_read:,} rows of {result.source_object} read by {result.read_by}, "
        f"{counts} ({result.strategy}, {result.seconds:.1f} s)\n"
        f"API calls: {usage.calls}{allowance}"
    )


def _guarded(action: Callable[[], None], *, debug: bool) -> None:
    """Turn every way to fail into one clear line, a hint and an exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        action()
    except IngestrError as error:
        log.debug("", exc_info=True)
        _fail(str(error), error.hint, error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted; the destination is as it was", None, EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        hint = "please report it" + ("" if debug else "; --debug shows where it happened")
        _fail(f"a bug in ingestr: {type(error).__name__}: {error}", hint, EXIT_BUG)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, hint: str | None, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is rolled back and closed by now; a plain exit would wait for downloads that hang in the network.
    os._exit(code)


class _Format(logging.Formatter):
    """``warning: …`` for warnings, plain text for news, the time and module for details."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno >= logging.WARNING:
            return f"{record.levelname.lower()}: {text}"
        return text if record.levelno > logging.DEBUG else f"{self.formatTime(record)} {text}"


def _set_up_logging(*, debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format("%(message)s"))
    logger = logging.getLogger("ingestr")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def main() -> None:
    """Entry point of the console script."""
    app()
