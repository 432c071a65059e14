"""Knows how Bulk API 1.0 cuts a query into ranges of Ids when a job asks for it; must not know jobs or HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ingestr.simulator.errors import ApiError
from ingestr.simulator.ids import to_18
from ingestr.simulator.model import SObject
from ingestr.simulator.numbers import whole
from ingestr.simulator.soql import rules
from ingestr.simulator.soql.tree import Select
from ingestr.simulator.store import Store, quote

_DEFAULT_SIZE, _BIGGEST_SIZE = 100_000, 250_000
# Too small to be cut, as the platform sees it.
_NOT_CHUNKED = frozenset({"RecordType", "Profile", "Group", "OpportunityStage", "CampaignMemberStatus"})


@dataclass(frozen=True, slots=True)
class Chunking:
    """What the header Sforce-Enable-PKChunking asked for: rows of a chunk, whose Ids are cut, and from which on."""

    field: str
    owner: SObject
    size: int
    start_row: str | None


def read_header(header: str | None, owner: SObject, store: Store) -> Chunking | None:
    """Return what `TRUE` or `chunkSize=…; parent=…; startRow=…` asks for, or None when nothing is asked for.

    Raises:
        ApiError: the object cannot be chunked, or the header cannot be read.
    """
    text = (header or "").strip()
    if not text or text.upper() == "FALSE":
        return None
    if owner.name in _NOT_CHUNKED:
        raise ApiError(400, "InvalidJob", f"Entity '{owner.name}' is not supported to use PKChunking")
    given = {} if text.upper() == "TRUE" else _options(text)
    size = given.get("chunksize", str(_DEFAULT_SIZE))
    rows = whole(size) or 0
    if not 0 < rows <= _BIGGEST_SIZE:
        raise ApiError(400, "InvalidJob", f"Invalid chunkSize: {size}; it is at most {_BIGGEST_SIZE}")
    start = to_18(given["startrow"]) if "startrow" in given else None
    if "startrow" in given and start is None:
        raise ApiError(400, "InvalidJob", f"Invalid startRow: {given['startrow']}")
    parent = owner if "parent" not in given else store.find(given["parent"])
    field = "Id" if parent is owner else _way_to(owner, parent)
    if parent is None or field is None:
        raise ApiError(400, "InvalidJob", f"Invalid parent: {given.get('parent')}")
    return Chunking(field, parent, rows, start)


def _options(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _way_to(owner: SObject, parent: SObject | None) -> str | None:
    return next((each.name for each in owner.visible() if parent and parent.name in each.reference_to), None)


def check(select: Select) -> None:
    """Refuse what chunks cannot do.

    Raises:
        ApiError: an order, or a filter on the Id.
    """
    if select.order:
        raise ApiError(400, "InvalidBatch", "PK chunking does not support ORDER BY")
    if rules.chosen(select, ("Id",)) is not None:
        raise ApiError(400, "InvalidBatch", "PK chunking does not support a filter on the Id")


def conditions(chunking: Chunking, store: Store) -> list[str]:
    """Return one SQL condition on the rows of `t0` for each chunk; together they are all rows from `start_row` on."""
    table = quote(store.ensure(chunking.owner).name)
    first, parameters = "", list[Any]()
    if chunking.start_row is not None:
        first, parameters = 'WHERE "Id" >= ?', [chunking.start_row]
    numbered = f'SELECT "Id", row_number() OVER (ORDER BY "Id") - 1 AS n FROM {table} {first}'  # noqa: S608 — ours
    cut = f'SELECT "Id" FROM ({numbered}) WHERE n % {chunking.size} = 0 ORDER BY "Id"'  # noqa: S608 — ours
    with store.cursor() as cursor:
        starts = [row[0] for row in cursor.execute(cut, parameters).fetchall()]
    column = f"t0.{quote(chunking.field)}"
    ends = [f" AND {column} < '{start}'" for start in starts[1:]]
    return [f"{column} >= '{start}'{end}" for start, end in zip(starts, [*ends, ""], strict=False)]
