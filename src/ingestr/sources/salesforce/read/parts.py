"""The parts by which Salesforce serves a query, and the rows of each.

Settling a part chooses the API, runs the job where that is Bulk, and cuts what Salesforce refuses as too large by Id.
A part of which that shows only while it is read is cut then, on whichever machine that is.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from functools import cached_property

import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.core.wording import counted
from ingestr.errors import AccessError, IngestrError, JobFailedError, RequestRefusedError
from ingestr.sources.base import ReadPlan, ReadProgress, ReadRequest, RejectedRow
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.read.bulk import JobResults
from ingestr.sources.salesforce.read.groups import FieldGroups, is_too_wide
from ingestr.sources.salesforce.read.jobs import QueryJob
from ingestr.sources.salesforce.read.page_reader import PageReader
from ingestr.sources.salesforce.read.pages import Workers
from ingestr.sources.salesforce.read.partitions import QueryPartition, RestQuery, Scope
from ingestr.sources.salesforce.read.planner import Api, plan_read, too_many
from ingestr.sources.salesforce.read.ranges import is_too_large
from ingestr.sources.salesforce.read.rest import RestRead, find_bounds, fits_one_url, group_fields
from ingestr.sources.salesforce.read.resume_token import ResumeToken
from ingestr.sources.salesforce.read.spool import Spool, new_folder_name, remove_old_pages

log = logging.getLogger("ingestr.salesforce")

# Seconds for which an interrupted run waits to learn the id of the job that it is making.
_JOB_PATIENCE = 5.0

Part = QueryPartition | JobResults


class Parts:
    """The parts of one read.

    Args:
        client: the org.
        clock: waits for jobs.
        scope: the object, and the columns and types wanted.
        query: the rows.
        request: the same as it was asked for, with what becomes of the rows.
        made: told of a job that is to be taken up later.
        groups: groups of fields that another machine has learned.
    """

    def __init__(
        self,
        client: SalesforceClient,
        clock: Clock,
        scope: Scope,
        query: RestQuery,
        request: ReadRequest,
        made: Callable[[QueryJob], None],
        groups: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        self._client = client
        self._clock = clock
        self._scope = scope
        self._query = query
        self._request = request
        self._made = made
        self._known_groups = groups
        # How each job that is under way ends, and the queries whose first page is here.
        self._jobs: dict[QueryJob, Callable[[], None]] = {}
        self._begun: dict[RestQuery, RestRead] = {}

    @cached_property
    def groups(self) -> FieldGroups:
        """How the fields are asked for by REST, as far as that has been learned."""
        return group_fields(self._client, self._query, self._known_groups)

    def first_plan(self, query: RestQuery, size: int | None = None) -> ReadPlan:
        """By which API a query is asked first; Salesforce tells the size of the object where nobody knows it."""
        if query.rest_only:
            return ReadPlan(Api.REST, query.rest_only)
        return plan_read(
            self._client,
            query.object_name,
            filtered=bool(query.choosing),
            limit=query.limit,
            fits_url=fits_one_url(self._client, query),
            size=size,
        )

    def settle(self, query: RestQuery) -> Part:
        """Choose the API for a query; returns when its rows can be had.

        Raises:
            RequestRefusedError, JobFailedError: by neither API; ``parts`` may still cut it.
        """
        plan, opened = self.first_plan(query), None
        if plan.api is Api.REST:
            try:
                opened = self._open(query)
            except RequestRefusedError as error:
                if query.rest_only or not is_too_large(error):
                    raise
                plan = ReadPlan(Api.BULK, f"REST cannot serve the query ({error.code})")
            else:
                plan = (None if query.rest_only else too_many(opened.rows)) or plan
        log.debug("reading %s by %s", query.object_name, plan)
        if opened is None or plan.api is Api.BULK:
            return self._by_bulk(query)
        self._report_total(query, opened)
        return opened

    def resume(self, token: ResumeToken) -> Part:
        """The rows of a job that was made before."""
        job = QueryJob(self._client, self._clock, token.job_id, self._query.object_name)
        # Downloads of an earlier read of this run may still be ending: they have a job of their own to look at.
        self._made(job)
        return self._results(self._query, job, token)

    def parts(self, queries: Iterable[RestQuery]) -> Iterator[Part]:
        """The parts of several queries, in their order, each settled when it is asked for and cut until it can be."""
        waiting = [*queries][::-1]
        while waiting:
            query = waiting.pop()
            try:
                part = self.settle(query)
            except IngestrError as error:
                waiting += self.halves(query, error)[::-1]
            else:
                yield part

    def halves(self, query: RestQuery, error: IngestrError) -> list[RestQuery]:
        """The same in smaller queries; none where it is a row that Salesforce cannot give, which is set aside.

        Raises:
            IngestrError: the error, where smaller ones would not help.
        """
        if not self.can_cut(query, error):
            raise error
        ids = query.ids
        if ids is None:
            log.info("%s; reading %s in ranges of Ids", error, query.object_name)
            ids = find_bounds(self._client, query)
            if ids is None:
                raise error
        elif ids.only_id is not None:
            if self._request.reject is None:
                raise error
            self._request.reject(RejectedRow(ids.only_id, None, None, str(error)))
            return []
        else:
            log.info("%s: cutting %s in two by Id", error, " and ".join(ids.conditions()) or "everything")
        return [replace(query, ids=half) for half in ids.halves()]

    @staticmethod
    def can_cut(query: RestQuery, error: IngestrError) -> bool:
        """Whether Salesforce may serve the query in ranges of Ids."""
        narrow = query.ids is not None and not query.ids.is_worth_cutting(error)
        return query.is_divisible and is_too_large(error) and not narrow

    def rows(self, part: Part) -> Iterator[pa.RecordBatch]:
        """The rows of one part, all of them or an error."""
        if isinstance(part, QueryPartition):
            yield from self._query_rows(part)
        else:
            try:
                yield from part.rows()
            finally:
                self._end(part.job)

    def rows_of_halves(self, query: RestQuery, error: IngestrError) -> Iterator[pa.RecordBatch]:
        """The rows of a query that Salesforce cannot serve whole, range by range of Ids."""
        for part in self.parts(self.halves(query, error)):
            yield from self.rows(part)

    def close(self) -> None:
        """End what is under way."""
        for job in list(self._jobs):
            self._end(job)

    def _end(self, job: QueryJob) -> None:
        self._jobs.pop(job, lambda: None)()

    def _open(self, query: RestQuery) -> QueryPartition:
        """Ask for the first page, which tells how many rows there are."""
        read = self._begun[query] = RestRead(self._client, query, self.groups)
        return QueryPartition(self._scope, query, read.promised, self.groups.known)

    def _report_total(self, query: RestQuery, opened: QueryPartition) -> None:
        if query.ids is None and opened.rows is not None:
            self._request.report(ReadProgress(f"reading {query.object_name}", total=opened.rows))

    def _query_rows(self, part: QueryPartition) -> Iterator[pa.RecordBatch]:
        read = None
        try:
            read = self._begun.pop(part.query, None) or RestRead(self._client, part.query, self.groups)
            yield from read.batches(self._scope.schema.arrow, self._request.reject)
        except RequestRefusedError as error:
            last = read.last_id if read is not None else None
            yield from self.rows_of_halves(part.query.after(last) if last is not None else part.query, error)

    def _by_rest(self, query: RestQuery, error: IngestrError) -> QueryPartition:
        """The rows by REST, however many there are, as Bulk refuses them."""
        part = self._open(query)
        self._report_total(query, part)
        groups = f" in {len(self.groups)} groups of fields" if len(self.groups) > 1 else ""
        calls = self._begun[query].calls
        cost = f"about {counted(calls, 'call')}" if calls else "at least a call for every 2,000 rows"
        log.warning("%s; reading it by REST%s, which costs %s", error, groups, cost)
        return part

    def _by_bulk(self, query: RestQuery) -> Part:
        self._begun.pop(query, None)
        try:
            job = self._create_job(query)
        except (RequestRefusedError, AccessError) as error:
            if self.can_cut(query, error):
                raise
            return self._by_rest(query, error)
        return self._results(query, job, self._remember(job) if query.ids is None else None)

    def _remember(self, job: QueryJob) -> ResumeToken | None:
        kept = self._request.checkpoint
        if kept is None:
            return None
        remove_old_pages(kept.folder)
        self._made(job)
        token = ResumeToken(job.id, self._client.version, new_folder_name())
        kept.begin(str(token))
        return token

    def _results(self, query: RestQuery, job: QueryJob, token: ResumeToken | None) -> Part:
        self._jobs[job] = job.stop if token is not None else job.delete
        report = self._request.report if query.ids is None else lambda progress: None
        try:
            promised = job.wait(report)
        except JobFailedError as error:
            self._end(job)
            if is_too_wide(error):
                return self._by_rest(query, error)
            raise
        except BaseException:
            self._end(job)
            raise
        kept = self._request.checkpoint
        spool = Spool(kept.folder / token.pages) if kept is not None and token is not None else None
        reader = PageReader(self._client, self._clock, self._scope, job.stopping, self._request.reject, spool)
        return JobResults(self._client, job, self._scope, reader, self._request, promised)

    def _create_job(self, query: RestQuery) -> QueryJob:
        workers = Workers(self._client.open_line)
        made = workers.pool("bulk-job", 1).submit(
            lambda: QueryJob.create(
                self._client,
                self._clock,
                query.bulk_soql(),
                query.object_name,
                include_deleted=query.include_deleted,
            )
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
