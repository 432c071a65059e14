"""Several pieces of work at once: handed on as they end, never more than asked for, left once nobody wants them."""

from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.sources.salesforce.read.pages import GivenUpError, as_they_end


def ended(result: int) -> Future[int]:
    """Work that is done."""
    future: Future[int] = Future()
    future.set_result(result)
    return future


def test_what_ends_first_is_handed_on_first() -> None:
    """A slow piece keeps nobody waiting for those that were begun after it."""
    slow: Future[int] = Future()
    results = as_they_end([slow, ended(2), ended(3)], 2, Event())
    assert [next(results), next(results)] == [2, 3]
    slow.set_result(1)
    assert list(results) == [1]


@given(st.integers(0, 30), st.integers(1, 6))
def test_never_more_at_once_than_asked_for(pieces: int, ahead: int) -> None:
    """Every piece comes once; the next is begun when another has been taken."""
    taken: set[int] = set()

    def started() -> Iterator[Future[int]]:
        for piece in range(pieces):
            assert piece - len(taken) < ahead
            yield ended(piece)

    for piece in as_they_end(started(), ahead, Event()):
        assert piece not in taken
        taken.add(piece)
    assert taken == set(range(pieces))


def test_an_error_comes_as_it_was() -> None:
    """A piece that fails ends the rest."""
    failed: Future[int] = Future()
    failed.set_exception(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        list(as_they_end([failed], 1, Event()))


def test_what_is_under_way_ends_before_an_error() -> None:
    """A page that is nearly here when another fails is worth keeping: it may end first."""
    failed: Future[int] = Future()
    failed.set_exception(ValueError("broken"))
    slow: Future[int] = Future()
    timer = Timer(0.05, slow.set_result, [1])
    timer.start()
    with pytest.raises(ValueError, match="broken"):
        list(as_they_end([slow, failed], 2, Event()))
    assert slow.done()
    timer.join()


@pytest.mark.parametrize("done", [True, False])
def test_nobody_waits_for_what_is_not_wanted(done: bool) -> None:
    """Once the reader has given up, no piece is handed on, be it done or not."""
    stopping = Event()
    stopping.set()
    with pytest.raises(GivenUpError):
        list(as_they_end([ended(1) if done else Future()], 1, stopping))
