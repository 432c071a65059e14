"""--schema-contract: what a table that exists does when Salesforce's fields change."""

from pathlib import Path

import pytest

from ingestr.errors import ConfigurationError
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, ingest, loaded, query

HOUR = 3600


def later(org: SimulatedOrg) -> None:
    """An hour passes, in which some accounts change."""
    org.clock.advance(HOUR)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:4], {"Phone": "555"})
    org.clock.advance(60)


@pytest.mark.parametrize("contract", ["evolve", "freeze", "discard_row", "discard_value"])
def test_nothing_happens_while_nothing_changes(org: SimulatedOrg, database: Path, contract: str) -> None:
    """A first load makes the table whatever the contract, and later ones are as usual."""
    ingest(org, "account", database, schema_contract=contract)
    later(org)
    assert ingest(org, "account", database, schema_contract=contract).rows_updated == 4
    assert_same(loaded(database), expected(org, "Account", deleted=True))


@pytest.mark.parametrize("full_refresh", [False, True])
def test_freeze_refuses_a_new_field(org: SimulatedOrg, database: Path, full_refresh: bool) -> None:
    """The run ends before a row is read, names the field, and leaves the table as it was."""
    ingest(org, "account", database)
    before = loaded(database)
    org.add_field("Account", "Brand_New__c", "double", values=[1.5])
    later(org)
    org.requests.clear()
    with pytest.raises(ConfigurationError, match="brand_new__c") as caught:
        ingest(org, "account", database, schema_contract="freeze", full_refresh=full_refresh)
    assert caught.value.exit_code == 2
    assert "evolve" in str(caught.value.hint)
    assert not [r for r in org.requests if "query" in r.path]
    assert loaded(database).equals(before)
    result = ingest(org, "account", database, schema_contract="freeze", sql_exclude_columns=["Brand_New__c"])
    assert result.rows_updated == 4


def test_freeze_refuses_a_wider_type(org: SimulatedOrg, database: Path) -> None:
    """Whether describe says so or the first fraction."""
    org.add_field("Account", "Kind__c", "date", values=["2024-01-01"])
    org.add_field("Account", "Count__c", "int", values=[1], wire="double")
    ingest(org, "account", database)
    later(org)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:1], {"Count__c": 2.5})
    org.clock.advance(60)
    with pytest.raises(ConfigurationError, match="Count__c"):
        ingest(org, "account", database, schema_contract="freeze")
    org.retype_field("Account", "Kind__c", "string", length=20)
    with pytest.raises(ConfigurationError, match=r"kind__c \(string\)"):
        ingest(org, "account", database, schema_contract="freeze")


def test_discard_value_reads_no_new_field(org: SimulatedOrg, database: Path) -> None:
    """The table keeps its columns, the rows come; when the contract evolves again, the field is filled for all rows."""
    ingest(org, "account", database)
    org.add_field("Account", "Brand_New__c", "double", values=[1.5])
    later(org)
    result = ingest(org, "account", database, schema_contract="discard_value")
    assert result.rows_updated == 4
    assert any("Brand_New__c" in note for note in result.notes)
    assert "brand_new__c" not in loaded(database).column_names
    assert_same(loaded(database), expected(org, "Account", deleted=True).drop_columns(["brand_new__c"]))
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    assert set(loaded(database).column("brand_new__c").to_pylist()) == {1.5}


def test_discard_value_leaves_out_values_that_do_not_fit(org: SimulatedOrg, database: Path) -> None:
    """A fraction for an integer column becomes null, and is counted; the other values of its row come."""
    org.add_field("Account", "Count__c", "int", values=[1], wire="double")
    ingest(org, "account", database)
    later(org)
    first, second, *_ = org.table("Account").column("Id").to_pylist()
    org.update("Account", [first], {"Count__c": 2.5})
    org.update("Account", [second], {"Count__c": 3})
    org.clock.advance(60)
    result = ingest(org, "account", database, schema_contract="discard_value")
    rows = query(database, f"SELECT count__c, phone FROM public.t WHERE id IN ('{first}', '{second}') ORDER BY id")
    assert rows.to_pylist() == [{"count__c": None, "phone": "555"}, {"count__c": 3, "phone": "555"}]
    assert any("1 values of count__c" in note for note in result.notes)


