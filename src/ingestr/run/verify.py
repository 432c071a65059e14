"""Whether a table still holds what the source has: both sides are counted and compared again, without loading.

Knows no platform and no engine. What it stages to compare Ids is taken back, so that nothing is written. Both sides are
compared as of the moment up to which the table has been read: what changed since is what the next run brings, and no
difference.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase

from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.cursor import StreamState, Window
from ingestr.core.secret import Secret
from ingestr.core.sql import absent_from, column, moment
from ingestr.core.strategy import Deletes, WriteStrategy
from ingestr.core.wording import counted
from ingestr.destinations.base import Destination, Role, TableRef, parse_table
from ingestr.errors import ConfigurationError, DifferenceError, IngestrError, UnknownNameError
from ingestr.flags import Flag
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.loads import DONE, read_loads
from ingestr.ledger.quarantine import TABLE as QUARANTINE
from ingestr.ledger.quarantine import Quarantine
from ingestr.ledger.state import COLUMNS, STATE, read_names, read_state
from ingestr.progress import SilentProgress
from ingestr.registry import open_destination, open_source
from ingestr.run.columns import roles_of
from ingestr.run.session import Session
from ingestr.run.sides import Sides
from ingestr.run.standing import check_same_source
from ingestr.sources.base import ReadRequest, Source, Stream
from ingestr.strategies import STRATEGIES
from ingestr.table_list import is_pattern

_SHOWN_IDS = 5
# So many rows that the table has too many are looked for in the log of deletions.
_MOST_EXPLAINED = 5_000
_LATEST_LOADS = 50


@dataclass(frozen=True)
class Difference:
    """What a comparison of all Ids has shown.

    Args:
        missing: live rows of the source that the table lacks.
        surplus: rows of the table that the source has not.
        explained: rows that are on one side alone, and changed or were deleted since the table was read.
        missing_ids, surplus_ids: some of them.
    """

    missing: int
    surplus: int
    explained: int
    missing_ids: tuple[str, ...] = ()
    surplus_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """What a comparison of one table with the source has shown.

    Args:
        table: ``schema.table``.
        source_object: the platform's name of what it holds; empty where that is not known.
        as_of: the moment as of which both sides are compared, by the source's clock; None where they are not.
        in_source: rows that were live then; None where the source does not tell.
        in_destination: the table's rows that were live then; None where nobody counted.
        in_quarantine: rows that the table lacks because they could not be read.
        changed_since: rows of the source that changed since, which the next run reads; None where it does not tell.
        difference: what comparing all Ids has shown; None where that was not needed, or could not be done.
        reason: why nothing was compared; empty where it was.
        error: what is wrong, if anything is.
    """

    table: str
    source_object: str = ""
    as_of: datetime | None = None
    in_source: int | None = None
    in_destination: int | None = None
    in_quarantine: int = 0
    changed_since: int | None = None
    difference: Difference | None = None
    reason: str = ""
    error: IngestrError | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the table was compared, and holds what the source has."""
        return self.as_of is not None and self.error is None


def verify(
    source_uri: Secret,
    dest_uri: Secret,
    wanted: Sequence[str],
    source_table: str | None,
    deletes: Deletes,
    clock: Clock,
) -> list[Verified]:
    """Compare tables with the source.

    Args:
        source_uri: where they came from.
        dest_uri: where they are.
        wanted: names, and patterns of tables that ingestr has loaded; all of these if empty.
        source_table: what the one table holds, where what is kept of it does not tell.
        deletes: with ``ignore`` the table may have rows that are gone from the source.
        clock: time and waiting.

    Returns:
        What became of each table; what is wrong with one does not stop the others.

    Raises:
        IngestrError: of what concerns all tables.
    """
    with (
        closing(open_destination(dest_uri, in_process=False)) as destination,
        closing(open_source(source_uri, clock)) as source,
    ):
        destination.connect()
        loaded = _loaded(destination)
        chosen = _choose(destination, wanted, loaded)
        if source_table is not None and len(chosen) != 1:
            raise ConfigurationError(
                f"{Flag.SOURCE_TABLE} says what one table holds, and {len(chosen)} are meant", hint="name one table"
            )
        if len(chosen) > 1:
            source.prepare([loaded[ref] for ref in chosen if loaded.get(ref)])
        found = []
        for ref, named in chosen.items():
            with closing(destination.beside()) as own:
                own.connect()
                found.append(_looked(_Comparison(source, own, ref, deletes, clock), source_table, named=named))
        return found


