"""One run, from options to result: the order of its steps and the checks between. Knows no platform, no engine."""

import logging
import uuid
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import datetime

import pyarrow as pa

from ingestr import state as system
from ingestr.columns import choose_columns, remember_columns
from ingestr.core.clock import Clock
from ingestr.core.cursor import LOOKBACK, StreamState, Window, next_window
from ingestr.core.naming import assign_names
from ingestr.core.schema import ColumnWidenedError, TableSchema
from ingestr.core.strategy import Deletes, WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.destinations.base import Destination, TableRef, parse_table
from ingestr.errors import ConfigurationError, DestinationError, IncompleteReadError, RequestRefusedError
from ingestr.options import IngestOptions, ReadOptions
from ingestr.progress import Progress
from ingestr.reconcile import Comparison, LiveColumns, Tally, reconcile, remove_deleted
from ingestr.registry import open_destination, open_source
from ingestr.selection import Selection, make_request, named_interval, select
from ingestr.sources.base import ReadRequest, Source, Stream, Usage
from ingestr.strategies import merge, replace
from ingestr.strategies.base import Load, create_schema, deduplicate, key_census

log = logging.getLogger("ingestr")


@dataclass(frozen=True)
class IngestResult:
    """What a run did.

    Args:
        source_object: the platform's name of the table.
        dest_table: ``schema.table``.
        strategy: how the rows were written.
        read_by: the API that served them.
        rows_read: rows that came from the source.
        rows_inserted, rows_updated, rows_unchanged: what became of them.
        rows_deleted: rows of the target that were found to be deleted at the source, beside those among the rows read.
        rows_in_source, rows_in_destination: rows on both sides when the run's window ended; live ones for a merge. None
            where the source was not, or could not be, counted.
        duplicates: rows of one key that gave way to a newer one.
        window: the range read, or None for all.
        usage: API calls of this run, and the allowance.
        seconds: how long it took.
        notes: what the user should know.
    """

    source_object: str
    dest_table: str
    strategy: WriteStrategy
    read_by: str
    rows_read: int
    rows_inserted: int
    rows_updated: int
    rows_unchanged: int
    rows_deleted: int
    rows_in_source: int | None
    rows_in_destination: int
    duplicates: int
    window: Window | None
    usage: Usage
    seconds: float
    notes: tuple[str, ...]


@dataclass
class _Run:
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
    notes: list[str] = field(default_factory=list)

    @property
    def staging(self) -> TableRef:
        """Where rows wait until they are all there."""
        return TableRef(self.target.schema, f"_ingestr_staging_{self.target.name}")

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.progress.note(text)


def run(options: IngestOptions, *, clock: Clock, progress: Progress, in_process: bool) -> IngestResult:
    """Copy one table.

    The target changes in one transaction at the end, or not at all.

    Args:
        options: what the user asked for.
        clock: time and waiting.
        progress: told what happens.
        in_process: whether the caller lives on after the run (a database in memory makes sense then).

    Raises:
        IngestrError: of the kind that says who must do something about it.
    """
    began = clock.monotonic()
    with (
        closing(open_destination(options.dest_uri, in_process=in_process)) as destination,
        closing(open_source(options.source_uri, clock)) as source,
    ):
        default_table = options.source_table.removeprefix("custom:")
        target = parse_table(options.dest_table or default_table, destination.default_schema)
        destination.connect()
        progress.phase(f"asking Salesforce about {options.source_table}")
        stream = source.stream(options.source_table)
        started = clock.now()
        one = _Run(options, clock, progress, destination, source, stream, target, uuid.uuid4().hex, started)
        for note in [*source.notes, *stream.notes]:
            one.note(note)
        try:
            return _copy(one, lambda: clock.monotonic() - began)
        except RequestRefusedError as error:
            if error.code != "INVALID_FIELD":
                raise
            # A field went away between describe and query; what is left can be read.
            destination.rollback()
            one.note(f"{error}: describing {stream.source_object} again")
            one.stream = source.stream(options.source_table)
            return _copy(one, lambda: clock.monotonic() - began)


def read(options: ReadOptions, *, clock: Clock) -> RecordStream:
    """The rows of one table as a stream, under the documented column names; closing it closes the source."""
    source = open_source(options.source_uri, clock)
    try:
        stream = source.stream(options.source_table)
        chosen = select(stream, options, ())
        if options.has_interval and chosen.cursor_field is None:
            raise ConfigurationError(
                f"an interval needs a key to filter by, and {options.source_table} has none of its own",
                hint="add incremental_key='system_modstamp'",
            )
        window = named_interval(options, chosen.cursor_field) if chosen.cursor_field else None
        names = assign_names([column.name for column in chosen.columns], {}, options.schema_naming)
        rows = stream.read(make_request(options, chosen, window, {}))
        schema = target_schema(rows.schema, names, load_timestamp=False)
        renamed = stamp_and_rename(rows, schema, clock.now())
    except BaseException:
        source.close()
        raise

    def close() -> None:
        renamed.close()
        source.close()

    return RecordStream(schema, renamed, origin=rows.origin, on_close=close)


