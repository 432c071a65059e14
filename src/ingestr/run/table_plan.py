"""What one run does to one table, as a value. Knows no platform and no engine, and settles nothing itself."""

from dataclasses import dataclass
from dataclasses import replace as replace_fields
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Coverage, StreamState, Window
from ingestr.core.strategy import Deletes, SchemaContract, WriteStrategy
from ingestr.destinations.base import TableRef, Target
from ingestr.run.columns import Columns
from ingestr.run.reading import Reading
from ingestr.sources.base import ReadRequest
from ingestr.strategies import STRATEGIES
from ingestr.strategies.base import Strategy, Traits
from ingestr.strategies.fit import Fit


@dataclass(frozen=True)
class PlannedTarget:
    """The table that readers see, and what becomes of it.

    Args:
        ref: where it lies.
        staging: where rows wait until they are all there.
        current: the table as it stood when the run began, with the roles of its columns; None where there was none.
        anew: whether the rows become a table of their own rather than to be written into the one that is there.
        things: what somebody has hung on it, in words.
        changes: what the load does to its columns, as far as that is known before a row is read; None if it is made
            anew.
        live: its live rows, of which only some may vanish; None where nothing is guarded.
    """

    ref: TableRef
    staging: TableRef
    current: Target | None
    anew: bool
    things: tuple[str, ...] = ()
    changes: Fit | None = None
    live: int | None = None


@dataclass(frozen=True)
class Progression:
    """How far the target has been read, before the run and after it.

    Args:
        before: what was known when the run began, if anything.
        until: the end of what the target covers by the key of this run, if that counts now.
        after: what is known then; None where nothing is kept.
    """

    before: StreamState | None
    until: datetime | None
    after: StreamState | None


@dataclass(frozen=True)
class Recalculation:
    """Whether a run reads again, of all rows, the fields whose values change without the row's timestamp moving.

    Args:
        fields: those that it reads again after the load.
        reason: why, or why it reads none, for people; empty where there is none or where they come with all rows.
        as_of: as of when the target holds such values afterwards, by the source's clock; None where nobody knows.
    """

    fields: tuple[str, ...]
    reason: str
    as_of: datetime | None


@dataclass(frozen=True)
class Rules:
    """What may become of the table's rows and columns.

    Args:
        contract: whether columns may change, and what becomes of values that do not fit them.
        deletes: what becomes of rows that were deleted at the source.
        predicate: which rows of the target a merge may change; None for all.
        mass_delete: whether an unusual share of the rows may vanish.
        quarantine: how many rows may be set aside.
    """

    contract: SchemaContract
    deletes: Deletes
    predicate: exp.Expr | None
    mass_delete: bool
    quarantine: int


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """What one run is going to do to one table: settled before the first row, and all that the acting half goes by.

    Where rows show that something has to be done otherwise, that is a new plan.

    Args:
        source_object: the platform's name of the table.
        target: where the rows go.
        strategy: how they are written.
        reason: why so, for people.
        rewrite: whether they become the table's content as a whole, whatever the strategy does otherwise.
        reading: which fields of which rows are read.
        columns: where each field goes, and what becomes of its values.
        coverage: the window that is read, and what the target covers then.
        upper: the source's clock now, up to which this run reads unless its session ends earlier.
        lag: how long after the time that they carry rows may become visible.
        interval: first and last moment that the user named, both inclusive and either None.
        progression: how far the target has been read, before and after.
        compared: whether both sides are counted in the end.
        fresh: fields that the rows which are not read lack; they are read of all rows after the load.
        recalculation: which other fields are read of all rows then, and why.
        rules: what may become of rows and columns.
        loaded_at: the load timestamp; None where the rows bear none.
        spool: the folder in which complete pages wait until the commit.
        with_metadata: whether what the source tells of its fields is kept too.
        keyed: whether the primary key tells the rows apart, as far as rows have been seen.
    """

    source_object: str
    target: PlannedTarget
    strategy: WriteStrategy
    reason: str
    rewrite: bool
    reading: Reading
    columns: Columns
    coverage: Coverage
    upper: datetime
    lag: timedelta
    interval: tuple[datetime | None, datetime | None]
    progression: Progression
    compared: bool
    fresh: tuple[str, ...]
    recalculation: Recalculation
    rules: Rules
    loaded_at: datetime | None
    spool: Path
    with_metadata: bool
    keyed: bool = True

    @property
    def way(self) -> Strategy:
        """What is done with the rows."""
        return STRATEGIES[self.strategy]

    @property
    def traits(self) -> Traits:
        """What is to be known of that."""
        return self.way.TRAITS

    @property
    def outcome(self) -> WriteStrategy:
        """What the run does to the table, in the user's words."""
        return self.strategy if self.traits.whole or not self.rewrite else WriteStrategy.REPLACE

    @property
    def window(self) -> Window | None:
        """The rows to read, or None for all."""
        return self.coverage.window

    @property
    def covered(self) -> Window | None:
        """The changes that the target holds then, where it does not hold everything."""
        field, start = self.reading.cursor_field, self.coverage.start
        return None if field is None or start is None else Window(field, start, None)

    @property
    def is_masked(self) -> bool:
        """Whether some values must not be seen, so that nothing of what is read may lie in a file."""
        return bool(self.columns.treatment.masks)

    @property
    def request(self) -> ReadRequest:
        """What the source is asked for."""
        return self.reading.request(self.window, private=self.is_masked)

    @property
    def ends(self) -> datetime:
        """Rows that were created from this moment on are left to later runs."""
        return self.reading.created_before or self.upper

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(self.columns.names[field] for field in self.reading.primary_key)

    def up_to(self, end: datetime) -> "TablePlan":
        """The same where a window over what is new ends earlier: at the end of a read that is taken up."""
        if self.window is None or not self.coverage.reaches_now:
            return self
        window = replace_fields(self.window, end=end)
        return replace_fields(self, coverage=replace_fields(self.coverage, window=window))

    def changes_since(self, start: datetime, field: str) -> Window:
        """The window of what has changed since a moment, as far as this run reads."""
        return Window(field, start, None if self.reading.created_before is not None else self.upper)

    def catching_up(self, window: Window | None) -> "TablePlan":
        """What is to be done after it: only a window of changes is read, into the table that is there now.

        Where the rows were the whole table, it holds live rows only: deleted ones are read to be removed.
        """
        later = replace_fields(
            self,
            rewrite=False,
            target=replace_fields(self.target, anew=False),
            coverage=replace_fields(self.coverage, window=window),
        )
        if not self.traits.whole:
            return later
        return replace_fields(
            later,
            strategy=WriteStrategy.MERGE,
            reading=replace_fields(self.reading, include_deleted=True),
            rules=replace_fields(self.rules, deletes=Deletes.HARD),
        )

    def widened(self, field: str, to: pa.DataType) -> "TablePlan":
        """The same where the values of a field come with a wider type."""
        columns = replace_fields(self.columns, treatment=self.columns.treatment.widened(field, to))
        return replace_fields(self, columns=columns)
