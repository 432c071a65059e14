"""Settles what one run is going to do, before its first row. Knows no platform and no engine."""

import logging
from collections.abc import Mapping
from dataclasses import replace as replace_fields
from datetime import datetime, timedelta

from sqlglot import exp

from ingestr.core.column_spec import ColumnSpec
from ingestr.core.cursor import Coverage, StreamState, plan_coverage
from ingestr.core.schema import Column
from ingestr.core.strategy import Deletes, Refresh, SchemaContract
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Role, TableRef, Target
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger.state import read_state
from ingestr.options import IngestOptions
from ingestr.run.columns import Columns, roles_of
from ingestr.run.declared import settle_declared
from ingestr.run.fitting import declared_schema, fit_to
from ingestr.run.reading import Reading
from ingestr.run.resolver import Resolver
from ingestr.run.session import Session
from ingestr.run.standing import Standing, check_same_source, check_versions, stand
from ingestr.run.table_plan import PlannedTarget, Progression, Recalculation, Rules, TablePlan
from ingestr.strategies import STRATEGIES
from ingestr.strategies.base import Traits
from ingestr.strategies.fit import things_of_others

log = logging.getLogger("ingestr")
# An hour less than a day, as a run that is started every day does not begin at the same second.
_REFRESH_AFTER = timedelta(hours=23)


def make_plan(session: Session, options: IngestOptions, *, dry: bool = False) -> TablePlan:
    """Settle what to read, where it goes and what is compared; writes nothing but the key of masks.

    Args:
        session: the open ends.
        options: what the user wants.
        dry: whether not even that key may be kept.

    Raises:
        ConfigurationError: what was asked for cannot be done, or not with the table that is there.
        MassDeletionError: all rows of the table would give way to those of another org.
    """
    stream, current = session.stream, session.ledger.target
    resolver = Resolver(session, options, dry=dry)
    reading, strategy = resolver.reading()
    predicate = resolver.predicate(strategy)
    traits, before = STRATEGIES[strategy].TRAITS, read_state(session.ledger)
    rewrite = options.full_refresh or traits.whole
    if not options.full_refresh:
        check_versions(current, traits)
    if not rewrite:
        check_same_source(session, before)
    upper = stream.server_now()
    reading = _bounded(session, _with_deleted(session, options, reading, traits))
    reading, columns = resolver.columns(reading, strategy, rewrite=rewrite)
    if current is not None:
        reading, columns = _under_contract(session, options, reading, columns, current)
    columns = _settled(session, columns, reading, resolver.specs)
    target, standing = _plan_target(session, options, reading, columns, traits, before, resolver.kept.naming)
    coverage = _choose_coverage(session, options, reading, standing.state, upper)
    compared = _is_compared(session, reading, traits, coverage)
    all_read = reading.limit is None and (coverage.window is None or rewrite or current is None)
    recalculation = (
        Recalculation((), "", upper)
        if all_read
        else _recalculation(session, options, reading, traits, coverage, standing.state, upper)
    )
    return TablePlan(
        source_object=stream.source_object,
        target=target,
        strategy=strategy,
        reason=_reason(options),
        rewrite=rewrite,
        reading=reading,
        columns=columns,
        coverage=coverage,
        upper=upper,
        lag=options.lag,
        interval=(options.interval_start, options.interval_end),
        progression=_progress(session, reading, coverage, before, standing.state, recalculation.as_of),
        compared=compared and _can_be_compared(session, options, columns, target),
        fresh=_fresh(options, columns, traits, coverage),
        recalculation=recalculation,
        rules=_rules(options, predicate),
        loaded_at=None if options.no_load_timestamp else session.began,
        spool=options.spool_folder,
        with_metadata=options.with_metadata,
    )


def _rules(options: IngestOptions, predicate: exp.Expr | None) -> Rules:
    return Rules(
        contract=options.schema_contract,
        deletes=options.deletes,
        predicate=predicate,
        mass_delete=options.allow_mass_delete,
        quarantine=options.quarantine_limit,
    )


def _reason(options: IngestOptions) -> str:
    if options.full_refresh:
        return "--full-refresh"
    if options.incremental_strategy is not None:
        return "--incremental-strategy"
    if options.incremental_key:
        return f"--incremental-key {options.incremental_key}"
    return f"the strategy of {options.source_table}"


def _with_deleted(session: Session, options: IngestOptions, reading: Reading, traits: Traits) -> Reading:
    """The same without deleted rows where they are to stay; without the mark of deleted rows none are read."""
    snapshots = traits.only_adds and reading.cursor_field is None
    if traits.deleted_rows and not reading.include_deleted and not snapshots:
        mark = session.stream.deleted_field
        if options.deletes is Deletes.HARD:
            raise ConfigurationError(
                f"{Flag.DELETES} hard needs {mark}, which {Flag.SQL_EXCLUDE_COLUMNS} leaves out",
                hint="leave out one of them",
            )
        session.note(f"{mark} is not read: deletions are not seen, and both sides are not compared")
    return replace_fields(reading, include_deleted=False) if options.deletes is Deletes.IGNORE else reading


