"""Knows what an object and a field are, and what follows from a field's type; must not know rows, SQL or HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

# type: (soapType, filterable, sortable, groupable, aggregatable, Arrow-like storage in DuckDB; None = not stored)
_TYPES: dict[str, tuple[str, bool, bool, bool, bool, str | None]] = {
    "id": ("tns:ID", True, True, True, True, "VARCHAR"),
    "reference": ("tns:ID", True, True, True, True, "VARCHAR"),
    "string": ("xsd:string", True, True, True, True, "VARCHAR"),
    "textarea": ("xsd:string", True, True, True, True, "VARCHAR"),
    "email": ("xsd:string", True, True, True, True, "VARCHAR"),
    "phone": ("xsd:string", True, True, True, True, "VARCHAR"),
    "url": ("xsd:string", True, True, True, True, "VARCHAR"),
    "picklist": ("xsd:string", True, True, True, True, "VARCHAR"),
    "multipicklist": ("xsd:string", True, False, False, False, "VARCHAR"),
    "combobox": ("xsd:string", True, True, False, True, "VARCHAR"),
    "encryptedstring": ("xsd:string", False, False, False, False, "VARCHAR"),
    "anyType": ("xsd:anyType", False, False, False, False, "VARCHAR"),
    "boolean": ("xsd:boolean", True, True, True, False, "BOOLEAN"),
    "int": ("xsd:int", True, True, True, True, "BIGINT"),
    "long": ("xsd:long", True, True, True, True, "BIGINT"),
    "double": ("xsd:double", True, True, False, True, "DOUBLE"),
    "currency": ("xsd:double", True, True, False, True, "DOUBLE"),
    "percent": ("xsd:double", True, True, False, True, "DOUBLE"),
    "date": ("xsd:date", True, True, True, True, "DATE"),
    "datetime": ("xsd:dateTime", True, True, False, True, "TIMESTAMP"),
    "time": ("xsd:time", True, True, False, False, "TIME"),
    "address": ("urn:address", True, False, False, False, None),
    "location": ("urn:location", False, False, False, False, None),
    "base64": ("xsd:base64Binary", False, False, False, False, "BLOB"),
}
TEXT_TYPES = frozenset(
    name for name, facts in _TYPES.items() if facts[5] == "VARCHAR" and name not in {"id", "reference"}
)
FLOAT_TYPES = frozenset({"double", "currency", "percent"})
COMPOUND_TYPES = frozenset({"address", "location"})
LONG_TEXT = 4000
NO_PREFIX = "-"
ORDINARY_FLAGS = [
    "createable",
    "updateable",
    "deletable",
    "queryable",
    "replicateable",
    "retrieveable",
    "searchable",
    "triggerable",
    "layoutable",
]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object, as describe shows it and as the store keeps it."""

    name: str
    type: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    digits: int = 0
    nillable: bool = True
    searchable: bool = True  # neither filterable nor sortable when False, whatever the type allows
    sort_allowed: bool = True
    reference_to: tuple[str, ...] = ()
    createable: bool = False
    updateable: bool = False
    traits: frozenset[str] = frozenset()
    compound: str | None = None
    picklist: tuple[str, ...] = ()
    picklist_labels: tuple[str, ...] = ()  # in the order of the values; those alone where there are none
    label: str | None = None
    help: str | None = None
    hidden: bool = False
    wire: str | None = None  # the type of the values where describe tells an untruth, as it does for some int fields

    @property
    def wire_type(self) -> str:
        """The type that the values really have."""
        return self.wire or self.type

    @property
    def sql_type(self) -> str | None:
        """The column's type in the store; None for a compound, which is put together from its components."""
        return _TYPES[self.wire_type][5]

    @property
    def soap_type(self) -> str:
        """The type on the wire."""
        return _TYPES[self.type][0]

    @property
    def custom(self) -> bool:
        """Whether somebody added this field to the object."""
        return self.name.endswith(("__c", "__s", "__pc"))

    @property
    def long_text(self) -> bool:
        """Whether this is a text area too long to be indexed."""
        return self.type == "textarea" and self.length > LONG_TEXT

    @property
    def image(self) -> bool:
        """Whether this is the address of a picture."""
        return self.type == "url" and self.name.endswith("PhotoUrl")

    @property
    def filterable(self) -> bool:
        """Whether SOQL may use the field in WHERE."""
        return _TYPES[self.type][1] and self.searchable and not self.long_text

    @property
    def sortable(self) -> bool:
        """Whether SOQL may use the field in ORDER BY."""
        return _TYPES[self.type][2] and self.searchable and self.sort_allowed and not self.long_text

    @property
    def groupable(self) -> bool:
        """Whether SOQL may use the field in GROUP BY."""
        short = self.type != "textarea" or self.length <= 255
        plain = not self.image and not self.traits & {"formula", "auto"}
        return _TYPES[self.type][3] and self.sortable and short and plain

    @property
    def aggregatable(self) -> bool:
        """Whether SOQL may use the field in an aggregate function."""
        return _TYPES[self.type][4] and self.searchable and not self.long_text

    @property
    def calculated(self) -> bool:
        """Whether the platform works the value out: formula or roll-up summary."""
        return bool(self.traits & {"formula", "rollup"})

    @property
    def relationship_name(self) -> str | None:
        """The name of the way to the parent in SOQL."""
        # The recurrence master has no way to it [recorded describes].
        if self.type != "reference" or not self.reference_to or self.name == "RecurrenceActivityId":
            return None
        if self.name.endswith("__c"):
            return self.name[:-1] + "r"
        return self.name.removesuffix("Id")


