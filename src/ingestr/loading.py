"""One load: rows are staged, made to fit, checked and written to the target. Knows no platform and no engine."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.columns import ColumnNames
from ingestr.contract import conform
from ingestr.core.clock import Clock
from ingestr.core.cursor import Window
from ingestr.core.schema import ColumnWidenedError, TableSchema, WidenColumn, diff
from ingestr.core.strategy import Deletes, SchemaContract
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.destinations.base import Destination, TableRef
from ingestr.errors import ConfigurationError, DestinationError, IncompleteReadError
from ingestr.options import IngestOptions
from ingestr.progress import Progress
from ingestr.quarantine import Quarantine
from ingestr.selection import Selection, make_request
from ingestr.sources.base import Checkpoint, ReadRequest, Source, Stream
from ingestr.strategies import merge, replace
from ingestr.strategies.base import Load, column, count_rows, create_schema, deduplicate, drop, evolve, key_census


@dataclass(frozen=True)
class Written:
    """What became of the rows of one load, in numbers of rows."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    duplicates: int = 0
    origin: str = ""

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.read + other.read,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
            self.duplicates + other.duplicates,
            self.origin or other.origin,
        )


@dataclass
class Run:
    """One run's values that several steps share."""

    options: IngestOptions
    clock: Clock
    progress: Progress
    destination: Destination
    source: Source
    stream: Stream
    target: TableRef
    run_id: str
    began: datetime
    quarantine: Quarantine
    notes: list[str] = field(default_factory=list)
    healed: Written = field(default_factory=Written)

    @property
    def staging(self) -> TableRef:
        """Where rows wait until they are all there."""
        return TableRef(self.target.schema, f"_ingestr_staging_{self.target.name}")

    def note(self, text: str) -> None:
        """Tell the user something, now and in the result."""
        self.notes.append(text)
        self.progress.note(text)


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
    """
    destination, names = one.destination, columns.read
    current = destination.columns(one.target)
    widened = {} if rewrite or current is None else _already_wider(chosen, names, current)
    request = make_request(one.options, chosen, window, widened, reject=one.quarantine.add, checkpoint=checkpoint)
    rows, schema, origin = _stage(one, request, names, frozen=current is not None)
    load = Load(
        target=one.target,
        staging=one.staging,
        staged=schema,
        current=None if rewrite else current,
        primary_key=tuple(names[key] for key in chosen.primary_key),
        cursor=names.get(chosen.cursor_field or one.stream.changed_field or ""),
        unchanging=(LOADED_AT,),
        lost=columns.lost,
        deleted=names.get(one.stream.deleted_field or ""),
        stamp=_stamp(one, names, current),
    )
    load, duplicates = _check_keys(one, load)
    if load.primary_key:
        one.quarantine.write(load.staging, load.primary_key[0], rewrite=rewrite)
    if current is not None:
        if not rewrite:
            _check_foreign(one, load, current)
        load = _conform(one, load, current)
    removed = _remove_deleted(one, load) if (deletes or one.options.deletes) is Deletes.HARD else 0
    inserted, updated, unchanged = _apply(one, load, rows)
    return Written(rows, inserted, updated, unchanged, removed, duplicates, origin)


def _apply(one: Run, load: Load, staged: int) -> tuple[int, int, int]:
    """Write the staged rows to the target; returns how many were inserted, updated and unchanged.

    Args:
        one: the run.
        load: from where, to where.
        staged: how many rows were read.

    Raises:
        DestinationError: the target does not have as many rows as that makes.
    """
    destination, strategy = one.destination, replace if load.current is None else merge
    one.progress.phase(f"writing {one.target}")
    if not staged and load.current is not None:
        destination.execute([*evolve(load), drop(load.staging)])
        return 0, 0, 0
    destination.execute(strategy.prepare(load))
    census = destination.query(strategy.census(load))[0]
    before = 0 if load.current is None else count_rows(destination, one.target)
    destination.execute(strategy.plan(load))
    inserted, after = int(census["inserted"]), count_rows(destination, one.target)
    if after != before + inserted:
        raise DestinationError(
            f"{one.target} has {after} rows where {before} and {inserted} new ones were expected",
            hint="nothing was committed; please report it",
        )
    return inserted, int(census["updated"]), int(census["unchanged"])


def _stamp(one: Run, names: dict[str, str], current: pa.Schema | None) -> str | None:
    """The target's column that tells changed rows, if it has one."""
    name = names.get(one.stream.changed_field or "")
    have = {field.name.lower() for field in current} if current is not None else set()
    return name if name is not None and name.lower() in have else None


def _remove_deleted(one: Run, load: Load) -> int:
    """Take deleted rows out of the staging table and out of the target; returns how many the target had."""
    if load.deleted is None or load.deleted not in load.staged.names:
        return 0
    gone = column(load.deleted).eq(exp.true())
    removed = 0
    if load.current is not None:
        keys = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table()).where(gone)
        key = exp.Tuple(expressions=[*map(column, load.primary_key)])
        those = exp.In(this=key, query=keys.subquery())
        removed = count_rows(one.destination, one.target, those)
        if removed:
            one.destination.execute([exp.delete(one.target.to_table(), where=those.copy())])
    one.destination.execute([exp.delete(load.staging.to_table(), where=gone.copy())])
    return removed


