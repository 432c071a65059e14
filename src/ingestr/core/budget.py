"""How many calls of the platform's allowance a run may use before it stops for others' sake."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ApiBudget:
    """A bound on API calls: a share of the org's allowance, used by everybody, or a number of calls of this run.

    Args:
        share: from 0 to 1, or None.
        calls: at least 1, or None.
    """

    share: float | None = None
    calls: int | None = None

    @classmethod
    def parse(cls, text: str) -> "ApiBudget":
        """Read ``80%`` or ``5000``.

        Raises:
            ValueError: neither, or out of bounds.
        """
        if text.strip().endswith("%"):
            share = float(text.strip().removesuffix("%")) / 100
            if not 0 < share <= 1:
                raise ValueError(text)
            return cls(share=share)
        calls = int(text)
        if calls < 1:
            raise ValueError(text)
        return cls(calls=calls)

    def is_used_up(self, made: int, used: int | None, limit: int | None) -> bool:
        """Whether no further call is allowed.

        Args:
            made: calls of this run.
            used: calls of everybody in the last 24 hours, as far as the platform has told.
            limit: the allowance, likewise.
        """
        if self.calls is not None:
            return made >= self.calls
        return self.share is not None and used is not None and limit is not None and used >= self.share * limit

    def __str__(self) -> str:
        return str(self.calls) if self.share is None else f"{self.share:.0%}"