def _loaded(destination: Destination) -> dict[TableRef, str]:
    """The tables that ingestr has loaded, each with what it holds."""
    [there] = destination.describe(STATE.ref)
    loaded: dict[TableRef, str] = {}
    if there is not None:
        STATE.check(there)
        names = (column("table_schema"), column("table_name"), column("source_object"))
        [rows] = destination.query(exp.select(*names).from_(STATE.ref.to_table()).order_by(*names[:2]))
        loaded = {TableRef(row["table_schema"], row["table_name"]): row["source_object"] or "" for row in rows}
    if not loaded:
        raise ConfigurationError("nothing that ingestr has loaded is here", hint=f"check {Flag.DEST_URI}")
    return loaded


def _choose(destination: Destination, wanted: Sequence[str], loaded: Iterable[TableRef]) -> dict[TableRef, bool]:
    """The tables that names and patterns mean, each with whether it was named; all loaded ones where none is wanted."""
    chosen: dict[TableRef, bool] = {} if wanted else dict.fromkeys(loaded, False)
    for each in wanted:
        if is_pattern(each):
            meant = [ref for ref in loaded if _means(each, ref)]
            if not meant:
                raise UnknownNameError("pattern of tables", each, map(str, loaded), where="the tables that were loaded")
            chosen |= {ref: chosen.get(ref, False) for ref in meant}
        else:
            named = parse_table(each, destination.default_schema)
            destination.check_catalog(named.catalog)
            chosen[named.ref] = True
    return chosen


def _means(pattern: str, ref: TableRef) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in (str(ref), ref.name))


def _looked(comparison: "_Comparison", source_table: str | None, *, named: bool) -> Verified:
    """What the comparison shows; why it cannot be done is an error only of a table that somebody named."""
    ref = comparison.ref
    try:
        found = comparison.run(source_table)
    except IngestrError as error:
        return Verified(str(ref), error=error)
    if found.reason and named:
        what = f"{ref} cannot be compared: {found.reason}"
        return replace(found, error=ConfigurationError(what, hint="leave it out, or name tables by a pattern"))
    return found


