"""Reads rows through REST queries: few calls and no job, for tables that are small or that Bulk refuses."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from ingestr.errors import IncompleteReadError, RequestRefusedError
from ingestr.flags import Flag
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.decode import decode_json, loads_as_text
from ingestr.sources.salesforce.http.checks import Trail, address, id_in, is_id, rows_in
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.http.shapes import Answer, interpreting, unexpected
from ingestr.sources.salesforce.meta.objects import SYSTEM_TIMESTAMP
from ingestr.sources.salesforce.read import soql
from ingestr.sources.salesforce.read.groups import FieldGroups, is_too_wide
from ingestr.sources.salesforce.read.partitions import LARGEST_REST_PAGE, RestQuery
from ingestr.sources.salesforce.read.ranges import IdRange, to_number

log = logging.getLogger("ingestr.salesforce")

# Salesforce's bounds of a REST page, and how many Ids keep a query of a page's other fields short.
_LEAST_PAGE, _LARGEST_PAGE = 200, LARGEST_REST_PAGE
_IDS_PER_QUERY = 200
_REREADS = 3
_OWN_HINTS = {
    "EXCEEDED_ID_LIMIT": "a grouped query gives 2,000 groups at the most: group by less, or add conditions",
    "NUMBER_OUTSIDE_VALID_RANGE": "OFFSET may be 2,000 at the most",
}

Record = dict[str, Any]


class RestRead:
    """A query whose first page has been asked for, so that the number of rows is known before any is used.

    Args:
        client: the org.
        query: what to read.
        groups: how its fields are asked for, as far as that has been learned; it learns more here.

    Attributes:
        promised: rows that Salesforce says the query matches; None where it does not know.
        last_id: the Id of the last row that was handed on, or None.
    """

    def __init__(self, client: SalesforceClient, query: RestQuery, groups: FieldGroups) -> None:
        self._client = client
        self._query = query
        self._groups = groups
        self._doing = f"reading {query.object_name}"
        self._begun_after: set[str | None] = set()
        self._pages, first = self._begin(query)
        self._page: Answer | None = first
        self.promised = rows_in(first, "totalSize")
        self.last_id: str | None = None

    @property
    def calls(self) -> int | None:
        """About how many calls the whole read takes; None where the number of rows is not known."""
        return rest_calls(self.promised, self._query.page_size, len(self._groups))

    def _begin(self, query: RestQuery) -> tuple[Iterator[Answer], Answer]:
        """The pages of a query and the first of them, its fields regrouped until Salesforce serves the first group."""
        while True:
            pages = _pages(self._client, query, self._groups[0])
            try:
                return pages, next(pages)
            except RequestRefusedError as error:
                if not is_too_wide(error):
                    raise
                self._groups.split(0, error)

    def batches(
        self, schema: pa.Schema, reject: Callable[[RejectedRow], None] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """All rows, page by page, checked against the number that Salesforce promised.

        Args:
            schema: the columns and types wanted.
            reject: told of rows that do not fit their types; None makes them errors.

        Raises:
            IncompleteReadError: other rows came than ``totalSize`` said, or the pages have no end.
        """
        read = 0
        while self._page is not None:
            with interpreting(self._doing):
                records: list[Record] = self._page.parts("records")
                if len(self._groups) > 1:
                    records = _complete(self._client, self._query, self._groups, records)
                places = {name: self._query.place(name) for name in schema.names}
                decoded = decode_json(records, schema, places, collect=reject is not None)
            read += decoded.rows
            for row in decoded.rejected:
                if reject is not None:
                    reject(row)
            yield from decoded.table.to_batches()
            if records and is_id(records[-1].get("Id")):
                self.last_id = records[-1]["Id"]
            self._page = self._next_page(read)
        if self.promised is None:
            log.debug("%s: Salesforce told no number of rows; its last page says that nothing follows", self._doing)
        elif read != self.promised:
            raise _not_as_promised(self._doing, self.promised, read)

    def _next_page(self, read: int) -> Answer | None:
        try:
            return next(self._pages, None)
        except RequestRefusedError as error:
            known = self._query.order_by == "Id" and self.last_id is not None and self._query.limit is None
            # Dropped again before a single row came, it would be dropped for ever.
            if error.code != "INVALID_QUERY_LOCATOR" or not known or self.last_id in self._begun_after:
                raise
        # Salesforce dropped the query between two pages: what is left of it is asked for anew.
        self._begun_after.add(self.last_id)
        self._pages, page = self._begin(self._query.after(self.last_id or ""))
        left = rows_in(page, "totalSize")
        self.promised = None if left is None else read + left
        return page


def rest_calls(rows: int | None, page_size: int, groups: int) -> int | None:
    """Calls of a REST read: a page, and the other groups of its fields by Ids; None where the rows are not known."""
    if rows is None:
        return None
    size = _page_size(page_size)
    return max(1, -(-rows // size)) * (1 + -(-size // _IDS_PER_QUERY) * (groups - 1))


def _page_size(wanted: int) -> int:
    return min(max(wanted, _LEAST_PAGE), _LARGEST_PAGE)


def count_request(client: SalesforceClient, query: RestQuery, where: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Path and parameters of ``count_rows``."""
    text = replace(query, where=tuple(where), order_by=None, limit=None).soql(["COUNT()"])
    return client.path("queryAll"), {"q": text}


