"""Knows what is refused of a statement that can be read: aliases, limits, semi-joins; must not know objects or SQL."""

from __future__ import annotations

from collections.abc import Iterator

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.soql.functions import AGGREGATES, DATE_FUNCTIONS
from ingestr.simulator.soql.tree import (
    Call,
    Comparison,
    Condition,
    Item,
    Junction,
    Membership,
    Negation,
    Path,
    Select,
)

MOST_OFFSET = 2_000
MOST_FIELDS_ROWS = 200
MOST_CHILDREN = 20
_MOST_SEMI_JOINS = 2


def malformed(select: Select, at: int, message: str) -> ApiError:
    """Return a MALFORMED_QUERY that points at a place."""
    return ApiError(400, "MALFORMED_QUERY", pointed_at(select.text, at, message))


def is_aggregate(item: Item) -> bool:
    """Whether an item is of a group of rows."""
    return isinstance(item.expression, Call) and item.expression.name in AGGREGATES


def is_grouping(select: Select) -> bool:
    """Whether a statement answers with groups instead of rows."""
    dated = any(isinstance(item.expression, Call) and item.expression.name in DATE_FUNCTIONS for item in select.items)
    return bool(select.group) or dated or any(is_aggregate(item) for item in select.items)


def is_count(select: Select) -> bool:
    """Whether a statement asks for COUNT() alone."""
    first = select.items[0].expression
    return len(select.items) == 1 and isinstance(first, Call) and first.name == "COUNT" and not first.arguments


def check(select: Select) -> None:
    """Refuse what follows from the statement alone.

    Raises:
        ApiError: as the platform words it.
    """
    _check_items(select)
    _check_bounds(select)
    _check_semi_joins(select)


def _check_items(select: Select) -> None:
    children = [item.expression for item in select.items if isinstance(item.expression, Select)]
    if len(children) > MOST_CHILDREN:
        message = f"SOQL statements cannot query more than {MOST_CHILDREN} different child types."
        raise ApiError(400, "MALFORMED_QUERY", message)
    for child in children:
        if is_grouping(child):
            raise malformed(select, child.at, "only root queries support aggregate expressions")
    for item in select.items:
        if item.alias is not None and isinstance(item.expression, Path) and not is_grouping(select):
            raise malformed(select, item.expression.at, "only aggregate expressions use field aliasing")


def _check_bounds(select: Select) -> None:
    if select.offset is not None and select.offset > MOST_OFFSET:
        raise ApiError(400, "NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MOST_OFFSET}")
    overall = not select.group and not is_count(select) and any(is_aggregate(item) for item in select.items)
    for word, number in (("LIMIT", select.limit), ("OFFSET", select.offset)):
        if overall and number is not None:
            message = f"Non-grouped query that uses overall aggregate functions cannot also use {word}"
            raise malformed(select, select.at, message)


def _check_semi_joins(select: Select) -> None:
    found = list(_semi_joins(select.where))
    if len(found) > _MOST_SEMI_JOINS:
        raise malformed(select, select.at, f"Maximum {_MOST_SEMI_JOINS} semi join sub-selects are allowed")
    for inner, in_or in found:
        if in_or:
            raise malformed(select, inner.at, "Semi join sub-selects are not allowed with the 'OR' operator")
        if any(_semi_joins(inner.where)):
            raise malformed(select, inner.at, "Nesting of semi join sub-selects is not supported")
        if inner.source.lower() == select.source.lower():
            raise malformed(select, inner.at, "The inner and outer selects should not be on the same object type")


def _semi_joins(condition: Condition | None, *, in_or: bool = False) -> Iterator[tuple[Select, bool]]:
    """Give each query inside an IN, and whether it is an alternative."""
    match condition:
        case Membership(query=Select() as query):
            yield query, in_or
        case Junction():
            for each in condition.conditions:
                yield from _semi_joins(each, in_or=in_or or condition.operator == "OR")
        case Negation():
            yield from _semi_joins(condition.condition, in_or=in_or)
        case _:
            pass


def chosen(select: Select, fields: tuple[str, ...]) -> int | None:
    """Return how many values of one of those fields the statement asks for, or None when it does not name them."""
    wanted = {name.lower() for name in fields}
    top = select.where.conditions if isinstance(select.where, Junction) else (select.where,)
    if isinstance(select.where, Junction) and select.where.operator == "OR":
        return None
    for each in top:
        if not isinstance(each, (Comparison, Membership)) or not isinstance(each.operand, Path):
            continue
        if each.operand.parts[-1].lower() not in wanted or len(each.operand.parts) > 1:
            continue
        if isinstance(each, Comparison) and each.operator == "=" and each.value.kind != "null":
            return 1
        if isinstance(each, Membership) and each.operator == "IN" and each.query is None:
            return len(each.values)
    return None
