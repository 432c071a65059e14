"""The values of one run that its steps share."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlglot import exp

from ingestr.core.clock import Clock
from ingestr.core.secret import Secret
from ingestr.core.transforms import AS_THEY_COME, Treatment
from ingestr.destinations.base import Destination, Role, TableRef, Target
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.mask_key import MASK_KEY, keep_key
from ingestr.ledger.quarantine import TABLE as QUARANTINE
from ingestr.ledger.quarantine import Quarantine
from ingestr.ledger.reads import READS
from ingestr.ledger.state import COLUMNS, STATE
from ingestr.options import IngestOptions
from ingestr.progress import Progress
from ingestr.run.guard import DeletionGuard
from ingestr.sources.base import RejectedRow, Source, Stream
from ingestr.strategies.fit import NOTHING_DECLARED, Declared


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
    """One run's values that several steps share.

    ``upper`` is the source's clock, once it is known; ``dry`` a run that only says what it would do.
    """

    options: IngestOptions
    clock: Clock
    progress: Progress
    destination: Destination
    source: Source
    stream: Stream
    target: TableRef
    run_id: str
    began: datetime
    guard: DeletionGuard
    dry: bool = False
    ledger: Ledger = field(init=False)
    quarantine: Quarantine = field(init=False)
    notes: list[str] = field(default_factory=list)
    keyed: bool = True
    upper: datetime | None = None
    predicate: exp.Expr | None = None
    treatment: Treatment = AS_THEY_COME
    declared: Declared = NOTHING_DECLARED
    roles: Mapping[Role, str] = field(default_factory=dict)
    _table: Target | None = None
    _is_known: bool = False

    def look(self) -> None:
        """Look at the target and at what is kept about it, once for the whole run."""
        self.ledger = Ledger(self.destination, self.target, (STATE, COLUMNS, QUARANTINE, READS, MASK_KEY))
        self._table = self.ledger.target
        self._is_known = True
        common = {"source_object": self.stream.source_object, "run_id": self.run_id, "quarantined_at": self.began}
        self.quarantine = Quarantine(self.destination, self.ledger, common, self.options.quarantine_limit)

    def table(self) -> Target | None:
        """The target as it stands."""
        if not self._is_known:
            [self._table] = self.destination.describe(self.target)
            self._is_known = True
        return replace(self._table, roles=self.roles) if self._table is not None else None

    def alter(self) -> None:
        """Take note that the columns of the target change: it has to be looked at again."""
        self._is_known = False

    @property
    def staging(self) -> TableRef:
        """Where rows wait until they are all there."""
        dataset, target = self.options.staging_dataset, self.target
        if dataset is None:
            return TableRef(target.schema, f"_ingestr_staging_{target.name}")
        return TableRef(dataset, f"_ingestr_staging_{target.schema}_{target.name}")

    def mask_key(self) -> Secret:
        """The key of the masks that need one: the user's, or the one that the destination keeps."""
        return self.options.mask_key or keep_key(self.destination, self.ledger, self.began, write=not self.dry)

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
            # What the source says of a row may name it.
            reason = row.reason if row.field is not None else "the source cannot give the row"
            row = replace(row, key=key.apply_to_text(row.key), reason=reason)
        self.quarantine.add(row)

    def note(self, text: str) -> None:
        """Tell the user something, now and in the result."""
        self.notes.append(text)
        self.progress.note(text)
