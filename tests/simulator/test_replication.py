"""getUpdated and getDeleted, the recycle bin, merges, lead conversion and archiving."""

from datetime import UTC, datetime, timedelta

import pytest

from simulator.talk import Talk

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


def _span(talk: Talk, name: str, kind: str, start: datetime, end: datetime) -> dict[str, object]:
    answer = talk.get(f"/sobjects/{name}/{kind}/", start=start.isoformat(), end=end.isoformat())
    body: dict[str, object] = answer.json() if answer.status_code == 200 else answer.json()[0]
    return body


@pytest.fixture
def noon(own_talk: Talk) -> Talk:
    """An org whose clock stands still at noon."""
    own_talk.org.clock.freeze(NOON)
    return own_talk


def test_get_updated_names_what_changed(noon: Talk) -> None:
    """Ids inside the span, and how far the answer is complete."""
    [key] = noon.org.insert("Account", [{"Name": "x"}], system_modstamp=NOON - timedelta(minutes=5))
    body = _span(noon, "Account", "updated", NOON - timedelta(minutes=10), NOON + timedelta(minutes=10))
    assert body == {"ids": [key], "latestDateCovered": "2026-05-06T12:00:00.000+0000"}
    assert _span(noon, "Account", "updated", NOON - timedelta(minutes=4), NOON)["ids"] == []


def test_get_deleted_knows_also_what_left_no_trace(noon: Talk) -> None:
    """Purged rows and rows of objects without a bin are in the delete log; an undeleted row is not."""
    org = noon.org
    kept, purged = org.insert("Account", [{"Name": "kept"}, {"Name": "purged"}])
    member = org.table("CampaignMember").column("Id")[0].as_py()
    org.delete("Account", [kept, purged])
    org.purge("Account", [purged])
    org.undelete("Account", [kept])
    org.delete("CampaignMember", [member])
    start, end = NOON - timedelta(minutes=10), NOON + timedelta(minutes=10)
    body = _span(noon, "Account", "deleted", start, end)
    assert body["deletedRecords"] == [{"deletedDate": "2026-05-06T12:00:00.000+0000", "id": purged}]
    assert body["earliestDateAvailable"] == "2026-04-21T12:00:00.000+0000"
    members = _span(noon, "CampaignMember", "deleted", start, end)["deletedRecords"]
    assert members == [{"deletedDate": "2026-05-06T12:00:00.000+0000", "id": member}]


@pytest.mark.parametrize(
    ("name", "kind", "start", "end", "code"),
    [
        ("Account", "updated", timedelta(days=31), timedelta(0), "INVALID_REPLICATION_DATE"),
        ("Account", "deleted", timedelta(days=16), timedelta(0), "INVALID_REPLICATION_DATE"),
        ("Account", "updated", timedelta(seconds=30), timedelta(0), "INVALID_REPLICATION_DATE"),
        ("CaseStatus", "updated", timedelta(days=1), timedelta(0), "INVALID_TYPE_FOR_OPERATION"),
    ],
)
def test_spans_that_are_refused(noon: Talk, name: str, kind: str, start: timedelta, end: timedelta, code: str) -> None:
    """Too far back, too short, or an object that is not replicateable."""
    assert _span(noon, name, kind, NOON - start, NOON - end)["errorCode"] == code


def test_a_trimmed_delete_log_refuses_older_spans(noon: Talk) -> None:
    """The log may reach back less than fifteen days."""
    noon.org.delete_log_since = NOON - timedelta(days=2)
    body = _span(noon, "Account", "deleted", NOON - timedelta(days=3), NOON)
    assert body["errorCode"] == "INVALID_REPLICATION_DATE"