@dataclass(frozen=True)
class _Comparison:
    """The comparison of one table, over a connection of its own."""

    source: Source
    destination: Destination
    ref: TableRef
    deletes: Deletes
    clock: Clock

    def run(self, source_table: str | None) -> Verified:
        """Count both sides, and compare Ids where the numbers do not agree.

        Raises:
            IngestrError: the table is none of ours, or an end cannot be asked.
        """
        # A load that committed meanwhile would be half seen.
        self.destination.reserve(self.ref)
        ledger = Ledger(self.destination, self.ref, (STATE, COLUMNS, QUARANTINE))
        state = read_state(ledger)
        if ledger.target is None or state is None:
            what = "does not exist" if ledger.target is None else "was not loaded by ingestr"
            raise ConfigurationError(f"{self.ref} {what}", hint="ingestr runs lists the tables that were loaded")
        stream = self._stream(state, source_table)
        progress = SilentProgress()
        session = Session(progress, self.destination, self.source, stream, ledger, "", self.clock.now())
        check_same_source(session, state)
        found = Verified(str(self.ref), state.source_object)
        strategy = self._strategy()
        as_of = state.cursor_value or state.refreshed_at
        reason = _why_not(stream, state, strategy)
        if reason or as_of is None:
            return replace(found, reason=reason or "nobody knows up to when it has been read; the next run keeps that")
        sides = self._sides(session, state, as_of)
        if sides.covered is not None and sides.target.of(Role.CURSOR) is None:
            return replace(found, reason=f"it has no column for {state.cursor_field}, which tells what it covers")
        return self._compare(stream, sides, replace(found, as_of=as_of))

    def _stream(self, state: StreamState, source_table: str | None) -> Stream:
        try:
            return self.source.stream(source_table or state.source_object)
        except UnknownNameError as error:
            if source_table is None:
                error.advise(f"say what {self.ref} holds: {Flag.SOURCE_TABLE}, as it was loaded; a query, say")
            raise

    def _strategy(self) -> str | None:
        """How the table was written last, as far as that is remembered."""
        latest = read_loads(self.destination, self.ref, _LATEST_LOADS)
        return next((load["strategy"] for load in latest if load["outcome"] == DONE), None)

    def _sides(self, session: Session, state: StreamState, as_of: datetime) -> Sides:
        """The table as it stood beside the source."""
        stream, ledger = session.stream, session.ledger
        kept = read_names(ledger, stream.source_object).fields
        # Ids that were masked cannot be told from here.
        clear = {field: each.column for field, each in kept.items() if each.mask is None}
        roles = roles_of(stream, stream.primary_key, state.cursor_field, clear)
        assert ledger.target is not None  # noqa: S101 - it was looked at
        target = replace(ledger.target, roles=roles)
        field, start = state.cursor_field, state.covered_from
        versions = STRATEGIES[WriteStrategy.SCD2].TRAITS.current
        return Sides(
            self.destination,
            target,
            Quarantine(self.destination, ledger, {}, 0),
            as_of,
            Window(field, start, None) if field is not None and start is not None else None,
            TableRef(self.ref.schema, f"_ingestr_verify_{self.ref.name}"),
            current=versions if target.find(versions) is not None else None,
        )

    def _compare(self, stream: Stream, sides: Sides, found: Verified) -> Verified:
        in_source = stream.count_live(sides.at, sides.covered)
        here, apart = sides.count_target(), sides.count_lacking()
        agrees = in_source == here + apart and self.deletes is not Deletes.IGNORE
        # Big objects and metadata bear one Id in all rows.
        by_id = not agrees and sides.target.of(Role.KEY) is not None and self._keys(sides) >= min(here, 2)
        difference = self._compare_ids(stream, sides) if by_id else None
        if in_source is None and difference is None:
            reason = f"{stream.platform} does not count its rows, and has no Ids that would tell them apart"
            return replace(found, as_of=None, reason=reason)
        found = replace(
            found,
            in_source=in_source,
            in_destination=here,
            in_quarantine=apart,
            changed_since=_changed_since(stream, sides.at),
            difference=difference,
        )
        ignores = self.deletes is Deletes.IGNORE
        if difference is None:
            fits = agrees or (ignores and in_source is not None and in_source <= here + apart)
        elif fits := not difference.missing and (not difference.surplus or ignores):
            return self._without_repeats(sides, found)
        return found if fits else replace(found, error=_differs(found, stream.platform))

    def _keys(self, sides: Sides) -> int:
        """How many different Ids the live rows of the table have."""
        [[row]] = self.destination.query(_number(sides.known().distinct()))
        return int(row["n"])

    def _without_repeats(self, sides: Sides, found: Verified) -> Verified:
        """The same, or an error where the table has several rows of one Id."""
        if not (repeated := (found.in_destination or 0) - self._keys(sides)):
            return found
        what = f"{counted(repeated, 'row')} of {self.ref} repeat the Id of another"
        return replace(found, error=DifferenceError(what, hint=f"start again with {Flag.FULL_REFRESH}"))

    def _compare_ids(self, stream: Stream, sides: Sides) -> Difference:
        """Read the Ids of all live rows, and find those that one side lacks."""
        changed = stream.changed_field
        fields = (*stream.primary_key, *([changed] if changed is not None else []))
        request = ReadRequest(fields, live_at=sides.at, window=sides.covered)
        ids, key = column("id"), column(sides.key)

        def compare(swept: exp.Table) -> Difference:
            lacking = exp.select(ids).from_(swept).where(absent_from([ids], sides.known()))
            if (apart := sides.quarantine.ids()) is not None:
                lacking = lacking.where(absent_from([ids], apart))
            late = exp.false() if changed is None else exp.func("COALESCE", column(changed) >= moment(sides.at), False)
            missing = lacking.where(exp.not_(late))
            surplus = sides.known().where(absent_from([key], exp.select(ids).from_(swept.copy())))
            numbers = self.destination.query(*(_number(each) for each in (lacking, missing, surplus)))
            all_lacking, all_missing, all_surplus = (int(row["n"]) for [row] in numbers)
            gone = self._deleted_since(stream, sides, surplus) if all_surplus else set()
            examples = [self.destination.query(each.limit(_SHOWN_IDS + len(gone)))[0] for each in (missing, surplus)]
            lacked = [row["id"] for row in examples[0]][:_SHOWN_IDS]
            too_many = [row[sides.key] for row in examples[1] if row[sides.key] not in gone][:_SHOWN_IDS]
            explained = all_lacking - all_missing + len(gone)
            return Difference(all_missing, all_surplus - len(gone), explained, tuple(lacked), tuple(too_many))

        try:
            with stream.read(request) as read:
                return sides.with_staged(read, compare)
        finally:
            self.destination.rollback()

    def _deleted_since(self, stream: Stream, sides: Sides, surplus: exp.Select) -> set[str]:
        """The rows among these that the source's log of deletions explains."""
        logged = set(stream.deleted_since(sides.at, stream.server_now()))
        if not logged:
            return set()
        [rows] = self.destination.query(surplus.limit(_MOST_EXPLAINED))
        return logged & {row[sides.key] for row in rows}