def test_discard_row_sets_rows_aside(org: SimulatedOrg, database: Path) -> None:
    """Rows with a value for which the table has no column, or one that does not fit, go to quarantine whole."""
    org.add_field("Account", "Count__c", "int", values=[1], wire="double")
    ingest(org, "account", database)
    before = query(database, "SELECT id, phone FROM public.t ORDER BY id").to_pylist()
    org.add_field("Account", "Brand_New__c", "string", length=20)
    later(org)
    first, second, third, fourth, *_ = org.table("Account").column("Id").to_pylist()
    org.update("Account", [first], {"Count__c": 2.5})
    org.update("Account", [second], {"Brand_New__c": "x"})
    org.clock.advance(60)
    result = ingest(org, "account", database, schema_contract="discard_row")
    assert result.rows_quarantined == 2
    assert result.rows_in_source == result.rows_in_destination
    aside = query(database, "SELECT row_id, field, value FROM _ingestr.quarantine ORDER BY row_id").to_pylist()
    assert aside == [
        {"row_id": first, "field": "count__c", "value": "2.5"},
        {"row_id": second, "field": "brand_new__c", "value": "x"},
    ]
    after = query(database, "SELECT id, phone FROM public.t ORDER BY id").to_pylist()
    assert [b["id"] for b, a in zip(before, after, strict=True) if b != a] == [third, fourth]
    assert query(database, "SELECT typeof(any_value(count__c)) AS t FROM public.t").to_pylist() == [{"t": "BIGINT"}]


def test_a_type_that_changed_is_read_again(org: SimulatedOrg, database: Path) -> None:
    """Converting a field moves no timestamp: the column takes the type that holds both, and all its values."""
    org.add_field("Account", "Level__c", "double", values=[1.5, 2.0, None])
    ingest(org, "account", database)
    org.retype_field("Account", "Level__c", "string", length=20)
    org.clock.advance(HOUR)
    result = ingest(org, "account", database)
    assert any("type of Level__c changed from double to string" in note for note in result.notes)
    truth = expected(org, "Account", deleted=True)
    assert loaded(database).column("level__c").to_pylist() == truth.column("level__c").to_pylist()


def test_a_field_whose_spelling_changes_keeps_its_column(org: SimulatedOrg, database: Path) -> None:
    """API names differ by more than case: Level__c and LEVEL__c are one field."""
    org.add_field("Account", "Level__c", "double", values=[1.5])
    ingest(org, "account", database)
    org.drop_field("Account", "Level__c")
    org.add_field("Account", "LEVEL__c", "double", values=[2.5])
    org.clock.advance(HOUR)
    org.update("Account", org.table("Account").column("Id").to_pylist(), {"LEVEL__c": 3.5})
    org.clock.advance(60)
    result = ingest(org, "account", database)
    assert not any("taken" in note for note in result.notes)
    names = [name for name in loaded(database).column_names if "level" in name]
    assert names == ["level__c"]
    assert set(
        query(database, "SELECT level__c FROM public.t WHERE NOT is_deleted").column("level__c").to_pylist()
    ) == {3.5}


def test_an_object_that_vanished_leaves_the_table(org: SimulatedOrg, database: Path) -> None:
    """An object that is gone, or hidden from the user, is an error that says so; the table stays."""
    from ingestr.errors import UnknownNameError
    from ingestr.simulator import Fault
    from support import JSON_HEADERS

    ingest(org, "custom:My__Community_Group__c", database)
    before = loaded(database)
    body = '[{"errorCode":"NOT_FOUND","message":"The requested resource does not exist"}]'
    org.faults.add(Fault(path="/describe", status=404, headers=JSON_HEADERS, body=body))
    with pytest.raises(UnknownNameError, match="hidden from this user"):
        ingest(org, "custom:My__Community_Group__c", database)
    assert loaded(database).equals(before)
