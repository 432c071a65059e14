"""Decoding: text is never altered, types are never guessed, and CSV and JSON give the same table."""

import gzip
import json
from datetime import UTC, date, datetime, time
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.core.schema import TIMESTAMP, ColumnWidenedError
from ingestr.errors import DecodeError, IncompleteReadError
from ingestr.sources.salesforce.decode import decode_csv, decode_csv_in_parts, decode_json, loads_as_text
from ingestr.sources.salesforce.meta.types import ARROW_TYPES
from ingestr.sources.salesforce.read.body import check, open_text
from ingestr.sources.salesforce.read.spool import RawPage


def one(type_: pa.DataType, *cells: str) -> list[Any]:
    """Cells of one column, decoded from CSV."""
    lines = [f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in cells]
    page = "\n".join(['"x"', *lines, ""])
    values: list[Any] = decode_csv(page.encode(), pa.schema([("x", type_)])).table.column("x").to_pylist()
    return values


NASTY = [
    'quo"te', "com,ma", "line\nbreak", "carriage\rreturn", "crlf\r\ncrlf", "u\u2028v", "n\u0085l", "🙂 emoji", "007",
    "NA", "N/A", "null", "NULL", "None", "NaN", "nan", " leading", "trailing ", "   ", "\t", "=1+1", "back\\slash",
    "2024-01-01", "true", "1.0E7", "-0.0", "123456789012345678901234", "ü" * 32_000, "'single'", "'", '"', '""',
]  # fmt: skip


def test_text_is_never_altered() -> None:
    """Whatever looks like a null, a number, a date or white space is text in a text column."""
    assert one(pa.string(), *NASTY) == NASTY


def test_an_empty_cell_is_null_whatever_its_quotes() -> None:
    """Salesforce stores no empty text: quoted or bare, an empty cell is null in every type."""
    for type_ in set(ARROW_TYPES.values()):
        page = b'"x","y"\n"",\n,""\n'
        table = decode_csv(page, pa.schema([("x", type_), ("y", pa.string())])).table
        assert table.to_pylist() == [{"x": None, "y": None}] * 2


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (pa.float64(), "1.2345678E7", 12345678.0),
        (pa.float64(), "1.0E-4", 0.0001),
        (pa.float64(), "9.0E15", 9e15),
        (pa.int64(), "47", 47),
        (pa.int64(), "47.0", 47),
        (pa.int64(), "-9007199254740993", -9007199254740993),
        (pa.bool_(), "true", True),
        (pa.bool_(), "false", False),
        (pa.date32(), "1700-01-01", date(1700, 1, 1)),
        (pa.date32(), "4000-12-31", date(4000, 12, 31)),
        (TIMESTAMP, "2024-04-16T19:00:00.000Z", datetime(2024, 4, 16, 19, tzinfo=UTC)),
        (TIMESTAMP, "1700-01-01T00:00:00.000Z", datetime(1700, 1, 1, tzinfo=UTC)),
        (TIMESTAMP, "4000-12-31T23:59:59.000Z", datetime(4000, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (TIMESTAMP, "2024-04-16T19:00:00.000+0000", datetime(2024, 4, 16, 19, tzinfo=UTC)),
        (pa.time64("us"), "14:30:00.000Z", time(14, 30)),
        (pa.time64("us"), "23:59:59.999Z", time(23, 59, 59, 999_000)),
    ],
)
def test_values_of_each_type(type_: pa.DataType, text: str, value: object) -> None:
    """Each spelling of the wire is its value, alone and beside a null."""
    assert one(type_, text, "") == [value, None]


def test_negative_zero_keeps_its_sign() -> None:
    """-0.0 is not 0.0."""
    assert str(one(pa.float64(), "-0.0")[0]) == "-0.0"


