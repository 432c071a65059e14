"""One load: rows are staged, made to fit, checked and written to the target. Knows no platform and no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import datetime, timedelta

from sqlglot import exp

from ingestr.core.schema import ColumnWidenedError, TableSchema
from ingestr.core.sql import among, column, matches, sql_type
from ingestr.core.strategy import Deletes, SchemaContract
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.core.wording import counted
from ingestr.destinations.base import Role, Target
from ingestr.errors import ConfigurationError, IncompleteReadError
from ingestr.flags import Flag
from ingestr.run.apply import apply
from ingestr.run.conform import conform
from ingestr.run.execution import Execution, Written
from ingestr.run.fitting import already_wider, fit_to
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import Checkpoint, ReadRequest
from ingestr.strategies import merge
from ingestr.strategies.base import (
    Load,
    count_rows,
    create_schema,
    deduplicate,
    key_census,
    same_version_twice,
    without_repeats,
)
from ingestr.strategies.fit import as_flag


@dataclass(frozen=True)
class Staged:
    """Rows that lie in the staging table.

    Args:
        rows: how many.
        schema: the columns of the staging table.
        origin: how the source gave them.
    """

    rows: int
    schema: TableSchema
    origin: str


def write(execution: Execution, plan: TablePlan, checkpoint: Checkpoint | None = None) -> tuple[TablePlan, Written]:
    """Read the plan's window into the staging table, and from there into the target.

    Args:
        execution: of the plan, or of one that it follows.
        plan: what to read, and what to do with it.
        checkpoint: makes the read one that can be taken up.

    Returns:
        The plan as the rows have shown it to be: values may need wider types, and the key may tell nothing.

    Raises:
        IncompleteReadError, DestinationError: numbers of rows that should be the same differ.
        MassDeletionError: an unusual share of the target's rows would go.
    """
    there = execution.table()
    target = None if plan.target.anew else there
    request = replace_fields(
        plan.request,
        widened=already_wider(target, plan.reading, plan.columns),
        reject=execution.rejecting(plan),
        checkpoint=checkpoint,
    )
    plan, staged = _stage(execution, plan, request, target)
    load = replace_fields(
        _load_of(plan, target, staged.schema, indexes_keys=execution.destination.capabilities.indexes_keys),
        comments=there,
        rewrite=plan.rewrite,
        bounds=_bounds(plan),
    )
    keys, vanishing = _look_at_staged(execution, plan, load, there)
    distinct, duplicates = _check_keys(execution, plan, load, keys)
    if distinct != load and vanishing is not None:
        _, vanishing = _look_at_staged(execution, plan, distinct, there)
    plan = replace_fields(plan, keyed=plan.keyed and bool(distinct.primary_key) == bool(load.primary_key))
    load = distinct
    if load.primary_key:
        execution.quarantine.write(load.staging, load.primary_key[0], rewrite=plan.rewrite)
    _check_vanishing(execution, load, vanishing)
    removed = _remove_deleted(execution, load) if plan.rules.deletes is Deletes.HARD else 0
    load = _conform(execution, load, plan.rules.contract)
    load = replace_fields(load, whole=_is_whole(plan), apart=execution.quarantine.ids())
    written = apply(execution, load, staged.rows, plan.way)
    return plan, written + Written(staged.rows, deleted=removed, duplicates=duplicates, origin=staged.origin)


def _load_of(plan: TablePlan, target: Target | None, schema: TableSchema, *, indexes_keys: bool) -> Load:
    """The rows that were staged, and which of their columns play which role."""
    columns, roles = plan.columns, plan.columns.roles
    return Load(
        ref=plan.target.ref,
        staging=plan.target.staging,
        staged=schema,
        target=target,
        fit=fit_to(target, schema, plan.reading, columns, plan.rules.contract),
        primary_key=plan.key_columns,
        cursor=roles.get(Role.CHANGED, roles.get(Role.CURSOR)),
        unchanging=(LOADED_AT,),
        lost=columns.lost,
        deleted=roles.get(Role.DELETED),
        changed=roles.get(Role.CHANGED),
        stamp=roles[Role.CHANGED] if target is not None and target.of(Role.CHANGED) is not None else None,
        fresh=tuple(columns.names[field] for field in columns.fresh if field in columns.names),
        incremental_key=roles.get(Role.CURSOR),
        moment=plan.upper,
        loaded_at=plan.loaded_at,
        predicate=plan.rules.predicate,
        indexed=_indexed(plan, schema) if indexes_keys and plan.traits.keyed else None,
    )


def _indexed(plan: TablePlan, schema: TableSchema) -> tuple[str, ...]:
    """The columns by which later runs count rows, beside the key."""
    roles = {*plan.columns.roles.values()} - {*plan.key_columns}
    return tuple(name for name in schema.names if name in roles)


def _bounds(plan: TablePlan) -> tuple[datetime | None, datetime | None]:
    """The interval that the user named, as far as it is read."""
    (start, end), window = plan.interval, plan.window
    if window is not None and start is not None and window.start is not None:
        start = max(start, window.start)
    if window is not None and end is not None and window.end is not None:
        last = window.end if window.end_inclusive else window.end - timedelta(seconds=1)
        end = min(end, last)
    return start, end


def _is_whole(plan: TablePlan) -> bool:
    """Whether what is not among the rows read is gone from the source."""
    return plan.window is None and plan.reading.limit is None and plan.rules.deletes is not Deletes.IGNORE


def live_rows(target: Target) -> exp.Expr:
    """The condition for rows of the target that are not marked as deleted."""
    mark = target.of(Role.DELETED)
    return exp.true() if mark is None else exp.not_(as_flag(mark, column(mark.name)))


def _look_at_staged(
    execution: Execution, plan: TablePlan, load: Load, there: Target | None
) -> tuple[Mapping[str, int] | None, int | None]:
    """The numbers of ``key_census``, and those of ``_vanishing``; None where there are none. One query for both."""
    keys = [key_census(load)] if load.primary_key else []
    vanishing = _vanishing(plan, load, there)
    if vanishing is None and not keys:
        return None, None
    found = [row for [row] in execution.destination.query(*keys, *([] if vanishing is None else [vanishing]))]
    return found[0] if keys else None, None if vanishing is None else int(found[-1]["n"])


def _vanishing(plan: TablePlan, load: Load, there: Target | None) -> exp.Query | None:
    """A query for ``n``: live rows of the target that staged rows mark as deleted; of a rewrite, the staged live rows.

    None where nothing is guarded, or nothing can vanish by these rows.
    """
    if there is None or plan.target.live is None:
        return None
    in_staging = load.deleted if load.deleted is not None and load.deleted in load.staged.names else None
    marked = column(in_staging, "s").eq(exp.true()) if in_staging else exp.false()
    counted_rows = exp.select(exp.Count(this=exp.Star()).as_("n"))
    if load.rewrite:
        return counted_rows.from_(load.staging.to_table("s")).where(exp.not_(marked))
    if in_staging is None or not load.primary_key or plan.traits.has_versions:
        return None
    mark = there.find(in_staging)
    alive_there = exp.not_(as_flag(mark, column(mark.name, "t"))) if mark is not None else exp.true()
    both = counted_rows.from_(load.ref.to_table("t"))
    both = both.join(load.staging.to_table("s"), on=matches(load.primary_key, "t", "s"))
    return both.where(exp.and_(marked, alive_there))


def _check_vanishing(execution: Execution, load: Load, number: int | None) -> None:
    """Tell the guard of the live rows of the target that this load marks, removes, or does not bring again."""
    if number is None or execution.guard.live is None:
        return
    if load.rewrite:
        execution.guard.take(
            execution.guard.live - number - execution.quarantine.count(), "would be replaced by nothing"
        )
    else:
        execution.guard.take(number, f"were deleted in {execution.stream.platform} since the last run")


def _remove_deleted(execution: Execution, load: Load) -> int:
    """Take deleted rows out of the staging table and out of the target; returns how many the target had."""
    if load.deleted is None or load.deleted not in load.staged.names:
        return 0
    gone = column(load.deleted).eq(exp.true())
    removed = 0
    if load.target is not None and load.primary_key:
        keys = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table()).where(gone)
        those = among(load.primary_key, keys)
        removed = count_rows(execution.destination, load.ref, those)
        if removed:
            execution.destination.execute([exp.delete(load.ref.to_table(), where=those.copy())])
    execution.destination.execute([exp.delete(load.staging.to_table(), where=gone.copy())])
    return removed


def merge_rows(execution: Execution, plan: TablePlan, keys: tuple[str, ...] | None) -> Written:
    """Read rows of these keys, all rows that the target covers if None, and merge them."""
    request = plan.reading.request(plan.covered if keys is None else None, private=plan.is_masked)
    try:
        staged = _stage_once(execution, plan, replace_fields(request, keys=keys, reject=execution.rejecting(plan)))
    except ColumnWidenedError as error:
        raise IncompleteReadError(
            f"rows that were missing cannot be added: {error}", hint=f"use {Flag.FULL_REFRESH}"
        ) from error
    execution.quarantine.write(plan.target.staging, plan.key_columns[0])
    target = execution.table()
    load = Load(
        plan.target.ref,
        plan.target.staging,
        staged.schema,
        target,
        fit_to(target, staged.schema, plan.reading, plan.columns, plan.rules.contract),
        plan.key_columns,
        unchanging=(LOADED_AT,),
    )
    conformed = _conform(execution, load, plan.rules.contract)
    return Written(staged.rows) + apply(execution, conformed, staged.rows, merge)


def fill(execution: Execution, plan: TablePlan) -> Written:
    """Read some fields of all rows into rows that are there already: what no window over changes would bring.

    Adding a field moves no row's timestamp, nor does a formula whose outcome changes. Fields for which the target has
    no column, as its contract gives it none, are left out. Rows that have these values already are left alone.
    """
    reading, target = plan.reading, execution.table()
    request = filling(plan, target) if target is not None else None
    if request is None:
        return Written()
    wanted = request.fields[len(reading.primary_key) :]
    execution.note(f"reading {', '.join(wanted)} of all rows, as their timestamps tell nothing of these fields")
    schema = _stage_once(execution, plan, replace_fields(request, reject=execution.rejecting(plan))).schema
    key, contract = plan.key_columns, plan.rules.contract
    execution.quarantine.write(None, key[0])
    fitting = fit_to(target, schema, reading, plan.columns, contract, inserts=False)
    load = Load(plan.target.ref, plan.target.staging, schema, target, fitting, key, unchanging=(LOADED_AT,))
    # A row that is there already is not set aside for one of its fields.
    by_row = contract is SchemaContract.DISCARD_ROW
    conformed = _conform(execution, load, SchemaContract.DISCARD_VALUE if by_row else contract)
    [[row]] = execution.destination.execute(merge.fill(conformed, plan.traits.current))
    execution.note(f"{counted(int(row['n']), 'row')} of {plan.target.ref} had other values there, and are updated")
    return Written(updated=int(row["n"]))


def filling(plan: TablePlan, target: Target) -> ReadRequest | None:
    """What is read of all rows after the load, for those that are in the target; None where nothing is."""
    reading, names = plan.reading, plan.columns.names
    wanted = [
        field
        for field in dict.fromkeys((*plan.fresh, *plan.recalculation.fields))
        if field in names and field not in reading.primary_key and target.find(names[field]) is not None
    ]
    if not wanted:
        return None
    request = replace_fields(
        reading.request(None, private=plan.is_masked),
        widened=already_wider(target, reading, plan.columns),
        fields=(*reading.primary_key, *wanted),
        limit=None,
    )
    if plan.fresh:
        return request
    # What was calculated for a row before it was deleted is worth more than what is afterwards.
    return replace_fields(request, window=plan.covered if plan.compared else None, live_at=plan.upper)


def _stage(
    execution: Execution, plan: TablePlan, request: ReadRequest, target: Target | None
) -> tuple[TablePlan, Staged]:
    """Read everything into the staging table; again, by a plan with a wider type, when a value needs execution."""
    columns, contract = plan.columns, plan.rules.contract
    while True:
        try:
            return plan, _stage_once(execution, plan, request, lasting=target is None)
        except ColumnWidenedError as error:
            execution.destination.rollback()
            execution.quarantine.forget()
            name = columns.names[error.field]
            there = target.find(name) if target is not None else None
            if there is not None and contract is SchemaContract.FREEZE:
                raise ConfigurationError(
                    f"{Flag.SCHEMA_CONTRACT} freeze keeps {plan.target.ref} as it is, and {error}",
                    hint="evolve widens the column, discard_value leaves such values out",
                ) from None
            request = replace_fields(request, widened={**request.widened, error.field: error.to})
            plan = plan.widened(error.field, error.to)
            declared = name.lower() in columns.declared.kinds
            if not declared and (there is None or contract is SchemaContract.EVOLVE):
                what = f"its column is {error.to} now"
                execution.note(f"{error.field} holds values that its declared type does not: {what}")


def _stage_once(execution: Execution, plan: TablePlan, request: ReadRequest, *, lasting: bool = False) -> Staged:
    """Read everything into the staging table."""
    stream, destination, progress = execution.stream, execution.destination, execution.progress
    columns, target = plan.columns, plan.target
    progress.phase(f"reading {plan.source_object}")
    rows = stream.read(replace_fields(request, report=progress.reading))
    stamped = plan.loaded_at is not None
    schema = target_schema(rows.schema, columns.names, load_timestamp=stamped, treatment=columns.treatment)
    began = execution.session.began
    with stamp_and_rename(rows, schema, began, progress.rows, columns.treatment) as renamed:
        exists = execution.table() is not None
        if not exists or target.staging.schema != target.ref.schema:
            schemas = {target.staging.schema} | (set() if exists else {target.ref.schema})
            destination.execute([create_schema(name) for name in sorted(schemas)])
        loaded = destination.load(renamed, target.staging, lasting=lasting)
    if loaded != renamed.rows:
        raise IncompleteReadError(f"{renamed.rows} rows were read and {loaded} arrived in {target.staging}")
    return Staged(loaded, schema, rows.origin)


def _check_keys(
    execution: Execution, plan: TablePlan, load: Load, census: Mapping[str, int] | None
) -> tuple[Load, int]:
    """Refuse null keys, and rows that a key does not tell apart.

    Only rows that are versions of one record may give way to its newest: an unordered query gives a record twice when
    it changes while it is read. All other rows that share a key are rows: big objects and metadata bear one Id in all.
    """
    if census is None:
        return load, 0
    keys = ", ".join(load.primary_key)
    if census["null_keys"] and not plan.traits.only_adds:
        raise ConfigurationError(
            f"{census['null_keys']} rows have no value in the primary key ({keys})",
            hint=f"choose another {Flag.PRIMARY_KEY}",
        )
    duplicates = int(census["rows"]) - int(census["distinct_keys"])
    if not duplicates:
        return load, 0
    if plan.traits.only_adds:
        # Rows that share a key are versions; only one that came twice, as an unordered query may give it, is one.
        if load.incremental_key is None:
            return load, 0
        distinct, statements = without_repeats(load)
        execution.destination.execute(statements)
        return distinct, 0
    stamp = load.cursor if load.cursor is not None and load.cursor in load.staged.names else None
    if plan.reading.primary_key == execution.stream.primary_key and stamp is not None:
        [[twice]] = execution.destination.query(same_version_twice(load, stamp))
        if not twice["n"]:
            load, statements = deduplicate(load)
            execution.destination.execute(statements)
            what = "rows are older versions of records that came twice; the newest of each is kept"
            execution.note(f"{duplicates} {what}")
            return load, duplicates
    what = f"{counted(duplicates, 'row')} of {execution.stream.source_object} repeat the key of another ({keys})"
    if plan.traits.keyed or plan.reading.primary_key != execution.stream.primary_key:
        raise ConfigurationError(
            f"{what}, so that it does not tell the rows apart; nothing was written",
            hint=f"choose a {Flag.PRIMARY_KEY} whose values differ, or load all rows without a key: "
            f"{Flag.INCREMENTAL_STRATEGY} replace, without {Flag.PRIMARY_KEY}",
        )
    execution.note(f"{what}: all rows are loaded, without a key")
    return replace_fields(load, primary_key=()), 0


def _conform(execution: Execution, load: Load, contract: SchemaContract) -> Load:
    fitting = conform(execution.destination, load, contract, execution.quarantine)
    if fitting.rows:
        execution.note(f"{fitting.rows} rows do not fit the columns of {load.ref}: they lie in _ingestr.quarantine")
    for name, values in fitting.values.items():
        execution.note(f"{values} values of {name} do not fit its column in {load.ref}, and are left out")
    for each in load.fit.widened if load.fit is not None else ():
        was = load.target.find(each.name) if load.target is not None else None
        if was is not None and was.kind != sql_type(each.type):
            execution.note(f"the column {each.name} of {load.ref} changes from {was.type} to {each.type}")
    return fitting.load
