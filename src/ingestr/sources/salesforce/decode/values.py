"""Text in Salesforce's spelling becomes values of a column's type: one rule for every API, each value for itself.

====================  ================================================================================================
type                  what is a value; nothing else is, white space around it included
====================  ================================================================================================
boolean               ``true`` and ``false``
double                digits with or without sign, point and exponent, as far as the largest double; the nearest double
                      is the value. Also ``NaN``, ``Infinity`` and ``-Infinity``, as Java writes them.
decimal               a number in the spelling of doubles, every digit of it; more digits than the type has ask for a
                      wider column, as far as there is one
int, long             a number in the spelling of doubles that is whole and fits 64 bits, exactly: ``47.0``, ``4.7E1``.
                      A fraction asks for a wider column.
date                  ``2024-01-05``, in the years 1 to 9999
datetime              a date, ``T`` or a space, hours, and minutes, seconds and up to six digits of a fraction if they
                      are there, then an offset: ``Z``, ``+0000``, ``+00:00`` or ``+00``; without one it is no moment
time                  hours, and minutes, seconds and up to six digits of a fraction if they are there; ``Z`` or nothing
====================  ================================================================================================

A day that is in no calendar, hour 24 and second 60 are no values. Must not know where text comes from.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.lib import StringBuilder

from ingestr.core.schema import MOST_DIGITS, ColumnWidenedError
from ingestr.sources.salesforce.decode.cells import texts

TIME = pa.time64("us")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_NUMBER, _WHOLE, _TRUTH = b"0123456789+-.eE", b"0123456789-", b"truefals"
_USUAL_WHOLE, _ROOMY = 18, 30
_INT64 = range(-(1 << 63), 1 << 63)
_LONGEST_INT64 = len(str(_INT64.stop))
# The first and last day that Python and most databases have, counted from 1970.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_DAY = 86_400_000_000


def convert(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """A column of text as ``field`` says; nulls stay.

    Raises:
        ArrowInvalid: not every value is one of the type.
        ColumnWidenedError: an integer column holds a fraction, or a decimal column more digits than its type.
    """
    if field.type == TIME:
        return _to_time(column)
    if field.type == pa.bool_():
        # Arrow takes TRUE and 1 too.
        _require(_is_spelled(column, _TRUTH))
        return pc.cast(column, field.type)
    if field.type == pa.int64():
        return _to_integer(column, field)
    if field.type == pa.float64():
        return _to_double(column)
    if pa.types.is_decimal(field.type):
        return _to_decimal(column, field)
    converted = pc.cast(column, field.type)
    if pa.types.is_date32(field.type):
        _require(_is_within(converted, _FIRST_DAY, _LAST_DAY))
    elif pa.types.is_timestamp(field.type):
        _require(_is_within(converted, _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1))
    return converted


def text_array(values: Sequence[str | None]) -> pa.Array:
    """Text as an array. Unlike pa.array, the builder does not import pandas where it is installed, which takes time."""
    builder = StringBuilder()
    try:
        builder.append_values(values)
    except UnicodeEncodeError:
        # Half a surrogate pair cannot be written in UTF-8: the replacement character takes its place.
        whole = [None if v is None else v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values]
        builder = StringBuilder()
        builder.append_values(whole)
    return builder.finish()


def _to_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Arrow casts no text to times of day: they take the road over a timestamp of 1970-01-01.
    _require(not pc.any(pc.ends_with(column, "ZZ")).as_py())
    moments = pc.binary_join_element_wise("1970-01-01", pc.utf8_rtrim(column, "Z"), "T")
    return pc.cast(pc.cast(moments, pa.timestamp("us")), TIME)


def _to_double(column: pa.ChunkedArray) -> pa.ChunkedArray:
    doubles = pc.cast(column, pa.float64())
    plain = doubles
    if not _is_spelled(column, _NUMBER):
        # Arrow takes nan, inf and their like in any spelling.
        others = pc.invert(pc.is_in(column, text_array(_NOT_FINITE)))
        _require(_is_spelled(pc.filter(column, others), _NUMBER))
        plain = pc.filter(doubles, others)
    # Arrow makes infinity of a number beyond the largest double.
    _require(pc.all(pc.is_finite(plain), min_count=0).as_py())
    return doubles


def _to_integer(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Integers; Salesforce declares some fields int that hold ``47.0``, or fractions."""
    for text in (column, pc.replace_substring_regex(column, r"^(-?[0-9]+)\.0+$", r"\1")):
        if _is_spelled(text, _WHOLE):
            try:
                return pc.cast(text, pa.int64())
            except pa.ArrowInvalid:
                continue
    _to_double(column)
    # Not by way of doubles, which have 53 bits.
    exact = [None if text is None else _integer(text, field) for text in column.to_pylist()]
    return pa.chunked_array([pc.cast(text_array(exact), pa.int64())])


def _integer(text: str, field: pa.Field) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    _require(number.is_finite())
    if number != number.to_integral_value():
        raise ColumnWidenedError(field.name, pa.float64())
    # The number of digits is looked at first: 1E999999999 would take all memory.
    _require(not number or (number.adjusted() < _LONGEST_INT64 and int(number) in _INT64))
    return str(int(number)) if number else "0"


def _to_decimal(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Decimals of the field's type, none of them rounded."""
    _require(_is_spelled(column, _NUMBER))
    try:
        return pc.cast(column, field.type)
    except pa.ArrowInvalid:
        wide = _wider(column, field.type)
    if wide == field.type:
        # Some text is no number, or has more digits than any decimal.
        raise pa.ArrowInvalid("not a value of the type")
    raise ColumnWidenedError(field.name, wide)


def _wider(column: pa.ChunkedArray, type_: pa.DataType) -> pa.DataType:
    """The decimal that holds the numbers of these texts too; the same type if one of them is no number.

    It has room for more of their kind, as each widening reads the whole table again.
    """
    whole, scale = type_.precision - type_.scale, type_.scale
    for text in column.drop_null().to_pylist():
        try:
            _, digits, exponent = Decimal(text).as_tuple()
        except InvalidOperation:
            return type_
        assert isinstance(exponent, int)  # noqa: S101 - the texts hold no letters but e
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0")) if exponent < 0 else 0
        needed = max(0, -exponent - zeros)
        if max(len(digits) + exponent, needed) > MOST_DIGITS:
            return type_
        whole, scale = max(whole, len(digits) + exponent), max(scale, needed)
    if (whole, scale) == (type_.precision - type_.scale, type_.scale) or whole + scale > MOST_DIGITS:
        return type_
    # Room for some more of their kind, but not on one side of the point for digits that the other may need.
    if whole > type_.precision - type_.scale:
        whole = max(whole, min(_ROOMY - scale, _USUAL_WHOLE))
    if scale > type_.scale:
        scale = max(scale, min(_ROOMY - whole, 2 * type_.scale))
    return pa.decimal128(whole + scale, scale)


def _is_spelled(column: pa.ChunkedArray, characters: bytes) -> bool:
    """Whether the text of all values is of these characters."""
    return not any(bytes(text).translate(None, characters) for text in texts(column))


def _is_within(moments: pa.ChunkedArray, least: int, most: int) -> bool:
    # As numbers: Python cannot hold the moments that this is to find.
    found = pc.min_max(moments)
    first, last = found["min"].value, found["max"].value
    return first is None or bool(least <= first and last <= most)


def _require(holds: bool) -> None:
    if not holds:
        raise pa.ArrowInvalid("not a value of the type")
