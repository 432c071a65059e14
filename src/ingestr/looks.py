"""Commands that look and change nothing: ``discover``, ``describe``, ``check``, ``runs``, ``verify``.

Parses, asks, and renders.
"""

import inspect
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from ingestr.core.clock import SystemClock
from ingestr.core.naming import snake_case
from ingestr.core.secret import Secret
from ingestr.core.strategy import Deletes
from ingestr.core.wording import about_bytes, counted
from ingestr.environment import read_environment
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.option_table import BY_NAME
from ingestr.options import bare_table
from ingestr.render import plain
from ingestr.table_list import PLACEHOLDER, is_pattern, split_tables
from ingestr.terminal import guarded, interruptible, print_out, set_up_logging

if TYPE_CHECKING:
    from ingestr.run.survey import DescribedTable, Finding, FoundTable
    from ingestr.run.verify import Verified

_CONTEXT = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_LISTS = ("source_table", "exclude_table")
_TABLES = typer.Argument(None, metavar="[TABLE]...", help="Tables of the destination, by name or pattern.")
_SHOWN_CHOICES = 6
_MOST_RUNS = 50


def register(app: typer.Typer, settings: dict[str, Any], refuse_extra: Callable[[typer.Context], None]) -> None:
    """Add the commands.

    Args:
        app: the command line.
        settings: how each command reads its words.
        refuse_extra: ends with an error where words are left.
    """
    for name, options, formats, work in (
        ("discover", ("source_uri", "source_table", "exclude_table", "debug"), ("text", "json"), _discover),
        ("describe", ("source_uri", "source_table", "exclude_table", "debug"), ("text", "json", "mermaid"), _describe),
        ("check", ("source_uri", "dest_uri", "dest_table", "debug"), ("text", "json"), _check),
        ("runs", ("dest_uri", "dest_table", "debug"), ("text", "json"), _runs),
        (
            "verify",
            ("tables", "source_uri", "source_table", "dest_uri", "dest_table", "deletes", "debug"),
            ("text", "json"),
            _verify,
        ),
    ):
        app.command(name, context_settings=settings)(_command(options, formats, work, refuse_extra))


_Work = Callable[[dict[str, Any], str], int]


def _command(
    options: Sequence[str], formats: Sequence[str], work: _Work, refuse_extra: Callable[[typer.Context], None]
) -> Callable[..., None]:
    """A command with some of the options of ``ingest``, and ``--format``."""

    def run(context: typer.Context, **words: Any) -> None:
        refuse_extra(context)
        shape = words.pop("format") or formats[0]
        given = {name: value for name, value in words.items() if value not in (None, [], (), False)}
        set_up_logging(debug="debug" in given)
        if code := guarded(lambda: work(_settled(given, options, shape, formats), shape), debug="debug" in given):
            raise typer.Exit(code)

    parameters = [_CONTEXT, *map(_parameter, options)]
    shown = typer.Option(None, "--format", metavar="FORMAT", help=f"{', '.join(formats)}. [default: {formats[0]}]")
    parameters.append(inspect.Parameter("format", inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=str | None))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__doc__ = work.__doc__
    return run


def _parameter(name: str) -> inspect.Parameter:
    if name == "tables":
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_TABLES, annotation=list[str] | None)
    option = BY_NAME[name]
    kind: Any = list[str] | None if name in _LISTS else bool | None if name == "debug" else str | None
    declared = typer.Option(None, option.flag, metavar=option.metavar or None, help=option.help, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=kind)


def _settled(given: dict[str, Any], options: Sequence[str], shape: str, formats: Sequence[str]) -> dict[str, Any]:
    """What was given, and what the variables add."""
    interruptible()
    if shape not in formats:
        raise ConfigurationError(f"--format does not know {shape!r}", hint=f"one of: {', '.join(formats)}")
    if tables := given.pop("tables", ()):
        given["dest_table"] = ",".join([*tables, *([given["dest_table"]] if "dest_table" in given else [])])
    found = read_environment(os.environ, given).values
    settled = {name: value for name, value in {**found, **given}.items() if name in options}
    for name in ("source_uri", "dest_uri"):
        if name in settled:
            settled[name] = Secret(settled[name])
    for name in _LISTS:
        if name in options:
            settled[name] = split_tables(settled.get(name))
    return settled


def _source(settled: dict[str, Any]) -> Secret:
    if "source_uri" not in settled:
        raise ConfigurationError(f"{Flag.SOURCE_URI} is missing", hint="or set SOURCE_URI; see: ingestr example-uris")
    uri: Secret = settled["source_uri"]
    return uri


def _discover(settled: dict[str, Any], shape: str) -> int:
    """List the tables of an org: rows, strategy, key, API, and what cannot be read and why."""
    from ingestr.run import survey  # noqa: PLC0415

    found = survey.discover(
        _source(settled), settled["source_table"] or ("*",), settled["exclude_table"], SystemClock()
    )
    if shape == "json":
        _print_json(found)
    else:
        print_out(_found_text(found))
    return 0


