"""One run, from options to result: the order of its steps and the checks between. Knows no platform, no engine."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import datetime

import pyarrow as pa

from ingestr import state as system
from ingestr.columns import ColumnNames, choose_columns, remember_columns
from ingestr.contract import check_frozen
from ingestr.core.clock import Clock
from ingestr.core.cursor import LOOKBACK, StreamState, Window, next_window
from ingestr.core.naming import assign_names
from ingestr.core.schema import Column, TableSchema
from ingestr.core.strategy import Deletes, SchemaContract, WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.core.transforms import LOADED_AT, stamp_and_rename, target_schema
from ingestr.destinations.base import parse_table
from ingestr.errors import ConfigurationError, IngestrError, RequestRefusedError
from ingestr.loading import Run, Written, fill, merge_rows, write
from ingestr.options import IngestOptions, ReadOptions, default_table
from ingestr.progress import Progress
from ingestr.quarantine import Quarantine
from ingestr.reconcile import Comparison, LiveColumns, Tally, reconcile, remove_deleted
from ingestr.registry import open_destination, open_source
from ingestr.result import IngestResult
from ingestr.resume import Resumption, fingerprint
from ingestr.selection import Selection, make_request, named_interval, select
from ingestr.strategies.base import Statements, count_rows

log = logging.getLogger("ingestr")


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
    for note in options.notes:
        progress.note(note)
    with (
        closing(open_destination(options.dest_uri, in_process=in_process)) as destination,
        closing(open_source(options.source_uri, clock, options.api_budget)) as source,
    ):
        target = parse_table(options.dest_table or default_table(options.source_table), destination.default_schema)
        destination.connect()
        progress.phase(f"asking Salesforce about {options.source_table}")
        stream = source.stream(options.source_table)
        run_id, started = uuid.uuid4().hex, clock.now()
        quarantine = Quarantine(destination, target, stream.source_object, run_id, started, options.quarantine_limit)
        one = Run(options, clock, progress, destination, source, stream, target, run_id, started, quarantine)
        one.notes.extend(options.notes)
        for note in [*source.notes, *stream.notes]:
            one.note(note)
        try:
            return _copy(one, lambda: clock.monotonic() - began)
        except RequestRefusedError as error:
            if error.code != "INVALID_FIELD":
                raise
            # A field went away between describe and query; what is left can be read.
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


@dataclass(frozen=True)
class _Plan:
    """What one run is going to do, settled before the first row.

    Args:
        chosen: what to read, and by which keys.
        columns: where each field goes.
        state: how far the target has been read, if that counts now.
        window: rows to read, or None for all.
        upper: the moment up to which this run reads.
        rewrite: the rows become the table, rather than to be merged into it.
        partial: the user wants some of the rows only.
        compared: both sides are counted in the end.
    """

    chosen: Selection
    columns: ColumnNames
    state: StreamState | None
    window: Window | None
    upper: datetime
    rewrite: bool
    partial: bool
    compared: bool


def _copy(one: Run, elapsed: Callable[[], float]) -> IngestResult:
    options, stream, destination = one.options, one.stream, one.destination
    plan = _plan(one)
    chosen = plan.chosen
    resumption = Resumption(destination, one.target, stream, options.spool_folder, one.began)
    request = make_request(options, chosen, plan.window, {})
    wanted = fingerprint(stream, one.source.identity, request, interval=options.has_interval)
    resumed = resumption.find(wanted)
    in_source = stream.count_live(plan.upper) if plan.compared else None
    with _breaking_off(one, resumption):
        checkpoint = resumption.checkpoint(wanted, resumed or plan.upper)
        window = plan.window
        if resumed is not None:
            one.note(f"going on with the run that was broken off, whose rows are as of {resumed:%Y-%m-%d %H:%M:%S} UTC")
            if window is not None and not options.has_interval:
                window = replace_fields(window, end=resumed)
        written = write(one, chosen, plan.columns, window, rewrite=plan.rewrite, checkpoint=checkpoint)
        if resumed is not None and not plan.partial:
            written += _catch_up(one, plan, resumed)
        if window is not None or options.sql_limit is not None:
            formulas = stream.calculated_fields if options.refresh_formulas else ()
            fill(one, chosen, plan.columns.read, (*plan.columns.fresh, *formulas))
        tally = _tally(one, plan, resumed, in_source)
        written += one.healed
        destination.execute([*_remember(one, plan), *resumption.commit()])
        destination.commit(one.target)
    resumption.finish()
    return IngestResult(
        source_object=stream.source_object,
        dest_table=str(one.target),
        strategy=WriteStrategy.REPLACE if plan.rewrite else WriteStrategy.MERGE,
        read_by=written.origin,
        rows_read=written.read,
        rows_inserted=written.inserted,
        rows_updated=written.updated,
        rows_unchanged=written.unchanged,
        rows_deleted=written.deleted + tally.deleted,
        rows_quarantined=one.quarantine.count(),
        rows_in_source=tally.in_source,
        rows_in_destination=tally.in_destination,
        duplicates=written.duplicates,
        resumed=resumed is not None,
        window=plan.window,
        usage=one.source.usage,
        seconds=elapsed(),
        notes=tuple(one.notes),
    )


def _plan(one: Run) -> _Plan:
    options, stream, destination = one.options, one.stream, one.destination
    kept, naming = system.read_names(destination, one.target, stream.source_object)
    given = {name: each.column for name, each in kept.items()} if naming == options.schema_naming else {}
    chosen = select(stream, options, options.primary_key, given)
    if chosen.strategy not in destination.capabilities.strategies:
        raise ConfigurationError(f"the destination cannot {chosen.strategy}")
    current = destination.columns(one.target)
    state = system.read_state(destination, one.target)
    rewrite = options.full_refresh or chosen.strategy is WriteStrategy.REPLACE
    _check_same_source(one, state, current, rewrite=rewrite)
    upper = stream.server_now()
    partial = options.has_interval or options.sql_limit is not None
    compared = not partial and chosen.include_deleted and chosen.primary_key == stream.primary_key
    if chosen.strategy is WriteStrategy.MERGE and not chosen.include_deleted:
        _check_unmarked(one)
    if options.deletes is Deletes.IGNORE:
        chosen = replace_fields(chosen, include_deleted=False)
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
    if current is not None:
        chosen, columns = _under_contract(one, chosen, columns, current)
    return _Plan(chosen, columns, state, window, upper, rewrite, partial, compared)


def _check_unmarked(one: Run) -> None:
    """Without the mark of deleted rows none are read."""
    if one.options.deletes is Deletes.HARD:
        raise ConfigurationError(
            f"--deletes hard needs {one.stream.deleted_field}, which --sql-exclude-columns leaves out",
            hint="leave out one of them",
        )
    one.note(f"{one.stream.deleted_field} is not read: deletions are not seen, and both sides are not compared")


def _under_contract(
    one: Run, chosen: Selection, columns: ColumnNames, current: pa.Schema
) -> tuple[Selection, ColumnNames]:
    """The same under ``--schema-contract``: what a table that may not change cannot take is refused, or not read."""
    contract = one.options.schema_contract
    have = {field.name.lower() for field in current}
    if contract is SchemaContract.FREEZE:
        incoming = [Column(columns.read[column.name], column.type, column.name) for column in chosen.columns]
        # A column that was widened to double for an integer field stays as it is.
        check_frozen(one.target, current, TableSchema(tuple(incoming)))
    if contract is not SchemaContract.DISCARD_VALUE:
        return chosen, columns
    new = {field for field, name in columns.read.items() if name.lower() not in have}
    if new:
        one.note(
            f"--schema-contract discard_value: {', '.join(sorted(new))} is not read, as {one.target} has no such column"
        )
    every = {
        field: replace_fields(kept, was_read=kept.was_read and field not in new)
        for field, kept in columns.every.items()
    }
    return (
        replace_fields(chosen, columns=tuple(column for column in chosen.columns if column.name not in new)),
        replace_fields(
            columns,
            read={field: name for field, name in columns.read.items() if field not in new},
            every=every,
            fresh=tuple(field for field in columns.fresh if field not in new),
        ),
    )


def _catch_up(one: Run, plan: _Plan, since: datetime) -> Written:
    """After a resumed read: also what changed since it began, so that the table is as right as after any other run."""
    stream, chosen = one.stream, plan.chosen
    field = chosen.cursor_field or stream.changed_field
    marked = stream.deleted_field is None or any(column.name == stream.deleted_field for column in chosen.columns)
    if field is None or chosen.primary_key != stream.primary_key or not chosen.primary_key or not marked:
        one.note(f"{one.target} is as of {since:%Y-%m-%d %H:%M:%S} UTC: the object has no key to tell later changes")
        return Written()
    window = Window(field, since - LOOKBACK, plan.upper)
    if chosen.strategy is WriteStrategy.MERGE:
        return write(one, chosen, plan.columns, window, rewrite=False)
    # A table that is replaced holds live rows only: deleted ones are read to be removed.
    everything = replace_fields(chosen, include_deleted=True)
    written = write(one, everything, plan.columns, window, rewrite=False, deletes=Deletes.HARD)
    later = replace_fields(plan, chosen=everything)
    _reconcile(one, later, Deletes.HARD, since - LOOKBACK, stream.count_live(plan.upper))
    return written


@contextmanager
def _breaking_off(one: Run, resumption: Resumption) -> Iterator[None]:
    """When the load fails: the target is as it was, and complete pages wait for the next run where they can help."""
    try:
        yield
    except BaseException as error:
        try:
            one.destination.rollback()
            pages = resumption.break_off(error)
        except IngestrError as failure:
            log.debug("%s", failure)
        else:
            if pages:
                what = f"{pages} complete pages of {one.stream.source_object} are kept"
                one.note(f"{what}: the next run goes on from there")
        raise


def _tally(one: Run, plan: _Plan, resumed: datetime | None, in_source: int | None) -> Tally:
    """Count both sides, and bring them together."""
    if not plan.compared:
        return Tally(0, in_source, count_rows(one.destination, one.target))
    state = plan.state
    known = state.cursor_value if state is not None and state.cursor_field == plan.chosen.cursor_field else None
    since = known or resumed
    return _reconcile(one, plan, one.options.deletes, since - LOOKBACK if since else None, in_source)


def _reconcile(one: Run, plan: _Plan, deletes: Deletes, since: datetime | None, in_source: int | None) -> Tally:
    stream, chosen, names = one.stream, plan.chosen, plan.columns.read
    columns = LiveColumns(
        key=names[chosen.primary_key[0]],
        created=names.get(stream.created_field or ""),
        changed=names.get(stream.changed_field or ""),
        deleted=names.get(stream.deleted_field or ""),
        loaded_at=None if one.options.no_load_timestamp else LOADED_AT,
    )
    both = Comparison(
        one.destination,
        stream,
        one.target,
        columns,
        plan.upper,
        one.began,
        one.quarantine,
        lambda keys: merge_rows(one, chosen, names, keys),
    )
    tally = reconcile(both, since, deletes, in_source)
    if deletes is Deletes.HARD:
        marked = remove_deleted(both)
        # Those that the comparison has just marked are counted there.
        tally = replace_fields(tally, deleted=max(tally.deleted, marked))
    return tally


def _remember(one: Run, plan: _Plan) -> Statements:
    """Statements that keep how far the target has been read, and its columns."""
    statements: Statements = []
    if plan.rewrite or not plan.partial or plan.state is None:
        reached = plan.chosen.cursor_field is not None and not plan.partial
        state = StreamState(
            one.stream.source_object,
            one.source.identity,
            plan.chosen.cursor_field if reached else None,
            plan.upper if reached else None,
        )
        statements += system.write_state(one.target, state, one.run_id, one.began)
    return statements + remember_columns(one.target, one.stream, plan.columns, one.options.schema_naming)


def _choose_window(one: Run, chosen: Selection, state: StreamState | None, upper: datetime) -> Window | None:
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


def _check_same_source(one: Run, state: StreamState | None, current: pa.Schema | None, *, rewrite: bool) -> None:
    """A merge into a table of another object or org would mix rows that never belonged together."""
    if state is None or current is None or rewrite:
        return
    if state.source_object.lower() != one.stream.source_object.lower():
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
