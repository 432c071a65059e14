"""Which window a run reads, and what the table covers afterwards: no sequence of intervals leaves a gap."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.core.cursor import LOOKBACK, Contents, StreamState, Window, plan_coverage

START = datetime(2024, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    """A moment so many hours after the start."""
    return START + timedelta(hours=hours)


def state(begins: float | None, ends: float) -> StreamState:
    """What a table covers."""
    return StreamState("Account", None, "S", at(ends), None if begins is None else at(begins))


def interval(start: float | None, end: float | None) -> tuple[datetime | None, datetime | None]:
    """What a user names."""
    return (None if start is None else at(start), None if end is None else at(end))


@pytest.mark.parametrize(
    ("before", "named", "window", "covers", "progresses"),
    [
        (None, None, None, (None, 100), True),
        (None, (10, 20), (10, 20), (10, 20), True),
        (None, (10, 200), (10, 100), (10, 100), True),
        (None, (None, 20), (None, 20), (None, 20), True),
        (state(None, 50), None, (50, 100), (None, 100), True),
        (state(None, 50), (50, 60), (50, 100), (None, 100), True),
        (state(None, 50), (70, 80), (50, 100), (None, 100), True),
        (state(None, 50), (30, 60), (30, 100), (None, 100), True),
        (state(None, 50), (20, 30), (20, 30), (None, 50), False),
        (state(40, 50), (45, 47), (45, 47), (40, 50), False),
        (state(40, 50), (20, 45), (20, 45), (20, 50), True),
        (state(40, 50), (10, 20), (10, 40), (10, 50), True),
        (state(40, 50), (30, 60), (30, 100), (30, 100), True),
        (state(40, 50), None, None, (None, 100), True),
        (state(None, 150), None, (100, 100), (None, 100), True),
    ],
)
def test_windows(
    before: StreamState | None,
    named: tuple[float | None, float | None] | None,
    window: tuple[float | None, float] | None,
    covers: tuple[float | None, float],
    progresses: bool,
) -> None:
    """First runs, ordinary runs, readings again and extensions, at noon of hour 100."""
    result = plan_coverage(before, "S", None if named is None else interval(*named), at(100))
    if window is None:
        assert result.window is None
    else:
        assert result.window is not None
        start, end = window
        overlap = LOOKBACK if before is not None and start in (50, 100) else timedelta()
        assert result.window.start == (None if start is None else at(start) - overlap)
        assert result.window.end == at(end)
    begins, ends = covers
    inclusive = before is None and ends == 20
    assert result.start == (None if begins is None else at(begins))
    assert result.end == at(ends) + timedelta(seconds=1 if inclusive else 0)
    assert result.progresses is progresses


HOURS = st.none() | st.integers(0, 40)
RUNS = st.lists(st.tuples(st.integers(1, 10), st.tuples(HOURS, HOURS)), min_size=1, max_size=8)


@given(RUNS)
def test_no_sequence_of_intervals_leaves_a_gap(runs: list[tuple[int, tuple[int | None, int | None]]]) -> None:
    """Every hour that a table is said to cover was read at or after that hour, whatever intervals were named."""
    known: StreamState | None = None
    read_at: dict[int, int] = {}
    now = 5
    for later, (first, last) in runs:
        now += later
        swapped = first is not None and last is not None and first > last
        named = interval(last, first) if swapped else interval(first, last)
        plan = plan_coverage(known, "S", None if first is last is None else named, at(now))
        for hour in range(-5, now):
            if _holds(plan.window, at(hour)):
                read_at[hour] = now
        if plan.progresses:
            known = StreamState("Account", None, "S", plan.end, plan.start)
            assert plan.end <= at(now)
        assert known is not None
        assert known.cursor_value is not None
        covered = [h for h in range(-5, now) if at(h) < known.cursor_value]
        covered = [h for h in covered if known.covered_from is None or at(h) >= known.covered_from]
        assert [h for h in covered if h not in read_at] == []


def _holds(window: Window | None, moment: datetime) -> bool:
    if window is None:
        return True
    after = window.start is None or moment >= window.start
    return after and (window.end is None or moment < window.end or (window.end_inclusive and moment == window.end))


def test_an_older_copy_is_told_by_its_newest_row() -> None:
    """A table whose newest change or load is older than it was, or is gone, is older than its progress."""
    now = Contents(10, at(5), at(6))
    assert not now.is_older_than(now)
    assert not Contents(5, at(5), at(6)).is_older_than(now)
    assert not Contents(10, at(7), at(8)).is_older_than(now)
    assert Contents(10, at(4), at(6)).is_older_than(now)
    assert Contents(10, at(5), at(5)).is_older_than(now)
    assert Contents(0, None, None).is_older_than(now)
    assert not Contents(0, None, None).is_older_than(Contents(0, None, None))
