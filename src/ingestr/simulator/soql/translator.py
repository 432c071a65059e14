"""Knows how a SOQL tree becomes one DuckDB SELECT, and what is refused on the way; not formats or HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.model import COMPOUND_TYPES, TEXT_TYPES, Field, SObject
from ingestr.simulator.soql import rules
from ingestr.simulator.soql.conditions import Conditions
from ingestr.simulator.soql.functions import SAME, call_value
from ingestr.simulator.soql.groups import Groups
from ingestr.simulator.soql.parser import parse
from ingestr.simulator.soql.scope import Catalog, Parent, Resolved, Scope
from ingestr.simulator.soql.tree import Call, Item, Path, Select, TypeOf


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result: its canonical path, what it holds, and SQL for the value."""

    path: tuple[str, ...]
    kind: str
    sql: str
    field: Field | None = None
    owner: SObject | None = None
    alias: str = ""

    @property
    def label(self) -> str:
        """What the column is called in CSV."""
        return ".".join(self.path)


@dataclass(slots=True)
class Plan:
    """A statement ready to run, and what the two APIs must know of it."""

    owner: SObject
    select: Select
    columns: list[Column]
    parents: dict[tuple[str, ...], Parent]
    tail: str
    parameters: list[Any]
    root: str
    order: str = ""
    bounds: str = ""
    count_only: bool = False
    aggregate: bool = False
    children: list[Select] = field(default_factory=list)
    typeof: bool = False
    fields_function: bool = False

    def sql(self, columns: list[str], fallback_order: str = "") -> str:
        """Return the SELECT of those SQL columns, in the statement's order or, where it has none, in the one given."""
        return f"SELECT {', '.join(columns)} {self.tail} {self.order or fallback_order} {self.bounds}"


class Translator:
    """Turns statements into plans against the objects as they are now."""

    def __init__(self, catalog: Catalog, now: datetime) -> None:
        self._catalog = catalog
        self._now = now

    def plan(self, text: str, *, everything: bool, extra: str | None = None) -> Plan:
        """Return the plan of a statement.

        Args:
            text: the SOQL.
            everything: also deleted and archived rows, as queryAll.
            extra: one more SQL condition on the rows of `t0`.

        Raises:
            ApiError: the statement is refused.
        """
        try:
            return self.plan_tree(parse(text), everything=everything, extra=extra)
        except RecursionError:
            # Parentheses and NOT, thousands deep: no mistake of ours, and nothing that the platform would run.
            raise ApiError(400, "QUERY_TOO_COMPLICATED", "SOQL statement is nested too deeply") from None

    def plan_tree(self, select: Select, *, everything: bool, extra: str | None = None) -> Plan:
        """Return the plan of a parsed statement; `extra` is one more SQL condition on the rows of `t0`."""
        rules.check(select)
        scope = Scope(self._catalog, select)
        _refuse_object(scope.owner, select)
        plan = Plan(scope.owner, select, [], scope.parents, "", [], scope.root)
        plan.count_only = rules.is_count(select)
        plan.aggregate = rules.is_grouping(select) and not plan.count_only
        if not plan.count_only:
            self._columns(plan, scope)
        conditions = Conditions(scope, select.text, self._now, self._subselect)
        where = ["TRUE" if everything else self._catalog.alive(scope.owner, scope.root)]
        if extra is not None:
            where.append(extra)
        if select.where is not None:
            where.append(conditions.sql(select.where))
        groups = Groups(scope, select)
        grouping = groups.sql()
        having = f"HAVING {conditions.sql(select.having, groups.require)}" if select.having is not None else ""
        plan.order = self._order(plan, scope, groups)
        plan.bounds = _bounds(select)
        plan.parameters = conditions.parameters
        plan.tail = f"{scope.from_sql()} WHERE {' AND '.join(where)} {grouping} {having}"
        return plan

    def _columns(self, plan: Plan, scope: Scope) -> None:
        select, seen = plan.select, set()
        unnamed = 0
        for item in select.items:
            for column in self._item_columns(plan, scope, item):
                named = column
                if not column.path:
                    named = replace(column, path=(item.alias or f"expr{unnamed}",))
                    unnamed += item.alias is None
                elif item.alias is not None:
                    named = replace(column, path=(item.alias,))
                if named.path in seen:
                    at = getattr(item.expression, "at", 0)
                    raise ApiError(
                        400, "INVALID_FIELD", pointed_at(select.text, at, f"duplicate field selected: {named.label}")
                    )
                seen.add(named.path)
                plan.columns.append(named)

    def _item_columns(self, plan: Plan, scope: Scope, item: Item) -> list[Column]:
        groups = Groups(scope, plan.select)
        match item.expression:
            case Path() as path:
                found = scope.resolve(path)
                if plan.aggregate:
                    groups.require(path)
                    return [replace(_column(found), path=found.path[-1:])]
                return [_column(found)]
            case Call() as call:
                return self._call_columns(plan, scope, call, groups)
            case TypeOf():
                plan.typeof = True
                return []
            case Select() as child:
                plan.children.append(child)
                return []

    def _call_columns(self, plan: Plan, scope: Scope, call: Call, groups: Groups) -> list[Column]:
        if call.name == "FIELDS":
            plan.fields_function = True
            paths = [Path((each.name,), call.at) for each in _expand_fields(scope.owner, call, plan.select)]
            if plan.aggregate:
                for path in paths:
                    groups.require(path)
            return [_column(scope.resolve(path)) for path in paths]
        value = call_value(call, scope, plan.select.text)
        if plan.aggregate:
            groups.require(call)
        argument = call.arguments[0] if call.arguments else None
        if call.name in SAME and isinstance(argument, Path):
            # It is the field in another form, and called like it.
            return [replace(_column(scope.resolve(argument)), kind=value.kind, sql=value.sql)]
        return [Column((), value.kind, value.sql)]

    def _order(self, plan: Plan, scope: Scope, groups: Groups) -> str:
        keys = []
        for each in plan.select.order:
            if plan.aggregate:
                groups.require(each.operand, "Ordered field")
            if isinstance(each.operand, Call):
                value = call_value(each.operand, scope, plan.select.text)
                if value.aggregate and not plan.aggregate:
                    raise rules.malformed(plan.select, each.operand.at, f"unexpected token: '{each.operand.name}'")
                sql = value.sql
            else:
                found = scope.resolve(each.operand)
                if not found.field.sortable:
                    message = f"field '{found.field.name}' can not be sorted in a query call"
                    raise ApiError(400, "INVALID_FIELD", pointed_at(plan.select.text, each.operand.at, message))
                sql = f"lower({found.sql})" if found.field.type in TEXT_TYPES else found.sql
            keys.append(f"{sql} {'DESC' if each.descending else 'ASC'} NULLS {'LAST' if each.nulls_last else 'FIRST'}")
        if keys and not plan.aggregate and not plan.count_only:
            keys.append(f'{scope.root}."Id"')
        return f"ORDER BY {', '.join(keys)}" if keys and not plan.count_only else ""

    def _subselect(self, select: Select, parameters: list[Any]) -> str:
        """Return SQL for the query inside an IN; it must select one field."""
        scope = Scope(self._catalog, select, prefix="s")
        expression = select.items[0].expression
        if len(select.items) != 1 or not isinstance(expression, Path):
            raise rules.malformed(select, select.at, "a semi-join must select one Id or reference field")
        found = scope.resolve(expression)
        if found.field.type not in {"id", "reference"}:
            message = f"semi join sub-selects can only query id fields, cannot use: '{expression.text}'"
            raise rules.malformed(select, expression.at, message)
        conditions = Conditions(scope, select.text, self._now, self._subselect)
        where = self._catalog.alive(scope.owner, scope.root)
        if select.where is not None:
            where += f" AND {conditions.sql(select.where)}"
        parameters.extend(conditions.parameters)
        return f"SELECT {found.sql} {scope.from_sql()} WHERE {where} AND {found.sql} IS NOT NULL"


