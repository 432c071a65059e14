"""One load: rows are staged, made to fit, checked and written to the target. Knows no platform and no engine."""

from collections.abc import Iterable
from dataclasses import replace as replace_fields

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Window
from ingestr.core.schema import ColumnWidenedError, TableSchema
from ingestr.core.sql import among, column, matches, sql_type
from ingestr.core.strategy import Deletes, SchemaContract, WriteStrategy
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.core.wording import counted
from ingestr.destinations.base import Target
from ingestr.errors import ConfigurationError, DestinationError, IncompleteReadError
from ingestr.run.columns import ColumnNames
from ingestr.run.conform import conform
from ingestr.run.context import Run, Written
from ingestr.run.selection import Selection, make_request
from ingestr.sources.base import Checkpoint, ReadRequest
from ingestr.strategies import merge, replace
from ingestr.strategies.base import (
    Load,
    count_rows,
    create_schema,
    deduplicate,
    drop,
    evolve,
    key_census,
    same_version_twice,
)
from ingestr.strategies.fit import Fit, as_flag, fit


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
    there = one.destination.describe(one.target)
    target = None if columns.anew else there
    request = make_request(
        one.options,
        chosen,
        window,
        _already_wider(chosen, names, target),
        reject=one.reject,
        checkpoint=checkpoint,
    )
    rows, schema, origin = _stage(one, request, columns, target)
    load = Load(
        ref=one.target,
        staging=one.staging,
        staged=schema,
        target=target,
        fit=_fit(one, chosen, columns, target, schema),
        primary_key=tuple(names[key] for key in chosen.primary_key),
        cursor=next((names[f] for f in (one.stream.changed_field, chosen.cursor_field) if f in names), None),
        unchanging=(LOADED_AT,),
        lost=columns.lost,
        deleted=names.get(one.stream.deleted_field or ""),
        stamp=_stamp(one, names, target),
        comments=there,
    )
    load, duplicates = _check_keys(one, load, chosen)
    if load.primary_key:
        one.quarantine.write(load.staging, load.primary_key[0], rewrite=rewrite)
    if there is not None:
        _check_vanishing(one, load, there, rewrite=rewrite)
    removed = _remove_deleted(one, load) if (deletes or one.options.deletes) is Deletes.HARD else 0
    load = _conform(one, load, one.options.schema_contract)
    inserted, updated, unchanged = _apply(one, load, rows, rewrite=rewrite)
    return Written(rows, inserted, updated, unchanged, removed, duplicates, origin)


def _fit(
    one: Run,
    chosen: Selection,
    columns: ColumnNames,
    target: Target | None,
    schema: TableSchema,
    *,
    inserts: bool = True,
) -> Fit | None:
    if target is None:
        return None
    keys = tuple(columns.read[key] for key in chosen.primary_key)
    contract = one.options.schema_contract
    return fit(target, schema, made=columns.made, contract=contract, keys=keys, inserts=inserts)


def declared_schema(one: Run, chosen: Selection, columns: ColumnNames, target: Target) -> TableSchema:
    """The staged columns as far as they are known before a row is read."""
    wider = _already_wider(chosen, columns.read, target)
    fields = TableSchema(tuple(replace_fields(each, type=wider.get(each.name, each.type)) for each in chosen.columns))
    stamped = not one.options.no_load_timestamp
    return target_schema(fields, columns.read, load_timestamp=stamped, treatment=one.treatment)


def fit_declared(one: Run, chosen: Selection, columns: ColumnNames, target: Target, schema: TableSchema) -> None:
    """Refuse, before a row is read, what could not be written into the table as it stands."""
    _fit(one, chosen, columns, target, schema)


