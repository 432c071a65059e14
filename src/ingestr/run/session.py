"""Both ends of a run, opened, and whom it tells what happens. No decision about a table is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ingestr.destinations.base import Destination, Target
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.loads import LOADS
from ingestr.ledger.mask_key import MASK_KEY
from ingestr.ledger.metadata import METADATA
from ingestr.ledger.quarantine import TABLE as QUARANTINE
from ingestr.ledger.reads import READS
from ingestr.ledger.state import COLUMNS, STATE
from ingestr.ledger.table import SystemTable
from ingestr.options import IngestOptions
from ingestr.progress import Progress
from ingestr.sources.base import Source, Stream


@dataclass(frozen=True)
class Session:
    """The open ends of a run of one table.

    Args:
        progress: told what happens.
        destination: where the rows go.
        source: where they come from.
        stream: the table at the source, as it was described.
        ledger: what is kept of the target, and the target, as they stood when they were looked at.
        run_id: tells this run from others.
        began: our clock when it began.
        notes: what the user should know, for the result.
        until: by the source's clock, the moment at which all tables of a session of several end; None where each
            ends when it is read.
    """

    progress: Progress
    destination: Destination
    source: Source
    stream: Stream
    ledger: Ledger
    run_id: str
    began: datetime
    notes: list[str] = field(default_factory=list)
    until: datetime | None = None

    def note(self, text: str) -> None:
        """Tell the user something, now and in the result."""
        self.notes.append(text)
        self.progress.note(text)

    def anew(self, source_table: str) -> "Session":
        """The same ends, with the table described again and looked at again."""
        stream = self.source.stream(source_table)
        return replace(self, stream=stream, ledger=Ledger(self.destination, self.ledger.ref, self.ledger.tables))


_ALWAYS = (STATE, COLUMNS, QUARANTINE, READS, MASK_KEY, LOADS)


def system_tables(options: IngestOptions) -> tuple[SystemTable, ...]:
    """The tables of ours that a run may write to."""
    return (*_ALWAYS, *METADATA) if options.with_metadata else _ALWAYS


SystemTables = Mapping[str, Target | None]


def look_at_system(destination: Destination, tables: Sequence[SystemTable]) -> SystemTables | None:
    """The tables of ``_ingestr`` as they stand, for a session of many targets, which makes and drops none of them.

    None where one is not as ingestr makes it: it may be made anew on the way.
    """
    found = destination.describe(*(each.ref for each in tables))
    faults = [each.faults(there) for each, there in zip(tables, found, strict=True) if there is not None]
    return None if any(faults) else {each.name: there for each, there in zip(tables, found, strict=True)}
