"""Compares a merged table with the source, and heals what differs. Knows no platform and no engine.

A merge reads what changed, so it cannot see rows that vanished without a trace, nor rows that it never saw. The number
of rows that were live when the run's window ended tells; if it differs, the Ids of all live rows are compared in the
engine.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.sql import absent_from, column, identifier, moment
from ingestr.core.strategy import Deletes
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Role, TableRef, TargetColumn
from ingestr.errors import IncompleteReadError
from ingestr.flags import Flag
from ingestr.run.execution import Execution, Written
from ingestr.run.load import live_rows, merge_rows
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import ReadRequest
from ingestr.strategies.base import count_rows, drop, refuse_repeated_keys
from ingestr.strategies.fit import as_flag, as_moment, cast

log = logging.getLogger("ingestr")

_MOST_SINGLE_ROWS = 5_000
T = TypeVar("T")


@dataclass(frozen=True)
class Tally:
    """What a comparison found and did.

    Args:
        deleted: rows of the target that it marked or removed.
        in_source: live rows at the source; None where they are not counted.
        in_destination: live rows of the target.
        healed: rows that the target lacked and that were read again.
    """

    deleted: int
    in_source: int | None
    in_destination: int
    healed: Written = field(default_factory=Written)


def deletions_since(plan: TablePlan, resumed: datetime | None) -> datetime | None:
    """From when on deletions are to be asked for; None after a read of everything, and where they do not matter.

    Args:
        plan: what is done.
        resumed: the moment of the read that is taken up, or None.
    """
    since = plan.progression.until or resumed
    return since - plan.lag if since is not None and plan.rules.deletes is not Deletes.IGNORE else None


def reconcile(execution: Execution, plan: TablePlan, since: datetime | None, in_source: int | None) -> Tally:
    """Bring the target's live rows in line with the source's.

    Args:
        execution: of the plan, whose rows are written.
        plan: what was done.
        since: deletions before this moment are known already; None after a read of everything.
        in_source: live rows at the source at ``plan.upper``, counted when the run began.

    Raises:
        IncompleteReadError: the sides differ and cannot be brought together.
        MassDeletionError: an unusual share of the rows would go.
    """
    both, deletes = _Sides(execution, plan), plan.rules.deletes
    if deletes is Deletes.IGNORE:
        return Tally(0, in_source, both.count_target())
    gone, healed = 0, Written()
    if since is not None:
        listed = execution.stream.deleted_since(since, plan.upper)
        if listed:
            what = f"are in {execution.stream.platform}'s log of deletions"
            gone += _with_ids(
                both, [listed], lambda ids: _mark_deleted(both, exp.select(column("id")).from_(ids), what)
            )
    in_destination = both.count_target()
    if in_source is not None and in_source != in_destination + both.count_lacking():
        platform = execution.stream.platform
        log.info("%s live rows in %s, %s in %s: comparing Ids", in_source, platform, in_destination, plan.target.ref)
        in_source, vanished, healed = _sweep(both)
        gone, in_destination = gone + vanished, both.count_target()
        if in_source != in_destination + (lacking := both.count_lacking()):
            refuse_repeated_keys(execution.destination, plan.target.ref, [both.key])
            apart = f" and {lacking} in quarantine" if lacking else ""
            raise IncompleteReadError(
                f"{platform} has {in_source} live rows, {plan.target.ref} {in_destination}{apart}, "
                "even after comparing all Ids",
                hint=f"run again; if it stays so, start again with {Flag.FULL_REFRESH}",
            )
    if deletes is Deletes.HARD:
        # Those that the comparison has just marked are counted there.
        gone = max(gone, _remove_marked(both))
    return Tally(gone, in_source, in_destination, healed)


class _Sides:
    """The target as it stands beside the source, at the end of the run's window."""

    def __init__(self, execution: Execution, plan: TablePlan) -> None:
        target = execution.table()
        assert target is not None  # noqa: S101 - it was written just now
        self.execution, self.plan, self.target = execution, plan, target
        self.key = target.roles[Role.KEY]
        # What becomes of keys on their way into the target.
        self.key_mask = plan.columns.treatment.masks.get(plan.reading.primary_key[0])

    def live(self) -> exp.Expr:
        """The rows of the target that were live then: those deleted since still were."""
        target, upper = self.target, moment(self.plan.upper)
        created, changed, cursor = target.of(Role.CREATED), target.of(Role.CHANGED), target.of(Role.CURSOR)
        conditions: list[exp.Expr] = [exp.true()]
        if created:
            conditions.append(_moment_of(created) < upper)
        if target.of(Role.DELETED):
            there = live_rows(target)
            conditions.append(exp.or_(there, _moment_of(changed) >= upper) if changed else there)
        covered = self.plan.covered
        if covered is not None and covered.start is not None and cursor is not None:
            conditions.append(_moment_of(cursor) >= moment(covered.start))
        return exp.and_(*conditions)

    def known(self) -> exp.Select:
        """A query for the keys of those rows."""
        return exp.select(column(self.key)).from_(self.target.ref.to_table()).where(self.live())

    def count_target(self) -> int:
        """Live rows of the target."""
        return count_rows(self.execution.destination, self.target.ref, self.live())

    def count_lacking(self) -> int:
        """Rows that the target lacks because they are in quarantine."""
        ids = self.execution.quarantine.ids()
        if ids is None:
            return 0
        lacking = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(ids.subquery("q"))
        lacking = lacking.where(exp.not_(column("row_id", "q").isin(query=self.known())))
        [[row]] = self.execution.destination.query(lacking)
        return int(row["n"])


