"""The rows of complete Bulk 2.0 query jobs: a partition a page, several in flight, and counted in sum."""

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from urllib.parse import urlencode

import pyarrow as pa

from ingestr.errors import IncompleteReadError, RequestRefusedError
from ingestr.sources.base import ReadRequest
from ingestr.sources.salesforce.http.checks import Trail, address
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.http.shapes import Answer
from ingestr.sources.salesforce.read.jobs import QueryJob
from ingestr.sources.salesforce.read.page_reader import PageHead, PageReader
from ingestr.sources.salesforce.read.pages import Pool, as_they_end, wait_for
from ingestr.sources.salesforce.read.partitions import PagePartition, Scope
from ingestr.sources.salesforce.read.spool import RawPage

log = logging.getLogger("ingestr.salesforce")

_RESULT_PAGES_SINCE = 58.0
_DECODERS = max(2, min(os.cpu_count() or 1, 4))
# As many pages as 1 TB, the most that Salesforce makes in a day, has at a megabyte each.
_MOST_PAGES = 1_000_000

# Tells where the page after this one begins, or None after the last.
Following = Callable[[PagePartition], str | None]


class JobResults:
    """The rows of one complete job.

    Args:
        client: the org.
        job: made with the API version of this run.
        scope: the object, its columns and types.
        reader: reads a page.
        request: how large pages are where Salesforce lets us choose, and how many are in flight at once.
        promised: rows that the job holds; None where Salesforce does not tell.
    """

    def __init__(
        self,
        client: SalesforceClient,
        job: QueryJob,
        scope: Scope,
        reader: PageReader,
        request: ReadRequest,
        promised: int | None,
    ) -> None:
        self.job = job
        self.promised = promised
        self._client = client
        self._scope = scope
        self._reader = reader
        self._request = request
        self._doing = f"reading {job.object_name}"

    def partitions(self) -> list[PagePartition]:
        """All pages, unread: what it takes to read them elsewhere.

        Where they can be found only by following locators, each costs a call for its headers.

        Raises:
            IncompleteReadError: the pages have no end.
        """
        found: list[PagePartition] = []
        heads: dict[str, PageHead] = {}
        trail = Trail(self._doing)

        def following(page: PagePartition) -> str | None:
            head = heads[page.path] = self._reader.head(page)
            trail.pass_page(1 if head.rows is None else head.rows)
            return head.locator

        try:
            for page in self._pages(self.job.workers.pool("bulk-list", 1), following):
                trail.go_on()
                found.append(page)
                if len(found) > _MOST_PAGES:
                    raise IncompleteReadError(f"{self._doing}: Bulk job {self.job.id} has more pages than it can have")
        finally:
            self.job.workers.end()
        return [replace(page, rows=heads[page.path].rows) if page.path in heads else page for page in found]

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows, a page as soon as it is here; each is checked before it is used, and the sum in the end.

        Raises:
            IncompleteReadError: a page stays broken, the sum is not what the job promised, or the pages have no end.
        """
        stopping, workers, parallelism = self.job.stopping, self.job.workers, self._request.parallelism
        read, promised = 0, self.promised
        try:
            fetchers = workers.pool("bulk-page", parallelism)
            decoders = workers.pool("bulk-decode", _DECODERS)
            pages = as_they_end(self._downloads(fetchers, workers.pool("bulk-list", 1)), parallelism, stopping)
            decoding = (decoders.submit(self._reader.decoded, *page) for page in pages)
            # Compressed pages wait for a decoder; decoded ones are ten times as large, and few.
            trail = Trail(self._doing)
            for parts in as_they_end(decoding, _DECODERS, stopping):
                trail.go_on()
                before = read
                for part in parts:
                    read += part.rows
                    if promised is not None and read > promised:
                        raise self._not_as_promised(read)
                    yield from self._reader.accepted(part)
                trail.pass_page(read - before)
        finally:
            self.job.stop()
        if promised is None:
            log.debug("%s: Bulk job %s told no number of rows; each page did for itself", self._doing, self.job.id)
        elif read != promised:
            raise self._not_as_promised(read)

    def _not_as_promised(self, read: int) -> IncompleteReadError:
        return IncompleteReadError(
            f"{self._doing}: Bulk job {self.job.id} promised {self.promised} rows and gave {read}",
            hint="run again; nothing was written",
        )

    def _downloads(self, fetchers: Pool, lister: Pool) -> Iterator[Future[tuple[PagePartition, RawPage]]]:
        """The locator of the next page stands in a page's headers: its download starts while the body still flows."""
        told: dict[str, Future[str | None]] = {}

        def following(page: PagePartition) -> str | None:
            return wait_for(told[page.path], self.job.stopping)

        def fetched(page: PagePartition) -> tuple[PagePartition, RawPage]:
            return page, self._reader.fetch(page, told[page.path])

        for page in self._pages(lister, following):
            told[page.path] = Future()
            yield fetchers.submit(fetched, page)

    def _pages(self, lister: Pool, following: Following) -> Iterator[PagePartition]:
        if float(self._client.version) >= _RESULT_PAGES_SINCE:
            try:
                pages = self._result_pages(lister)
                first = next(pages, None)
            except RequestRefusedError as error:
                log.debug("no parallel result pages (%s): following locators", error.code)
            else:
                if first is not None:
                    yield first
                    yield from pages
                    return
        yield from self._locator_pages(following)

    def _result_pages(self, lister: Pool) -> Iterator[PagePartition]:
        """The pages, a few to a listing; the next listing is under way while these are used."""
        doing = f"listing result pages of Bulk job {self.job.id}"
        listings, pages = Trail(doing), Trail(doing)
        url = f"{self.job.path}/resultPages"
        asked: Future[Answer] | None = lister.submit(self._client.get_json, url, doing)
        listings.follow(url)
        while asked is not None:
            listing = wait_for(asked, self.job.stopping)
            # Salesforce's documents spell the field both ways.
            next_url = listing.get("nextRecordsUrl") or listing.get("nextRecordUrl")
            found = listing.answers("resultPages") if listing.get("resultPages") else []
            asked = None
            if next_url and not listing.get("done", False):
                next_url = address(next_url, doing)
                listings.follow(next_url)
                listings.pass_page(len(found))
                listings.go_on()
                asked = lister.submit(self._client.get_json, next_url, doing)
            elif listing.get("done") is False:
                raise IncompleteReadError(f"{doing}: it says that more pages follow, and not where")
            for page in found:
                url = address(page["resultUrl"], doing)
                pages.follow(url)
                yield self._partition(url)

    def _locator_pages(self, following: Following) -> Iterator[PagePartition]:
        locator: str | None = None
        trail = Trail(self._doing)
        while True:
            query = {"maxRecords": str(self._request.page_size)} | ({"locator": locator} if locator else {})
            page = self._partition(f"{self.job.path}/results?{urlencode(query)}")
            yield page
            locator = following(page)
            if not locator:
                return
            trail.follow(locator)

    def _partition(self, path: str) -> PagePartition:
        return PagePartition(self._scope, self.job.id, path)