def _found_text(found: "Sequence[FoundTable]") -> str:
    rows = [("table", "object", "rows", "strategy", "key", "by", "calls")]
    for each in found:
        if each.strategy:
            size = "unknown" if each.rows is None else f"{each.rows:,}"
            calls = "" if each.calls is None else f"{each.calls:,}"
            rows.append((each.table, each.source_object, size, each.strategy, each.key or "", each.api, calls))
    lines = _aligned(rows, right=(2, 6))
    reasons = dict.fromkeys(each.reason for each in found if not each.strategy)
    lines += [
        f"not read: {reason}: {', '.join(each.table for each in found if each.reason == reason)}" for reason in reasons
    ]
    readable = [each for each in found if each.strategy]
    lines.append(
        f"{counted(len(found), 'table')}, {len(readable):,} of them readable: "
        f"about {counted(sum(each.rows or 0 for each in readable), 'row')} in about "
        f"{counted(sum(each.calls or 0 for each in readable), 'API call')}, "
        f"{about_bytes(sum(each.bytes or 0 for each in readable))}"
    )
    return "\n".join(lines)


def _describe(settled: dict[str, Any], shape: str) -> int:
    """List the fields of tables: columns, types, labels, values and references; as a diagram too."""
    from ingestr.run import survey  # noqa: PLC0415

    if not settled["source_table"]:
        raise ConfigurationError(f"{Flag.SOURCE_TABLE} is missing", hint="account, say, or several, or a pattern")
    found = survey.describe(_source(settled), settled["source_table"], settled["exclude_table"], SystemClock())
    if shape == "json":
        _print_json(
            {
                "table": each.table,
                "source_object": each.source_object,
                "label": each.label,
                "fields": [{"column_name": column, **asdict(field)} for column, field in each.fields],
            }
            for each in found
        )
    elif shape == "mermaid":
        print_out(_diagram(found))
    else:
        print_out("\n\n".join(_table_text(each) for each in found))
    return 0


def _table_text(table: "DescribedTable") -> str:
    rows = [("column", "field", "type", "label", "")]
    for column, field in table.fields:
        facts = [field.note] if field.note else []
        facts += [f"to {', '.join(field.references)}"] if field.references else []
        values = [choice.value for choice in field.choices if choice.active]
        more = f" and {len(values) - _SHOWN_CHOICES} more" if len(values) > _SHOWN_CHOICES else ""
        facts += [f"one of {', '.join(values[:_SHOWN_CHOICES])}{more}"] if values else []
        facts += ["calculated"] if field.calculated else []
        kind = f"{field.type} → {field.column}" if field.column else field.type
        rows.append((column or "", field.name, kind, field.label, "; ".join(facts)))
    title = f"{table.table}: {table.source_object}" + (f" ({table.label})" if table.label else "")
    return "\n".join([title, *_aligned(rows)])


def _diagram(tables: "Sequence[DescribedTable]") -> str:
    """The tables and the references between them, as Mermaid draws them."""
    objects = {table.source_object for table in tables}
    lines = ["erDiagram"]
    for table in tables:
        keys = [("Id", "PK")] + [(f.name, "FK") for _, f in table.fields if set(f.references) & objects]
        lines.append(f"    {table.source_object} {{")
        lines += [f"        {'id' if mark == 'PK' else 'reference'} {name} {mark}" for name, mark in keys]
        lines.append("    }")
    for table in tables:
        for _, field in table.fields:
            for to in field.references:
                if to in objects:
                    lines.append(f"    {to} ||--o{{ {table.source_object} : {field.name}")
    return "\n".join(lines)


def _check(settled: dict[str, Any], shape: str) -> int:
    """Look whether both ends can be used: login, API version, what can be read, API calls left, destination."""
    from ingestr.run import survey  # noqa: PLC0415

    source, destination = settled.get("source_uri"), settled.get("dest_uri")
    if source is None and destination is None:
        raise ConfigurationError(
            f"neither {Flag.SOURCE_URI} nor {Flag.DEST_URI} is given", hint="name the end, or both, to look at"
        )
    schema = str(settled.get("dest_table") or "").rpartition(".")[0].rpartition(".")[2] or None
    found = survey.check(source, destination, schema, SystemClock())
    if shape == "json":
        _print_json(
            {"what": each.what, "ok": each.error is None, "text": each.text, "hint": each.error and each.error.hint}
            for each in found
        )
    else:
        print_out(_findings_text(found))
    return max((each.error.exit_code for each in found if each.error is not None), default=0)


def _findings_text(found: "Sequence[Finding]") -> str:
    lines = []
    for each in found:
        lines.append(f"{'failed' if each.error else 'ok':<8}{each.what:<14}{each.text}")
        if each.error is not None and each.error.hint:
            lines.append(f"{'':<8}{'hint':<14}{each.error.hint}")
    return "\n".join(lines)


