"""Reads one result page of a Bulk job at a time: whole, kept if that is asked for, checked, and decoded.

The same on the machine that made the job and on any other: what it needs to know is in the partition.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Event

import httpx
import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.errors import IncompleteReadError, RequestRefusedError, SourceError, SourceUnavailableError
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.decode import Decoded, decode_csv, decode_csv_in_parts
from ingestr.sources.salesforce.http.checks import encoding_of, locator, rows_of_header
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.http.shapes import interpreting
from ingestr.sources.salesforce.read.body import check, gathered, is_large, open_text, text_of
from ingestr.sources.salesforce.read.pages import GivenUpError
from ingestr.sources.salesforce.read.partitions import PagePartition, Scope
from ingestr.sources.salesforce.read.spool import RawPage, Spool

log = logging.getLogger("ingestr.salesforce")

_FETCHES = 4
# Salesforce makes result files of up to 1 GB, and ends their transfer after 20 minutes.
_LARGEST_BODY, _LONGEST_TRANSFER = 20 << 30, 2 * 3600.0


@dataclass(frozen=True)
class PageHead:
    """What a page's headers say.

    Args:
        encoding: ``gzip``, or empty.
        rows: rows of the page, if told.
        locator: where the next page begins, or None after the last.
    """

    encoding: str
    rows: int | None
    locator: str | None


class PageReader:
    """The pages of one read, each on its own, by any number of threads.

    Args:
        client: the org.
        clock: bounds how long a page may take.
        scope: the object, its columns and types.
        stopping: set when nobody wants the rows any more.
        reject: told of rows that do not fit their types; None makes them errors.
        spool: keeps pages until the load is committed, if it can be resumed.
    """

    def __init__(
        self,
        client: SalesforceClient,
        clock: Clock,
        scope: Scope,
        stopping: Event,
        reject: Callable[[RejectedRow], None] | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._schema = scope.schema.arrow
        self._private = scope.private
        self._object = scope.object_name
        self._doing = f"reading {scope.object_name}"
        self._stopping = stopping
        self._reject = reject
        self._spool = spool

    def read(self, page: PagePartition) -> Iterator[pa.RecordBatch]:
        """The page's rows.

        Raises:
            IncompleteReadError: the page stays broken, or has other rows than it must have.
            RequestRefusedError: the job is gone.
        """
        for part in self.decoded(page, self.fetch(page)):
            yield from self.accepted(part)

    def fetch(self, page: PagePartition, told: Future[str | None] | None = None) -> RawPage:
        """The page as it came, from the spool or from Salesforce; ``told`` learns where the next one begins."""
        try:
            return self._spooled(page, told) or self._fetch(page, told)
        except BaseException as error:
            if told is not None and not told.done():
                told.set_exception(error)
            raise

    def decoded(self, page: PagePartition, raw: RawPage) -> Iterable[Decoded]:
        """Its rows, in parts if it is large; a page that is not what its headers promised is fetched again, alone."""
        for attempt in range(1, _FETCHES + 1):
            try:
                return self._decode(page, raw)
            except IncompleteReadError as error:
                if attempt == _FETCHES:
                    raise
                log.warning("%s; fetching the page again", error)
            self._forget(page)
            raw = self._fetch(page, None)
        raise AssertionError("the loop returns or raises")

    def accepted(self, part: Decoded) -> Iterator[pa.RecordBatch]:
        """The good rows; whoever wants to know is told of the others."""
        for row in part.rejected:
            if self._reject is not None:
                self._reject(row)
        yield from part.table.to_batches()

    def head(self, page: PagePartition) -> PageHead:
        """What the page's headers say, without its rows; costs a call."""
        response = self._open(page)
        try:
            return self._head(response)
        finally:
            response.close()

    def _spooled(self, page: PagePartition, told: Future[str | None] | None) -> RawPage | None:
        raw = self._spool.find(page.path) if self._spool is not None else None
        if raw is not None:
            log.debug("a page of %s is here already", self._object)
            if told is not None:
                told.set_result(raw.locator)
        return raw

    def _forget(self, page: PagePartition) -> None:
        if self._spool is not None:
            self._spool.forget(page.path)

    def _decode(self, page: PagePartition, raw: RawPage) -> Iterable[Decoded]:
        if is_large(raw):
            # Its rows are used before the last of them is seen: what can be told beforehand is.
            check(raw)
            return self._parts(page, raw)
        with interpreting(self._doing):
            decoded = decode_csv(text_of(raw), self._schema, collect=self._reject is not None)
        self._check_rows(page, raw, decoded.rows)
        return (decoded,)

    def _parts(self, page: PagePartition, raw: RawPage) -> Iterator[Decoded]:
        """The rows of a large page, decoded when they are wanted."""
        rows = 0
        parts = decode_csv_in_parts(lambda: open_text(raw), self._schema, collect=self._reject is not None)
        try:
            with interpreting(self._doing):
                for part in parts:
                    rows += part.rows
                    yield part
            self._check_rows(page, raw, rows)
        except IncompleteReadError:
            self._forget(page)
            raise

    def _check_rows(self, page: PagePartition, raw: RawPage, rows: int) -> None:
        for promised, who in ((raw.rows, "its header says"), (page.rows, "there were, when the read was planned,")):
            if promised is not None and rows != promised:
                raise IncompleteReadError(f"a page of {self._object} has {rows} rows where {who} {promised}")

    def _fetch(self, page: PagePartition, told: Future[str | None] | None) -> RawPage:
        """Download one page whole, and keep it; a download that breaks off is started again."""
        spool = self._spool
        for attempt in range(1, _FETCHES + 1):
            try:
                raw = self._download(page, told)
            except httpx.TransportError as error:
                if self._stopping.is_set():
                    raise GivenUpError from None
                if attempt == _FETCHES:
                    raise SourceUnavailableError(
                        f"{self._doing}: a page of results breaks off: {error}",
                        hint="Salesforce or the network is unwell; run again later",
                    ) from None  # The text of the cause may repeat what the server sent.
                log.warning("a page of results broke off (%s); fetching it again", error or type(error).__name__)
            else:
                if spool is None:
                    return raw
                spool.keep(raw)
                # A large page need not lie on the disk twice.
                return raw if isinstance(raw.body, bytes) else spool.find(raw.url) or raw
        raise AssertionError("the loop returns or raises")

    def _open(self, page: PagePartition) -> httpx.Response:
        if self._stopping.is_set():
            raise GivenUpError
        try:
            return self._client.stream(page.path, self._doing)
        except RequestRefusedError as error:
            if error.code != "NOT_FOUND":
                raise
            raise RequestRefusedError(
                f"{error}: Bulk job {page.job_id} is gone, or is none that this login may see",
                code=error.code,
                status=error.status,
                hint="run again: results are kept for 7 days, unless somebody deletes the job",
            ) from None

    def _head(self, response: httpx.Response) -> PageHead:
        return PageHead(
            encoding=encoding_of(response.headers.get("Content-Encoding", ""), self._doing),
            rows=rows_of_header(response.headers.get("Sforce-NumberOfRecords", "")),
            locator=locator(response.headers.get("Sforce-Locator", ""), self._doing),
        )

    def _download(self, page: PagePartition, told: Future[str | None] | None) -> RawPage:
        spool, response = self._spool, self._open(page)
        try:
            head = self._head(response)
            if told is not None and not told.done():
                told.set_result(head.locator)
            # A large page lies in a file, best beside the others.
            folder = spool.folder if spool is not None and spool.prepare() else None
            chunks = self._bounded(response.iter_raw())
            body = b"".join(chunks) if self._private else gathered(chunks, folder)
        finally:
            response.close()
            self._client.receive(response.num_bytes_downloaded)
        return RawPage(page.path, body, head.encoding, head.rows, head.locator)

    def _bounded(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same until nobody wants them; a body without an end is left at some point."""
        size, until = 0, self._clock.monotonic() + _LONGEST_TRANSFER
        for chunk in chunks:
            if self._stopping.is_set():
                raise GivenUpError
            size += len(chunk)
            if size > _LARGEST_BODY or self._clock.monotonic() > until:
                raise SourceError(
                    f"{self._doing}: a page of results does not end: {size:,} bytes have come of it",
                    hint="does a proxy on the way repeat what Salesforce sends? run again later",
                )
            yield chunk
