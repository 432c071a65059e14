"""What ``_ingestr`` keeps about a target: how far it has been read, and which name each field was given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Contents, StreamState
from ingestr.core.schema import TIMESTAMP
from ingestr.core.sql import Statements, column
from ingestr.destinations.base import Target, TargetColumn
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.table import SystemTable
from ingestr.strategies.fit import as_moment

_TEXT = pa.string()
STATE = SystemTable(
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
        "refreshed_at": TIMESTAMP,
    },
    later=frozenset({"covered_from", "table_rows", "newest_change", "newest_load", "refreshed_at"}),
)
COLUMNS = SystemTable(
    "columns",
    {
        "source_object": _TEXT,
        "field": _TEXT,
        "column_name": _TEXT,
        "naming": _TEXT,
        "field_type": _TEXT,
        "was_read": pa.bool_(),
        "mask": _TEXT,
        "comment": _TEXT,
        "table_comment": _TEXT,
    },
    later=frozenset({"mask", "comment", "table_comment"}),
)


def read_state(ledger: Ledger) -> StreamState | None:
    """How far the target has been read; None if never by us."""
    rows = ledger.rows(STATE)
    if not rows:
        return None
    row = rows[0]
    known = row["table_rows"] is not None
    return StreamState(
        source_object=row["source_object"] or "",
        source_identity=row["source_identity"],
        cursor_field=row["cursor_field"],
        cursor_value=row["cursor_value"],
        covered_from=row["covered_from"],
        contents=Contents(row["table_rows"], row["newest_change"], row["newest_load"]) if known else None,
        refreshed_at=row["refreshed_at"],
    )


def write_state(ledger: Ledger, state: StreamState, run_id: str, now: datetime) -> Statements:
    """Statements that leave exactly this state for the target.

    Args:
        ledger: where it is kept.
        state: how far the target has been read, and what it holds now.
        run_id: of this run.
        now: when this run began.
    """
    contents = state.contents
    row: dict[str, object] = {
        "source_object": state.source_object,
        "source_identity": state.source_identity,
        "cursor_field": state.cursor_field,
        "cursor_value": state.cursor_value,
        "run_id": run_id,
        "updated_at": now,
        "covered_from": state.covered_from,
        "table_rows": None if contents is None else contents.rows,
        "newest_change": None if contents is None else contents.newest_change,
        "newest_load": None if contents is None else contents.newest_load,
        "refreshed_at": state.refreshed_at,
    }
    return ledger.replace(STATE, [row])


@dataclass(frozen=True)
class KeptField:
    """What is kept of one field of a target.

    Args:
        column: the name that its column was given.
        type: its Arrow type when it was last read, as text.
        was_read: whether the last run read it.
        mask: how its values are masked, without a secret; None if they are not.
        comment: the comment that ingestr gave the column; None if it gave none.
    """

    column: str
    type: str
    was_read: bool
    mask: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class KeptNames:
    """What is kept of an object's fields in one target.

    Args:
        fields: by their names.
        naming: what their columns' names follow; None where nothing is kept.
        comment: the comment that ingestr gave the table; None if it gave none.
    """

    fields: dict[str, KeptField]
    naming: str | None
    comment: str | None = None


def read_names(ledger: Ledger, source_object: str) -> KeptNames:
    """What is kept of the object's fields in this target."""
    rows = [row for row in ledger.rows(COLUMNS) if row["source_object"] == source_object]
    kept = {
        row["field"]: KeptField(row["column_name"], row["field_type"], row["was_read"], row["mask"], row["comment"])
        for row in rows
    }
    return KeptNames(kept, rows[0]["naming"], rows[0]["table_comment"]) if rows else KeptNames(kept, None)


def comments_of_ours(ledger: Ledger) -> tuple[str | None, dict[str, str | None]]:
    """The comments that ingestr gave the target, and each of its columns by its lower-case name, whatever it held."""
    rows = ledger.rows(COLUMNS)
    return rows[0]["table_comment"] if rows else None, {row["column_name"].lower(): row["comment"] for row in rows}


def contents_of(
    target: Target, changed: TargetColumn | None, loaded_at: TargetColumn | None, live: exp.Expr
) -> exp.Select:
    """A query for what tells the table's content from an older copy of it: ``n``, ``newest_change``, ``newest_load``.

    The rows for which a condition is true are counted beside it, as ``live``, so that the table is read once.

    Args:
        target: the table as it stands.
        changed: the column of the cursor, if there is one.
        loaded_at: the column of the load timestamp, if there is one.
        live: the condition.
    """
    newest = {"newest_change": changed, "newest_load": loaded_at}
    wanted = [
        (exp.Max(this=as_moment(there, column(there.name))) if there is not None else exp.null()).as_(name)
        for name, there in newest.items()
    ]
    counted = exp.Count(this=exp.Case().when(live, 1)).as_("live")
    return exp.select(exp.Count(this=exp.Star()).as_("n"), counted, *wanted).from_(target.ref.to_table())


def read_contents(row: Mapping[str, Any]) -> Contents:
    """The contents that a row of that query tells."""
    return Contents(int(row["n"]), _in_utc(row["newest_change"]), _in_utc(row["newest_load"]))


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def write_names(ledger: Ledger, source_object: str, names: KeptNames) -> Statements:
    """Statements that leave exactly these fields for the target; none where these are kept already."""
    if read_names(ledger, source_object) == names and len(ledger.rows(COLUMNS)) == len(names.fields):
        return []
    rows = [
        {
            "source_object": source_object,
            "field": field,
            "column_name": each.column,
            "naming": names.naming,
            "field_type": each.type,
            "was_read": each.was_read,
            "mask": each.mask,
            "comment": each.comment,
            "table_comment": names.comment,
        }
        for field, each in names.fields.items()
    ]
    return ledger.replace(COLUMNS, rows)
