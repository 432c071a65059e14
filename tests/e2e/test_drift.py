"""Fields that appear, vanish, hide, return and change without a trace: the columns stay right."""

from pathlib import Path
from typing import Any

import pytest

from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, ingest, loaded, query

HOUR = 3600


def ids(org: SimulatedOrg) -> list[str]:
    """Ids of the live accounts."""
    found: list[str] = org.table("Account").column("Id").to_pylist()
    return found


def values(database: Path, column: str) -> dict[str, Any]:
    """The values of a column that are set, by id."""
    rows = query(database, f'SELECT id, "{column}" AS v FROM public.t WHERE "{column}" IS NOT NULL').to_pylist()
    return {row["id"]: row["v"] for row in rows}


def truth(org: SimulatedOrg, field: str) -> dict[str, Any]:
    """What the org holds of a field, where it is set."""
    rows = org.table("Account", deleted=True).select(["Id", field]).to_pylist()
    return {row["Id"]: row[field] for row in rows if row[field] is not None}


def test_a_new_field_comes_with_its_history(org: SimulatedOrg, database: Path) -> None:
    """Adding a field moves no timestamp: its values are read for all rows, and only they."""
    ingest(org, "account", database)
    org.add_field("Account", "Brand_New__c", "double", values=[1.5, None, 2.5])
    org.clock.advance(HOUR)
    result = ingest(org, "account", database)
    assert values(database, "brand_new__c") == truth(org, "Brand_New__c") != {}
    assert any("Brand_New__c" in note for note in result.notes)
    filling = [r.query for r in org.requests if "Brand_New__c" in r.query and "Phone" not in r.query]
    assert len(filling) == 1
    org.clock.advance(HOUR)
    assert not any("Brand_New__c" in note for note in ingest(org, "account", database).notes)


def test_a_field_that_vanishes_keeps_its_column(org: SimulatedOrg, database: Path) -> None:
    """Old values stay where nothing changed; rows that change have no value; it is said once."""
    org.add_field("Account", "Passing__c", "string", length=20, values=["x"])
    ingest(org, "account", database)
    org.drop_field("Account", "Passing__c")
    changed = ids(org)[:3]
    org.clock.advance(HOUR)
    org.update("Account", changed, {"Phone": "1"})
    org.clock.advance(60)
    result = ingest(org, "account", database)
    assert len([note for note in result.notes if "Passing__c" in note]) == 1
    assert set(values(database, "passing__c")) == set(org.table("Account", deleted=True)["Id"].to_pylist()) - set(
        changed
    )
    org.clock.advance(HOUR)
    assert not any("Passing__c" in note for note in ingest(org, "account", database).notes)


def test_a_field_that_was_hidden_and_returns_is_filled(org: SimulatedOrg, database: Path) -> None:
    """What changed while the field was hidden is read again when it is back."""
    org.add_field("Account", "Shy__c", "string", length=20, values=["a", "b"])
    ingest(org, "account", database)
    org.hide_field("Account", "Shy__c")
    org.clock.advance(HOUR)
    org.update("Account", ids(org)[:5], {"Shy__c": "changed"})
    org.clock.advance(60)
    ingest(org, "account", database)
    org.hide_field("Account", "Shy__c", hidden=False)
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    assert values(database, "shy__c") == truth(org, "Shy__c")
    assert loaded(database).column_names.count("shy__c") == 1


def test_a_column_that_was_excluded_and_returns_is_filled(org: SimulatedOrg, database: Path) -> None:
    """Rows that changed while a column was left out get their values when it is read again."""
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    org.update("Account", ids(org)[:5], {"Phone": "555"})
    org.clock.advance(60)
    ingest(org, "account", database, sql_exclude_columns=["phone"])
    assert values(database, "phone") != truth(org, "Phone")
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


@pytest.mark.parametrize("refresh", [False, True])
def test_formulas_change_without_a_trace(org: SimulatedOrg, database: Path, refresh: bool) -> None:
    """A formula's outcome moves no timestamp; --refresh-formulas reads formulas of all rows."""
    org.add_field("Account", "Score__c", "double", values=[1.0], traits=frozenset({"formula"}))
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    org.update("Account", ids(org), {"Score__c": 2.0}, touch=False)
    ingest(org, "account", database, refresh_formulas=refresh)
    assert (values(database, "score__c") == truth(org, "Score__c")) == refresh


def test_names_hold_when_a_colliding_field_appears(org: SimulatedOrg, database: Path) -> None:
    """A later field that asks for a name that is taken gets another, whichever comes first in describe."""
    org.add_field("Account", "FooBar__c", "string", length=10, values=["first"])
    ingest(org, "account", database)
    org.add_field("Account", "Foo_Bar__c", "string", length=10, values=["second"])
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    org.drop_field("Account", "FooBar__c")
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    names = [name for name in loaded(database).column_names if name.startswith("foo_bar__c")]
    assert len(names) == 2
    assert set(values(database, "foo_bar__c").values()) == {"first"}
    assert set(values(database, names[1]).values()) == {"second"}
