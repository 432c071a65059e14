"""How a target stands: whose it is, how far it has been read, how many rows may vanish. Knows no engine."""

from dataclasses import dataclass
from dataclasses import replace as replace_fields

from sqlglot import exp

from ingestr.core.cursor import Contents, StreamState
from ingestr.core.sql import column, sql_type
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Target
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger import state as system
from ingestr.options import IngestOptions
from ingestr.run.columns import Columns
from ingestr.run.guard import DeletionGuard
from ingestr.run.load import live_rows
from ingestr.run.reading import Reading
from ingestr.run.session import Session
from ingestr.strategies.base import Traits
from ingestr.strategies.fit import VERSION_COLUMNS


@dataclass(frozen=True)
class Standing:
    """How the target stands.

    Args:
        state: how far it has been read, if that counts now.
        live: its live rows, of which only some may vanish; None where nothing is guarded.
    """

    state: StreamState | None = None
    live: int | None = None


def stand(
    session: Session,
    options: IngestOptions,
    reading: Reading,
    columns: Columns,
    traits: Traits,
    before: StreamState | None,
    current: Target,
) -> Standing:
    """Look at the rows of a table that is there.

    Args:
        session: the open ends.
        options: what the user allows.
        reading: what is read.
        columns: where each field goes.
        traits: of the strategy.
        before: what is known of the table.
        current: the table, with the roles of its columns.

    Raises:
        MassDeletionError: all of its rows would give way to those of another org.
    """
    rewrite = options.full_refresh or traits.whole
    state = None if rewrite else before
    same = before is None or before.source_object == session.stream.source_object
    guarded = options.sql_limit is None and same
    contents, live = _count(session, columns, traits, state, current, guarded=guarded and not traits.only_adds)
    if state is not None and contents is not None:
        compares = traits.compared and reading.include_deleted
        state = _where_it_stands(session, state, contents, compares=compares)
    if guarded and rewrite and not options.full_refresh and before is not None:
        live = _guard_org(session, options, before, live)
    return Standing(state, live)


def _count(
    session: Session, columns: Columns, traits: Traits, state: StreamState | None, current: Target, *, guarded: bool
) -> tuple[tuple[Contents, Contents] | None, int | None]:
    """What the table holds, and its live rows, in one query.

    Args:
        session: the open ends.
        columns: where each field goes.
        traits: of the strategy.
        state: how far the table has been read, if that counts.
        current: the table as it stands.
        guarded: whether the live rows are to be counted.

    Returns:
        The contents that are kept, as far as they can be told, with those that are there; None where none are kept.
        The live rows; None where they are not counted.
    """
    known = changed = loaded_at = None
    if state is not None and state.contents and state.cursor_field and state.cursor_value is not None:
        kept = columns.kept.get(state.cursor_field)
        changed = current.find(kept.column) if kept is not None else None
        loaded_at = current.find(LOADED_AT)
        known = replace_fields(
            state.contents,
            # A column that somebody dropped tells nothing of the rows.
            newest_change=state.contents.newest_change if changed is not None else None,
            newest_load=state.contents.newest_load if loaded_at is not None else None,
        )
    if known is None and not guarded:
        return None, None
    live = live_rows(current)
    if traits.current is not None and current.find(traits.current) is not None:
        live = exp.and_(live, column(traits.current).eq(exp.true()))
    [[row]] = session.destination.query(system.contents_of(current, changed, loaded_at, live))
    return (
        (known, system.read_contents(row)) if known is not None else None,
        int(row["live"]) if guarded else None,
    )


def _where_it_stands(
    session: Session, state: StreamState, contents: tuple[Contents, Contents], *, compares: bool
) -> StreamState | None:
    """The state, or an earlier one where the table was put back to an older copy of itself, or emptied."""
    (known, now), target, stream = contents, session.ledger.ref, session.stream
    assert state.cursor_value is not None  # noqa: S101 - contents are kept beside it
    if now.rows == 0 and known.rows > 0:
        session.note(f"{target} was emptied since the last run: everything is read again")
        return None
    # Where both sides are compared, the comparison brings back rows that somebody removed.
    lost = now.rows < known.rows and not compares
    if not now.is_older_than(known) and not lost:
        return state
    by_change = state.cursor_field in (stream.changed_field, stream.created_field)
    if lost or now.newest_change is None or not by_change:
        session.note(f"{target} has lost rows since the last run: everything is read again")
        return None
    since = min(now.newest_change, state.cursor_value)
    session.note(
        f"{target} is older than the progress that is kept of it, as after a restore: reading goes on from "
        f"{since:%Y-%m-%d %H:%M:%S} UTC, where it stands"
    )
    return replace_fields(state, cursor_value=since, refreshed_at=None)


def _guard_org(session: Session, options: IngestOptions, before: StreamState, live: int | None) -> int | None:
    """A table that is replaced from another org loses all its rows, however many come in their place.

    Returns the live rows that are still to be guarded.
    """
    known, identity = before.source_identity, session.source.identity
    if not known or not identity or known == identity:
        return live
    guard = DeletionGuard(session.ledger.ref, options.allow_mass_delete, live)
    guard.take(live or 0, f"are of the org {known}, and this login is at {identity}")
    return None


def check_versions(current: Target | None, traits: Traits) -> None:
    """Versions and rows that are their record do not go into one table: each would be taken for the other."""
    if current is None:
        return
    wanted = traits.own_columns.columns
    there = [name for name in VERSION_COLUMNS if current.find(name) is not None]
    alike = all((found := current.find(each.name)) is not None and found.kind == sql_type(each.type) for each in wanted)
    if wanted and not alike:
        raise ConfigurationError(
            f"{current.ref} has not the columns {', '.join(each.name for each in wanted)} that {traits.name} writes",
            hint=f"choose another {Flag.DEST_TABLE}, or start again with {Flag.FULL_REFRESH}",
        )
    if there and not wanted:
        raise ConfigurationError(
            f"{current.ref} holds versions of its rows (it has {there[0]}), which {traits.name} would spoil",
            hint=f"go on with {Flag.INCREMENTAL_STRATEGY} scd2, choose another {Flag.DEST_TABLE}, or start again with "
            f"{Flag.FULL_REFRESH}",
        )


def check_same_source(session: Session, before: StreamState | None) -> None:
    """A merge into a table of another object or org would mix rows that never belonged together."""
    if before is None or session.ledger.target is None:
        return
    target, source_object = session.ledger.ref, session.stream.source_object
    if before.source_object.lower() != source_object.lower():
        raise ConfigurationError(
            f"{target} holds {before.source_object}, not {source_object}",
            hint=f"choose another {Flag.DEST_TABLE}, or start again with {Flag.FULL_REFRESH}",
        )
    identity = session.source.identity
    if before.source_identity and identity and before.source_identity != identity:
        raise ConfigurationError(
            f"{target} was loaded from the org {before.source_identity}, and this login is at {identity}",
            hint=f"choose another {Flag.DEST_TABLE}, or start again with {Flag.FULL_REFRESH}",
        )
