"""Which objects the org has and which fields an object has, for the logged-in user."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ingestr.core.naming import Names, only_one
from ingestr.errors import ConfigurationError, RequestRefusedError, SourceError, UnknownNameError
from ingestr.sources.base import Choice
from ingestr.sources.salesforce.http.checks import name_in, text_in
from ingestr.sources.salesforce.http.shapes import Answer, unexpected
from ingestr.sources.salesforce.meta.catalog import Catalog, ListedObject
from ingestr.sources.salesforce.meta.objects import CUSTOM_PREFIX, NAMED_TABLES, NamedTable
from ingestr.sources.salesforce.meta.types import Field

_NOT_SEEN = "Setup > Object Manager lists the API names; the logged-in user may lack the permission to see the object"


@dataclass(frozen=True)
class ObjectDescribe:
    """An object.

    Args:
        name: its own spelling of its name.
        fields: in Salesforce's order.
        replicateable: whether deletions are logged.
        label: what people call it.
    """

    name: str
    fields: tuple[Field, ...]
    replicateable: bool = False
    label: str = ""

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def find(self, name: str) -> Field | None:
        """The field of this API name, in its own case."""
        return self._by_name.get(name)

    def meant_by(self, name: str) -> list[Field]:
        """The fields that a name of the user's stands for."""
        return [self._by_name[api_name] for api_name in Names(self._by_name).meant_by(name)]


def resolve_table(catalog: Catalog, table: str) -> tuple[NamedTable | None, ObjectDescribe]:
    """The object behind a table name.

    An API name in its own case comes first, then a documented name, then an API name in another case, and names in
    snake_case last. ``custom:`` goes before an API name alone.

    Raises:
        UnknownNameError: no such object for this user, with the nearest names.
        ConfigurationError: the name stands for several objects, or for one that cannot be queried.
    """
    name = table.strip()
    documented = NAMED_TABLES.get(name.lower())
    # API names begin with a capital: in small letters a documented name is none.
    if documented and name in (name.lower(), documented.object_name):
        return documented, describe_object(catalog, documented.object_name, table)
    if name.lower().startswith(CUSTOM_PREFIX):
        api_name = name[len(CUSTOM_PREFIX) :].strip()
        if not api_name:
            raise ConfigurationError("custom: lacks the object's API name", hint="e.g. custom:My__Community_Group__c")
        return None, describe_object(catalog, api_name, table)
    objects = catalog.objects()
    if documented and not (name in objects and objects[name].queryable):
        return documented, describe_object(catalog, documented.object_name, table)
    return None, describe_object(catalog, _chosen(objects, name), table)


def object_name(table: str, catalog: Catalog) -> str | None:
    """The object that a table name most likely stands for, without an error; None for a query or no object."""
    name = table.strip()
    if name.lower().startswith(CUSTOM_PREFIX):
        return name[len(CUSTOM_PREFIX) :].strip()
    if documented := NAMED_TABLES.get(name.lower()):
        return documented.object_name
    found = Names(catalog.objects()).meant_by(name)
    return found[0] if len(found) == 1 else None


def _chosen(objects: Mapping[str, ListedObject], table: str) -> str:
    """The API name of the object that a table name stands for, be it documented or not."""
    found = Names(objects).meant_by(table)
    exact = any(api_name.lower() == table.lower() for api_name in found)
    # What was withdrawn, and what cannot be queried, is in the way of nothing else.
    found = [api_name for api_name in found if not objects[api_name].retired] or (found if exact else [])
    usable = [api_name for api_name in found if objects[api_name].queryable]
    if not found:
        names = [each.name for each in objects.values() if each.is_offered]
        raise UnknownNameError("table", table, [*NAMED_TABLES, *names], where="this org", otherwise=_NOT_SEEN)
    chosen = only_one("table", table, usable or found, (), "this org")
    if not objects[chosen].queryable:
        raise _not_queryable(chosen)
    return chosen


