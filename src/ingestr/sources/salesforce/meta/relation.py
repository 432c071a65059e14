"""What a table is at Salesforce: an object with its readable fields, or a query that a user wrote.

A query's columns get their types from the describes of the objects along each path, never from values.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ingestr.core.naming import only_one
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.flags import Flag
from ingestr.sources.salesforce.meta.catalog import Catalog
from ingestr.sources.salesforce.meta.describe import ObjectDescribe, describe_object
from ingestr.sources.salesforce.meta.query_text import Item, OwnQuery, parse_query
from ingestr.sources.salesforce.meta.types import Field

# Salesforce's bound of a path (SOQL and SOSL Reference, "Understanding Query Results ... Limitations").
_MOST_PARENTS = 5
_LONGEST_NAME = 200
_INTEGERS = frozenset(
    {"COUNT", "COUNT_DISTINCT", "GROUPING", "HOUR_IN_DAY"}
    | {f"{kind}_{part}" for kind in ("CALENDAR", "FISCAL") for part in ("YEAR", "QUARTER", "MONTH")}
    | {f"DAY_IN_{part}" for part in ("MONTH", "WEEK", "YEAR")}
    | {f"WEEK_IN_{part}" for part in ("MONTH", "YEAR")}
)
_DOUBLES, _TEXTS = frozenset({"SUM", "AVG"}), frozenset({"TOLABEL", "FORMAT"})
# Of the field's own type.
_SAME = frozenset({"MIN", "MAX", "CONVERTCURRENCY"})
_FUNCTIONS = _INTEGERS | _DOUBLES | _TEXTS | _SAME | {"DAY_ONLY"}
# A parent that may be of several objects shows the fields of the object Name (Object Reference for the Salesforce
# Platform, "Name"): all of them text, but for these.
_NAME_FIELDS = {
    **dict.fromkeys(
        ("Alias", "Email", "FirstName", "LastName", "MiddleName", "Suffix", "Name", "NameOrAlias"), "string"
    ),
    **dict.fromkeys(("Phone", "Title", "Type", "Username"), "string"),
    "Id": "id",
    "IsActive": "boolean",
    "LastReferencedDate": "datetime",
    "LastViewedDate": "datetime",
}
_NAME_PARENTS = {"ProfileId": "Profile", "RecordTypeId": "RecordType", "UserRoleId": "UserRole"}
_NAME = ObjectDescribe(
    "Name",
    tuple(Field(name, kind) for name, kind in _NAME_FIELDS.items())
    + tuple(Field(name, "reference", relationship=to, references=(to,)) for name, to in _NAME_PARENTS.items()),
)


@dataclass(frozen=True)
class Relation:
    """The rows and columns of one table.

    Args:
        name: what people and the ledger call the rows.
        describe: the object that each row is of.
        fields: the columns: a field, a parent's field under its path, or what a function gives, under its alias.
        own: the query that a user wrote, or None.
    """

    name: str
    describe: ObjectDescribe
    fields: tuple[Field, ...]
    own: OwnQuery | None = None

    def has(self, field: str) -> bool:
        """Whether a field of the object itself is among the columns."""
        return any(each.name == field for each in self.fields) and not (self.own is not None and self.own.grouped)


def object_relation(describe: ObjectDescribe) -> Relation:
    """An object with all its readable fields."""
    return Relation(describe.name, describe, tuple(field for field in describe.fields if field.readable))


def query_relation(catalog: Catalog, table: str) -> Relation:
    """What a query of a user's gives.

    Raises:
        ConfigurationError: it cannot be read as a table, or names what there is not.
    """
    own, items = parse_query(table)
    describe = describe_object(catalog, own.object_name, own.object_name)
    columns = list(_Columns(catalog, describe, own).of(items))
    _check_different(columns)
    own = replace(
        own,
        keys=tuple((field.name, key) for field, _, key in columns if key != field.name),
        spelled=tuple((field.name, text) for field, text, _ in columns if text != field.name),
    )
    return Relation(_named(own), describe, tuple(field for field, _, _ in columns), own)


def _named(own: OwnQuery) -> str:
    name = f"query of {own}"
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}… ({own.fingerprint})"


# A column, what is selected for it, and where its value stands in an answer.
_Column = tuple[Field, str, str]


def _check_different(columns: list[_Column]) -> None:
    for names in ([field.name for field, _, _ in columns], [key for _, _, key in columns]):
        spelled = [name.lower() for name in names]
        twice = next((name for name in names if spelled.count(name.lower()) > 1), None)
        if twice is not None:
            raise ConfigurationError(
                f"the query selects {twice} twice", hint="leave it out once, or give it an alias: COUNT(Id) n"
            )


class _Columns:
    """The columns of one query; parents' objects are described when a path leads to them."""

    def __init__(self, catalog: Catalog, root: ObjectDescribe, own: OwnQuery) -> None:
        self._catalog = catalog
        self._root = root
        self._own = own
        self._described = {root.name: root, _NAME.name: _NAME}
        self._unnamed = 0

    def of(self, items: tuple[Item, ...]) -> Iterator[_Column]:
        """The columns of what is selected."""
        for item in items:
            if item.function == "FIELDS":
                yield from self._all_fields(item)
            elif item.function:
                yield self._called(item)
            elif item.alias and not self._own.grouped:
                raise ConfigurationError(
                    f"the query calls the field {item.text} {item.alias}, which SOQL allows in groups alone",
                    hint=f"leave {item.alias} out, and rename the column: {Flag.COLUMNS} {item.alias}::{item.text}",
                )
            else:
                field = self._field(item.text)
                key = item.alias or (field.name.rpartition(".")[2] if self._own.grouped else field.name)
                text = f"{field.name} {item.alias}" if item.alias else field.name
                yield replace(field, name=item.alias or field.name), text, key

    def _all_fields(self, item: Item) -> Iterator[_Column]:
        which = item.argument.upper()
        if which not in ("ALL", "STANDARD", "CUSTOM") or self._own.grouped:
            raise ConfigurationError(
                f"the query has {item.text}", hint="FIELDS takes ALL, STANDARD or CUSTOM, ungrouped"
            )
        for field in self._root.fields:
            if field.readable and which in ("ALL", "CUSTOM" if field.name.lower().endswith("__c") else "STANDARD"):
                yield field, field.name, field.name

    def _called(self, item: Item) -> _Column:
        function = item.function
        if function == "COUNT" and not item.argument:
            raise ConfigurationError("the query asks for COUNT(), which gives no rows", hint="COUNT(Id) does")
        if function not in _FUNCTIONS:
            known = ", ".join(sorted(_FUNCTIONS))
            raise ConfigurationError(f"the query calls {function}, which is not known here", hint=f"one of: {known}")
        field = Field(item.text, "int" if function in _INTEGERS else "date" if function == "DAY_ONLY" else "double")
        if function in _TEXTS:
            field = replace(self._field(item.argument), type="string")
        elif function in _SAME:
            field = self._field(item.argument)
        # What is no group's is the field in another form, and called like it.
        name = item.alias or (self._next_unnamed() if self._own.grouped and function not in _TEXTS else field.name)
        text = f"{item.text} {item.alias}" if item.alias else item.text
        return replace(field, name=name, filterable=False, sortable=False, calculated=True), text, name

    def _next_unnamed(self) -> str:
        """The name that Salesforce gives to what has none."""
        self._unnamed += 1
        return f"expr{self._unnamed - 1}"

    def _field(self, path: str) -> Field:
        """The field that a path leads to, under the path as Salesforce spells it."""
        parts = path.split(".")
        own_names = (self._root.name.lower(), self._own.alias.lower())
        if len(parts) > 1 and parts[0].lower() in own_names and self._lookup(self._root, parts[0]) is None:
            parts = parts[1:]
        if len(parts) > _MOST_PARENTS + 1:
            raise ConfigurationError(
                f"{path} leads over more than {_MOST_PARENTS} parents, the most that SOQL has",
                hint="read the further parent as a table of its own, and join it in the database",
            )
        describe, spelled = self._root, []
        for name in parts[:-1]:
            lookup = self._lookup(describe, name)
            if lookup is None:
                known = [field.relationship for field in describe.fields if field.relationship]
                raise UnknownNameError("parent", name, known, where=f"{describe.name}, for {path}")
            spelled.append(lookup.relationship)
            describe = self._parent(lookup)
        found = [field.name for field in describe.fields if field.name.lower() == parts[-1].lower()]
        names = [field.name for field in describe.fields]
        field = describe.find(only_one("field", parts[-1], found, names, describe.name))
        assert field is not None  # noqa: S101 - it was found by its name
        if not field.readable:
            parts_of_it = [each.name for each in describe.fields if each.compound == field.name]
            raise ConfigurationError(
                f"{path} cannot be a column: {field.note or 'it has several values'}",
                hint=f"select {', '.join(parts_of_it)}" if parts_of_it else "leave it out of the query",
            )
        if not spelled:
            return field
        # A parent that changes does not move the row's own timestamp.
        return replace(field, name=".".join([*spelled, field.name]), filterable=False, sortable=False, calculated=True)

    @staticmethod
    def _lookup(describe: ObjectDescribe, name: str) -> Field | None:
        return next((each for each in describe.fields if each.relationship.lower() == name.lower()), None)

    def _parent(self, lookup: Field) -> ObjectDescribe:
        name = lookup.references[0] if len(lookup.references) == 1 else _NAME.name
        if name not in self._described:
            self._described[name] = describe_object(self._catalog, name, name)
        return self._described[name]