def _remove_marked(both: _Sides) -> int:
    """For ``hard``: rows that are marked as deleted go; returns how many."""
    mark = both.target.of(Role.DELETED)
    if mark is None:
        return 0
    marked, destination = as_flag(mark, column(mark.name)), both.execution.destination
    number = count_rows(destination, both.target.ref, marked)
    if number:
        destination.execute([exp.delete(both.target.ref.to_table(), where=marked.copy())])
    return number


def _sweep(both: _Sides) -> tuple[int, int, Written]:
    """Compare all Ids.

    Returns:
        The live rows at the source, how many rows of the target were found to be gone, and those read again.
    """
    execution, plan = both.execution, both.plan
    request = ReadRequest(
        fields=execution.stream.primary_key,
        live_before=plan.upper,
        window=plan.covered,
        private=both.key_mask is not None,
    )

    def compare(swept: exp.Table) -> tuple[int, int, Written]:
        there = exp.select(column("id")).from_(swept)
        missing = exp.select(column("id")).from_(swept.copy())
        missing = missing.where(absent_from([column("id")], both.known()))
        if released := execution.quarantine.keep_only(there):
            execution.destination.execute(released)
        if (apart := execution.quarantine.ids()) is not None:
            missing = missing.where(absent_from([column("id")], apart))
        [rows] = execution.destination.query(missing.limit(_MOST_SINGLE_ROWS + 1))
        absent = tuple(row["id"] for row in rows)
        gone = both.known().where(absent_from([column(both.key)], there.copy()))
        vanished = _mark_deleted(both, gone, f"are not among those that this login sees in {execution.stream.platform}")
        healed = Written()
        if absent:
            # Nobody can tell from a masked key which row to ask for.
            keys = None if len(absent) > _MOST_SINGLE_ROWS or both.key_mask is not None else absent
            log.info("reading %s rows that the table lacks", "all" if keys is None else len(keys))
            healed = merge_rows(execution, plan, keys)
        return count_rows(execution.destination, _ids_table(both)), vanished, healed

    with execution.stream.read(request) as stream:
        return _with_staged(both, stream, compare)


def _ids_table(both: _Sides) -> TableRef:
    staging = both.execution.staging
    return TableRef(staging.schema, f"{staging.name}_ids")


def _mark_deleted(both: _Sides, ids: exp.Query, what: str) -> int:
    """Mark live rows of these keys as deleted, or remove them where the table has no such mark; returns how many.

    Args:
        both: the two sides.
        ids: a query for the keys.
        what: why they are to go, for the message of the guard.
    """
    execution, table = both.execution, both.target.ref.to_table()
    mark = both.target.of(Role.DELETED)
    loaded_at = None if both.plan.loaded_at is None else both.target.of(Role.LOADED_AT)
    those: exp.Expr = column(both.key).isin(query=ids)
    if mark:
        those = exp.and_(those, live_rows(both.target))
    number = count_rows(execution.destination, both.target.ref, those)
    execution.guard.take(number, what)
    if number and mark:
        values: dict[str, exp.Expr] = {mark.name: cast(exp.true(), pa.bool_(), mark.kind)}
        if loaded_at:
            values[loaded_at.name] = cast(moment(execution.session.began), TIMESTAMP, loaded_at.kind)
        sets = [exp.EQ(this=exp.Column(this=identifier(name)), expression=value) for name, value in values.items()]
        execution.destination.execute(
            [exp.Update(this=table.copy(), expressions=sets, where=exp.Where(this=those.copy()))]
        )
    elif number:
        execution.destination.execute([exp.delete(table.copy(), where=those.copy())])
    return number


def _with_ids(both: _Sides, ids: Iterable[list[str]], use: Callable[[exp.Table], int]) -> int:
    schema = TableSchema((Column("id", pa.string()),))
    batches = [pa.record_batch([pa.array(some, pa.string())], names=["id"]) for some in ids]
    return _with_staged(both, RecordStream(schema, batches), use)


def _with_staged(both: _Sides, stream: RecordStream, use: Callable[[exp.Table], T]) -> T:
    """Load one column of keys into a staging table, as ``id``, use it, and drop it."""
    staging, destination = _ids_table(both), both.execution.destination
    renamed, mask = TableSchema((Column("id", pa.string()),)), both.key_mask
    keys = (batch.column(0) if mask is None else mask.apply(batch.column(0)) for batch in stream)
    batches = (pa.RecordBatch.from_arrays([some], schema=renamed.arrow) for some in keys)
    destination.load(RecordStream(renamed, batches, on_close=stream.close), staging, lasting=False)
    result = use(staging.to_table())
    destination.execute([drop(staging)])
    return result


def _moment_of(there: TargetColumn) -> exp.Expr:
    return as_moment(there, column(there.name))
