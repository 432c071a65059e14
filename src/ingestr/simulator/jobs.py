"""Knows the life of a Bulk 2.0 query job, from its creation to its result; must not know HTTP."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from ingestr.simulator.results import CsvResult

# How long one poll waits for a result that is nearly there, so that the number of polls is the same on a slow machine.
_PATIENCE_SECONDS = 5.0
FINISHED = frozenset({"JobComplete", "Failed", "Aborted"})


@dataclass(slots=True)
class Job:
    """One query job; `outcome` is the state that it will end in."""

    id: str
    operation: str
    query: str
    object_name: str
    version: str
    delimiter: str
    line_ending: str
    created: datetime
    pending: Future[CsvResult]
    polls_left: int
    outcome: str = "JobComplete"
    error_message: str | None = None
    state: str = "UploadComplete"
    modified: datetime | None = None
    lock: Lock = field(default_factory=Lock)

    @property
    def result(self) -> CsvResult:
        """The finished result."""
        return self.pending.result()

    def poll(self, now: datetime) -> str:
        """Let the job go on by one look at it, and return its state."""
        with self.lock:
            if self.state in FINISHED:
                return self.state
            if self.polls_left > 0 or self.outcome not in FINISHED:
                self.polls_left -= 1
                self.state = "UploadComplete" if self.outcome == "UploadComplete" else "InProgress"
            elif self.outcome != "JobComplete" or self._ready():
                self.state = self.outcome
            else:
                self.state = "InProgress"
            self.modified = now
            return self.state

    def _ready(self) -> bool:
        try:
            self.pending.result(_PATIENCE_SECONDS)
        except FutureTimeout:
            return False
        except Exception as error:
            self.outcome = self.state = "Failed"
            self.error_message = f"Unexpected exception encountered in query processing: {error}"
        return True


def make_pool() -> ThreadPoolExecutor:
    """Return the threads that run jobs."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="simulated-job")
