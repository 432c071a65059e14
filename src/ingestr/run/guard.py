"""Stops a run that is about to lose an unusual share of a table's rows. Knows no platform and no engine.

Rows that a login does not see look like rows that are gone: a sharing rule that was changed, a permission that was
taken away or the URI of another org must not empty a table.
"""

from dataclasses import dataclass

from ingestr.core.wording import counted
from ingestr.destinations.base import TableRef
from ingestr.errors import MassDeletionError
from ingestr.flags import Flag

# Up to so many rows may go in any table; more of them are unusual from this share on.
_ALWAYS_ALLOWED = 10
_UNUSUAL_SHARE = 0.3
# A table of so few rows may well lose all of them.
_MAY_BE_EMPTIED = 3


@dataclass
class DeletionGuard:
    """What one run takes from the live rows of one table.

    Args:
        target: the table.
        allowed: whether the user said that it is meant.
        live: live rows before the run; None where nothing is to be guarded.
        gone: of these, rows that the run has found to be gone so far.
    """

    target: TableRef
    allowed: bool
    live: int | None = None
    gone: int = 0

    def take(self, rows: int, what: str) -> None:
        """Note that so many live rows go.

        Args:
            rows: how many, beside those noted before.
            what: what becomes of them, for the message: ``are not among the rows read``.

        Raises:
            MassDeletionError: it is an unusual share of all, and nobody said that it is meant.
        """
        self.gone += rows
        if rows <= 0 or self.allowed or not self.live:
            return
        emptied = self.gone >= self.live > _MAY_BE_EMPTIED
        if emptied or self.gone > max(_ALWAYS_ALLOWED, _UNUSUAL_SHARE * self.live):
            raise MassDeletionError(
                f"{counted(self.gone, 'row')} of the {self.live:,} live ones in {self.target} {what}; "
                "nothing was changed",
                hint="check that the login is at the right org and that its user still sees these rows (sharing rules, "
                f"profile, permission sets); if the rows are really gone, run once with {Flag.ALLOW_MASS_DELETE}",
            )
