"""Knows what a statement with groups may name: what it groups by or what is of a whole group; must not know rows."""

from __future__ import annotations

from typing import Any

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.soql import rules
from ingestr.simulator.soql.functions import AGGREGATES, call_value
from ingestr.simulator.soql.scope import Scope
from ingestr.simulator.soql.tree import Call, Path, Select


class Groups:
    """What one SELECT groups by."""

    def __init__(self, scope: Scope, select: Select) -> None:
        self._scope = scope
        self._select = select
        self._keys = [self._key(each) for each in select.group]

    def sql(self) -> str:
        """Return the GROUP BY clause.

        Raises:
            ApiError: a field cannot be grouped, or is both grouped and aggregated.
        """
        columns = []
        for operand in self._select.group:
            if isinstance(operand, Call):
                columns.append(call_value(operand, self._scope, self._select.text).sql)
                continue
            found = self._scope.resolve(operand)
            if not found.field.groupable:
                message = f"field '{found.field.name}' can not be grouped in a query call"
                raise ApiError(400, "INVALID_FIELD", pointed_at(self._select.text, operand.at, message))
            columns.append(found.sql)
        for item in self._select.items:
            call = item.expression
            if isinstance(call, Call) and rules.is_aggregate(item) and call.arguments:
                argument = call.arguments[0]
                if isinstance(argument, Path) and self._key(argument) in self._keys:
                    message = f"Grouped field should not be aggregated: {argument.text}"
                    raise rules.malformed(self._select, call.at, message)
        return f"GROUP BY {', '.join(columns)}" if columns else ""

    def require(self, operand: Path | Call, what: str = "Field") -> None:
        """Let pass what is grouped by or of a whole group.

        Raises:
            ApiError: it is neither; the message begins with `what`.
        """
        if isinstance(operand, Call) and operand.name in AGGREGATES:
            return
        if self._key(operand) not in self._keys:
            message = f"{what} must be grouped or aggregated: {_text(operand)}"
            raise rules.malformed(self._select, operand.at, message)

    def _key(self, operand: Any) -> tuple[object, ...]:
        if isinstance(operand, Path):
            return self._scope.resolve(operand).path
        if isinstance(operand, Call):
            return (operand.name, *(self._key(each) for each in operand.arguments))
        return (operand,)


def _text(operand: Any) -> str:
    if isinstance(operand, Call):
        return f"{operand.name}({', '.join(map(_text, operand.arguments))})"
    return operand.text if isinstance(operand, Path) else str(operand)
