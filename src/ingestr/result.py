"""What a run reports when it is done."""

from dataclasses import dataclass

from ingestr.core.cursor import Window
from ingestr.core.strategy import WriteStrategy
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
        rows_inserted, rows_updated, rows_unchanged: what became of them.
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