def describe_object(catalog: Catalog, api_name: str, table: str) -> ObjectDescribe:
    """Describe one object; ``table`` is what the user called it."""
    if not re.fullmatch(r"\w+", api_name):
        raise ConfigurationError(f"{api_name!r} is not an API name", hint="API names hold letters, digits and _")
    try:
        body = catalog.describe(api_name)
    except RequestRefusedError as error:
        if error.code not in ("NOT_FOUND", "INVALID_TYPE"):
            raise
        prefix = CUSTOM_PREFIX if table.lower().startswith(CUSTOM_PREFIX) else ""
        names = [each.name for each in catalog.objects().values() if each.is_offered]
        where = "this org, or hidden from this user"
        raise UnknownNameError("table", table, names, where=where, prefix=prefix, otherwise=_NOT_SEEN) from None
    described = parse_describe(body)
    # In an org that makes a package, a name stands for the one with the package's namespace before it.
    if not f"__{described.name}".lower().endswith(f"__{api_name}".lower()):
        raise unexpected(body.doing, f"it is about {described.name}")
    return described


def parse_describe(body: Answer) -> ObjectDescribe:
    """Read a describe; keys that are absent mean false, as their set differs between API versions."""
    name = name_in(body)
    if body.get("queryable") is False:
        raise _not_queryable(name)
    fields: dict[str, Field] = {}
    for item in body.answers("fields"):
        field = _field(item)
        # Told twice with the same facts, it is one field.
        if fields.setdefault(field.name, field) != field:
            raise unexpected(body.doing, f"it tells of two fields named {field.name}")
    if not fields:
        raise SourceError(f"describing {name}: no field is visible to this user", hint="check the user's permissions")
    return ObjectDescribe(name, tuple(fields.values()), bool(body.get("replicateable")), text_in(body, "label", ""))


def _field(item: Answer) -> Field:
    return Field(
        name=name_in(item),
        type=text_in(item, "type"),
        soap_type=text_in(item, "soapType", ""),
        filterable=bool(item.get("filterable")),
        sortable=bool(item.get("sortable")),
        nillable=bool(item.get("nillable")),
        calculated=bool(item.get("calculated")),
        compound=text_in(item, "compoundFieldName", ""),
        relationship=text_in(item, "relationshipName", ""),
        references=_names(item.get("referenceTo")),
        label=text_in(item, "label", ""),
        help=text_in(item, "inlineHelpText", ""),
        choices=_choices(item),
        precision=_digits(item.get("precision")),
        scale=_digits(item.get("scale")),
        length=_digits(item.get("length")),
    )


def _names(told: object) -> tuple[str, ...]:
    return tuple(name for name in told if isinstance(name, str)) if isinstance(told, list) else ()


def _choices(item: Answer) -> tuple[Choice, ...]:
    if not item.get("picklistValues"):
        return ()
    return tuple(
        Choice(text_in(each, "value", ""), text_in(each, "label", ""), active=each.flag("active"))
        for each in item.answers("picklistValues")
    )


def _digits(told: object) -> int:
    return told if isinstance(told, int) and told >= 0 else 0


def _not_queryable(name: str) -> ConfigurationError:
    hint = "read the object that it shows, Task for OpenActivity say"
    if name.endswith("ChangeEvent"):
        hint = f"change events are sent, not kept: read {_changed(name)} itself"
    elif name.endswith("__e"):
        hint = "platform events are sent, not kept: read the objects that they are about"
    elif name == "AggregateResult":
        hint = "it is the form of grouped answers, and holds no rows: read the objects themselves"
    return ConfigurationError(f"{name} exists, but Salesforce lets no API query it", hint=hint)


def _changed(event: str) -> str:
    """The object whose changes an event tells: ``Account`` of AccountChangeEvent, ``My__c`` of My__ChangeEvent."""
    name = event.removesuffix("ChangeEvent")
    return f"{name}c" if name.endswith("__") else name