def _why_not(stream: Stream, state: StreamState, strategy: str | None) -> str:
    """Why a table and the source have no numbers that should be the same; empty where they have."""
    if strategy == WriteStrategy.APPEND:
        return "append keeps every version of a row that a run saw, so that it has more rows than the source"
    by_change = state.cursor_field in (stream.changed_field, stream.created_field)
    if state.covered_from is not None and not by_change:
        return f"it holds an interval of {state.cursor_field}, which rows may leave without a trace"
    return ""


def _changed_since(stream: Stream, as_of: datetime) -> int | None:
    field = stream.changed_field or stream.created_field
    if field is None:
        return None
    some = tuple(stream.primary_key or stream.schema.names[:1])
    return stream.plan(ReadRequest(some, Window(field, as_of, None), include_deleted=True)).rows


def _number(rows: exp.Select) -> exp.Select:
    return exp.select(exp.Count(this=exp.Star()).as_("n")).from_(rows.subquery("r"))


def _differs(found: Verified, platform: str) -> DifferenceError:
    """The error of a table that lacks rows, or has too many."""
    each = found.difference
    if each is None:
        what = f"{found.in_source} live rows in {platform}, {found.in_destination} here"
    else:
        parts = []
        for number, ids, word in (
            (each.missing, each.missing_ids, "missing"),
            (each.surplus, each.surplus_ids, "too many"),
        ):
            more = ", …" if number > len(ids) else ""
            parts += [f"{counted(number, 'row')} {word} ({', '.join(ids)}{more})"] if number else []
        what = ", ".join(parts)
    return DifferenceError(
        f"{found.table} differs from {platform}: {what}",
        hint="load it again: a merge finds such rows by itself and brings both sides together; if it stays so, start "
        f"again with {Flag.FULL_REFRESH}",
    )
