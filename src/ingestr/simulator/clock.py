"""Knows what time it is in the org; must not know what anybody does with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock

# Some days or years more or less than the clock's are times, too.
_EARLIEST, _LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Clock:
    """The org's clock: real time, shifted or frozen at will."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._offset = timedelta(0)
        self._frozen: datetime | None = None

    def now(self) -> datetime:
        """Return the org's time, in UTC."""
        with self._lock:
            return self._frozen if self._frozen is not None else datetime.now(UTC) + self._offset

    def set(self, moment: datetime) -> None:
        """Make it `moment` now; time goes on from there.

        Raises:
            ValueError: `moment` is not between the years 1000 and 9000.
        """
        there = _checked(_utc(moment))
        with self._lock:
            self._frozen = None
            self._offset = there - datetime.now(UTC)

    def freeze(self, moment: datetime | None = None) -> None:
        """Stop the clock, at `moment` or where it is."""
        stop = _checked(_utc(moment)) if moment is not None else self.now()
        with self._lock:
            self._frozen = stop

    def advance(self, seconds: float) -> None:
        """Move the clock on (or back, when negative), frozen or not."""
        step = timedelta(seconds=seconds)
        _checked(self.now() + step)
        with self._lock:
            if self._frozen is not None:
                self._frozen += step
            else:
                self._offset += step

    def reset(self) -> None:
        """Go back to real time."""
        with self._lock:
            self._frozen = None
            self._offset = timedelta(0)


def _checked(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError(f"the clock shows the years 1000 to 9000, not {moment.isoformat()}")
    return moment


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
