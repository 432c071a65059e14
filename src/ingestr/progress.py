"""How a run talks while it works: to stderr for people, to stdout as JSON lines for programs. Knows no source.

What is known of a read is kept in one place, and each mode shows the same of it: a bar on a terminal, a line in the log
when something new begins and every ten seconds, events as JSON.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ingestr.core.clock import Clock
from ingestr.core.wording import clock_time, counted
from ingestr.option_table import ProgressMode
from ingestr.redaction import shown

if TYPE_CHECKING:
    # The command line needs the modes before it needs what this imports.
    from ingestr.sources.base import ReadProgress

log = logging.getLogger("ingestr")

_SAY_EVERY = 10.0
_DRAW_EVERY = 0.1
_BAR_WIDTH = 24


class Progress(Protocol):
    """Told of phases and rows; must cost nothing measurable."""

    def phase(self, text: str) -> None:
        """Something new begins."""

    def reading(self, progress: "ReadProgress") -> None:
        """The source says how far its read is."""

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed: its rows and bytes."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


class SilentProgress:
    """Says nothing, except that notes go to the log."""

    def phase(self, text: str) -> None:
        """Something new begins."""

    def reading(self, progress: "ReadProgress") -> None:
        """The source says how far its read is."""

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""

    def note(self, text: str) -> None:
        """Something that the user should know."""
        log.warning("%s", text)


class Reading:
    """What is known of the read of one phase: what flowed, of how many, and what the source is doing.

    Args:
        clock: elapsed time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin("starting")

    def begin(self, text: str) -> None:
        """Something new: nothing of it has flowed."""
        self._phase = self._doing = text
        self.rows = self.batches = self._first = 0
        self.ready: int | None = None
        self._total: int | None = None
        self._began = self._clock.monotonic()

    def tell(self, progress: "ReadProgress") -> bool:
        """What the source says; returns whether it is doing something else than before."""
        changed = progress.phase != self._doing
        self._doing = progress.phase
        self.ready = progress.rows
        self._total = progress.total if progress.total is not None else self._total
        return changed

    def flow(self, rows: int) -> None:
        """A batch has passed."""
        if not self.batches:
            # How fast rows flow is measured from the first of them: before it the source made them ready.
            self._first, self._began = rows, self._clock.monotonic()
        self.rows += rows
        self.batches += 1

    @property
    def text(self) -> str:
        """What is going on: when rows flow, what the source did to make them ready is over."""
        return self._phase if self.batches else self._doing

    @property
    def total(self) -> int | None:
        """Rows that will flow in all; None where nobody knows, or more flowed than was said."""
        return self._total if self._total is not None and self.rows <= self._total else None

    @property
    def rate(self) -> float | None:
        """Rows a second; None before a second batch has passed."""
        elapsed = self._clock.monotonic() - self._began
        return (self.rows - self._first) / elapsed if self.rows > self._first and elapsed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate."""
        return (self.total - self.rows) / self.rate if self.total is not None and self.rate else None

    @property
    def facts(self) -> str:
        """Rows of how many, the rate, and the time left, as far as they are known."""
        if not self.batches:
            rows = counted(self.ready, "row") + " ready" if self.ready is not None else ""
            return f"{rows} of {self.total:,}" if rows and self.total else rows
        rows = f"{self.rows:,} of {counted(self.total, 'row')}" if self.total else counted(self.rows, "row")
        rate = f", {self.rate:,.0f} a second" if self.rate else ""
        return rows + rate + (f", {clock_time(self.seconds_left)} left" if self.seconds_left is not None else "")

    @property
    def event(self) -> dict[str, Any]:
        """The same as an event."""
        return {
            "event": "progress",
            "phase": self.text,
            "rows": self.rows,
            "total": self.total,
            "ready": self.ready,
            "batches": self.batches,
            "rows_per_second": round(self.rate) if self.rate else None,
            "seconds_left": round(self.seconds_left) if self.seconds_left is not None else None,
        }


class LogProgress(SilentProgress):
    """A line for each phase, one when the source does something else, and one every ten seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reading = Reading(clock)
        self._said = clock.monotonic()

    def phase(self, text: str) -> None:
        """Something new begins."""
        self._said = self._clock.monotonic()
        self._reading.begin(text)
        self.say({"event": "phase", "text": text}, text)

    def reading(self, progress: "ReadProgress") -> None:
        """The source says how far its read is."""
        self._show(now=self._reading.tell(progress))

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""
        self._reading.flow(rows)
        self._show()

    def _show(self, *, now: bool = False) -> None:
        moment = self._clock.monotonic()
        if now or moment - self._said >= _SAY_EVERY:
            self._said = moment
            reading = self._reading
            self.say(reading.event, f"{reading.text}: {reading.facts}" if reading.facts else reading.text)

    def say(self, event: dict[str, Any], text: str) -> None:
        """Say one thing, as an event or as a text."""
        log.info("%s", text)


