"""Several downloads at once, handed on in order, never more of them in memory than asked for."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_order(started: Iterable[Future[T]], ahead: int) -> Iterator[T]:
    """Results in the order of the futures, with up to ``ahead`` of them running or waiting.

    Args:
        started: starts one piece of work whenever it is asked for the next future.
        ahead: at least 1.
    """
    waiting: deque[Future[T]] = deque()
    for future in started:
        waiting.append(future)
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
