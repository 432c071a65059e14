"""How field names become column names, and how two fields never share one."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum


class SchemaNaming(StrEnum):
    """``default`` gives snake_case, ``direct`` keeps the source's spelling, ``auto`` is ``default`` for a new table."""

    AUTO = "auto"
    DEFAULT = "default"
    DIRECT = "direct"


_SPELLED = str.maketrans({"+": "x", "*": "x", "-": "_", "@": "a", "|": "l"})
_WORD_END = re.compile(r"([A-Z]+)([A-Z][a-z])")
_WORD_START = re.compile(r"([a-z0-9])([A-Z])")


def _snake_part(part: str) -> str:
    spelled = "".join(c if c.isalnum() else "_" for c in part.translate(_SPELLED))
    split = _WORD_START.sub(r"\1_\2", _WORD_END.sub(r"\1_\2", spelled))
    return re.sub(r"_+", "_", split.lower())


def snake_case(name: str) -> str:
    """The documented snake_case of ingestr: ``My_Field__c`` → ``my_field__c``, ``ISOCode__c`` → ``iso_code__c``."""
    joined = "__".join(_snake_part(part) for part in name.split("__") if part)
    return "_" + joined if joined[:1].isdigit() else joined


def column_name(field: str, naming: SchemaNaming) -> str:
    """The name a field asks for, before collisions are settled."""
    return field if naming is SchemaNaming.DIRECT else snake_case(field)


def assign_names(
    fields: Iterable[str], given: Mapping[str, str], naming: SchemaNaming, reserved: Iterable[str] = ()
) -> dict[str, str]:
    """Give every field a column name of its own.

    Names handed out before (``given``: field → column) never change. A field whose name is taken, compared without
    case because databases do, gets a suffix from a hash of its source name, so the outcome does not depend on order
    once it has been given.

    Returns:
        field → column name, in the order of ``fields``.
    """
    taken = {name.lower() for name in (*given.values(), *reserved)}
    names: dict[str, str] = {}
    for field in fields:
        if field in given:
            names[field] = given[field]
            continue
        name = column_name(field, naming)
        if name.lower() in taken:
            name = f"{name}_{hashlib.sha256(field.encode()).hexdigest()[:8]}"
        taken.add(name.lower())
        names[field] = name
    return names
