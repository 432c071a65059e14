"""One load: rows are staged, made to fit, checked and written to the target. Knows no platform and no engine."""

from collections.abc import Iterable, Mapping
from dataclasses import replace as replace_fields
from datetime import datetime, timedelta

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Window
from ingestr.core.schema import ColumnWidenedError, TableSchema, common_type
from ingestr.core.sql import among, column, matches, sql_type
from ingestr.core.strategy import Deletes, SchemaContract
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.core.wording import counted
from ingestr.destinations.base import Role, Target
from ingestr.errors import ConfigurationError, IncompleteReadError
from ingestr.run.apply import apply
from ingestr.run.columns import ColumnNames
from ingestr.run.conform import conform
from ingestr.run.context import Run, Written
from ingestr.run.selection import Selection, make_request
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
from ingestr.strategies.fit import Declared, Fit, as_flag, fit, fit_new


def write(
    one: Run,
    chosen: Selection,
    columns: ColumnNames,
    window: Window | None,
    *,
    rewrite: bool,
    checkpoint: Checkpoint | None = None,
    deletes: Deletes | None = None,
) -> Written:
    """Read a window into the staging table, and from there into the target.

    Args:
        one: the run.
        chosen: what to read, and by which keys.
        columns: where each field goes.
        window: rows to read, or None for all.
        rewrite: the rows become the table, rather than to be merged into it.
        checkpoint: makes the read one that can be taken up.
        deletes: what becomes of deleted rows; what the user wants if None.

    Raises:
        IncompleteReadError, DestinationError: numbers of rows that should be the same differ.
        MassDeletionError: an unusual share of the target's rows would go.
    """
    names = columns.read
    there = one.table()
    target = None if columns.anew else there
    request = make_request(
        one.options,
        chosen,
        window,
        _already_wider(chosen, names, target, one.declared),
        reject=one.reject,
        checkpoint=checkpoint,
    )
    rows, schema, origin = _stage(one, request, columns, target)
    load = replace_fields(
        _load_of(one, chosen, columns, target, schema), comments=there, rewrite=rewrite, bounds=_bounds(one, window)
    )
    keys, vanishing = _look_at_staged(one, load, there, chosen)
    distinct, duplicates = _check_keys(one, load, chosen, keys)
    if distinct != load and vanishing is not None:
        _, vanishing = _look_at_staged(one, distinct, there, chosen)
    load = distinct
    if load.primary_key:
        one.quarantine.write(load.staging, load.primary_key[0], rewrite=rewrite)
    _check_vanishing(one, load, vanishing)
    removed = _remove_deleted(one, load) if (deletes or one.options.deletes) is Deletes.HARD else 0
    load = _conform(one, load, one.options.schema_contract)
    load = replace_fields(load, whole=_is_whole(one, window), apart=one.quarantine.ids())
    written = apply(one, load, rows, chosen.way)
    return written + Written(rows, deleted=removed, duplicates=duplicates, origin=origin)


def _load_of(one: Run, chosen: Selection, columns: ColumnNames, target: Target | None, schema: TableSchema) -> Load:
    """The rows that were staged, and which of their columns play which role."""
    names = columns.read
    return Load(
        ref=one.target,
        staging=one.staging,
        staged=schema,
        target=target,
        fit=fit_to(one, chosen, columns, target, schema),
        primary_key=tuple(names[key] for key in chosen.primary_key),
        cursor=one.roles.get(Role.CHANGED, one.roles.get(Role.CURSOR)),
        unchanging=(LOADED_AT,),
        lost=columns.lost,
        deleted=one.roles.get(Role.DELETED),
        changed=one.roles.get(Role.CHANGED),
        stamp=one.roles[Role.CHANGED] if target is not None and target.of(Role.CHANGED) is not None else None,
        fresh=tuple(names[field] for field in columns.fresh if field in names),
        incremental_key=one.roles.get(Role.CURSOR),
        moment=one.upper,
        loaded_at=None if one.options.no_load_timestamp else one.began,
        predicate=one.predicate,
    )


def _bounds(one: Run, window: Window | None) -> tuple[datetime | None, datetime | None]:
    """The interval that the user named, as far as it is read."""
    start, end = one.options.interval_start, one.options.interval_end
    if window is not None and start is not None and window.start is not None:
        start = max(start, window.start)
    if window is not None and end is not None and window.end is not None:
        last = window.end if window.end_inclusive else window.end - timedelta(seconds=1)
        end = min(end, last)
    return start, end


