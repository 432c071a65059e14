"""Windows over a cursor field, and the state that says how far a table has been read."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LOOKBACK = timedelta(minutes=10)


@dataclass(frozen=True)
class Window:
    """A range of a cursor field, times in UTC at whole seconds; ``None`` is open on that side.

    ``start`` is inclusive. ``end`` is exclusive, or inclusive where ``end_inclusive`` says so (intervals that a user
    names are inclusive on both sides).
    """

    field: str
    start: datetime | None
    end: datetime | None
    end_inclusive: bool = False


@dataclass(frozen=True)
class StreamState:
    """How far a destination table has been read: the end of the last window, never the last row seen.

    Args:
        source_object: what the table holds.
        source_identity: the org that it came from, where the login told it.
        cursor_field: the field that windows are over, or None for a table that is always read whole.
        cursor_value: the end of the last window, or None with the field.
    """

    source_object: str
    source_identity: str | None
    cursor_field: str | None
    cursor_value: datetime | None


def next_window(state: StreamState | None, field: str, server_now: datetime) -> Window | None:
    """The window to read now, or None for everything.

    It starts ``LOOKBACK`` before the last one's end, because rows become visible after the time that they carry, and
    ends at the server's own clock, because ours may differ. If that clock went back, the older time counts.
    """
    if state is None or state.cursor_field != field or state.cursor_value is None:
        return None
    return Window(field, min(state.cursor_value, server_now) - LOOKBACK, server_now)
