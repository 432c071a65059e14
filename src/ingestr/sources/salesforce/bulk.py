"""Reads rows through Bulk 2.0 query jobs: create, poll, several pages in flight, check, delete."""

import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import pyarrow as pa
from isal import igzip
from isal.igzip_lib import IsalError

from ingestr.core.clock import Clock
from ingestr.errors import IncompleteReadError, IngestrError, JobFailedError, RequestRefusedError, SourceError
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.decode import decode_csv
from ingestr.sources.salesforce.pages import GivenUpError, in_order, wait_for

log = logging.getLogger("ingestr.salesforce")

_FIRST_POLL, _LONGEST_POLL, _POLL_GROWTH = 0.2, 60.0, 1.5
_POLL_LIMIT = 24 * 3600.0
_FETCHES = 4
_RESULT_PAGES_SINCE = 58.0
_WAITING_STATES = ("UploadComplete", "InProgress")
_DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, IsalError)  # type: ignore[assignment]
_GOOD_STATE, _BAD_STATES = "JobComplete", ("Failed", "Aborted")


@dataclass(frozen=True)
class RawPage:
    """A page as it came: the body, still compressed if it was, and what its headers promised."""

    url: str
    body: bytes
    encoding: str
    rows: int | None

    def text(self) -> bytes:
        """The CSV; raises IncompleteReadError where the body is cut short or damaged."""
        if self.encoding != "gzip":
            # Nothing but an open quote tells that an uncompressed body without a length was cut.
            if self.body.count(b'"') % 2:
                raise IncompleteReadError("a page of results is cut short")
            return self.body
        try:
            text: bytes = igzip.decompress(self.body)
        except _DAMAGED as error:
            raise IncompleteReadError(f"a compressed page of results is damaged: {error}") from None
        return text


