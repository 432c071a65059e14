"""What an answer says of rows, Ids, names and addresses, checked before it leads anywhere.

Ids and names go into queries, addresses into requests: each must have the form that Salesforce gives it. A number that
an answer does not know (absent, null, or -1 as for big objects) is None, never a number.
"""

import re
from urllib.parse import unquote

from ingestr.errors import IncompleteReadError, SourceError
from ingestr.sources.salesforce.http.shapes import Answer, unexpected

# No address of Salesforce is nearly as long: together with the headers it must fit 16,384 bytes.
_LONGEST_ADDRESS = 8_000
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_NAME = re.compile(r"[^\W\d_]\w*")
_ADDRESS = re.compile(r"/services/[!-\[\]-~]+")
_LOCATOR = re.compile(r"[!-~]+")
_NUMBER = re.compile(r"-?[0-9]{1,18}")
# NUL, and halves of surrogate pairs, which JSON can spell and UTF-8 cannot.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]")
_MOST_SHOWN = 60
# Rows may all be filtered out of a page, hardly of so many in a row.
_MOST_EMPTY_PAGES = 20


def is_id(text: object) -> bool:
    """Whether this is an Id of 15 or 18 characters."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None and text.isascii()


def is_version(text: object) -> bool:
    """Whether this is an API version like ``64.0``."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def id_in(answer: Answer, key: str = "Id") -> str:
    """The Id under a key; raises SourceError where it is none."""
    value = answer[key]
    if not is_id(value):
        raise unexpected(answer.doing, f"its {key!r} is no Id: {_shown(value)}")
    return str(value)


def name_in(answer: Answer, key: str = "name") -> str:
    """The API name under a key; raises SourceError where it is none."""
    value = answer[key]
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise unexpected(answer.doing, f"its {key!r} is no API name: {_shown(value)}")
    return value


def text_in(answer: Answer, key: str, default: str | None = None) -> str:
    """The text under a key; ``default`` where it is absent or null. Raises SourceError where it is none."""
    value = answer.get(key, default) if default is not None else answer[key]
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise unexpected(answer.doing, f"its {key!r} is no text: {_shown(value)}")
    return value


def words_in(answer: Answer, key: str) -> str:
    """The text for people under a key, without what no database takes as text; empty where it is absent or null.

    Raises:
        SourceError: it is no text.
    """
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text_in(answer, key, ""))


def rows_in(answer: Answer, key: str) -> int | None:
    """A number of rows; None where the answer does not know it. Raises SourceError where it is no number."""
    value = answer.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise unexpected(answer.doing, f"its {key!r} is no number of rows: {_shown(value)}")
    rows = int(value)
    return rows if rows >= 0 else None


def address(value: object, doing: str) -> str:
    """A path under ``/services/`` of the same host; raises SourceError for anything else."""
    if (
        not isinstance(value, str)
        or len(value) > _LONGEST_ADDRESS
        or not _ADDRESS.fullmatch(value)
        or "#" in value
        or ".." in unquote(value).replace("\\", "/").partition("?")[0].split("/")
    ):
        raise unexpected(doing, f"it leads to an address that is none of its API: {_shown(value)}")
    return value


def locator(text: str, doing: str) -> str | None:
    """Where the next page begins, from the header ``Sforce-Locator``; None after the last page."""
    if text in ("", "null"):
        return None
    if len(text) > _LONGEST_ADDRESS or not _LOCATOR.fullmatch(text):
        raise unexpected(doing, f"its Sforce-Locator is none: {_shown(text)}")
    return text


def rows_of_header(text: str) -> int | None:
    """The number of rows by the header ``Sforce-NumberOfRecords``; None where it tells none."""
    return int(text) if text.isascii() and _NUMBER.fullmatch(text) and not text.startswith("-") else None


def encoding_of(header: str, doing: str) -> str:
    """How a body is compressed, by the header ``Content-Encoding``: ``gzip``, or empty for not at all.

    Raises:
        SourceError: in another way, which is named.
    """
    names = [name.strip().lower() for name in header.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return ""
    if names not in (["gzip"], ["x-gzip"]):
        raise SourceError(
            f"{doing}: the answer is encoded as {', '.join(names)}, and gzip was asked for",
            hint="does a proxy on the way change what Salesforce sends?",
        )
    return "gzip"


class Trail:
    """The way through the pages of one read, which must not lead back to a page, nor through empty ones without end.

    Args:
        doing: what is read, for messages.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._seen: set[str] = set()
        self._empty = 0

    def follow(self, place: str) -> None:
        """Go to a place; raises IncompleteReadError where the way has led there before."""
        if place in self._seen:
            raise _endless(f"{self._doing}: a page leads to one that was read before")
        self._seen.add(place)

    def pass_page(self, rows: int) -> None:
        """A page of so many rows has been read."""
        self._empty = 0 if rows else self._empty + 1

    def go_on(self) -> None:
        """There is another page; raises IncompleteReadError where too many before it were empty."""
        if self._empty > _MOST_EMPTY_PAGES:
            raise _endless(f"{self._doing}: {self._empty} empty pages in a row say that more rows follow")


def _endless(what: str) -> IncompleteReadError:
    return IncompleteReadError(what, hint="run again; if it stays, tell Salesforce's support: this read has no end")


def _shown(value: object) -> str:
    return ascii(value)[:_MOST_SHOWN]
