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
    },
    later=frozenset({"mask"}),
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


def write_state(
    ledger: Ledger, state: StreamState, contents: exp.Query | None, run_id: str, now: datetime
) -> Statements:
    """Statements that leave exactly this state for the target.

    Args:
        ledger: where it is kept.
        state: how far the target has been read; its ``contents`` are those of an earlier run.
        contents: the query of ``contents_of`` for what the target holds now; None where nobody needs to know.
        run_id: of this run.
        now: when this run began.
    """
    row: dict[str, object] = {
        "source_object": state.source_object,
        "source_identity": state.source_identity,
        "cursor_field": state.cursor_field,
        "cursor_value": state.cursor_value,
        "run_id": run_id,
        "updated_at": now,
        "covered_from": state.covered_from,
        "refreshed_at": state.refreshed_at,
    }
    for name, told in (("table_rows", "n"), ("newest_change", "newest_change"), ("newest_load", "newest_load")):
        row[name] = None if contents is None else exp.column(told)
    return ledger.replace(STATE, [row], contents)


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


def read_names(ledger: Ledger, source_object: str) -> KeptNames:
    """What is kept of the object's fields in this target."""
    rows = [row for row in ledger.rows(COLUMNS) if row["source_object"] == source_object]
    kept = {
        row["field"]: KeptField(row["column_name"], row["field_type"], row["was_read"], row["mask"]) for row in rows
    }
    return KeptNames(kept, rows[0]["naming"] if rows else None)


def contents_of(target: Target, changed: TargetColumn | None, loaded_at: TargetColumn | None) -> exp.Select:
    """A query for what tells the table's content from an older copy of it: ``n``, ``newest_change``, ``newest_load``.

    Args:
        target: the table as it stands.
        changed: the column of the cursor, if there is one.
        loaded_at: the column of the load timestamp, if there is one.
    """
    newest = {"newest_change": changed, "newest_load": loaded_at}
    wanted = [
        (exp.Max(this=as_moment(there, column(there.name))) if there is not None else exp.null()).as_(name)
        for name, there in newest.items()
    ]
    return exp.select(exp.Count(this=exp.Star()).as_("n"), *wanted).from_(target.ref.to_table())


def read_contents(row: Mapping[str, Any]) -> Contents:
    """The contents that a row of that query tells."""
    return Contents(int(row["n"]), _in_utc(row["newest_change"]), _in_utc(row["newest_load"]))


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment is not None else None


def write_names(ledger: Ledger, source_object: str, fields: Mapping[str, KeptField], naming: str) -> Statements:
    """Statements that leave exactly these fields for the target; none where these are kept already."""
    kept = read_names(ledger, source_object)
    if kept == KeptNames(dict(fields), naming) and len(ledger.rows(COLUMNS)) == len(fields):
        return []
    rows = [
        {
            "source_object": source_object,
            "field": field,
            "column_name": each.column,
            "naming": naming,
            "field_type": each.type,
            "was_read": each.was_read,
            "mask": each.mask,
        }
        for field, each in fields.items()
    ]
    return ledger.replace(COLUMNS, rows)
