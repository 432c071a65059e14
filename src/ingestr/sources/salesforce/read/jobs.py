"""Bulk 2.0 query jobs: made, waited for, and removed. Knows nothing of the rows that they give."""

import logging
import threading
from collections.abc import Callable
from typing import Self

from ingestr.core.clock import Clock
from ingestr.errors import IngestrError, JobFailedError, RequestRefusedError
from ingestr.sources.base import ReadProgress
from ingestr.sources.salesforce.http.checks import id_in, rows_in, text_in
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.read.pages import Workers

log = logging.getLogger("ingestr.salesforce")

_FIRST_POLL, _LONGEST_POLL, _POLL_GROWTH = 0.2, 60.0, 1.5
_POLL_LIMIT = 24 * 3600.0
_WAITING_STATES = ("UploadComplete", "InProgress")
_GOOD_STATE = "JobComplete"
_END_STATES = (_GOOD_STATE, "Failed", "Aborted")


class QueryJob:
    """One query job, from its creation to ``delete``.

    Args:
        client: the org.
        clock: waits between polls.
        job_id: an Id whose form has been checked: it becomes part of addresses.
        object_name: the object whose rows the job gives.

    Attributes:
        stopping: set when nobody wants the rows any more.
        workers: the threads that read the job's rows.
    """

    def __init__(self, client: SalesforceClient, clock: Clock, job_id: str, object_name: str) -> None:
        self.id = job_id
        self.object_name = object_name
        self.path = client.path(f"jobs/query/{job_id}")
        self.stopping = threading.Event()
        self.workers = Workers(client.open_line)
        self._client = client
        self._clock = clock
        self._state: str | None = None
        self._deleted = False

    @classmethod
    def create(
        cls, client: SalesforceClient, clock: Clock, soql: str, object_name: str, *, include_deleted: bool
    ) -> Self:
        """Make a job; Salesforce checks the query now and refuses objects and fields that Bulk does not serve.

        Raises:
            RequestRefusedError, AccessError: refused; REST may still work.
        """
        body = {"operation": "queryAll" if include_deleted else "query", "query": soql, "contentType": "CSV"}
        doing = f"creating a Bulk job for {object_name}"
        # Asked again after a failure, Salesforce may make a second job: it costs one of 10,000 a day, and no harm.
        job_id = id_in(client.send_json("POST", client.path("jobs/query"), doing, body, repeatable=True), "id")
        log.debug("Bulk job %s created for %s", job_id, object_name)
        log.debug("had the request to be repeated, a job that nobody uses may stay at Salesforce for 7 days")
        made = cls(client, clock, job_id, object_name)
        made._state = _WAITING_STATES[0]
        return made

    def is_alive(self) -> bool:
        """Whether the job is still there, is one for this object, and may yet give its rows."""
        try:
            job = self._client.get_json(self.path, f"looking for Bulk job {self.id}")
        except RequestRefusedError as error:
            log.debug("%s", error)
            return False
        if text_in(job, "object", self.object_name).lower() != self.object_name.lower():
            log.debug("Bulk job %s is not one for %s", self.id, self.object_name)
            return False
        self._state = text_in(job, "state")
        return self._state == _GOOD_STATE or self._state in _WAITING_STATES

    def wait(self, report: Callable[[ReadProgress], None] = lambda progress: None) -> int | None:
        """Poll until the job is complete.

        Args:
            report: told at every poll how far the job is.

        Returns:
            The rows it holds; None where Salesforce does not tell.

        Raises:
            JobFailedError: any other end.
        """
        pause, deadline = _FIRST_POLL, self._clock.monotonic() + _POLL_LIMIT
        while True:
            job = self._client.get_json(self.path, f"waiting for Bulk job {self.id}")
            self._state = state = text_in(job, "state")
            rows = rows_in(job, "numberRecordsProcessed")
            if state == _GOOD_STATE:
                log.debug("Bulk job %s complete: %s rows", self.id, "unknown" if rows is None else rows)
                report(ReadProgress(f"reading {self.object_name}", rows, rows))
                return rows
            if state not in _WAITING_STATES:
                raise self._failed(state, text_in(job, "errorMessage", "") or "Salesforce gives no reason")
            report(ReadProgress(f"Bulk job {self.id} is {state}", rows))
            if self._clock.monotonic() > deadline:
                raise JobFailedError(f"Bulk job {self.id} for {self.object_name} is still {state} after 24 hours")
            self._clock.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)

    def _failed(self, state: str, reason: str) -> JobFailedError:
        return JobFailedError(
            f"Bulk job {self.id} for {self.object_name} ended as {state}: {reason}",
            hint="run again; if it fails again, exclude fields or give the job's id to Salesforce's support",
            reason=reason,
        )

    def stop(self) -> None:
        """End what reads the job's rows, in this thread's sight; the job stays at Salesforce."""
        self.stopping.set()
        self.workers.end()

    def delete(self) -> None:
        """Delete the job, or abort it first if it still runs; that failing is no failure, and once is enough."""
        self.stop()
        if self._deleted:
            return
        self._deleted = True
        try:
            if self._state is None:
                self.is_alive()
            if self._state is None:
                return
            if self._state not in _END_STATES:
                self._abort()
            self._client.send_json("DELETE", self.path, f"deleting Bulk job {self.id}", once=True)
        except IngestrError as failure:
            log.debug("Bulk job %s stays until Salesforce removes it after 7 days: %s", self.id, failure)

    def _abort(self) -> None:
        doing = f"aborting Bulk job {self.id}"
        try:
            self._client.send_json("PATCH", self.path, doing, {"state": "Aborted"}, once=True)
        except RequestRefusedError as failure:
            # It may have ended meanwhile, and can be deleted then.
            log.debug("%s", failure)
