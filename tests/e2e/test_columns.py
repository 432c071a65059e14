"""Columns of another type or name, numbers with every digit, and only the columns that are named; on each engine."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ingestr
from ingestr.errors import ConfigurationError, DecodeError, UnknownNameError
from ingestr.simulator import SimulatedOrg
from support import Database, bulk, content, ingest, kinds, source_uri

APIS = ["REST", "Bulk 2.0"]
LONG = "1234567890123456.78"


def amounts(org: SimulatedOrg, api: str, *values: str | None, kind: str = "currency", **described: Any) -> None:
    """Accounts have a field of numbers, which stand on the wire just so."""
    org.add_field("Account", "Exact__c", kind, values=[*values], wire="string", **described)
    if api == "Bulk 2.0":
        bulk(org, "Account")


def column(database: Database, name: str) -> list[Any]:
    """The different values of a column that are not null, in order."""
    return sorted({row[0] for row in content(database, f"SELECT {name} FROM public.t WHERE {name} IS NOT NULL")})


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("table", ["account", "custom:Account"])
def test_decimals_keep_every_digit(org: SimulatedOrg, either: Database, table: str, api: str) -> None:
    """``--numbers decimal`` gives a column the digits that describe declares, and no digit is lost on the way."""
    amounts(org, api, LONG, "0.10", "-1.5E2", "7", None, precision=18, scale=2)
    ingest(org, table, either, numbers="decimal")
    assert column(either, "exact__c") == [Decimal("-150.00"), Decimal("0.10"), Decimal("7.00"), Decimal(LONG)]
    assert kinds(either)["exact__c"] == "DECIMAL(18, 2)"
    org.clock.advance(60)
    # Whoever leaves the option out later gets no other column.
    if table == "account":
        ingest(org, table, either)
        assert kinds(either)["exact__c"] == "DECIMAL(18, 2)"


@pytest.mark.parametrize("api", APIS)
def test_more_digits_than_declared_widen_the_column(org: SimulatedOrg, either: Database, api: str) -> None:
    """Formulas have more digits than describe says: none is rounded, and what is no number is set aside."""
    amounts(org, api, "0.123456789", "12345678901234567890.5", "NaN", "1E300", precision=4, scale=2)
    result = ingest(org, "account", either, numbers="decimal")
    assert column(either, "exact__c") == [Decimal("0.123456789"), Decimal("12345678901234567890.5")]
    assert result.rows_quarantined > 10
    assert any("Exact__c holds values that its declared type does not" in note for note in result.notes)
    kind = kinds(either)["exact__c"]
    org.clock.advance(60)
    second = ingest(org, "account", either, numbers="decimal")
    assert (second.rows_updated, second.rows_inserted, kinds(either)["exact__c"]) == (0, 0, kind)
    assert not any("changed from" in note for note in second.notes)


def test_doubles_that_are_there_do_not_become_exact(org: SimulatedOrg, either: Database) -> None:
    """A table of doubles has lost digits already: decimals are refused until it is loaded anew."""
    amounts(org, "REST", LONG, precision=18, scale=2)
    ingest(org, "account", either)
    with pytest.raises(ConfigurationError, match="is a double") as caught:
        ingest(org, "account", either, numbers="decimal")
    assert "--full-refresh" in (caught.value.hint or "")
    ingest(org, "account", either, numbers="decimal", full_refresh=True)
    assert column(either, "exact__c") == [Decimal(LONG)]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("table", ["account", "lead"])
def test_columns_get_types_and_names(org: SimulatedOrg, either: Database, table: str, api: str) -> None:
    """Each column has the type and the name that were asked for, at the first run and at the next ones."""
    name = table.capitalize()
    org.add_field(name, "Exact__c", "double", values=[LONG, "1.25"], wire="string", precision=18, scale=2)
    org.add_field(name, "Small__c", "int", values=[1, 2, 3])
    org.add_field(name, "Key__c", "string", values=["6F9619FF-8B86-D011-B42D-00C04FC964FF"])
    org.add_field(name, "Said__c", "string", values=['{"a": [1, "x"]}'])
    if api == "Bulk 2.0":
        bulk(org, name)
    wanted = [
        "exact__c:decimal(20,3), tiny:smallint:Small__c", "key__c:UUID", "Said__c:json", "called::Phone",
        "created_date:timestamp_ntz", "is_deleted:integer",
    ]  # fmt: skip
    json = "JSON" if isinstance(either, Path) else "JSONB"
    for _ in range(2):
        ingest(org, table, either, columns=wanted)
        found = kinds(either)
        assert {each: found[each] for each in ("exact__c", "tiny", "key__c", "said__c", "called", "created_date")} == {
            "exact__c": "DECIMAL(20, 3)", "tiny": "SMALLINT", "key__c": "UUID", "said__c": json, "called": "TEXT",
            "created_date": "TIMESTAMP",
        }  # fmt: skip
        assert not {"small__c", "phone"} & set(found)
        assert set(column(either, "exact__c")) == {Decimal("1.250"), Decimal(LONG + "0")}
        assert set(column(either, "tiny")) == {1, 2, 3}
        org.update(name, [org.table(name).column("Id")[0].as_py()], {"Phone": "5"})
        org.clock.advance(60)
    assert "5" in column(either, "called") or table == "lead"


def test_a_value_that_does_not_fit_sets_its_row_aside(org: SimulatedOrg, either: Database) -> None:
    """Too large, too long, a fraction, or no value of the type: never cut or rounded, and the other rows are loaded."""
    org.add_field("Account", "Small__c", "int", values=[1, 40_000, 3])
    org.add_field("Account", "Text__c", "string", values=["abc", "abc", "abcdef"])
    org.add_field("Account", "Half__c", "double", values=[2.0, 2.0, 2.0, 2.5])
    org.add_field("Account", "Key__c", "string", values=[None, None, None, None, "none"])
    wanted = ["small__c:smallint", "text__c:varchar(3)", "half__c:int", "key__c:uuid"]
    result = ingest(org, "account", either, columns=wanted)
    assert result.rows_quarantined > 0
    assert set(column(either, "small__c")) <= {1, 3}
    assert set(column(either, "text__c")) == {"abc"}
    assert set(column(either, "half__c")) == {2}
    fields = content(either, "SELECT DISTINCT field, value FROM _ingestr.quarantine")
    assert {("small__c", "40000"), ("text__c", "abcdef"), ("half__c", "2.5"), ("key__c", "none")} <= set(fields)
    assert result.rows_in_source == result.rows_in_destination + result.rows_quarantined - deleted_aside(org, either)
    with pytest.raises(DecodeError, match="do not fit the types that --columns gives"):
        ingest(org, "account", either, columns=wanted, full_refresh=True, quarantine_limit=1)


def deleted_aside(org: SimulatedOrg, database: Database) -> int:
    """Rows in quarantine that are deleted in the org, and so are not live."""
    aside = {row[0] for row in content(database, "SELECT row_id FROM _ingestr.quarantine")}
    live = set(org.table("Account").column("Id").to_pylist())
    return len(aside - live)


def test_only_the_columns_that_are_named(org: SimulatedOrg, either: Database) -> None:
    """``--no-inference`` reads what is named and what the load needs; nothing else is even asked for."""
    ingest(org, "account", either, columns=["name:text", "place::BillingCity"], no_inference=True)
    assert set(kinds(either)) == {
        "id", "name", "place", "is_deleted", "created_date", "system_modstamp", "_ingestr_loaded_at"
    }  # fmt: skip
    ingest(org, "lead", either, dest_table="public.leads", columns=["company:text"], no_inference=True)
    assert {"id", "company"} <= set(kinds(either, "leads"))
    assert not any("Phone" in each.query for each in org.requests if "SELECT" in each.query)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["nam:text"], "nam"),
        (["name"], "is not name:type"),
        (["name:txt"], "has no type 'txt'"),
        (["name:decimal"], "needs its digits"),
        (["name:decimal(39,2)"], "needs its digits"),
        (["name:int(3)"], "takes nothing in brackets"),
        (["name:blob"], "no field that is read holds bytes"),
        (["name:text", "Name:text"], "twice"),
        (["a::Name", "a::Phone"], "one column a"),
        (["is_deleted:date"], "holds no value"),
        (["created_date:int"], "holds no value"),
        (["id:uuid"], "told apart by Id"),
    ],
)
def test_what_cannot_be_is_refused_before_a_row_is_read(
    shared_org: SimulatedOrg, database: Database, columns: list[str], words: str
) -> None:
    """A mistyped name, type or pair of columns is an error that names it."""
    asked = len(shared_org.requests)
    with pytest.raises(ConfigurationError, match=words.replace("(", r"\(")) as caught:
        ingest(shared_org, "account", database, columns=columns)
    assert not any("SELECT" in each.query for each in shared_org.requests[asked:])
    assert isinstance(caught.value, UnknownNameError) == (words == "nam")


def test_a_column_keeps_its_name_and_type(org: SimulatedOrg, either: Database) -> None:
    """A merge gives no column another name or type than it has; a full refresh does."""
    ingest(org, "account", either)
    for columns, words in ((["called::Phone"], "has the column phone"), (["created_date:date"], "wants DATE")):
        with pytest.raises(ConfigurationError, match=words):
            ingest(org, "account", either, columns=columns)
    ingest(org, "account", either, columns=["called::Phone", "created_date:timestamp_ntz"], full_refresh=True)
    found = kinds(either)
    assert (found["called"], found["created_date"], found.get("phone")) == ("TEXT", "TIMESTAMP", None)


def test_a_stream_has_decimals_too(org: SimulatedOrg) -> None:
    """``ingestr.read`` gives decimals, trimmed texts and masks as well."""
    amounts(org, "REST", LONG, precision=18, scale=2)
    with ingestr.read(source_uri(org), "account", numbers="decimal", mask=["phone:redact"]) as stream:
        table = stream.reader().read_all()
    assert Decimal(LONG) in table.column("exact__c").to_pylist()
    assert set(table.column("phone").to_pylist()) <= {"REDACTED", None}
