"""Reads the rows of Bulk 2.0 query jobs: several pages in flight, each checked, and counted in sum."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.errors import IncompleteReadError, RequestRefusedError, SourceError, SourceUnavailableError
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.body import check, gathered, is_large, open_text, text_of
from ingestr.sources.salesforce.checks import Trail, address, encoding_of, locator, rows_of_header
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.decode import Decoded, decode_csv, decode_csv_in_parts
from ingestr.sources.salesforce.jobs import QueryJob
from ingestr.sources.salesforce.pages import GivenUpError, Pool, in_order, wait_for
from ingestr.sources.salesforce.shapes import Answer, interpreting
from ingestr.sources.salesforce.spool import RawPage, Spool

log = logging.getLogger("ingestr.salesforce")

_FETCHES = 4
_RESULT_PAGES_SINCE = 58.0
_DECODERS = max(2, min(os.cpu_count() or 1, 4))
# Salesforce makes result files of up to 1 GB, and ends their transfer after 20 minutes.
_LARGEST_BODY, _LONGEST_TRANSFER = 20 << 30, 2 * 3600.0


@dataclass(frozen=True)
class PageReader:
    """What becomes of the pages of one read.

    Args:
        schema: the columns and types wanted.
        page_size: rows a page, where Salesforce lets us choose.
        parallelism: pages in flight at once.
        reject: told of rows that do not fit their types; None makes them errors.
        spool: keeps pages until the load is committed, if it can be resumed.
        private: large pages stay in memory too.
    """

    schema: pa.Schema
    page_size: int
    parallelism: int
    reject: Callable[[RejectedRow], None] | None = None
    spool: Spool | None = None
    private: bool = False


class JobResults:
    """The rows of one complete job.

    Args:
        client: the org.
        clock: bounds how long a page may take.
        job: made with the API version of this run.
        reader: what becomes of the pages.
    """

    def __init__(self, client: SalesforceClient, clock: Clock, job: QueryJob, reader: PageReader) -> None:
        self._client = client
        self._clock = clock
        self._job = job
        self._reader = reader
        self._doing = f"reading {job.object_name}"

    def rows(self, promised: int | None) -> Iterator[pa.RecordBatch]:
        """All rows, page by page, each page checked before it is used and the sum in the end.

        Args:
            promised: rows that the job holds; None where Salesforce does not tell.

        Raises:
            IncompleteReadError: a page stays broken, the sum is not what the job promised, or the pages have no end.
        """
        reader, stopping, workers = self._reader, self._job.stopping, self._job.workers
        read = 0
        try:
            fetchers = workers.pool("bulk-page", reader.parallelism)
            decoders = workers.pool("bulk-decode", _DECODERS)
            pages = in_order(self._started_pages(fetchers, workers.pool("bulk-list", 1)), reader.parallelism, stopping)
            decoding = (decoders.submit(self._decoded, page) for page in pages)
            # Compressed pages wait for a decoder; decoded ones are ten times as large, and few.
            trail = Trail(self._doing)
            for parts in in_order(decoding, _DECODERS, stopping):
                trail.go_on()
                before = read
                for part in parts:
                    read += part.rows
                    if promised is not None and read > promised:
                        raise self._not_as_promised(promised, read)
                    for row in part.rejected:
                        if reader.reject is not None:
                            reader.reject(row)
                    yield from part.table.to_batches()
                trail.pass_page(read - before)
        finally:
            self._job.stop()
        if promised is None:
            log.debug("%s: Bulk job %s told no number of rows; each page did for itself", self._doing, self._job.id)
        elif read != promised:
            raise self._not_as_promised(promised, read)

    def _not_as_promised(self, promised: int, read: int) -> IncompleteReadError:
        return IncompleteReadError(
            f"{self._doing}: Bulk job {self._job.id} promised {promised} rows and gave {read}",
            hint="run again; nothing was written",
        )

    def _started_pages(self, pool: Pool, lister: Pool) -> Iterator[Future[RawPage]]:
        if float(self._client.version) >= _RESULT_PAGES_SINCE:
            try:
                urls = self._result_pages(lister)
                first = next(urls, None)
            except RequestRefusedError as error:
                log.debug("no parallel result pages (%s): following locators", error.code)
            else:
                if first is not None:
                    yield pool.submit(self._page, first, None)
                    for url in urls:
                        yield pool.submit(self._page, url, None)
                    return
        yield from self._locator_pages(pool)

    def _result_pages(self, lister: Pool) -> Iterator[str]:
        """Addresses of the pages, a few to a listing; the next listing is under way while these are used."""
        doing = f"listing result pages of Bulk job {self._job.id}"
        listings, pages = Trail(doing), Trail(doing)
        url = f"{self._job.path}/resultPages"
        asked: Future[Answer] | None = lister.submit(self._client.get_json, url, doing)
        listings.follow(url)
        while asked is not None:
            listing = wait_for(asked, self._job.stopping)
            # Salesforce's documents spell the field both ways.
            following = listing.get("nextRecordsUrl") or listing.get("nextRecordUrl")
            found = listing.answers("resultPages") if listing.get("resultPages") else []
            asked = None
            if following and not listing.get("done", False):
                following = address(following, doing)
                listings.follow(following)
                listings.pass_page(len(found))
                listings.go_on()
                asked = lister.submit(self._client.get_json, following, doing)
            elif listing.get("done") is False:
                raise IncompleteReadError(f"{doing}: it says that more pages follow, and not where")
            for page in found:
                url = address(page["resultUrl"], doing)
                pages.follow(url)
                yield url

    def _locator_pages(self, pool: Pool) -> Iterator[Future[RawPage]]:
        """The locator of the next page stands in a page's headers: its download starts while the body still flows."""
        following: str | None = None
        trail = Trail(self._doing)
        while True:
            query = {"maxRecords": str(self._reader.page_size)} | ({"locator": following} if following else {})
            told: Future[str | None] = Future()
            yield pool.submit(self._page, f"{self._job.path}/results?{urlencode(query)}", told)
            following = wait_for(told, self._job.stopping)
            if not following:
                return
            trail.follow(following)

    def _page(self, url: str, told: Future[str | None] | None) -> RawPage:
        """One page as it came, from the spool or from Salesforce; ``told`` learns where the next one begins."""
        try:
            return self._spooled(url, told) or self._fetch(url, told)
        except BaseException as error:
            if told is not None and not told.done():
                told.set_exception(error)
            raise

    def _decoded(self, page: RawPage) -> Iterable[Decoded]:
        """The page's rows; a page that is not what its headers promised is fetched again, alone."""
        for attempt in range(1, _FETCHES + 1):
            try:
                return self._decode(page)
            except IncompleteReadError as error:
                if attempt == _FETCHES:
                    raise
                log.warning("%s; fetching the page again", error)
            if self._reader.spool is not None:
                self._reader.spool.forget(page.url)
            page = self._fetch(page.url, None)
        raise AssertionError("the loop returns or raises")

    def _spooled(self, url: str, told: Future[str | None] | None) -> RawPage | None:
        page = self._reader.spool.find(url) if self._reader.spool is not None else None
        if page is not None:
            log.debug("a page of %s is here already", self._job.object_name)
            if told is not None:
                told.set_result(page.locator)
        return page

    def _decode(self, page: RawPage) -> Iterable[Decoded]:
        if is_large(page):
            # Its rows are used before the last of them is seen: what can be told beforehand is.
            check(page)
            return self._parts(page)
        with interpreting(self._doing):
            decoded = decode_csv(text_of(page), self._reader.schema, collect=self._reader.reject is not None)
        self._check_rows(page, decoded.rows)
        return (decoded,)

    def _parts(self, page: RawPage) -> Iterator[Decoded]:
        """The rows of a large page, decoded when they are wanted."""
        reader, rows = self._reader, 0
        parts = decode_csv_in_parts(lambda: open_text(page), reader.schema, collect=reader.reject is not None)
        try:
            with interpreting(self._doing):
                for part in parts:
                    rows += part.rows
                    yield part
            self._check_rows(page, rows)
        except IncompleteReadError:
            if reader.spool is not None:
                reader.spool.forget(page.url)
            raise

    def _check_rows(self, page: RawPage, rows: int) -> None:
        if page.rows is not None and rows != page.rows:
            what = f"a page of {self._job.object_name} has {rows} rows"
            raise IncompleteReadError(f"{what} where its header says {page.rows}")

    def _fetch(self, url: str, told: Future[str | None] | None) -> RawPage:
        """Download one page whole, and keep it; a download that breaks off is started again."""
        spool = self._reader.spool
        for attempt in range(1, _FETCHES + 1):
            try:
                page = self._download(url, told)
            except httpx.TransportError as error:
                if self._job.stopping.is_set():
                    raise GivenUpError from None
                if attempt == _FETCHES:
                    raise SourceUnavailableError(
                        f"{self._doing}: a page of results breaks off: {error}",
                        hint="Salesforce or the network is unwell; run again later",
                    ) from None  # The text of the cause may repeat what the server sent.
                log.warning("a page of results broke off (%s); fetching it again", error or type(error).__name__)
            else:
                if spool is None:
                    return page
                spool.keep(page)
                # A large page need not lie on the disk twice.
                return page if isinstance(page.body, bytes) else spool.find(url) or page
        raise AssertionError("the loop returns or raises")

    def _download(self, url: str, told: Future[str | None] | None) -> RawPage:
        if self._job.stopping.is_set():
            raise GivenUpError
        spool = self._reader.spool
        response = self._client.stream(url, self._doing)
        try:
            following = locator(response.headers.get("Sforce-Locator", ""), self._doing)
            rows = rows_of_header(response.headers.get("Sforce-NumberOfRecords", ""))
            encoding = encoding_of(response.headers.get("Content-Encoding", ""), self._doing)
            if told is not None and not told.done():
                told.set_result(following)
            # A large page lies in a file, best beside the others.
            folder = spool.folder if spool is not None and spool.prepare() else None
            chunks = self._bounded(response.iter_raw())
            body = b"".join(chunks) if self._reader.private else gathered(chunks, folder)
        finally:
            response.close()
        return RawPage(url, body, encoding, rows, following)

    def _bounded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same until nobody wants them; a body without an end is left at some point."""
        size, until = 0, self._clock.monotonic() + _LONGEST_TRANSFER
        for chunk in chunks:
            if self._job.stopping.is_set():
                raise GivenUpError
            size += len(chunk)
            if size > _LARGEST_BODY or self._clock.monotonic() > until:
                raise SourceError(
                    f"{self._doing}: a page of results does not end: {size:,} bytes have come of it",
                    hint="does a proxy on the way repeat what Salesforce sends? run again later",
                )
            yield chunk
