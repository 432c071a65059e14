"""Every error this package raises on purpose, filed by what the reader should do about it.

    IngestrError                     exit code
    ├── ConfigurationError           2   correct the command, the URI or an option
    │   └── UnknownNameError         2   a table, column or key that does not exist; names the nearest
    ├── AuthenticationError          3   log in again, or ask for the permission
    │   ├── SessionExpiredError      3   get a new access token
    │   └── AccessError              3   the user may not do this
    ├── SourceError                  4   Salesforce said no, or gave less than it promised
    │   ├── RequestRefusedError      4   an answer with an errorCode
    │   ├── SourceUnavailableError   4   no usable answer after all retries: wait
    │   ├── IncompleteReadError      4   rows promised and rows read differ
    │   ├── MassDeletionError        4   so many rows vanished that the login, not the rows, may be the cause
    │   ├── JobFailedError           4   a Bulk job ended without a result
    │   └── DecodeError              4   a value that does not fit its declared type
    ├── DestinationError             5   the database refused or is out of reach
    ├── QuotaError                   6   the API quota is used up: wait until it refills
    └── DifferenceError              7   a table is not what Salesforce has: load it again

Anything else that reaches the command line is a bug of ours and exits with 70.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from ingestr.flags import Parts, parts_of, spelled
from ingestr.redaction import shown


def _fit(text: str) -> Parts:
    """The text fit to be shown, with the options in it."""
    return tuple(_clean(part) if isinstance(part, str) else part for part in parts_of(text))


def _clean(part: str) -> str:
    """A part fit to be shown, with the spaces by which it is apart from the option before it and behind it."""
    text = shown(part)
    before = " " if part[:1].isspace() and not text[:1].isspace() else ""
    return before + text + (" " if text and part[-1:].isspace() and not text[-1:].isspace() else "")


def one_line(text: str) -> str:
    """The text without line breaks, which Salesforce's messages hold."""
    return " ".join(part for line in text.splitlines() if (part := line.strip()))


class IngestrError(Exception):
    """Base of all expected errors: what happened, in one line, and apart from it a hint what to do.

    Both are made fit to be shown here: much of what they repeat was written by a server, which may repeat a secret or
    send what steers a terminal. An error can be pickled and copied with its arguments, attributes and notes; its cause
    and its traceback stay behind.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self._message = _fit(message)
        self._hint = None if hint is None else _fit(hint)
        super().__init__(spelled(self._message, {}))
        self.hint = None if self._hint is None else spelled(self._hint, {})

    def spell(self, names: Mapping[str, str]) -> None:
        """Call options as the reader does.

        Args:
            names: what options are called, by their flags: ``source_uri`` or ``INGESTR_SOURCE_URI`` for
                ``--source-uri``; an option that is not among them stays a flag.
        """
        self.args = (spelled(self._message, names),)
        self.hint = None if self._hint is None else spelled(self._hint, names)

    def advise(self, hint: str) -> None:
        """Give another hint, as whoever catches the error knows better what to do."""
        self._hint = _fit(hint)
        self.hint = spelled(self._hint, {})

    def add_note(self, note: str) -> None:
        """Add a line that tracebacks show."""
        super().add_note(shown(note))

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by a call of the class, as each has parameters of its own.
        return (_restored, (type(self), self.args, dict(vars(self))))


def _restored(kind: type[IngestrError], arguments: tuple[Any, ...], attributes: Mapping[str, Any]) -> IngestrError:
    error = kind.__new__(kind, *arguments)
    vars(error).update(attributes)
    return error


class ConfigurationError(IngestrError):
    """The command, a URI or an option is wrong; nothing was read or written."""

    exit_code = 2


class UnknownNameError(ConfigurationError):
    """A name that does not exist, with the nearest names that do as its hint.

    Args:
        kind: what it should name.
        name: as the user wrote it.
        known: names that there are, without the prefix.
        where: where it was looked for.
        prefix: stands before the name, in the hint too, but makes no names alike.
        otherwise: the hint where no name is near and they are too many to list.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        where: str = "",
        prefix: str = "",
        otherwise: str | None = None,
    ) -> None:
        by_lower: dict[str, str] = {}
        for candidate in known:
            by_lower.setdefault(candidate.lower(), candidate)
        wanted = name.lower().removeprefix(prefix).strip()
        close = get_close_matches(wanted, by_lower, n=3, cutoff=0.6)
        hint = "did you mean " + ", ".join(prefix + by_lower[c] for c in close) + "?" if close else None
        if hint is None and 0 < len(by_lower) <= 20:
            hint = "known: " + ", ".join(prefix + known_name for known_name in sorted(by_lower.values()))
        super().__init__(f"unknown {kind} {name!r}" + (f" in {where}" if where else ""), hint=hint or otherwise)


class AuthenticationError(IngestrError):
    """The login was refused."""

    exit_code = 3


class SessionExpiredError(AuthenticationError):
    """The session ended and cannot be renewed with what the URI holds."""


class AccessError(AuthenticationError):
    """The logged-in user lacks a permission."""


class SourceError(IngestrError):
    """Salesforce refused, failed, or did not keep a promise."""

    exit_code = 4


class RequestRefusedError(SourceError):
    """An API answer with an ``errorCode``; ``code`` decides what callers do."""

    def __init__(self, message: str, *, code: str, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = shown(code)
        self.status = status


class SourceUnavailableError(SourceError):
    """No usable answer after all retries."""


class IncompleteReadError(SourceError):
    """Fewer or more rows, or other columns, than the source promised."""


class MassDeletionError(SourceError):
    """An unusual share of a table's live rows would be marked, removed, or replaced by nothing."""


class JobFailedError(SourceError):
    """A Bulk job ended as Failed, Aborted, or in a state nobody knows; ``reason`` is Salesforce's own text."""

    def __init__(self, message: str, *, hint: str | None = None, reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = shown(reason)


class DecodeError(SourceError):
    """A value that cannot be read as the type that describe declares."""


class DestinationError(IngestrError):
    """The destination refused, is locked, or is not what the URI says."""

    exit_code = 5


class QuotaError(IngestrError):
    """The org's API quota is used up."""

    exit_code = 6


class DifferenceError(IngestrError):
    """A table was compared with Salesforce, and lacks rows or has too many; nothing was loaded."""

    exit_code = 7