def merge_rows(one: Run, chosen: Selection, names: dict[str, str], keys: tuple[str, ...] | None) -> None:
    """Read rows of these keys, all rows if None, and merge them into the target; ``one.healed`` counts them."""
    request = replace_fields(make_request(one.options, chosen, None, {}, reject=one.quarantine.add), keys=keys)
    try:
        read, schema, _ = _stage_once(one, request, names)
    except ColumnWidenedError as error:
        raise IncompleteReadError(
            f"rows that were missing cannot be added: {error}", hint="use --full-refresh"
        ) from error
    key = tuple(names[name] for name in chosen.primary_key)
    one.quarantine.write(one.staging, key[0])
    current = one.destination.columns(one.target)
    load = Load(one.target, one.staging, schema, current, key, unchanging=(LOADED_AT,))
    if current is not None:
        load = _conform(one, load, current)
    one.healed += Written(read, *_apply(one, load, read))


def fill(one: Run, chosen: Selection, names: dict[str, str], fields: Iterable[str]) -> None:
    """Read some fields of all rows into rows that are there already: what no window over changes would bring.

    Adding a field moves no row's timestamp, nor does a formula whose outcome changes.
    """
    wanted = tuple(dict.fromkeys(field for field in fields if field in names and field not in chosen.primary_key))
    if not wanted:
        return
    one.note(f"reading {', '.join(wanted)} of all rows, as their timestamps tell nothing of these fields")
    current = one.destination.columns(one.target)
    widened = {} if current is None else _already_wider(chosen, names, current)
    request = replace_fields(
        make_request(one.options, chosen, None, widened, reject=one.quarantine.add),
        fields=(*chosen.primary_key, *wanted),
        limit=None,
    )
    _, schema, _ = _stage_once(one, request, names)
    key = tuple(names[name] for name in chosen.primary_key)
    one.quarantine.write(None, key[0])
    load = Load(one.target, one.staging, schema, current, key, unchanging=(LOADED_AT,))
    one.destination.execute(merge.fill(load))


def _already_wider(chosen: Selection, names: dict[str, str], current: pa.Schema) -> dict[str, pa.DataType]:
    """Integer fields that an earlier run found to hold fractions: their column is double already."""
    have = {f.name.lower(): f.type for f in current}
    return {
        column.name: pa.float64()
        for column in chosen.columns
        if column.name in names and column.type == pa.int64() and have.get(names[column.name].lower()) == pa.float64()
    }


def _stage(one: Run, request: ReadRequest, names: dict[str, str], *, frozen: bool) -> tuple[int, TableSchema, str]:
    """Read everything into the staging table; again, with a wider type, when a value needs one."""
    while True:
        try:
            return _stage_once(one, request, names)
        except ColumnWidenedError as error:
            one.destination.rollback()
            one.quarantine.forget()
            if frozen and one.options.schema_contract is SchemaContract.FREEZE:
                raise ConfigurationError(
                    f"--schema-contract freeze keeps {one.target} as it is, and {error}",
                    hint="evolve widens the column, discard_value leaves such values out",
                ) from None
            request = replace_fields(request, widened={**request.widened, error.field: error.to})
            if not frozen or one.options.schema_contract is SchemaContract.EVOLVE:
                one.note(
                    f"{error.field} is declared as an integer but holds fractions: its column is {error.to} from now on"
                )


def _stage_once(one: Run, request: ReadRequest, names: dict[str, str]) -> tuple[int, TableSchema, str]:
    one.progress.phase(f"reading {one.stream.source_object}")
    rows = one.stream.read(replace_fields(request, report=one.progress.reading))
    schema = target_schema(rows.schema, names, load_timestamp=not one.options.no_load_timestamp)
    with stamp_and_rename(rows, schema, one.began, one.progress.rows) as stream:
        one.destination.execute([create_schema(one.target.schema)])
        loaded = one.destination.load(stream, one.staging)
    if loaded != stream.rows:
        raise IncompleteReadError(f"{stream.rows} rows were read and {loaded} arrived in {one.staging}")
    return loaded, schema, rows.origin


def _check_keys(one: Run, load: Load) -> tuple[Load, int]:
    """Refuse null keys, and let the newest of several rows of one key win."""
    if not load.primary_key:
        return load, 0
    census = one.destination.query(key_census(load))[0]
    keys = ", ".join(load.primary_key)
    if census["null_keys"]:
        raise ConfigurationError(
            f"{census['null_keys']} rows have no value in the primary key ({keys})", hint="choose another --primary-key"
        )
    duplicates = int(census["rows"]) - int(census["distinct_keys"])
    if duplicates:
        load, statements = deduplicate(load)
        one.destination.execute(statements)
        one.note(f"{duplicates} rows repeat a key ({keys}); the newest of each is kept")
    return load, duplicates


def _check_foreign(one: Run, load: Load, current: pa.Schema) -> None:
    """Refuse keys that cannot match, and say which columns a merge is going to change.

    Raises:
        ConfigurationError: a key column of the target holds another type than the source's keys.
    """
    types = {field.name.lower(): field.type for field in current}
    for change in diff(current, load.staged):
        if not isinstance(change, WidenColumn):
            continue
        was = types[change.name.lower()]
        if change.name.lower() in {key.lower() for key in load.primary_key}:
            raise ConfigurationError(
                f"{one.target}.{change.name} is {was}, and the key that is merged by is {change.type}",
                hint="choose another --dest-table, or start again with --full-refresh",
            )
        if one.options.schema_contract is SchemaContract.EVOLVE:
            one.note(f"the column {change.name} of {one.target} changes from {was} to {change.type}")


def _conform(one: Run, load: Load, current: pa.Schema) -> Load:
    fitting = conform(one.destination, load, current, one.options.schema_contract, one.quarantine)
    if fitting.rows:
        one.note(f"{fitting.rows} rows do not fit the columns of {one.target}: they lie in _ingestr.quarantine")
    for name, values in fitting.values.items():
        if values:
            one.note(f"{values} values of {name} do not fit its column in {one.target}, and are left out")
    return fitting.load