def count_rows(client: SalesforceClient, query: RestQuery, where: Sequence[str]) -> int | None:
    """``COUNT()`` of archived and deleted rows too, unless ``where`` says otherwise; None where it is not known."""
    path, params = count_request(client, query, where)
    answer = client.get_json(path, f"counting {query.object_name}", params)
    if not {"totalSize", "records"} & answer.keys():
        raise unexpected(answer.doing, "it is none to a query")
    return rows_in(answer, "totalSize")


def queries_by_id(query: RestQuery, ids: Sequence[str]) -> Iterator[RestQuery]:
    """Queries for the rows of these Ids that still exist."""
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield _of_ids(query, ids[start : start + _IDS_PER_QUERY])


def _of_ids(query: RestQuery, ids: Sequence[str]) -> RestQuery:
    return replace(query, where=(soql.id_in(ids),), order_by=None, limit=None, ids=None)


def find_bounds(client: SalesforceClient, query: RestQuery) -> IdRange | None:
    """The range of all Ids that the object has; None where it has no rows."""
    ends = []
    for order in ("Id", "Id DESC"):
        one = replace(query, where=(), ids=None, order_by=order, limit=1)
        page = client.get_json(
            client.path(query.resource), f"finding the Ids of {query.object_name}", {"q": one.soql(["Id"])}
        )
        ends += [to_number(id_in(record)) for record in page.answers("records")[:1]]
    return IdRange(min(ends), max(ends) + 1) if ends else None


def fits_one_url(client: SalesforceClient, query: RestQuery) -> bool:
    """Whether the query needs no splitting of its fields."""
    return _fits(client, query, query.fields)


def group_fields(client: SalesforceClient, query: RestQuery, known: Sequence[Sequence[str]] = ()) -> FieldGroups:
    """The query's fields in groups that fit a URL each.

    Args:
        client: the org.
        query: whose fields.
        known: groups that another machine has learned.

    Raises:
        SourceError: there is no Id to put several groups together by.
    """
    return FieldGroups(query.fields, query.shared, lambda fields: _fits(client, query, fields), known)


def _fits(client: SalesforceClient, query: RestQuery, fields: Sequence[str]) -> bool:
    page_of_ids = _of_ids(query, ["0" * 18] * _IDS_PER_QUERY).soql(fields)
    everything = len(fields) >= len(query.fields) and set(fields) == set(query.fields)
    text = query.soql(fields) if everything else max(query.soql(fields), page_of_ids, key=len)
    return client.fits_url(client.path(query.resource), {"q": text})


