"""Pages of text become record batches of the declared types.

CSV and JSON take one road: both are first columns of text in Salesforce's own spelling, then cast by the same
functions, so that a table is the same whichever API served it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from pyarrow.lib import StringBuilder

from ingestr.core.schema import ColumnWidenedError
from ingestr.errors import DecodeError, IncompleteReadError
from ingestr.sources.base import RejectedRow

# Blocks that fit a processor's cache are parsed fastest; a row longer than one needs the next size, at last the page.
_BLOCK_BYTES = (1 << 20, 16 << 20)
_LARGE_BLOCK_BYTES = (16 << 20, 512 << 20)
_PARSE = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
_TIME = pa.time64("us")
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


def decode_csv(page: bytes, schema: pa.Schema, *, collect: bool = False) -> Decoded:
    """A page of Bulk results as a table of ``schema``, columns matched by name.

    An empty cell is null whatever its quotes, as Salesforce stores no empty text; every other text is data.

    Args:
        page: CSV with a header row.
        schema: the columns wanted.
        collect: set rows aside whose values do not fit, rather than to fail.

    Raises:
        IncompleteReadError: the page is cut short, or its header is not the one asked for.
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
    try:
        table = _read_csv(page, _first_types(schema))
    except pa.ArrowInvalid:
        try:
            table = _read_csv(page, _all_text(schema))
        except pa.ArrowInvalid as error:
            raise IncompleteReadError(f"a page of results is broken: {error}") from None
    return cast_table(table, schema, collect=collect)


def decode_csv_in_parts(
    open_page: Callable[[], BinaryIO], schema: pa.Schema, *, collect: bool = False
) -> Iterator[Decoded]:
    """The same for a page that is too large to be in memory at once: a block after the other.

    Args:
        open_page: opens the page at its beginning, with a line break at its end and without NUL.
        schema: as for ``decode_csv``, and so are ``collect`` and the errors.
    """
    ways = [(_first_types(schema), _BLOCK_BYTES[0]), *((_all_text(schema), size) for size in _LARGE_BLOCK_BYTES)]
    done = 0
    for types, size in ways:
        # Where one way cannot go on, the next begins after the rows that were handed on.
        read = csv.ReadOptions(block_size=size, use_threads=False, skip_rows_after_names=done)
        try:
            with open_page() as source:
                for batch in _parse(csv.open_csv, source, types, read):
                    decoded = cast_table(pa.Table.from_batches([batch]), schema, collect=collect)
                    done += decoded.rows
                    yield decoded
        except pa.ArrowInvalid as error:
            if size == _LARGE_BLOCK_BYTES[-1]:
                raise IncompleteReadError(f"a page of results is broken: {error}") from None
        else:
            return


def _first_types(schema: pa.Schema) -> pa.Schema:
    # Times end in Z, which Arrow's reader does not take: they are read as text and cast.
    return pa.schema([pa.field(f.name, pa.string() if f.type == _TIME else f.type) for f in schema])


def _all_text(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(f.name, pa.string()) for f in schema])


def _read_csv(page: bytes, schema: pa.Schema) -> pa.Table:
    buffer = pa.py_buffer(page)
    sizes = [size for size in _BLOCK_BYTES if size < len(page)] + [len(page) + 1]
    for size in sizes:
        # Pages are decoded side by side: threads within a page would cost twice the time of the processors.
        read = csv.ReadOptions(block_size=size, use_threads=False)
        try:
            return _parse(csv.read_csv, pa.BufferReader(buffer), schema, read)
        except pa.ArrowInvalid:
            if size == sizes[-1]:
                raise
    raise AssertionError("the loop returns or raises")


def _parse(how: Callable[..., Any], source: Any, schema: pa.Schema, read: csv.ReadOptions) -> Any:
    convert = csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        true_values=["true"],
        false_values=["false"],
    )
    try:
        return how(source, read_options=read, parse_options=_PARSE, convert_options=convert)
    except (pa.ArrowKeyError, KeyError) as error:
        raise IncompleteReadError(f"a page of results lacks a column that was asked for: {error}") from None


