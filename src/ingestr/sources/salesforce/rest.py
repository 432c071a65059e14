"""Reads rows through REST queries: few calls and no job, for tables that are small or that Bulk refuses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ingestr.errors import IncompleteReadError, RequestRefusedError, SourceError
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce import soql
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.decode import decode_json, loads_as_text
from ingestr.sources.salesforce.shapes import Answer

# Salesforce's bounds of a REST page, and how many Ids keep a query of a page's other fields short.
_LEAST_PAGE, _LARGEST_PAGE = 200, 2_000
_IDS_PER_QUERY = 200
_REREADS = 3
_STAMP = "SystemModstamp"

Record = dict[str, Any]


@dataclass(frozen=True)
class RestQuery:
    """Rows of one object to be read by REST."""

    object_name: str
    fields: tuple[str, ...]
    where: tuple[str, ...] = ()
    order_by: str | None = None
    limit: int | None = None
    include_deleted: bool = False
    page_size: int = _LARGEST_PAGE

    @property
    def resource(self) -> str:
        """``query``, or ``queryAll`` which also gives deleted and archived rows."""
        return "queryAll" if self.include_deleted else "query"

    def after(self, row_id: str) -> "RestQuery":
        """The same query for the rows that follow this Id."""
        return replace(self, where=(*self.where, f"Id > {soql.string_literal(row_id)}"))

    def soql(self, fields: Sequence[str]) -> str:
        """The query for some of the fields."""
        return soql.select(self.object_name, fields, where=self.where, order_by=self.order_by, limit=self.limit)


class RestRead:
    """A query whose first page has been asked for, so that the number of rows is known before any is used.

    Attributes:
        promised: rows that Salesforce says the query matches.
        last_id: the Id of the last row that was handed on, or None.
    """

    def __init__(self, client: SalesforceClient, query: RestQuery) -> None:
        self._client = client
        self._query = query
        self._groups = field_groups(query.fields, lambda fields: _fits(client, query, fields))
        self._pages = _pages(client, query, self._groups[0])
        self._page: Answer | None = next(self._pages)
        self.promised = self._page.number("totalSize")
        self.last_id: str | None = None

    def batches(
        self, schema: pa.Schema, reject: Callable[[RejectedRow], None] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All rows, page by page, checked against the number that Salesforce promised.

        Args:
            schema: the columns and types wanted.
            reject: told of rows that do not fit their types; None makes them errors.

        Raises:
            IncompleteReadError: other rows came than ``totalSize`` said.
        """
        read = 0
        while self._page is not None:
            records: list[Record] = self._page.parts("records")
            if len(self._groups) > 1:
                records = _complete(self._client, self._query, self._groups, records)
            decoded = decode_json(records, schema, collect=reject is not None)
            read += decoded.rows
            for row in decoded.rejected:
                if reject is not None:
                    reject(row)
            yield from decoded.table.to_batches()
            if records:
                self.last_id = records[-1].get("Id")
            self._page = self._next_page(read)
        if read != self.promised:
            raise IncompleteReadError(
                f"reading {self._query.object_name}: Salesforce promised {self.promised} rows and gave {read}",
                hint="run again; nothing was written",
            )

    def _next_page(self, read: int) -> Answer | None:
        try:
            return next(self._pages, None)
        except RequestRefusedError as error:
            known = self._query.order_by == "Id" and self.last_id is not None and self._query.limit is None
            if error.code != "INVALID_QUERY_LOCATOR" or not known:
                raise
        # Salesforce dropped the query between two pages: what is left of it is asked for anew.
        rest = self._query.after(self.last_id or "")
        self._pages = _pages(self._client, rest, self._groups[0])
        page = next(self._pages)
        self.promised = read + page.number("totalSize")
        return page


def count_rows(client: SalesforceClient, object_name: str, where: Sequence[str]) -> int:
    """``COUNT()`` at the source, of archived and deleted rows too unless ``where`` says otherwise."""
    text = soql.select(object_name, ["COUNT()"], where=where)
    return client.get_json(client.path("queryAll"), f"counting {object_name}", {"q": text}).number("totalSize")


