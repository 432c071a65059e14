"""The Salesforce source: puts login, describe and reading together."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ingestr.core.budget import ApiBudget
from ingestr.core.clock import Clock
from ingestr.core.cursor import Window
from ingestr.core.naming import is_query, only_one, snake_case
from ingestr.core.schema import Column, TableSchema
from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.errors import ConfigurationError, RequestRefusedError
from ingestr.sources.base import (
    Partition,
    PartitionedRead,
    ReadPlan,
    ReadRequest,
    RejectedRow,
    SourceField,
    SourceTable,
    TableFacts,
    Usage,
)
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.logins.config import parse_config
from ingestr.sources.salesforce.meta.catalog import Catalog, ListedObject
from ingestr.sources.salesforce.meta.deletes import deleted_ids, deleted_request
from ingestr.sources.salesforce.meta.describe import ObjectDescribe, object_name, resolve_table
from ingestr.sources.salesforce.meta.objects import (
    CUSTOM_PREFIX,
    NAMES_OF_OBJECTS,
    NEED_CONDITION,
    SYSTEM_TIMESTAMP,
    TIMESTAMPS,
    NamedTable,
)
from ingestr.sources.salesforce.meta.relation import Relation, object_relation, query_relation
from ingestr.sources.salesforce.read import soql
from ingestr.sources.salesforce.read.estimate import estimated
from ingestr.sources.salesforce.read.jobs import QueryJob
from ingestr.sources.salesforce.read.partitions import PagePartition, QueryPartition, RestQuery, Scope
from ingestr.sources.salesforce.read.reading import ObjectRead, read_partition
from ingestr.sources.salesforce.read.rest import count_request, count_rows
from ingestr.sources.salesforce.read.resume_token import ResumeToken
from ingestr.sources.salesforce.read.spool import Spool

log = logging.getLogger("ingestr.salesforce")

_NUMBERS = (pa.int64(), pa.float64())


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
        self._catalog = Catalog(self._client)

    def tables(self) -> list[SourceTable]:
        """All objects of the org that this login sees, with their sizes as far as Salesforce counts them."""
        self._catalog.measure()
        return [
            SourceTable(
                table=NAMES_OF_OBJECTS.get(each.name, each.name),
                source_object=each.name,
                name=NAMES_OF_OBJECTS.get(each.name) or snake_case(each.name),
                label=each.label,
                rows=self._catalog.size(each.name),
                reason=_why_not(each),
            )
            for each in self._catalog.objects().values()
        ]

    def prepare(self, tables: Sequence[str]) -> list[SourceTable]:
        """Describe the objects of several tables in a call for every 25 of them, and learn the sizes of all in one."""
        names = [object_name(table, self._catalog) for table in tables]
        self._catalog.describe_together(name for name in names if name is not None)
        if len(names) > 1:
            self._catalog.measure()
        return [
            SourceTable(
                table,
                name or table,
                NAMES_OF_OBJECTS.get(name or "") or snake_case(name or table),
                rows=self._catalog.size(name or ""),
            )
            for table, name in zip(tables, names, strict=True)
        ]

    def server_now(self) -> datetime:
        """The org's clock, in UTC at whole seconds."""
        return self._client.server_now()

    def stream(self, table: str) -> "SalesforceStream":
        """The table of a documented name, ``custom:<API name>``, or any object's name."""
        if is_query(table):
            return SalesforceStream(self._client, self._clock, None, query_relation(self._catalog, table))
        named, describe = resolve_table(self._catalog, table)
        if named is None and not table.strip().lower().startswith(CUSTOM_PREFIX):
            named = _merged_where_it_can(describe)
        return SalesforceStream(self._client, self._clock, named, object_relation(describe))

    def read(self, partition: Partition, reject: Callable[[RejectedRow], None] | None = None) -> RecordStream:
        """The rows of a partition of this org, which another process may have made."""
        ours = _ours(partition)
        planned, here = ours.scope.org, self._client.org_id()
        if planned is not None and here is not None and planned != here:
            raise ConfigurationError(
                f"{ours.origin} is one of the org {planned}, and this login is for the org {here}",
                hint="read it with the source URI with which it was planned",
            )
        return read_partition(self._client, self._clock, ours, reject)

    def discard(self, read: PartitionedRead) -> None:
        """Delete the jobs of a read that is over; that failing is no failure."""
        pages = [each for each in map(_ours, read.partitions) if isinstance(each, PagePartition)]
        for job_id, name in sorted({(page.job_id, page.scope.object_name) for page in pages}):
            QueryJob(self._client, self._clock, job_id, name).delete()

    def stop(self) -> None:
        """End all requests that are under way; no other is made."""
        self._client.stop()

    @property
    def version(self) -> str:
        """The version of the API that is used."""
        return f"version {self._client.version}"

    @property
    def identity(self) -> str | None:
        """The org's id, where the login or the org itself tells it."""
        return self._client.org_id()

    @property
    def usage(self) -> Usage:
        """API calls so far."""
        return self._client.usage

    @property
    def notes(self) -> list[str]:
        """What the user should know about this connection."""
        return list(self._config.login.notes)

    def close(self) -> None:
        """Release connections."""
        self._client.close()


