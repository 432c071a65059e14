"""The tables of the schema ``_ingestr``: how far each target has been read, and which name each field was given."""

from collections.abc import Container, Mapping
from datetime import UTC, datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import StreamState
from ingestr.core.schema import TIMESTAMP
from ingestr.destinations.base import SYSTEM_SCHEMA, Destination, TableRef
from ingestr.strategies.base import Statements, column, create_schema, identifier, sql_type

_STATE = TableRef(SYSTEM_SCHEMA, "state")
_COLUMNS = TableRef(SYSTEM_SCHEMA, "columns")
_TEXT = pa.string()
_STATE_COLUMNS = {
    "table_schema": _TEXT,
    "table_name": _TEXT,
    "source_object": _TEXT,
    "source_identity": _TEXT,
    "cursor_field": _TEXT,
    "cursor_value": TIMESTAMP,
    "run_id": _TEXT,
    "updated_at": TIMESTAMP,
}
_COLUMNS_COLUMNS = {
    "table_schema": _TEXT,
    "table_name": _TEXT,
    "source_object": _TEXT,
    "field": _TEXT,
    "column_name": _TEXT,
    "naming": _TEXT,
    "was_read": pa.bool_(),
}


def read_state(destination: Destination, target: TableRef) -> StreamState | None:
    """How far the target has been read; None if never by us."""
    if destination.columns(_STATE) is None:
        return None
    rows = destination.query(_select(_STATE, target, _STATE_COLUMNS))
    if not rows:
        return None
    row = rows[0]
    value = row["cursor_value"]
    return StreamState(
        source_object=row["source_object"],
        source_identity=row["source_identity"],
        cursor_field=row["cursor_field"],
        cursor_value=value.astimezone(UTC) if value else None,
    )


def write_state(target: TableRef, state: StreamState, run_id: str, now: datetime) -> Statements:
    """Statements that leave exactly this state for the target."""
    row: dict[str, object] = {
        "table_schema": target.schema,
        "table_name": target.name,
        "source_object": state.source_object,
        "source_identity": state.source_identity,
        "cursor_field": state.cursor_field,
        "cursor_value": state.cursor_value,
        "run_id": run_id,
        "updated_at": now,
    }
    return [*_ensure(_STATE, _STATE_COLUMNS), _delete(_STATE, target), _insert(_STATE, _STATE_COLUMNS, [row])]


def read_names(
    destination: Destination, target: TableRef, source_object: str
) -> tuple[dict[str, str], str | None, frozenset[str]]:
    """What is kept of the object's fields in this target.

    Returns:
        field → column name, the naming that they follow, and the fields that the last run did not read.
    """
    if destination.columns(_COLUMNS) is None:
        return {}, None, frozenset()
    rows = [
        row
        for row in destination.query(_select(_COLUMNS, target, _COLUMNS_COLUMNS))
        if row["source_object"] == source_object
    ]
    absent = frozenset(row["field"] for row in rows if not row["was_read"])
    return {row["field"]: row["column_name"] for row in rows}, rows[0]["naming"] if rows else None, absent


def write_names(
    target: TableRef, source_object: str, names: Mapping[str, str], read: Container[str], naming: str
) -> Statements:
    """Statements that leave exactly these names for the target, and which of the fields were ``read``."""
    rows: list[dict[str, object]] = [
        {
            "table_schema": target.schema,
            "table_name": target.name,
            "source_object": source_object,
            "field": field,
            "column_name": name,
            "naming": naming,
            "was_read": field in read,
        }
        for field, name in names.items()
    ]
    return [*_ensure(_COLUMNS, _COLUMNS_COLUMNS), _delete(_COLUMNS, target), _insert(_COLUMNS, _COLUMNS_COLUMNS, rows)]


def _of(target: TableRef) -> exp.Expr:
    return exp.and_(column("table_schema").eq(target.schema), column("table_name").eq(target.name))


def _select(table: TableRef, target: TableRef, columns: Mapping[str, pa.DataType]) -> exp.Select:
    return exp.select(*(column(name) for name in columns)).from_(table.to_table()).where(_of(target))


def _ensure(table: TableRef, columns: Mapping[str, pa.DataType]) -> Statements:
    definitions = [exp.ColumnDef(this=identifier(name), kind=sql_type(type_)) for name, type_ in columns.items()]
    schema = exp.Schema(this=table.to_table(), expressions=definitions)
    return [create_schema(table.schema), exp.Create(this=schema, kind="TABLE", exists=True)]


def _delete(table: TableRef, target: TableRef) -> exp.Expr:
    return exp.delete(table.to_table(), where=_of(target))


def _insert(table: TableRef, columns: Mapping[str, pa.DataType], rows: list[dict[str, object]]) -> exp.Expr:
    def literal(value: object, type_: pa.DataType) -> exp.Expr:
        if isinstance(value, datetime):
            return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), sql_type(type_))
        return exp.convert(value)

    tuples = [exp.Tuple(expressions=[literal(row[name], type_) for name, type_ in columns.items()]) for row in rows]
    return exp.insert(exp.Values(expressions=tuples), table.to_table(), columns=[identifier(name) for name in columns])
