"""What a run would do, said before it does it: settled by the same steps as the run itself, and nothing is written."""

from dataclasses import dataclass
from datetime import datetime

from ingestr.core.cursor import Coverage, StreamState, Window
from ingestr.core.strategy import WriteStrategy
from ingestr.ledger.reads import Resumption, fingerprint
from ingestr.run.context import Run
from ingestr.run.load import declared_schema, fit_to
from ingestr.run.plan import Plan, make_plan
from ingestr.run.selection import make_request
from ingestr.sources.base import ReadPlan, Usage
from ingestr.strategies.fit import things_of_others


@dataclass(frozen=True)
class Covered:
    """Which changes a table holds: from a moment (None: from the beginning) to another, both in UTC."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class TablePlan:
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
    resumed: datetime | None
    usage: Usage
    notes: tuple[str, ...]


def preview(one: Run) -> TablePlan:
    """Settle a run and say what it would do.

    Raises:
        IngestrError: what the run itself would end with before its first row.
    """
    plan = make_plan(one)
    chosen, columns, names = plan.chosen, plan.columns, plan.columns.read
    current = one.table()
    request = make_request(one.options, chosen, plan.coverage.window, {})
    resumption = Resumption(one.destination, one.ledger, one.stream, one.options.spool_folder, one.began)
    wanted = fingerprint(one.stream, one.source.identity, request, interval=not plan.coverage.reaches_now)
    changes = things = None
    if current is not None:
        schema = declared_schema(one, chosen, columns, current)
        things = things_of_others(current, schema, columns.made, one.declared)
        if not columns.anew:
            changes = fit_to(one, chosen, columns, current, schema)
    return TablePlan(
        source_object=one.stream.source_object,
        dest_table=str(one.target),
        exists=current is not None,
        made_anew=current is not None and columns.anew,
        things=tuple(things or ()),
        strategy=plan.strategy,
        reason=_reason(one),
        primary_key=tuple(names[key] for key in chosen.primary_key),
        cursor=names.get(chosen.cursor_field or ""),
        read=one.stream.plan(request),
        window=plan.coverage.window,
        covered=_covered(plan.before),
        covers=_covers(plan),
        compared=plan.compared,
        added=tuple(f"{each.name} {each.type}" for each in changes.added) if changes else (),
        widened=tuple(f"{each.name} {each.type}" for each in changes.widened) if changes else (),
        checked=tuple(each.name for each in changes.checked) if changes else (),
        absent=changes.absent if changes else (),
        masked=tuple(
            f"{names[field]} {mask.spec.algorithm}" for field, mask in one.treatment.masks.items() if field in names
        ),
        resumed=None if one.masked else resumption.peek(wanted),
        usage=one.source.usage,
        notes=tuple(one.notes),
    )


def _reason(one: Run) -> str:
    if one.options.full_refresh:
        return "--full-refresh"
    if one.options.incremental_strategy is not None:
        return "--incremental-strategy"
    if one.options.incremental_key:
        return f"--incremental-key {one.options.incremental_key}"
    return f"the strategy of {one.options.source_table}"


def _covered(state: StreamState | None) -> Covered | None:
    if state is None or state.cursor_value is None:
        return None
    return Covered(state.covered_from, state.cursor_value)


def _covers(plan: Plan) -> Covered | None:
    coverage: Coverage = plan.coverage
    if plan.chosen.cursor_field is None:
        return None
    return Covered(coverage.start, coverage.end) if coverage.progresses else _covered(plan.before)
