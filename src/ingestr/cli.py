"""The command line: parses, calls the API, renders. Heavy imports wait until a command runs."""

import inspect
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ingestr import __version__
from ingestr.core.clock import SystemClock
from ingestr.core.secret import Secret
from ingestr.core.wording import counted
from ingestr.environment import read_environment
from ingestr.errors import ConfigurationError
from ingestr.looks import register
from ingestr.option_table import BY_NAME, OPTIONS, Kind, Option, Status
from ingestr.options import IngestOptions, from_text
from ingestr.progress import JsonProgress, open_progress
from ingestr.render import (
    plan_event,
    plan_text,
    plans_events,
    plans_text,
    result_event,
    result_text,
    session_event,
    session_text,
)
from ingestr.sync_file import USUAL_NAME, SyncFile, write_sync_file
from ingestr.table_list import SessionOptions, make_ingest_options, split_tables
from ingestr.terminal import (
    EXIT_INTERRUPTED,
    EXIT_UNWRITTEN,
    at_failure,
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

# The parser's own errors; the module that it keeps them in is not the same in all of its versions.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
# Arguments that nothing takes are counted, not repeated: half of a secret with a space in it looks like one.
_EXTRA = {"allow_extra_args": True, "help_option_names": ["-h", "--help"]}
# The key under which the parser leaves flags that were set to false.
_UNSET = "ingestr.unset"

log = logging.getLogger("ingestr")
app = typer.Typer(
    name="ingestr",
    help="Copies Salesforce objects into a database with one command.",
    context_settings={"help_option_names": ["-h", "--help"]},
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


class _IngestCommand(TyperCommand):
    """Flags may carry a word, as other versions of ingestr take ``--full-refresh=true`` and ``--debug=false``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Settle such flags, and leave the rest to the parser."""
        flags = {option.flag: option for option in OPTIONS if option.kind is Kind.FLAG}
        choices = {option.flag: option.words for option in OPTIONS if option.words}
        kept: list[str] = []
        unset: set[str] = ctx.meta.setdefault(_UNSET, set())
        for word, behind in zip(args, [*args[1:], "--"], strict=False):
            flag, equals, value = word.partition("=")
            if word in choices and behind.startswith("-"):
                kept.append(f"{word}={choices[word][1]}")
                continue
            wanted = from_text(flags[flag], value) if equals and flag in flags else None
            if wanted is True:
                kept.append(flag)
            elif wanted is False:
                unset.add(flags[flag].name)
            elif wanted is None:
                kept.append(word)
            else:
                raise _UsageError(f"{flag} takes true or false, if anything")
        rest: list[str] = super().parse_args(ctx, kept)
        return rest


def _parameter(option: Option) -> inspect.Parameter:
    """One option as typer wants it; words stay texts, as variables are read by the same rules."""
    kind: Any = {Kind.FLAG: bool | None, Kind.LIST: list[str] | None}.get(option.kind, str | None)
    names = [option.flag, *([option.short] if option.short else [])]
    shown = option.status is Status.HONOURED or option.name == "yes"
    declared = typer.Option(
        None, *names, metavar=option.metavar or None, help=option.explained, hidden=not shown, show_default=False
    )
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=kind)


def _ingest_command(context: typer.Context, **words: Any) -> None:
    """Copy one Salesforce table into a database."""
    given = {
        name: from_text(BY_NAME[name], value) if isinstance(value, str) else value
        for name, value in words.items()
        if value not in (None, [], ())
    }
    given |= dict.fromkeys(context.meta[_UNSET], False)
    _refuse_extra(context)
    if code := guarded(lambda: _ingest(given), debug=given.get("debug") is True):
        raise typer.Exit(code)


_CONTEXT = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
# Typer builds a command from a signature, and the table is one.
_ingest_command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [_CONTEXT, *map(_parameter, OPTIONS)]
)
_EPILOG = "Every option can be given as a variable: INGESTR_ and its name in capitals."
app.command("ingest", cls=_IngestCommand, context_settings=_EXTRA, epilog=_EPILOG)(_ingest_command)


def _plan_command(context: typer.Context, **words: Any) -> None:
    """Say what ``ingest`` would do with the same options; nothing is written."""
    _ingest_command(context, **{**words, "dry_run": True})


_plan_command.__signature__ = inspect.signature(_ingest_command)  # type: ignore[attr-defined]
app.command("plan", cls=_IngestCommand, context_settings=_EXTRA, epilog=_EPILOG)(_plan_command)


def _ingest(given: dict[str, Any]) -> int:
    """Run with what was given, and what the variables add; returns the exit code."""
    set_up_logging(debug=given.get("debug") is True)
    found = read_environment(os.environ, given)
    try:
        options = make_ingest_options(notes=found.warnings, **{**found.values, **given})
    except ConfigurationError as error:
        error.spell(found.variables)
        raise
    if isinstance(options, SessionOptions):
        debug = options.common.debug
        set_up_logging(debug=debug)
        return guarded(lambda: _run_tables(options), debug=debug)
    set_up_logging(debug=options.debug)
    guarded(lambda: _run(options), debug=options.debug)
    return 0


