"""Ranges of Ids: what a query that Salesforce cannot serve in one piece is cut into, down to the row that is to blame.

Ids are numbers of base 62 behind the object's prefix, compared by case; the ends of a cut query stay open, so that its
parts together match what the whole matched.
"""

from dataclasses import dataclass

from ingestr.errors import IngestrError, JobFailedError, RequestRefusedError
from ingestr.sources.salesforce.http.answers import NUMERIC_OVERFLOW

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_LENGTH = 15
# A range of so few Ids that still takes too long will not become quick.
_LEAST_WIDTH = 2_000
_TOO_LARGE = ("QUERY_TIMEOUT", "OPERATION_TOO_LARGE", "REQUEST_RUNNING_TOO_LONG")
# A failed job has no code: its text alone tells a query that took too long from other failures.
_TOO_LARGE_JOB = (*_TOO_LARGE, "Retried more than", "Tried more than", "Failed to write query result")


def is_too_large(error: IngestrError) -> bool:
    """Whether Salesforce would serve the query in smaller parts."""
    if isinstance(error, RequestRefusedError):
        return error.code in _TOO_LARGE or _is_overflow(error)
    return isinstance(error, JobFailedError) and (
        any(text in error.reason for text in _TOO_LARGE_JOB) or _is_overflow(error)
    )


def _is_overflow(error: IngestrError) -> bool:
    return NUMERIC_OVERFLOW in str(error)


@dataclass(frozen=True)
class IdRange:
    """Ids as numbers, ``low`` included and ``high`` not; an open end matches whatever lies beyond."""

    low: int
    high: int
    open_low: bool = True
    open_high: bool = True

    def conditions(self) -> tuple[str, ...]:
        """The same in SOQL."""
        low = () if self.open_low else (f"Id >= '{to_id(self.low)}'",)
        high = () if self.open_high else (f"Id < '{to_id(self.high)}'",)
        return low + high

    @property
    def only_id(self) -> str | None:
        """The Id of 18 characters, if the range is that of a single row."""
        return with_checksum(to_id(self.low)) if self.high - self.low <= 1 else None

    def is_worth_cutting(self, error: IngestrError) -> bool:
        """Whether smaller ranges may be served; a row that Salesforce cannot write is looked for to the end."""
        return self.high - self.low > _LEAST_WIDTH or _is_overflow(error)

    def halves(self) -> "tuple[IdRange, IdRange]":
        """Two ranges that together match what this one does."""
        middle = (self.low + self.high) // 2
        return (
            IdRange(self.low, middle, self.open_low, open_high=False),
            IdRange(middle, self.high, open_low=False, open_high=self.open_high),
        )


def to_number(row_id: str) -> int:
    """The number that an Id of 15 or 18 characters is."""
    number = 0
    for character in row_id[:_LENGTH]:
        number = number * len(_DIGITS) + _DIGITS.index(character)
    return number


def to_id(number: int) -> str:
    """The Id of 15 characters that a number is."""
    characters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        characters.append(_DIGITS[digit])
    return "".join(reversed(characters))


def with_checksum(row_id: str) -> str:
    """The Id of 18 characters: three more say which of each five are upper case."""
    groups = [row_id[start : start + 5] for start in range(0, _LENGTH, 5)]
    places = [sum(1 << i for i, character in enumerate(group) if character.isupper()) for group in groups]
    return row_id + "".join(_CHECKSUM[place] for place in places)
