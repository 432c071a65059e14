"""Changes from Python: rows, fields, clock, growth."""

from datetime import UTC, datetime

import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import Talk

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


def _row(org: SimulatedOrg, name: str, key: str) -> dict[str, object]:
    return next(row for row in org.table(name, deleted=True).to_pylist() if row["Id"] == key)


def test_an_inserted_row_is_stamped_by_the_clock(own_talk: Talk) -> None:
    """Id, timestamps and users are the platform's to fill in."""
    org = own_talk.org
    org.clock.freeze(NOON)
    [key] = org.insert("Contact", [{"FirstName": "Ada", "LastName": "King", "Email": ""}])
    assert (len(key), key[:3]) == (18, "003")
    record = own_talk.query(f"SELECT Name, Email, SystemModstamp, CreatedById FROM Contact WHERE Id = '{key}'")[0]
    assert record["Name"] == "Ada King"
    assert record["Email"] is None
    assert record["SystemModstamp"] == "2026-05-06T12:00:00.000+0000"
    assert record["CreatedById"] == org.user_id


def test_a_row_can_be_committed_late(own: SimulatedOrg) -> None:
    """A row that turns up now with an older SystemModstamp."""
    old = datetime(2026, 5, 6, 11, 55, tzinfo=UTC)
    own.clock.freeze(NOON)
    [key] = own.insert("Account", [{"Name": "late"}], system_modstamp=old)
    assert _row(own, "Account", key)["SystemModstamp"] == old


def test_an_update_moves_the_timestamps_and_a_formula_does_not(own: SimulatedOrg) -> None:
    """touch=False is how formulas and roll-ups change."""
    [key] = own.insert("My__Community_Group__c", [{"Text__c": "a"}], system_modstamp=NOON)
    own.clock.freeze(datetime(2026, 5, 7, tzinfo=UTC))
    own.update("My__Community_Group__c", [key], {"Formula_Number__c": 5.0}, touch=False)
    assert _row(own, "My__Community_Group__c", key)["SystemModstamp"] == NOON
    own.update("My__Community_Group__c", [key], {"Text__c": "b"})
    row = _row(own, "My__Community_Group__c", key)
    assert row["SystemModstamp"] == datetime(2026, 5, 7, tzinfo=UTC)
    assert (row["Text__c"], row["Formula_Number__c"]) == ("b", 5.0)


def test_a_deleted_row_is_seen_by_query_all_until_it_is_purged(own_talk: Talk) -> None:
    """delete, undelete, purge, as the recycle bin has it."""
    org = own_talk.org
    [key] = org.insert("Account", [{"Name": "x"}])
    soql = f"SELECT IsDeleted FROM Account WHERE Id = '{key}'"
    org.delete("Account", [key])
    assert own_talk.query(soql) == []
    assert own_talk.query(soql, "queryAll")[0]["IsDeleted"] is True
    org.undelete("Account", [key])
    assert own_talk.query(soql)[0]["IsDeleted"] is False
    org.delete("Account", [key])
    org.purge("Account", [key])
    assert own_talk.query(soql, "queryAll") == []


def test_objects_without_a_recycle_bin_lose_their_rows_at_once(own: SimulatedOrg) -> None:
    """A campaign member, a user role: gone, even for queryAll."""
    for name in ("CampaignMember", "UserRole"):
        key = own.table(name).column("Id")[0].as_py()
        own.delete(name, [key])
        assert key not in own.table(name, deleted=True).column("Id").to_pylist()
    with pytest.raises(ValueError, match="no recycle bin"):
        own.undelete("CampaignMember", ["00vgK00000000GBQAY"])


def test_fields_come_and_go(own_talk: Talk) -> None:
    """A new field has its values at once and moves no timestamp; a hidden or dropped one is unknown."""
    org = own_talk.org
    before = org.table("Account").column("SystemModstamp")
    org.add_field("Account", "New__c", "string", length=40, values=["a", None])
    assert own_talk.fields("Account")["New__c"]["length"] == 40
    assert org.table("Account").column("SystemModstamp") == before
    assert {record["New__c"] for record in own_talk.query("SELECT New__c FROM Account")} == {"a", None}
    org.hide_field("Account", "New__c")
    assert "New__c" not in own_talk.fields("Account")
    assert own_talk.error("SELECT New__c FROM Account")[1] == "INVALID_FIELD"
    org.hide_field("Account", "New__c", hidden=False)
    org.retype_field("Account", "New__c", "double", precision=18, scale=2)
    assert own_talk.fields("Account")["New__c"]["soapType"] == "xsd:double"
    assert {record["New__c"] for record in own_talk.query("SELECT New__c FROM Account")} == {None}
    org.drop_field("Account", "New__c")
    assert "New__c" not in org.table("Account").column_names