class QueryJob:
    """One query job, from its creation to ``close``."""

    def __init__(self, client: SalesforceClient, clock: Clock, job_id: str, object_name: str) -> None:
        self._client = client
        self._clock = clock
        self._object = object_name
        self._path = client.path(f"jobs/query/{job_id}")
        self._stopping = threading.Event()
        self._done = False
        self.id = job_id

    @classmethod
    def create(
        cls, client: SalesforceClient, clock: Clock, soql: str, object_name: str, *, include_deleted: bool
    ) -> Self:
        """Make a job; Salesforce checks the query now and refuses objects and fields that Bulk does not serve.

        Raises:
            RequestRefusedError, AccessError: refused; REST may still work.
        """
        body = {"operation": "queryAll" if include_deleted else "query", "query": soql, "contentType": "CSV"}
        job = client.send_json("POST", client.path("jobs/query"), f"creating a Bulk job for {object_name}", body)
        log.debug("Bulk job %s created for %s", job["id"], object_name)
        return cls(client, clock, job["id"], object_name)

    def wait(self) -> int:
        """Poll until the job is complete; returns the rows it holds.

        Raises:
            JobFailedError: any other end.
        """
        pause, deadline = _FIRST_POLL, self._clock.monotonic() + _POLL_LIMIT
        while True:
            job = self._client.get_json(self._path, f"waiting for Bulk job {self.id}")
            state = job.get("state")
            if state == _GOOD_STATE:
                self._done = True
                rows = int(job.get("numberRecordsProcessed") or 0)
                log.debug("Bulk job %s complete: %d rows", self.id, rows)
                return rows
            if state not in _WAITING_STATES:
                self._done = state in _BAD_STATES
                raise JobFailedError(
                    f"Bulk job {self.id} for {self._object} ended as {state}: "
                    f"{job.get('errorMessage') or 'Salesforce gives no reason'}",
                    hint="run again; if it fails again, exclude fields or give the job's id to Salesforce's support",
                )
            if self._clock.monotonic() > deadline:
                raise JobFailedError(f"Bulk job {self.id} for {self._object} is still {state} after 24 hours")
            self._clock.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)

    def read(self, schema: pa.Schema, promised: int, *, page_size: int, parallelism: int) -> Iterator[pa.RecordBatch]:
        """All rows, page by page, each page checked before it is used and the sum in the end.

        Raises:
            IncompleteReadError: a page stays broken, or the sum is not what the job promised.
        """
        read = 0
        pool = ThreadPoolExecutor(parallelism, "bulk-page")
        try:
            for page in in_order(self._started_pages(pool, page_size), parallelism, self._stopping):
                table = self._decode(page, schema)
                read += table.num_rows
                yield from table.to_batches()
        finally:
            # Nobody waits for downloads under way: they end at their next chunk.
            self._stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
        if read != promised:
            raise IncompleteReadError(
                f"reading {self._object}: Bulk job {self.id} promised {promised} rows and gave {read}",
                hint="run again; nothing was written",
            )

    def _decode(self, page: RawPage, schema: pa.Schema) -> pa.Table:
        """The page's rows; a page that is not what its headers promised is fetched again, alone."""
        for attempt in range(1, _FETCHES + 1):
            try:
                table = decode_csv(page.text(), schema)
                if page.rows is not None and table.num_rows != page.rows:
                    raise IncompleteReadError(
                        f"a page of {self._object} has {table.num_rows} rows where its header says {page.rows}"
                    )
            except IncompleteReadError as error:
                if attempt == _FETCHES:
                    raise
                log.warning("%s; fetching the page again", error)
                page = self._fetch(page.url, None)
            else:
                return table
        raise AssertionError("the loop returns or raises")

    def _started_pages(self, pool: ThreadPoolExecutor, page_size: int) -> Iterator[Future[RawPage]]:
        if float(self._client.version) >= _RESULT_PAGES_SINCE:
            try:
                urls = self._result_pages()
                first = next(urls, None)
            except RequestRefusedError as error:
                log.debug("no parallel result pages (%s): following locators", error.code)
            else:
                if first is not None:
                    yield pool.submit(self._fetch, first, None)
                    for url in urls:
                        yield pool.submit(self._fetch, url, None)
                    return
        yield from self._locator_pages(pool, page_size)

    def _result_pages(self) -> Iterator[str]:
        url: str | None = f"{self._path}/resultPages"
        while url:
            listing: Mapping[str, Any] = self._client.get_json(url, f"listing result pages of Bulk job {self.id}")
            for page in listing.get("resultPages") or ():
                yield page["resultUrl"]
            # Salesforce's documents spell the field both ways.
            following = listing.get("nextRecordsUrl") or listing.get("nextRecordUrl")
            url = None if listing.get("done", not following) else following

    def _locator_pages(self, pool: ThreadPoolExecutor, page_size: int) -> Iterator[Future[RawPage]]:
        """The locator of the next page stands in a page's headers: its download starts while the body still flows."""
        locator: str | None = None
        while True:
            query = {"maxRecords": str(page_size)} | ({"locator": locator} if locator else {})
            following: Future[str | None] = Future()
            yield pool.submit(self._fetch, f"{self._path}/results?{urlencode(query)}", following)
            locator = wait_for(following, self._stopping)
            if not locator:
                return

    def _fetch(self, url: str, following: Future[str | None] | None) -> RawPage:
        """Download one page whole; a download that breaks off is started again."""
        try:
            for attempt in range(1, _FETCHES + 1):
                try:
                    return self._download(url, following)
                except httpx.TransportError as error:
                    if attempt == _FETCHES:
                        raise SourceError(f"reading {self._object}: a page of results breaks off: {error}") from error
                    log.warning("a page of results broke off (%s); fetching it again", error or type(error).__name__)
            raise AssertionError("the loop returns or raises")
        except BaseException as error:
            if following is not None and not following.done():
                following.set_exception(error)
            raise

    def _download(self, url: str, following: Future[str | None] | None) -> RawPage:
        response = self._client.stream(url, f"reading {self._object}")
        try:
            locator = response.headers.get("Sforce-Locator", "")
            if following is not None and not following.done():
                following.set_result(None if locator in ("", "null") else locator)
            chunks = []
            for chunk in response.iter_raw():
                if self._stopping.is_set():
                    raise GivenUpError
                chunks.append(chunk)
        finally:
            response.close()
        rows = response.headers.get("Sforce-NumberOfRecords", "")
        return RawPage(
            url,
            b"".join(chunks),
            response.headers.get("Content-Encoding", "").lower(),
            int(rows) if rows.isdigit() else None,
        )

    def close(self) -> None:
        """Delete the job, or abort it first if it still runs; that failing is no failure."""
        self._stopping.set()
        try:
            if not self._done:
                self._client.send_json(
                    "PATCH", self._path, f"aborting Bulk job {self.id}", {"state": "Aborted"}, once=True
                )
            self._client.send_json("DELETE", self._path, f"deleting Bulk job {self.id}", once=True)
        except IngestrError as failure:
            log.debug("Bulk job %s stays until Salesforce removes it after 7 days: %s", self.id, failure)
