"""What ``_ingestr`` keeps about a target: how far it has been read, and which name each field was given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Contents, StreamState
from ingestr.core.schema import TIMESTAMP
from ingestr.core.sql import Statements, column
from ingestr.destinations.base import Destination, TableRef, Target, TargetColumn
from ingestr.ledger.table import SystemTable
from ingestr.strategies.fit import as_moment

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
        "covered_from": TIMESTAMP,
        "table_rows": pa.int64(),
        "newest_change": TIMESTAMP,
        "newest_load": TIMESTAMP,
    },
    later=frozenset({"covered_from", "table_rows", "newest_change", "newest_load"}),
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
        "mask": _TEXT,
    },
    later=frozenset({"mask"}),
)


def read_state(destination: Destination, target: TableRef) -> StreamState | None:
    """How far the target has been read; None if never by us."""
    rows = _STATE.rows(destination, target)
    if not rows:
        return None
    row = rows[0]
    contents = None
    if row["table_rows"] is not None:
        contents = Contents(row["table_rows"], _in_utc(row["newest_change"]), _in_utc(row["newest_load"]))
    return StreamState(
        source_object=row["source_object"] or "",
        source_identity=row["source_identity"],
        cursor_field=row["cursor_field"],
        cursor_value=_in_utc(row["cursor_value"]),
        covered_from=_in_utc(row["covered_from"]),
        contents=contents,
    )


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def write_state(target: TableRef, state: StreamState, run_id: str, now: datetime) -> Statements:
    """Statements that leave exactly this state for the target."""
    row = {
        "source_object": state.source_object,
        "source_identity": state.source_identity,
        "cursor_field": state.cursor_field,
        "cursor_value": state.cursor_value,
        "run_id": run_id,
        "updated_at": now,
        "covered_from": state.covered_from,
        "table_rows": state.contents.rows if state.contents else None,
        "newest_change": state.contents.newest_change if state.contents else None,
        "newest_load": state.contents.newest_load if state.contents else None,
    }
    return _STATE.replace(target, [row])


@dataclass(frozen=True)
class KeptField:
    """What is kept of one field of a target.

    Args:
        column: the name that its column was given.
        type: its Arrow type when it was last read, as text.
        was_read: whether the last run read it.
        mask: how its values are masked, without a secret; None if they are not.
    """

    column: str
    type: str
    was_read: bool
    mask: str | None = None


@dataclass(frozen=True)
class KeptNames:
    """What is kept of an object's fields in one target, and the naming that their columns follow, if there are any."""

    fields: dict[str, KeptField]
    naming: str | None


def read_names(destination: Destination, target: TableRef, source_object: str) -> KeptNames:
    """What is kept of the object's fields in this target."""
    rows = [row for row in _COLUMNS.rows(destination, target) if row["source_object"] == source_object]
    kept = {
        row["field"]: KeptField(row["column_name"], row["field_type"], row["was_read"], row["mask"]) for row in rows
    }
    return KeptNames(kept, rows[0]["naming"] if rows else None)


def read_contents(
    destination: Destination, target: Target, changed: TargetColumn | None, loaded_at: TargetColumn | None
) -> Contents:
    """What tells the table's content from an older copy of it.

    Args:
        destination: holds the table.
        target: the table as it stands.
        changed: the column of the cursor, if there is one.
        loaded_at: the column of the load timestamp, if there is one.
    """
    newest = {"newest_change": changed, "newest_load": loaded_at}
    wanted = [
        (exp.Max(this=as_moment(there, column(there.name))) if there is not None else exp.null()).as_(name)
        for name, there in newest.items()
    ]
    counted = exp.select(exp.Count(this=exp.Star()).as_("n"), *wanted).from_(target.ref.to_table())
    [row] = destination.query(counted)
    return Contents(int(row["n"]), _in_utc(row["newest_change"]), _in_utc(row["newest_load"]))


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
            "mask": kept.mask,
        }
        for field, kept in fields.items()
    ]
    return _COLUMNS.replace(target, rows)
