"""The pieces of SQL expressions that every module builds with. Knows no table and no engine's dialect."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, normal_type

Statements = list[exp.Expr]

_TYPES = {
    pa.string(): "TEXT",
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    TIMESTAMP: "TIMESTAMPTZ",
}


def identifier(name: str) -> exp.Identifier:
    """A quoted identifier, so that reserved words and any case survive."""
    return exp.to_identifier(name, quoted=True)


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column, of a table alias if one is given."""
    return exp.column(name, table=table, quoted=True)


def sql_type(type_: pa.DataType) -> exp.DataType:
    """The SQL type that keeps every value of an Arrow type; sqlglot spells it for the engine's dialect."""
    return _parsed_type(normal_type(type_)).copy()


@lru_cache
def _parsed_type(type_: pa.DataType) -> exp.DataType:
    """The same, once for all: to parse a type takes ten times as long as to copy it."""
    if pa.types.is_decimal(type_):
        return exp.DataType.build(f"DECIMAL({type_.precision}, {type_.scale})")
    if type_ not in _TYPES:
        raise TypeError(f"no SQL type is known for {type_}")
    return exp.DataType.build(_TYPES[type_])


def moment(value: datetime) -> exp.Expr:
    """A literal of a timestamp with zone."""
    return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), sql_type(TIMESTAMP))


def matches(names: Sequence[str], left: str, right: str) -> exp.Expr:
    """``left.k = right.k AND …``."""
    return exp.and_(*(column(name, left).eq(column(name, right)) for name in names))


def absent_from(keys: Sequence[exp.Expr], query: exp.Query) -> exp.Expr:
    """No row of the query has this key; unlike NOT IN, every engine joins for it, however many rows there are."""
    names = [f"_key{number}" for number in range(len(keys))]
    alias = exp.TableAlias(this=identifier("_keys"), columns=[identifier(name) for name in names])
    rows = exp.Subquery(this=query, alias=alias)
    same = exp.and_(*(column(name, "_keys").eq(key) for name, key in zip(names, keys, strict=True)))
    return exp.not_(exp.Exists(this=exp.select(exp.convert(1)).from_(rows).where(same)))


def among(keys: Sequence[str], query: exp.Query, table: str | None = None) -> exp.Expr:
    """The key is one of the query's rows."""
    key = exp.Tuple(expressions=[column(name, table) for name in keys]) if len(keys) > 1 else column(keys[0], table)
    return exp.In(this=key, query=query.subquery())