def _apply(one: Run, load: Load, staged: int, *, rewrite: bool) -> tuple[int, int, int]:
    """Write the staged rows to the target; returns how many were inserted, updated and unchanged.

    Args:
        one: the run.
        load: from where, to where.
        staged: how many rows were read.
        rewrite: the rows become the table.

    Raises:
        DestinationError: the target does not have as many rows as that makes.
    """
    destination = one.destination
    becomes = rewrite or load.target is None
    one.progress.phase(f"writing {one.target}")
    if not staged and not becomes:
        destination.execute([*evolve(load), drop(load.staging)])
        return 0, 0, 0
    strategy = replace if becomes else merge
    destination.execute(strategy.prepare(load))
    census = destination.query(strategy.census(load))[0]
    before = 0 if becomes else count_rows(destination, one.target)
    destination.execute(strategy.plan(load))
    inserted, after = int(census["inserted"]), count_rows(destination, one.target)
    if after != before + inserted:
        raise DestinationError(
            f"{one.target} has {after} rows where {before} and {inserted} new ones were expected",
            hint="nothing was committed; please report it",
        )
    return inserted, int(census["updated"]), int(census["unchanged"])


def _stamp(one: Run, names: dict[str, str], target: Target | None) -> str | None:
    """The target's column that tells changed rows, if it has one."""
    name = names.get(one.stream.changed_field or "")
    return name if target is not None and target.find(name) is not None else None


def live_rows(one: Run, names: dict[str, str], target: Target) -> exp.Expr:
    """The condition for rows of the target that are not marked as deleted."""
    mark = target.find(names.get(one.stream.deleted_field or ""))
    return exp.true() if mark is None else exp.not_(as_flag(mark, column(mark.name)))


def _check_vanishing(one: Run, load: Load, there: Target, *, rewrite: bool) -> None:
    """Count the live rows of the target that this load marks, removes, or does not bring again."""
    if one.guard.live is None:
        return
    in_staging = load.deleted if load.deleted is not None and load.deleted in load.staged.names else None
    marked = column(in_staging, "s").eq(exp.true()) if in_staging else exp.false()
    if rewrite:
        staged = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(load.staging.to_table("s"))
        [alive] = one.destination.query(staged.where(exp.not_(marked)))
        apart = one.quarantine.count()
        one.guard.take(one.guard.live - int(alive["n"]) - apart, "would be replaced by nothing")
    elif in_staging is not None and load.primary_key:
        mark = there.find(in_staging)
        alive_there = exp.not_(as_flag(mark, column(mark.name, "t"))) if mark is not None else exp.true()
        both = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(load.ref.to_table("t"))
        both = both.join(load.staging.to_table("s"), on=matches(load.primary_key, "t", "s"))
        [gone] = one.destination.query(both.where(exp.and_(marked, alive_there)))
        one.guard.take(int(gone["n"]), "were deleted in Salesforce since the last run")


def _remove_deleted(one: Run, load: Load) -> int:
    """Take deleted rows out of the staging table and out of the target; returns how many the target had."""
    if load.deleted is None or load.deleted not in load.staged.names:
        return 0
    gone = column(load.deleted).eq(exp.true())
    removed = 0
    if load.target is not None:
        keys = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table()).where(gone)
        those = among(load.primary_key, keys)
        removed = count_rows(one.destination, one.target, those)
        if removed:
            one.destination.execute([exp.delete(one.target.to_table(), where=those.copy())])
    one.destination.execute([exp.delete(load.staging.to_table(), where=gone.copy())])
    return removed


def merge_rows(
    one: Run, chosen: Selection, columns: ColumnNames, keys: tuple[str, ...] | None, window: Window | None
) -> None:
    """Read rows of these keys, all rows of the window if None, and merge them; ``one.healed`` counts them."""
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
    target = one.destination.describe(one.target)
    load = Load(
        one.target,
        one.staging,
        schema,
        target,
        _fit(one, chosen, columns, target, schema),
        key,
        unchanging=(LOADED_AT,),
    )
    one.healed += Written(read, *_apply(one, _conform(one, load, one.options.schema_contract), read, rewrite=False))


