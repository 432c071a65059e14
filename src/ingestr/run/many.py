"""Several tables between two ends that are opened once, some of them at a time, each with a transaction of its own.

A table that fails does not stop the others. Small tables go side by side, as they mostly wait for the network; of the
large ones, whose reads fill memory, one at a time is on its way. Where all are to end at one moment, it is asked for
once, and in the end the references between the tables are checked.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Protocol, TypeVar

from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.wording import counted
from ingestr.destinations.base import Destination, TableRef, parse_table
from ingestr.errors import AccessError, ConfigurationError, IngestrError, QuotaError, RequestRefusedError
from ingestr.flags import Flag
from ingestr.ledger.table import SystemTable
from ingestr.options import IngestOptions
from ingestr.progress import Progress
from ingestr.progress_many import SessionProgress
from ingestr.result import Consistency, IngestResult, Outcome, SessionResult, TableResult
from ingestr.run.pipeline import add_rows, copy_table, open_ends, preview_table
from ingestr.run.preview import Preview
from ingestr.run.references import CopiedTable, find_missing, find_orphans, find_references
from ingestr.run.session import SystemTables, look_at_system, system_tables
from ingestr.run.tables import ChosenTable, LeftOutTable, choose_tables
from ingestr.sources.base import ReadPlan, Source, Usage
from ingestr.strategies import STRATEGIES
from ingestr.strategies.base import create_schema, drop
from ingestr.table_list import SessionOptions

log = logging.getLogger("ingestr")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# From so many rows on a read has several large pages in memory.
_LARGE = 100_000
_LOOK_EVERY = 0.2
# Seconds for which tables that were sent away may roll back.
_PATIENCE = 10.0
# Rows that are read besides may refer to others in turn; of each reference so many keys are looked for at once.
_ROUNDS, _MOST_MISSING = 5, 5_000


def run_tables(options: SessionOptions, *, clock: Clock, progress: SessionProgress, in_process: bool) -> SessionResult:
    """Copy several tables; those that fail are in the result, with their errors.

    Args:
        options: what the user asked for.
        clock: time and waiting.
        progress: told what happens.
        in_process: whether the caller lives on after the run.

    Raises:
        IngestrError: of what concerns all tables: the login, the destination, names of tables that are none.
    """
    began = clock.monotonic()
    with _Session.opened(options, clock, progress, in_process=in_process) as session:
        chosen, left_out = session.choose()
        session.prepare(chosen)
        until = session.moment()
        found = session.each(chosen, partial(copy_table, clock=clock, until=until, system=session.look()))
        consistency = session.bring_together(found, until, clock) if until is not None else None
        session.tidy()
        results = [replace(_result(table, each), source_table=session.label(table)) for table, each in found]
        others = [TableResult(each.source_table, Outcome.LEFT_OUT, reason=each.reason) for each in left_out]
        for note in session.source.notes:
            progress.note(note)
        notes = (*options.common.notes, *session.notes, *session.source.notes)
        seconds = clock.monotonic() - began
        return SessionResult((*results, *others), session.source.usage, seconds, notes, consistency)


@dataclass(frozen=True)
class SessionPlan:
    """What a session of several tables would do.

    Args:
        tables: the name of each with its plan, or with why there is none.
        left_out: tables that would be left out.
        in_flight: so many tables would be copied at once.
        seconds: about how long all would take side by side, as far as that is known of each.
        usage: API calls that the plans have cost, and the allowance.
    """

    tables: tuple[tuple[str, Preview | IngestrError], ...]
    left_out: tuple[LeftOutTable, ...]
    in_flight: int
    seconds: float
    usage: Usage

    @property
    def reads(self) -> list[ReadPlan]:
        """How each table that can be planned would be read."""
        return [found.read for _, found in self.tables if isinstance(found, Preview)]

    @property
    def unknown(self) -> int:
        """How many of them have a size that nobody knows."""
        return sum(read.calls is None for read in self.reads)

    @property
    def failed(self) -> list[IngestrError]:
        """Why the others cannot be planned."""
        return [found for _, found in self.tables if isinstance(found, IngestrError)]


def plan_tables(options: SessionOptions, *, clock: Clock, progress: SessionProgress, in_process: bool) -> SessionPlan:
    """What ``run_tables`` would do."""
    with _Session.opened(options, clock, progress, in_process=in_process) as session:
        chosen, left_out = session.choose()
        plans = session.each(chosen, partial(preview_table, clock=clock, until=session.moment(), system=session.look()))
        known = [(table, found) for table, found in plans if found is not None]
        seconds = side_by_side(
            [(_is_large(table), found.read.seconds or 0) for table, found in known if isinstance(found, Preview)],
            options.in_flight,
        )
        return SessionPlan(
            tuple((session.label(table), found) for table, found in known),
            tuple(left_out),
            options.in_flight,
            seconds,
            session.source.usage,
        )


def _is_large(table: ChosenTable) -> bool:
    return (table.rows or 0) >= _LARGE


def side_by_side(tables: list[tuple[bool, float]], in_flight: int) -> float:
    """Seconds that all tables take, given whether each is large and its own: no way of sharing them is shorter."""
    large, small = ([seconds for is_large, seconds in tables if is_large is wanted] for wanted in (True, False))
    if in_flight == 1:
        return sum(large) + sum(small)
    return max(sum(large), sum(small) / (in_flight - 1), *small, 0.0)


class _Work(Protocol[T_co]):
    """What is done with each table between the two ends."""

    def __call__(
        self, source: Source, destination: Destination, options: IngestOptions, *, progress: Progress
    ) -> T_co: ...


class _Session:
    """Both ends, open, and the tables that are on their way."""

    def __init__(
        self, options: SessionOptions, source: Source, destination: Destination, progress: SessionProgress
    ) -> None:
        self.source = source
        self.notes: list[str] = []
        self._options = options
        self._destination = destination
        self._progress = progress
        self._system: tuple[SystemTable, ...] = ()

    @classmethod
    @contextmanager
    def opened(
        cls, options: SessionOptions, clock: Clock, progress: SessionProgress, *, in_process: bool
    ) -> Iterator["_Session"]:
        """Both ends of a session."""
        with open_ends(options.common, clock, progress.note, in_process=in_process) as (source, destination):
            yield cls(options, source, destination, progress)

    def choose(self) -> tuple[list[ChosenTable], list[LeftOutTable]]:
        """The tables; no two of them may become one.

        Raises:
            ConfigurationError: two of them would.
        """
        chosen, left_out = choose_tables(self.source, self._options.tables, self._options.excluded)
        targets: dict[str, str] = {}
        for table in chosen:
            ref = self._target(table)
            if (other := targets.setdefault(str(ref).lower(), table.source_table)) != table.source_table:
                raise ConfigurationError(
                    f"{other} and {table.source_table} would both become {ref}",
                    hint=f"leave one out with {Flag.EXCLUDE_TABLE}, and copy it by a command of its own",
                )
        every = (system_tables(self._options_of(table)) for table in chosen)
        self._system = tuple({each.name: each for tables in every for each in tables}.values())
        return chosen, left_out

    def look(self) -> SystemTables | None:
        """The tables of ours that the chosen tables need, as they stand."""
        return look_at_system(self._destination, self._system)

    def label(self, table: ChosenTable) -> str:
        """What people call a table: a query has a name of the user's."""
        return self._options.queries.get(table.source_table, table.source_table)

    def _options_of(self, table: ChosenTable) -> IngestOptions:
        name = self._options.queries.get(table.source_table, table.name)
        return self._options.of(table.source_table, name, table.asked)

    def _target(self, table: ChosenTable) -> TableRef:
        options = self._options_of(table)
        named = parse_table(options.dest_table or table.name, self._destination.default_schema)
        self._destination.check_catalog(named.catalog)
        return named.ref

    def prepare(self, chosen: list[ChosenTable]) -> None:
        """Make what tables share, so that they need not wait for one another."""
        schemas = {self._target(table).schema for table in chosen}
        found = self._destination.describe(*(each.ref for each in self._system))
        statements = [create_schema(schema) for schema in sorted(schemas)]
        for table, there in zip(self._system, found, strict=True):
            statements += table.ensure(there)
        self._destination.execute(statements)
        self._destination.commit()

    def moment(self) -> datetime | None:
        """By the source's clock, the moment at which all tables end; None where each ends when it is read."""
        return self.source.server_now() if self._options.consistent else None

    def bring_together(
        self, found: list[tuple[ChosenTable, IngestResult | IngestrError | None]], until: datetime, clock: Clock
    ) -> Consistency:
        """Check the references between the tables that were copied, and read what rows refer to that changed meanwhile.

        A row that changed after the moment at which the tables end may refer to a row that was created after it, and
        one that came to light late to a row whose table had been read by then.
        """
        by_name = {table.source_table: table for table, each in found if isinstance(each, IngestResult)}
        copied = [
            CopiedTable(
                table.source_table,
                self._target(table),
                STRATEGIES[each.strategy].TRAITS,
                until - self._options_of(table).lag,
            )
            for table, each in found
            if isinstance(each, IngestResult)
        ]
        try:
            references = find_references(self.source, self._destination, copied)
        except IngestrError as error:
            self._note(f"the references between the tables could not be checked: {error}")
            return Consistency(until, None)
        orphans, asked = find_orphans(self._destination, references), set[tuple[str, str]]()
        for _ in range(_ROUNDS):
            missing = find_missing(self._destination, [each for each, _ in orphans], _MOST_MISSING) - asked
            asked |= missing
            if not sum(self._add(by_name[name], keys, clock) for name, keys in _by_table(missing)):
                break
            orphans = find_orphans(self._destination, references)
        for _, each in orphans:
            self._progress.note(str(each))
        return Consistency(until, len(references), tuple(each for _, each in orphans))

    def _add(self, table: ChosenTable, keys: tuple[str, ...], clock: Clock) -> int:
        """Read rows of a table that others refer to; returns how many it gained."""

        def work(source: Source, destination: Destination, options: IngestOptions, *, progress: Progress) -> int:
            return add_rows(source, destination, options, keys, clock)

        label = self.label(table)
        try:
            gained = self._one(table, work)
        except IngestrError as error:
            self._note(f"{label}: rows that others refer to could not be read: {error}")
            return 0
        if gained:
            self._note(f"{label}: {counted(gained, 'row')} read besides, as rows that changed meanwhile refer to them")
        return gained

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._progress.note(text)

    def tidy(self) -> None:
        """Remove tables of ours that were made and not needed, where nobody else can be about to write to them."""
        if not self._destination.capabilities.exclusive:
            return
        refs = [each.ref for each in self._system]
        rows = self._destination.query(*(exp.select("1").from_(ref.to_table()).limit(1) for ref in refs))
        self._destination.execute([drop(ref) for ref, found in zip(refs, rows, strict=True) if not found])
        self._destination.commit()

    def each(self, chosen: list[ChosenTable], work: "_Work[T]") -> list[tuple[ChosenTable, T | IngestrError | None]]:
        """Do some work on each table, the largest first.

        Returns:
            The tables in their order, with what the work gave or why it failed; None where it was not begun.
        """
        found: dict[ChosenTable, T | IngestrError | None] = {}
        self._progress.expect(len(chosen))
        with self._pools() as (large, small):
            order = sorted(chosen, key=lambda table: table.rows or 0, reverse=True)
            waiting = {(large if _is_large(table) else small).submit(self._one, table, work): table for table in order}
            try:
                while waiting:
                    wait(waiting, _LOOK_EVERY, FIRST_COMPLETED)
                    for future in [each for each in waiting if each.done()]:
                        table = waiting.pop(future)
                        found[table] = outcome = _outcome_of(future)
                        self._progress.done(self.label(table), _failure(table, outcome))
                        if isinstance(outcome, QuotaError):
                            # What is left of the allowance is for others: no further table is begun.
                            _cancel(waiting)
            except BaseException:
                _cancel(waiting)
                self.source.stop()
                wait([each for each in waiting if not each.cancelled()], _PATIENCE)
                self._progress.note(_so_far(len(found), len(chosen)))
                raise
        return [(table, found[table]) for table in chosen]

    @contextmanager
    def _pools(self) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
        """Threads for large tables, and for small ones; they are not waited for where the session breaks off."""
        large = ThreadPoolExecutor(1, "large-table")
        most = self._options.in_flight
        small = ThreadPoolExecutor(most - 1, "table") if most > 1 else large
        try:
            yield large, small
        except BaseException:
            for pool in (large, small):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
        for pool in (large, small):
            pool.shutdown()

    def _one(self, table: ChosenTable, work: "_Work[T]") -> T:
        options = replace(self._options_of(table), notes=())
        with closing(self._destination.beside()) as destination, self._progress.table(self.label(table)) as progress:
            destination.connect()
            return work(self.source, destination, options, progress=progress)


