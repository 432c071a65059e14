"""How field names become column names, and how two fields never share one."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from ingestr.errors import ConfigurationError, UnknownNameError

QUERY_PREFIX = "query:"


def is_query(source_table: str) -> bool:
    """Whether a source table is a query of the user's, which has no name."""
    return source_table.strip().lower().startswith(QUERY_PREFIX)


class SchemaNaming(StrEnum):
    """``default`` gives snake_case, ``direct`` keeps the source's spelling, ``auto`` is ``default`` for a new table."""

    AUTO = "auto"
    DEFAULT = "default"
    DIRECT = "direct"


@dataclass(frozen=True)
class NameRule:
    """How new names are made.

    Args:
        naming: their style.
        longest: how many bytes a name may have; None for any number.
        renamed: field → the name that the user gives its column.
    """

    naming: SchemaNaming
    longest: int | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


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


class Names:
    """What names stand for, among many.

    Args:
        api_names: all that there are.
        given: API name → column name, of those that have a column already.
    """

    def __init__(self, api_names: Iterable[str], given: Mapping[str, str] | None = None) -> None:
        self._api_names = dict.fromkeys(api_names)
        self._columns = {name: column for name, column in (given or {}).items() if name in self._api_names}

    def meant_by(self, name: str) -> list[str]:
        """The API names that a name stands for: one, none, or several that nobody can tell apart.

        What is spelled just so comes first: an API name, then the column that a name was given as. ``my_thing__c`` is
        the derived name of ``MyThing__c`` and of ``My_Thing__c``, so both are meant. In other cases of the letters it
        is an API name, then a column, then a derived name. A name with capitals among small letters is no derived one:
        whoever writes ``My_Thing__c`` does not mean ``MyThing__c``, even where there is no other.
        """
        if name in self._api_names:
            return [name]
        wanted = name.lower()
        columns = self._by_column.get(wanted, [])
        exact = [api_name for api_name in columns if self._columns[api_name] == name]
        if exact:
            return exact
        same = self._by_case.get(wanted, [])
        derived = self._by_derived.get(wanted, []) if name in (wanted, name.upper()) else []
        if name == wanted:
            return list(dict.fromkeys([*same, *derived])) or columns
        return same or columns or derived

    @cached_property
    def _by_case(self) -> dict[str, list[str]]:
        return _grouped((name.lower(), name) for name in self._api_names)

    @cached_property
    def _by_column(self) -> dict[str, list[str]]:
        return _grouped((column.lower(), name) for name, column in self._columns.items())

    @cached_property
    def _by_derived(self) -> dict[str, list[str]]:
        return _grouped((snake_case(name).lower(), name) for name in self._api_names)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for spelling, name in pairs:
        grouped.setdefault(spelling, []).append(name)
    return grouped


def only_one(kind: str, name: str, found: list[str], known: Iterable[str], where: str) -> str:
    """The API name that ``Names.meant_by`` found.

    Args:
        kind: what the name should name, for the message.
        name: as the user wrote it.
        found: what it stands for.
        known: names that there are.
        where: where it was looked for.

    Raises:
        UnknownNameError: it found none.
        ConfigurationError: it found several.
    """
    if not found:
        raise UnknownNameError(kind, name, known, where=where)
    if len(found) > 1:
        raise ConfigurationError(
            f"the {kind} {name!r} stands for more than one in {where}: {', '.join(sorted(found))}",
            hint="write the API name of the one that is meant, in its own case",
        )
    return found[0]


def assign_names(
    fields: Iterable[str],
    given: Mapping[str, str],
    naming: SchemaNaming,
    reserved: Iterable[str] = (),
    longest: int | None = None,
) -> dict[str, str]:
    """Give every field a column name of its own, of at most ``longest`` bytes.

    Names handed out before (``given``: field → column) never change. A field whose name is taken, compared without
    case because databases do, or too long, gets a suffix from a hash of its source name, so the outcome does not depend
    on order once it has been given.

    Returns:
        field → column name, in the order of ``fields``.
    """
    taken = {name.lower() for name in (*given.values(), *reserved)}
    names: dict[str, str] = {}
    for api_name in fields:
        if api_name in given:
            names[api_name] = given[api_name]
            continue
        name = column_name(api_name, naming)
        if name.lower() in taken or (longest is not None and len(name.encode()) > longest):
            suffix = f"_{hashlib.sha256(api_name.encode()).hexdigest()[:8]}"
            if longest is not None:
                name = name.encode()[: longest - len(suffix)].decode(errors="ignore")
            name += suffix
        taken.add(name.lower())
        names[api_name] = name
    return names
