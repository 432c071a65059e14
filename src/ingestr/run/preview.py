"""What a run would do, said before it does it: a view of the plan that the run itself would go by."""

from dataclasses import dataclass, replace
from datetime import datetime

from ingestr.core.cursor import StreamState, Window
from ingestr.core.strategy import WriteStrategy
from ingestr.ledger.loads import largest_load
from ingestr.ledger.reads import Resumption, fingerprint
from ingestr.run.load import filling
from ingestr.run.session import Session
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import ReadPlan, Usage


@dataclass(frozen=True)
class Covered:
    """Which changes a table holds: from a moment (None: from the beginning) to another, both in UTC."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class Preview:
    """What a run of these options would do now.

    Args:
        source_object: the platform's name of the table.
        dest_table: ``schema.table``.
        exists: whether the target is there.
        made_anew: whether the target that is there gives way to a new one.
        things: what somebody has hung on the target, in words.
        strategy: how the rows would be written.
        reason: why so.
        primary_key: columns that rows are told apart by.
        cursor: the column that windows are over, or None.
        read: the API, why, the query, and what it costs.
        window: the rows that would be read, or None for all.
        covered: what the target covers now, or None where nothing or nobody knows.
        covers: what it would cover afterwards, or None for a table that is always read whole.
        compared: whether both sides would be counted in the end.
        added: columns that the target would get, with their types.
        widened: columns that would get a wider type, with that type.
        checked: columns of somebody else's type that every value has to fit.
        absent: fields that are read and have no column, under a contract that discards.
        masked: columns whose values would be made unreadable, each with its algorithm.
        recalculated: columns whose fields would be read again of all rows, as their values change without a trace.
        recalculation: why, or why none would be; empty where there is none or where they come with all rows.
        recalculating: how that would be done, and what it costs; None where nothing is read again.
        resumed: the moment as of which a broken-off read would be taken up, or None.
        usage: API calls that the plan itself has cost, and the allowance.
        notes: what the user should know.
    """

    source_object: str
    dest_table: str
    exists: bool
    made_anew: bool
    things: tuple[str, ...]
    strategy: WriteStrategy
    reason: str
    primary_key: tuple[str, ...]
    cursor: str | None
    read: ReadPlan
    window: Window | None
    covered: Covered | None
    covers: Covered | None
    compared: bool
    added: tuple[str, ...]
    widened: tuple[str, ...]
    checked: tuple[str, ...]
    absent: tuple[str, ...]
    masked: tuple[str, ...]
    recalculated: tuple[str, ...]
    recalculation: str
    recalculating: ReadPlan | None
    resumed: datetime | None
    usage: Usage
    notes: tuple[str, ...]


def preview(session: Session, plan: TablePlan) -> Preview:
    """Say what a plan would do; costs a call at the most, and writes nothing."""
    target, columns, reading, stream = plan.target, plan.columns, plan.reading, session.stream
    changes, names = target.changes, columns.names
    masks = ((names[field], mask) for field, mask in columns.treatment.masks.items() if field in names)
    again = filling(plan, target.current) if plan.recalculation.fields and target.current is not None else None
    return Preview(
        source_object=plan.source_object,
        dest_table=str(target.ref),
        exists=target.current is not None,
        made_anew=target.current is not None and target.anew,
        things=target.things,
        strategy=plan.outcome,
        reason=plan.reason,
        primary_key=plan.key_columns,
        cursor=names.get(reading.cursor_field or ""),
        read=_as_measured(session, stream.plan(plan.request)),
        window=plan.window,
        covered=_covered(plan.progression.before),
        covers=_covers(plan),
        compared=plan.compared,
        added=tuple(f"{each.name} {each.type}" for each in changes.added) if changes else (),
        widened=tuple(f"{each.name} {each.type}" for each in changes.widened) if changes else (),
        checked=tuple(each.name for each in changes.checked) if changes else (),
        absent=changes.absent if changes else (),
        masked=tuple(f"{name} {mask.spec.algorithm}" for name, mask in masks),
        recalculated=tuple(names[field] for field in plan.recalculation.fields if field in names),
        recalculation=plan.recalculation.reason,
        recalculating=stream.plan(again, target.live) if again is not None else None,
        resumed=_resumed(session, plan),
        usage=session.source.usage,
        notes=tuple(session.notes),
    )


def _as_measured(session: Session, read: ReadPlan) -> ReadPlan:
    """The same with bytes and seconds for as many rows as the table's largest load by this API took them.

    A small load takes as long as its calls, whatever its rows.
    """
    if not read.rows:
        return read
    before = largest_load(session.destination, session.ledger, session.stream.source_object, read.api)
    if before is None:
        return read
    share, seconds = read.rows / before["rows_read"], before["seconds"]
    least = min(read.seconds or 0, seconds)
    return replace(
        read, bytes=round(before["bytes_received"] * share), seconds=max(seconds * share, least), measured=True
    )


def _resumed(session: Session, plan: TablePlan) -> datetime | None:
    if plan.is_masked:
        return None
    resumption = Resumption(session.destination, session.ledger, session.stream, plan.spool, session.began)
    interval = not plan.coverage.reaches_now
    return resumption.peek(fingerprint(session.stream, session.source.identity, plan.request, interval=interval))


def _covered(state: StreamState | None) -> Covered | None:
    if state is None or state.cursor_value is None:
        return None
    return Covered(state.covered_from, state.cursor_value)


def _covers(plan: TablePlan) -> Covered | None:
    if plan.reading.cursor_field is None:
        return None
    coverage = plan.coverage
    return Covered(coverage.start, coverage.end) if coverage.progresses else _covered(plan.progression.before)
