"""Compares a merged table with the source, and heals what differs. Knows no platform and no engine.

A merge reads what changed, so it cannot see rows that vanished without a trace, nor rows that it never saw. The number
of rows that were live when the run's window ended tells; if it differs, the Ids of all live rows are compared in the
engine.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Window
from ingestr.core.masking import Mask
from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.sql import column, identifier, moment
from ingestr.core.strategy import Deletes
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef, Target, TargetColumn
from ingestr.errors import IncompleteReadError
from ingestr.ledger.quarantine import Quarantine
from ingestr.run.guard import DeletionGuard
from ingestr.sources.base import ReadRequest, Stream
from ingestr.strategies.base import count_rows, drop
from ingestr.strategies.fit import as_flag, as_moment, cast

log = logging.getLogger("ingestr")

_MOST_SINGLE_ROWS = 5_000


@dataclass(frozen=True)
class LiveColumns:
    """Which columns of the target tell whether a row was live at a moment; None where there is no such column.

    Args:
        key: the column of the key.
        created, changed, deleted, loaded_at: the columns of these roles.
        cursor: the column that what is covered is told by.
    """

    key: str
    created: TargetColumn | None
    changed: TargetColumn | None
    deleted: TargetColumn | None
    loaded_at: TargetColumn | None
    cursor: TargetColumn | None


@dataclass(frozen=True)
class Comparison:
    """Both sides of one comparison.

    Args:
        destination: holds the target.
        stream: the source's side.
        target: the merged table as it stands.
        columns: what tells live rows.
        covered: the window of changes that the table holds, open at its end; None where it holds everything.
        upper: the moment at which both sides are counted: the end of the run's window.
        loaded_at: stamped on rows that are marked as deleted.
        quarantine: rows that the target lacks because they cannot be had.
        guard: told of rows before they are marked or removed.
        staging: where rows of the target are staged; keys are, beside it.
        read_rows: reads rows of these keys (all rows if None) and merges them into the target.
        key_mask: what becomes of keys on their way into the target; None where they stay as they are.
    """

    destination: Destination
    stream: Stream
    target: Target
    columns: LiveColumns
    covered: Window | None
    upper: datetime
    loaded_at: datetime
    quarantine: Quarantine
    guard: DeletionGuard
    staging: TableRef
    read_rows: Callable[[tuple[str, ...] | None], None]
    key_mask: Mask | None = None

    def live(self) -> exp.Expr:
        """The rows of the target that were live at ``upper``: those deleted since then still were."""
        columns, upper = self.columns, moment(self.upper)
        conditions: list[exp.Expr] = [exp.true()]
        if columns.created:
            conditions.append(_moment_of(columns.created) < upper)
        if columns.deleted:
            there = exp.not_(as_flag(columns.deleted, column(columns.deleted.name)))
            conditions.append(exp.or_(there, _moment_of(columns.changed) >= upper) if columns.changed else there)
        if self.covered is not None and self.covered.start is not None and columns.cursor is not None:
            conditions.append(_moment_of(columns.cursor) >= moment(self.covered.start))
        return exp.and_(*conditions)

    def known(self) -> exp.Select:
        """A query for the keys of those rows."""
        return exp.select(column(self.columns.key)).from_(self.target.ref.to_table()).where(self.live())

    def count_target(self) -> int:
        """Live rows of the target."""
        return count_rows(self.destination, self.target.ref, self.live())

    def count_lacking(self) -> int:
        """Rows that the target lacks because they are in quarantine."""
        ids = self.quarantine.ids()
        if ids is None:
            return 0
        lacking = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(ids.subquery("q"))
        lacking = lacking.where(exp.not_(column("row_id", "q").isin(query=self.known())))
        return int(self.destination.query(lacking)[0]["n"])


@dataclass(frozen=True)
class Tally:
    """What a comparison found and did: rows deleted in the target, and live rows on both sides (None: not counted)."""

    deleted: int
    in_source: int | None
    in_destination: int


def reconcile(both: Comparison, since: datetime | None, deletes: Deletes, in_source: int | None) -> Tally:
    """Bring the target's live rows in line with the source's.

    Args:
        both: the two sides.
        since: deletions before this moment are known already; None after a read of everything.
        deletes: what the user wants of deleted rows.
        in_source: live rows at the source at ``upper``, counted when the run began.

    Raises:
        IncompleteReadError: the sides differ and cannot be brought together.
    """
    if deletes is Deletes.IGNORE:
        return Tally(0, in_source, both.count_target())
    gone = 0
    if since is not None:
        listed = both.stream.deleted_since(since, both.upper)
        if listed:
            what = "are in Salesforce's log of deletions"
            gone += _with_ids(
                both, [listed], lambda ids: _mark_deleted(both, exp.select(column("id")).from_(ids), what)
            )
    in_destination = both.count_target()
    if in_source is not None and in_source != in_destination + both.count_lacking():
        log.info("%s live rows in Salesforce, %s in %s: comparing Ids", in_source, in_destination, both.target.ref)
        swept, vanished = _sweep(both)
        in_source, gone, in_destination = swept, gone + vanished, both.count_target()
        if in_source != in_destination + (lacking := both.count_lacking()):
            apart = f" and {lacking} in quarantine" if lacking else ""
            raise IncompleteReadError(
                f"Salesforce has {in_source} live rows, {both.target.ref} {in_destination}{apart}, "
                "even after comparing all Ids",
                hint="run again; if it stays so, start again with --full-refresh",
            )
    return Tally(gone, in_source, in_destination)


def remove_deleted(both: Comparison) -> int:
    """For ``hard``: rows that are marked as deleted go; returns how many."""
    if both.columns.deleted is None:
        return 0
    marked = as_flag(both.columns.deleted, column(both.columns.deleted.name))
    number = count_rows(both.destination, both.target.ref, marked)
    if number:
        both.destination.execute([exp.delete(both.target.ref.to_table(), where=marked.copy())])
    return number


def _sweep(both: Comparison) -> tuple[int, int]:
    """Compare all Ids; returns the live rows at the source, and how many rows of the target were found to be gone."""
    request = ReadRequest(fields=both.stream.primary_key, live_before=both.upper, window=both.covered)
    with both.stream.read(request) as stream:

        def compare(swept: exp.Table) -> tuple[int, int]:
            there = exp.select(column("id")).from_(swept)
            mine = column(both.columns.key)
            missing = exp.select(column("id")).from_(swept.copy())
            missing = missing.where(exp.not_(column("id").isin(query=both.known())))
            both.destination.execute(both.quarantine.keep_only(there))
            if (apart := both.quarantine.ids()) is not None:
                missing = missing.where(exp.not_(column("id").isin(query=apart)))
            absent = tuple(row["id"] for row in both.destination.query(missing.limit(_MOST_SINGLE_ROWS + 1)))
            gone = both.known().where(exp.not_(mine.isin(query=there.copy())))
            vanished = _mark_deleted(both, gone, "are not among those that this login sees in Salesforce")
            if absent:
                log.info(
                    "reading %s rows that the table lacks", "all" if len(absent) > _MOST_SINGLE_ROWS else len(absent)
                )
                # Nobody can tell from a masked key which row to ask for.
                everything = len(absent) > _MOST_SINGLE_ROWS or both.key_mask is not None
                both.read_rows(None if everything else absent)
            return count_rows(both.destination, _ids_table(both)), vanished

        return _with_staged(both, stream, compare)


def _ids_table(both: Comparison) -> TableRef:
    return TableRef(both.staging.schema, f"{both.staging.name}_ids")


def _mark_deleted(both: Comparison, ids: exp.Query, what: str) -> int:
    """Mark live rows of these keys as deleted, or remove them where the table has no such mark; returns how many.

    Args:
        both: the two sides.
        ids: a query for the keys.
        what: why they are to go, for the message of the guard.
    """
    columns, table = both.columns, both.target.ref.to_table()
    those: exp.Expr = column(columns.key).isin(query=ids)
    if columns.deleted:
        those = exp.and_(those, exp.not_(as_flag(columns.deleted, column(columns.deleted.name))))
    number = count_rows(both.destination, both.target.ref, those)
    both.guard.take(number, what)
    if number and columns.deleted:
        values: dict[str, exp.Expr] = {columns.deleted.name: cast(exp.true(), pa.bool_(), columns.deleted.kind)}
        if columns.loaded_at:
            values[columns.loaded_at.name] = cast(moment(both.loaded_at), TIMESTAMP, columns.loaded_at.kind)
        sets = [exp.EQ(this=exp.Column(this=identifier(name)), expression=value) for name, value in values.items()]
        both.destination.execute([exp.Update(this=table.copy(), expressions=sets, where=exp.Where(this=those.copy()))])
    elif number:
        both.destination.execute([exp.delete(table.copy(), where=those.copy())])
    return number


def _with_ids(both: Comparison, ids: Iterable[list[str]], use: Callable[[exp.Table], int]) -> int:
    schema = TableSchema((Column("id", pa.string()),))
    batches = [pa.record_batch([pa.array(some, pa.string())], names=["id"]) for some in ids]
    return _with_staged(both, RecordStream(schema, batches), lambda table: (use(table), 0))[0]


def _with_staged(
    both: Comparison, stream: RecordStream, use: Callable[[exp.Table], tuple[int, int]]
) -> tuple[int, int]:
    """Load one column of keys into a staging table, as ``id``, use it, and drop it."""
    staging = _ids_table(both)
    renamed, mask = TableSchema((Column("id", pa.string()),)), both.key_mask
    keys = (batch.column(0) if mask is None else mask.apply(batch.column(0)) for batch in stream)
    batches = (pa.RecordBatch.from_arrays([some], schema=renamed.arrow) for some in keys)
    both.destination.load(RecordStream(renamed, batches, on_close=stream.close), staging)
    result = use(staging.to_table())
    both.destination.execute([drop(staging)])
    return result


def _moment_of(there: TargetColumn) -> exp.Expr:
    return as_moment(there, column(there.name))
