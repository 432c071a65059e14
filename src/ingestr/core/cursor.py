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
class Contents:
    """What tells one content of a table from another: an older copy has fewer rows, or an older newest one.

    Args:
        rows: how many there are.
        newest_change: the highest value of the cursor's column, or None.
        newest_load: the latest load timestamp, or None.
    """

    rows: int
    newest_change: datetime | None
    newest_load: datetime | None

    def is_older_than(self, other: "Contents") -> bool:
        """Whether the newest row is older than the newest one was, or is gone."""
        pairs = ((self.newest_change, other.newest_change), (self.newest_load, other.newest_load))
        return any(known is not None and (now is None or now < known) for now, known in pairs)


@dataclass(frozen=True)
class StreamState:
    """What a destination table covers: the end of the last window, never the last row seen.

    Args:
        source_object: what the table holds.
        source_identity: the org that it came from, where the login told it.
        cursor_field: the field that windows are over, or None for a table that is always read whole.
        cursor_value: the end of what is covered, or None with the field.
        covered_from: its beginning: changes since then are here; None where everything is.
        contents: of the table when this was written; None where an earlier version of ingestr wrote it.
        refreshed_at: as of when the table holds values that change without the row's timestamp moving, by the source's
            clock; None where nobody knows.
    """

    source_object: str
    source_identity: str | None
    cursor_field: str | None
    cursor_value: datetime | None
    covered_from: datetime | None = None
    contents: Contents | None = None
    refreshed_at: datetime | None = None


@dataclass(frozen=True)
class Coverage:
    """What a run reads of a table that is read by windows, and what the table covers afterwards.

    Args:
        window: rows to read, or None for all.
        start: the beginning of what is covered then; None where everything is.
        end: its end.
        progresses: whether this is to be kept: not where rows are read again that are covered already.
        reaches_now: whether the window ends at the server's present moment, so that both sides can be compared.
    """

    window: Window | None
    start: datetime | None
    end: datetime
    progresses: bool = True
    reaches_now: bool = True


def plan_coverage(
    state: StreamState | None,
    field: str,
    interval: tuple[datetime | None, datetime | None] | None,
    now: datetime,
    lag: timedelta = LOOKBACK,
) -> Coverage:
    """The window to read, so that what is covered has no gap.

    A window starts ``lag`` before the end of what is covered, because rows become visible after the time that they
    carry, and ends at the server's own clock, because ours may differ. If that clock went back, the older time counts.

    An interval that reaches the end of what is covered, or lies beyond it, is an ordinary run, from its start if that
    is earlier. One that lies wholly inside is a reading again of these rows, which moves no progress. One that begins
    before extends what is covered.

    Args:
        state: what the table covers; None where that is unknown or nothing.
        field: the field that windows are over.
        interval: first and last moment that the user named, both inclusive and either None; None for no interval.
        now: the server's clock.
        lag: how long after the time that they carry rows may become visible.
    """
    covered = state if state is not None and state.cursor_field == field and state.cursor_value is not None else None
    if covered is None or covered.cursor_value is None:
        return _first(field, interval, now)
    end = min(covered.cursor_value, now)
    overlapping = end - lag
    ordinary = Window(field, overlapping, now)
    begins = covered.covered_from
    if interval is None and begins is None:
        return Coverage(ordinary, None, now)
    # Who names no interval wants everything, also of a table that was begun with one.
    start, last = interval or (None, None)
    reaches = last is None or last >= end
    before = begins is not None and (start is None or start < begins)
    if reaches:
        from_ = start if start is None or start < overlapping else overlapping
        window = Window(field, from_, now) if from_ is not None else None
        return Coverage(window, start if before else begins, now)
    if before and begins is not None:
        # Between the interval and what is covered nothing may be left out.
        return Coverage(
            Window(field, start, max(last or begins, begins), end_inclusive=True), start, end, reaches_now=False
        )
    again = Window(field, start, last, end_inclusive=True)
    return Coverage(again, begins, end, progresses=False, reaches_now=False)


def _first(field: str, interval: tuple[datetime | None, datetime | None] | None, now: datetime) -> Coverage:
    """Nothing is covered yet."""
    if interval is None:
        return Coverage(None, None, now)
    start, last = interval
    if last is not None and last < now:
        return Coverage(
            Window(field, start, last, end_inclusive=True), start, last + timedelta(seconds=1), reaches_now=False
        )
    return Coverage(Window(field, start, now) if start is not None else None, start, now)