@dataclass(slots=True)
class SObject:
    """One object: its fields in describe order and what may be done with it. Its fields change while the org lives."""

    name: str
    prefix: str
    flags: frozenset[str]
    fields: dict[str, Field] = field(default_factory=dict)
    satellite: tuple[str, str] | None = None  # (kind such as History, parent object)
    refusal: tuple[str, str] | None = None  # (errorCode, message) of any query
    unless: tuple[str, ...] = ()  # but for one that names values of one of these fields
    label: str | None = None
    _by_lower: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_lower = {name.lower(): name for name in self.fields}

    def visible(self) -> list[Field]:
        """Return the fields that describe shows."""
        return [each for each in self.fields.values() if not each.hidden]

    def stored(self) -> list[Field]:
        """Return the fields that have a column in the store, hidden ones too."""
        return [each for each in self.fields.values() if each.sql_type is not None]

    def find(self, name: str) -> Field | None:
        """Return the visible field of that name, in whatever case it is written."""
        found = self.fields.get(self._by_lower.get(name.lower(), ""))
        return None if found is None or found.hidden else found

    def has(self, name: str) -> bool:
        """Whether the object has that field, hidden or not."""
        return name in self.fields

    def taken(self, name: str) -> bool:
        """Whether a field is called so already, in whatever case, hidden or not."""
        return name.lower() in self._by_lower

    def by_relationship(self, name: str) -> Field | None:
        """Return the reference that a relationship name goes along."""
        wanted = name.lower()
        for each in self.visible():
            way = each.relationship_name
            if way is not None and way.lower() == wanted:
                return each
        return None

    def components(self, compound: str) -> list[Field]:
        """Return the fields that make up an address, a location or a person's name."""
        return [each for each in self.fields.values() if each.compound == compound]

    def put(self, new: Field) -> None:
        """Add a field at the end, or replace the one of that name."""
        self.fields[new.name] = new
        self._by_lower[new.name.lower()] = new.name

    def remove(self, name: str) -> None:
        """Drop a field."""
        del self.fields[name]
        del self._by_lower[name.lower()]

    def change(self, name: str, **facts: Any) -> None:
        """Change facts of a field, such as its type or whether it is hidden."""
        self.put(replace(self.fields[name], **facts))

    @property
    def custom(self) -> bool:
        """Whether somebody added this object."""
        return "custom" in self.flags

    @property
    def keeps_deleted(self) -> bool:
        """Whether a deleted row stays to be seen by queryAll until it is purged."""
        return "undeletable" in self.flags and "IsDeleted" in self.fields


def require_type(kind: str) -> None:
    """Let pass a type that a field can have.

    Raises:
        ValueError: there is no such type.
    """
    if kind not in _TYPES:
        raise ValueError(f"no field type {kind!r}; known are {', '.join(sorted(_TYPES))}")


def new_field(name: str, kind: str, facts: Iterable[tuple[str, Any]] = ()) -> Field:
    """Return a field as an administrator would add it, with the sizes that the platform gives when none are named."""
    require_type(kind)
    sizes: dict[str, Any] = {
        "string": {"length": 255},
        "textarea": {"length": 32_768},
        "picklist": {"length": 255},
        "combobox": {"length": 255},
        "multipicklist": {"length": 4099},
        "email": {"length": 80},
        "phone": {"length": 40},
        "url": {"length": 255},
        "encryptedstring": {"length": 175},
        "reference": {"length": 18},
        "int": {"digits": 9},
        "double": {"precision": 18, "scale": 2},
        "currency": {"precision": 18, "scale": 2},
        "percent": {"precision": 18, "scale": 2},
    }.get(kind, {})
    return Field(
        **{
            "name": name,
            "type": kind,
            "nillable": kind != "boolean",
            "createable": True,
            "updateable": True,
            **sizes,
            **dict(facts),
        }
    )
