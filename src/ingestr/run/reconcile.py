"""Compares a merged table with the source, and heals what differs. Knows no platform and no engine.

A merge reads what changed, so it cannot see rows that vanished without a trace, nor rows that it never saw. The number
of rows that were live when the run's window ended tells; if it differs, the Ids of all live rows are compared in the
engine.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Contents
from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.sql import absent_from, column, identifier, moment
from ingestr.core.strategy import Deletes
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Role, TableRef
from ingestr.errors import IncompleteReadError
from ingestr.flags import Flag
from ingestr.run.execution import Execution, Written
from ingestr.run.load import live_rows, merge_rows
from ingestr.run.sides import Sides
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import ReadRequest
from ingestr.strategies.base import count_rows, refuse_repeated_keys
from ingestr.strategies.fit import as_flag, cast

log = logging.getLogger("ingestr")

_MOST_SINGLE_ROWS = 5_000


@dataclass(frozen=True)
class Tally:
    """What a comparison found and did.

    Args:
        deleted: rows of the target that it marked or removed.
        in_source: live rows at the source; None where they are not counted.
        in_destination: live rows of the target.
        contents: what the target holds now.
        healed: rows that the target lacked and that were read again.
    """

    deleted: int
    in_source: int | None
    in_destination: int
    contents: Contents
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
        in_source: live rows at the source at ``plan.ends``, counted when the run began.

    Raises:
        IncompleteReadError: the sides differ and cannot be brought together.
        MassDeletionError: an unusual share of the rows would go.
    """
    both, deletes = _sides(execution, plan), plan.rules.deletes
    if deletes is Deletes.IGNORE:
        return Tally(0, in_source, *both.look())
    gone, healed = 0, Written()
    if since is not None:
        listed = execution.stream.deleted_since(since, plan.ends)
        if listed:
            what = f"are in {execution.stream.platform}'s log of deletions"
            gone += _with_ids(
                both, [listed], lambda ids: _mark_deleted(both, exp.select(column("id")).from_(ids), what)
            )
    in_destination, contents = both.look()
    if in_source is not None and in_source != in_destination + both.count_lacking():
        platform = execution.stream.platform
        log.info("%s live rows in %s, %s in %s: comparing Ids", in_source, platform, in_destination, plan.target.ref)
        in_source, vanished, healed = _sweep(both)
        gone += vanished
        in_destination, contents = both.look()
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
        removed = _remove_marked(both)
        gone = max(gone, removed)
        if removed:
            _, contents = both.look()
    return Tally(gone, in_source, in_destination, contents, healed)


@dataclass(frozen=True)
class _Sides(Sides):
    """Both sides at the end of a run's window.

    Args:
        execution: of the plan.
        plan: what was done.
    """

    execution: Execution = field(kw_only=True)
    plan: TablePlan = field(kw_only=True)

    def look(self) -> tuple[int, Contents]:
        """The live rows of the target, and what it holds."""
        return self.execution.look(self.live())


def _sides(execution: Execution, plan: TablePlan) -> _Sides:
    target = execution.table()
    assert target is not None  # noqa: S101 - it was written just now
    return _Sides(
        execution.destination,
        target,
        execution.quarantine,
        plan.ends,
        plan.covered,
        TableRef(execution.staging.schema, f"{execution.staging.name}_ids"),
        key_mask=plan.columns.treatment.masks.get(plan.reading.primary_key[0]),
        execution=execution,
        plan=plan,
    )


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
        live_at=plan.ends,
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
        return count_rows(execution.destination, both.ids), vanished, healed

    with execution.stream.read(request) as stream:
        return both.with_staged(stream, compare)


def add_missing(execution: Execution, plan: TablePlan, keys: tuple[str, ...]) -> Written:
    """Read rows of these keys, which the target lacks; deleted ones are added where it keeps such."""
    written = merge_rows(execution, plan, keys)
    if plan.rules.deletes is not Deletes.HARD:
        return written
    return replace(written, inserted=written.inserted - _remove_marked(_sides(execution, plan)))


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
    return both.with_staged(RecordStream(schema, batches), use)
