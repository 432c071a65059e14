"""The shape of a table, and what must change in a target so that staged rows fit it."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from ingestr.errors import IngestrError

TIMESTAMP = pa.timestamp("us", tz="UTC")
# Of a decimal in Arrow, and in most databases; of a 64-bit integer.
MOST_DIGITS, _INT64_DIGITS = 38, 19


@dataclass(frozen=True)
class Column:
    """One column: its name, its Arrow type, and the source field that it holds (None: added by us)."""

    name: str
    type: pa.DataType
    field: str | None = None


@dataclass(frozen=True)
class TableSchema:
    """Columns in order."""

    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The same as an Arrow schema."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]


class ColumnWidenedError(IngestrError):
    """A value does not fit the declared type but fits a wider one: the read has to be repeated with that type."""

    def __init__(self, field: str, to: pa.DataType) -> None:
        super().__init__(f"{field} holds values that need the type {to}")
        self.field = field
        self.to = to


def normal_type(type_: pa.DataType) -> pa.DataType:
    """One spelling for types that engines name differently (time zone aliases, large and view strings)."""
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return TIMESTAMP
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    return type_


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def common_type(current: pa.DataType, incoming: pa.DataType) -> pa.DataType:
    """The narrowest of our types that holds both: numbers fit doubles, dates fit timestamps, everything fits text."""
    current, incoming = normal_type(current), normal_type(incoming)
    if current == incoming:
        return current
    pair = {current, incoming}
    if all(pa.types.is_integer(type_) for type_ in pair):
        return pa.int64()
    if all(pa.types.is_integer(type_) or pa.types.is_decimal(type_) for type_ in pair):
        return _common_decimal(current, incoming)
    if all(_is_number(type_) for type_ in pair):
        return pa.float64()
    if pair == {pa.date32(), TIMESTAMP}:
        return TIMESTAMP
    return pa.string()


def _common_decimal(current: pa.DataType, incoming: pa.DataType) -> pa.DataType:
    """Every digit of both, where a decimal can have so many; else doubles."""
    scales = [type_.scale if pa.types.is_decimal(type_) else 0 for type_ in (current, incoming)]
    wholes = [
        type_.precision - scale if pa.types.is_decimal(type_) else _INT64_DIGITS
        for type_, scale in zip((current, incoming), scales, strict=True)
    ]
    digits = max(wholes) + max(scales)
    return pa.decimal128(digits, max(scales)) if digits <= MOST_DIGITS else pa.float64()


def field_names(columns: Iterable[Column]) -> list[str]:
    """The source fields behind columns, in order, without the columns that we add."""
    return [column.field for column in columns if column.field is not None]
