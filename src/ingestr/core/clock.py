"""Time as a dependency: everything that waits or stamps asks a Clock, so that tests need not sleep."""

import time
from datetime import UTC, datetime
from threading import Event
from typing import Protocol


class Clock(Protocol):
    """Wall time, elapsed time, and waiting."""

    def now(self) -> datetime:
        """The current time in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""

    def sleep(self, seconds: float, waking: Event | None = None) -> None:
        """Wait, at most until the event is set."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The current time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float, waking: Event | None = None) -> None:
        """Wait, at most until the event is set."""
        if waking is None:
            time.sleep(seconds)
        else:
            waking.wait(seconds)
