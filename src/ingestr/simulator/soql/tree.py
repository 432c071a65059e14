"""Knows the parts of a SOQL statement as values; must not know how text is read or what SQL they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Path:
    """A field, perhaps of a parent: `Owner.Name`; `at` is its offset in the text."""

    parts: tuple[str, ...]
    at: int

    @property
    def text(self) -> str:
        """The path as it was written."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Call:
    """A function: `COUNT()`, `MAX(CreatedDate)`, `FIELDS(ALL)`."""

    name: str
    arguments: tuple[Any, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value: kind is string, number, datetime, date, time, boolean, null or word.

    A string is also kept as a pattern for LIKE, with a backslash before each wildcard that is meant as itself.
    """

    kind: str
    value: Any
    at: int
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing selected: a path, a call, or a query of children."""

    expression: Path | Call | Select | TypeOf
    alias: str | None


@dataclass(frozen=True, slots=True)
class TypeOf:
    """`TYPEOF What WHEN Account THEN Phone … END`."""

    path: Path
    at: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`, the operator in upper case."""

    operand: Path | Call
    operator: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Membership:
    """`IN`, `NOT IN`, `INCLUDES` or `EXCLUDES` of values or, for the first two, of a query."""

    operand: Path | Call
    operator: str
    values: tuple[Literal, ...]
    query: Select | None = None


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined by `AND` or `OR`."""

    operator: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """`NOT condition`."""

    condition: Condition


Condition = Comparison | Membership | Junction | Negation


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key."""

    operand: Path | Call
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Select:
    """A whole statement."""

    text: str
    items: tuple[Item, ...]
    source: str
    source_at: int
    alias: str | None = None
    where: Condition | None = None
    group: tuple[Path | Call, ...] = ()
    having: Condition | None = None
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int | None = None
    at: int = 0