def test_the_clock_shifts_freezes_and_goes_back(own: SimulatedOrg) -> None:
    """set moves it, freeze stops it, advance moves it either way."""
    own.clock.set(NOON)
    assert 0 <= (own.clock.now() - NOON).total_seconds() < 5
    own.clock.freeze(NOON)
    own.clock.advance(90)
    assert own.clock.now() == datetime(2026, 5, 6, 12, 1, 30, tzinfo=UTC)
    own.clock.reset()
    assert abs((datetime.now(UTC) - own.clock.now()).total_seconds()) < 5


def test_growth_adds_live_rows_of_the_same_kind(own: SimulatedOrg) -> None:
    """grow is by live rows, with Ids of their own."""
    own.grow("Lead", 30_000)
    table = own.table("Lead", deleted=True)
    assert own.count("Lead") == 30_000
    assert len(set(table.column("Id").to_pylist())) == table.num_rows


def test_growth_goes_on_whatever_became_of_the_fields(own: SimulatedOrg) -> None:
    """Fields that others are made from may be dropped or of another type; what does not fit is empty."""
    own.drop_field("Lead", "FirstName")
    own.retype_field("Opportunity", "Amount", "string", length=20)
    own.retype_field("Opportunity", "StageName", "int")
    for name in ("Lead", "Opportunity"):
        own.grow(name, 120)
        assert own.count(name) == 120
    assert own.table("Opportunity").column("StageName").null_count == 120


def test_fields_of_every_type_can_be_added_and_filled_by_growth(own: SimulatedOrg) -> None:
    """Whatever the type, old rows have nothing in the new field (or false), and grown rows have something."""
    kinds = ("string", "textarea", "picklist", "multipicklist", "email", "int", "long", "double", "date", "datetime")
    for kind in (*kinds, "time", "boolean", "anyType", "base64", "address"):
        own.add_field("Product2", f"New_{kind}__c", kind)
    before = own.count("Product2")
    own.grow("Product2", before + 50)
    table = own.table("Product2")
    for kind in kinds:
        column = table.column(f"New_{kind}__c")
        assert before <= column.null_count < before + 50, kind
    assert table.column("New_boolean__c").null_count == 0


def test_the_same_seed_is_the_same_org_and_another_is_not() -> None:
    """Rows depend on the seed alone."""
    with (
        SimulatedOrg(rows=80, seed=4) as one,
        SimulatedOrg(rows=80, seed=4) as two,
        SimulatedOrg(rows=80, seed=5) as three,
    ):
        for name in ("Account", "User", "My__Community_Group__c"):
            assert one.table(name, deleted=True) == two.table(name, deleted=True)
        assert one.table("Account") != three.table("Account")


def test_seed_42_has_not_changed() -> None:
    """Rows that were written down once: other machines and versions must make the same."""
    with SimulatedOrg(rows=20, seed=42) as org:
        row = org.table("Contact").slice(0, 1).to_pylist()[0]
    assert {key: row[key] for key in ("Id", "Name", "MailingCity", "Phone", "CreatedDate")} == FIRST_CONTACT


def test_zero_rows_leave_every_object_empty() -> None:
    """rows=0 is an org without a single row."""
    with SimulatedOrg(rows=0) as org:
        assert {org.count(name, deleted=True) for name in org.store.objects} == {0}


def test_the_seed_looks_like_a_company(seeded: SimulatedOrg) -> None:
    """Lookups lead to rows that live, timestamps are in order and in the past, many rows share a second."""
    accounts = set(seeded.table("Account").column("Id").to_pylist())
    contacts = seeded.table("Contact").to_pylist()
    assert {row["AccountId"] for row in contacts} - {None} <= accounts
    for row in contacts:
        assert row["CreatedDate"] <= row["LastModifiedDate"] <= row["SystemModstamp"] < datetime(2025, 6, 1, tzinfo=UTC)
    stamps = [row["SystemModstamp"] for row in contacts]
    assert len(set(stamps)) < len(stamps) - 20
    assert seeded.count("Account") < seeded.count("Account", deleted=True)
    merged = [row for row in seeded.table("Account", deleted=True).to_pylist() if row["MasterRecordId"] is not None]
    assert merged
    assert all(row["IsDeleted"] for row in merged)


def test_start_moves_the_seed_in_time() -> None:
    """Every seeded timestamp lies before `start`."""
    start = datetime(2030, 1, 1, tzinfo=UTC)
    with SimulatedOrg(rows=30, start=start) as org:
        newest = max(org.table("Account").column("SystemModstamp").to_pylist())
    assert datetime(2029, 12, 30, tzinfo=UTC) < newest < start


FIRST_CONTACT: dict[str, object] = {
    "Id": "003gK00000000GBQAY",
    "Name": "Tim Knuth",
    "MailingCity": "Paris",
    "Phone": "+1 (252) 555-6047",
    "CreatedDate": datetime(2025, 5, 24, 15, 47, 53, tzinfo=UTC),
}
