"""Builds SOQL from describe's names and typed values; nothing a user typed gets in unchecked."""

from collections.abc import Sequence
from datetime import datetime

from ingestr.core.cursor import Window


def datetime_literal(moment: datetime) -> str:
    """A dateTime literal: UTC, whole seconds, no quotes."""
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}Z"


def string_literal(text: str) -> str:
    """A quoted string with SOQL's escapes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"


def window_conditions(window: Window | None, *, is_date: bool) -> list[str]:
    """Conditions for a window; a date field takes whole days, both ends included, so that nothing falls between."""
    if window is None:
        return []
    conditions = []
    if window.start is not None:
        start = f"{window.start.year:04d}-{window.start:%m-%d}" if is_date else datetime_literal(window.start)
        conditions.append(f"{window.field} >= {start}")
    if window.end is not None:
        operator = "<=" if window.end_inclusive or is_date else "<"
        end = f"{window.end.year:04d}-{window.end:%m-%d}" if is_date else datetime_literal(window.end)
        conditions.append(f"{window.field} {operator} {end}")
    return conditions


def select(
    object_name: str,
    fields: Sequence[str],
    *,
    where: Sequence[str] = (),
    behind: str = "",
    order_by: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> str:
    """A SOQL query; ``behind`` is what stands between its conditions and its order."""
    text = f"SELECT {', '.join(fields)} FROM {object_name}"  # noqa: S608 - names come from describe
    if where:
        text += f" WHERE {' AND '.join(where)}"
    if behind:
        text += f" {behind}"
    if order_by:
        text += f" ORDER BY {order_by}"
    if limit is not None:
        text += f" LIMIT {limit}"
    if offset:
        text += f" OFFSET {offset}"
    return text


def id_in(ids: Sequence[str]) -> str:
    """``Id IN (…)``."""
    return f"Id IN ({', '.join(string_literal(i) for i in ids)})"
