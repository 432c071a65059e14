"""A row that cannot be read lands in quarantine with its reason, and takes no other row with it."""

from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import DecodeError
from ingestr.simulator import SimulatedOrg
from support import assert_same, claim_huge, expected, ingest, loaded, query, table_names

FIELD = "Poison__c"


def poison(org: SimulatedOrg, name: str, values: list[str | None]) -> None:
    """A field that describe calls a double, and that holds these texts by Id order, round and round."""
    org.add_field(name, FIELD, "double", values=values, wire="string")


def bad_ids(org: SimulatedOrg, name: str, *, deleted: bool, text: str = "never") -> set[str]:
    """Ids of the rows that hold a text which is no number."""
    rows = org.table(name, deleted=deleted).select(["Id", FIELD]).to_pylist()
    return {row["Id"] for row in rows if row[FIELD] == text}


def quarantined(database: Path) -> list[dict[str, Any]]:
    """Everything in quarantine."""
    rows: list[dict[str, Any]] = query(database, "SELECT * FROM _ingestr.quarantine ORDER BY row_id").to_pylist()
    return rows


@pytest.mark.parametrize("api", ["REST", "Bulk 2.0"])
@pytest.mark.parametrize("table", ["account", "lead"])
def test_a_poison_row_is_set_aside(org: SimulatedOrg, database: Path, table: str, api: str) -> None:
    """The others are loaded; Id, field, raw value and reason are kept; the result says how many."""
    name = table.capitalize()
    poison(org, name, ["1.5", None, "2.0E3", "7", "never", *["0.5"] * 10])
    bad = bad_ids(org, name, deleted=table == "account")
    assert 0 < len(bad) < 10
    if api == "Bulk 2.0":
        claim_huge(org, name)
        org.page_rows = 15
    result = ingest(org, table, database)
    assert result.read_by == api
    assert result.rows_quarantined == len(bad)
    rows = quarantined(database)
    assert {row["row_id"] for row in rows} == bad
    assert {(row["field"], row["value"], row["source_object"], row["table_name"]) for row in rows} == {
        (FIELD, "never", name, "t")
    }
    assert "double" in rows[0]["reason"]
    good = expected(org, name, deleted=table == "account")
    good = good.filter([key not in bad for key in good.column("id").to_pylist()])
    assert_same(loaded(database).drop_columns(["poison__c"]), good.drop_columns(["poison__c"]))


def test_both_sides_still_agree(org: SimulatedOrg, database: Path) -> None:
    """Rows in quarantine explain the difference of the counts: no run compares Ids because of them."""
    poison(org, "Account", ["never", *["1.0"] * 6])
    for _ in range(2):
        result = ingest(org, "account", database)
        assert result.rows_in_source == result.rows_in_destination + result.rows_quarantined - len(
            bad_ids(org, "Account", deleted=True) - bad_ids(org, "Account", deleted=False)
        )
        org.clock.advance(3600)
    org.requests.clear()
    ingest(org, "account", database)
    assert not [r for r in org.requests if "SELECT+Id+FROM" in r.query or "SELECT%20Id%20FROM" in r.query]


def test_a_row_that_was_mended_comes_out(org: SimulatedOrg, database: Path) -> None:
    """When the value at the source is good again, the row is loaded and leaves quarantine."""
    poison(org, "Account", ["never", *["1.0"] * 6])
    ingest(org, "account", database)
    bad = sorted(bad_ids(org, "Account", deleted=False))
    org.clock.advance(3600)
    org.update("Account", bad[:1], {FIELD: "9.5"})
    org.clock.advance(60)
    ingest(org, "account", database)
    assert bad[0] not in {row["row_id"] for row in quarantined(database)}
    assert query(database, f"SELECT poison__c FROM public.t WHERE id = '{bad[0]}'").to_pylist() == [{"poison__c": 9.5}]


def test_a_row_that_is_gone_comes_out(org: SimulatedOrg, database: Path) -> None:
    """A quarantined row that was purged at the source is forgotten, once the counts tell."""
    poison(org, "Account", ["never", *["1.0"] * 6])
    ingest(org, "account", database)
    bad = sorted(bad_ids(org, "Account", deleted=False))
    org.clock.advance(3600)
    org.delete("Account", bad[:1])
    org.purge("Account", bad[:1])
    org.clock.advance(60)
    result = ingest(org, "account", database)
    left = {row["row_id"] for row in quarantined(database)}
    assert left == set(bad[1:])
    assert result.rows_in_source == result.rows_in_destination + len(left)


def test_a_row_that_turns_bad_keeps_its_last_good_values(org: SimulatedOrg, database: Path) -> None:
    """The target holds the row as it last could be read; the quarantine tells that it is not up to date."""
    poison(org, "Account", ["1.0"])
    ingest(org, "account", database)
    some = org.table("Account").column("Id").to_pylist()[0]
    org.clock.advance(3600)
    org.update("Account", [some], {FIELD: "never", "Phone": "new"})
    org.clock.advance(60)
    result = ingest(org, "account", database)
    assert result.rows_quarantined == 1
    assert result.rows_in_source == result.rows_in_destination
    assert query(database, f"SELECT poison__c FROM public.t WHERE id = '{some}'").to_pylist() == [{"poison__c": 1.0}]


@pytest.mark.parametrize("limit", [0, 2])
def test_more_than_the_settable_few_is_an_error(org: SimulatedOrg, database: Path, limit: int) -> None:
    """Many such rows are no accident: nothing is written, and the error names one of them and the ways out."""
    poison(org, "Lead", ["never"])
    with pytest.raises(DecodeError, match="Poison__c of row 00Q") as caught:
        ingest(org, "lead", database, quarantine_limit=limit)
    assert "--quarantine-limit" in str(caught.value.hint)
    assert "--sql-exclude-columns Poison__c" in str(caught.value.hint)
    assert table_names(database) == []
    assert org.live_jobs == []
    ingest(org, "lead", database, quarantine_limit=1_000)


def test_a_replaced_table_forgets_its_quarantine(org: SimulatedOrg, database: Path) -> None:
    """A full load starts the quarantine of its table anew."""
    poison(org, "Lead", ["never", *["1.0"] * 9])
    assert ingest(org, "lead", database).rows_quarantined > 0
    org.update("Lead", org.table("Lead").column("Id").to_pylist(), {FIELD: "1"})
    assert ingest(org, "lead", database).rows_quarantined == 0
    assert quarantined(database) == []


def test_a_new_field_with_poison_fills_the_others(org: SimulatedOrg, database: Path) -> None:
    """When a field appears, the rows whose value cannot be read keep null in it and are named in quarantine."""
    ingest(org, "account", database)
    poison(org, "Account", ["never", *["1.0"] * 6])
    org.clock.advance(3600)
    result = ingest(org, "account", database)
    bad = bad_ids(org, "Account", deleted=True)
    assert result.rows_quarantined == len(bad)
    values = query(database, "SELECT id, poison__c FROM public.t").to_pylist()
    assert {row["id"] for row in values if row["poison__c"] is None} == bad
