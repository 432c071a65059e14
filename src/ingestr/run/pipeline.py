"""One run, from options to result: the order of its steps and the checks between. Knows no platform, no engine."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace as replace_fields
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.cursor import LOOKBACK, StreamState, Window
from ingestr.core.masking import new_key
from ingestr.core.naming import assign_names
from ingestr.core.schema import MOST_DIGITS
from ingestr.core.sql import Statements
from ingestr.core.strategy import Deletes, Numbers, WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.core.transforms import stamp_and_rename, target_schema
from ingestr.destinations.base import Role, parse_table
from ingestr.errors import ConfigurationError, IngestrError, RequestRefusedError
from ingestr.ledger import state as system
from ingestr.ledger.reads import Resumption, fingerprint
from ingestr.options import IngestOptions, ReadOptions, default_table
from ingestr.progress import Progress
from ingestr.registry import open_destination, open_source
from ingestr.result import IngestResult
from ingestr.run.columns import remember_columns
from ingestr.run.context import Run, Written
from ingestr.run.guard import DeletionGuard
from ingestr.run.load import fill, write
from ingestr.run.plan import Plan, make_plan
from ingestr.run.preview import TablePlan, preview
from ingestr.run.reconcile import Tally, reconcile
from ingestr.run.selection import make_request, named_interval, select
from ingestr.run.treatment import settle_treatment
from ingestr.strategies.base import count_rows

log = logging.getLogger("ingestr")
_WIDEST = pa.decimal128(MOST_DIGITS, 18)


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
    with _opened(options, clock, progress, in_process=in_process) as one:
        one.destination.reserve(one.target)
        try:
            return _copy(one, lambda: clock.monotonic() - began)
        except RequestRefusedError as error:
            if error.code != "INVALID_FIELD":
                raise
            # A field went away between describe and query; what is left can be read.
            one.note(f"{error}: describing {one.stream.source_object} again")
            one.stream = one.source.stream(options.source_table)
            return _copy(one, lambda: clock.monotonic() - began)


def plan(options: IngestOptions, *, clock: Clock, progress: Progress, in_process: bool) -> TablePlan:
    """What ``run`` would do with the same options; writes nothing, and costs a few cheap calls.

    Raises:
        IngestrError: what the run itself would end with before its first row.
    """
    with _opened(options, clock, progress, in_process=in_process) as one:
        one.dry = True
        return preview(one)


@contextmanager
def _opened(options: IngestOptions, clock: Clock, progress: Progress, *, in_process: bool) -> Iterator[Run]:
    """Both ends of a run."""
    for note in options.notes:
        progress.note(note)
    with (
        closing(open_destination(options.dest_uri, in_process=in_process)) as destination,
        closing(open_source(options.source_uri, clock, options.api_budget)) as source,
    ):
        named = parse_table(options.dest_table or default_table(options.source_table), destination.default_schema)
        target = named.ref
        destination.connect()
        destination.check_catalog(named.catalog)
        progress.phase(f"looking up {options.source_table}")
        stream = source.stream(options.source_table)
        run_id, started = uuid.uuid4().hex, clock.now()
        guard = DeletionGuard(target, options.allow_mass_delete)
        one = Run(options, clock, progress, destination, source, stream, target, run_id, started, guard)
        one.notes.extend(options.notes)
        for note in [*source.notes, *stream.notes]:
            one.note(note)
        yield one


def read(options: ReadOptions, *, clock: Clock) -> RecordStream:
    """The rows of one table as a stream, under the documented column names; closing it closes the source."""
    source = open_source(options.source_uri, clock)
    try:
        stream = source.stream(options.source_table)
        if options.numbers is Numbers.DECIMAL:
            # A stream that has begun cannot begin again with a wider type, so that each has all digits there may be.
            stream.declare(dict.fromkeys(stream.decimals, _WIDEST))
        chosen = select(stream, options, ())
        if options.has_interval and chosen.cursor_field is None:
            raise ConfigurationError(
                f"an interval needs a key to filter by, and {options.source_table} has none of its own",
                hint="add incremental_key='system_modstamp'",
            )
        window = named_interval(options, chosen.cursor_field) if chosen.cursor_field else None
        names = assign_names([column.name for column in chosen.columns], {}, options.schema_naming)
        treatment = settle_treatment(stream, options, chosen, {}, lambda: options.mask_key or new_key())
        request = replace_fields(make_request(options, chosen, window, {}), private=bool(treatment.masks))
        rows = stream.read(request)
        schema = target_schema(rows.schema, names, load_timestamp=False, treatment=treatment)
        renamed = stamp_and_rename(rows, schema, clock.now(), treatment=treatment)
    except BaseException:
        source.close()
        raise

    def close() -> None:
        renamed.close()
        source.close()

    return RecordStream(schema, renamed, origin=rows.origin, on_close=close)


def _copy(one: Run, elapsed: Callable[[], float]) -> IngestResult:
    options, stream, destination = one.options, one.stream, one.destination
    plan = make_plan(one)
    chosen = plan.chosen
    resumption = Resumption(destination, one.ledger, stream, options.spool_folder, one.began)
    request = make_request(options, chosen, plan.coverage.window, {})
    wanted = fingerprint(stream, one.source.identity, request, interval=not plan.coverage.reaches_now)
    # What a run without masks left behind shows what must not be seen, and fits no fingerprint of this one.
    if one.masked:
        one.note("some columns are masked, so that no page is kept on the disk: a run that breaks off starts again")
    resumed = resumption.find("" if one.masked else wanted)
    in_source = stream.count_live(plan.upper, plan.covered) if plan.compared else None
    with _breaking_off(one, resumption):
        checkpoint = None if one.masked else resumption.checkpoint(wanted, resumed or plan.upper)
        window = plan.coverage.window
        if resumed is not None:
            one.note(f"going on with the run that was broken off, whose rows are as of {resumed:%Y-%m-%d %H:%M:%S} UTC")
            if window is not None and plan.coverage.reaches_now:
                window = replace_fields(window, end=resumed)
        written = write(one, chosen, plan.columns, window, rewrite=plan.rewrite, checkpoint=checkpoint)
        if resumed is not None and plan.coverage.reaches_now and options.sql_limit is None:
            written += _catch_up(one, plan, resumed)
        # A version is no other one for a field that the source shows only now, even where all rows were read.
        versioned, filled = chosen.traits.current is not None, False
        if (window is not None or options.sql_limit is not None or versioned) and not chosen.traits.only_adds:
            formulas = stream.calculated_fields if options.refresh_formulas else ()
            filled = fill(one, chosen, plan.columns, (*plan.columns.fresh, *formulas))
        tally = _tally(one, plan, resumed, in_source)
        written += tally.healed
        touched = filled or bool(written.inserted or written.updated or written.deleted or tally.deleted)
        if kept := [*_remember(one, plan, touched=touched), *resumption.commit()]:
            destination.execute(kept)
        destination.commit(one.target)
    resumption.finish()
    return IngestResult(
        source_object=stream.source_object,
        dest_table=str(one.target),
        strategy=plan.strategy,
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
        window=plan.coverage.window,
        usage=one.source.usage,
        seconds=elapsed(),
        notes=tuple(one.notes),
    )


def _catch_up(one: Run, plan: Plan, since: datetime) -> Written:
    """After a resumed read: also what changed since it began, so that the table is as right as after any other run."""
    stream, chosen = one.stream, plan.chosen
    field = chosen.cursor_field or stream.changed_field
    marked = stream.deleted_field is None or any(column.name == stream.deleted_field for column in chosen.columns)
    keyed = one.keyed and chosen.primary_key and chosen.primary_key == stream.primary_key
    snapshots = chosen.traits.only_adds and chosen.cursor_field is None
    if field is None or not keyed or not marked or snapshots:
        one.note(f"{one.target} is as of {since:%Y-%m-%d %H:%M:%S} UTC: the object has no key to tell later changes")
        return Written()
    window = Window(field, since - LOOKBACK, plan.upper)
    # The rows of the resumed read are the table now.
    plan = replace_fields(plan, columns=replace_fields(plan.columns, anew=False))
    if not chosen.traits.whole:
        return write(one, chosen, plan.columns, window, rewrite=False)
    # A table that is replaced holds live rows only: deleted ones are read to be removed.
    everything = replace_fields(chosen, include_deleted=True, strategy=WriteStrategy.MERGE)
    written = write(one, everything, plan.columns, window, rewrite=False, deletes=Deletes.HARD)
    later = replace_fields(plan, chosen=everything)
    tally = reconcile(one, later, since - LOOKBACK, Deletes.HARD, stream.count_live(plan.upper, plan.covered))
    return written + tally.healed


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


def _tally(one: Run, plan: Plan, resumed: datetime | None, in_source: int | None) -> Tally:
    """Count both sides, and bring them together."""
    if not plan.compared:
        return Tally(0, in_source, count_rows(one.destination, one.target))
    state = plan.state
    known = state.cursor_value if state is not None and state.cursor_field == plan.chosen.cursor_field else None
    since = known or resumed
    return reconcile(one, plan, since - LOOKBACK if since else None, one.options.deletes, in_source)


def _remember(one: Run, plan: Plan, *, touched: bool) -> Statements:
    """Statements that keep what the target covers, and its columns; what is not known now is kept as it was.

    Args:
        one: the run.
        plan: what it did.
        touched: whether the target's rows are others than before.
    """
    field, whole = plan.chosen.cursor_field, one.options.sql_limit is None
    state = plan.before
    if plan.rewrite or plan.state is None or (whole and plan.coverage.progresses):
        reached = field is not None and whole
        state = StreamState(
            one.stream.source_object,
            one.source.identity or (plan.before.source_identity if plan.before is not None else None),
            field if reached else None,
            plan.coverage.end if reached else None,
            plan.coverage.start if reached else None,
        )
    statements: Statements = []
    if state is not None and (touched or state != plan.before):
        contents = _contents(one, plan) if state.cursor_field is not None else None
        statements = system.write_state(one.ledger, state, contents, one.run_id, one.began)
    return statements + remember_columns(one.ledger, one.stream, plan.columns)


def _contents(one: Run, plan: Plan) -> exp.Query | None:
    """A query for what the target holds now."""
    target = one.table()
    if target is None:
        return None
    return system.contents_of(target, target.of(Role.CURSOR), target.of(Role.LOADED_AT))
