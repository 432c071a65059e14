"""What a decoded answer must look like before anybody uses it: nobody stumbles over what is amiss."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from ingestr.errors import IngestrError, SourceError


class Answer(dict[str, Any]):
    """A JSON object of Salesforce; a key that is missing from it is an error of the answer, not of ours."""

    def __init__(self, body: Mapping[str, Any], doing: str) -> None:
        super().__init__(body)
        self.doing = doing

    def __missing__(self, key: str) -> NoReturn:
        raise unexpected(self.doing, f"it has no {key!r}")

    def number(self, key: str) -> int:
        """A whole number."""
        try:
            return int(self[key])
        except (TypeError, ValueError):
            raise unexpected(self.doing, f"its {key!r} is no number") from None

    def decimal(self, key: str) -> float:
        """A number that may have a fraction."""
        try:
            return float(self[key])
        except (TypeError, ValueError):
            raise unexpected(self.doing, f"its {key!r} is no number") from None

    def parts(self, key: str) -> list[dict[str, Any]]:
        """A list of objects, as they are."""
        value = self[key]
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise unexpected(self.doing, f"its {key!r} is no list of objects")
        return value

    def answers(self, key: str) -> list["Answer"]:
        """A list of objects of which keys will be asked: for lists that are short."""
        return [Answer(part, self.doing) for part in self.parts(key)]


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
    except Exception as error:
        raise unexpected(doing, f"{type(error).__name__} while reading it") from error
