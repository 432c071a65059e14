"""The Salesforce source: puts login, describe, planner and the two ways of reading together."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime

import pyarrow as pa

from ingestr.core.clock import Clock
from ingestr.core.schema import Column, TableSchema
from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.errors import AccessError, ConfigurationError, RequestRefusedError, UnknownNameError
from ingestr.sources.base import ReadRequest, Usage
from ingestr.sources.salesforce import soql
from ingestr.sources.salesforce.auth import SOAP_LOGIN_ENDS
from ingestr.sources.salesforce.bulk import QueryJob
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.config import UsernamePassword, parse_config
from ingestr.sources.salesforce.deletes import deleted_ids
from ingestr.sources.salesforce.describe import ObjectDescribe, resolve_table
from ingestr.sources.salesforce.objects import SYSTEM_TIMESTAMP, NamedTable
from ingestr.sources.salesforce.planner import Api, ReadPlan, plan_read, too_many
from ingestr.sources.salesforce.rest import RestQuery, RestRead, count_rows, fits_one_url, read_by_id

log = logging.getLogger("ingestr.salesforce")


class SalesforceSource:
    """One org, through one login."""

    def __init__(self, authority: str, path: str, parameters: Mapping[str, Secret], clock: Clock) -> None:
        self._config = parse_config(authority, path, parameters)
        self._clock = clock
        self._client = SalesforceClient(self._config, clock)

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
        self.notes = [f"{f.name} is left out: {f.note}" for f in describe.fields if not f.readable and f.note]

    def check_cursor(self, name: str) -> str:
        """The field for a key the user named; ``last_timestamp`` is the system timestamp."""
        wanted = SYSTEM_TIMESTAMP if name.lower() == "last_timestamp" else name
        field = self._describe.find(wanted)
        usable = [f.name for f in self._describe.fields if f.type in ("date", "datetime") and f.filterable]
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

    def count_live(self, before: datetime) -> int | None:
        """Rows that are not deleted and were created before this moment; None where Salesforce cannot count them."""
        try:
            return count_rows(self._client, self.source_object, self._live_conditions(before))
        except RequestRefusedError as error:
            log.warning("%s: the number of rows cannot be compared", error)
            return None

    def deleted_since(self, start: datetime, end: datetime) -> list[str]:
        """Ids of rows deleted between two moments; none where the object or its log does not reach back so far."""
        return deleted_ids(self._client, self.source_object, start, end) if self._describe.replicateable else []

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
            return self._stream(plan, schema, read_by_id(self._client, query, request.keys, schema.arrow))
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
                return self._stream(plan, schema, opened.batches(schema.arrow))
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
            if error.code != "QUERY_TIMEOUT":
                raise
            return ReadPlan(Api.BULK, "the REST query ran into Salesforce's time limit")
        return too_many(read.promised) or read

    def _bulk_stream(self, plan: ReadPlan, query: RestQuery, request: ReadRequest, schema: TableSchema) -> RecordStream:
        # No ORDER BY: it turns off the splitting by which Salesforce makes large jobs fast.
        text = soql.select(query.object_name, query.fields, where=query.where, limit=query.limit)
        try:
            job = QueryJob.create(
                self._client, self._clock, text, self.source_object, include_deleted=query.include_deleted
            )
        except (RequestRefusedError, AccessError) as error:
            log.warning("%s; reading it by REST, at a call for every 2,000 rows", error)
            fallback = ReadPlan(Api.REST, "Bulk refuses it")
            return self._stream(fallback, schema, RestRead(self._client, query).batches(schema.arrow))
        try:
            promised = job.wait()
        except BaseException:
            job.close()
            raise
        rows = job.read(schema.arrow, promised, page_size=request.page_size, parallelism=request.parallelism)
        return self._stream(plan, schema, rows, job)

    def _stream(
        self, plan: ReadPlan, schema: TableSchema, batches: Iterator[pa.RecordBatch], job: QueryJob | None = None
    ) -> RecordStream:
        log.debug("reading %s by %s", self.source_object, plan)
        return RecordStream(schema, batches, origin=str(plan.api), on_close=job.close if job else lambda: None)