def _cancel(futures: Iterable["Future[T]"]) -> None:
    for each in futures:
        each.cancel()


def _outcome_of(future: "Future[T]") -> T | IngestrError | None:
    """What a table's work gave, or its error; None where it was not begun."""
    if future.cancelled():
        return None
    try:
        return future.result()
    except IngestrError as error:
        return error
    except Exception as error:
        # The other tables are nothing to do with it.
        log.debug("where the error came from:", exc_info=True)
        return IngestrError(f"a bug in ingestr: {type(error).__name__}: {error}", hint="please report it")


def _result(table: ChosenTable, found: IngestResult | IngestrError | None) -> TableResult:
    """What became of a table: one that a pattern chose, and that the source does not serve, is left out."""
    if found is None:
        return TableResult(table.source_table, Outcome.NOT_BEGUN, reason="the API calls that were allowed are used up")
    if isinstance(found, IngestResult):
        return TableResult(table.source_table, Outcome.DONE, found)
    if _failure(table, found) is None:
        return TableResult(table.source_table, Outcome.LEFT_OUT, reason=str(found))
    return TableResult(table.source_table, Outcome.FAILED, error=found)


def _failure(table: ChosenTable, found: object) -> IngestrError | None:
    """The error of a table that should have been copied."""
    not_served = table.by_pattern and isinstance(found, AccessError | RequestRefusedError)
    return found if isinstance(found, IngestrError) and not not_served else None


def _by_table(keys: set[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    grouped = groupby(sorted(keys), key=itemgetter(0))
    return [(table, tuple(key for _, key in some)) for table, some in grouped]


def _so_far(done: int, of: int) -> str:
    return f"{counted(done, 'table')} of {of} ended before, and what they committed stays"
