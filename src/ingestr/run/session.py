"""Both ends of a run, opened, and whom it tells what happens. No decision about a table is in it."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from ingestr.destinations.base import Destination, TableRef, Target
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.loads import LOADS
from ingestr.ledger.mask_key import MASK_KEY
from ingestr.ledger.quarantine import TABLE as QUARANTINE
from ingestr.ledger.reads import READS
from ingestr.ledger.state import COLUMNS, STATE
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
    """

    progress: Progress
    destination: Destination
    source: Source
    stream: Stream
    ledger: Ledger
    run_id: str
    began: datetime
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tell the user something, now and in the result."""
        self.notes.append(text)
        self.progress.note(text)

    def anew(self, source_table: str) -> "Session":
        """The same ends, with the table described again and looked at again."""
        stream = self.source.stream(source_table)
        return replace(self, stream=stream, ledger=look(self.destination, self.ledger.ref))


SYSTEM_TABLES = (STATE, COLUMNS, QUARANTINE, READS, MASK_KEY, LOADS)


SystemTables = tuple[Target | None, ...]


def look_at_system(destination: Destination) -> SystemTables | None:
    """The tables of ``_ingestr`` as they stand, for a session of many targets, which makes and drops none of them.

    None where one is not as ingestr makes it: it may be made anew on the way.
    """
    found = tuple(destination.describe(*(each.ref for each in SYSTEM_TABLES)))
    faults = [each.faults(there) for each, there in zip(SYSTEM_TABLES, found, strict=True) if there is not None]
    return None if any(faults) else found


def look(destination: Destination, target: TableRef, system: SystemTables | None = None) -> Ledger:
    """Look at a target and at what is kept about it, in one go.

    Args:
        destination: holds both.
        target: the target.
        system: what ``look_at_system`` has found; None where nobody has looked.
    """
    return Ledger(destination, target, SYSTEM_TABLES, system)
