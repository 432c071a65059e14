"""What a run reports when it is done."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingestr.core.cursor import Window
from ingestr.core.strategy import WriteStrategy
from ingestr.core.wording import counted
from ingestr.errors import IngestrError
from ingestr.sources.base import Usage


@dataclass(frozen=True)
class IngestResult:
    """What a run did.

    Args:
        source_object: the platform's name of the table.
        dest_table: ``schema.table``.
        strategy: how the rows were written.
        read_by: the API that served them.
        rows_read: rows that came from the source.
        rows_inserted, rows_updated, rows_unchanged: what became of them. Updated are also rows of the target of which
            only some fields were read, as formulas were read again or a new column was filled, and had other values.
        rows_deleted: rows of the target that were found to be deleted at the source, beside those among the rows read.
        rows_quarantined: rows that cannot be had as declared, and lie in ``_ingestr.quarantine``.
        rows_in_source, rows_in_destination: rows on both sides when the run's window ended; live ones for a merge. None
            where the source was not, or could not be, counted.
        duplicates: rows of one key that gave way to a newer one.
        resumed: whether the run went on with what a broken-off one had left.
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
    rows_quarantined: int
    rows_in_source: int | None
    rows_in_destination: int
    duplicates: int
    resumed: bool
    window: Window | None
    usage: Usage
    seconds: float
    notes: tuple[str, ...]


class Outcome(StrEnum):
    """What became of one of several tables."""

    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left out"
    NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class TableResult:
    """One of several tables.

    Args:
        source_table: what the source was asked for.
        outcome: what became of it.
        result: what was done; None where it was not done.
        error: why it failed, if it did.
        reason: why it was left out, or not begun.
    """

    source_table: str
    outcome: Outcome
    result: IngestResult | None = None
    error: IngestrError | None = None
    reason: str = ""


@dataclass(frozen=True)
class Orphans:
    """Live rows of a table that refer to rows which are not in the tables that they refer to.

    Args:
        table: ``schema.table``.
        column: the column that refers.
        parents: the tables in which the rows should be.
        rows: how many rows refer to nothing.
        keys: to how many different keys.
        examples: the first of these keys.
    """

    table: str
    column: str
    parents: tuple[str, ...]
    rows: int
    keys: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        what = f"{counted(self.rows, 'live row')} refer{'s' if self.rows == 1 else ''} to {counted(self.keys, 'key')}"
        where = " or ".join(self.parents)
        return f"{self.table}.{self.column}: {what} missing from {where}: {', '.join(self.examples)}"


@dataclass(frozen=True)
class Consistency:
    """How the tables of a session fit together that were to end at one moment.

    Args:
        until: that moment, by the source's clock.
        references: how many columns were checked whose values are keys of other tables of the session; None where the
            source or the API budget did not allow that.
        orphans: what was found there.
    """

    until: datetime
    references: int | None
    orphans: tuple[Orphans, ...] = ()


@dataclass(frozen=True)
class SessionResult:
    """What a session of several tables did.

    Args:
        tables: all of them, in the order in which they were asked for.
        usage: API calls of all of them, and the allowance.
        seconds: how long it took.
        notes: what the user should know of the session as a whole.
        consistency: how the tables fit together; None unless all were to end at one moment.
    """

    tables: tuple[TableResult, ...]
    usage: Usage
    seconds: float
    notes: tuple[str, ...] = ()
    consistency: Consistency | None = None

    @property
    def counts(self) -> Counter[Outcome]:
        """How many tables had which outcome."""
        return Counter(each.outcome for each in self.tables)

    @property
    def exit_code(self) -> int:
        """The highest of the failed tables' exit codes; 0 where none failed."""
        return max((each.error.exit_code for each in self.tables if each.error is not None), default=0)