def _runs(settled: dict[str, Any], shape: str) -> int:
    """List the latest loads into a database: when, which table, rows of both sides, calls, seconds, how they ended."""
    from ingestr.run import survey  # noqa: PLC0415

    if "dest_uri" not in settled:
        raise ConfigurationError(f"{Flag.DEST_URI} is missing", hint="or set DESTINATION_URI")
    found = survey.loads(settled["dest_uri"], settled.get("dest_table"), _MOST_RUNS)
    if shape == "json":
        for each in found:
            print_out(json.dumps(plain(each)))
        return 0
    rows = [("ended", "table", "outcome", "read", "ins.", "upd.", "del.", "here", "live there", "calls", "seconds")]
    numbers = ("rows_read", "rows_inserted", "rows_updated", "rows_deleted", "rows_in_destination", "rows_in_source")
    for each in found:
        counts = ["" if each[name] is None else f"{each[name]:,}" for name in (*numbers, "api_calls")]
        ended = f"{each['ended_at']:%Y-%m-%d %H:%M:%S}" if each["ended_at"] else ""
        seconds = "" if each["seconds"] is None else f"{each['seconds']:.1f}"
        rows.append((ended, each["table"], each["outcome"] or "", *counts, seconds))
    lines = _aligned(rows, right=range(3, 11))
    for place, each in enumerate(found, 1):
        lines[place] += f"  {each['error']}" if each["error"] else ""
    print_out("\n".join(lines) if found else "no load is remembered here")
    return 0


def _verify(settled: dict[str, Any], shape: str) -> int:
    """Count and compare tables and their source again, without loading; exit code 7 where a table differs."""
    from ingestr.run.verify import verify  # noqa: PLC0415

    if "dest_uri" not in settled:
        raise ConfigurationError(f"{Flag.DEST_URI} is missing", hint="or set DESTINATION_URI")
    deletes = settled.get("deletes", Deletes.SOFT)
    if deletes not in tuple(Deletes):
        raise ConfigurationError(f"{Flag.DELETES} does not know {deletes!r}", hint=f"one of: {', '.join(Deletes)}")
    wanted, source_table = _compared(split_tables(settled.get("dest_table")), settled["source_table"])
    found = verify(_source(settled), settled["dest_uri"], wanted, source_table, Deletes(deletes), SystemClock())
    if shape == "json":
        for each in found:
            print_out(json.dumps(_verified_event(each)))
    else:
        print_out("\n".join(line for each in found for line in _verified_lines(each)))
    return max((each.error.exit_code for each in found if each.error is not None), default=0)


def _compared(wanted: tuple[str, ...], sources: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The tables that are meant, and what the one of them holds, where somebody says that."""
    if sources and not wanted:
        # As a load calls them that is given no name.
        wanted = (PLACEHOLDER,) if len(sources) > 1 or is_pattern(sources[0]) else (bare_table(sources[0]),)
    if any(PLACEHOLDER in each for each in wanted):
        names = [each if is_pattern(each) else snake_case(bare_table(each)) for each in sources or ("*",)]
        return tuple(each.replace(PLACEHOLDER, name) for each in wanted for name in names), None
    if len(sources) > 1 or any(map(is_pattern, sources)):
        raise ConfigurationError(
            f"{Flag.SOURCE_TABLE} says what one table holds, and names several",
            hint=f"name the tables of the destination, or {Flag.DEST_TABLE} raw.{PLACEHOLDER}, say",
        )
    return wanted, next(iter(sources), None)


def _verified_event(found: "Verified") -> dict[str, Any]:
    told: dict[str, Any] = plain(asdict(replace(found, error=None)))
    error = found.error
    return told | {"equal": found.is_equal, "error": error and str(error), "hint": error and error.hint}


def _verified_lines(found: "Verified") -> list[str]:
    """What a comparison has shown, for people."""
    outcome = "equal" if found.is_equal else "left out" if found.error is None else "failed"
    text = found.reason if found.error is None else ""
    if found.as_of is not None:
        outcome = outcome if found.error is None else "differs"
        there = "an unknown number of" if found.in_source is None else f"{found.in_source:,}"
        text = (
            f"{there} live rows in Salesforce, {found.in_destination:,} here, as of {found.as_of:%Y-%m-%d %H:%M:%S} UTC"
        )
        text += f"; {found.in_quarantine:,} in quarantine" if found.in_quarantine else ""
        text += f"; {counted(found.changed_since, 'row')} changed since" if found.changed_since else ""
        if found.difference is not None and found.difference.explained:
            text += f", {found.difference.explained:,} of which explain a difference"
    lines = [f"{outcome:<9}{found.table}" + (f": {text}" if text else "")]
    if found.error is not None:
        lines.append(f"{'':<9}{found.error}")
        lines += [f"{'':<9}hint: {found.error.hint}"] if found.error.hint else []
    return lines


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _print_json(items: Iterable[Any]) -> None:
    """A line of JSON for each item."""
    for item in items:
        print_out(json.dumps(item if isinstance(item, dict) else asdict(item)))