def _pages(client: SalesforceClient, query: RestQuery, fields: Sequence[str]) -> Iterator[Answer]:
    """The pages of a query, the next one asked for when it is wanted; a server whose pages have no end is left.

    Raises:
        IncompleteReadError: a page leads to one that was read, more rows come than were promised, one empty page leads
            to another, or the last page is missing.
    """
    doing = f"reading {query.object_name}"
    size = _page_size(query.page_size)
    headers = {"Sforce-Query-Options": f"batchSize={size}"}
    params: dict[str, str] | None = {"q": query.soql(fields)}
    path, trail, rows = client.path(query.resource), Trail(doing), 0
    promised: int | None = None
    while True:
        try:
            page = client.get_json(path, doing, params, headers=headers, loads=loads_as_text)
        except RequestRefusedError as error:
            if query.own is not None and not is_too_wide(error):
                error.advise(_OWN_HINTS.get(error.code, f"check the query that {Flag.SOURCE_TABLE} holds"))
            raise
        if params is not None:
            promised, params = rows_in(page, "totalSize"), None
        rows += len(page.parts("records"))
        if promised is not None and rows > promised:
            raise _not_as_promised(doing, promised, rows)
        yield page
        following = page.get("nextRecordsUrl")
        if not following:
            if page.get("done") is False:
                raise IncompleteReadError(f"{doing}: a page says that more rows follow, and not where")
            return
        path = address(following, doing)
        trail.follow(path)
        trail.pass_page(len(page["records"]))
        trail.go_on()


def _not_as_promised(doing: str, promised: int, rows: int) -> IncompleteReadError:
    return IncompleteReadError(
        f"{doing}: Salesforce promised {promised} rows and gave {rows}", hint="run again; nothing was written"
    )


def _complete(client: SalesforceClient, query: RestQuery, groups: FieldGroups, page: list[Record]) -> list[Record]:
    """The page's records with the fields of all groups.

    A record that changed between two queries would mix two states: its system timestamp tells, and it is read again.
    """
    whole: dict[str, Record] = {}
    first = {_id_of(record, query): record for record in page}
    pending = list(first)
    for _ in range(_REREADS):
        parts = [first, *_other_groups(client, query, groups, pending)]
        for row_id in pending:
            found = [part[row_id] for part in parts if row_id in part]
            if len(found) == len(parts) and len({record.get(SYSTEM_TIMESTAMP) for record in found}) == 1:
                whole[row_id] = {name: value for record in found for name, value in record.items()}
        pending = [row_id for row_id in pending if row_id not in whole]
        if not pending:
            return [whole[_id_of(record, query)] for record in page]
        first = _by_id(client, query, groups[0], pending)
    raise IncompleteReadError(
        f"reading {query.object_name}: {len(pending)} rows, {pending[0]} among them, changed or vanished at every try",
        hint="run again when the object is quieter",
    )


def _other_groups(
    client: SalesforceClient, query: RestQuery, groups: FieldGroups, ids: Sequence[str]
) -> list[dict[str, Record]]:
    """The records of these Ids with the fields of each group but the first; there may be more groups afterwards."""
    parts: list[dict[str, Record]] = []
    while len(parts) + 1 < len(groups):
        place = len(parts) + 1
        try:
            parts.append(_by_id(client, query, groups[place], ids))
        except RequestRefusedError as error:
            if not is_too_wide(error):
                raise
            groups.split(place, error)
    return parts


def _by_id(client: SalesforceClient, query: RestQuery, fields: Sequence[str], ids: Sequence[str]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for start in range(0, len(ids), _IDS_PER_QUERY):
        some = _of_ids(query, ids[start : start + _IDS_PER_QUERY])
        for page in _pages(client, some, fields):
            records.update((_id_of(record, query), record) for record in page.parts("records"))
    return records


def _id_of(record: Record, query: RestQuery) -> str:
    return id_in(Answer(record, f"reading {query.object_name}"))
