"""One read of one object: what it would be, its rows, and the partitions by which it can be read elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event

import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.core.stream import RecordStream
from ingestr.errors import IngestrError
from ingestr.sources.base import PartitionedRead, PartitionGroup, ReadPlan, ReadRequest, RejectedRow
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.read.jobs import QueryJob
from ingestr.sources.salesforce.read.page_reader import PageReader
from ingestr.sources.salesforce.read.partitions import PagePartition, QueryPartition, RestQuery, Scope
from ingestr.sources.salesforce.read.parts import Part, Parts
from ingestr.sources.salesforce.read.planner import Api, bulk_calls, too_many
from ingestr.sources.salesforce.read.rest import queries_by_id, rest_calls
from ingestr.sources.salesforce.read.resume_token import ResumeToken


class ObjectRead:
    """One read, from the choice of the API to the last row.

    Args:
        client: the org.
        clock: waits for jobs.
        scope: the object, and the columns and types wanted.
        query: the rows.
        request: the same as it was asked for, with what becomes of the rows.
        made: told of a job that is to be taken up later.
    """

    def __init__(
        self,
        client: SalesforceClient,
        clock: Clock,
        scope: Scope,
        query: RestQuery,
        request: ReadRequest,
        made: Callable[[QueryJob], None],
    ) -> None:
        self._scope = scope
        self._query = query
        self._request = request
        self._parts = Parts(client, clock, scope, query, request, made)

    def plan(self, count: Callable[[], int | None], rows: int | None) -> ReadPlan:
        """What ``rows`` would do.

        Args:
            count: counts the rows of a query with conditions; None where Salesforce does not tell.
            rows: about how many rows there are, where that is known.
        """
        query, plan = self._query, self._parts.first_plan(self._query, rows)
        if rows is None:
            rows = count() if query.choosing and plan.api is Api.REST else plan.rows
        if query.limit is not None:
            rows = query.limit if rows is None else min(rows, query.limit)
        plan = (None if query.rest_only else too_many(rows)) or plan
        if plan.api is Api.BULK:
            text, calls = query.bulk_soql(), bulk_calls(rows, query.page_size)
            otherwise = "REST, if Bulk refuses the object"
        else:
            text, calls = query.soql(query.fields), rest_calls(rows, query.page_size, len(self._parts.groups))
            otherwise = (
                ""
                if rows is not None or query.rest_only
                else "Bulk 2.0, if the first page says that there are many rows"
            )
        return replace(plan, query=text, rows=rows, calls=calls, otherwise=otherwise)

    def rows(self) -> RecordStream:
        """The rows by the way that suits their number; this returns when the first can be asked for."""
        if self._request.keys is not None:
            return self._stream(Api.REST, self._rows(self._by_id()))
        token = self._resumed()
        try:
            part = self._parts.resume(token) if token is not None else self._parts.settle(self._query)
        except IngestrError as error:
            if not self._parts.can_cut(self._query, error):
                raise
            return self._stream(Api.BULK, self._parts.rows_of_halves(self._query, error))
        api = Api.REST if isinstance(part, QueryPartition) else Api.BULK
        return self._stream(api, self._parts.rows(part))

    def nothing(self) -> RecordStream:
        """No row, where it is known that there is none."""
        return self._stream(Api.REST, iter(()))

    def partitions(self) -> PartitionedRead:
        """The same, unread; jobs that it takes have run and stay, until somebody discards what is returned."""
        parts = self._by_id() if self._request.keys is not None else self._parts.parts([self._query])
        try:
            return PartitionedRead(tuple(_group(part) for part in parts))
        except BaseException:
            self._parts.close()
            raise

    def _resumed(self) -> ResumeToken | None:
        kept = self._request.checkpoint
        return ResumeToken.parse(kept.token) if kept is not None and kept.token is not None else None

    def _by_id(self) -> Iterator[QueryPartition]:
        """The rows of the request's keys."""
        for query in queries_by_id(self._query, self._request.keys or ()):
            yield QueryPartition(self._scope, query, groups=self._parts.groups.known)

    def _rows(self, parts: Iterator[Part]) -> Iterator[pa.RecordBatch]:
        for part in parts:
            yield from self._parts.rows(part)

    def _stream(self, api: Api, batches: Iterator[pa.RecordBatch]) -> RecordStream:
        return RecordStream(self._scope.schema, batches, origin=str(api), on_close=self._parts.close)


def _group(part: Part) -> PartitionGroup:
    if isinstance(part, QueryPartition):
        # Each answer tells how many rows the query matches now.
        return PartitionGroup(part.origin, (part,))
    origin = f"Bulk job {part.job.id} for {part.job.object_name}"
    return PartitionGroup(origin, tuple(part.partitions()), part.promised)


def read_partition(
    client: SalesforceClient,
    clock: Clock,
    partition: PagePartition | QueryPartition,
    reject: Callable[[RejectedRow], None] | None,
) -> RecordStream:
    """The rows of one partition, on whichever machine this is; what has to be cut is cut here."""
    scope = partition.scope
    if isinstance(partition, PagePartition):
        stopping = Event()
        pages = PageReader(client, clock, scope, stopping, reject)
        return RecordStream(scope.schema, pages.read(partition), origin=partition.origin, on_close=stopping.set)
    query = partition.query
    request = ReadRequest(query.fields, page_size=query.page_size, reject=reject)
    parts = Parts(client, clock, scope, query, request, lambda job: None, partition.groups)
    return RecordStream(scope.schema, parts.rows(partition), origin=partition.origin, on_close=parts.close)