def decode_json(records: Sequence[dict[str, Any]], schema: pa.Schema, *, collect: bool = False) -> Decoded:
    """Records of a REST page as a table of ``schema``.

    Numbers must come as the text that was on the wire (``loads_as_text`` keeps it). ``collect`` as for CSV.

    Raises:
        IncompleteReadError: a record lacks a field that was asked for.
    """
    if not records:
        return Decoded(schema.empty_table(), (), 0)
    arrays = []
    for field in schema:
        try:
            values = [_as_text(record[field.name]) for record in records]
        except KeyError:
            raise IncompleteReadError(f"a record lacks the field {field.name} that was asked for") from None
        arrays.append(_text_array(values))
    return cast_table(pa.table(arrays, names=schema.names), schema, collect=collect)


def loads_as_text(body: bytes) -> Any:
    """Decode JSON, numbers as the text on the wire: ``1.2345678E7`` stays that in a text column, as it does in CSV."""
    return json.loads(body, parse_float=str, parse_int=str, parse_constant=str)


def _text_array(values: list[str | None]) -> pa.Array:
    # Unlike pa.array, the builder does not import pandas where it is installed, which takes longer than a small table.
    builder = StringBuilder()
    try:
        builder.append_values(values)
    except UnicodeEncodeError:
        # Half a surrogate pair cannot be written in UTF-8: the replacement character takes its place.
        whole = [None if v is None else v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values]
        builder = StringBuilder()
        builder.append_values(whole)
    return builder.finish()


def _as_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def cast_table(table: pa.Table, schema: pa.Schema, *, collect: bool = False) -> Decoded:
    """Columns of text, or already of the right type, as ``schema`` says."""
    rejected: list[RejectedRow] = []
    bad: set[int] = set()
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            columns.append(column if column.type == field.type else _convert(column, field))
        except pa.ArrowInvalid:
            for place in _misfits(column, field):
                if not collect:
                    raise _bad_value(table, field, place) from None
                bad.add(place)
                value = column[place].as_py()[:_LONGEST_VALUE]
                rejected.append(RejectedRow(_id_of(table, place), field.name, value, f"not a value of {field.type}"))
    if not bad:
        return Decoded(pa.table(columns, schema=schema), (), table.num_rows)
    good = table.filter(pa.array(place not in bad for place in range(table.num_rows)))
    return Decoded(cast_table(good, schema).table, tuple(rejected), table.num_rows)


def _misfits(column: pa.ChunkedArray, field: pa.Field) -> Iterator[int]:
    """Places of the values that cannot be converted, in order, by halving what fails."""
    parts = [(0, len(column))]
    while parts:
        first, size = parts.pop()
        try:
            _convert(column.slice(first, size), field)
        except pa.ArrowInvalid:
            if size == 1:
                yield first
            else:
                half = size // 2
                parts += [(first + half, size - half), (first, half)]


def _convert(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if field.type == _TIME:
        # Arrow casts no text to times of day: they take the road over a timestamp of 1970-01-01.
        moments = pc.binary_join_element_wise("1970-01-01", pc.utf8_rtrim(column, "Z"), "T")
        return pc.cast(pc.cast(moments, pa.timestamp("us")), _TIME)
    if field.type == pa.bool_():
        # Made by our own builder, as pa.array and pa.scalar import pandas.
        known = _text_array(["true", "false", None])
        if not pc.all(pc.is_in(column, known), min_count=0).as_py():
            raise pa.ArrowInvalid("neither true nor false")
        return pc.equal(column, known[0])
    if field.type == pa.int64():
        return _to_integer(column, field)
    return pc.cast(column, field.type)


def _to_integer(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Integers, also where the wire says ``47.0``; Salesforce declares some fields int that hold fractions."""
    try:
        return pc.cast(column, pa.int64())
    except pa.ArrowInvalid:
        doubles = pc.cast(column, pa.float64())
    try:
        return pc.cast(doubles, pa.int64())
    except pa.ArrowInvalid:
        raise ColumnWidenedError(field.name, pa.float64()) from None


def _id_of(table: pa.Table, place: int) -> str | None:
    return table.column("Id")[place].as_py() if "Id" in table.column_names else None


def _bad_value(table: pa.Table, field: pa.Field, place: int) -> DecodeError:
    """Name the value that does not fit, and its row's Id, so that somebody can look it up."""
    row = _id_of(table, place) or f"number {place + 1} of its page"
    value = table.column(field.name)[place].as_py()[:80]
    return DecodeError(
        f"{field.name} of row {row} is {value!r}, which is no {field.type}",
        hint=f"leave the field out: --sql-exclude-columns {field.name}",
    )
