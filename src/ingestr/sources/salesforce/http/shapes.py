"""What a decoded answer must look like before anybody uses it: nobody stumbles over what is amiss."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ingestr.errors import IngestrError, SourceError

log = logging.getLogger("ingestr.salesforce")

# Numbers of rows, calls and milliseconds; JSON and headers can spell what no counter of Salesforce reaches.
_MOST = 10**15
_WHOLE = re.compile(r"(-?[0-9]{1,16})(?:\.0+)?")
_FRACTION = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,16})?")
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class Answer(dict[str, Any]):
    """A JSON object of Salesforce; a key that is missing from it is an error of the answer, not of ours."""

    def __init__(self, body: Mapping[str, Any], doing: str) -> None:
        super().__init__(body)
        self.doing = doing

    def __missing__(self, key: str) -> NoReturn:
        raise unexpected(self.doing, f"it has no {key!r}")

    def number(self, key: str) -> int:
        """A whole number of a size that a counter can have, as JSON's number or as text."""
        found = whole_number(self[key])
        if found is None:
            raise unexpected(self.doing, f"its {key!r} is no whole number")
        return found

    def decimal(self, key: str) -> float:
        """A finite number that may have a fraction, as JSON's number or as text."""
        value = self[key]
        if isinstance(value, str) and _FRACTION.fullmatch(value):
            return float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST:
            return float(value)
        raise unexpected(self.doing, f"its {key!r} is no number")

    def text(self, key: str) -> str:
        """A text that is not empty and can be written as UTF-8."""
        value = self[key]
        if not isinstance(value, str) or not value or any("\ud800" <= character <= "\udfff" for character in value):
            raise unexpected(self.doing, f"its {key!r} is no text")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false where it is absent, as the set of flags differs between API versions."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise unexpected(self.doing, f"its {key!r} is neither true nor false")
        return bool(value)

    def moment(self, key: str) -> datetime:
        """A time in UTC, from Salesforce's spelling: ``2026-01-31T10:20:30.000+0000``."""
        try:
            found = _in_range(datetime.fromisoformat(self.text(key)))
        except (ValueError, OverflowError):
            found = None
        if found is None:
            raise unexpected(self.doing, f"its {key!r} is no time")
        return found

    def parts(self, key: str) -> list[dict[str, Any]]:
        """A list of objects, as they are."""
        value = self[key]
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise unexpected(self.doing, f"its {key!r} is no list of objects")
        return value

    def answers(self, key: str) -> list["Answer"]:
        """A list of objects of which keys will be asked: for lists that are short."""
        return [Answer(part, self.doing) for part in self.parts(key)]


def whole_number(value: object) -> int | None:
    """A whole number of a size that a counter can have; None for anything else, such as Infinity or 5,000 digits."""
    if isinstance(value, str):
        spelled = _WHOLE.fullmatch(value)
        value = int(spelled[1]) if spelled else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Infinity is larger, and what is no number is not smaller.
    return int(value) if abs(value) <= _MOST and not value % 1 else None


def http_date(text: str) -> datetime | None:
    """The time in UTC that a Date or Retry-After header names; None where nobody can tell, or its year is nonsense."""
    try:
        return _in_range(parsedate_to_datetime(text))
    # The library does not say which errors a text of no date may cause.
    except Exception:
        log.debug("unreadable date in a header: %r", text)
        return None


def _in_range(moment: datetime) -> datetime | None:
    # A zone of -0000, which is legal, and a missing one mean UTC.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment.astimezone(UTC) if _EARLIEST <= moment < _LATEST else None


def as_object(body: Any, doing: str) -> Answer:
    """The body as an object; raises SourceError where it is none."""
    if not isinstance(body, dict):
        raise unexpected(doing, "it is no object")
    return Answer(body, doing)


def as_objects(body: Any, doing: str) -> list[Answer]:
    """The body as a list of objects; raises SourceError where it is none."""
    return Answer({"list": body}, doing).answers("list")


def unexpected(doing: str, what: str) -> SourceError:
    """Our error for a success whose body is of another shape than Salesforce's API gives.

    Args:
        doing: what was asked for, for the message.
        what: what is wrong with the answer.
    """
    return SourceError(
        f"{doing}: the answer is not what Salesforce's API gives: {what}",
        hint="is the domain the host of a Salesforce API, e.g. acme.my.salesforce.com?",
    )


@contextmanager
def interpreting(doing: str) -> Iterator[None]:
    """Whatever goes wrong while an answer is interpreted is a fault of the answer: a SourceError that says so.

    Args:
        doing: what was asked for, for the message.
    """
    try:
        yield
    except IngestrError:
        raise
    except RecursionError:
        raise unexpected(doing, "it is nested too deep") from None
    except MemoryError:
        raise unexpected(doing, "it is too large for memory") from None
    except Exception as error:
        # The error may repeat any text of the answer: the log blots secrets out of it, a traceback would not.
        log.debug("where the answer could not be read:", exc_info=True)
        raise unexpected(doing, f"{type(error).__name__} while reading it: {error}") from None