def _copy(one: _Run, elapsed: Callable[[], float]) -> IngestResult:
    options, stream, destination = one.options, one.stream, one.destination
    chosen = select(stream, options, options.primary_key)
    if chosen.strategy not in destination.capabilities.strategies:
        raise ConfigurationError(f"the destination cannot {chosen.strategy}")
    current = destination.columns(one.target)
    state = system.read_state(destination, one.target)
    rewrite = options.full_refresh or chosen.strategy is WriteStrategy.REPLACE
    _check_same_source(one, state, current, rewrite=rewrite)
    upper = stream.server_now()
    partial = options.has_interval or options.sql_limit is not None
    compared = not partial and chosen.include_deleted and chosen.primary_key == stream.primary_key
    if options.deletes is Deletes.IGNORE:
        chosen = replace_fields(chosen, include_deleted=False)
    in_source = stream.count_live(upper) if compared else None
    state = state if current is not None and not rewrite else None
    window = _choose_window(one, chosen, state, upper)
    columns = choose_columns(
        destination,
        one.target,
        stream,
        [column.name for column in chosen.columns],
        options.schema_naming,
        rewrite=rewrite,
        note=one.note,
    )
    names = columns.read

    widened = {} if rewrite or current is None else _already_wider(chosen, names, current)
    rows, schema, origin = _stage(one, make_request(options, chosen, window, widened), names, one.staging)
    load = Load(
        target=one.target,
        staging=one.staging,
        staged=schema,
        current=None if rewrite else current,
        primary_key=tuple(names[key] for key in chosen.primary_key),
        cursor=names.get(chosen.cursor_field) if chosen.cursor_field else None,
        unchanging=(LOADED_AT,),
        lost=columns.lost,
    )
    load, duplicates = _check_keys(one, load)
    strategy = replace if rewrite else merge
    census = destination.query(strategy.census(load))[0]
    one.progress.phase(f"writing {one.target}")
    destination.execute(strategy.plan(load))
    _fill(one, chosen, names, (*columns.fresh, *(stream.calculated_fields if options.refresh_formulas else ())), window)
    tally = Tally(0, in_source, int(census["inserted"]))
    if compared:
        known = state is not None and state.cursor_field == chosen.cursor_field and state.cursor_value is not None
        since = state.cursor_value - LOOKBACK if state and known and state.cursor_value else None
        tally = _reconcile(one, _compare(one, chosen, names, upper), since, in_source)
    if rewrite or not partial or state is None:
        reached = chosen.cursor_field is not None and not partial
        new_state = StreamState(
            stream.source_object,
            one.source.identity,
            chosen.cursor_field if reached else None,
            upper if reached else None,
        )
        destination.execute(system.write_state(one.target, new_state, one.run_id, one.began))
    destination.execute(remember_columns(one.target, stream, columns, options.schema_naming))
    destination.commit()
    return IngestResult(
        source_object=stream.source_object,
        dest_table=str(one.target),
        strategy=WriteStrategy.REPLACE if rewrite else WriteStrategy.MERGE,
        read_by=origin,
        rows_read=rows,
        rows_inserted=int(census["inserted"]),
        rows_updated=int(census["updated"]),
        rows_unchanged=int(census["unchanged"]),
        rows_deleted=tally.deleted,
        rows_in_source=tally.in_source,
        rows_in_destination=tally.in_destination,
        duplicates=duplicates,
        window=window,
        usage=one.source.usage,
        seconds=elapsed(),
        notes=tuple(one.notes),
    )


def _compare(one: _Run, chosen: Selection, names: dict[str, str], upper: datetime) -> Comparison:
    """The comparison of the merged target with its source."""

    def read_rows(keys: tuple[str, ...] | None) -> None:
        request = replace_fields(make_request(one.options, chosen, None, {}), keys=keys)
        try:
            _, schema, _ = _stage_once(one, request, names, one.staging)
        except ColumnWidenedError as error:
            raise IncompleteReadError(
                f"rows that were missing cannot be added: {error}", hint="use --full-refresh"
            ) from error
        key = tuple(names[name] for name in chosen.primary_key)
        current = one.destination.columns(one.target)
        one.destination.execute(
            merge.plan(Load(one.target, one.staging, schema, current, key, unchanging=(LOADED_AT,)))
        )

    stream = one.stream
    columns = LiveColumns(
        key=names[chosen.primary_key[0]],
        created=names.get(stream.created_field or ""),
        changed=names.get(stream.changed_field or ""),
        deleted=names.get(stream.deleted_field or ""),
        loaded_at=None if one.options.no_load_timestamp else LOADED_AT,
    )
    return Comparison(one.destination, stream, one.target, columns, upper, one.began, read_rows)


