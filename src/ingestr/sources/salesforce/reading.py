"""One read of one object: by which API, in how many pieces, and what happens when Salesforce refuses the way chosen."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from functools import cached_property

import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.core.schema import TableSchema
from ingestr.core.stream import RecordStream
from ingestr.core.wording import counted
from ingestr.errors import AccessError, IngestrError, JobFailedError, RequestRefusedError
from ingestr.sources.base import ReadPlan, ReadProgress, ReadRequest
from ingestr.sources.salesforce import soql
from ingestr.sources.salesforce.bulk import JobResults, PageReader
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.groups import FieldGroups, is_too_wide
from ingestr.sources.salesforce.jobs import QueryJob
from ingestr.sources.salesforce.pages import Workers
from ingestr.sources.salesforce.planner import Api, bulk_calls, plan_read, too_many
from ingestr.sources.salesforce.ranges import find_bounds, is_too_large, read_in_ranges, smaller
from ingestr.sources.salesforce.rest import (
    RestQuery,
    RestRead,
    fits_one_url,
    group_fields,
    read_by_id,
    rest_calls,
)
from ingestr.sources.salesforce.resume_token import ResumeToken
from ingestr.sources.salesforce.spool import Spool, new_folder_name, remove_old_pages

log = logging.getLogger("ingestr.salesforce")

# Seconds for which an interrupted run waits to learn the id of the job that it is making.
_JOB_PATIENCE = 5.0


class ObjectRead:
    """One read, from the choice of the API to the last row.

    Args:
        client: the org.
        clock: waits for jobs.
        query: the rows.
        request: the same as it was asked for, with what becomes of the rows.
        schema: the columns and types wanted.
        made: told of every job that is made.
    """

    def __init__(
        self,
        client: SalesforceClient,
        clock: Clock,
        query: RestQuery,
        request: ReadRequest,
        schema: TableSchema,
        made: Callable[[QueryJob], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._query = query
        self._request = request
        self._schema = schema
        self._made = made
        self._object = query.object_name
        # Jobs of pieces of the read, which nobody else knows of.
        self._pieces: list[QueryJob] = []

    def by_id(self) -> RecordStream:
        """The rows of the request's keys."""
        keys = self._request.keys or ()
        batches = read_by_id(self._client, self._query, keys, self._schema.arrow, self._request.reject)
        return self._stream(ReadPlan(Api.REST, f"{counted(len(keys), 'row')} wanted by Id"), batches)

    def resumed(self, token: ResumeToken) -> RecordStream:
        """The rows of a job that was made before."""
        job = QueryJob(self._client, self._clock, token.job_id, self._object)
        # Downloads of an earlier read of this run may still be ending: they have a job of their own to look at.
        self._made(job)
        return self._job_stream(ReadPlan(Api.BULK, "going on with a job made before"), job, token)

    def _first_plan(self) -> ReadPlan:
        return plan_read(
            self._client,
            self._object,
            filtered=bool(self._query.where),
            limit=self._query.limit,
            fits_url=fits_one_url(self._client, self._query),
        )

    def plan(self, count: Callable[[], int | None]) -> ReadPlan:
        """What ``fresh`` would do.

        Args:
            count: counts the rows of a query with conditions; None where Salesforce does not tell.
        """
        query, plan = self._query, self._first_plan()
        rows = count() if query.where and plan.api is Api.REST else plan.rows
        if query.limit is not None:
            rows = query.limit if rows is None else min(rows, query.limit)
        plan = too_many(rows) or plan
        if plan.api is Api.BULK:
            text = soql.select(query.object_name, query.fields, where=query.where, limit=query.limit)
            calls, otherwise = bulk_calls(rows, query.page_size), "REST, if Bulk refuses the object"
        else:
            text, calls = query.soql(query.fields), rest_calls(rows, query.page_size, len(self._groups))
            otherwise = "" if rows is not None else "Bulk 2.0, if the first page says that there are many rows"
        return replace(plan, query=text, rows=rows, calls=calls, otherwise=otherwise)

    def fresh(self) -> RecordStream:
        """The rows by the way that suits their number."""
        query = self._query
        plan = self._first_plan()
        if plan.api is Api.REST:
            opened = self._open_rest(query)
            if isinstance(opened, RestRead):
                return self._rest_stream(plan, opened)
            plan = opened
        return self._bulk_stream(plan)

    @cached_property
    def _groups(self) -> FieldGroups:
        return group_fields(self._client, self._query)

    def _open_rest(self, query: RestQuery) -> RestRead | ReadPlan:
        try:
            read = RestRead(self._client, query, self._groups)
        except RequestRefusedError as error:
            if not is_too_large(error):
                raise
            return ReadPlan(Api.BULK, f"REST cannot serve the query ({error.code})")
        return too_many(read.promised) or read

    def _rest_stream(self, plan: ReadPlan, read: RestRead) -> RecordStream:
        if read.promised is not None:
            self._request.report(ReadProgress(f"reading {self._object}", total=read.promised))
        return self._stream(plan, self._rest_rows(read))

    def _rest_rows(self, read: RestRead) -> Iterator[pa.RecordBatch]:
        try:
            yield from read.batches(self._schema.arrow, self._request.reject)
        except RequestRefusedError as error:
            if not self._can_split(error):
                raise
            yield from self._split_rows(error, self._query.after(read.last_id) if read.last_id else self._query)

    def _bulk_stream(self, plan: ReadPlan) -> RecordStream:
        kept = self._request.checkpoint
        try:
            job = self._create_job(self._query)
        except (RequestRefusedError, AccessError) as error:
            if self._can_split(error):
                return self._stream(plan, self._split_rows(error, self._query))
            return self._without_bulk(error)
        token = None
        if kept is not None:
            remove_old_pages(kept.folder)
            self._made(job)
            token = ResumeToken(job.id, self._client.version, new_folder_name())
            kept.begin(str(token))
        return self._job_stream(plan, job, token)

    def _without_bulk(self, error: IngestrError) -> RecordStream:
        """The rows by REST, however many there are, as Bulk refuses them."""
        plan = ReadPlan(Api.REST, "Bulk refuses it")
        try:
            read = RestRead(self._client, self._query, self._groups)
        except RequestRefusedError as refusal:
            if not self._can_split(refusal):
                raise
            return self._stream(plan, self._split_rows(refusal, self._query))
        groups = f" in {len(self._groups)} groups of fields" if len(self._groups) > 1 else ""
        calls = f"about {counted(read.calls, 'call')}" if read.calls else "at least a call for every 2,000 rows"
        log.warning("%s; reading it by REST%s, which costs %s", error, groups, calls)
        return self._rest_stream(plan, read)

    def _create_job(self, query: RestQuery) -> QueryJob:
        # No ORDER BY: it turns off the splitting by which Salesforce makes large jobs fast.
        text = soql.select(query.object_name, query.fields, where=query.where, limit=query.limit)
        deleted = query.include_deleted
        workers = Workers(self._client.hang_up)
        made = workers.pool("bulk-job", 1).submit(
            lambda: QueryJob.create(self._client, self._clock, text, self._object, include_deleted=deleted)
        )
        try:
            return made.result()
        except KeyboardInterrupt:
            # Nobody else would know of the job that is just being made.
            if wait([made], _JOB_PATIENCE).done and made.exception() is None:
                made.result().delete()
            raise
        finally:
            workers.end()

    def _job_stream(self, plan: ReadPlan, job: QueryJob, token: ResumeToken | None) -> RecordStream:
        kept = self._request.checkpoint
        end = job.stop if token is not None else job.delete
        try:
            promised = job.wait(self._request.report)
        except JobFailedError as error:
            end()
            if is_too_wide(error):
                return self._without_bulk(error)
            if not self._can_split(error):
                raise
            return self._stream(plan, self._split_rows(error, self._query))
        except BaseException:
            end()
            raise
        spool = Spool(kept.folder / token.pages) if kept is not None and token is not None else None
        return self._stream(plan, self._job_rows(job, promised, spool), on_close=end)

    def _job_rows(self, job: QueryJob, promised: int | None, spool: Spool | None = None) -> Iterator[pa.RecordBatch]:
        request = self._request
        reader = PageReader(
            self._schema.arrow, request.page_size, request.parallelism, request.reject, spool, request.private
        )
        return JobResults(self._client, self._clock, job, reader).rows(promised)

    def _can_split(self, error: IngestrError) -> bool:
        return self._query.order_by == "Id" and self._query.limit is None and is_too_large(error)

    def _split_rows(self, error: IngestrError, query: RestQuery) -> Iterator[pa.RecordBatch]:
        """The rows of a query that Salesforce cannot serve whole, range by range of Ids."""
        everything = find_bounds(self._client, query)
        if everything is None:
            raise error
        log.info("%s; reading %s in ranges of Ids", error, self._object)
        yield from read_in_ranges(query, everything, self._part, self._request.reject)

    def _part(self, query: RestQuery) -> Iterator[pa.RecordBatch]:
        """The rows of one range: none before all are known to come."""
        opened = self._open_rest(query)
        if isinstance(opened, RestRead):
            yield from list(opened.batches(self._schema.arrow, self._request.reject))
            return
        try:
            job = self._create_job(query)
        except (RequestRefusedError, AccessError) as error:
            raise smaller(error) from error
        self._pieces.append(job)
        try:
            yield from self._job_rows(job, self._complete(job))
        finally:
            self._pieces.remove(job)
            job.delete()

    def _complete(self, job: QueryJob) -> int | None:
        try:
            return job.wait()
        except JobFailedError as error:
            if not is_too_wide(error):
                raise
            raise smaller(error) from error

    def _stream(
        self, plan: ReadPlan, batches: Iterator[pa.RecordBatch], on_close: Callable[[], None] = lambda: None
    ) -> RecordStream:
        log.debug("reading %s by %s", self._object, plan)

        def close() -> None:
            for job in list(self._pieces):
                job.delete()
            on_close()

        return RecordStream(self._schema, batches, origin=str(plan.api), on_close=close)
