"""A name means what it says: API names before documented and derived ones, and no choice where two are meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestr.core.naming import Names
from ingestr.errors import ConfigurationError, SourceError, UnknownNameError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, ingest, loaded, query


@pytest.fixture
def twin_org(org: SimulatedOrg) -> SimulatedOrg:
    """An org with two objects, and two fields of Account, of one name in snake_case."""
    for name, prefix in (("SiteVisit__c", "b1v"), ("Site_Visit__c", "b2v")):
        org.add_object(name, prefix, {"Which__c": "string"})
        org.insert(name, [{"Which__c": name}])
    org.add_field("Account", "PaidOn__c", "date", ["2001-01-01"])
    org.add_field("Account", "Paid_On__c", "date", ["2002-02-02"])
    return org


def was_read(database: Path) -> set[str]:
    """The fields of which a run read the values."""
    rows = query(database, "SELECT field FROM _ingestr.columns WHERE was_read").to_pylist()
    return {row["field"] for row in rows}


@pytest.mark.parametrize("prefix", ["", "custom:"])
@pytest.mark.parametrize("name", ["SiteVisit__c", "Site_Visit__c", "sitevisit__C"])
def test_an_api_name_is_that_object(twin_org: SimulatedOrg, database: Path, prefix: str, name: str) -> None:
    """Whatever else has the same name in snake_case, and in any case of its letters."""
    ingest(twin_org, prefix + name, database)
    [which] = loaded(database).column("which__c").to_pylist()
    assert which.lower() == name.lower()


def test_a_derived_name_of_two_objects_is_refused(twin_org: SimulatedOrg, database: Path) -> None:
    """The error lists both."""
    with pytest.raises(ConfigurationError, match=r"SiteVisit__c, Site_Visit__c"):
        ingest(twin_org, "site_visit__c", database)


def listing(org: SimulatedOrg, *more: dict[str, object]) -> None:
    """The org's list of objects, with more of them."""
    plain = [{"name": name, "queryable": True} for name in ("Account", "SiteVisit__c", "Product2")]
    body = json.dumps({"sobjects": [*plain, *more]})
    org.faults.add(Fault(path="/sobjects/?$", times=None, status=200, headers=JSON_HEADERS, body=body))


@pytest.mark.parametrize("facts", [{"queryable": False}, {"queryable": True, "deprecatedAndHidden": True}])
def test_what_nobody_can_read_is_in_nobodys_way(
    twin_org: SimulatedOrg, database: Path, facts: dict[str, object]
) -> None:
    """An object that cannot be queried, or was withdrawn, makes no other ambiguous."""
    listing(twin_org, {"name": "Site_Visit__c", **facts})
    ingest(twin_org, "site_visit__c", database)
    assert loaded(database).column("which__c").to_pylist() == ["SiteVisit__c"]


def test_an_exact_name_is_nothing_else_where_it_cannot_be_read(twin_org: SimulatedOrg, database: Path) -> None:
    """Who writes an API name does not get another object of a similar name."""
    listing(twin_org, {"name": "Site_Visit__c", "queryable": False})
    with pytest.raises(ConfigurationError, match="no API query"):
        ingest(twin_org, "Site_Visit__c", database)
    twin_org.faults.clear()
    listing(twin_org)
    with pytest.raises(UnknownNameError):
        ingest(twin_org, "Site_Visit__c", database)


def test_names_that_differ_by_case_only(twin_org: SimulatedOrg, database: Path) -> None:
    """Each is had in its own case, and none in a third."""
    listing(twin_org, {"name": "SITEVISIT__c", "queryable": True})
    ingest(twin_org, "SiteVisit__c", database)
    with pytest.raises(ConfigurationError, match=r"SITEVISIT__c, SiteVisit__c"):
        ingest(twin_org, "sitevisit__c", database)


@pytest.mark.parametrize(
    ("table", "object_name"),
    [("product", "Product2"), ("PRODUCT", "Product2"), ("Product", "Product"), ("Product2", "Product2")],
)
def test_documented_names_give_way_to_exact_ones_alone(
    org: SimulatedOrg, database: Path, table: str, object_name: str
) -> None:
    """``product`` is Product2 as documented, and ``Product`` the object of that name where an org has one."""
    org.add_object("Product", "b4v", {"Which__c": "string"})
    assert ingest(org, table, database).source_object == object_name


