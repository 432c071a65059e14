"""One run, from options to result: the order of its steps and the checks between. Knows no platform, no engine."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.cursor import Contents
from ingestr.core.masking import new_key
from ingestr.core.naming import assign_names
from ingestr.core.schema import MOST_DIGITS
from ingestr.core.sql import Statements
from ingestr.core.strategy import Numbers
from ingestr.core.stream import RecordStream
from ingestr.core.transforms import stamp_and_rename, target_schema
from ingestr.destinations.base import Destination, parse_table
from ingestr.errors import ConfigurationError, IngestrError, RequestRefusedError
from ingestr.ledger import loads
from ingestr.ledger import state as system
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.reads import Resumption, fingerprint
from ingestr.options import IngestOptions, ReadOptions, bare_table
from ingestr.progress import Progress, SilentProgress
from ingestr.registry import open_destination, open_source
from ingestr.result import IngestResult
from ingestr.run.comments import settle_comments
from ingestr.run.execution import Execution, Written
from ingestr.run.load import fill, write
from ingestr.run.metadata import keep_metadata
from ingestr.run.plan import make_plan
from ingestr.run.preview import Preview, preview
from ingestr.run.reading import FieldNames, named_interval, select
from ingestr.run.reconcile import Tally, add_missing, deletions_since, reconcile
from ingestr.run.session import Session, SystemTables, system_tables
from ingestr.run.table_plan import TablePlan
from ingestr.run.treatment import settle_treatment
from ingestr.sources.base import Source
from ingestr.strategies import STRATEGIES

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
    with open_ends(options, clock, progress.note, in_process=in_process) as (source, destination):
        result = copy_table(source, destination, options, clock=clock, progress=progress)
        for note in source.notes:
            progress.note(note)
        return replace(result, usage=source.usage, notes=(*result.notes, *source.notes))


def copy_table(
    source: Source,
    destination: Destination,
    options: IngestOptions,
    *,
    clock: Clock,
    progress: Progress,
    until: datetime | None = None,
    system: SystemTables | None = None,
) -> IngestResult:
    """Copy one table between two ends that are open; the calls in the result are those for this table alone.

    Args:
        source, destination: both ends.
        options: what the user asked for.
        clock: time and waiting.
        progress: told what happens.
        until: by the source's clock, the moment at which the table is to end; None for when it is read.
        system: what a session of many tables knows of the tables of ``_ingestr``; None to look.
    """
    began = clock.monotonic()

    def elapsed() -> float:
        return clock.monotonic() - began

    session = _look_up(source, destination, options, clock, progress, system, writes=True)
    session = replace(session, until=until)
    try:
        try:
            return _carry_out(session, make_plan(session, options), elapsed)
        except RequestRefusedError as error:
            if error.code != "INVALID_FIELD":
                raise
            # A field went away between describe and query; what is left can be read.
            session.note(f"{error}: describing {session.stream.source_object} again")
            session = session.anew(options.source_table)
            return _carry_out(session, make_plan(session, options), elapsed)
    except IngestrError as error:
        _note_failure(session, error, elapsed)
        raise


def _note_failure(session: Session, error: IngestrError, elapsed: Callable[[], float]) -> None:
    """Keep that a load failed and why, where that can be done."""
    try:
        session.destination.rollback()
        if kept := loads.failed(session.ledger, _run_of(session, elapsed), error):
            session.destination.execute(kept)
            session.destination.commit()
    except IngestrError as failure:
        log.debug("%s", failure)


def _run_of(session: Session, elapsed: Callable[[], float]) -> loads.Run:
    ended = session.began + timedelta(seconds=elapsed())
    return loads.Run(session.run_id, session.stream.source_object, session.began, ended)


def plan(options: IngestOptions, *, clock: Clock, progress: Progress, in_process: bool) -> Preview:
    """What ``run`` would do with the same options; writes nothing, and costs a few cheap calls.

    Raises:
        IngestrError: what the run itself would end with before its first row.
    """
    with open_ends(options, clock, progress.note, in_process=in_process) as (source, destination):
        found = preview_table(source, destination, options, clock=clock, progress=progress)
        return replace(found, notes=(*found.notes, *source.notes))


def preview_table(
    source: Source,
    destination: Destination,
    options: IngestOptions,
    *,
    clock: Clock,
    progress: Progress,
    until: datetime | None = None,
    system: SystemTables | None = None,
) -> Preview:
    """What ``copy_table`` would do; writes nothing."""
    session = _look_up(source, destination, options, clock, progress, system, writes=False)
    session = replace(session, until=until)
    return preview(session, make_plan(session, options, dry=True))


class _Quiet(SilentProgress):
    """Says nothing: all that there is to say was said when the table was copied."""

    def note(self, text: str) -> None:
        """Something that the user has been told."""


def add_rows(
    source: Source, destination: Destination, options: IngestOptions, keys: tuple[str, ...], clock: Clock
) -> int:
    """Read rows of these keys into a table that has been copied and lacks them; what it covers stays the same.

    Returns how many rows the table gained: none where rows cannot be added by their key.
    """
    session = _look_up(source, destination, options, clock, _Quiet(), None, writes=True)
    plan, stream = make_plan(session, replace(options, full_refresh=False)), session.stream
    marked = stream.deleted_field is None or plan.reading.reads(stream.deleted_field)
    if plan.traits.has_versions or plan.reading.primary_key != stream.primary_key or not marked:
        return 0
    execution = Execution(session, plan)
    gained = add_missing(execution, plan.catching_up(None), keys).inserted
    unmoved = replace(plan, progression=replace(plan.progression, after=plan.progression.before))
    _, contents = execution.look(exp.true())
    destination.execute(_remember(execution, unmoved, contents, None, touched=gained > 0))
    destination.commit(plan.target.ref)
    return gained


@contextmanager
def open_ends(
    options: IngestOptions, clock: Clock, say: Callable[[str], None], *, in_process: bool
) -> Iterator[tuple[Source, Destination]]:
    """Both ends of a run: the destination is open, and the source is asked nothing yet.

    Args:
        options: the URIs of both, and notes about the options themselves.
        clock: the source's.
        say: told of each of these notes.
        in_process: a destination may open a file in this process.
    """
    for note in options.notes:
        say(note)
    with (
        closing(open_destination(options.dest_uri, in_process=in_process)) as destination,
        closing(open_source(options.source_uri, clock, options.api_budget)) as source,
    ):
        destination.connect()
        yield source, destination


def _look_up(
    source: Source,
    destination: Destination,
    options: IngestOptions,
    clock: Clock,
    progress: Progress,
    system: SystemTables | None,
    *,
    writes: bool,
) -> Session:
    """The table at both ends; if the run ``writes``, other runs are kept off the target."""
    named = parse_table(options.dest_table or bare_table(options.source_table), destination.default_schema)
    destination.check_catalog(named.catalog)
    progress.phase(f"looking up {options.source_table}")
    stream = source.stream(options.source_table)
    run_id, began, notes = uuid.uuid4().hex, clock.now(), [*options.notes, *stream.notes]
    for note in notes[len(options.notes) :]:
        progress.note(note)
    if writes:
        destination.reserve(named.ref)
    ledger = Ledger(destination, named.ref, system_tables(options), system)
    return Session(progress, destination, source, stream, ledger, run_id, began, notes)


def read(options: ReadOptions, *, clock: Clock) -> RecordStream:
    """The rows of one table as a stream, under the documented column names; closing it closes the source."""
    source = open_source(options.source_uri, clock)
    try:
        stream = source.stream(options.source_table)
        if options.numbers is Numbers.DECIMAL:
            # A stream that has begun cannot begin again with a wider type, so that each has all digits there may be.
            stream.declare(dict.fromkeys(stream.decimals, _WIDEST))
        names = FieldNames(stream, {}, options.schema_naming)
        reading, strategy = select(stream, options, names)
        if options.has_interval and reading.cursor_field is None:
            raise ConfigurationError(
                f"an interval needs a key to filter by, and {options.source_table} has none of its own",
                hint="add incremental_key='system_modstamp'",
            )
        window = named_interval(options, reading.cursor_field) if reading.cursor_field else None
        traits = STRATEGIES[strategy].TRAITS
        treatment = settle_treatment(stream, options, names, reading, traits, lambda: options.mask_key or new_key())
        rows = stream.read(reading.request(window, private=bool(treatment.masks)))
        columns = assign_names([each.name for each in reading.fields], {}, options.schema_naming)
        schema = target_schema(rows.schema, columns, load_timestamp=False, treatment=treatment)
        renamed = stamp_and_rename(rows, schema, clock.now(), treatment=treatment)
    except BaseException:
        source.close()
        raise

    def close() -> None:
        renamed.close()
        source.close()

    return RecordStream(schema, renamed, origin=rows.origin, on_close=close)


def _carry_out(session: Session, plan: TablePlan, elapsed: Callable[[], float]) -> IngestResult:
    """Do what a plan says, in one transaction."""
    stream, destination = session.stream, session.destination
    execution = Execution(session, plan)
    resumption = Resumption(destination, session.ledger, stream, plan.spool, session.began)
    wanted = fingerprint(stream, session.source.identity, plan.request, interval=not plan.coverage.reaches_now)
    # What a run without masks left behind shows what must not be seen, and fits no fingerprint of this one.
    if plan.is_masked:
        session.note("some columns are masked, so that no page is kept on the disk: a run that breaks off starts again")
    resumed = resumption.find("" if plan.is_masked else wanted)
    if plan.compared and resumed is None and (since := deletions_since(plan, None)) is not None:
        stream.anticipate(plan.request, plan.ends, plan.covered, since)
    in_source = stream.count_live(plan.ends, plan.covered) if plan.compared else None
    with _breaking_off(session, resumption):
        checkpoint = None if plan.is_masked else resumption.checkpoint(wanted, resumed or plan.ends)
        first = plan
        if resumed is not None:
            moment = f"{resumed:%Y-%m-%d %H:%M:%S} UTC"
            session.note(f"going on with the run that was broken off, whose rows are as of {moment}")
            first = plan.up_to(resumed)
        done, written = write(execution, first, checkpoint)
        if resumed is not None and plan.coverage.reaches_now and plan.reading.limit is None:
            written += _catch_up(execution, done, resumed)
        written += fill(execution, done)
        tally = _tally(execution, done, resumed, in_source)
        written += tally.healed
        touched = bool(written.inserted or written.updated or written.deleted or tally.deleted)
        result = IngestResult(
            source_object=plan.source_object,
            dest_table=str(plan.target.ref),
            strategy=plan.outcome,
            read_by=written.origin,
            rows_read=written.read,
            rows_inserted=written.inserted,
            rows_updated=written.updated,
            rows_unchanged=written.unchanged,
            rows_deleted=written.deleted + tally.deleted,
            rows_quarantined=execution.quarantine.count(),
            rows_in_source=tally.in_source,
            rows_in_destination=tally.in_destination,
            duplicates=written.duplicates,
            resumed=resumed is not None,
            window=plan.window,
            usage=stream.usage,
            seconds=elapsed(),
            notes=(),
        )
        kept = [*_remember(execution, plan, tally.contents, resumed, touched=touched), *resumption.commit()]
        if plan.with_metadata:
            keep_metadata(execution, plan)
        destination.execute([*kept, *loads.done(session.ledger, _run_of(session, elapsed), result)])
        destination.commit(plan.target.ref)
    resumption.finish()
    return replace(result, usage=stream.usage, seconds=elapsed(), notes=tuple(session.notes))


def _catch_up(execution: Execution, plan: TablePlan, since: datetime) -> Written:
    """After a resumed read: also what changed since it began, so that the table is as right as after any other run."""
    stream, reading = execution.stream, plan.reading
    field = reading.cursor_field or stream.changed_field
    marked = stream.deleted_field is None or reading.reads(stream.deleted_field)
    keyed = plan.keyed and reading.primary_key and reading.primary_key == stream.primary_key
    snapshots = plan.traits.only_adds and reading.cursor_field is None
    if field is None or not keyed or not marked or snapshots:
        moment = f"{since:%Y-%m-%d %H:%M:%S} UTC"
        execution.note(f"{plan.target.ref} is as of {moment}: the object has no key to tell later changes")
        return Written()
    later, written = write(execution, plan.catching_up(plan.changes_since(since - plan.lag, field)))
    if not plan.traits.whole:
        return written
    tally = reconcile(execution, later, since - plan.lag, stream.count_live(plan.ends, plan.covered))
    return written + tally.healed


@contextmanager
def _breaking_off(session: Session, resumption: Resumption) -> Iterator[None]:
    """When the load fails: the target is as it was, and complete pages wait for the next run where they can help."""
    try:
        yield
    except BaseException as error:
        try:
            session.destination.rollback()
            pages = resumption.break_off(error)
        except IngestrError as failure:
            log.debug("%s", failure)
        else:
            if pages:
                what = f"{pages} complete pages of {session.stream.source_object} are kept"
                session.note(f"{what}: the next run goes on from there")
        raise


def _tally(execution: Execution, plan: TablePlan, resumed: datetime | None, in_source: int | None) -> Tally:
    """Count both sides, and bring them together."""
    if not plan.compared:
        rows, contents = execution.look(exp.true())
        return Tally(0, in_source, rows, contents)
    return reconcile(execution, plan, deletions_since(plan, resumed), in_source)


def _remember(
    execution: Execution, plan: TablePlan, contents: Contents, resumed: datetime | None, *, touched: bool
) -> Statements:
    """Statements that keep what the target covers, and its columns with their comments.

    Args:
        execution: of the plan.
        plan: what was done.
        contents: what the target holds now.
        resumed: as of when the rows of a read that was taken up are; None where none was.
        touched: whether the target's rows are others than before.
    """
    session, progression = execution.session, plan.progression
    statements: Statements = []
    if (state := progression.after) is not None and (touched or state != progression.before):
        if resumed is not None and state.refreshed_at == plan.upper and not plan.recalculation.fields:
            state = replace(state, refreshed_at=resumed)
        now = replace(state, contents=contents if state.cursor_field is not None else None)
        statements = system.write_state(session.ledger, now, session.run_id, session.began)
    comments, names = settle_comments(execution, plan)
    return [*statements, *comments, *system.write_names(session.ledger, plan.source_object, names)]
