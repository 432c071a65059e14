"""The Salesforce source: puts login, describe, planner and the two ways of reading together."""

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ingestr.core.budget import ApiBudget
from ingestr.core.clock import Clock
from ingestr.core.cursor import Window
from ingestr.core.schema import Column, TableSchema
from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.errors import (
    AccessError,
    ConfigurationError,
    IngestrError,
    JobFailedError,
    RequestRefusedError,
    UnknownNameError,
)
from ingestr.sources.base import ReadRequest, Usage
from ingestr.sources.salesforce import soql
from ingestr.sources.salesforce.auth import SOAP_LOGIN_ENDS
from ingestr.sources.salesforce.bulk import PageReader, QueryJob
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.config import UsernamePassword, parse_config
from ingestr.sources.salesforce.deletes import deleted_ids
from ingestr.sources.salesforce.describe import ObjectDescribe, resolve_table
from ingestr.sources.salesforce.objects import SYSTEM_TIMESTAMP, TIMESTAMPS, NamedTable
from ingestr.sources.salesforce.planner import Api, ReadPlan, plan_read, too_many
from ingestr.sources.salesforce.ranges import find_bounds, is_too_large, read_in_ranges
from ingestr.sources.salesforce.rest import RestQuery, RestRead, count_rows, fits_one_url, read_by_id
from ingestr.sources.salesforce.spool import Spool, remove_old_pages

log = logging.getLogger("ingestr.salesforce")

# Seconds for which an interrupted run waits to learn the id of the job that it is making.
_JOB_PATIENCE = 5.0


class SalesforceSource:
    """One org, through one login."""

    def __init__(
        self,
        authority: str,
        path: str,
        parameters: Mapping[str, Secret],
        clock: Clock,
        budget: ApiBudget | None = None,
    ) -> None:
        self._config = parse_config(authority, path, parameters)
        self._clock = clock
        self._client = SalesforceClient(self._config, clock, budget)

    def stream(self, table: str) -> "SalesforceStream":
        """The table of a documented name, ``custom:<API name>``, or any object's name."""
        named, describe = resolve_table(self._client, table)
        return SalesforceStream(self._client, self._clock, named, describe)

    @property
    def identity(self) -> str | None:
        """The org's id, where the login tells it."""
        org_id = self._client.session.org_id
        return org_id[:15] if org_id else None

    @property
    def usage(self) -> Usage:
        """API calls so far."""
        return self._client.usage

    @property
    def notes(self) -> list[str]:
        """What the user should know about this connection."""
        return [SOAP_LOGIN_ENDS] if isinstance(self._config.login, UsernamePassword) else []

    def close(self) -> None:
        """Release connections."""
        self._client.close()


