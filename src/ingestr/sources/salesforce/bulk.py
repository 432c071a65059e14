"""Reads rows through Bulk 2.0 query jobs: create, poll, several pages in flight, check, delete."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import httpx
import pyarrow as pa
from isal import igzip, isal_zlib
from isal.igzip_lib import IsalError

from ingestr.core.clock import Clock
from ingestr.errors import (
    IncompleteReadError,
    IngestrError,
    JobFailedError,
    RequestRefusedError,
    SourceUnavailableError,
)
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.decode import Decoded, decode_csv
from ingestr.sources.salesforce.pages import GivenUpError, in_order, wait_for
from ingestr.sources.salesforce.spool import RawPage, Spool

log = logging.getLogger("ingestr.salesforce")

_FIRST_POLL, _LONGEST_POLL, _POLL_GROWTH = 0.2, 60.0, 1.5
_POLL_LIMIT = 24 * 3600.0
_FETCHES = 4
_RESULT_PAGES_SINCE = 58.0
_DECODERS = max(2, min(os.cpu_count() or 1, 4))
_WAITING_STATES = ("UploadComplete", "InProgress")
_DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, IsalError)  # type: ignore[assignment]
_GZIP, _MOST_INFLATED = 31, 20
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
        try:
            pages = in_order(self._started_pages(fetchers, reader), reader.parallelism, self._stopping)
            decoding = (decoders.submit(self._decoded, page, reader) for page in pages)
            # Compressed pages wait for a decoder; decoded ones are ten times as large, and few.
            for page in in_order(decoding, _DECODERS, self._stopping):
                read += page.rows
                for row in page.rejected:
                    if reader.reject is not None:
                        reader.reject(row)
                yield from page.table.to_batches()
        finally:
            # Nobody waits for downloads under way: they end at their next chunk.
            self._stopping.set()
            for pool in (fetchers, decoders):
                pool.shutdown(wait=False, cancel_futures=True)
        if read != promised:
            raise IncompleteReadError(
                f"reading {self._object}: Bulk job {self.id} promised {promised} rows and gave {read}",
                hint="run again; nothing was written",
            )

    def _started_pages(self, pool: ThreadPoolExecutor, reader: PageReader) -> Iterator[Future[RawPage]]:
        if float(self._client.version) >= _RESULT_PAGES_SINCE:
            try:
                urls = self._result_pages()
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

    def _result_pages(self) -> Iterator[str]:
        url: str | None = f"{self._path}/resultPages"
        while url:
            listing: Mapping[str, Any] = self._client.get_json(url, f"listing result pages of Bulk job {self.id}")
            for page in listing.get("resultPages") or ():
                yield page["resultUrl"]
            # Salesforce's documents spell the field both ways.
            following = listing.get("nextRecordsUrl") or listing.get("nextRecordUrl")
            url = None if listing.get("done", not following) else following

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

    def _decoded(self, page: RawPage, reader: PageReader) -> Decoded:
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

    def _decode(self, page: RawPage, reader: PageReader) -> Decoded:
        decoded = decode_csv(_text_of(page), reader.schema, collect=reader.reject is not None)
        if page.rows is not None and decoded.rows != page.rows:
            raise IncompleteReadError(
                f"a page of {self._object} has {decoded.rows} rows where its header says {page.rows}"
            )
        return decoded

    def _fetch(self, url: str, reader: PageReader, following: Future[str | None] | None) -> RawPage:
        """Download one page whole, and keep it; a download that breaks off is started again."""
        for attempt in range(1, _FETCHES + 1):
            try:
                page = self._download(url, following)
            except httpx.TransportError as error:
                if attempt == _FETCHES:
                    raise SourceUnavailableError(
                        f"reading {self._object}: a page of results breaks off: {error}",
                        hint="Salesforce or the network is unwell; run again later",
                    ) from error
                log.warning("a page of results broke off (%s); fetching it again", error or type(error).__name__)
            else:
                if reader.spool is not None:
                    reader.spool.keep(page)
                return page
        raise AssertionError("the loop returns or raises")

    def _download(self, url: str, following: Future[str | None] | None) -> RawPage:
        response = self._client.stream(url, f"reading {self._object}")
        try:
            text = response.headers.get("Sforce-Locator", "")
            locator = None if text in ("", "null") else text
            if following is not None and not following.done():
                following.set_result(locator)
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
            locator,
        )

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


def _text_of(page: RawPage) -> bytes:
    """The page's CSV; raises IncompleteReadError where the body is cut short or damaged."""
    if page.encoding != "gzip":
        # Nothing but an open quote tells that an uncompressed body without a length was cut.
        if page.body.count(b'"') % 2:
            raise IncompleteReadError("a page of results is cut short")
        return page.body
    try:
        if page.rows is None:
            # Nothing else would tell that the body is of several parts.
            return bytes(igzip.decompress(page.body))
        # The trailer tells the size, so that the text is not moved while it grows; a damaged one may tell anything.
        size = min(int.from_bytes(page.body[-4:], "little") + 1, _MOST_INFLATED * len(page.body) + 1)
        return bytes(isal_zlib.decompress(page.body, _GZIP, size))
    except _DAMAGED as error:
        raise IncompleteReadError(f"a compressed page of results is damaged: {error}") from None