def _run_tables(options: SessionOptions) -> int:
    """Copy several tables; returns the exit code of the worst."""
    from ingestr.progress_many import open_session_progress  # noqa: PLC0415
    from ingestr.run import many  # noqa: PLC0415

    clock, common = SystemClock(), options.common
    interruptible()
    if _events is not None:
        _events.emit({"event": "start", "source_table": list(options.tables), "dest_table": options.dest_table})
    with open_session_progress(common.progress, clock, _events) as shown:
        if common.dry_run:
            plan = many.plan_tables(options, clock=clock, progress=shown, in_process=False)
        else:
            result = many.run_tables(options, clock=clock, progress=shown, in_process=False)
    if common.dry_run:
        code = max((each.exit_code for each in plan.failed), default=0)
        _show(plans_events(plan), plans_text(plan), rows=0, code=code)
        return code
    rows = sum(each.result.rows_read for each in result.tables if each.result is not None)
    _show([session_event(result)], session_text(result), rows=rows, code=result.exit_code)
    return result.exit_code


def _show(events: list[dict[str, Any]], text: str, *, rows: int, code: int) -> None:
    """Print what a session has to tell."""
    try:
        if _events is not None:
            for event in events:
                _events.emit(event)
            _events.end("some tables failed" if code else None, rows=rows, code=code)
        else:
            print_out(text)
    except OSError as error:
        log.warning("the session is over, but its result cannot be printed: %s", error.strerror)


def _run(options: IngestOptions) -> None:
    from ingestr.run import pipeline  # noqa: PLC0415

    clock = SystemClock()
    interruptible()
    if _events is not None:
        _events.emit({"event": "start", "source_table": options.source_table, "dest_table": options.dest_table})
    with open_progress(options.progress, clock, _events) as shown:
        if options.dry_run:
            plan = pipeline.plan(options, clock=clock, progress=shown, in_process=False)
        else:
            result = pipeline.run(options, clock=clock, progress=shown, in_process=False)
    if options.dry_run:
        if _events is not None:
            _events.emit(plan_event(plan))
            _events.end(None)
        else:
            print_out(plan_text(plan))
        return
    try:
        if _events is not None:
            _events.emit(result_event(result))
            _events.end(None, rows=result.rows_read)
        else:
            print_out(result_text(result))
    except OSError as error:
        log.warning("the load is done, but its result cannot be printed: %s", error.strerror)
    except KeyboardInterrupt:
        fail("interrupted; the load is done", None, EXIT_INTERRUPTED)


register(app, _EXTRA, _refuse_extra)


@app.command("sync", context_settings=_EXTRA)
def sync(
    context: typer.Context,
    config: Annotated[str, typer.Option(metavar="FILE", help="The file that says what is copied.")] = USUAL_NAME,
    init: Annotated[bool, typer.Option("--init", help="Write such a file instead.")] = False,
    source_table: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="With --init: names and patterns; all unless told."),
    ] = None,
    dest_table: Annotated[
        str | None, typer.Option(metavar="TABLE", help="With --init: where tables go, such as raw.{table}.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")] = False,
    progress: Annotated[str | None, typer.Option(metavar="MODE", help="interactive, log or json.")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log what is sent and why.")] = False,
) -> None:
    """Copy what a file says: both ends, many tables, and options for each."""
    _refuse_extra(context)
    set_up_logging(debug=debug)

    def work() -> int:
        if init:
            return _write_config(Path(config), split_tables(source_table) or ("*",), dest_table)
        if source_table or dest_table:
            raise ConfigurationError(
                "--source-table and --dest-table belong to --init", hint="the file names the tables"
            )
        changed: dict[str, Any] = {"dry_run": dry_run, "debug": debug, **({"progress": progress} if progress else {})}
        return _run_tables(SyncFile(Path(config), os.environ).options(**changed))

    if code := guarded(work, debug=debug):
        raise typer.Exit(code)


def _write_config(path: Path, wanted: tuple[str, ...], dest_table: str | None) -> int:
    """Write a file for the tables that names and patterns mean."""
    from ingestr.run import survey  # noqa: PLC0415

    uri = read_environment(os.environ, ()).values.get("source_uri")
    if uri is None:
        raise ConfigurationError("SOURCE_URI is not set", hint="the org is asked which tables it has")
    interruptible()
    found = survey.discover(Secret(uri), wanted, (), SystemClock())
    tables = [each.table for each in found if each.strategy]
    left_out = {each.table: each.reason for each in found if not each.strategy}
    write_sync_file(path, tables, {"dest_table": dest_table}, left_out)
    print_out(f"{path}: {counted(len(tables), 'table')}; ingestr sync copies them, ingestr sync --dry-run says how")
    return 0


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


_events: JsonProgress | None = None


def main(*, as_json: bool = False) -> None:
    """Run the command that the arguments name, and end the process with its exit code.

    Args:
        as_json: whether somebody waits for JSON lines, of which the last one has to come whatever happens.
    """
    global _events  # noqa: PLW0603 - the process has one stdout
    open_streams()
    if as_json:
        _events = events = JsonProgress(SystemClock())
        at_failure(lambda message, code: events.end(message, code=code))
    try:
        code = app(prog_name="ingestr", standalone_mode=False)
    except _UsageError as error:
        explain_usage(error, [command.name or "" for command in app.registered_commands])
    except OSError as error:
        fail(f"the output cannot be written: {error.strerror}", None, EXIT_UNWRITTEN)
    close_streams()
    sys.exit(code)
