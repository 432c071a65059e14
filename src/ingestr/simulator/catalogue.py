"""Knows how `catalogue.txt` is written and turns it into objects; must not know rows, SQL or HTTP."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from ingestr.simulator.model import NO_PREFIX, ORDINARY_FLAGS, Field, SObject
from ingestr.simulator.picklists import picklist_labels, picklist_values

_TOKEN = re.compile(
    r"(?P<name>\w+):(?P<type>\w+)(?:\((?P<size>\d+)(?:,(?P<scale>\d+))?\))?(?:\[(?P<digits>\d+)\])?"
    r"(?P<marks>[?!~]*)(?:>(?P<to>[\w|]+))?(?:\{(?P<traits>\w+)\})?(?:/(?P<write>c?u?))?"
)
_ADDRESS_PARTS = (
    "Street",
    "City",
    "State",
    "PostalCode",
    "Country",
    "StateCode",
    "CountryCode",
    "Latitude",
    "Longitude",
    "GeocodeAccuracy",
)
_NUMBERS_WITH_SCALE = frozenset({"double", "currency", "percent"})


def load_objects() -> dict[str, SObject]:
    """Return every object of a new org, in order, by name; each org may change its own."""
    return {
        name: SObject(name, each.prefix, each.flags, dict(each.fields), each.satellite, each.refusal, each.unless)
        for name, each in _parsed().items()
    }


@cache
def _parsed() -> dict[str, SObject]:
    objects: dict[str, SObject] = {}
    current: SObject | None = None
    for line in files(__package__).joinpath("catalogue.txt").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "object":
            current = _parse_object(words)
            objects[current.name] = current
            continue
        if current is None:
            raise ValueError(f"catalogue.txt: fields before the first object: {line[:40]}")
        if words[0] == "refuse":
            current.unless = tuple(words.pop(1).removeprefix("unless=").split(",")) if "=" in words[1] else ()
            current.refusal = (words[1], " ".join(words[2:]))
            continue
        if words[0] == "repeat":
            kinds = words[2:]
            words = [f"Field_{number:03}__c:{kinds[number % len(kinds)]}" for number in range(1, int(words[1]) + 1)]
        for word in words:
            current.put(_parse_field(current.name, word))
    for each in list(objects.values()):
        _link_components(each)
        if "triggerable" in each.flags and not each.custom:
            objects[f"{each.name}ChangeEvent"] = _change_event(each)
    return objects


def _change_event(owner: SObject) -> SObject:
    """Return the object of an object's change events: described, but not to be queried."""
    event = SObject(f"{owner.name}ChangeEvent", NO_PREFIX, frozenset(), satellite=("ChangeEvent", owner.name))
    event.put(Field("Id", "id", length=18, nillable=False))
    event.put(Field("ReplayId", "string", length=255))
    return event


def _parse_object(words: list[str]) -> SObject:
    flags: set[str] = set()
    satellite: tuple[str, str] | None = None
    for word in words[3:]:
        if word == "std":
            flags.update(ORDINARY_FLAGS)
        elif word.startswith("satellite="):
            kind, _, parent = word.removeprefix("satellite=").partition(":")
            satellite = (kind, parent)
        else:
            flags.add(word)
    return SObject(name=words[1], prefix=words[2], flags=frozenset(flags), satellite=satellite)


def _parse_field(owner: str, token: str) -> Field:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValueError(f"catalogue.txt: {owner}: cannot read {token!r}")
    part = match.groupdict(default="")
    kind, size = part["type"], int(part["size"] or 0)
    choices = picklist_values(owner, part["name"]) if kind in {"picklist", "multipicklist", "combobox"} else ()
    numeric = kind in _NUMBERS_WITH_SCALE
    return Field(
        name=part["name"],
        type=kind,
        length=18 if kind in {"id", "reference"} else 0 if numeric else size,
        precision=size if numeric else 3 if kind == "multipicklist" else 0,
        scale=int(part["scale"] or 0),
        digits=int(part["digits"] or (9 if kind == "int" else 0)),
        nillable="?" in part["marks"],
        searchable="!" not in part["marks"],
        sort_allowed="~" not in part["marks"],
        reference_to=tuple(part["to"].split("|")) if part["to"] else (),
        createable="c" in part["write"],
        updateable="u" in part["write"],
        traits=frozenset({part["traits"]} - {""}),
        picklist=choices,
        picklist_labels=picklist_labels(part["name"], choices),
    )


def _link_components(owner: SObject) -> None:
    """Tell each component which address, location or name it belongs to."""
    for compound in [each for each in owner.fields.values() if each.type in {"address", "location"}]:
        custom = compound.name.endswith("__c")
        stem = compound.name.removesuffix("__c") + "__" if custom else compound.name.removesuffix("Address")
        for part in _ADDRESS_PARTS:
            name = f"{stem}{part}__s" if custom else f"{stem}{part}"
            if owner.has(name):
                owner.change(name, compound=compound.name)
    if owner.has("FirstName") and owner.has("Name"):
        for name in ("LastName", "FirstName", "Salutation"):
            if owner.has(name):
                owner.change(name, compound="Name")
    if owner.has("Fiscal"):
        owner.change("FiscalQuarter", compound="Fiscal")
        owner.change("FiscalYear", compound="Fiscal")