def _is_whole(one: Run, window: Window | None) -> bool:
    """Whether what is not among the rows read is gone from the source."""
    return window is None and one.options.sql_limit is None and one.options.deletes is not Deletes.IGNORE


def fit_to(
    one: Run,
    chosen: Selection,
    columns: ColumnNames,
    target: Target | None,
    schema: TableSchema,
    *,
    inserts: bool = True,
) -> Fit | None:
    """How rows of a schema get into the target; raises ConfigurationError where they do not. None: just as they are."""
    if target is None:
        return fit_new(schema, one.declared)
    keys = tuple(columns.read[key] for key in chosen.primary_key)
    contract = one.options.schema_contract
    return fit(target, schema, made=columns.made, contract=contract, keys=keys, inserts=inserts, declared=one.declared)


def declared_schema(one: Run, chosen: Selection, columns: ColumnNames, target: Target) -> TableSchema:
    """The staged columns as far as they are known before a row is read."""
    wider = _already_wider(chosen, columns.read, target, one.declared)
    fields = TableSchema(tuple(replace_fields(each, type=wider.get(each.name, each.type)) for each in chosen.columns))
    stamped = not one.options.no_load_timestamp
    return target_schema(fields, columns.read, load_timestamp=stamped, treatment=one.treatment)


def live_rows(target: Target) -> exp.Expr:
    """The condition for rows of the target that are not marked as deleted."""
    mark = target.of(Role.DELETED)
    return exp.true() if mark is None else exp.not_(as_flag(mark, column(mark.name)))


def _look_at_staged(
    one: Run, load: Load, there: Target | None, chosen: Selection
) -> tuple[Mapping[str, int] | None, int | None]:
    """The numbers of ``key_census``, and those of ``_vanishing``; None where there are none. One query for both."""
    keys = [key_census(load)] if load.primary_key else []
    vanishing = _vanishing(one, load, there, chosen)
    if vanishing is None and not keys:
        return None, None
    found = [row for [row] in one.destination.query(*keys, *([] if vanishing is None else [vanishing]))]
    return found[0] if keys else None, None if vanishing is None else int(found[-1]["n"])


def _vanishing(one: Run, load: Load, there: Target | None, chosen: Selection) -> exp.Query | None:
    """A query for ``n``: live rows of the target that staged rows mark as deleted; of a rewrite, the staged live rows.

    None where nothing is guarded, or nothing can vanish by these rows.
    """
    if there is None or one.guard.live is None:
        return None
    in_staging = load.deleted if load.deleted is not None and load.deleted in load.staged.names else None
    marked = column(in_staging, "s").eq(exp.true()) if in_staging else exp.false()
    counted_rows = exp.select(exp.Count(this=exp.Star()).as_("n"))
    if load.rewrite:
        return counted_rows.from_(load.staging.to_table("s")).where(exp.not_(marked))
    if in_staging is None or not load.primary_key or chosen.traits.has_versions:
        return None
    mark = there.find(in_staging)
    alive_there = exp.not_(as_flag(mark, column(mark.name, "t"))) if mark is not None else exp.true()
    both = counted_rows.from_(load.ref.to_table("t"))
    both = both.join(load.staging.to_table("s"), on=matches(load.primary_key, "t", "s"))
    return both.where(exp.and_(marked, alive_there))


def _check_vanishing(one: Run, load: Load, number: int | None) -> None:
    """Tell the guard of the live rows of the target that this load marks, removes, or does not bring again."""
    if number is None or one.guard.live is None:
        return
    if load.rewrite:
        one.guard.take(one.guard.live - number - one.quarantine.count(), "would be replaced by nothing")
    else:
        one.guard.take(number, f"were deleted in {one.stream.platform} since the last run")


def _remove_deleted(one: Run, load: Load) -> int:
    """Take deleted rows out of the staging table and out of the target; returns how many the target had."""
    if load.deleted is None or load.deleted not in load.staged.names:
        return 0
    gone = column(load.deleted).eq(exp.true())
    removed = 0
    if load.target is not None and load.primary_key:
        keys = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table()).where(gone)
        those = among(load.primary_key, keys)
        removed = count_rows(one.destination, one.target, those)
        if removed:
            one.destination.execute([exp.delete(one.target.to_table(), where=those.copy())])
    one.destination.execute([exp.delete(load.staging.to_table(), where=gone.copy())])
    return removed


