"""Which objects the org has and which fields an object has, for the logged-in user."""

from dataclasses import dataclass

from ingestr.core.naming import snake_case
from ingestr.errors import ConfigurationError, RequestRefusedError, SourceError, UnknownNameError
from ingestr.sources.salesforce.client import SalesforceClient
from ingestr.sources.salesforce.objects import CUSTOM_PREFIX, NAMED_TABLES, NamedTable
from ingestr.sources.salesforce.shapes import Answer
from ingestr.sources.salesforce.types import Field

_NOT_SEEN = "Setup > Object Manager lists the API names; the logged-in user may lack the permission to see the object"


@dataclass(frozen=True)
class ObjectDescribe:
    """An object's own spelling of its name, its fields in Salesforce's order, and whether deletions are logged."""

    name: str
    fields: tuple[Field, ...]
    replicateable: bool = False

    def find(self, name: str) -> Field | None:
        """The field of this API name or snake_case name; case does not matter."""
        wanted = name.lower()
        return next((f for f in self.fields if wanted in (f.name.lower(), snake_case(f.name).lower())), None)


def resolve_table(client: SalesforceClient, table: str) -> tuple[NamedTable | None, ObjectDescribe]:
    """The object behind a table name: a documented one, ``custom:<API name>``, or any name the org knows.

    Raises:
        UnknownNameError: no such object for this user, with the nearest names.
    """
    name = table.strip()
    if named := NAMED_TABLES.get(name.lower()):
        return named, describe_object(client, named.object_name, table)
    if name.lower().startswith(CUSTOM_PREFIX):
        api_name = name[len(CUSTOM_PREFIX) :].strip()
        if not api_name:
            raise ConfigurationError("custom: lacks the object's API name", hint="e.g. custom:My__Community_Group__c")
        return None, describe_object(client, api_name, table)
    objects = _objects(client)
    by_name = {key: api_name for api_name in objects for key in (snake_case(api_name).lower(), api_name.lower())}
    if name.lower() not in by_name:
        queryable = [api_name for api_name, can_query in objects.items() if can_query]
        raise UnknownNameError("table", table, [*NAMED_TABLES, *queryable], where="this org", otherwise=_NOT_SEEN)
    api_name = by_name[name.lower()]
    if not objects[api_name]:
        raise _not_queryable(api_name)
    return None, describe_object(client, api_name, table)


def describe_object(client: SalesforceClient, api_name: str, table: str) -> ObjectDescribe:
    """Describe one object; ``table`` is what the user called it."""
    if not api_name.replace("_", "").isalnum():
        raise ConfigurationError(f"{api_name!r} is not an API name", hint="API names hold letters, digits and _")
    try:
        body = client.get_json(client.path(f"sobjects/{api_name}/describe"), f"describing {api_name}")
    except RequestRefusedError as error:
        if error.code not in ("NOT_FOUND", "INVALID_TYPE"):
            raise
        prefix = CUSTOM_PREFIX if table.lower().startswith(CUSTOM_PREFIX) else ""
        names = [name for name, can_query in _objects(client).items() if can_query]
        where = "this org, or hidden from this user"
        raise UnknownNameError("table", table, names, where=where, prefix=prefix, otherwise=_NOT_SEEN) from None
    return parse_describe(body)


def parse_describe(body: Answer) -> ObjectDescribe:
    """Read a describe; keys that are absent mean false, as their set differs between API versions."""
    name = str(body["name"])
    if body.get("queryable") is False:
        raise _not_queryable(name)
    fields = tuple(
        Field(
            name=str(item["name"]),
            type=str(item["type"]),
            soap_type=item.get("soapType", ""),
            filterable=bool(item.get("filterable")),
            sortable=bool(item.get("sortable")),
            nillable=bool(item.get("nillable")),
            calculated=bool(item.get("calculated")),
        )
        for item in body.answers("fields")
    )
    if not fields:
        raise SourceError(f"describing {name}: no field is visible to this user", hint="check the user's permissions")
    return ObjectDescribe(name, fields, bool(body.get("replicateable")))


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


def _objects(client: SalesforceClient) -> dict[str, bool]:
    """The org's objects, and whether each can be queried."""
    body = client.get_json(client.path("sobjects/"), "listing the org's objects")
    return {
        str(item["name"]): bool(item.get("queryable"))
        for item in body.answers("sobjects")
        if not item.get("deprecatedAndHidden")
    }