@dataclass(frozen=True)
class ResumeToken:
    """What a later run must know to go on with a job.

    Args:
        job_id: the job.
        version: the API version that made it: no other may read its results.
        pages: name of the folder of its pages; job ids are not unique beyond one org.
    """

    job_id: str
    version: str
    pages: str

    @classmethod
    def parse(cls, text: str) -> "ResumeToken":
        """Read what ``str`` wrote."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class SalesforceStream:
    """One object of the org."""

    def __init__(
        self, client: SalesforceClient, clock: Clock, named: NamedTable | None, describe: ObjectDescribe
    ) -> None:
        self._client = client
        self._clock = clock
        self._describe = describe
        self.source_object = describe.name
        self.strategy = named.strategy if named else WriteStrategy.REPLACE
        self.cursor_field = self.check_cursor(named.cursor_field) if named and named.cursor_field else None
        readable = [field for field in describe.fields if field.readable]
        self.schema = TableSchema(tuple(Column(f.name, f.arrow_type, f.name) for f in readable))
        self.primary_key = ("Id",) if describe.find("Id") else ()
        self._jobs: dict[str, QueryJob] = {}
        self.notes = [f"{f.name} is left out: {f.note}" for f in describe.fields if not f.readable and f.note]

    def check_cursor(self, name: str) -> str:
        """The field for a key the user named; ``last_timestamp`` is the best timestamp that the object has."""
        usable = [f.name for f in self._describe.fields if f.type in ("date", "datetime") and f.filterable]
        wanted = name
        if name.lower() == "last_timestamp":
            wanted = next((stamp for stamp in TIMESTAMPS if stamp in usable), SYSTEM_TIMESTAMP)
        field = self._describe.find(wanted)
        if field is None:
            raise UnknownNameError("incremental key", name, usable, where=self.source_object)
        if field.name not in usable:
            reason = f"of type {field.type}" if field.type not in ("date", "datetime") else "not filterable"
            raise ConfigurationError(
                f"the incremental key {name} of {self.source_object} is {reason}",
                hint="it must be a date or datetime to filter by: " + ", ".join(usable),
            )
        return field.name

    def server_now(self) -> datetime:
        """The org's clock, in UTC at whole seconds."""
        return self._client.server_now()

    @property
    def calculated_fields(self) -> tuple[str, ...]:
        """Formulas and roll-ups, whose values change without the row's timestamp moving."""
        return tuple(field.name for field in self._describe.fields if field.calculated and field.readable)

    @property
    def deleted_field(self) -> str | None:
        """The field that marks deleted rows, if there is one."""
        return self._filterable("IsDeleted")

    @property
    def created_field(self) -> str | None:
        """The field with the time at which a row came to be, if it can be filtered by."""
        return self._filterable("CreatedDate")

    @property
    def changed_field(self) -> str | None:
        """The field with the time of a row's last change, deletion included."""
        return self._filterable(SYSTEM_TIMESTAMP)

    def _filterable(self, name: str) -> str | None:
        field = self._describe.find(name)
        return field.name if field and field.filterable else None

    def _live_conditions(self, before: datetime) -> list[str]:
        conditions = [f"{self.deleted_field} = false"] if self.deleted_field else []
        if self.created_field:
            conditions.append(f"{self.created_field} < {soql.datetime_literal(before)}")
        return conditions

    def count_live(self, before: datetime, changed: Window | None = None) -> int | None:
        """Rows that are not deleted and were created before this moment; None where Salesforce cannot count them."""
        conditions = [*soql.window_conditions(changed, is_date=False), *self._live_conditions(before)]
        try:
            return count_rows(self._client, self.source_object, conditions)
        except RequestRefusedError as error:
            log.warning("%s: the number of rows cannot be compared", error)
            return None

    def deleted_since(self, start: datetime, end: datetime) -> list[str]:
        """Ids of rows deleted between two moments; none where the object or its log does not reach back so far."""
        return deleted_ids(self._client, self.source_object, start, end) if self._describe.replicateable else []

    def can_resume(self, token: str) -> bool:
        """Whether the job is still there, and of the API version of this run."""
        read = ResumeToken.parse(token)
        return read.version == self._client.version and self._job(read.job_id).is_alive()

    def kept_pages(self, token: str, folder: Path) -> int:
        """How many complete pages of the job are here."""
        return len(Spool(folder / ResumeToken.parse(token).pages))

    def discard(self, token: str, folder: Path) -> None:
        """Delete the job and its pages."""
        read = ResumeToken.parse(token)
        Spool(folder / read.pages).discard()
        self._job(read.job_id).delete()

    def _job(self, job_id: str) -> QueryJob:
        if job_id not in self._jobs:
            self._jobs[job_id] = QueryJob(self._client, self._clock, job_id, self.source_object)
        return self._jobs[job_id]

    def read(self, request: ReadRequest) -> RecordStream:
        """Choose the API, and wait until the first row can be asked for; rows flow when the stream is read."""
        schema = TableSchema(
            tuple(
                Column(column.name, request.widened.get(column.name, column.type), column.name)
                for name in request.fields
                for column in self.schema.columns
                if column.name == name
            )
        )
        query = self._query(request)
        if request.keys is not None:
            plan = ReadPlan(Api.REST, f"{len(request.keys)} rows are wanted by Id")
            return self._stream(
                plan, schema, read_by_id(self._client, query, request.keys, schema.arrow, request.reject)
            )
        if request.checkpoint is not None and request.checkpoint.token is not None:
            job_id = ResumeToken.parse(request.checkpoint.token).job_id
            # Downloads of an earlier read of this run may still be ending: they have a job of their own to look at.
            self._jobs[job_id] = job = QueryJob(self._client, self._clock, job_id, self.source_object)
            return self._job_stream(ReadPlan(Api.BULK, "going on with a job made before"), job, query, request, schema)
        plan = plan_read(
            self._client,
            self.source_object,
            filtered=bool(query.where),
            limit=request.limit,
            fits_url=fits_one_url(self._client, query),
        )
        if plan.api is Api.REST:
            opened = self._open_rest(query)
            if isinstance(opened, RestRead):
                return self._stream(plan, schema, self._rest_rows(opened, query, request, schema))
            plan = opened
        return self._bulk_stream(plan, query, request, schema)

    def _query(self, request: ReadRequest) -> RestQuery:
        key = self._describe.find(request.window.field) if request.window else None
        identifier = self._describe.find("Id")
        conditions = soql.window_conditions(request.window, is_date=key is not None and key.type == "date")
        if request.live_before is not None:
            conditions += self._live_conditions(request.live_before)
        return RestQuery(
            self.source_object,
            request.fields,
            where=tuple(conditions),
            # Pages of an unordered query may repeat or miss rows that change meanwhile.
            order_by="Id" if identifier and identifier.sortable else None,
            limit=request.limit,
            include_deleted=request.include_deleted or request.live_before is not None or request.keys is not None,
            page_size=request.page_size,
        )

    def _open_rest(self, query: RestQuery) -> RestRead | ReadPlan:
        try:
            read = RestRead(self._client, query)
        except RequestRefusedError as error:
            if not is_too_large(error):
                raise
            return ReadPlan(Api.BULK, f"REST cannot serve the query ({error.code})")
        return too_many(read.promised) or read

    def _rest_rows(
        self, read: RestRead, query: RestQuery, request: ReadRequest, schema: TableSchema
    ) -> Iterator[pa.RecordBatch]:
        try:
            yield from read.batches(schema.arrow, request.reject)
        except RequestRefusedError as error:
            if not self._can_split(query, error):
                raise
            rest = query.after(read.last_id) if read.last_id else query
            yield from self._split_rows(rest, request, schema, error)

    def _bulk_stream(self, plan: ReadPlan, query: RestQuery, request: ReadRequest, schema: TableSchema) -> RecordStream:
        try:
            job = self._create_job(query)
        except (RequestRefusedError, AccessError) as error:
            if self._can_split(query, error):
                return self._stream(plan, schema, self._split_rows(query, request, schema, error))
            log.warning("%s; reading it by REST, at a call for every 2,000 rows", error)
            return self._fallback_stream(query, request, schema)
        if request.checkpoint is not None:
            remove_old_pages(request.checkpoint.folder)
            self._jobs[job.id] = job
            request.checkpoint.begin(str(ResumeToken(job.id, self._client.version, uuid.uuid4().hex)))
        return self._job_stream(plan, job, query, request, schema)

    def _fallback_stream(self, query: RestQuery, request: ReadRequest, schema: TableSchema) -> RecordStream:
        plan = ReadPlan(Api.REST, "Bulk refuses it")
        try:
            read = RestRead(self._client, query)
        except RequestRefusedError as error:
            if not self._can_split(query, error):
                raise
            return self._stream(plan, schema, self._split_rows(query, request, schema, error))
        return self._stream(plan, schema, self._rest_rows(read, query, request, schema))

    def _create_job(self, query: RestQuery) -> QueryJob:
        # No ORDER BY: it turns off the splitting by which Salesforce makes large jobs fast.
        text = soql.select(query.object_name, query.fields, where=query.where, limit=query.limit)
        worker = ThreadPoolExecutor(1, "bulk-job")
        made = worker.submit(
            QueryJob.create, self._client, self._clock, text, self.source_object, include_deleted=query.include_deleted
        )
        try:
            return made.result()
        except KeyboardInterrupt:
            # Nobody else would know of the job that is just being made.
            if wait([made], _JOB_PATIENCE).done and made.exception() is None:
                made.result().delete()
            raise
        finally:
            worker.shutdown(wait=False)

    def _job_stream(
        self, plan: ReadPlan, job: QueryJob, query: RestQuery, request: ReadRequest, schema: TableSchema
    ) -> RecordStream:
        kept = request.checkpoint
        end = job.stop if kept is not None else job.delete
        try:
            promised = job.wait()
        except JobFailedError as error:
            end()
            if not self._can_split(query, error):
                raise
            return self._stream(plan, schema, self._split_rows(query, request, schema, error))
        except BaseException:
            end()
            raise
        spool = Spool(kept.folder / ResumeToken.parse(kept.token).pages) if kept and kept.token else None
        reader = PageReader(schema.arrow, request.page_size, request.parallelism, request.reject, spool)
        return self._stream(plan, schema, job.read(promised, reader), on_close=end)

    def _can_split(self, query: RestQuery, error: IngestrError) -> bool:
        return query.order_by == "Id" and query.limit is None and is_too_large(error)

    def _split_rows(
        self, query: RestQuery, request: ReadRequest, schema: TableSchema, error: IngestrError
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a query that Salesforce cannot serve whole, range by range of Ids."""
        everything = find_bounds(self._client, query)
        if everything is None:
            raise error
        log.info("%s; reading %s in ranges of Ids", error, self.source_object)
        yield from read_in_ranges(query, everything, lambda part: self._part(part, request, schema), request.reject)

    def _part(self, query: RestQuery, request: ReadRequest, schema: TableSchema) -> Iterator[pa.RecordBatch]:
        """The rows of one range: none before all are known to come."""
        opened = self._open_rest(query)
        if isinstance(opened, RestRead):
            yield from list(opened.batches(schema.arrow, request.reject))
            return
        job = self._create_job(query)
        try:
            reader = PageReader(schema.arrow, request.page_size, request.parallelism, request.reject)
            yield from job.read(job.wait(), reader)
        finally:
            job.delete()

    def _stream(
        self,
        plan: ReadPlan,
        schema: TableSchema,
        batches: Iterator[pa.RecordBatch],
        on_close: Callable[[], None] = lambda: None,
    ) -> RecordStream:
        log.debug("reading %s by %s", self.source_object, plan)
        return RecordStream(schema, batches, origin=str(plan.api), on_close=on_close)
