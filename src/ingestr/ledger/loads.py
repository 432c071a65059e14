"""What each load did, kept beside the tables: when, how, how many rows on both sides, what it cost, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP
from ingestr.core.sql import Statements, column
from ingestr.destinations.base import Destination, TableRef
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.table import SystemTable, about, moment_literal
from ingestr.result import IngestResult

_TEXT, _NUMBER = pa.string(), pa.int64()
LOADS = SystemTable(
    "loads",
    {
        "run_id": _TEXT,
        "source_object": _TEXT,
        "outcome": _TEXT,
        "error": _TEXT,
        "strategy": _TEXT,
        "read_by": _TEXT,
        "window_start": TIMESTAMP,
        "window_end": TIMESTAMP,
        "rows_read": _NUMBER,
        "rows_inserted": _NUMBER,
        "rows_updated": _NUMBER,
        "rows_unchanged": _NUMBER,
        "rows_deleted": _NUMBER,
        "rows_quarantined": _NUMBER,
        "rows_in_source": _NUMBER,
        "rows_in_destination": _NUMBER,
        "api_calls": _NUMBER,
        "bytes_received": _NUMBER,
        "seconds": pa.float64(),
        "started_at": TIMESTAMP,
        "ended_at": TIMESTAMP,
    },
    later=frozenset({"bytes_received"}),
    most=1,
)
DONE, FAILED = "done", "failed"
# So long loads are remembered.
_KEPT = timedelta(days=90)


@dataclass(frozen=True)
class Run:
    """Which run a load was of.

    Args:
        run_id: tells it from others.
        source_object: the platform's name of the table.
        began: our clock when it began.
        ended: our clock when it ended.
    """

    run_id: str
    source_object: str
    began: datetime
    ended: datetime


def done(ledger: Ledger, run: Run, result: IngestResult) -> Statements:
    """Statements for the load's own transaction."""
    row = {
        "outcome": DONE,
        "strategy": str(result.strategy),
        "read_by": result.read_by,
        "window_start": result.window.start if result.window else None,
        "window_end": result.window.end if result.window else None,
        **{name: getattr(result, name) for name in LOADS.columns if name.startswith("rows_")},
        "api_calls": result.usage.calls,
        # What a broken-off run had downloaded is not among them.
        "bytes_received": None if result.resumed else result.usage.received,
        "seconds": round(result.seconds, 3),
    }
    return _insert(ledger, run, row)


def failed(ledger: Ledger, run: Run, error: Exception) -> Statements:
    """Statements for a transaction of their own, after the load was rolled back; none where no load was noted yet.

    A first run that fails leaves nothing behind, not even a note.
    """
    return _insert(ledger, run, {"outcome": FAILED, "error": str(error)}) if ledger.has(LOADS) else []


def _insert(ledger: Ledger, run: Run, known: Mapping[str, object]) -> Statements:
    row = {
        **dict.fromkeys(LOADS.columns),
        **known,
        "run_id": run.run_id,
        "source_object": run.source_object,
        "started_at": run.began,
        "ended_at": run.ended,
    }
    old = ledger.delete(LOADS, column("ended_at") < moment_literal(run.ended - _KEPT))
    return [*ledger.ensure(LOADS), old, *ledger.insert(LOADS, [row])]


def largest_load(destination: Destination, ledger: Ledger, source_object: str, read_by: str) -> dict[str, Any] | None:
    """The load that read the most rows of a table by one API, of those that were measured; None where there is none.

    Its bytes and seconds tell the most of what a row takes, as little of them is for the load itself.
    """
    query = ledger.select(LOADS)
    if query is None or "bytes_received" not in query.named_selects:
        return None
    query = query.where(
        column("outcome").eq(DONE),
        column("source_object").eq(source_object),
        column("read_by").eq(read_by),
        column("rows_read") > 0,
        exp.not_(column("bytes_received").is_(exp.null())),
    )
    newest = [exp.Ordered(this=column(name), desc=True) for name in ("rows_read", "ended_at")]
    [rows] = destination.query(query.order_by(*newest).limit(1))
    return LOADS.parse(rows[0]) if rows else None


def read_loads(destination: Destination, table: TableRef | None, most: int) -> list[dict[str, Any]]:
    """The latest loads, newest first, with the table that each was about.

    Args:
        destination: where they are kept.
        table: only those of one table; None for all.
        most: so many of them.

    Raises:
        DestinationError: the table is not one that ingestr made.
    """
    [there] = destination.describe(LOADS.ref)
    if there is None:
        return []
    LOADS.check(there)
    query = LOADS.select_all(there).select(column("table_schema"), column("table_name"))
    if table is not None:
        query = query.where(about(table))
    query = query.order_by(exp.Ordered(this=column("ended_at"), desc=True)).limit(most)
    [rows] = destination.query(query)
    return [{"table": f"{row['table_schema']}.{row['table_name']}", **LOADS.parse(row)} for row in rows]