def fill(one: Run, chosen: Selection, columns: ColumnNames, fields: Iterable[str]) -> None:
    """Read some fields of all rows into rows that are there already: what no window over changes would bring.

    Adding a field moves no row's timestamp, nor does a formula whose outcome changes. Fields for which the target has
    no column, as its contract gives it none, are left out.
    """
    names, target = columns.read, one.destination.describe(one.target)
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
        return
    one.note(f"reading {', '.join(wanted)} of all rows, as their timestamps tell nothing of these fields")
    request = replace_fields(
        make_request(one.options, chosen, None, _already_wider(chosen, names, target), reject=one.reject),
        fields=(*chosen.primary_key, *wanted),
        limit=None,
    )
    _, schema, _ = _stage_once(one, request, names)
    key = tuple(names[name] for name in chosen.primary_key)
    one.quarantine.write(None, key[0])
    # A row that is there already is not set aside for one of its fields.
    by_row = one.options.schema_contract is SchemaContract.DISCARD_ROW
    contract = SchemaContract.DISCARD_VALUE if by_row else one.options.schema_contract
    fitting = _fit(one, chosen, columns, target, schema, inserts=False)
    load = Load(one.target, one.staging, schema, target, fitting, key, unchanging=(LOADED_AT,))
    one.destination.execute(merge.fill(_conform(one, load, contract)))


def _already_wider(chosen: Selection, names: dict[str, str], target: Target | None) -> dict[str, pa.DataType]:
    """Integer fields whose column is double: an earlier run found them to hold fractions, or somebody made it so."""
    wide = {
        column.name: target.find(names.get(column.name)) if target is not None else None
        for column in chosen.columns
        if column.type == pa.int64()
    }
    return {name: pa.float64() for name, there in wide.items() if there is not None and there.type == pa.float64()}


def _stage(one: Run, request: ReadRequest, columns: ColumnNames, target: Target | None) -> tuple[int, TableSchema, str]:
    """Read everything into the staging table; again, with a wider type, when a value needs one."""
    while True:
        try:
            return _stage_once(one, request, columns.read)
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
            if there is None or contract is SchemaContract.EVOLVE:
                one.note(
                    f"{error.field} is declared as an integer but holds fractions: its column is {error.to} from now on"
                )


def _stage_once(one: Run, request: ReadRequest, names: dict[str, str]) -> tuple[int, TableSchema, str]:
    one.progress.phase(f"reading {one.stream.source_object}")
    rows = one.stream.read(replace_fields(request, report=one.progress.reading, private=one.masked))
    stamped = not one.options.no_load_timestamp
    schema = target_schema(rows.schema, names, load_timestamp=stamped, treatment=one.treatment)
    with stamp_and_rename(rows, schema, one.began, one.progress.rows, one.treatment) as stream:
        schemas = dict.fromkeys([one.target.schema, one.staging.schema])
        one.destination.execute([create_schema(name) for name in schemas])
        loaded = one.destination.load(stream, one.staging)
    if loaded != stream.rows:
        raise IncompleteReadError(f"{stream.rows} rows were read and {loaded} arrived in {one.staging}")
    return loaded, schema, rows.origin


def _check_keys(one: Run, load: Load, chosen: Selection) -> tuple[Load, int]:
    """Refuse null keys, and rows that a key does not tell apart.

    Only rows that are versions of one record may give way to its newest: an unordered query gives a record twice when
    it changes while it is read. All other rows that share a key are rows: big objects and metadata bear one Id in all.
    """
    if not load.primary_key:
        return load, 0
    census = one.destination.query(key_census(load))[0]
    keys = ", ".join(load.primary_key)
    if census["null_keys"]:
        raise ConfigurationError(
            f"{census['null_keys']} rows have no value in the primary key ({keys})", hint="choose another --primary-key"
        )
    duplicates = int(census["rows"]) - int(census["distinct_keys"])
    if not duplicates:
        return load, 0
    stamp = load.cursor if load.cursor is not None and load.cursor in load.staged.names else None
    if chosen.primary_key == one.stream.primary_key and stamp is not None:
        [twice] = one.destination.query(same_version_twice(load, stamp))
        if not twice["n"]:
            load, statements = deduplicate(load)
            one.destination.execute(statements)
            one.note(f"{duplicates} rows are older versions of records that came twice; the newest of each is kept")
            return load, duplicates
    what = f"{counted(duplicates, 'row')} of {one.stream.source_object} repeat the key of another ({keys})"
    if chosen.strategy is not WriteStrategy.REPLACE or chosen.primary_key != one.stream.primary_key:
        raise ConfigurationError(
            f"{what}, so that it does not tell the rows apart; nothing was written",
            hint="choose a --primary-key whose values differ, or leave it out",
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
