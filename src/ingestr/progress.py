"""How a run talks while it works: to stderr for people, to stdout as JSON lines for programs. Knows no source."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO

from ingestr.core.clock import Clock
from ingestr.core.wording import counted
from ingestr.options import ProgressMode
from ingestr.sources.base import ReadProgress

log = logging.getLogger("ingestr")

_LOG_EVERY = 10.0
_DRAW_EVERY = 0.1


class Progress(Protocol):
    """Told of phases and rows; must cost nothing measurable."""

    def phase(self, text: str) -> None:
        """Something new begins."""

    def reading(self, progress: ReadProgress) -> None:
        """The source says how far its read is."""

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed: its rows and bytes."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


class SilentProgress:
    """Says nothing, except that notes go to the log."""

    def phase(self, text: str) -> None:
        """Something new begins."""

    def reading(self, progress: ReadProgress) -> None:
        """The source says how far its read is."""

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""

    def note(self, text: str) -> None:
        """Something that the user should know."""
        log.warning("%s", text)


class LogProgress(SilentProgress):
    """A line for each phase, and one every ten seconds while rows flow."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows = 0
        self._began = self._said = clock.monotonic()

    def phase(self, text: str) -> None:
        """Something new begins."""
        self._began = self._said = self._clock.monotonic()
        self._rows = 0
        self.say({"event": "phase", "text": text}, text)

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""
        self._rows += rows
        now = self._clock.monotonic()
        if now - self._said >= _LOG_EVERY:
            self._said = now
            rate = self._rows / (now - self._began)
            self.say(
                {"event": "progress", "rows": self._rows, "rows_per_second": round(rate)},
                f"{counted(self._rows, 'row')}, {rate:,.0f} a second",
            )

    def say(self, event: dict[str, Any], text: str) -> None:
        """Say one thing, as an event or as a text."""
        log.info("%s", text)


class JsonProgress(LogProgress):
    """The same as JSON lines on stdout; a load does not fail because nobody reads them any more."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._heard = sys.stdout is not None

    def say(self, event: dict[str, Any], text: str) -> None:
        """Say one thing."""
        if not self._heard:
            return
        try:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            self._heard = False
            log.warning("progress cannot be printed any more, and the run goes on: %s", error)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.say({"event": "note", "text": text}, text)


class BarProgress(SilentProgress):
    """A live line on a terminal."""

    def __init__(self, clock: Clock, status: Any) -> None:
        self._clock = clock
        self._status = status
        self._text = ""
        self._rows = 0
        self._began = self._drawn = clock.monotonic()

    def phase(self, text: str) -> None:
        """Something new begins."""
        self._text, self._rows, self._began = text, 0, self._clock.monotonic()
        self._status.update(text)

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""
        self._rows += rows
        now = self._clock.monotonic()
        if now - self._drawn >= _DRAW_EVERY:
            self._drawn = now
            rate = self._rows / max(now - self._began, 0.001)
            self._status.update(f"{self._text}: {counted(self._rows, 'row')}, {rate:,.0f} a second")


class _Lenient:
    """A terminal that may go away while the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def open_progress(mode: ProgressMode, clock: Clock) -> Iterator[Progress]:
    """The progress of a mode; without a terminal, ``interactive`` is ``log``."""
    if mode is ProgressMode.JSON:
        yield JsonProgress(clock)
    elif mode is ProgressMode.INTERACTIVE and sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        # While the line lives, what is written to stderr goes through its console and above it: the log too.
        terminal: Any = _Lenient(sys.stderr)
        with Console(file=terminal).status("starting") as status:
            yield BarProgress(clock, status)
    else:
        yield LogProgress(clock)
