"""Knows SOQL's functions of a value and of a group, as SQL; must not know where they are used."""

from __future__ import annotations

from dataclasses import dataclass

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.model import FLOAT_TYPES
from ingestr.simulator.soql.scope import Scope
from ingestr.simulator.soql.tree import Call, Path

DATE_FUNCTIONS = {
    "CALENDAR_YEAR": "year({0})",
    "CALENDAR_QUARTER": "quarter({0})",
    "CALENDAR_MONTH": "month({0})",
    "FISCAL_YEAR": "year({0})",
    "FISCAL_QUARTER": "quarter({0})",
    "FISCAL_MONTH": "month({0})",
    "DAY_IN_MONTH": "day({0})",
    "DAY_IN_WEEK": "dayofweek({0}) + 1",
    "DAY_IN_YEAR": "dayofyear({0})",
    "HOUR_IN_DAY": "hour({0})",
    "WEEK_IN_MONTH": "(day({0}) - 1) // 7 + 1",
    "WEEK_IN_YEAR": "(dayofyear({0}) - 1) // 7 + 1",
    "DAY_ONLY": "CAST({0} AS DATE)",
}
SAME = frozenset({"TOLABEL", "FORMAT", "CONVERTCURRENCY", "CONVERTTIMEZONE"})
AGGREGATES = {
    "COUNT": "count({0})",
    "COUNT_DISTINCT": "count(DISTINCT {0})",
    "SUM": "sum({0})",
    "AVG": "avg({0})",
    "MIN": "min({0})",
    "MAX": "max({0})",
}


@dataclass(frozen=True, slots=True)
class Value:
    """What a function gives: SQL, the type, and whether it is of a group."""

    sql: str
    kind: str
    aggregate: bool


def call_value(call: Call, scope: Scope, text: str) -> Value:
    """Return the SQL of a function call.

    Raises:
        ApiError: the function is unknown or not for that field.
    """
    if call.name == "COUNT" and not call.arguments:
        return Value("count(*)", "int", aggregate=True)
    argument = call.arguments[0] if call.arguments else None
    if isinstance(argument, Call) and call.name not in AGGREGATES:
        inner = call_value(argument, scope, text)
        return _applied(call, inner.sql, inner.kind, text)
    if not isinstance(argument, Path):
        raise ApiError(400, "MALFORMED_QUERY", pointed_at(text, call.at, f"unexpected token: '{call.name}'"))
    found = scope.resolve(argument)
    if found.field.sql_type in {None, "BLOB"} and call.name not in AGGREGATES:
        raise _not_for_it(call, text)
    if call.name not in AGGREGATES:
        return _applied(call, found.sql, found.field.wire_type, text)
    numeric = found.field.wire_type in FLOAT_TYPES | {"int", "long"}
    if not found.field.aggregatable or (call.name in {"SUM", "AVG"} and not numeric):
        message = f"field {found.field.name} does not support aggregate operator {call.name}"
        raise ApiError(400, "MALFORMED_QUERY", pointed_at(text, call.at, message))
    kind = {"COUNT": "int", "COUNT_DISTINCT": "int", "SUM": "double", "AVG": "double"}.get(
        call.name, found.field.wire_type
    )
    sql = AGGREGATES[call.name].format(found.sql)
    return Value(f"CAST({sql} AS DOUBLE)" if kind == "double" else sql, kind, aggregate=True)


def _applied(call: Call, sql: str, kind: str, text: str) -> Value:
    if call.name in SAME:
        return Value(sql, kind, aggregate=False)
    if call.name not in DATE_FUNCTIONS or kind not in {"date", "datetime"}:
        raise _not_for_it(call, text)
    return Value(DATE_FUNCTIONS[call.name].format(sql), "date" if call.name == "DAY_ONLY" else "int", aggregate=False)


def _not_for_it(call: Call, text: str) -> ApiError:
    message = f"Invalid function or argument: {call.name}"
    return ApiError(400, "MALFORMED_QUERY", pointed_at(text, call.at, message))