def merge_rows(
    one: Run, chosen: Selection, columns: ColumnNames, keys: tuple[str, ...] | None, window: Window | None
) -> Written:
    """Read rows of these keys, all rows of the window if None, and merge them."""
    names = columns.read
    request = replace_fields(make_request(one.options, chosen, window, {}, reject=one.reject), keys=keys)
    if keys is not None:
        request = replace_fields(request, window=None)
    try:
        read, schema, _ = _stage_once(one, request, names)
    except ColumnWidenedError as error:
        raise IncompleteReadError(
            f"rows that were missing cannot be added: {error}", hint="use --full-refresh"
        ) from error
    key = tuple(names[name] for name in chosen.primary_key)
    one.quarantine.write(one.staging, key[0])
    target = one.table()
    load = Load(
        one.target,
        one.staging,
        schema,
        target,
        fit_to(one, chosen, columns, target, schema),
        key,
        unchanging=(LOADED_AT,),
    )
    conformed = _conform(one, load, one.options.schema_contract)
    return Written(read) + apply(one, conformed, read, merge)


def fill(one: Run, chosen: Selection, columns: ColumnNames, fields: Iterable[str]) -> bool:
    """Read some fields of all rows into rows that are there already: what no window over changes would bring.

    Returns whether there was any such field.

    Adding a field moves no row's timestamp, nor does a formula whose outcome changes. Fields for which the target has
    no column, as its contract gives it none, are left out.
    """
    names, target = columns.read, one.table()
    wanted = tuple(
        dict.fromkeys(
            field
            for field in fields
            if field in names
            and field not in chosen.primary_key
            and target is not None
            and target.find(names[field]) is not None
        )
    )
    if not wanted:
        return False
    one.note(f"reading {', '.join(wanted)} of all rows, as their timestamps tell nothing of these fields")
    request = replace_fields(
        make_request(one.options, chosen, None, _already_wider(chosen, names, target, one.declared), reject=one.reject),
        fields=(*chosen.primary_key, *wanted),
        limit=None,
    )
    _, schema, _ = _stage_once(one, request, names)
    key = tuple(names[name] for name in chosen.primary_key)
    one.quarantine.write(None, key[0])
    # A row that is there already is not set aside for one of its fields.
    by_row = one.options.schema_contract is SchemaContract.DISCARD_ROW
    contract = SchemaContract.DISCARD_VALUE if by_row else one.options.schema_contract
    fitting = fit_to(one, chosen, columns, target, schema, inserts=False)
    load = Load(one.target, one.staging, schema, target, fitting, key, unchanging=(LOADED_AT,))
    one.destination.execute(merge.fill(_conform(one, load, contract), chosen.traits.current))
    return True


def _already_wider(
    chosen: Selection, names: dict[str, str], target: Target | None, declared: Declared
) -> dict[str, pa.DataType]:
    """Fields whose column has a wider type: an earlier run found that they need it, or somebody made it so.

    Integer fields may hold fractions, and decimals more digits than they are declared with.
    """
    wide: dict[str, pa.DataType] = {}
    for each in chosen.columns:
        there = target.find(names.get(each.name)) if target is not None else None
        if there is None or there.name.lower() in declared.kinds:
            continue
        fractions = each.type == pa.int64() and there.type == pa.float64()
        digits = pa.types.is_decimal(each.type) and pa.types.is_decimal(there.type)
        if fractions or digits:
            wide[each.name] = common_type(each.type, there.type)
    return wide


def _stage(one: Run, request: ReadRequest, columns: ColumnNames, target: Target | None) -> tuple[int, TableSchema, str]:
    """Read everything into the staging table; again, with a wider type, when a value needs one."""
    while True:
        try:
            return _stage_once(one, request, columns.read, lasting=target is None)
        except ColumnWidenedError as error:
            one.destination.rollback()
            one.quarantine.forget()
            there = target.find(columns.read[error.field]) if target is not None else None
            contract = one.options.schema_contract
            if there is not None and contract is SchemaContract.FREEZE:
                raise ConfigurationError(
                    f"--schema-contract freeze keeps {one.target} as it is, and {error}",
                    hint="evolve widens the column, discard_value leaves such values out",
                ) from None
            request = replace_fields(request, widened={**request.widened, error.field: error.to})
            one.treatment = one.treatment.widened(error.field, error.to)
            declared = columns.read[error.field].lower() in one.declared.kinds
            if not declared and (there is None or contract is SchemaContract.EVOLVE):
                one.note(f"{error.field} holds values that its declared type does not: its column is {error.to} now")


