"""A value is the same whatever stands beside it and whichever API sent it, or it is set aside."""

import json
import math
import os
import random
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.core.schema import TIMESTAMP, ColumnWidenedError
from ingestr.errors import DecodeError
from ingestr.sources.salesforce.decode import Decoded, decode_csv, decode_json, loads_as_text
from ingestr.sources.salesforce.decode.values import convert

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "5000"))
INT, DOUBLE, BOOL, DATE, TIME = pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.time64("us")
NONE = object()  # no value of the type: set aside
WIDER = object()  # a fraction in an integer column: asks for a wider one
NOON = datetime(2024, 4, 16, 12, tzinfo=UTC)

TABLE: list[tuple[pa.DataType, dict[str, Any]]] = [
    (INT, {
        "47": 47, "-5": -5, "007": 7, "-0": 0, "47.0": 47, "47.": 47, "47.000": 47, "4.7E1": 47, "1E7":
        10_000_000, "+5": 5, "0E30": 0, "-0.0": 0, "9007199254740993": 2**53 + 1, "9007199254740993.0": 2**53 +
        1, "-9007199254740993.00": -(2**53) - 1, "9223372036854775807": 2**63 - 1, "-9223372036854775808":
        -(2**63), "9223372036854775807.0": 2**63 - 1, "9.223372036854775807E18": 2**63 - 1,
        "9223372036854775808": NONE, "-9223372036854775809.0": NONE, "1E30": NONE, "1E308": NONE, "1E400": NONE,
        "1E999999999": NONE, "3.5": WIDER, "0.1": WIDER, "1E-7": WIDER, "9007199254740993.5": WIDER, " 5": NONE,
        "5 ": NONE, "0x1F": NONE, "1_000": NONE, "NaN": NONE, "Infinity": NONE, "٣": NONE, "true": NONE, "5-":
        NONE, "--5": NONE, "1,5": NONE, "E5": NONE, ".": NONE, "1e": NONE, "five": NONE, "\t5": NONE, "5\n":
        NONE, "\u00a05": NONE, "\uff11": NONE, "0b1": NONE, "1e5f": NONE,
    }),
    (DOUBLE, {
        "1.5": 1.5, "47": 47.0, "1.2345678E7": 12345678.0, "1e+5": 1e5, "+1.5": 1.5, ".5": 0.5, "5.": 5.0,
        "-0.0": -0.0, "9007199254740993": 2.0**53, "0.1234567890123456789": 0.12345678901234568,
        "1.7976931348623157E308": 1.7976931348623157e308, "4.9E-324": 5e-324, "NaN": math.nan, "Infinity":
        math.inf, "-Infinity": -math.inf, "1e400": NONE, "-1e400": NONE, "nan": NONE, "NAN": NONE, "-NaN": NONE,
        "inf": NONE, "INF": NONE, "infinity": NONE, " 1.5": NONE, "1.5 ": NONE, "0x1F": NONE, "1_0": NONE,
        "1,5": NONE, "٣": NONE, "true": NONE, "1d": NONE, "1e": NONE, "-": NONE, "1.5\r": NONE,
    }),
    (BOOL, {
        "true": True, "false": False, "TRUE": NONE, "True": NONE, "1": NONE, "0": NONE, "yes": NONE, " true": NONE,
        "t": NONE,
    }),
    (DATE, {
        "2024-01-05": date(2024, 1, 5), "2024-02-29": date(2024, 2, 29), "1700-01-01": date(1700, 1, 1),
        "4000-12-31": date(4000, 12, 31), "0001-01-01": date.min, "9999-12-31": date.max, "2024-1-5": NONE,
        "2024-02-30": NONE, "2023-02-29": NONE, "20240105": NONE, "2024-01-05 ": NONE, "2024-01-05T00:00:00Z":
        NONE, "0000-01-01": NONE, "12024-01-01": NONE, "-001-01-01": NONE, "1713294000000": NONE, "19836": NONE,
        "01/05/2024": NONE,
    }),
    (TIMESTAMP, {
        "2024-04-16T12:00:00.000Z": NOON, "2024-04-16T12:00:00.000+0000": NOON, "2024-04-16T12:00:00Z": NOON,
        "2024-04-16T12:00:00+00:00": NOON, "2024-04-16T14:00:00.000+0200": NOON, "2024-04-16 12:00:00Z": NOON,
        "2024-04-16T12:00Z": NOON, "2024-04-16T12:00:00.1Z": NOON.replace(microsecond=100_000),
        "2024-04-16T12:00:00.123456Z": NOON.replace(microsecond=123_456), "2024-04-16T12:00:00.1234567Z": NONE,
        "2024-04-16T12:00:00.123456789Z": NONE, "1700-01-01T00:00:00.000Z": datetime(1700, 1, 1, tzinfo=UTC),
        "4000-12-31T23:59:59.999Z": datetime(4000, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        "0001-01-01T00:00:00Z": datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00+1400": NONE,
        "9999-12-31T23:59:59-1400": NONE, "12024-01-01T00:00:00Z": NONE, "2024-04-16T12:00:00.000": NONE,
        "2024-04-16": NONE, "2024-04-16T24:00:00Z": NONE, "2024-04-16T23:59:60Z": NONE, "2024-02-30T00:00:00Z":
        NONE, "1713294000000": NONE, "1713294000": NONE, "2024-04-16T12:00:00ZZ": NONE, " 2024-04-16T12:00:00Z":
        NONE, "2024-04-16T12:00:00z": NONE,
    }),
    (TIME, {
        "10:20:30.000Z": time(10, 20, 30), "10:20:30.000": time(10, 20, 30), "10:20:30": time(10, 20, 30),
        "10:20Z": time(10, 20), "23:59:59.999Z": time(23, 59, 59, 999_000), "10:20:30.1234567Z": NONE,
        "24:00:00Z": NONE, "10:20:60Z": NONE, "10:20:30ZZ": NONE, "Z": NONE, "10:20:30+0100": NONE, "36000000":
        NONE, "9:00": NONE, " 10:20": NONE, "10:20:30.000Z ": NONE,
    }),
]  # fmt: skip
GOOD = {
    INT: "1",
    DOUBLE: "0.5",
    BOOL: "false",
    DATE: "1999-12-31",
    TIMESTAMP: "1999-12-31T00:00:00.000Z",
    TIME: "01:02:03.000Z",
}
CELLS = [(type_, text, value) for type_, cells in TABLE for text, value in cells.items()]


def of_csv(type_: pa.DataType, *cells: str) -> Decoded:
    """Cells of one column, by Bulk."""
    lines = ['"Id","x"', *(f'"{n}","{text}"' for n, text in enumerate(cells))]
    return decode_csv("\n".join(lines).encode(), pa.schema([("Id", pa.string()), ("x", type_)]), collect=True)


def of_json(type_: pa.DataType, *cells: str) -> Decoded:
    """The same by REST, as text."""
    body = json.dumps([{"Id": str(n), "x": text} for n, text in enumerate(cells)]).encode()
    return decode_json(loads_as_text(body), pa.schema([("Id", pa.string()), ("x", type_)]), collect=True)


def first(decoded: Decoded) -> object:
    """What became of the first cell."""
    if decoded.rejected:
        assert {row.key for row in decoded.rejected} == {"0"}
        assert "0" not in decoded.table.column("Id").to_pylist()
        return NONE
    return decoded.table.column("x")[0].as_py()


def shown(value: object) -> str:
    """What tells values apart: signs of zero, NaN, and the moment whatever its zone is called."""
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def outcome(way: Any, type_: pa.DataType, *cells: str) -> object:
    """The same, or that the column has to be wider."""
    try:
        return first(way(type_, *cells))
    except ColumnWidenedError:
        return WIDER


@pytest.mark.parametrize(("type_", "text", "value"), CELLS)
def test_a_value_is_the_same_everywhere(type_: pa.DataType, text: str, value: object) -> None:
    """Alone, beside others of any spelling, and by either API."""
    neighbours: list[tuple[str, ...]] = [(), ("",), (GOOD[type_],) * 3]
    if type_ in (INT, DOUBLE):
        neighbours += [("47.0",), ("1E7", "2"), ("-7.00", "9007199254740993")]
    if type_ == DOUBLE:
        neighbours += [("NaN",), ("-Infinity", "2.5")]
    for beside in neighbours:
        for way in (of_csv, of_json):
            assert shown(outcome(way, type_, text, *beside)) == shown(value)


JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
JSON_NUMBERS = [each for each in CELLS if each[0] in (INT, DOUBLE) and JSON_NUMBER.fullmatch(each[1])]


@pytest.mark.parametrize(("type_", "text", "value"), JSON_NUMBERS)
def test_a_json_number_is_what_its_text_is(type_: pa.DataType, text: str, value: object) -> None:
    """Numbers without quotes are read as the text on the wire."""
    records = loads_as_text(f'[{{"Id":"0","x":{text}}}]'.encode())
    schema = pa.schema([("Id", pa.string()), ("x", type_)])
    assert shown(outcome(lambda _: decode_json(records, schema, collect=True), type_)) == shown(value)


def test_a_moment_in_milliseconds_is_no_moment() -> None:
    """Bulk 1.0 sends numbers for moments, which must not become a day of 1970."""
    records = loads_as_text(b'[{"Id":"1","x":1713294000000}]')
    for type_ in (TIMESTAMP, DATE, TIME):
        with pytest.raises(DecodeError, match="1713294000000"):
            decode_json(records, pa.schema([("Id", pa.string()), ("x", type_)]))


@pytest.mark.parametrize("order", [("n", "d"), ("d", "n")])
@pytest.mark.parametrize("collect", [True, False])
def test_a_column_that_must_be_wider_goes_first(order: tuple[str, str], collect: bool) -> None:
    """Bad values in another column, or in the same, do not hide it, whatever the order."""
    types = {"n": INT, "d": DATE}
    schema = pa.schema([(name, types[name]) for name in order])
    for numbers in (["3.5", "1"], ["x", "3.5"], ["3.5", "x"]):
        records = [{"n": number, "d": "never"} for number in numbers]
        with pytest.raises(ColumnWidenedError) as caught:
            decode_json(records, schema, collect=collect)
        assert caught.value.field == "n"


def test_a_wider_column_holds_the_nearest_doubles() -> None:
    """After that, integers are what a double makes of them."""
    assert of_csv(DOUBLE, "3.5", "9007199254740993").table.column("x").to_pylist() == [3.5, 2.0**53]


def test_the_first_bad_row_is_named() -> None:
    """Whatever the order of columns."""
    for order in (["a", "b"], ["b", "a"]):
        schema = pa.schema([("Id", pa.string()), *((name, DATE) for name in order)])
        with pytest.raises(DecodeError, match="a of row 1 is 'never'"):
            decode_json([{"Id": "1", "a": "never", "b": None}, {"Id": "2", "a": None, "b": "nor now"}], schema)


def test_text_of_nul_alone_is_null_by_either_api() -> None:
    """NUL is dropped, and nothing is null."""
    assert of_csv(pa.string(), "\0").table.column("x").to_pylist() == [None]
    assert of_json(pa.string(), "\0").table.column("x").to_pylist() == [None]


def spelling(dice: random.Random, type_: pa.DataType) -> str:
    """A good spelling with a character or two of it changed, as often as not."""
    good = dice.choice([text for each, text, _ in CELLS if each == type_])
    marks = list(good)
    for _ in range(dice.choice((0, 0, 1, 1, 2))):
        place = dice.randrange(len(marks) + 1)
        marks[place : place + dice.randrange(2)] = dice.choice("0123456789+-.eEZT: x_aN٣")
    return "".join(marks) or "0"


def test_any_spelling_is_one_value_or_none(tell: Callable[[str], None]) -> None:
    """Alone, among others, by CSV and by JSON: the same value or set aside, and never another error."""
    dice = random.Random(5)
    compared = set_aside = 0
    for _ in range(EXAMPLES // 10):
        type_ = dice.choice(list(GOOD))
        cells = [spelling(dice, type_) for _ in range(10)]
        alone = [outcome(of_csv, type_, text) for text in cells]
        assert repr(alone) == repr([outcome(of_json, type_, text) for text in cells])
        kept = [(text, value) for text, value in zip(cells, alone, strict=True) if value is not WIDER]
        for way in (of_csv, of_json):
            decoded = way(type_, *(text for text, _ in kept))
            assert repr(decoded.table.column("x").to_pylist()) == repr([v for _, v in kept if v is not NONE])
            assert [row.value for row in decoded.rejected] == [text for text, v in kept if v is NONE]
        compared += len(cells)
        set_aside += sum(value is NONE for value in alone)
    tell(f"{compared} spellings were the same alone, among others and by either API; {set_aside} were set aside")


@given(st.permutations(["0.123456789", "12345678901234567890.5", "1E-12", "-7.25", "123456789012345678"]))
def test_decimals_are_widened_to_the_same_digits_in_any_order(texts: list[str]) -> None:
    """Whichever value asks for a wider column first, all of them fit in the end, with every digit."""
    field = pa.field("n", pa.decimal128(4, 2))
    column = pa.chunked_array([pa.array([text]) for text in texts])
    for _ in range(10):
        try:
            found = [convert(pa.chunked_array([chunk]), field) for chunk in column.chunks]
            break
        except ColumnWidenedError as error:
            field = field.with_type(error.to)
    assert [each.to_pylist() for each in found] == [[Decimal(text)] for text in texts]
