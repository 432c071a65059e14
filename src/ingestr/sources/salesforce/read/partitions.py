"""What a read is cut into: result pages of Bulk jobs, and REST queries, as values that any machine can read by itself.

A page lies at Salesforce unchanged for seven days, unless its job is deleted. A query is asked anew whenever it is
read; two that are ranges of Ids share no row whatever changes meanwhile, as an Id never does. No secret is in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingestr.core.schema import TableSchema
from ingestr.sources.salesforce.meta.query_text import OwnQuery
from ingestr.sources.salesforce.read import soql
from ingestr.sources.salesforce.read.ranges import IdRange

LARGEST_REST_PAGE = 2_000


@dataclass(frozen=True)
class RestQuery:
    """Rows of one object.

    Args:
        object_name: of which object.
        fields: which fields.
        where: conditions that all hold.
        order_by: a field, or None.
        limit: at most this many rows, or None.
        include_deleted: deleted and archived rows too.
        page_size: rows a page, as far as Salesforce lets us choose.
        shared: what joins the rows again where the fields have to be asked for in groups: the Id, and the system
            timestamp, of those the object has.
        ids: only rows of this range of Ids, if the query is a part of one that Salesforce could not serve whole.
        own: the query that a user wrote, of whose rows these are; None where they are the object's.
        bound: further conditions, which nearly all rows meet, so that they tell nothing of how many there are.
    """

    object_name: str
    fields: tuple[str, ...]
    where: tuple[str, ...] = ()
    order_by: str | None = None
    limit: int | None = None
    include_deleted: bool = False
    page_size: int = LARGEST_REST_PAGE
    shared: tuple[str, ...] = ()
    ids: IdRange | None = None
    own: OwnQuery | None = None
    bound: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """``query``, or ``queryAll`` which also gives deleted and archived rows."""
        return "queryAll" if self.include_deleted else "query"

    @property
    def conditions(self) -> tuple[str, ...]:
        """All conditions, those of the range of Ids among them."""
        return (*self.choosing, *self.bound)

    @property
    def choosing(self) -> tuple[str, ...]:
        """The conditions that only some of the object's rows may meet."""
        own = (f"({self.own.condition})",) if self.own is not None and self.own.condition else ()
        return (*own, *self.where, *(self.ids.conditions() if self.ids is not None else ()))

    @property
    def is_divisible(self) -> bool:
        """Whether ranges of Ids together match what this query does."""
        return self.order_by == "Id" and self.limit is None

    @property
    def rest_only(self) -> str:
        """Why only REST can serve the query; empty where Bulk can too."""
        return self.own.rest_only if self.own is not None else ""

    def place(self, field: str) -> tuple[str, ...]:
        """Where a field's value stands in a record: a parent's fields are in an object of their own."""
        return (field,) if self.own is None else tuple(dict(self.own.keys).get(field, field).split("."))

    def after(self, row_id: str) -> "RestQuery":
        """The same query for the rows that follow this Id."""
        return replace(self, where=(*self.where, f"Id > {soql.string_literal(row_id)}"))

    def soql(self, fields: Sequence[str]) -> str:
        """The query for some of the fields."""
        return self._soql(fields, self.order_by)

    def bulk_soql(self) -> str:
        """The query for a job: unordered, as an order turns off the splitting by which Salesforce makes jobs fast."""
        first_of_many = self.own is not None and self.own.limit is not None
        return self._soql(self.fields, self.order_by if first_of_many else None)

    def _soql(self, fields: Sequence[str], order_by: str | None) -> str:
        own = self.own
        return soql.select(
            own.source if own is not None else self.object_name,
            own.select(fields) if own is not None else fields,
            where=self.conditions,
            behind=own.behind if own is not None else "",
            order_by=order_by,
            limit=self.limit,
            offset=own.offset if own is not None else 0,
        )


@dataclass(frozen=True)
class Scope:
    """What all partitions of one read have in common.

    Args:
        object_name: the object whose rows they hold.
        schema: the columns and types of these.
        org: the first 15 characters of the org's id; None where nobody tells it, or nobody else will read them.
        private: nothing of the rows may lie in a file, not even for a while, wherever they are read.
    """

    object_name: str
    schema: TableSchema
    org: str | None = None
    private: bool = False


@dataclass(frozen=True)
class PagePartition:
    """A result page of a job that is complete.

    Args:
        scope: what it has in common with the others.
        job_id: the job.
        path: its address within the org, which names the API version: no other may read the job's results.
        rows: how many rows it must have; None where only its own header tells.
    """

    scope: Scope
    job_id: str
    path: str
    rows: int | None = None

    @property
    def origin(self) -> str:
        """What it is, for people."""
        return f"a result page of Bulk job {self.job_id} for {self.scope.object_name}"


@dataclass(frozen=True)
class QueryPartition:
    """A REST query.

    Args:
        scope: what it has in common with the others.
        query: the rows.
        rows: how many rows it matched when the read was planned; None where nobody knows.
        groups: fields that have to be asked for apart, as far as that is known; empty where all go together.
    """

    scope: Scope
    query: RestQuery
    rows: int | None = None
    groups: tuple[tuple[str, ...], ...] = ()

    @property
    def origin(self) -> str:
        """What it is, for people."""
        what = " and ".join(self.query.conditions) or "all rows"
        return f"a REST query for {self.scope.object_name}: {what}"