def read_by_id(
    client: SalesforceClient,
    query: RestQuery,
    ids: Sequence[str],
    schema: pa.Schema,
    reject: Callable[[RejectedRow], None] | None,
) -> Iterator[pa.RecordBatch]:
    """The rows of these Ids that still exist."""
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = replace(query, where=(soql.id_in(ids[start : start + _IDS_PER_QUERY]),), order_by=None)
        yield from RestRead(client, some).batches(schema, reject)


def fits_one_url(client: SalesforceClient, query: RestQuery) -> bool:
    """Whether the query needs no splitting of its fields."""
    return _fits(client, query, query.fields)


def field_groups(fields: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[tuple[str, ...]]:
    """The fields in as few groups as fit a URL each; with more than one, each starts with Id and the system timestamp.

    Raises:
        SourceError: there is no Id to put the groups together by.
    """
    if fits(fields):
        return [tuple(fields)]
    if "Id" not in fields:
        raise SourceError("the field list is too long for one URL, and without Id it cannot be split")
    shared = [name for name in ("Id", _STAMP) if name in fields]
    groups: list[list[str]] = [list(shared)]
    for name in fields:
        if name in shared:
            continue
        if not fits([*groups[-1], name]):
            groups.append(list(shared))
        groups[-1].append(name)
    return [tuple(group) for group in groups]


def _fits(client: SalesforceClient, query: RestQuery, fields: Sequence[str]) -> bool:
    page_of_ids = soql.select(query.object_name, fields, where=[soql.id_in(["0" * 18] * _IDS_PER_QUERY)])
    everything = set(fields) == set(query.fields)
    text = query.soql(fields) if everything else max(query.soql(fields), page_of_ids, key=len)
    return client.fits_url(client.path(query.resource), {"q": text})


def _pages(client: SalesforceClient, query: RestQuery, fields: Sequence[str]) -> Iterator[Answer]:
    doing = f"reading {query.object_name}"
    size = min(max(query.page_size, _LEAST_PAGE), _LARGEST_PAGE)
    headers = {"Sforce-Query-Options": f"batchSize={size}"}
    path, params = client.path(query.resource), {"q": query.soql(fields)}
    page = client.get_json(path, doing, params, headers=headers, loads=loads_as_text)
    yield page
    while next_url := page.get("nextRecordsUrl"):
        page = client.get_json(next_url, doing, headers=headers, loads=loads_as_text)
        yield page


def _complete(
    client: SalesforceClient, query: RestQuery, groups: list[tuple[str, ...]], page: list[Record]
) -> list[Record]:
    """The page's records with the fields of all groups.

    A record that changed between two queries would mix two states: its system timestamp tells, and it is read again.
    """
    whole: dict[str, Record] = {}
    pending = [record["Id"] for record in page]
    first = {record["Id"]: record for record in page}
    for _ in range(_REREADS):
        parts = [first] + [_by_id(client, query, group, pending) for group in groups[1:]]
        for row_id in pending:
            found = [part[row_id] for part in parts if row_id in part]
            if len(found) == len(parts) and len({record.get(_STAMP) for record in found}) == 1:
                whole[row_id] = {name: value for record in found for name, value in record.items()}
        pending = [row_id for row_id in pending if row_id not in whole]
        if not pending:
            return [whole[record["Id"]] for record in page]
        first = _by_id(client, query, groups[0], pending)
    raise IncompleteReadError(
        f"reading {query.object_name}: {len(pending)} rows, {pending[0]} among them, changed or vanished at every try",
        hint="run again when the object is quieter",
    )


def _by_id(client: SalesforceClient, query: RestQuery, fields: Sequence[str], ids: Sequence[str]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = RestQuery(
            query.object_name,
            tuple(fields),
            where=(soql.id_in(ids[start : start + _IDS_PER_QUERY]),),
            include_deleted=query.include_deleted,
        )
        for page in _pages(client, some, fields):
            records.update((record["Id"], record) for record in page.parts("records"))
    return records