def test_where_no_object_has_it_a_documented_name_holds_in_any_case(org: SimulatedOrg, database: Path) -> None:
    """As ever."""
    assert ingest(org, "User_ROLE", database).source_object == "UserRole"


def test_an_object_other_than_the_one_asked_for_is_not_loaded(org: SimulatedOrg, database: Path) -> None:
    """A describe of something else is an answer of another shape."""
    org.faults.add(Fault(path="/Lead/describe", times=None, json_patch={"name": "Leads"}))
    with pytest.raises(SourceError, match="it is about Leads"):
        ingest(org, "lead", database)


@pytest.mark.parametrize("name", ["PaidOn__c", "Paid_On__c", "PAID_ON__C"])
def test_an_api_name_is_that_field(twin_org: SimulatedOrg, database: Path, name: str) -> None:
    """To leave out a column, to merge by a timestamp, to name a key."""
    other = {"paidon__c": "Paid_On__c", "paid_on__c": "PaidOn__c"}[name.lower()]
    ingest(twin_org, "account", database, sql_exclude_columns=[name])
    assert {"PaidOn__c", "Paid_On__c"} & was_read(database) == {other}


@pytest.mark.parametrize("name", ["PaidOn__c", "Paid_On__c"])
def test_an_api_name_is_that_key(twin_org: SimulatedOrg, database: Path, name: str) -> None:
    """An incremental key is kept under its API name."""
    ingest(twin_org, "account", database, incremental_key=name)
    assert query(database, "SELECT cursor_field FROM _ingestr.state").to_pylist() == [{"cursor_field": name}]


@pytest.mark.parametrize("option", ["incremental_key", "sql_exclude_columns", "primary_key"])
def test_a_derived_name_of_two_fields_is_refused(twin_org: SimulatedOrg, database: Path, option: str) -> None:
    """Before a row is read, with both names."""
    given: dict[str, Any] = {option: "paid_on__c" if option == "incremental_key" else ["paid_on__c"]}
    with pytest.raises(ConfigurationError, match=r"PaidOn__c, Paid_On__c"):
        ingest(twin_org, "account", database, **given)
    assert not [r for r in twin_org.requests if "/query" in r.path]


def test_the_columns_that_a_user_sees_are_names_too(twin_org: SimulatedOrg, database: Path) -> None:
    """Once the target has columns, each stands for the field that it holds, suffix and all."""
    ingest(twin_org, "account", database)
    columns = query(database, "SELECT field, column_name FROM _ingestr.columns WHERE field LIKE 'Paid%'").to_pylist()
    assert len({row["column_name"] for row in columns}) == 2
    for row in columns:
        twin_org.clock.advance(60)
        ingest(twin_org, "account", database, sql_exclude_columns=[row["column_name"]])
        assert row["field"] not in was_read(database)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("AbC__c", ["AbC__c"]), ("aBc__C", ["AbC__c", "ABC__c"]), ("ab_c__c", ["Ab_C__c", "AbC__c"]),
        ("Ab_C__c", ["Ab_C__c"]), ("AB_C__C", ["Ab_C__c"]), ("AB_CD__C", ["AbCd__c"]), ("Ab_Cd__c", []),
        ("pack__Level__c", ["pack__Level__c"]), ("level__c", ["Level__c"]), ("pack__level__c", ["pack__Level__c"]),
        ("was_given", ["Level__c"]), ("Was_Given", ["Level__c"]), ("ab_cd__c", ["AbCd__c"]),
        ("abd__c", ["Other__c"]), ("nothing", []),
    ],
)  # fmt: skip
def test_what_a_name_stands_for(name: str, found: list[str]) -> None:
    """An API name, an API name in another case, a column that was given, and a derived name, in this order."""
    names = ["AbC__c", "ABC__c", "Ab_C__c", "AbCd__c", "AbD__c", "Other__c", "Level__c", "pack__Level__c"]
    given = {"Level__c": "was_given", "Other__c": "abd__c", "AbD__c": "abd__c_hash"}
    assert Names(names, given).meant_by(name) == found