def _bounded(session: Session, reading: Reading) -> Reading:
    """The same without rows that come to be after the moment at which all tables of the session end."""
    if session.until is None:
        return reading
    if session.stream.created_field is None:
        session.note(
            "nothing tells when its rows were created: some may be later than "
            f"{session.until:%Y-%m-%d %H:%M:%S} UTC, where the other tables end"
        )
        return reading
    return replace_fields(reading, created_before=session.until)


def _under_contract(
    session: Session, options: IngestOptions, reading: Reading, columns: Columns, current: Target
) -> tuple[Reading, Columns]:
    """The same under ``--schema-contract``: fields for which the table has, and gets, no column are not read.

    Under ``discard_row`` they are read, to find the rows that have a value there; but not the mark of deleted rows,
    which tells what becomes of a row.
    """
    contract, mark = options.schema_contract, session.stream.deleted_field
    if contract not in (SchemaContract.DISCARD_ROW, SchemaContract.DISCARD_VALUE):
        return reading, columns
    new = {field for field, name in columns.names.items() if current.find(name) is None}
    if reading.include_deleted and mark in new:
        if options.deletes is Deletes.HARD:
            # Rows are removed by their mark, which needs no column of the table for that.
            new.remove(mark)
        else:
            session.note(
                f"--schema-contract {contract}: {current.ref} has no column for {mark}: deletions are not seen, and "
                "both sides are not compared"
            )
            reading = replace_fields(reading, include_deleted=False)
    if contract is SchemaContract.DISCARD_ROW:
        new = {field for field in new if field == mark}
    elif new:
        names = ", ".join(sorted(new))
        session.note(f"--schema-contract discard_value: {names} is not read, as {current.ref} has no such column")
    fields = tuple(each for each in reading.fields if each.name not in new)
    return replace_fields(reading, fields=fields), columns.without(new)


def _settled(session: Session, columns: Columns, reading: Reading, specs: Mapping[str, ColumnSpec]) -> Columns:
    """The same with the types that the user gives columns, and the role of each."""
    come = {each.name: Column(columns.names[each.name], columns.treatment.type_of(each)) for each in reading.fields}
    declared = settle_declared(specs, come, reading.primary_key, session.destination.capabilities)
    roles = roles_of(session.stream, reading.primary_key, reading.cursor_field, columns.names)
    return replace_fields(columns, declared=declared, roles={**roles, Role.LOADED_AT: LOADED_AT})


def _plan_target(
    session: Session,
    options: IngestOptions,
    reading: Reading,
    columns: Columns,
    traits: Traits,
    before: StreamState | None,
    naming: str | None,
) -> tuple[PlannedTarget, Standing]:
    """Where the rows go, what becomes of the table that is there, and how it stands.

    What cannot be written into a table that stays is refused here. One on which somebody has hung things of their own
    stays, and its contents are replaced.
    """
    ref, there = session.ledger.ref, session.ledger.target
    staging = _staging(options, ref)
    if there is None:
        return PlannedTarget(ref, staging, None, anew=True), Standing()
    current = replace_fields(there, roles=columns.roles)
    schema = declared_schema(current, reading, columns, stamped=not options.no_load_timestamp)
    things = tuple(things_of_others(current, schema, columns.made, columns.declared))
    anew, changes = False, None
    if options.full_refresh or traits.whole:
        other = before is not None and before.source_object.lower() != session.stream.source_object.lower()
        other = other or naming not in (None, columns.naming)
        anew = _gives_way(options, reading, traits, current, other=other, bare=not things)
    if not anew:
        try:
            changes = fit_to(current, schema, reading, columns, options.schema_contract)
        except ConfigurationError:
            if not options.full_refresh or options.schema_contract is not SchemaContract.EVOLVE:
                raise
            anew = True
    if anew and things:
        session.note(f"{ref} is made anew, without {', '.join(things)}")
    standing = stand(session, options, reading, columns, traits, before, current)
    return PlannedTarget(ref, staging, current, anew, things, changes, standing.live), standing


def _staging(options: IngestOptions, ref: TableRef) -> TableRef:
    """Where rows wait until they are all there."""
    if options.staging_dataset is None:
        return TableRef(ref.schema, f"_ingestr_staging_{ref.name}")
    return TableRef(options.staging_dataset, f"_ingestr_staging_{ref.schema}_{ref.name}")


def _gives_way(
    options: IngestOptions, reading: Reading, traits: Traits, current: Target, *, other: bool, bare: bool
) -> bool:
    """Whether a table whose rows are all replaced is better made anew.

    Args:
        options: what the user wants.
        reading: what is read.
        traits: of the strategy.
        current: the table.
        other: whether it holds another object, or columns of another naming.
        bare: whether nobody has hung anything on it.
    """
    stays = traits.keeps_table and not options.full_refresh
    if other and stays:
        raise ConfigurationError(
            f"{current.ref} holds another object, or has columns of another naming, and {traits.name} keeps it",
            hint=f"choose another {Flag.DEST_TABLE}, or start again with {Flag.FULL_REFRESH}",
        )
    if other or (bare and options.schema_contract is SchemaContract.EVOLVE and not stays):
        return True
    if current.referenced_by and not reading.primary_key:
        raise ConfigurationError(
            f"foreign keys of {', '.join(current.referenced_by)} refer to rows of {current.ref}, so that these cannot "
            "be replaced",
            hint=f"drop the foreign keys, or merge the rows: {Flag.INCREMENTAL_KEY} system_modstamp",
        )
    return False


