"""Values on the wire: REST and Bulk write what the org holds, in the platform's own forms."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from ingestr.simulator import SimulatedOrg
from ingestr.simulator.seed_words import NASTY_TEXTS, utf16_length
from simulator.talk import Talk

EVERYTHING = (
    "User",
    "Account",
    "Contact",
    "Task",
    "Event",
    "OpportunityHistory",
    "AccountHistory",
    "My__Community_Group__c",
)


def _as_rest(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000+0000").rjust(28, "0")
    if isinstance(value, time):
        return value.isoformat(timespec="milliseconds") + "Z"
    return value.isoformat() if isinstance(value, date) else value


def _as_bulk(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return java(value)
    text = _as_rest(value)
    return text.replace("+0000", "Z") if isinstance(value, datetime) else str(text)


def java(number: float) -> str:
    """Return a double as Java prints it."""
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return repr(number)
    digits, _, exponent = f"{number:e}".partition("e")
    shortest = next(text for text in (f"{number:.{places}e}" for places in range(1, 18)) if float(text) == number)
    digits, _, exponent = shortest.partition("e")
    return f"{digits}E{int(exponent)}"


def _truth(org: SimulatedOrg, name: str, shown: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    rows = org.table(name, deleted=True).to_pylist()
    return {row["Id"]: {key: shown(value) for key, value in row.items()} for row in rows}


@pytest.mark.parametrize("name", EVERYTHING)
def test_bulk_writes_what_the_org_holds(talk: Talk, name: str) -> None:
    """Every value of every plain field, in Bulk's form."""
    names = talk.plain_fields(name)
    rows = talk.bulk(f"SELECT {','.join(names)} FROM {name}", "queryAll")
    assert {row["Id"]: row for row in rows} == _truth(talk.org, name, _as_bulk)


@pytest.mark.parametrize("name", ["Account", "Task", "My__Community_Group__c"])
def test_rest_writes_what_the_org_holds(talk: Talk, name: str) -> None:
    """Every value of every plain field, in REST's form; values of any type come with their own."""
    names = talk.plain_fields(name)
    truth = _truth(talk.org, name, _as_rest)
    for record in talk.query(f"SELECT {','.join(names)} FROM {name}", "queryAll"):
        del record["attributes"]
        expected = truth[record["Id"]]
        anything, held = record.pop("Any__c", None), expected.pop("Any__c", None)
        assert record == expected
        assert anything == held or (held is not None and str(anything).lower() == str(_number(held)).lower())


def _number(text: str) -> Any:
    return text if text == "true" else float(text) if "." in text else int(text)


def test_the_two_apis_differ_only_in_form(talk: Talk) -> None:
    """REST has +0000 and JSON types, Bulk has Z and text."""
    soql = "SELECT Id, CreatedDate, IsDeleted, AnnualRevenue FROM Account WHERE AnnualRevenue = 1.2345678E7 LIMIT 1"
    job = talk.finished_job(soql)
    text = talk.get("/query", q=soql).text
    assert '.000+0000"' in text
    assert '"AnnualRevenue":1.2345678E7' in text
    assert '"IsDeleted":false' in text
    line = talk.get(f"/jobs/query/{job}/results").text.splitlines()[1]
    assert '.000Z","false","1.2345678E7"' in line


def test_nothing_is_an_empty_pair_of_quotes(talk: Talk) -> None:
    """Null is written as an empty quoted value."""
    job = talk.finished_job(
        "SELECT Id, Empty_Text__c, Empty_Number__c, Empty_Date__c FROM My__Community_Group__c LIMIT 1"
    )
    assert talk.get(f"/jobs/query/{job}/results").text.splitlines()[1].endswith(',"","",""')


def test_every_nasty_value_is_somewhere(talk: Talk) -> None:
    """Each object with wide text fields holds every nasty text, and a text of 32,000 UTF-16 units."""
    for name in ("Account", "Contact", "Lead", "Opportunity", "Task", "My__Community_Group__c"):
        table = talk.org.table(name)
        texts = {value for column in table.columns if str(column.type) == "string" for value in column.to_pylist()}
        assert set(NASTY_TEXTS) <= texts, name
        assert any(text is not None and utf16_length(text) == 32_000 for text in texts), name
        assert "" not in texts


def test_numbers_and_dates_at_the_edges_are_there(talk: Talk) -> None:
    """Years 1700 and 4000, negative zero, numbers with exponents."""
    table = talk.org.table("My__Community_Group__c")
    numbers = {repr(value) for value in table.column("Double__c").to_pylist()}
    assert {"-0.0", "0.0001", "12345678.0", "9000000000000000.0"} <= numbers
    days = table.column("Date__c").to_pylist()
    assert {date(1700, 1, 1), date(4000, 12, 31)} <= set(days)
    assert datetime(4000, 12, 31, 23, 59, 59, tzinfo=UTC) in table.column("DateTime__c").to_pylist()
    assert table.column("Empty_Text__c").null_count == table.num_rows


def test_an_address_is_an_object_of_its_components(talk: Talk) -> None:
    """REST shows addresses and locations as objects, null when all is null."""
    for record in talk.query("SELECT BillingStreet, BillingLatitude, BillingAddress FROM Account LIMIT 50"):
        address = record["BillingAddress"]
        assert address["street"] == record["BillingStreet"]
        assert address["latitude"] == record["BillingLatitude"]
        assert set(address) == {
            "city", "country", "geocodeAccuracy", "latitude", "longitude", "postalCode", "state", "street",
        }  # fmt: skip
    place = talk.query("SELECT Location__c, Location__Latitude__s FROM My__Community_Group__c LIMIT 20")
    assert all(each["Location__c"] is None or set(each["Location__c"]) == {"latitude", "longitude"} for each in place)


def test_a_field_can_belie_its_describe(own_talk: Talk) -> None:
    """An int of describe may really be a fraction on the wire."""
    own_talk.org.add_field("Account", "Odd__c", "int", values=[47.0, 1.5], wire="double")
    assert own_talk.fields("Account")["Odd__c"]["type"] == "int"
    values = {row["Odd__c"] for row in own_talk.bulk("SELECT Odd__c FROM Account")}
    assert values == {"47.0", "1.5"}