def _why_not(listed: ListedObject) -> str:
    if listed.retired:
        return "its package has withdrawn it"
    if not listed.queryable:
        return "Salesforce lets no API query it"
    return "Salesforce serves it only by a condition on one of its fields" if listed.name in NEED_CONDITION else ""


def _ours(partition: Partition) -> PagePartition | QueryPartition:
    if not isinstance(partition, PagePartition | QueryPartition):
        raise TypeError(f"no partition of Salesforce: {type(partition).__name__}")
    return partition


def _notes(relation: Relation) -> list[str]:
    """What the user should know about a table."""
    own = relation.own
    if own is None:
        return [f"{f.name} is left out: {f.note}" for f in relation.describe.fields if not f.readable and f.note]
    if own.unmergeable:
        return [f"the query is read as a whole at each run: it cannot be merged or counted, as {own.unmergeable}"]
    lacking = [name for name in ("Id", SYSTEM_TIMESTAMP, "IsDeleted") if not relation.has(name)]
    lacking = [name for name in lacking if relation.describe.find(name)]
    if not lacking:
        return []
    return [
        f"the query is read as a whole at each run: to merge its changes it would have to select {', '.join(lacking)}"
    ]


def _merged_where_it_can(describe: ObjectDescribe) -> NamedTable | None:
    """An object by its plain name is merged where it has what that takes; ``custom:`` is documented as a replace."""
    stamp = describe.find(SYSTEM_TIMESTAMP)
    if describe.find("Id") is None or stamp is None or stamp.type != "datetime" or not stamp.filterable:
        return None
    return NamedTable(describe.name, WriteStrategy.MERGE, SYSTEM_TIMESTAMP)


