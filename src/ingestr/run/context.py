"""The values of one run that its steps share."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from ingestr.core.clock import Clock
from ingestr.core.transforms import AS_THEY_COME, Treatment
from ingestr.destinations.base import Destination, TableRef
from ingestr.ledger.quarantine import Quarantine
from ingestr.options import IngestOptions
from ingestr.progress import Progress
from ingestr.run.guard import DeletionGuard
from ingestr.sources.base import RejectedRow, Source, Stream


@dataclass(frozen=True)
class Written:
    """What became of the rows of one load, in numbers of rows."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    duplicates: int = 0
    origin: str = ""

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.read + other.read,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
            self.deleted + other.deleted,
            self.duplicates + other.duplicates,
            self.origin or other.origin,
        )


@dataclass
class Run:
    """One run's values that several steps share."""

    options: IngestOptions
    clock: Clock
    progress: Progress
    destination: Destination
    source: Source
    stream: Stream
    target: TableRef
    run_id: str
    began: datetime
    quarantine: Quarantine
    guard: DeletionGuard
    notes: list[str] = field(default_factory=list)
    healed: Written = field(default_factory=Written)
    keyed: bool = True
    treatment: Treatment = AS_THEY_COME

    @property
    def staging(self) -> TableRef:
        """Where rows wait until they are all there."""
        dataset, target = self.options.staging_dataset, self.target
        if dataset is None:
            return TableRef(target.schema, f"_ingestr_staging_{target.name}")
        return TableRef(dataset, f"_ingestr_staging_{target.schema}_{target.name}")

    @property
    def masked(self) -> bool:
        """Whether some values must not be seen, so that nothing of what is read may lie in a file."""
        return bool(self.treatment.masks)

    def reject(self, row: RejectedRow) -> None:
        """Set a row aside, without a value that must not be seen."""
        masks = self.treatment.masks
        key = masks.get(self.stream.primary_key[0]) if self.stream.primary_key else None
        if row.field in masks:
            row = replace(row, value=None)
        if key is not None:
            # What Salesforce says of a row may name it.
            reason = row.reason if row.field is not None else "Salesforce cannot give the row"
            row = replace(row, key=key.apply_to_text(row.key), reason=reason)
        self.quarantine.add(row)

    def note(self, text: str) -> None:
        """Tell the user something, now and in the result."""
        self.notes.append(text)
        self.progress.note(text)
