"""Reads rows through Bulk 2.0 query jobs: create, poll, several pages in flight, check, delete."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

import httpx
import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.errors import (
    IncompleteReadError,
    IngestrError,
    JobFailedError,
    RequestRefusedError,
    SourceUnavailableError,
)
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.body import check, gathered, is_large, open_text, text_of
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.decode import Decoded, decode_csv, decode_csv_in_parts
from ingestr.sources.salesforce.pages import GivenUpError, in_order, wait_for
from ingestr.sources.salesforce.shapes import Answer
from ingestr.sources.salesforce.spool import RawPage, Spool

log = logging.getLogger("ingestr.salesforce")

_FIRST_POLL, _LONGEST_POLL, _POLL_GROWTH = 0.2, 60.0, 1.5
_POLL_LIMIT = 24 * 3600.0
_FETCHES = 4
_RESULT_PAGES_SINCE = 58.0
_DECODERS = max(2, min(os.cpu_count() or 1, 4))
_WAITING_STATES = ("UploadComplete", "InProgress")
_GOOD_STATE = "JobComplete"
_END_STATES = (_GOOD_STATE, "Failed", "Aborted")


@dataclass(frozen=True)
class PageReader:
    """What becomes of the pages of one read.

    Args:
        schema: the columns and types wanted.
        page_size: rows a page, where Salesforce lets us choose.
        parallelism: pages in flight at once.
        reject: told of rows that do not fit their types; None makes them errors.
        spool: keeps pages until the load is committed, if it can be resumed.
    """

    schema: pa.Schema
    page_size: int
    parallelism: int
    reject: Callable[[RejectedRow], None] | None = None
    spool: Spool | None = None


class QueryJob:
    """One query job, from its creation to ``delete``."""

    def __init__(self, client: SalesforceClient, clock: Clock, job_id: str, object_name: str) -> None:
        self._client = client
        self._clock = clock
        self._object = object_name
        self._path = client.path(f"jobs/query/{job_id}")
        self._stopping = threading.Event()
        self._state: str | None = None
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
        made = cls(client, clock, job["id"], object_name)
        made._state = _WAITING_STATES[0]
        return made

    def is_alive(self) -> bool:
        """Whether the job is still there and may yet give its rows."""
        try:
            self._state = str(self._client.get_json(self._path, f"looking for Bulk job {self.id}").get("state"))
        except RequestRefusedError as error:
            log.debug("%s", error)
            return False
        return self._state == _GOOD_STATE or self._state in _WAITING_STATES

    def wait(self) -> int:
        """Poll until the job is complete; returns the rows it holds.

        Raises:
            JobFailedError: any other end.
        """
        pause, deadline = _FIRST_POLL, self._clock.monotonic() + _POLL_LIMIT
        while True:
            job = self._client.get_json(self._path, f"waiting for Bulk job {self.id}")
            self._state = state = str(job.get("state"))
            if state == _GOOD_STATE:
                rows = int(job.get("numberRecordsProcessed") or 0)
                log.debug("Bulk job %s complete: %d rows", self.id, rows)
                return rows
            if state not in _WAITING_STATES:
                reason = job.get("errorMessage") or "Salesforce gives no reason"
                raise JobFailedError(
                    f"Bulk job {self.id} for {self._object} ended as {state}: {reason}",
                    hint="run again; if it fails again, exclude fields or give the job's id to Salesforce's support",
                    reason=reason,
                )
            if self._clock.monotonic() > deadline:
                raise JobFailedError(f"Bulk job {self.id} for {self._object} is still {state} after 24 hours")
            self._clock.sleep(pause)
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL)

    def read(self, promised: int, reader: PageReader) -> Iterator[pa.RecordBatch]:
        """All rows, page by page, each page checked before it is used and the sum in the end.

        Raises:
            IncompleteReadError: a page stays broken, or the sum is not what the job promised.
        """
        read = 0
        fetchers = ThreadPoolExecutor(reader.parallelism, "bulk-page")
        decoders = ThreadPoolExecutor(_DECODERS, "bulk-decode")
        lister = ThreadPoolExecutor(1, "bulk-list")
        try:
            pages = in_order(self._started_pages(fetchers, lister, reader), reader.parallelism, self._stopping)
            decoding = (decoders.submit(self._decoded, page, reader) for page in pages)
            # Compressed pages wait for a decoder; decoded ones are ten times as large, and few.
            for parts in in_order(decoding, _DECODERS, self._stopping):
                for part in parts:
                    read += part.rows
                    for row in part.rejected:
                        if reader.reject is not None:
                            reader.reject(row)
                    yield from part.table.to_batches()
        finally:
            # Nobody waits for downloads under way: they end at their next chunk.
            self._stopping.set()
            for pool in (fetchers, decoders, lister):
                pool.shutdown(wait=False, cancel_futures=True)
        if read != promised:
            raise IncompleteReadError(
                f"reading {self._object}: Bulk job {self.id} promised {promised} rows and gave {read}",
                hint="run again; nothing was written",
            )

    def _started_pages(
        self, pool: ThreadPoolExecutor, lister: ThreadPoolExecutor, reader: PageReader
    ) -> Iterator[Future[RawPage]]:
        if float(self._client.version) >= _RESULT_PAGES_SINCE:
            try:
                urls = self._result_pages(lister)
                first = next(urls, None)
            except RequestRefusedError as error:
                log.debug("no parallel result pages (%s): following locators", error.code)
            else:
                if first is not None:
                    yield pool.submit(self._page, first, reader, None)
                    for url in urls:
                        yield pool.submit(self._page, url, reader, None)
                    return
        yield from self._locator_pages(pool, reader)

    def _result_pages(self, lister: ThreadPoolExecutor) -> Iterator[str]:
        """Addresses of the pages, a few to a listing; the next listing is under way while these are used."""
        doing = f"listing result pages of Bulk job {self.id}"
        asked: Future[Answer] | None = lister.submit(self._client.get_json, f"{self._path}/resultPages", doing)
        while asked is not None:
            listing = wait_for(asked, self._stopping)
            # Salesforce's documents spell the field both ways.
            following = listing.get("nextRecordsUrl") or listing.get("nextRecordUrl")
            url: str | None = None if listing.get("done", not following) else following
            asked = lister.submit(self._client.get_json, url, doing) if url else None
            for page in listing.answers("resultPages") if listing.get("resultPages") else ():
                yield str(page["resultUrl"])

    def _locator_pages(self, pool: ThreadPoolExecutor, reader: PageReader) -> Iterator[Future[RawPage]]:
        """The locator of the next page stands in a page's headers: its download starts while the body still flows."""
        locator: str | None = None
        while True:
            query = {"maxRecords": str(reader.page_size)} | ({"locator": locator} if locator else {})
            following: Future[str | None] = Future()
            yield pool.submit(self._page, f"{self._path}/results?{urlencode(query)}", reader, following)
            locator = wait_for(following, self._stopping)
            if not locator:
                return

    def _page(self, url: str, reader: PageReader, following: Future[str | None] | None) -> RawPage:
        """One page as it came, from the spool or from Salesforce; ``following`` is told where the next one begins."""
        try:
            return self._spooled(url, reader, following) or self._fetch(url, reader, following)
        except BaseException as error:
            if following is not None and not following.done():
                following.set_exception(error)
            raise

    def _decoded(self, page: RawPage, reader: PageReader) -> Iterable[Decoded]:
        """The page's rows; a page that is not what its headers promised is fetched again, alone."""
        for attempt in range(1, _FETCHES + 1):
            try:
                return self._decode(page, reader)
            except IncompleteReadError as error:
                if attempt == _FETCHES:
                    raise
                log.warning("%s; fetching the page again", error)
            if reader.spool is not None:
                reader.spool.forget(page.url)
            page = self._fetch(page.url, reader, None)
        raise AssertionError("the loop returns or raises")

    def _spooled(self, url: str, reader: PageReader, following: Future[str | None] | None) -> RawPage | None:
        page = reader.spool.find(url) if reader.spool is not None else None
        if page is not None:
            log.debug("a page of %s is here already", self._object)
            if following is not None:
                following.set_result(page.locator)
        return page

    def _decode(self, page: RawPage, reader: PageReader) -> Iterable[Decoded]:
        if is_large(page):
            # Its rows are used before the last of them is seen: what can be told beforehand is.
            check(page)
            return self._parts(page, reader)
        decoded = decode_csv(text_of(page), reader.schema, collect=reader.reject is not None)
        self._check_rows(page, decoded.rows)
        return (decoded,)

    def _parts(self, page: RawPage, reader: PageReader) -> Iterator[Decoded]:
        """The rows of a large page, decoded when they are wanted."""
        rows = 0
        try:
            for part in decode_csv_in_parts(lambda: open_text(page), reader.schema, collect=reader.reject is not None):
                rows += part.rows
                yield part
            self._check_rows(page, rows)
        except IncompleteReadError:
            if reader.spool is not None:
                reader.spool.forget(page.url)
            raise

    def _check_rows(self, page: RawPage, rows: int) -> None:
        if page.rows is not None and rows != page.rows:
            raise IncompleteReadError(f"a page of {self._object} has {rows} rows where its header says {page.rows}")

    def _fetch(self, url: str, reader: PageReader, following: Future[str | None] | None) -> RawPage:
        """Download one page whole, and keep it; a download that breaks off is started again."""
        for attempt in range(1, _FETCHES + 1):
            try:
                page = self._download(url, reader, following)
            except httpx.TransportError as error:
                if attempt == _FETCHES:
                    raise SourceUnavailableError(
                        f"reading {self._object}: a page of results breaks off: {error}",
                        hint="Salesforce or the network is unwell; run again later",
                    ) from error
                log.warning("a page of results broke off (%s); fetching it again", error or type(error).__name__)
            else:
                if reader.spool is None:
                    return page
                reader.spool.keep(page)
                # A large page need not lie on the disk twice.
                return page if isinstance(page.body, bytes) else reader.spool.find(url) or page
        raise AssertionError("the loop returns or raises")

    def _download(self, url: str, reader: PageReader, following: Future[str | None] | None) -> RawPage:
        response = self._client.stream(url, f"reading {self._object}")
        try:
            text = response.headers.get("Sforce-Locator", "")
            locator = None if text in ("", "null") else text
            if following is not None and not following.done():
                following.set_result(locator)
            body = gathered(
                self._until_stopped(response.iter_raw()), reader.spool.folder if reader.spool is not None else None
            )
        finally:
            response.close()
        rows = response.headers.get("Sforce-NumberOfRecords", "")
        return RawPage(
            url,
            body,
            response.headers.get("Content-Encoding", "").lower(),
            int(rows) if rows.isdigit() else None,
            locator,
        )

    def _until_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stopping.is_set():
                raise GivenUpError
            yield chunk

    def stop(self) -> None:
        """Let downloads under way end; the job stays at Salesforce."""
        self._stopping.set()

    def delete(self) -> None:
        """Delete the job, or abort it first if it still runs; that failing is no failure."""
        self.stop()
        try:
            if self._state is None:
                self.is_alive()
            if self._state is None:
                return
            if self._state not in _END_STATES:
                self._abort()
            self._client.send_json("DELETE", self._path, f"deleting Bulk job {self.id}", once=True)
        except IngestrError as failure:
            log.debug("Bulk job %s stays until Salesforce removes it after 7 days: %s", self.id, failure)

    def _abort(self) -> None:
        doing = f"aborting Bulk job {self.id}"
        try:
            self._client.send_json("PATCH", self._path, doing, {"state": "Aborted"}, once=True)
        except RequestRefusedError as failure:
            # It may have ended meanwhile, and can be deleted then.
            log.debug("%s", failure)
