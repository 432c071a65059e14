# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows which column a SOQL path means: the object queried, the parents on the way and the joins they need.

Must not know conditions, formats or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ingestr.simulator.errors import ApiError, pointed_at, unknown_field, unknown_object
from ingestr.simulator.model import Field, SObject
from ingestr.simulator.soql.tree import Path, Select

DEEPEST_PATH = 5
MOST_PARENTS = 55
# What may be asked of a parent that can be of several objects; it answers as an object called Name.
_COMMON = ("Alias", "Email", "FirstName", "LastName", "Phone", "ProfileId", "Title", "Username", "UserRoleId")


@dataclass(frozen=True, slots=True)
class Parent:
    """A joined object on a path: its SQL alias, its canonical path, and the object, None when it can be several."""

    alias: str
    path: tuple[str, ...]
    owner: SObject | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A path that was found: where its value is, its field, and its canonical spelling."""

    field: Field
    sql: str
    path: tuple[str, ...]
    owner: SObject | None
    alias: str


class Catalog(Protocol):
    """Where objects are found; `ensure` is called for each whose rows are read."""

    objects: dict[str, SObject]

    def find(self, name: str) -> SObject | None:
        """Return the object of that name in any case."""

    def ensure(self, owner: SObject) -> SObject:
        """Make sure that the object's rows are there."""

    def alive(self, owner: SObject, alias: str = "") -> str:
        """Return the SQL condition of the rows that are neither deleted nor archived."""


class Scope:
    """The names that one SELECT can use."""

    def __init__(self, catalog: Catalog, select: Select, prefix: str = "t") -> None:
        found = catalog.find(select.source)
        if found is None:
            raise unknown_object(select.text, select.source_at, select.source)
        self.owner = catalog.ensure(found)
        self.root = f"{prefix}0"
        self.parents: dict[tuple[str, ...], Parent] = {}
        self._catalog = catalog
        self._select = select
        self._prefix = prefix
        self._joins: list[str] = []

    def from_sql(self) -> str:
        """Return the FROM clause with every join that was needed so far."""
        return f'FROM "{self.owner.name}" {self.root} {" ".join(self._joins)}'

    def resolve(self, path: Path) -> Resolved:
        """Find the field that a path means.

        Raises:
            ApiError: INVALID_FIELD.
        """
        parts = path.parts
        own = {self.owner.name.lower(), (self._select.alias or "").lower()}
        if len(parts) > 1 and parts[0].lower() in own and self.owner.by_relationship(parts[0]) is None:
            parts = parts[1:]
        if len(parts) - 1 > DEEPEST_PATH:
            message = "SOQL relationship names must not have more than 5 levels"
            raise ApiError(400, "INVALID_FIELD", pointed_at(self._select.text, path.at, message))
        place = Parent(self.root, (), self.owner)
        for relationship in parts[:-1]:
            place = self._step(place, relationship, path)
        return self._leaf(place, parts[-1], path)

    def _step(self, place: Parent, relationship: str, path: Path) -> Parent:
        field = place.owner.by_relationship(relationship) if place.owner is not None else None
        if field is None:
            message = (
                f"Didn't understand relationship '{relationship}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name. "
                "Please reference your WSDL or the describe call for the appropriate names."
            )
            raise ApiError(400, "INVALID_FIELD", pointed_at(self._select.text, path.at, message))
        full = (*place.path, field.relationship_name or relationship)
        if full not in self.parents:
            if len(self.parents) >= MOST_PARENTS:
                message = f"SOQL statements cannot query more than {MOST_PARENTS} parent relationships."
                raise ApiError(400, "MALFORMED_QUERY", message)
            alias = f"{self._prefix}{len(self.parents) + 1}"
            known = [
                self._catalog.ensure(self._catalog.objects[name])
                for name in field.reference_to
                if name in self._catalog.objects
            ]
            single = known[0] if len(known) == 1 and len(field.reference_to) == 1 else None
            source = f'"{single.name}"' if single is not None else f"({_union(known)})"
            self._joins.append(f'LEFT JOIN {source} {alias} ON {place.alias}."{field.name}" = {alias}."Id"')
            self.parents[full] = Parent(alias, full, single)
        return self.parents[full]

    def _leaf(self, place: Parent, name: str, path: Path) -> Resolved:
        if place.owner is None:
            canonical = next((each for each in ("Id", "Name", "Type", *_COMMON) if each.lower() == name.lower()), None)
            if canonical is None:
                raise unknown_field(self._select.text, path.at, name, "Name")
            kind = "id" if canonical == "Id" else "string"
            field = Field(canonical, kind, length=18 if kind == "id" else 255)
            return Resolved(field, f'{place.alias}."{canonical}"', (*place.path, canonical), None, place.alias)
        found = place.owner.find(name)
        if found is None:
            raise unknown_field(self._select.text, path.at, name, place.owner.name)
        return Resolved(found, f'{place.alias}."{found.name}"', (*place.path, found.name), place.owner, place.alias)


def _union(known: list[SObject]) -> str:
    """Return SQL for the rows of several objects, with what they have in common."""
    if not known:
        columns = ", ".join(f'CAST(NULL AS VARCHAR) AS "{name}"' for name in ("Id", "Name", "Type", *_COMMON))
        return f"SELECT {columns} WHERE FALSE"
    selects = []
    for owner in known:
        name = next((each for each in ("Name", "Subject", "CaseNumber") if owner.has(each)), "Id")
        common = ", ".join(f'"{each}"' if owner.has(each) else f'CAST(NULL AS VARCHAR) AS "{each}"' for each in _COMMON)
        selects.append(f'SELECT "Id", "{name}" AS "Name", \'{owner.name}\' AS "Type", {common} FROM "{owner.name}"')
    return " UNION ALL ".join(selects)