def _choose_coverage(
    session: Session, options: IngestOptions, reading: Reading, state: StreamState | None, upper: datetime
) -> Coverage:
    interval = (options.interval_start, options.interval_end) if options.has_interval else None
    if reading.cursor_field is None:
        if interval is not None:
            session.note(
                f"{options.source_table} has no incremental key, so that all of it is read: the interval is not used "
                "(--incremental-key system_modstamp would merge the interval instead)"
            )
        return Coverage(None, None, session.until or upper)
    coverage = plan_coverage(state, reading.cursor_field, interval, session.until or upper, options.lag)
    window = coverage.window
    if window is not None and session.until is not None:
        # A row that has changed since must not be missed, as no source gives it as it was then.
        window = replace_fields(window, end=None)
        coverage = replace_fields(coverage, window=window)
    log.debug("reading %s", f"{window.field} from {window.start} to {window.end}" if window else "everything")
    return coverage


def _progress(
    session: Session,
    reading: Reading,
    coverage: Coverage,
    before: StreamState | None,
    state: StreamState | None,
    refreshed_at: datetime | None,
) -> Progression:
    """How far the target has been read; what is not known now is kept as it was.

    Args:
        session: the open ends.
        reading: what is read.
        coverage: what the target covers afterwards.
        before: what was known of it.
        state: the part of that which counts now; None where the rows become the table's content as a whole.
        refreshed_at: as of when the target holds values that change without a trace afterwards.
    """
    field, whole = reading.cursor_field, reading.limit is None
    until = state.cursor_value if state is not None and state.cursor_field == field else None
    if before is not None and state is not None and not (whole and coverage.progresses):
        return Progression(before, until, replace_fields(before, refreshed_at=refreshed_at))
    identity = session.source.identity or (before.source_identity if before is not None else None)
    if field is None or not whole:
        after = StreamState(session.stream.source_object, identity, None, None)
    else:
        after = StreamState(session.stream.source_object, identity, field, coverage.end, coverage.start)
    return Progression(before, until, replace_fields(after, refreshed_at=refreshed_at))


def _is_compared(session: Session, reading: Reading, traits: Traits, coverage: Coverage) -> bool:
    stream = session.stream
    by_change = reading.cursor_field in (stream.changed_field, stream.created_field)
    return (
        traits.compared
        and reading.include_deleted
        and reading.primary_key == stream.primary_key
        and reading.limit is None
        and coverage.reaches_now
        # A row whose key can move out of what is covered would look deleted.
        and (coverage.start is None or by_change)
    )


def _can_be_compared(session: Session, options: IngestOptions, columns: Columns, target: PlannedTarget) -> bool:
    """Without the time at which rows were created nobody can tell which of them were live at a moment."""
    created = session.stream.created_field
    if target.current is None or target.anew or created is None:
        return True
    name = columns.names.get(created)
    gets_it = options.schema_contract in (SchemaContract.EVOLVE, SchemaContract.FREEZE)
    if name is not None and (gets_it or target.current.find(name) is not None):
        return True
    session.note(f"{target.ref} has no column for {created}: both sides are not compared")
    return False


def _fresh(options: IngestOptions, columns: Columns, traits: Traits, coverage: Coverage) -> tuple[str, ...]:
    """Fields that the rows which are not read lack."""
    # A version is no other one for a field that the source shows only now, even where all rows were read.
    some = coverage.window is not None or options.sql_limit is not None or traits.current is not None
    return columns.fresh if some and not traits.only_adds else ()


def _recalculation(
    session: Session,
    options: IngestOptions,
    reading: Reading,
    traits: Traits,
    coverage: Coverage,
    state: StreamState | None,
    upper: datetime,
) -> Recalculation:
    """Whether fields whose values change without a trace are read again, of a table of which not all rows are read."""
    known, when = state.refreshed_at if state is not None else None, options.refresh_formulas
    fields = tuple(field for field in session.stream.calculated_fields if reading.reads(field))
    if traits.only_adds or not fields:
        return Recalculation((), "", known)
    if when is Refresh.ALWAYS:
        return Recalculation(fields, "--refresh-formulas always", upper)
    if when is Refresh.NEVER:
        return Recalculation((), "--refresh-formulas never", known)
    if traits.current is not None:
        return Recalculation((), "versions are left as they were read", known)
    if reading.limit is not None or not coverage.reaches_now:
        return Recalculation((), "this run is about some rows alone", known)
    if known is None:
        return Recalculation(fields, "nobody knows when they were read", upper)
    since = f"they are as of {known:%Y-%m-%d %H:%M:%S} UTC"
    if upper - known < _REFRESH_AFTER:
        return Recalculation((), f"{since}, less than a day ago", known)
    return Recalculation(fields, since, upper)
