"""How a session of many tables talks: each table by the progress of its mode, with its name, and how many are done."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, Protocol

from ingestr.core.clock import Clock
from ingestr.core.wording import counted
from ingestr.errors import IngestrError
from ingestr.option_table import ProgressMode
from ingestr.progress import BarProgress, JsonProgress, LogProgress, Progress, events_of_log, is_terminal, open_bar

log = logging.getLogger("ingestr")


class SessionProgress(Protocol):
    """Told of the tables of a session, by any number of threads."""

    def expect(self, tables: int) -> None:
        """So many tables are to be copied."""

    def table(self, name: str) -> AbstractContextManager[Progress]:
        """The progress of one table, while it is on its way."""

    def done(self, name: str, error: IngestrError | None) -> None:
        """A table has ended."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


class _Tables:
    """How many tables have ended; notes and failures go to the log."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._expected = self._ended = 0

    def expect(self, tables: int) -> None:
        """So many tables are to be copied."""
        self._expected += tables

    def done(self, name: str, error: IngestrError | None) -> None:
        """A table has ended."""
        with self._lock:
            self._ended += 1
            self.say_done(name, error)

    @property
    def so_far(self) -> str:
        """How many tables have ended."""
        return f"{self._ended:,} of {counted(self._expected, 'table')}"

    def say_done(self, name: str, error: IngestrError | None) -> None:
        """Say that a table has ended."""
        if error is not None:
            log.warning("%s failed: %s", name, error)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        log.warning("%s", text)


class _Named(LogProgress):
    """One table's progress in the log, with its name, and as events where somebody reads these."""

    def __init__(self, clock: Clock, name: str, events: JsonProgress | None) -> None:
        super().__init__(clock)
        self._name = name
        self._events = events

    def say(self, event: dict[str, Any], text: str) -> None:
        """Say one thing."""
        if self._events is not None:
            self._events.emit({**event, "table": self._name})
        super().say(event, f"{self._name}: {text}")

    def note(self, text: str) -> None:
        """Something that the user should know."""
        if self._events is not None:
            self._events.emit({"event": "note", "text": text, "table": self._name})
        log.warning("%s: %s", self._name, text)


class LogTables(_Tables):
    """A line for each phase of each table, and one when it has ended."""

    @contextmanager
    def table(self, name: str) -> Iterator[Progress]:
        """The progress of one table."""
        yield _Named(self._clock, name, None)

    def say_done(self, name: str, error: IngestrError | None) -> None:
        """Say that a table has ended."""
        if error is None:
            log.info("%s is done (%s)", name, self.so_far)
        else:
            log.warning("%s failed: %s (%s)", name, error, self.so_far)


class JsonTables(LogTables):
    """The same as JSON lines, each with the table that it is about."""

    def __init__(self, clock: Clock, events: JsonProgress) -> None:
        super().__init__(clock)
        self._events = events

    @contextmanager
    def table(self, name: str) -> Iterator[Progress]:
        """The progress of one table."""
        yield _Named(self._clock, name, self._events)

    def say_done(self, name: str, error: IngestrError | None) -> None:
        """Say that a table has ended."""
        status = "success" if error is None else "failed"
        told = {"error": None if error is None else str(error), "done": self._ended, "expected": self._expected}
        self._events.emit({"event": "table", "table": name, "status": status, **told})
        super().say_done(name, error)

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self._events.note(text)


class BarTables(_Tables):
    """A line for each table on its way, and one for all of them.

    Args:
        clock: elapsed time.
        bar: ``rich.progress.Progress`` with a field ``facts``.
    """

    def __init__(self, clock: Clock, bar: Any) -> None:
        super().__init__(clock)
        self._bar = bar
        self._all = bar.add_task("tables", total=None, facts="")

    def expect(self, tables: int) -> None:
        """So many tables are to be copied."""
        super().expect(tables)
        self._bar.update(self._all, total=self._expected, facts=self.so_far)

    @contextmanager
    def table(self, name: str) -> Iterator[Progress]:
        """The progress of one table."""
        drawn = BarProgress(self._clock, self._bar, name)
        try:
            yield drawn
        finally:
            drawn.remove()

    def say_done(self, name: str, error: IngestrError | None) -> None:
        """Say that a table has ended."""
        super().say_done(name, error)
        self._bar.update(self._all, completed=self._ended, facts=self.so_far)


@contextmanager
def open_session_progress(
    mode: ProgressMode, clock: Clock, events: JsonProgress | None = None
) -> Iterator[SessionProgress]:
    """The progress of a mode, as ``open_progress`` opens that of one table."""
    if mode is ProgressMode.JSON:
        with events_of_log(clock, events) as shown:
            yield JsonTables(clock, shown)
    elif mode is ProgressMode.INTERACTIVE and is_terminal():
        with open_bar() as bar:
            yield BarTables(clock, bar)
    else:
        yield LogTables(clock)
