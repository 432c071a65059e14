"""Ranges of Ids: what a query that Salesforce cannot serve in one piece is cut into, down to the row that is to blame.

Ids are numbers of base 62 behind the object's prefix, compared by case; the ends of a cut query stay open, so that its
parts together match what the whole matched.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pyarrow as pa

from ingestr.errors import IngestrError, JobFailedError, RequestRefusedError
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.answers import NUMERIC_OVERFLOW
from ingestr.sources.salesforce.checks import id_in
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.rest import RestQuery

log = logging.getLogger("ingestr.salesforce")

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


def smaller(error: IngestrError) -> IngestrError:
    """The same error, so that the range is cut: one of few enough rows goes by REST, which reads what Bulk refuses."""
    if is_too_large(error):
        return error
    return RequestRefusedError(str(error), code=_TOO_LARGE[1], status=400, hint=error.hint)


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


def find_bounds(client: SalesforceClient, query: RestQuery) -> IdRange | None:
    """The range of all Ids that the object has; None where it has no rows."""
    ends = []
    for order in ("Id", "Id DESC"):
        one = replace(query, where=(), order_by=order, limit=1)
        page = client.get_json(
            client.path(query.resource), f"finding the Ids of {query.object_name}", {"q": one.soql(["Id"])}
        )
        ends += [to_number(id_in(record)) for record in page.answers("records")[:1]]
    return IdRange(min(ends), max(ends) + 1) if ends else None


def read_in_ranges(
    query: RestQuery,
    everything: IdRange,
    read: Callable[[RestQuery], Iterator[pa.RecordBatch]],
    reject: Callable[[RejectedRow], None] | None,
) -> Iterator[pa.RecordBatch]:
    """All rows of a query, range by range, each cut again while Salesforce cannot serve it.

    Args:
        query: what could not be served whole.
        everything: the object's Ids.
        read: reads a query; gives rows only once it knows that Salesforce can serve them.
        reject: told of a row that cannot be served even alone; None makes it an error.
    """
    waiting = list(reversed(everything.halves()))
    while waiting:
        part = waiting.pop()
        narrowed = replace(query, where=(*query.where, *part.conditions()))
        try:
            yield from read(narrowed)
        except IngestrError as error:
            width = part.high - part.low
            if not is_too_large(error) or (width <= _LEAST_WIDTH and not _is_overflow(error)):
                raise
            if width > 1:
                log.info("%s: cutting %s in two by Id", error, " and ".join(part.conditions()) or "everything")
                waiting += reversed(part.halves())
            elif reject is None:
                raise
            else:
                reject(RejectedRow(with_checksum(to_id(part.low)), None, None, str(error)))