def _column(found: Resolved) -> Column:
    return Column(found.path, found.field.wire_type, found.sql, found.field, found.owner, found.alias)


def _refuse_object(owner: SObject, select: Select) -> None:
    if "queryable" not in owner.flags:
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", f"entity type {owner.name} does not support query")
    if owner.refusal is not None and rules.chosen(select, owner.unless) is None:
        raise ApiError(400, *owner.refusal)


def _expand_fields(owner: SObject, call: Call, select: Select) -> list[Field]:
    argument = call.arguments[0] if call.arguments else None
    which = argument.text.upper() if isinstance(argument, Path) else ""
    if which not in {"ALL", "STANDARD", "CUSTOM"}:
        raise ApiError(
            400, "MALFORMED_QUERY", pointed_at(select.text, call.at, "FIELDS() takes ALL, STANDARD or CUSTOM")
        )
    most = rules.MOST_FIELDS_ROWS
    asked = [number for number in (select.limit, rules.chosen(select, ("Id",))) if number is not None]
    if which != "STANDARD" and min(asked, default=most + 1) > most:
        raise ApiError(400, "MALFORMED_QUERY", f"The SOQL FIELDS function must have a LIMIT of at most {most}")
    found = [each for each in owner.visible() if which == "ALL" or each.custom == (which == "CUSTOM")]
    if not found:
        message = "'FIELDS(...)' expansion function must result in at least one field being selected."
        raise ApiError(400, "MALFORMED_QUERY", message)
    return found


def _bounds(select: Select) -> str:
    limit = "" if select.limit is None else f"LIMIT {select.limit}"
    return f"{limit} OFFSET {select.offset}" if select.offset is not None else limit


def compounds(plan: Plan) -> list[Column]:
    """Return the columns that are addresses or locations."""
    return [each for each in plan.columns if each.kind in COMPOUND_TYPES]