def _reconcile(one: _Run, both: Comparison, since: datetime | None, in_source: int | None) -> Tally:
    tally = reconcile(both, since, one.options.deletes, in_source)
    if one.options.deletes is Deletes.HARD:
        one.destination.execute(remove_deleted(both))
    return tally


def _choose_window(one: _Run, chosen: Selection, state: StreamState | None, upper: datetime) -> Window | None:
    if one.options.has_interval:
        if chosen.cursor_field is not None:
            return named_interval(one.options, chosen.cursor_field)
        one.note(
            f"{one.options.source_table} is replaced as a whole: the interval is not used "
            "(--incremental-key system_modstamp would merge the interval instead)"
        )
    if chosen.cursor_field is None:
        return None
    window = next_window(state, chosen.cursor_field, upper)
    log.debug("reading %s", f"{window.field} from {window.start} to {window.end}" if window else "everything")
    return window


def _check_same_source(one: _Run, state: StreamState | None, current: pa.Schema | None, *, rewrite: bool) -> None:
    """A merge into a table of another object or org would mix rows that never belonged together."""
    if state is None or current is None or rewrite:
        return
    if state.source_object != one.stream.source_object:
        raise ConfigurationError(
            f"{one.target} holds {state.source_object}, not {one.stream.source_object}",
            hint="choose another --dest-table, or start again with --full-refresh",
        )
    identity = one.source.identity
    if state.source_identity and identity and state.source_identity != identity:
        raise ConfigurationError(
            f"{one.target} was loaded from the org {state.source_identity}, and this login is at {identity}",
            hint="choose another --dest-table, or start again with --full-refresh",
        )


def _fill(one: _Run, chosen: Selection, names: dict[str, str], fields: Iterable[str], window: Window | None) -> None:
    """Read some fields of all rows into rows that are there already: what no window over changes would bring.

    Adding a field moves no row's timestamp, nor does a formula whose outcome changes.
    """
    wanted = tuple(dict.fromkeys(field for field in fields if field in names and field not in chosen.primary_key))
    if not wanted or (window is None and one.options.sql_limit is None):
        return
    one.note(f"reading {', '.join(wanted)} of all rows, as their timestamps tell nothing of these fields")
    request = replace_fields(
        make_request(one.options, chosen, None, {}), fields=(*chosen.primary_key, *wanted), limit=None
    )
    _, schema, _ = _stage_once(one, request, names, one.staging)
    key = tuple(names[name] for name in chosen.primary_key)
    current = one.destination.columns(one.target)
    load = Load(one.target, one.staging, schema, current, key, unchanging=(LOADED_AT,))
    one.destination.execute(merge.fill(load))


def _already_wider(chosen: Selection, names: dict[str, str], current: pa.Schema) -> dict[str, pa.DataType]:
    """Integer fields that an earlier run found to hold fractions: their column is double already."""
    have = {f.name.lower(): f.type for f in current}
    return {
        column.name: pa.float64()
        for column in chosen.columns
        if column.type == pa.int64() and have.get(names[column.name].lower()) == pa.float64()
    }


def _stage(one: _Run, request: ReadRequest, names: dict[str, str], staging: TableRef) -> tuple[int, TableSchema, str]:
    """Read everything into the staging table; again, with a wider type, when a value needs one."""
    while True:
        try:
            return _stage_once(one, request, names, staging)
        except ColumnWidenedError as error:
            one.destination.rollback()
            request = replace_fields(request, widened={**request.widened, error.field: error.to})
            one.note(
                f"{error.field} is declared as an integer but holds fractions: its column is {error.to} from now on"
            )


def _stage_once(
    one: _Run, request: ReadRequest, names: dict[str, str], staging: TableRef
) -> tuple[int, TableSchema, str]:
    one.progress.phase(f"reading {one.stream.source_object}")
    rows = one.stream.read(request)
    schema = target_schema(rows.schema, names, load_timestamp=not one.options.no_load_timestamp)
    with stamp_and_rename(rows, schema, one.began, one.progress.rows) as stream:
        one.destination.execute([create_schema(one.target.schema)])
        loaded = one.destination.load(stream, staging)
    if loaded != stream.rows:
        raise IncompleteReadError(f"{stream.rows} rows were read and {loaded} arrived in {staging}")
    return loaded, schema, rows.origin


def _check_keys(one: _Run, load: Load) -> tuple[Load, int]:
    """Refuse null keys, and let the newest of several rows of one key win."""
    if not load.primary_key:
        return load, 0
    census = one.destination.query(key_census(load))[0]
    keys = ", ".join(load.primary_key)
    if census["null_keys"]:
        raise DestinationError(
            f"{census['null_keys']} rows have no value in the primary key ({keys})", hint="choose another --primary-key"
        )
    duplicates = int(census["rows"]) - int(census["distinct_keys"])
    if duplicates:
        load, statements = deduplicate(load)
        one.destination.execute(statements)
        one.note(f"{duplicates} rows repeat a key ({keys}); the newest of each is kept")
    return load, duplicates
