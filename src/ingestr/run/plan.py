"""What one run is going to do, settled before the first row. Knows no platform and no engine."""

import logging
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import datetime

from sqlglot import exp

from ingestr.core.cursor import Contents, Coverage, StreamState, Window, plan_coverage
from ingestr.core.schema import Column
from ingestr.core.sql import column, sql_type
from ingestr.core.strategy import Deletes, SchemaContract, WriteStrategy
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Target
from ingestr.errors import ConfigurationError
from ingestr.ledger import state as system
from ingestr.run.columns import ColumnNames, roles_of
from ingestr.run.context import Run
from ingestr.run.declared import settle_declared
from ingestr.run.load import declared_schema, fit_to, live_rows
from ingestr.run.selection import Selection
from ingestr.run.wanted import settle_columns, settle_wanted
from ingestr.strategies.base import counting
from ingestr.strategies.fit import VERSION_COLUMNS, things_of_others

log = logging.getLogger("ingestr")


@dataclass(frozen=True)
class Plan:
    """What one run is going to do.

    Args:
        chosen: what to read, and by which keys.
        columns: where each field goes.
        before: what was known of the target when the run began, if anything.
        state: how far the target has been read, if that counts now.
        coverage: which rows to read, and what the target covers then.
        upper: the moment up to which this run reads.
        rewrite: the rows become the table, rather than to be merged into it.
        compared: both sides are counted in the end.
    """

    chosen: Selection
    columns: ColumnNames
    before: StreamState | None
    state: StreamState | None
    coverage: Coverage
    upper: datetime
    rewrite: bool
    compared: bool

    @property
    def strategy(self) -> WriteStrategy:
        """What the run does to the table, in the user's words."""
        return self.chosen.strategy if self.chosen.traits.whole or not self.rewrite else WriteStrategy.REPLACE

    @property
    def covered(self) -> Window | None:
        """The changes that the target holds then, where it does not hold everything."""
        field, start = self.chosen.cursor_field, self.coverage.start
        return None if field is None or start is None else Window(field, start, None)


def make_plan(one: Run) -> Plan:
    """Settle what to read, where it goes and what is compared; writes nothing.

    Raises:
        ConfigurationError: what was asked for cannot be done, or not with the table that is there.
    """
    one.look()
    options, stream = one.options, one.stream
    kept = system.read_names(one.ledger, stream.source_object)
    current = one.table()
    wanted = settle_wanted(one, kept, current)
    chosen, before = wanted.chosen, system.read_state(one.ledger)
    rewrite = options.full_refresh or chosen.traits.whole
    _check_versions(one, chosen, current, rewrite=rewrite)
    _check_same_source(one, before, current, rewrite=rewrite)
    one.upper = upper = stream.server_now()
    snapshots = chosen.traits.only_adds and chosen.cursor_field is None
    if chosen.traits.deleted_rows and not chosen.include_deleted and not snapshots:
        _check_unmarked(one)
    if options.deletes is Deletes.IGNORE:
        wanted = replace_fields(wanted, chosen=replace_fields(chosen, include_deleted=False))
    chosen, columns = settle_columns(one, wanted, kept, current, rewrite=rewrite)
    state = None
    if current is not None:
        chosen, columns = _under_contract(one, chosen, columns, current)
    come = {each.name: Column(columns.read[each.name], one.treatment.type_of(each)) for each in chosen.columns}
    one.declared = settle_declared(wanted.specs, come, chosen.primary_key, one.destination.capabilities)
    one.roles = roles_of(stream, chosen, columns.read)
    current = one.table()
    if current is not None:
        anew = _is_made_anew(one, chosen, columns, before, current, rewrite=rewrite)
        columns = replace_fields(columns, anew=anew)
        state = None if rewrite or before is None else before
        same = before is None or before.source_object == stream.source_object
        guarded = options.sql_limit is None and same
        contents, live = _count(one, chosen, columns, state, current, guarded=guarded)
        if state is not None and contents is not None:
            state = _where_it_stands(one, chosen, state, contents)
        if guarded:
            one.guard.live = live
            _guard_org(one, before, rewrite=rewrite)
    coverage = _choose_coverage(one, chosen, state, upper)
    compared = _is_compared(one, chosen, coverage) and _can_be_compared(one, columns, current)
    return Plan(chosen, columns, before, state, coverage, upper, rewrite, compared)


def _is_compared(one: Run, chosen: Selection, coverage: Coverage) -> bool:
    by_change = chosen.cursor_field in (one.stream.changed_field, one.stream.created_field)
    return (
        chosen.traits.compared
        and chosen.include_deleted
        and chosen.primary_key == one.stream.primary_key
        and one.options.sql_limit is None
        and coverage.reaches_now
        # A row whose key can move out of what is covered would look deleted.
        and (coverage.start is None or by_change)
    )


