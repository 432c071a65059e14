"""A describe is checked before its names go into queries."""

from typing import Any

import pytest

from ingestr.errors import ConfigurationError, SourceError
from ingestr.sources.base import Choice
from ingestr.sources.salesforce.http.shapes import Answer
from ingestr.sources.salesforce.meta.describe import parse_describe

FIELD = {"name": "Level__c", "type": "string", "soapType": "xsd:string", "filterable": True}


def described(*fields: Any, name: Any = "Site__c", **facts: Any) -> Answer:
    """A describe of some fields."""
    return Answer({"name": name, "fields": list(fields), **facts}, "describing Site__c")


def test_a_field_that_is_told_twice_is_one() -> None:
    """The same facts twice are one field, in its first place."""
    fields = parse_describe(
        described(FIELD, {**FIELD, "name": "Other__c"}, {**FIELD, "label": "of no interest"})
    ).fields
    assert [field.name for field in fields] == ["Level__c", "Other__c"]


def test_two_fields_of_one_name_are_no_describe() -> None:
    """Nobody can tell which of them a query would give."""
    with pytest.raises(SourceError, match="two fields named Level__c"):
        parse_describe(described(FIELD, {**FIELD, "type": "double"}))


def test_names_that_differ_by_case_or_namespace_are_two() -> None:
    """Salesforce tells them apart, and so do we."""
    names = ["Level__c", "LEVEL__c", "pack__Level__c"]
    assert [f.name for f in parse_describe(described(*({**FIELD, "name": name} for name in names))).fields] == names


@pytest.mark.parametrize(
    "name", ["", "1st__c", "_a", "a b", "a-b", "a'", "Id FROM User--", "a\nb", "\ud800", None, 5, ["Id"], {"a": 1}]
)
def test_names_have_the_form_of_names(name: Any) -> None:
    """They become part of SOQL and of addresses."""
    with pytest.raises(SourceError, match="no API name"):
        parse_describe(described({**FIELD, "name": name}))
    with pytest.raises(SourceError, match="no API name"):
        parse_describe(described(FIELD, name=name))


@pytest.mark.parametrize("patch", [{"type": None}, {"type": 5}, {"type": ["id"]}, {"soapType": 5}])
def test_types_are_texts(patch: dict[str, Any]) -> None:
    """Another kind of value is an answer of another shape."""
    with pytest.raises(SourceError, match="is no text"):
        parse_describe(described({**FIELD, **patch}))


def test_what_is_absent_is_false() -> None:
    """The set of keys differs between API versions; null is absent."""
    [field] = parse_describe(described({"name": "A", "type": "new type", "soapType": None})).fields
    assert (field.filterable, field.sortable, field.calculated, field.soap_type) == (False, False, False, "")


def test_texts_for_people_are_texts() -> None:
    """What no database takes as text is replaced: a strange label is no reason to fail; numbers are of usual size."""
    told = {**FIELD, "label": "a\0b", "inlineHelpText": "\ud800!", "calculatedFormula": None, "length": 10**400}
    values = [
        {"active": True, "defaultValue": True, "label": "One\udfff", "value": "1"},
        {"active": False, "label": None, "value": None},
    ]
    found = parse_describe(described({**told, "picklistValues": values}, label="S\0", keyPrefix=None, custom=True))
    [field] = found.fields
    assert (field.label, field.help, field.formula, field.length) == ("a\ufffdb", "\ufffd!", "", 0)
    assert field.choices == (Choice("1", "One\ufffd", active=True, default=True), Choice("", "", active=False))
    assert (found.facts.label, found.facts.key_prefix, found.facts.custom) == ("S\ufffd", "", True)
    with pytest.raises(SourceError, match="'label' is no text"):
        parse_describe(described({**FIELD, "label": 5}))


def test_an_object_that_cannot_be_queried() -> None:
    """It is the user who chooses another."""
    with pytest.raises(ConfigurationError, match="no API query"):
        parse_describe(described(FIELD, queryable=False))
