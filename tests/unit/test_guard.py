"""When losing rows is unusual, and the run stops."""

import pytest

from ingestr.destinations.base import TableRef
from ingestr.errors import MassDeletionError
from ingestr.run.guard import DeletionGuard

TABLE = TableRef("public", "t")


@pytest.mark.parametrize(
    ("live", "gone", "stops"),
    [
        (0, 0, False),
        (1, 1, False),
        (3, 3, False),
        (4, 4, True),
        (4, 3, False),
        (20, 10, False),
        (20, 11, True),
        (100, 30, False),
        (100, 31, True),
        (1_000_000, 300_000, False),
        (1_000_000, 300_001, True),
        (100, -5, False),
    ],
)
def test_an_unusual_share_stops_the_run(live: int, gone: int, stops: bool) -> None:
    """Small tables may lose most of their rows, larger ones a good part, none but the smallest all."""
    guard = DeletionGuard(TABLE, allowed=False, live=live)
    if stops:
        with pytest.raises(MassDeletionError, match=rf"{gone:,} rows of the {live:,} live ones in public\.t") as caught:
            guard.take(gone, "would go")
        assert "sharing" in str(caught.value.hint)
        assert "--allow-mass-delete" in str(caught.value.hint)
    else:
        guard.take(gone, "would go")
    DeletionGuard(TABLE, allowed=True, live=live).take(gone, "would go")


def test_what_goes_adds_up() -> None:
    """Rows that go for different reasons are one loss."""
    guard = DeletionGuard(TABLE, allowed=False, live=100)
    guard.take(20, "were deleted")
    with pytest.raises(MassDeletionError, match="40 rows"):
        guard.take(20, "are not seen")
