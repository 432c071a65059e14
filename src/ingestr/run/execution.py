"""A plan being carried out: the open ends that it needs, and what adds up on the way. Decides nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from ingestr.core.cursor import Contents
from ingestr.destinations.base import Role, Target
from ingestr.ledger.quarantine import Quarantine
from ingestr.ledger.state import contents_of, read_contents
from ingestr.run.guard import DeletionGuard
from ingestr.run.session import Session
from ingestr.run.table_plan import TablePlan
from ingestr.sources.base import RejectedRow


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


class Execution:
    """One plan being carried out.

    Args:
        session: the open ends.
        plan: what is carried out first; later plans are about the same table and the same columns.

    Attributes:
        quarantine: rows that were set aside.
        guard: counts the rows that vanish.
    """

    def __init__(self, session: Session, plan: TablePlan) -> None:
        self.session = session
        self.destination, self.source, self.stream = session.destination, session.source, session.stream
        self.progress, self.note = session.progress, session.note
        self.ref, self.staging = plan.target.ref, plan.target.staging
        common = {"source_object": plan.source_object, "run_id": session.run_id, "quarantined_at": session.began}
        self.quarantine = Quarantine(session.destination, session.ledger, common, plan.rules.quarantine)
        self.guard = DeletionGuard(plan.target.ref, plan.rules.mass_delete, plan.target.live)
        self._roles = plan.columns.roles
        self._table = plan.target.current
        self._is_known = True

    def table(self) -> Target | None:
        """The target as it stands now."""
        if not self._is_known:
            [found] = self.destination.describe(self.ref)
            self._table = replace(found, roles=self._roles) if found is not None else None
            self._is_known = True
        return self._table

    def look(self, live: exp.Expr) -> tuple[int, Contents]:
        """The rows of the target for which a condition is true, and what tells its content from another."""
        target = self.table()
        assert target is not None  # noqa: S101 - it was written just now
        asked = contents_of(target, target.of(Role.CURSOR), target.of(Role.LOADED_AT), live)
        [[row]] = self.destination.query(asked)
        return int(row["live"]), read_contents(row)

    def alter(self) -> None:
        """Take note that the columns of the target change: it has to be looked at again."""
        self._is_known = False

    def rejecting(self, plan: TablePlan) -> Callable[[RejectedRow], None]:
        """What sets a row aside, without a value that must not be seen."""
        masks, keys = plan.columns.treatment.masks, self.stream.primary_key
        key = masks.get(keys[0]) if keys else None

        def reject(row: RejectedRow) -> None:
            if row.field in masks:
                row = replace(row, value=None)
            if key is not None:
                # What the source says of a row may name it.
                reason = row.reason if row.field is not None else "the source cannot give the row"
                row = replace(row, key=key.apply_to_text(row.key), reason=reason)
            self.quarantine.add(row)

        return reject
