"""Several downloads at once, handed on as they end, never more of them in memory than asked for, and ended in time."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as NotYet
from threading import Event, Lock
from typing import Any, TypeVar

from ingestr.sources.salesforce.http.connections import Line

log = logging.getLogger("ingestr.salesforce")

T = TypeVar("T")

_LOOK_EVERY = 0.25
# Seconds that pieces under way get when another has failed.
_LAST_CHANCE = 10.0
# A thread that is just connecting cannot be woken: it ends by itself, some seconds later.
_LONGEST_END = 5.0


class GivenUpError(Exception):
    """Nobody wants the rows any more."""


def as_they_end(started: Iterable[Future[T]], ahead: int, stopping: Event) -> Iterator[T]:
    """Results as soon as they are there, whatever their order, with up to ``ahead`` of them running or waiting.

    When one fails, those that are under way may end first, for a while: a page that is nearly here is worth keeping for
    the next run.

    Args:
        started: starts one piece of work whenever it is asked for the next future.
        ahead: at least 1.
        stopping: set by whoever gives up while this waits.
    """
    waiting: set[Future[T]] = set()
    for future in started:
        waiting.add(future)
        if len(waiting) >= ahead:
            yield _first_of(waiting, stopping)
    while waiting:
        yield _first_of(waiting, stopping)


def _let_end(waiting: set[Future[T]], stopping: Event) -> None:
    until = time.monotonic() + _LAST_CHANCE
    while not stopping.is_set() and time.monotonic() < until and wait(waiting, _LOOK_EVERY).not_done:
        pass


def _first_of(waiting: set[Future[T]], stopping: Event) -> T:
    """Take the first future that has ended, and give its result, as ``wait_for`` does."""
    while not (done := wait(waiting, _LOOK_EVERY, FIRST_COMPLETED).done):
        if stopping.is_set():
            raise GivenUpError
    future = done.pop()
    waiting.remove(future)
    try:
        return wait_for(future, stopping)
    except Exception:
        _let_end(waiting, stopping)
        raise


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
        except Exception:
            if stopping.is_set():
                # It failed because it was sent away.
                raise GivenUpError from None
            raise


class Pool(ThreadPoolExecutor):
    """Threads of one kind of work; who gives them work after their end is told that nobody wants it."""

    def __init__(self, name: str, size: int, begin: Callable[[], None]) -> None:
        super().__init__(size, name, begin)
        self.under_way: set[Future[Any]] = set()

    def submit(self, work: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """Start some work when a thread is free."""
        try:
            future = super().submit(work, *args, **named)
        except RuntimeError:
            raise GivenUpError from None
        self.under_way.add(future)
        future.add_done_callback(self.under_way.discard)
        return future


class Workers:
    """The threads of one read: none of them outlives it.

    Args:
        open_line: makes connections for these threads alone, when there is a first thread.
    """

    def __init__(self, open_line: Callable[[], Line]) -> None:
        self._open_line = open_line
        self._line: Line | None = None
        self._pools: list[Pool] = []
        self._ending = Lock()

    def pool(self, name: str, size: int) -> Pool:
        """Threads of a name, up to so many; they start when there is work."""
        if self._line is None:
            self._line = self._open_line()
        pool = Pool(name, size, self._line.use)
        self._pools.append(pool)
        return pool

    def end(self) -> None:
        """End all threads, and wait until they have ended; harmless when repeated, by another thread too."""
        with self._ending:
            if self._line is None:
                return
            for pool in self._pools:
                pool.shutdown(wait=False, cancel_futures=True)
            until = time.monotonic() + _LONGEST_END
            while (under_way := self._under_way()) and time.monotonic() < until:
                # Again and again: a thread may have been between two requests.
                self._line.hang_up()
                wait(under_way, _LOOK_EVERY)
            if under_way:
                log.debug("%d threads are still ending", len(under_way))
            for pool in self._pools:
                pool.shutdown(wait=not under_way)
            self._line.close()
            self._line = None

    def _under_way(self) -> list[Future[Any]]:
        return [future for pool in self._pools for future in list(pool.under_way) if not future.done()]