class SalesforceStream:
    """One object of the org, or the rows of a query."""

    platform = "Salesforce"

    def __init__(self, client: SalesforceClient, clock: Clock, named: NamedTable | None, relation: Relation) -> None:
        self._client = client.counting_apart()
        self._clock = clock
        self._relation = relation
        self._describe = relation.describe
        self.source_object = relation.name
        self.strategy = named.strategy if named else WriteStrategy.REPLACE
        self.cursor_field = self.check_cursor(named.cursor_field) if named and named.cursor_field else None
        self.schema = TableSchema(tuple(Column(f.name, f.arrow_type, f.name) for f in relation.fields))
        self.primary_key = ("Id",) if relation.has("Id") else ()
        self._jobs: dict[str, QueryJob] = {}
        self.notes = _notes(relation)

    @property
    def facts(self) -> TableFacts:
        """What people call the object, and what its Ids begin with; nobody has named the rows of a query."""
        return self._describe.facts if self._relation.own is None else TableFacts()

    @property
    def fields(self) -> list[SourceField]:
        """All fields of the object, or what a query selects."""
        shown = self._relation.fields if self._relation.own is not None else self._describe.fields
        return [
            SourceField(
                each.name,
                each.type,
                str(each.arrow_type) if each.readable else None,
                each.label,
                each.help,
                each.choices,
                each.references,
                each.calculated,
                "" if each.readable else each.note or "its parts are columns",
                each.length,
                # Of picklists it is the number of lines that are shown.
                each.precision if each.arrow_type in _NUMBERS else 0,
                each.scale,
                each.nillable,
                each.custom,
                each.formula,
                each.relationship,
            )
            for each in shown
        ]

    def check_cursor(self, name: str) -> str:
        """The field for a key the user named; ``last_timestamp`` is the best timestamp that the object has."""
        own = self._relation.own
        if own is not None and own.unmergeable:
            raise ConfigurationError(
                f"the query cannot be merged by {name}: {own.unmergeable}",
                hint="leave out the incremental key: the rows are replaced as a whole at each run",
            )
        usable = [f.name for f in self._describe.fields if f.type in ("date", "datetime") and f.filterable]
        wanted = name
        if name.lower() == "last_timestamp":
            wanted = next((stamp for stamp in TIMESTAMPS if stamp in usable), SYSTEM_TIMESTAMP)
        found = {field.name: field for field in self._describe.meant_by(wanted)}
        # Of two fields that a name in snake_case stands for, one that can be no key is not meant.
        names = [api_name for api_name in found if api_name in usable] or list(found)
        field = found[only_one("incremental key", name, names, usable, self.source_object)]
        if field.name not in usable:
            reason = f"of type {field.type}" if field.type not in ("date", "datetime") else "not filterable"
            raise ConfigurationError(
                f"the incremental key {name} of {self.source_object} is {reason}",
                hint="it must be a date or datetime to filter by: " + ", ".join(usable),
            )
        if not self._relation.has(field.name):
            raise ConfigurationError(
                f"the incremental key {name} is not among what the query selects",
                hint=f"add {field.name} to its SELECT",
            )
        return field.name

    @property
    def usage(self) -> Usage:
        """API calls since the table was looked up, and the org's allowance."""
        return self._client.usage

    def server_now(self) -> datetime:
        """The org's clock, in UTC at whole seconds."""
        return self._client.server_now()

    @property
    def decimals(self) -> dict[str, pa.DataType]:
        """Fields of type currency, percent and double, with the digits that describe declares."""
        return {field.name: field.decimal_type for field in self._relation.fields if field.decimal_type is not None}

    def declare(self, types: Mapping[str, pa.DataType]) -> None:
        """Let fields have these types from now on, in ``schema`` and in what is read."""
        self.schema = TableSchema(
            tuple(Column(each.name, types.get(each.name, each.type), each.field) for each in self.schema.columns)
        )

    @property
    def calculated_fields(self) -> tuple[str, ...]:
        """Formulas, roll-ups, parents' fields and what time changes: the row's timestamp does not move with them."""
        return tuple(field.name for field in self._relation.fields if field.calculated)

    @property
    def deleted_field(self) -> str | None:
        """The field that marks deleted rows, if there is one."""
        return self._filterable("IsDeleted")

    @property
    def created_field(self) -> str | None:
        """The field with the time at which a row came to be, if it can be filtered by."""
        own = self._relation.own
        return None if own is not None and own.unmergeable else self._filterable("CreatedDate")

    @property
    def changed_field(self) -> str | None:
        """The field with the time of a row's last change, deletion included."""
        return self._filterable(SYSTEM_TIMESTAMP)

    def _filterable(self, name: str) -> str | None:
        field = self._describe.find(name)
        return field.name if field and field.filterable else None

    def _live_conditions(self, at: datetime) -> list[str]:
        conditions = []
        if self.deleted_field:
            since = f" OR {self.changed_field} >= {soql.datetime_literal(at)}" if self.changed_field else ""
            conditions.append(f"({self.deleted_field} = false{since})")
        return conditions + self._created_before(at)

    def _created_before(self, moment: datetime) -> list[str]:
        return [f"{self.created_field} < {soql.datetime_literal(moment)}"] if self.created_field else []

    def anticipate(self, request: ReadRequest, at: datetime, changed: Window | None, since: datetime) -> None:
        """Count the rows of a window and of the object, and ask for the log of deletions, in one call."""
        wanted = [count_request(self._client, self._rows(), self._counted(at, changed))]
        if request.window is not None:
            wanted.append(count_request(self._client, self._rows(), self._query(request).where))
        log_of_deletions = deleted_request(self._client, self._describe.name, since, at)
        if self._describe.replicateable and log_of_deletions is not None:
            wanted.append(log_of_deletions)
        self._client.ask_together(wanted, f"counting {self.source_object}")

    def _counted(self, at: datetime, changed: Window | None) -> list[str]:
        return [*soql.window_conditions(changed, is_date=False), *self._live_conditions(at)]

    def count_live(self, at: datetime, changed: Window | None = None) -> int | None:
        """Rows that were live at this moment; None where Salesforce cannot count them."""
        own = self._relation.own
        if own is not None and own.unmergeable:
            raise ConfigurationError(f"the rows of the query cannot be counted: {own.unmergeable}")
        try:
            return count_rows(self._client, self._rows(), self._counted(at, changed))
        except RequestRefusedError as error:
            log.warning("%s: the number of rows cannot be compared", error)
            return None

    def deleted_since(self, start: datetime, end: datetime) -> list[str]:
        """Ids of rows deleted between two moments; none where the object or its log does not reach back so far."""
        return deleted_ids(self._client, self._describe.name, start, end) if self._describe.replicateable else []

    def can_resume(self, token: str) -> bool:
        """Whether the job is still there, and of the API version of this run."""
        read = ResumeToken.parse(token)
        return read is not None and read.version == self._client.version and self._job(read.job_id).is_alive()

    def kept_pages(self, token: str, folder: Path) -> int:
        """How many complete pages of the job are here."""
        read = ResumeToken.parse(token)
        return len(Spool(folder / read.pages)) if read is not None else 0

    def discard(self, token: str, folder: Path) -> None:
        """Delete the job and its pages; what cannot be read is left alone."""
        read = ResumeToken.parse(token)
        if read is not None:
            Spool(folder / read.pages).discard()
            self._job(read.job_id).delete()

    def _job(self, job_id: str) -> QueryJob:
        if job_id not in self._jobs:
            self._remember(QueryJob(self._client, self._clock, job_id, self._describe.name))
        return self._jobs[job_id]

    def _remember(self, job: QueryJob) -> None:
        self._jobs[job.id] = job

    def plan(self, request: ReadRequest, rows: int | None = None) -> ReadPlan:
        """How ``read`` would answer the request now; costs a call at the most, and asks for no row."""

        def count() -> int | None:
            where = list(self._query(request).where)
            if self.deleted_field and not request.include_deleted:
                where.append(f"{self.deleted_field} = false")
            try:
                return count_rows(self._client, self._rows(), where)
            except RequestRefusedError as error:
                log.debug("%s", error)
                return None

        read = [field for field in self._relation.fields if field.name in request.fields]
        return estimated(self._object_read(request).plan(count, rows), read)

    def read(self, request: ReadRequest) -> RecordStream:
        """Choose the API, and wait until the first row can be asked for; rows flow when the stream is read."""
        read = self._object_read(request)
        return read.nothing() if self._is_known_empty(request) else read.rows()

    def _is_known_empty(self, request: ReadRequest) -> bool:
        """Whether the rows of a window have been counted just now, and there were none."""
        where = self._query(request).where
        known = request.window is not None and self._client.has_early(*count_request(self._client, self._rows(), where))
        return known and count_rows(self._client, self._rows(), where) == 0

    def partitions(self, request: ReadRequest) -> PartitionedRead:
        """Choose the API as ``read`` does, run the job that it takes, and find its pages; no row is read."""
        return self._object_read(replace(request, checkpoint=None), self._client.org_id()).partitions()

    def _object_read(self, request: ReadRequest, org: str | None = None) -> ObjectRead:
        types = {column.name: column.type for column in self.schema.columns}
        columns = [
            Column(name, request.widened.get(name, types[name]), name) for name in request.fields if name in types
        ]
        scope = Scope(self._describe.name, TableSchema(tuple(columns)), org, request.private)
        return ObjectRead(self._client, self._clock, scope, self._query(request), request, self._remember)

    def _query(self, request: ReadRequest) -> RestQuery:
        key = self._describe.find(request.window.field) if request.window else None
        identifier = self._describe.find("Id")
        conditions = soql.window_conditions(request.window, is_date=key is not None and key.type == "date")
        if request.live_at is not None:
            conditions += self._live_conditions(request.live_at)
        query = RestQuery(
            self._describe.name,
            request.fields,
            where=tuple(conditions),
            # Pages of an unordered query may repeat or miss rows that change meanwhile.
            order_by="Id" if identifier and identifier.sortable else None,
            limit=request.limit,
            include_deleted=request.include_deleted or request.live_at is not None or request.keys is not None,
            page_size=request.page_size,
            shared=tuple(name for name in ("Id", SYSTEM_TIMESTAMP) if self._describe.find(name)),
            own=self._relation.own,
            bound=tuple(self._created_before(request.created_before)) if request.created_before is not None else (),
        )
        if query.own is None or not query.own.unmergeable:
            return query
        limits = [limit for limit in (request.limit, query.own.limit) if limit is not None]
        return replace(query, order_by=query.own.order_by or None, limit=min(limits, default=None), shared=())

    def _rows(self) -> RestQuery:
        """All rows, to be counted."""
        return RestQuery(self._describe.name, (), own=self._relation.own)
