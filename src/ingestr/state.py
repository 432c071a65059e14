"""What ``_ingestr`` keeps about a target: how far it has been read, and which name each field was given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from ingestr.core.cursor import StreamState
from ingestr.core.schema import TIMESTAMP
from ingestr.destinations.base import Destination, TableRef
from ingestr.strategies.base import Statements
from ingestr.system import SystemTable

_TEXT = pa.string()
_STATE = SystemTable(
    "state",
    {
        "source_object": _TEXT,
        "source_identity": _TEXT,
        "cursor_field": _TEXT,
        "cursor_value": TIMESTAMP,
        "run_id": _TEXT,
        "updated_at": TIMESTAMP,
    },
)
_COLUMNS = SystemTable(
    "columns",
    {
        "source_object": _TEXT,
        "field": _TEXT,
        "column_name": _TEXT,
        "naming": _TEXT,
        "field_type": _TEXT,
        "was_read": pa.bool_(),
    },
)


def read_state(destination: Destination, target: TableRef) -> StreamState | None:
    """How far the target has been read; None if never by us."""
    rows = _STATE.rows(destination, target)
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
    row = {
        "source_object": state.source_object,
        "source_identity": state.source_identity,
        "cursor_field": state.cursor_field,
        "cursor_value": state.cursor_value,
        "run_id": run_id,
        "updated_at": now,
    }
    return _STATE.replace(target, [row])


@dataclass(frozen=True)
class KeptField:
    """What is kept of one field of a target.

    Args:
        column: the name that its column was given.
        type: its Arrow type when it was last read, as text.
        was_read: whether the last run read it.
    """

    column: str
    type: str
    was_read: bool


def read_names(
    destination: Destination, target: TableRef, source_object: str
) -> tuple[dict[str, KeptField], str | None]:
    """What is kept of the object's fields in this target, by field, and the naming that their columns follow."""
    rows = [row for row in _COLUMNS.rows(destination, target) if row["source_object"] == source_object]
    kept = {row["field"]: KeptField(row["column_name"], row["field_type"], row["was_read"]) for row in rows}
    return kept, rows[0]["naming"] if rows else None


def write_names(target: TableRef, source_object: str, fields: Mapping[str, KeptField], naming: str) -> Statements:
    """Statements that leave exactly these fields for the target."""
    rows = [
        {
            "source_object": source_object,
            "field": field,
            "column_name": kept.column,
            "naming": naming,
            "field_type": kept.type,
            "was_read": kept.was_read,
        }
        for field, kept in fields.items()
    ]
    return _COLUMNS.replace(target, rows)
