"""Several downloads at once, handed on in order, never more of them in memory than asked for."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from threading import Event
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY = 0.25


class GivenUpError(Exception):
    """Nobody wants the rows any more."""


def in_order(started: Iterable[Future[T]], ahead: int, stopping: Event) -> Iterator[T]:
    """Results in the order of the futures, with up to ``ahead`` of them running or waiting.

    Args:
        started: starts one piece of work whenever it is asked for the next future.
        ahead: at least 1.
        stopping: set by whoever gives up while this waits.
    """
    waiting: deque[Future[T]] = deque()
    for future in started:
        waiting.append(future)
        if len(waiting) >= ahead:
            yield wait_for(waiting.popleft(), stopping)
    while waiting:
        yield wait_for(waiting.popleft(), stopping)


def wait_for(future: Future[T], stopping: Event) -> T:
    """The future's result; raises GivenUpError soon after ``stopping`` is set, whatever the future does."""
    while True:
        if stopping.is_set():
            raise GivenUpError
        try:
            return future.result(timeout=_LOOK_EVERY)
        except NotYet:
            if future.done():
                raise