def _can_be_compared(one: Run, columns: ColumnNames, current: Target | None) -> bool:
    """Without the time at which rows were created nobody can tell which of them were live at a moment."""
    created = one.stream.created_field
    if current is None or columns.anew or created is None:
        return True
    name = columns.read.get(created)
    gets_it = one.options.schema_contract in (SchemaContract.EVOLVE, SchemaContract.FREEZE)
    if name is not None and (gets_it or current.find(name) is not None):
        return True
    one.note(f"{one.target} has no column for {created}: both sides are not compared")
    return False


def _check_unmarked(one: Run) -> None:
    """Without the mark of deleted rows none are read."""
    if one.options.deletes is Deletes.HARD:
        raise ConfigurationError(
            f"--deletes hard needs {one.stream.deleted_field}, which --sql-exclude-columns leaves out",
            hint="leave out one of them",
        )
    one.note(f"{one.stream.deleted_field} is not read: deletions are not seen, and both sides are not compared")


def _under_contract(
    one: Run, chosen: Selection, columns: ColumnNames, current: Target
) -> tuple[Selection, ColumnNames]:
    """The same under ``--schema-contract``: fields for which the table has, and gets, no column are not read.

    Under ``discard_row`` they are read, to find the rows that have a value there; but not the mark of deleted rows,
    which tells what becomes of a row.
    """
    contract, mark = one.options.schema_contract, one.stream.deleted_field
    if contract not in (SchemaContract.DISCARD_ROW, SchemaContract.DISCARD_VALUE):
        return chosen, columns
    new = {field for field, name in columns.read.items() if current.find(name) is None}
    if chosen.include_deleted and mark in new:
        if one.options.deletes is Deletes.HARD:
            # Rows are removed by their mark, which needs no column of the table for that.
            new.remove(mark)
        else:
            one.note(
                f"--schema-contract {contract}: {one.target} has no column for {mark}: deletions are not seen, and "
                "both sides are not compared"
            )
            chosen = replace_fields(chosen, include_deleted=False)
    if contract is SchemaContract.DISCARD_ROW:
        new = {field for field in new if field == mark}
    elif new:
        names = ", ".join(sorted(new))
        one.note(f"--schema-contract discard_value: {names} is not read, as {one.target} has no such column")
    every = {
        field: replace_fields(each, was_read=each.was_read and field not in new)
        for field, each in columns.every.items()
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


def _is_made_anew(
    one: Run,
    chosen: Selection,
    columns: ColumnNames,
    before: StreamState | None,
    current: Target,
    *,
    rewrite: bool,
) -> bool:
    """Whether a table that is there gives way to a new one; what cannot be written into it is refused here.

    A table on which somebody has hung things of their own stays, and its contents are replaced.
    """
    schema = declared_schema(one, chosen, columns, current)
    if not rewrite:
        fit_to(one, chosen, columns, current, schema)
        return False
    things = things_of_others(current, schema, columns.made, one.declared)
    stays = chosen.traits.keeps_table and not one.options.full_refresh
    if columns.anew or (before is not None and before.source_object.lower() != one.stream.source_object.lower()):
        if stays:
            raise ConfigurationError(
                f"{one.target} holds another object, or has columns of another naming, and {chosen.strategy} keeps it",
                hint="choose another --dest-table, or start again with --full-refresh",
            )
        _say_what_goes(one, things)
        return True
    contract = one.options.schema_contract
    if not things and contract is SchemaContract.EVOLVE and not stays:
        return True
    if current.referenced_by and not chosen.primary_key:
        raise ConfigurationError(
            f"foreign keys of {', '.join(current.referenced_by)} refer to rows of {one.target}, so that these cannot "
            "be replaced",
            hint="drop the foreign keys, or merge the rows: --incremental-key system_modstamp",
        )
    try:
        fit_to(one, chosen, columns, current, schema)
    except ConfigurationError:
        if not one.options.full_refresh or contract is not SchemaContract.EVOLVE:
            raise
        _say_what_goes(one, things)
        return True
    return False


def _say_what_goes(one: Run, things: list[str]) -> None:
    if things:
        one.note(f"{one.target} is made anew, without {', '.join(things)}")


def _count(
    one: Run,
    chosen: Selection,
    columns: ColumnNames,
    state: StreamState | None,
    current: Target,
    *,
    guarded: bool,
) -> tuple[tuple[Contents, Contents] | None, int | None]:
    """What the table holds, and its live rows, in one query.

    Args:
        one: the run.
        chosen: what to read.
        columns: where each field goes.
        state: how far the table has been read, if that counts.
        current: the table as it stands.
        guarded: whether the live rows are to be counted.

    Returns:
        The contents that are kept, as far as they can be told, with those that are there; None where none are kept.
        The live rows, of which only some may vanish; None where nobody can tell them from versions.
    """
    queries: list[exp.Query] = []
    known = None
    if state is not None and state.contents and state.cursor_field and state.cursor_value is not None:
        kept = columns.every.get(state.cursor_field)
        changed = current.find(kept.column) if kept is not None else None
        loaded_at = current.find(LOADED_AT)
        known = replace_fields(
            state.contents,
            # A column that somebody dropped tells nothing of the rows.
            newest_change=state.contents.newest_change if changed is not None else None,
            newest_load=state.contents.newest_load if loaded_at is not None else None,
        )
        queries.append(system.contents_of(current, changed, loaded_at))
    guarded = guarded and not chosen.traits.only_adds
    if guarded:
        live = live_rows(current)
        if chosen.traits.current is not None and current.find(chosen.traits.current) is not None:
            live = exp.and_(live, column(chosen.traits.current).eq(exp.true()))
        queries.append(counting(one.target, live))
    found = [row for [row] in one.destination.query(*queries)] if queries else []
    return (
        (known, system.read_contents(found[0])) if known is not None else None,
        int(found[-1]["n"]) if guarded else None,
    )


def _where_it_stands(
    one: Run, chosen: Selection, state: StreamState, contents: tuple[Contents, Contents]
) -> StreamState | None:
    """The state, or an earlier one where the table was put back to an older copy of itself, or emptied."""
    known, now = contents
    assert state.cursor_value is not None  # noqa: S101 - contents are kept beside it
    if now.rows == 0 and known.rows > 0:
        one.note(f"{one.target} was emptied since the last run: everything is read again")
        return None
    # Where both sides are compared, the comparison brings back rows that somebody removed.
    lost = now.rows < known.rows and not (chosen.traits.compared and chosen.include_deleted)
    if not now.is_older_than(known) and not lost:
        return state
    by_change = state.cursor_field in (one.stream.changed_field, one.stream.created_field)
    if lost or now.newest_change is None or not by_change:
        one.note(f"{one.target} has lost rows since the last run: everything is read again")
        return None
    since = min(now.newest_change, state.cursor_value)
    one.note(
        f"{one.target} is older than the progress that is kept of it, as after a restore: reading goes on from "
        f"{since:%Y-%m-%d %H:%M:%S} UTC, where it stands"
    )
    return replace_fields(state, cursor_value=since)


def _guard_org(one: Run, before: StreamState | None, *, rewrite: bool) -> None:
    """A table that is replaced from another org loses all its rows, however many come in their place."""
    known, identity = before.source_identity if before is not None else None, one.source.identity
    if rewrite and not one.options.full_refresh and known and identity and known != identity:
        one.guard.take(one.guard.live or 0, f"are of the org {known}, and this login is at {identity}")
        one.guard.live = None


def _choose_coverage(one: Run, chosen: Selection, state: StreamState | None, upper: datetime) -> Coverage:
    options = one.options
    interval = (options.interval_start, options.interval_end) if options.has_interval else None
    if chosen.cursor_field is None:
        if interval is not None:
            one.note(
                f"{options.source_table} has no incremental key, so that all of it is read: the interval is not used "
                "(--incremental-key system_modstamp would merge the interval instead)"
            )
        return Coverage(None, None, upper)
    coverage = plan_coverage(state, chosen.cursor_field, interval, upper)
    window = coverage.window
    log.debug("reading %s", f"{window.field} from {window.start} to {window.end}" if window else "everything")
    return coverage


def _check_versions(one: Run, chosen: Selection, current: Target | None, *, rewrite: bool) -> None:
    """Versions and rows that are their record do not go into one table: each would be taken for the other."""
    if current is None or one.options.full_refresh:
        return
    wanted = chosen.traits.own_columns.columns
    there = [name for name in VERSION_COLUMNS if current.find(name) is not None]
    alike = all((found := current.find(each.name)) is not None and found.kind == sql_type(each.type) for each in wanted)
    if wanted and not alike:
        raise ConfigurationError(
            f"{one.target} has not the columns {', '.join(each.name for each in wanted)} that {chosen.strategy} writes",
            hint="choose another --dest-table, or start again with --full-refresh",
        )
    if there and not wanted:
        raise ConfigurationError(
            f"{one.target} holds versions of its rows (it has {there[0]}), which {chosen.strategy} would spoil",
            hint="go on with --incremental-strategy scd2, choose another --dest-table, or start again with "
            "--full-refresh",
        )


def _check_same_source(one: Run, state: StreamState | None, current: Target | None, *, rewrite: bool) -> None:
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