def test_fractions_in_an_integer_field_ask_for_a_wider_column() -> None:
    """Describe says int, the wire says 3.5: never truncated, never a crash."""
    with pytest.raises(ColumnWidenedError) as caught:
        one(pa.int64(), "1", "3.5")
    assert (caught.value.field, caught.value.to) == ("x", pa.float64())


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (pa.bool_(), "yes"),
        (pa.date32(), "soon"),
        (pa.float64(), "1,5"),
        (TIMESTAMP, "1713294000000"),
        (pa.int64(), "x"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(type_: pa.DataType, text: str) -> None:
    """The error names the field, the row's Id and the value, so that somebody can look it up."""
    good = {pa.bool_(): "true", pa.date32(): "2024-01-01", TIMESTAMP: "2024-01-01T00:00:00.000Z"}.get(type_, "1")
    rows = [f'"00{i}","{text if i == 5 else good}"' for i in range(9)]
    page = "\n".join(['"Id","x"', *rows, ""]).encode()
    with pytest.raises(DecodeError, match=f"x of row 005 is '{text}'") as caught:
        decode_csv(page, pa.schema([("Id", pa.string()), ("x", type_)]))
    assert caught.value.hint is not None


def test_columns_are_matched_by_name() -> None:
    """Older versions send columns in alphabetical order; extra ones do not matter, a missing one does."""
    schema = pa.schema([("b", pa.int64()), ("a", pa.string())])
    assert decode_csv(b'"a","z","b"\n"x","?","1"\n', schema).table.to_pylist() == [{"b": 1, "a": "x"}]
    with pytest.raises(IncompleteReadError, match="lacks a column"):
        decode_csv(b'"a","z"\n"x","?"\n', schema)


@pytest.mark.parametrize("page", [b"", b"\n", b'"x"\n', b'"x"', b'"x"\r\n'])
def test_an_empty_page_has_no_rows(page: bytes) -> None:
    """A job without rows answers nothing, or a header with or without a line end."""
    table = decode_csv(page, pa.schema([("x", pa.int64())])).table
    assert table.num_rows == 0
    assert table.schema.field("x").type == pa.int64()


def test_nul_is_dropped() -> None:
    """Databases refuse NUL in text; what stands around it stays."""
    assert one(pa.string(), "a\0b", "\0") == ["ab", None]
    records = loads_as_text(b'[{"x":"a\\u0000b"}]')
    assert decode_json(records, pa.schema([("x", pa.string())])).table.to_pylist() == [{"x": "ab"}]


def test_a_cell_larger_than_any_reader_default() -> None:
    """A row longer than the parser's block is read all the same."""
    long = "é" * 3_000_000
    assert one(pa.string(), long, "x") == [long, "x"]


def test_a_torn_page_is_incomplete() -> None:
    """A row with too few cells is a broken page, not a short row."""
    with pytest.raises(IncompleteReadError, match="broken"):
        decode_csv(b'"a","b"\n"1","2"\n"3"\n', pa.schema([("a", pa.string()), ("b", pa.string())]))


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    """JSON can carry what UTF-8 cannot."""
    records = loads_as_text(b'[{"x":"a\\ud83d"},{"x":"\\ud83d\\ude42"}]')
    assert decode_json(records, pa.schema([("x", pa.string())])).table.column("x").to_pylist() == ["a\ufffd", "🙂"]


def test_numbers_in_a_text_column_keep_their_spelling() -> None:
    """An anyType value is the same text through JSON as through CSV."""
    records = loads_as_text(b'[{"x":1.2345678E7},{"x":37},{"x":true},{"x":null},{"x":"s"}]')
    decoded = decode_json(records, pa.schema([("x", pa.string())])).table.column("x").to_pylist()
    assert decoded == ["1.2345678E7", "37", "true", None, "s"]


def test_a_record_without_a_field_is_incomplete() -> None:
    """REST sends every field that was asked for; one that is missing was not read."""
    with pytest.raises(IncompleteReadError, match="lacks the field"):
        decode_json([{"a": "1"}], pa.schema([("a", pa.string()), ("b", pa.string())]))


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
ROW = st.fixed_dictionaries(
    {
        "s": st.none() | TEXT,
        "i": st.none() | st.integers(-(2**53), 2**53),
        "d": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.booleans(),
    }
)


@given(st.lists(ROW, max_size=20))
def test_csv_and_json_give_the_same_table(rows: list[dict[str, Any]]) -> None:
    """Whichever API served the rows, the table is the same, and it is what was sent."""
    schema = pa.schema([("s", pa.string()), ("i", pa.int64()), ("d", pa.float64()), ("b", pa.bool_())])

    def cell(value: object) -> str:
        if value is None:
            return '""'
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return '"' + text.replace('"', '""') + '"'

    page = "\n".join(['"s","i","d","b"', *(",".join(cell(row[name]) for name in schema.names) for row in rows), ""])
    from_csv = decode_csv(page.encode(), schema).table
    from_json = decode_json(loads_as_text(json.dumps(rows).encode()), schema).table
    expected = pa.Table.from_pylist([{**row, "s": row["s"] or None} for row in rows], schema=schema)
    assert from_csv.equals(expected)
    assert from_json.equals(expected)


_ROWS = [
    ("001", "one", "1"),
    ("002", 'two "2"\nlines', "2"),
    ("003", "nu\0l", ""),
    *((f"1{n:02}", "x" * n, str(n)) for n in range(60)),
]


def _as_csv(rows: list[tuple[str, str, str]]) -> bytes:
    quoted = (",".join('"' + value.replace('"', '""') + '"' for value in row) for row in [("Id", "T", "N"), *rows])
    return "\n".join(quoted).encode()


def _raw(page: bytes, encoding: str = "gzip") -> RawPage:
    return RawPage("u", gzip.compress(page) if encoding else page, encoding, None, None)


def _opened(page: bytes) -> BinaryIO:
    return open_text(_raw(page))


@pytest.mark.parametrize(
    "rows",
    [
        _ROWS,
        [*_ROWS, ("901", "a fraction that is none", "47.0"), *_ROWS],
        [*_ROWS, ("902", "no number", "seven"), *_ROWS, ("903", "nor this", "eight")],
        [*_ROWS, ("904", "longer than a block " * 100, "9"), *_ROWS],
    ],
    ids=["plain", "integer with a point", "values that do not fit", "a row longer than a block"],
)
def test_a_page_in_parts_has_the_rows_of_a_page_at_once(rows: list[tuple[str, str, str]]) -> None:
    """Part by part, and again with larger blocks where a row needs them, no row is lost, doubled or changed."""
    schema = pa.schema([("Id", pa.string()), ("T", pa.string()), ("N", pa.int64())])
    page = _as_csv(rows)
    whole = decode_csv(page, schema, collect=True)
    parts = list(decode_csv_in_parts(lambda: _opened(page), schema, collect=True, block_bytes=128))
    assert len(parts) > 2
    assert pa.concat_tables(part.table for part in parts).equals(whole.table)
    assert [each for part in parts for each in part.rejected] == list(whole.rejected)
    assert sum(part.rows for part in parts) == whole.rows == len(rows)


def test_a_page_in_parts_that_is_no_table() -> None:
    """A line with too many cells is an error, and so is a column that is not there."""
    schema = pa.schema([("Id", pa.string())])
    with pytest.raises(IncompleteReadError, match="broken"):
        list(decode_csv_in_parts(lambda: _opened(b'"Id"\n"1"\n"2","3"\n'), schema))
    with pytest.raises(IncompleteReadError, match="lacks a column"):
        list(decode_csv_in_parts(lambda: _opened(b'"Key"\n"1"\n'), schema))


@pytest.mark.parametrize("encoding", ["gzip", ""])
def test_a_large_body_that_is_cut_is_found_out_before_it_is_read(encoding: str) -> None:
    """Compressed or not, a whole body passes and half of it does not; its text is the same either way."""
    page = _as_csv(_ROWS)
    whole = _raw(page, encoding)
    check(whole)
    assert open_text(whole).read() == page.replace(b"\0", b"") + b"\n"
    for place in (len(whole.body) // 2, len(whole.body) - 1):
        with pytest.raises(IncompleteReadError):
            check(RawPage("u", whole.body[:place], encoding, None, None))
