"""Pages of text become record batches of the declared types.

CSV and JSON take one road: both are first columns of text in Salesforce's spelling (``cells.py`` for CSV), then cast by
one rule (``values.py``), so that a value is the same whichever API served it and whatever else is in its page.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from ingestr.errors import DecodeError, IncompleteReadError
from ingestr.flags import Flag
from ingestr.sources.base import RejectedRow
from ingestr.sources.salesforce.decode.cells import read_page, read_parts
from ingestr.sources.salesforce.decode.values import convert, text_array

# Blocks that fit a processor's cache are parsed fastest.
_BLOCK_BYTES = 2 << 20
_LONGEST_VALUE = 1_000


@dataclass(frozen=True)
class Decoded:
    """A page's rows: those of the declared types, and those that have a value which does not fit.

    Args:
        table: the good rows.
        rejected: one entry for each value that does not fit.
        rows: how many rows the page had, good and rejected.
    """

    table: pa.Table
    rejected: tuple[RejectedRow, ...]
    rows: int


def decode_csv(page: bytes, schema: pa.Schema, *, collect: bool = False, block_bytes: int | None = None) -> Decoded:
    """A page of Bulk results as a table of ``schema``, columns matched by name.

    An empty cell is null whatever its quotes, as Salesforce stores no empty text; every other text is data; NUL
    in it is left out.

    Args:
        page: CSV with a header row.
        schema: the columns wanted.
        collect: set rows aside whose values do not fit, rather than to fail.
        block_bytes: text to parse at a time; it makes no difference to the table.

    Raises:
        IncompleteReadError: the page is cut short or no CSV, or its header is not the one asked for.
        ColumnWidenedError: an integer column holds fractions.
        DecodeError: a value does not fit its type, and rows are not collected; says which.
    """
    if b"\0" in page:
        # Databases do not take NUL in text, and Salesforce lets it in by accident only.
        page = page.replace(b"\0", b"")
    if not page or page.isspace():
        return Decoded(schema.empty_table(), (), 0)
    if not page.endswith(b"\n"):
        page += b"\n"
    return cast_table(read_page(page, schema.names, block_bytes or _BLOCK_BYTES), schema, collect=collect)


def decode_csv_in_parts(
    open_page: Callable[[], BinaryIO], schema: pa.Schema, *, collect: bool = False, block_bytes: int | None = None
) -> Iterator[Decoded]:
    """The same for a page that is too large to be in memory at once: a part after the other.

    Args:
        open_page: opens the page at its beginning, with a line break at its end and without NUL.
        schema: as for ``decode_csv``, and so are ``collect``, ``block_bytes`` and the errors.
    """
    with open_page() as source:
        for part in read_parts(source, schema.names, block_bytes or _BLOCK_BYTES):
            yield cast_table(part, schema, collect=collect)


def decode_json(
    records: Sequence[dict[str, Any]],
    schema: pa.Schema,
    places: Mapping[str, Sequence[str]] | None = None,
    *,
    collect: bool = False,
) -> Decoded:
    """Records of a REST page as a table of ``schema``.

    Numbers must come as the text that was on the wire (``loads_as_text`` keeps it).

    Args:
        records: as they came.
        schema: the columns wanted.
        places: column → the keys that lead to its value, from one object into the next; by default its name alone.
        collect: as for CSV.

    Raises:
        IncompleteReadError: a record lacks a field that was asked for.
    """
    if not records:
        return Decoded(schema.empty_table(), (), 0)
    arrays = []
    for field in schema:
        try:
            *way, key = (places or {}).get(field.name, (field.name,))
            found = [_inside(record, way) for record in records] if way else records
            values = [_as_text(record[key]) if record is not None else None for record in found]
        except KeyError:
            raise IncompleteReadError(f"a record lacks the field {field.name} that was asked for") from None
        arrays.append(text_array(values))
    return cast_table(pa.table(arrays, names=schema.names), schema, collect=collect)


def _inside(record: dict[str, Any] | None, way: Sequence[str]) -> dict[str, Any] | None:
    """The parent's record at the end of a way; None where there is no such parent."""
    for key in way:
        if record is None:
            return None
        record = record[key]
    return record


def loads_as_text(body: bytes) -> Any:
    """Decode JSON, numbers as the text on the wire: ``1.2345678E7`` stays that in a text column, as it does in CSV."""
    return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        # As in CSV: without NUL, and nothing is null.
        return value.replace("\0", "") or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def cast_table(table: pa.Table, schema: pa.Schema, *, collect: bool = False) -> Decoded:
    """Columns of text as ``schema`` says. A column that has to be wider goes before values that do not fit."""
    misfits: list[tuple[int, pa.Field]] = []
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            columns.append(column if column.type == field.type else convert(column, field))
        except pa.ArrowInvalid:
            misfits += [(place, field) for place in _misfits(column, field)]
    if not misfits:
        return Decoded(pa.table(columns, schema=schema), (), table.num_rows)
    if not collect:
        place, field = min(misfits, key=lambda misfit: misfit[0])
        raise _bad_value(table, field, place)
    rejected = tuple(
        RejectedRow(_id_of(table, place), field.name, _start_of(table, field, place), f"not a value of {field.type}")
        for place, field in misfits
    )
    bad = {place for place, _ in misfits}
    good = table.filter(pa.array(place not in bad for place in range(table.num_rows)))
    return Decoded(cast_table(good, schema).table, rejected, table.num_rows)


def _misfits(column: pa.ChunkedArray, field: pa.Field) -> Iterator[int]:
    """Places of the values that cannot be converted, in order, by halving what fails."""
    parts = [(0, len(column))]
    while parts:
        first, size = parts.pop()
        try:
            convert(column.slice(first, size), field)
        except pa.ArrowInvalid:
            if size == 1:
                yield first
            else:
                half = size // 2
                parts += [(first + half, size - half), (first, half)]


def _id_of(table: pa.Table, place: int) -> str | None:
    return table.column("Id")[place].as_py() if "Id" in table.column_names else None


def _start_of(table: pa.Table, field: pa.Field, place: int) -> str:
    value: str = table.column(field.name)[place].as_py()
    return value[:_LONGEST_VALUE]


def _bad_value(table: pa.Table, field: pa.Field, place: int) -> DecodeError:
    """Name the value that does not fit, and its row's Id, so that somebody can look it up."""
    row = _id_of(table, place) or f"number {place + 1} of its page"
    value = _start_of(table, field, place)[:80]
    return DecodeError(
        f"{field.name} of row {row} is {value!r}, which is no {field.type}",
        hint=f"leave the field out: {Flag.SQL_EXCLUDE_COLUMNS} {field.name}",
    )