def test_a_merge_deletes_the_losers_and_moves_their_children(noon: Talk) -> None:
    """The loser names its winner and only queryAll sees it; its contact has a new parent and a new timestamp."""
    org = noon.org
    winner, loser = org.insert("Account", [{"Name": "w"}, {"Name": "l"}], system_modstamp=NOON - timedelta(days=1))
    [child] = org.insert("Contact", [{"LastName": "c", "AccountId": loser}], system_modstamp=NOON - timedelta(days=1))
    org.merge("Account", winner, [loser])
    lost = noon.query(f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll")[0]
    assert (lost["IsDeleted"], lost["MasterRecordId"]) == (True, winner)
    moved = noon.query(f"SELECT AccountId, SystemModstamp FROM Contact WHERE Id = '{child}'")[0]
    assert (moved["AccountId"], moved["SystemModstamp"]) == (winner, "2026-05-06T12:00:00.000+0000")
    with pytest.raises(ValueError, match="cannot be merged"):
        org.merge("Opportunity", "a", ["b"])


def test_a_merge_moves_children_of_the_same_kind_too(noon: Talk) -> None:
    """An account below the loser gets the winner as parent."""
    winner, loser = noon.org.insert("Account", [{"Name": "w"}, {"Name": "l"}])
    [below] = noon.org.insert("Account", [{"Name": "b", "ParentId": loser}])
    noon.org.merge("Account", winner, [loser])
    assert noon.query(f"SELECT ParentId FROM Account WHERE Id = '{below}'")[0]["ParentId"] == winner


def test_what_cannot_happen_to_records_is_told(noon: Talk) -> None:
    """No merge into itself or with a row that is not there, and no second conversion."""
    [account] = noon.org.insert("Account", [{"Name": "w"}])
    for losers in ([account], ["001gK00000000GBQAZ"]):
        with pytest.raises(ValueError, match=r"into itself|has no row"):
            noon.org.merge("Account", account, losers)
    [lead] = noon.org.insert("Lead", [{"LastName": "L", "Company": "C"}])
    noon.org.convert_lead(lead)
    with pytest.raises(ValueError, match="is converted already"):
        noon.org.convert_lead(lead)


def test_a_converted_lead_points_at_what_it_became(noon: Talk) -> None:
    """Account, contact and opportunity exist; the lead is converted, not deleted."""
    [lead] = noon.org.insert("Lead", [{"LastName": "L", "Company": "C"}])
    made = noon.org.convert_lead(lead)
    row = noon.query(f"SELECT IsConverted, ConvertedAccountId, ConvertedContactId FROM Lead WHERE Id = '{lead}'")[0]
    assert row["IsConverted"] is True
    assert (row["ConvertedAccountId"], row["ConvertedContactId"]) == (made["AccountId"], made["ContactId"])
    assert len(noon.query(f"SELECT Id FROM Opportunity WHERE Id = '{made['OpportunityId']}'")) == 1


def test_archived_activities_keep_their_timestamp(noon: Talk) -> None:
    """query loses sight of the task, queryAll does not, SystemModstamp does not move."""
    [key] = noon.org.insert("Task", [{"Subject": "s"}], system_modstamp=NOON - timedelta(days=400))
    noon.org.archive("Task", [key])
    soql = f"SELECT SystemModstamp FROM Task WHERE Id = '{key}'"
    assert noon.query(soql) == []
    assert noon.query(soql, "queryAll")[0]["SystemModstamp"] == "2025-04-01T12:00:00.000+0000"


def test_a_cascade_takes_the_children(noon: Talk) -> None:
    """An account takes its contacts and its opportunities' line items with it."""
    org = noon.org
    [account] = org.insert("Account", [{"Name": "a"}])
    [contact] = org.insert("Contact", [{"LastName": "c", "AccountId": account}])
    [deal] = org.insert("Opportunity", [{"Name": "o", "AccountId": account}])
    [line] = org.insert("OpportunityLineItem", [{"OpportunityId": deal, "Quantity": 1}])
    org.delete("Account", [account], cascade=True)
    for name, key in (("Contact", contact), ("Opportunity", deal), ("OpportunityLineItem", line)):
        assert noon.query(f"SELECT IsDeleted FROM {name} WHERE Id = '{key}'", "queryAll")[0]["IsDeleted"] is True


def test_rows_without_a_bin_of_their_own_go_into_their_parents(noon: Talk) -> None:
    """A campaign member deleted alone leaves no trace; one that goes with its campaign is seen by queryAll."""
    org = noon.org
    [campaign] = org.insert("Campaign", [{"Name": "c"}])
    alone, along = org.insert("CampaignMember", [{"CampaignId": campaign}] * 2)
    org.delete("CampaignMember", [alone])
    org.delete("Campaign", [campaign], cascade=True)
    soql = f"SELECT Id, IsDeleted FROM CampaignMember WHERE CampaignId = '{campaign}'"
    assert [(row["Id"], row["IsDeleted"]) for row in noon.query(soql, "queryAll")] == [(along, True)]
    org.empty_bin()
    assert noon.query(soql, "queryAll") == []


def test_history_goes_with_a_row_that_is_gone_for_good(noon: Talk) -> None:
    """Purging an account takes away what was written about it; deleting it does not."""
    key = noon.query("SELECT AccountId FROM AccountHistory WHERE Account.IsDeleted = false LIMIT 1")[0]["AccountId"]
    soql = f"SELECT Id FROM AccountHistory WHERE AccountId = '{key}'"
    noon.org.delete("Account", [key])
    assert noon.query(soql)
    noon.org.purge("Account", [key])
    assert noon.query(soql) == []


def test_an_emptied_bin_leaves_nothing(noon: Talk) -> None:
    """What was deleted before a time goes for good."""
    org = noon.org
    before = org.count("Account", deleted=True) - org.count("Account")
    [key] = org.insert("Account", [{"Name": "young"}])
    org.delete("Account", [key])
    assert before > 0
    org.empty_bin(before=NOON - timedelta(days=15))
    assert org.count("Account", deleted=True) - org.count("Account") == 1
    org.empty_bin()
    assert org.count("Account", deleted=True) == org.count("Account")
