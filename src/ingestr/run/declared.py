"""Columns that the user gives another name or type: resolved, or refused, before the first row. Knows no platform."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from ingestr.core.column_spec import ColumnSpec
from ingestr.core.schema import MOST_DIGITS, Column
from ingestr.core.sql import sql_type
from ingestr.core.strategy import Numbers
from ingestr.destinations.base import Capabilities, Target
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger.state import KeptNames
from ingestr.options import IngestOptions
from ingestr.run.reading import FieldNames, Reading
from ingestr.run.treatment import needed_fields
from ingestr.sources.base import Stream
from ingestr.strategies.base import Traits
from ingestr.strategies.fit import Declared

_WHOLE = frozenset({"TINYINT", "SMALLINT", "INT", "BIGINT"})
_REAL = frozenset({"FLOAT", "DOUBLE", "DECIMAL"})
_MOMENTS = frozenset({"DATE", "TIMESTAMP", "TIMESTAMPTZ"})
_TEXTS = frozenset({"TEXT", "VARCHAR"})
_PARSED = frozenset({"BOOLEAN", "TIME", "JSON", "JSONB", "UUID"})


def resolve(specs: tuple[ColumnSpec, ...], names: FieldNames) -> dict[str, ColumnSpec]:
    """Field → what was asked for its column.

    Args:
        specs: what the user wrote.
        names: what the user's names stand for.

    Raises:
        ConfigurationError: a field that there is not, a field or a column named twice.
    """
    found: dict[str, ColumnSpec] = {}
    columns: dict[str, str] = {}
    for spec in specs:
        field = names.find(spec.source or spec.name, f"column of {Flag.COLUMNS}")
        if field in found:
            raise ConfigurationError(f"{Flag.COLUMNS} names {field} twice", hint="leave out one of them")
        column = (spec.name if spec.source else names.columns[field]).lower()
        if column in columns:
            raise ConfigurationError(
                f"{Flag.COLUMNS} makes one column {spec.name} of {columns[column]} and of {field}",
                hint="give them different names",
            )
        found[field], columns[column] = spec, field
    return found


def new_names(specs: Mapping[str, ColumnSpec]) -> dict[str, str]:
    """Field → the name that the user gives its column."""
    return {field: spec.name for field, spec in specs.items() if spec.source is not None}


def check_names(kept: KeptNames, current: Target | None, names: Mapping[str, str]) -> None:
    """Refuse a new name for a column that stays under its old one."""
    for field, name in names.items():
        before = kept.fields.get(field)
        if before is None or current is None or before.column == name:
            continue
        if current.find(before.column) is not None:
            raise ConfigurationError(
                f"{field} has the column {before.column} in {current.ref}, and {Flag.COLUMNS} calls it {name}",
                hint=f"rename the column and start again with {Flag.FULL_REFRESH}, or leave it out of {Flag.COLUMNS}",
            )


def only_declared(stream: Stream, reading: Reading, traits: Traits, specs: Mapping[str, ColumnSpec]) -> Reading:
    """Of what is read the columns that the user names, and what the load needs beside them."""
    needed = {*specs, *reading.primary_key, *needed_fields(stream, reading, traits)}
    return replace(reading, fields=tuple(each for each in reading.fields if each.name in needed))


def number_types(
    stream: Stream,
    options: IngestOptions,
    specs: Mapping[str, ColumnSpec],
    kept: KeptNames,
    current: Target | None,
) -> dict[str, pa.DataType]:
    """Fields of numbers that are read as decimals, each with its type.

    Args:
        stream: what there is.
        options: whether decimals are wanted.
        specs: columns that the user gives a type.
        kept: what is kept of the target's columns.
        current: the table, where its columns stay; None where it is made anew or not there.

    Raises:
        ConfigurationError: decimals are wanted, and the table has doubles.
    """
    types: dict[str, pa.DataType] = {}
    for field, declared in stream.decimals.items():
        spec = specs.get(field)
        if spec is not None and spec.type is not None:
            kind = exp.DataType.build(spec.type)
            if kind.is_type("decimal"):
                # As many digits as there may be: the column tells which of them it holds.
                types[field] = pa.decimal128(MOST_DIGITS, max(declared.scale, _scale(kind)))
            continue
        before = kept.fields.get(field)
        there = current.find(before.column) if current is not None and before is not None else None
        if before is not None and there is not None and before.type.startswith("decimal"):
            types[field] = declared
        elif options.numbers is Numbers.DECIMAL:
            if there is not None and there.kind == sql_type(pa.float64()):
                raise ConfigurationError(
                    f"{Flag.NUMBERS} decimal: {there.name} of {current.ref if current else ''} is a double, "
                    "whose digits behind the fifteenth are lost",
                    hint=f"start again with {Flag.FULL_REFRESH}",
                )
            types[field] = declared
    return types


def settle_declared(
    specs: Mapping[str, ColumnSpec], columns: Mapping[str, Column], keys: tuple[str, ...], engine: Capabilities
) -> Declared:
    """The types of columns as the engine declares them.

    Args:
        specs: field → what was asked for.
        columns: field → the column as its values come to the engine, under its name in the target.
        keys: fields that rows are told apart by.
        engine: what the engine can do.

    Raises:
        ConfigurationError: a type that holds no value of the field.
    """
    kinds: dict[str, exp.DataType] = {}
    lengths: dict[str, int] = {}
    for field, spec in specs.items():
        if spec.type is None or field not in columns:
            continue
        come = columns[field]
        kind = exp.DataType.build(engine.in_place_of.get(spec.type, spec.type))
        if not _can_hold(kind, come.type):
            raise ConfigurationError(
                f"{Flag.COLUMNS} {spec.name}:{spec.type.lower()}: {field} is {come.type}, of which that type holds no "
                "value",
                hint="choose another type, or leave it out: the field's own type holds every value",
            )
        spelled = exp.DataType.build(kind.sql(engine.dialect), dialect=engine.dialect)
        if spelled != sql_type(come.type):
            if field in keys:
                raise ConfigurationError(
                    f"{Flag.COLUMNS} {spec.name}:{spec.type.lower()}: rows are told apart by {field}, which stays as "
                    "it is",
                    hint=f"leave the column out of {Flag.COLUMNS}",
                )
            kinds[come.name.lower()] = spelled
        if spec.length is not None:
            lengths[come.name.lower()] = spec.length
    return Declared(kinds, lengths)


def _scale(kind: exp.DataType) -> int:
    _, scale = (int(each.name) for each in kind.expressions)
    return scale


def _can_hold(kind: exp.DataType, type_: pa.DataType) -> bool:
    """Whether a declared type holds any value of an Arrow type; each value is looked at later."""
    name = kind.this.value
    if name in _TEXTS:
        return True
    if pa.types.is_string(type_):
        return name in _WHOLE | _REAL | _MOMENTS | _PARSED
    if pa.types.is_boolean(type_):
        return name in _WHOLE | {"BOOLEAN"}
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return name in _WHOLE | _REAL
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        return name in _MOMENTS
    return bool(pa.types.is_time(type_)) and name == "TIME"
