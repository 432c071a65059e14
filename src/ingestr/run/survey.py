"""What there is, before anything is copied: tables of a source, their fields, and whether both ends can be used.

Knows no platform and no engine; writes nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.naming import SchemaNaming, assign_names
from ingestr.core.secret import Secret
from ingestr.core.wording import counted
from ingestr.destinations.base import TableRef, parse_table
from ingestr.errors import IngestrError
from ingestr.ledger.loads import read_loads
from ingestr.registry import open_destination, open_source
from ingestr.run.tables import choose_tables
from ingestr.sources.base import ReadRequest, Source, SourceField
from ingestr.strategies.base import create_schema

_PROBE = "_ingestr_check"


@dataclass(frozen=True)
class FoundTable:
    """A table of the source.

    Args:
        table: what ``--source-table`` calls it.
        source_object: the platform's name.
        label: what people call it.
        rows: about how many rows it has; None where the platform does not tell.
        strategy: how it is written unless somebody says otherwise; empty where it cannot be read.
        key: the field that windows are over, or None.
        api: the way that its rows would come.
        calls: API calls that a first load takes, as far as anybody can tell.
        bytes: about how many come over the network then; None where nobody can tell.
        seconds: about how long it takes; None where nobody can tell.
        reason: why it cannot be read as a whole; empty where it may.
    """

    table: str
    source_object: str
    label: str
    rows: int | None
    strategy: str = ""
    key: str | None = None
    api: str = ""
    calls: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class DescribedTable:
    """A table and its fields.

    Args:
        table: what ``--source-table`` calls it.
        source_object: the platform's name.
        label: what people call it.
        fields: all of them, each with the name of its column; None for one that is not read.
    """

    table: str
    source_object: str
    label: str
    fields: tuple[tuple[str | None, SourceField], ...]


@dataclass(frozen=True)
class Finding:
    """What one look at an end has shown.

    Args:
        what: what was looked at.
        text: what was found.
        error: what is wrong, if anything is.
    """

    what: str
    text: str
    error: IngestrError | None = None


def discover(source_uri: Secret, wanted: Sequence[str], excluded: Sequence[str], clock: Clock) -> list[FoundTable]:
    """The tables that names and patterns mean, those that can be read first; costs a call for every 25 of them."""
    with closing(open_source(source_uri, clock)) as source:
        chosen, left_out = choose_tables(source, wanted, excluded)
        listed = {each.table: each for each in source.tables()}
        found = []
        for table in chosen:
            known = listed.get(table.source_table)
            label = known.label if known else ""
            try:
                stream = source.stream(table.source_table)
                plan = stream.plan(ReadRequest(tuple(stream.schema.names)))
            except IngestrError as error:
                found.append(FoundTable(table.source_table, table.source_table, label, table.rows, reason=str(error)))
                continue
            found.append(
                FoundTable(
                    table.source_table,
                    stream.source_object,
                    label or stream.facts.label,
                    plan.rows,
                    str(stream.strategy),
                    stream.cursor_field,
                    plan.api,
                    plan.calls,
                    plan.bytes,
                    plan.seconds,
                )
            )
        for table_left in left_out:
            known = listed[table_left.source_table]
            found.append(FoundTable(known.table, known.source_object, known.label, known.rows, reason=known.reason))
        return found


def describe(source_uri: Secret, wanted: Sequence[str], excluded: Sequence[str], clock: Clock) -> list[DescribedTable]:
    """The fields of the tables that names and patterns mean, with the columns that they become."""
    with closing(open_source(source_uri, clock)) as source:
        chosen, _ = choose_tables(source, wanted, excluded)
        return [_described(source, table.source_table) for table in chosen]


def _described(source: Source, table: str) -> DescribedTable:
    stream = source.stream(table)
    names = assign_names(stream.schema.names, {}, SchemaNaming.DEFAULT)
    fields = tuple((names.get(each.name), each) for each in stream.fields)
    return DescribedTable(table, stream.source_object, stream.facts.label, fields)


def check(source_uri: Secret | None, dest_uri: Secret | None, dest_schema: str | None, clock: Clock) -> list[Finding]:
    """Whether the ends that are named can be used: each look at them, with what it showed or what is wrong."""
    found: list[Finding] = []
    if source_uri is not None:
        found += _check_source(source_uri, clock)
    if dest_uri is not None:
        found.append(_looked("destination", lambda: _check_destination(dest_uri, dest_schema)))
    return found


def loads(dest_uri: Secret, table: str | None, most: int) -> list[dict[str, Any]]:
    """The latest loads that a destination remembers, newest first; of one table, or of all."""
    with closing(open_destination(dest_uri, in_process=False)) as destination:
        destination.connect()
        named = parse_table(table, destination.default_schema).ref if table else None
        return read_loads(destination, named, most)


def _looked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, look())
    except IngestrError as error:
        return Finding(what, str(error), error)


def _check_source(source_uri: Secret, clock: Clock) -> list[Finding]:
    try:
        source = open_source(source_uri, clock)
    except IngestrError as error:
        return [Finding("source URI", str(error), error)]
    with closing(source):
        # That a token is no good shows only when something is asked for.
        tables = _looked("login", lambda: _counted_tables(source))
        if tables.error is not None:
            return [tables]
        return [
            Finding("login", f"accepted, by the org {source.identity or 'whose id nobody tells'}"),
            *[Finding("note", note) for note in source.notes],
            Finding("API", source.version),
            replace(tables, what="tables"),
            _looked("API calls", lambda: _allowance(source)),
        ]


def _counted_tables(source: Source) -> str:
    tables = source.tables()
    reasons = [each.reason for each in tables if each.reason]
    hidden = "".join(f"; {counted(reasons.count(each), 'table')}: {each}" for each in dict.fromkeys(reasons))
    return f"{counted(len(tables) - len(reasons), 'table')} can be read{hidden}"


def _allowance(source: Source) -> str:
    usage = source.usage
    if usage.used is None or not usage.limit:
        return "the org does not tell how many are used"
    return f"{usage.used:,} of {usage.limit:,} are used ({usage.used / usage.limit:.0%})"


def _check_destination(dest_uri: Secret, schema: str | None) -> str:
    """Make a table, and take that back; a file that is not there is not made."""
    with closing(open_destination(dest_uri, in_process=False)) as destination:
        destination.connect()
        if not destination.exists():
            return "the file is not there yet, and can be made"
        probe = TableRef(schema or destination.default_schema, _PROBE)
        columns = [exp.ColumnDef(this=exp.to_identifier("id"), kind=exp.DataType.build("TEXT"))]
        try:
            made = exp.Create(this=exp.Schema(this=probe.to_table(), expressions=columns), kind="TABLE")
            destination.execute([create_schema(probe.schema), made])
            destination.query(exp.select("id").from_(probe.to_table()))
        finally:
            destination.rollback()
        return f"tables can be made in the schema {probe.schema}"