class JsonProgress(LogProgress):
    """The same as JSON lines on stdout; a load does not fail because nobody reads them any more.

    Besides its own events there are ``start``, ``log`` (what the log mode says), ``progress``, and exactly one ``end``,
    as whoever reads the lines waits for it.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._heard = sys.stdout is not None
        self._lock = Lock()
        self._began = clock.monotonic()
        self._rows = self._batches = 0
        self._open = True

    def phase(self, text: str) -> None:
        """Something new begins; how much flowed before it is said, however quick that was."""
        if self._reading.batches:
            self._show(now=True)
        super().phase(text)

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""
        self._rows += rows
        self._batches += 1
        super().rows(rows, size)

    def say(self, event: dict[str, Any], text: str) -> None:
        """Say one thing."""
        self.emit(event)
        self.log("info", text)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self.emit({"event": "note", "text": text})
        self.log("warning", text)

    def log(self, level: str, text: str) -> None:
        """What the log mode would say."""
        self.emit({"event": "log", "level": level, "message": text})

    def end(self, error: str | None, *, rows: int | None = None, code: int = 0) -> None:
        """The last event, once.

        Args:
            error: what went wrong.
            rows: rows read, if that is known better than by counting what passed.
            code: the exit code.
        """
        if not self._open:
            return
        self._open = False
        self.emit(
            {
                "event": "end",
                "status": "success" if error is None else "failed",
                "rows": self._rows if rows is None else rows,
                "batches": self._batches,
                "duration_sec": round(self._clock.monotonic() - self._began, 3),
                "error": error,
                "exit_code": code,
            }
        )

    def emit(self, event: dict[str, Any]) -> None:
        """Write one line, while anybody reads."""
        if not self._heard:
            return
        clean = {name: shown(value) if isinstance(value, str) else value for name, value in event.items()}
        try:
            with self._lock:
                sys.stdout.write(json.dumps(clean) + "\n")
                sys.stdout.flush()
        except (OSError, ValueError) as error:
            self._heard = False
            log.warning("progress cannot be printed any more, and the run goes on: %s", error)


class _Events(logging.Handler):
    """News and warnings of the log as events."""

    def __init__(self, progress: JsonProgress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.log(record.levelname.lower(), record.getMessage())


class BarProgress(SilentProgress):
    """A live line on a terminal.

    Args:
        clock: elapsed time.
        bar: ``rich.progress.Progress`` with a field ``facts``.
        name: what stands before each text, where there are several such lines.
    """

    def __init__(self, clock: Clock, bar: Any, name: str = "") -> None:
        self._clock = clock
        self._bar = bar
        self._name = name
        self._reading = Reading(clock)
        self._total: int | None = None
        self._task = bar.add_task(self._reading.text, total=None, facts="")
        self._drawn = clock.monotonic()

    def phase(self, text: str) -> None:
        """Something new begins."""
        self._reading.begin(text)
        self._draw()

    def reading(self, progress: "ReadProgress") -> None:
        """The source says how far its read is."""
        self._reading.tell(progress)
        self._draw()

    def rows(self, rows: int, size: int) -> None:
        """A batch has passed."""
        self._reading.flow(rows)
        if self._clock.monotonic() - self._drawn >= _DRAW_EVERY:
            self._draw()

    def _draw(self) -> None:
        self._drawn = self._clock.monotonic()
        reading = self._reading
        done = reading.rows if reading.batches else reading.ready or 0
        text, total = shown(f"{self._name}: {reading.text}" if self._name else reading.text), reading.total
        if total is None and self._total is not None:
            # Rich keeps the total that a bar has when it is given None: one of no known length is begun anew.
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(text, total=None, facts=reading.facts)
        self._total = total
        self._bar.update(self._task, description=text, completed=done, total=total, facts=reading.facts)

    def remove(self) -> None:
        """Take the line away."""
        self._bar.remove_task(self._task)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        super().note(f"{self._name}: {text}" if self._name else text)


class _Lenient:
    """A terminal that may go away while the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_terminal() -> bool:
    """Whether lines can be drawn on stderr again and again."""
    return _is_terminal(sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a line can be drawn there again and again."""
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def open_bar() -> Iterator[Any]:
    """A live display on stderr, with a field ``facts`` for each line."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    terminal: Any = _Lenient(sys.stderr)
    # One line however narrow the terminal is, as what does not fit is left out; and no markup, as texts hold brackets.
    bar = Bar(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="crop")),
        BarColumn(_BAR_WIDTH),
        TextColumn("{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True, overflow="crop")),
        console=Console(file=terminal, markup=False, emoji=False, highlight=False),
        refresh_per_second=5,
        transient=True,
        redirect_stdout=_is_terminal(sys.stdout),
    )
    # While the line lives, what is written to stderr goes through its console and above it: the log too.
    with bar:
        yield bar


@contextmanager
def events_of_log(clock: Clock, events: JsonProgress | None) -> Iterator[JsonProgress]:
    """JSON lines, what the log says among them.

    Args:
        clock: elapsed time.
        events: writes the lines, where somebody does already and sees to their end too.
    """
    shown = events or JsonProgress(clock)
    handler = _Events(shown)
    log.addHandler(handler)
    try:
        yield shown
    except BaseException as error:
        if events is None:
            shown.end(str(error) or type(error).__name__)
        raise
    finally:
        log.removeHandler(handler)
    if events is None:
        shown.end(None)


@contextmanager
def open_progress(mode: ProgressMode, clock: Clock, events: JsonProgress | None = None) -> Iterator[Progress]:
    """The progress of a mode; without a terminal, ``interactive`` is ``log``.

    Args:
        mode: how to talk.
        clock: elapsed time.
        events: writes the JSON lines, where somebody does already and sees to their end too.
    """
    if mode is ProgressMode.JSON:
        with events_of_log(clock, events) as shown:
            yield shown
    elif mode is ProgressMode.INTERACTIVE and is_terminal():
        with open_bar() as bar:
            yield BarProgress(clock, bar)
    else:
        yield LogProgress(clock)
