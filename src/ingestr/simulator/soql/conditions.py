"""Knows how a SOQL condition becomes SQL with bound parameters, and which are refused; must not know what is selected.

SOQL has two truth values: a comparison with null is false, its negation true. So every comparison here answers true
or false, never null.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any, assert_never

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.ids import to_18
from ingestr.simulator.model import FLOAT_TYPES, TEXT_TYPES, Field
from ingestr.simulator.numbers import whole
from ingestr.simulator.soql.dates import span
from ingestr.simulator.soql.functions import call_value
from ingestr.simulator.soql.scope import Scope
from ingestr.simulator.soql.tree import (
    Call,
    Comparison,
    Condition,
    Junction,
    Literal,
    Membership,
    Negation,
    Path,
    Select,
)

_TYPE_NAMES = {"datetime": "dateTime", "long": "int", "currency": "double", "percent": "double"}


class Conditions:
    """Writes the conditions of one SELECT; collects the parameters in the order of the text."""

    def __init__(self, scope: Scope, text: str, now: datetime, subselect: Callable[[Select, list[Any]], str]) -> None:
        self.parameters: list[Any] = []
        self._scope = scope
        self._text = text
        self._now = now
        self._subselect = subselect
        self._require: Callable[[Path | Call], None] | None = None

    def sql(self, condition: Condition, require: Callable[[Path | Call], None] | None = None) -> str:
        """Return SQL that is true or false; `require` refuses what a condition on groups may not name."""
        self._require = require
        return self._sql(condition)

    def _sql(self, condition: Condition) -> str:
        match condition:
            case Junction():
                return "(" + f" {condition.operator} ".join(self._sql(each) for each in condition.conditions) + ")"
            case Negation():
                return f"(NOT {self._sql(condition.condition)})"
            case Comparison():
                return self._comparison(condition)
            case Membership():
                return self._membership(condition)
            case _:
                assert_never(condition)

    def _operand(self, operand: Path | Call) -> tuple[Field, str]:
        if self._require is not None:
            self._require(operand)
        if isinstance(operand, Call):
            value = call_value(operand, self._scope, self._text)
            if value.aggregate and self._require is None:
                raise ApiError(400, "MALFORMED_QUERY", pointed_at(self._text, operand.at, _unexpected(operand.name)))
            return Field(operand.name, value.kind), value.sql
        found = self._scope.resolve(operand)
        # Describe calls an address filterable, which is for DISTANCE alone.
        if not found.field.filterable or found.field.sql_type is None:
            message = f"field '{found.field.name}' can not be filtered in a query call"
            raise ApiError(400, "INVALID_FIELD", pointed_at(self._text, operand.at, message))
        return found.field, found.sql

    def _comparison(self, condition: Comparison) -> str:
        field, column = self._operand(condition.operand)
        operator, literal = condition.operator, condition.value
        if literal.kind == "null" or (literal.kind == "string" and literal.value == "" and field.type in TEXT_TYPES):
            if operator not in {"=", "!="}:
                return "FALSE"
            return f"({column} IS {'NOT ' if operator == '!=' else ''}NULL)"
        if operator == "LIKE":
            return self._like(field, column, literal)
        if literal.kind == "word":
            return self._date_word(field, column, operator, literal)
        if field.type in TEXT_TYPES:
            column = f"lower({column})"
        self.parameters.append(self._value(field, literal))
        compared = f"{column} {operator} {_placeholder(field)}"
        if operator == "!=":
            return f"coalesce({compared}, TRUE)"
        return f"coalesce({compared}, FALSE)"

    def _like(self, field: Field, column: str, literal: Literal) -> str:
        if field.type not in TEXT_TYPES:
            message = (
                "invalid operator on id field"
                if field.type in {"id", "reference"}
                else f"invalid operator on {field.type} field"
            )
            raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", pointed_at(self._text, literal.at, message))
        self._value(field, literal)
        self.parameters.append(literal.pattern.lower())
        return f"coalesce(lower({column}) LIKE ? ESCAPE '\\', FALSE)"

    def _date_word(self, field: Field, column: str, operator: str, literal: Literal) -> str:
        word, number = literal.value
        days = span(word, number, self._now.date()) if field.type in {"date", "datetime"} else None
        if days is None:
            written = word if number is None else f"{word}:{number}"
            raise ApiError(400, "MALFORMED_QUERY", pointed_at(self._text, literal.at, _unexpected(written)))
        cast = "DATE" if field.type == "date" else "TIMESTAMP"
        first, after = (f"CAST(? AS {cast})",) * 2
        bounds = {
            "=": (f"{column} >= {first} AND {column} < {after}", days),
            "!=": (f"NOT ({column} >= {first} AND {column} < {after})", days),
            "<": (f"{column} < {first}", days[:1]),
            ">=": (f"{column} >= {first}", days[:1]),
            ">": (f"{column} >= {after}", days[1:]),
            "<=": (f"{column} < {after}", days[1:]),
        }
        sql, values = bounds[operator]
        self.parameters.extend(values)
        return f"coalesce({sql}, {'TRUE' if operator == '!=' else 'FALSE'})"

    def _membership(self, condition: Membership) -> str:
        field, column = self._operand(condition.operand)
        negative = condition.operator in {"NOT IN", "EXCLUDES"}
        if condition.operator in {"INCLUDES", "EXCLUDES"}:
            return self._includes(field, column, condition.values, negative=negative)
        if field.type in TEXT_TYPES:
            column = f"lower({column})"
        if condition.query is not None:
            inner = self._subselect(condition.query, self.parameters)
            return f"({'NOT ' if negative else ''}coalesce({column} IN ({inner}), FALSE))"
        nulls = [literal for literal in condition.values if literal.kind == "null" or literal.value == ""]
        values = [self._value(field, literal) for literal in condition.values if literal not in nulls]
        parts = [f"{column} IS NULL"] if nulls else []
        if values:
            self.parameters.extend(values)
            marks = ", ".join(_placeholder(field) for _ in values)
            parts.append(f"coalesce({column} IN ({marks}), FALSE)")
        return f"({'NOT ' if negative else ''}({' OR '.join(parts) or 'FALSE'}))"

    def _includes(self, field: Field, column: str, values: tuple[Literal, ...], *, negative: bool) -> str:
        if field.type != "multipicklist":
            message = f"includes or excludes can only be used with multipicklist fields, not '{field.name}'"
            raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", pointed_at(self._text, values[0].at, message))
        either = []
        for literal in values:
            together = [part.strip().lower() for part in str(literal.value).split(";")]
            self.parameters.extend(together)
            each = " AND ".join(f"list_contains(string_split(lower({column}), ';'), ?)" for _ in together)
            either.append(f"({each})")
        return f"({'NOT ' if negative else ''}coalesce({' OR '.join(either)}, FALSE))"

    def _value(self, field: Field, literal: Literal) -> Any:
        """Return a literal as the value to bind, once it is of the field's kind."""
        if field.type in {"id", "reference"} and literal.kind == "string":
            full = to_18(literal.value)
            if full is None:
                message = f"invalid ID field: {literal.value}"
                raise ApiError(400, "INVALID_QUERY_FILTER_OPERATOR", pointed_at(self._text, literal.at, message))
            return full
        if field.type in TEXT_TYPES and literal.kind == "string":
            return literal.value.lower()
        if field.type == "boolean" and literal.kind == "boolean":
            return literal.value
        if field.type in FLOAT_TYPES | {"int", "long"} and literal.kind == "number":
            small = whole(literal.value.lstrip("+-")) is not None
            return int(literal.value) if small and field.type not in FLOAT_TYPES else float(literal.value)
        if field.type == literal.kind and field.type in {"date", "datetime", "time"}:
            return self._moment(literal)
        raise self._wrong_type(field, literal)

    def _moment(self, literal: Literal) -> date | datetime | time:
        text = literal.value.upper()
        try:
            if literal.kind == "date":
                return date.fromisoformat(text)
            if literal.kind == "time":
                return time.fromisoformat(text.removesuffix("Z"))
            # Seconds are as fine as the platform compares.
            return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None, microsecond=0)
        except (ValueError, OverflowError):
            message = f"line 1, invalid {literal.kind}: {literal.value}"
            raise ApiError(400, "MALFORMED_QUERY", pointed_at(self._text, literal.at, message)) from None

    def _wrong_type(self, field: Field, literal: Literal) -> ApiError:
        text_like = field.type in TEXT_TYPES | {"id", "reference"}
        kind = "string" if text_like else _TYPE_NAMES.get(field.type, field.type)
        message = (
            f"value of filter criterion for field '{field.name}' must be of type {kind} and should "
            f"{'be' if text_like else 'not be'} enclosed in quotes"
        )
        return ApiError(400, "INVALID_FIELD", pointed_at(self._text, literal.at, message))


def _unexpected(token: str) -> str:
    return f"unexpected token: '{token}'"


def _placeholder(field: Field) -> str:
    kinds = {"date": "DATE", "datetime": "TIMESTAMP", "time": "TIME"}
    return f"CAST(? AS {kinds[field.type]})" if field.type in kinds else "?"