def _stage_once(
    one: Run, request: ReadRequest, names: dict[str, str], *, lasting: bool = False
) -> tuple[int, TableSchema, str]:
    one.progress.phase(f"reading {one.stream.source_object}")
    rows = one.stream.read(replace_fields(request, report=one.progress.reading, private=one.masked))
    stamped = not one.options.no_load_timestamp
    schema = target_schema(rows.schema, names, load_timestamp=stamped, treatment=one.treatment)
    with stamp_and_rename(rows, schema, one.began, one.progress.rows, one.treatment) as stream:
        schemas = {one.staging.schema} | ({one.target.schema} if one.table() is None else set())
        if one.table() is None or one.staging.schema != one.target.schema:
            one.destination.execute([create_schema(name) for name in sorted(schemas)])
        loaded = one.destination.load(stream, one.staging, lasting=lasting)
    if loaded != stream.rows:
        raise IncompleteReadError(f"{stream.rows} rows were read and {loaded} arrived in {one.staging}")
    return loaded, schema, rows.origin


def _check_keys(one: Run, load: Load, chosen: Selection, census: Mapping[str, int] | None) -> tuple[Load, int]:
    """Refuse null keys, and rows that a key does not tell apart.

    Only rows that are versions of one record may give way to its newest: an unordered query gives a record twice when
    it changes while it is read. All other rows that share a key are rows: big objects and metadata bear one Id in all.
    """
    if census is None:
        return load, 0
    keys = ", ".join(load.primary_key)
    if census["null_keys"] and not chosen.traits.only_adds:
        raise ConfigurationError(
            f"{census['null_keys']} rows have no value in the primary key ({keys})", hint="choose another --primary-key"
        )
    duplicates = int(census["rows"]) - int(census["distinct_keys"])
    if not duplicates:
        return load, 0
    if chosen.traits.only_adds:
        # Rows that share a key are versions; only one that came twice, as an unordered query may give it, is one.
        if load.incremental_key is None:
            return load, 0
        distinct, statements = without_repeats(load)
        one.destination.execute(statements)
        return distinct, 0
    stamp = load.cursor if load.cursor is not None and load.cursor in load.staged.names else None
    if chosen.primary_key == one.stream.primary_key and stamp is not None:
        [[twice]] = one.destination.query(same_version_twice(load, stamp))
        if not twice["n"]:
            load, statements = deduplicate(load)
            one.destination.execute(statements)
            one.note(f"{duplicates} rows are older versions of records that came twice; the newest of each is kept")
            return load, duplicates
    what = f"{counted(duplicates, 'row')} of {one.stream.source_object} repeat the key of another ({keys})"
    if chosen.traits.keyed or chosen.primary_key != one.stream.primary_key:
        raise ConfigurationError(
            f"{what}, so that it does not tell the rows apart; nothing was written",
            hint="choose a --primary-key whose values differ, or load all rows without a key: "
            "--incremental-strategy replace, without --primary-key",
        )
    one.note(f"{what}: all rows are loaded, without a key")
    one.keyed = False
    return replace_fields(load, primary_key=()), 0


def _conform(one: Run, load: Load, contract: SchemaContract) -> Load:
    fitting = conform(one.destination, load, contract, one.quarantine)
    if fitting.rows:
        one.note(f"{fitting.rows} rows do not fit the columns of {one.target}: they lie in _ingestr.quarantine")
    for name, values in fitting.values.items():
        one.note(f"{values} values of {name} do not fit its column in {one.target}, and are left out")
    for each in load.fit.widened if load.fit is not None else ():
        was = load.target.find(each.name) if load.target is not None else None
        if was is not None and was.kind != sql_type(each.type):
            one.note(f"the column {each.name} of {one.target} changes from {was.type} to {each.type}")
    return fitting.load
