"""The REST API: versions, limits, describe, query pages and the shapes of errors."""

import httpx
import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import PATIENTLY, Talk


def test_versions_need_no_session_and_ascend(seeded: SimulatedOrg) -> None:
    """The list of versions is open, ascending, and ends with the newest."""
    answer = httpx.get(f"{seeded.url}/services/data/", **PATIENTLY)
    versions = [float(entry["version"]) for entry in answer.json()]
    assert versions == sorted(versions)
    assert answer.json()[-1] == {"label": "Summer '26", "url": "/services/data/v67.0", "version": "67.0"}
    assert versions[0] == 31.0
    assert "Sforce-Limit-Info" not in answer.headers


@pytest.mark.parametrize(
    ("version", "status"), [("31.0", 200), ("67.0", 200), ("30.0", 410), ("68.0", 404), ("x", 404)]
)
def test_versions_that_are_retired_or_unknown(talk: Talk, version: str, status: int) -> None:
    """Versions before 31 are gone, versions not yet there are not found."""
    assert talk.client.get(f"/services/data/v{version}/limits", headers=talk.headers).status_code == status


def test_every_call_tells_the_usage_and_the_time(own_talk: Talk) -> None:
    """Sforce-Limit-Info counts the calls; Date is the org's clock."""
    from datetime import UTC, datetime

    own_talk.org.clock.freeze(datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    first, second = own_talk.get("/limits"), own_talk.get("/limits")
    assert first.headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    assert second.headers["Sforce-Limit-Info"] == "api-usage=2/100000"
    assert first.headers["Date"] == "Tue, 03 Feb 2026 04:05:06 GMT"


def test_a_used_up_quota_is_403(own_talk: Talk) -> None:
    """Beyond the daily limit every call is REQUEST_LIMIT_EXCEEDED."""
    own_talk.org.api_limit = 1
    assert own_talk.get("/limits").status_code == 200
    answer = own_talk.get("/limits")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert own_talk.org.api_calls == 1


def test_record_counts_leave_out_what_the_platform_leaves_out(talk: Talk) -> None:
    """Unknown names and history objects are simply absent."""
    body = talk.get("/limits/recordCount", sObjects="Account,Nonsense,AccountHistory").json()
    assert body == {"sObjects": [{"count": talk.org.count("Account"), "name": "Account"}]}
    old = talk.client.get("/services/data/v39.0/limits/recordCount", headers=talk.headers)
    assert old.status_code == 404, "it came with version 40"


def test_the_fifteen_objects_are_described_with_their_fields(talk: Talk) -> None:
    """Each object has as many fields as a plain Developer org shows."""
    expected = {
        "User": 186,
        "UserRole": 16,
        "Account": 58,
        "Contact": 61,
        "Lead": 55,
        "Opportunity": 41,
        "OpportunityLineItem": 21,
        "OpportunityContactRole": 11,
        "Campaign": 33,
        "CampaignMember": 36,
        "Product2": 20,
        "Pricebook2": 14,
        "PricebookEntry": 15,
        "Task": 39,
        "Event": 48,
    }
    assert {name: len(talk.fields(name)) for name in expected} == expected
    listed = {entry["name"]: entry for entry in talk.get("/sobjects/").json()["sobjects"]}
    assert expected.keys() <= listed.keys()
    assert listed["User"]["deletable"] is False
    assert listed["Account"]["keyPrefix"] == "001"
    assert listed["AccountHistory"]["associateParentEntity"] == "Account"


def test_a_field_has_every_key_that_the_platform_sends(talk: Talk) -> None:
    """The recorded description of Account.Id, key for key."""
    assert talk.fields("Account")["Id"] == RECORDED_ID


def test_describe_tells_what_cannot_be_filtered_or_sorted(talk: Talk) -> None:
    """Long text is neither, a user's preference is filterable only, an address cannot be sorted."""
    account, user, custom = talk.fields("Account"), talk.fields("User"), talk.fields("My__Community_Group__c")
    assert not account["Description"]["filterable"]
    assert not account["Description"]["sortable"]
    assert user["UserPreferencesHideS1BrowserUI"]["filterable"]
    assert not user["UserPreferencesHideS1BrowserUI"]["sortable"]
    assert account["BillingAddress"]["type"] == "address"
    assert account["BillingCity"]["compoundFieldName"] == "BillingAddress"
    assert custom["Multi_Picklist__c"]["filterable"]
    assert not custom["Multi_Picklist__c"]["sortable"]
    assert not custom["Any__c"]["filterable"]
    assert custom["Formula_Text__c"]["calculated"]


def test_the_custom_object_has_every_field_type(talk: Talk) -> None:
    """No type that a describe can show is missing."""
    types = {field["type"] for field in talk.fields("My__Community_Group__c").values()}
    assert types == {
        "id", "string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url", "encryptedstring",
        "boolean", "int", "long", "double", "currency", "percent", "date", "datetime", "time", "reference", "address",
        "location", "base64", "anyType",
    }  # fmt: skip


def test_describe_is_not_sent_again_when_nothing_changed(own_talk: Talk) -> None:
    """If-Modified-Since gives 304 with no body until a field is added."""
    first = own_talk.get("/sobjects/Account/describe")
    own_talk.headers["If-Modified-Since"] = first.headers["Last-Modified"]
    again = own_talk.get("/sobjects/Account/describe")
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    own_talk.org.add_field("Account", "New__c", "string")
    assert own_talk.get("/sobjects/Account/describe").status_code == 200


def test_unknown_objects_are_not_found(talk: Talk) -> None:
    """The platform's own 404."""
    answer = talk.get("/sobjects/Nonsense/describe")
    assert answer.status_code == 404
    assert answer.json() == [{"message": "The requested resource does not exist", "errorCode": "NOT_FOUND"}]


def test_pages_follow_their_locators(talk: Talk) -> None:
    """A page holds batchSize records and says where the next one is."""
    talk.headers["Sforce-Query-Options"] = "batchSize=200"
    body = talk.get("/query", q="SELECT Id FROM Account").json()
    assert (len(body["records"]), body["done"]) == (200, False)
    assert body["nextRecordsUrl"].endswith("-200")
    assert body["totalSize"] == talk.org.count("Account")
    ids = [record["Id"] for record in talk.query("SELECT Id FROM Account")]
    assert ids == talk.org.table("Account").column("Id").to_pylist()


def test_an_unknown_locator_is_an_error(talk: Talk) -> None:
    """INVALID_QUERY_LOCATOR, status 400."""
    answer = talk.get("/query/01gXX0000000000AAA-2000")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_a_locator_lives_two_days(own_talk: Talk) -> None:
    """Within two days the next page can be read, later it is INVALID_QUERY_LOCATOR."""
    own_talk.org.insert("Account", [{"Name": "more"}] * 300)
    own_talk.headers["Sforce-Query-Options"] = "batchSize=200"
    more = own_talk.get("/query", q="SELECT Id FROM Account").json()["nextRecordsUrl"]
    own_talk.org.clock.advance(86_400)
    assert own_talk.client.get(more, headers=own_talk.headers).status_code == 200
    own_talk.org.clock.advance(2 * 86_400)
    late = own_talk.client.get(more, headers=own_talk.headers)
    assert (late.status_code, late.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_records_carry_their_type_and_address(talk: Talk) -> None:
    """Every record and every parent begins with attributes."""
    record = talk.query("SELECT Id, Owner.Name FROM Account LIMIT 1")[0]
    url = f"/services/data/v66.0/sobjects/Account/{record['Id']}"
    assert record["attributes"] == {"type": "Account", "url": url}
    assert record["Owner"]["attributes"]["type"] == "User"


def test_only_query_all_sees_the_deleted_and_the_archived(talk: Talk) -> None:
    """query hides IsDeleted rows, and of tasks and events the archived ones."""
    for name in ("Account", "Task", "Event"):
        live = talk.query(f"SELECT Id FROM {name}")
        everything = talk.query(f"SELECT Id FROM {name}", "queryAll")
        assert len(live) == talk.org.count(name)
        assert len(everything) == talk.org.count(name, deleted=True)
        assert len(live) < len(everything)


def test_requests_too_long_for_the_platform_are_refused(talk: Talk) -> None:
    """More than 16,384 bytes are 414 in the URI and 431 with the headers."""
    wide = "SELECT " + ",".join(["Id"] * 6000) + " FROM Account"
    assert talk.get("/query", q=wide).status_code == 414
    headers = {**talk.headers, "X-Long": "x" * 17_000}
    assert talk.client.get(f"{talk.base}/limits", headers=headers).status_code == 431


def test_answers_are_compressed_only_when_asked(talk: Talk) -> None:
    """gzip follows Accept-Encoding."""
    plain = talk.client.get(f"{talk.base}/limits", headers={**talk.headers, "Accept-Encoding": "identity"})
    packed = talk.client.get(f"{talk.base}/limits", headers={**talk.headers, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.json().keys() == packed.json().keys()


def test_wrong_methods_and_addresses(talk: Talk) -> None:
    """405 names the methods; an unknown address is 404."""
    answer = talk.client.delete(f"{talk.base}/limits", headers=talk.headers)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (405, "METHOD_NOT_ALLOWED")
    assert talk.get("/nonsense").status_code == 404


def test_children_come_nested(talk: Talk) -> None:
    """A subquery gives each parent its children, or null."""
    records = talk.query("SELECT Id, (SELECT Id, AccountId FROM Contacts) FROM Account")
    nested = [
        (record["Id"], child["AccountId"])
        for record in records
        for child in (record["Contacts"] or {"records": []})["records"]
    ]
    assert nested
    assert all(parent == child for parent, child in nested)
    live = set(talk.org.table("Account").column("Id").to_pylist())
    contacts = talk.org.table("Contact").column("AccountId").to_pylist()
    assert len(nested) == sum(account in live for account in contacts)


def test_base64_is_an_address_and_the_address_gives_bytes(talk: Talk) -> None:
    """REST shows where the bytes are; a GET there fetches them."""
    record = talk.query("SELECT Id, Body FROM Attachment LIMIT 1")[0]
    assert record["Body"] == f"/services/data/v66.0/sobjects/Attachment/{record['Id']}/Body"
    answer = talk.client.get(record["Body"], headers=talk.headers)
    assert answer.content.startswith(b"file ")


RECORDED_ID: dict[str, object] = {
    "aggregatable": True,
    "aiPredictionField": False,
    "autoNumber": False,
    "byteLength": 18,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "caseSensitive": False,
    "compoundFieldName": None,
    "controllerName": None,
    "createable": False,
    "custom": False,
    "defaultValue": None,
    "defaultValueFormula": None,
    "defaultedOnCreate": True,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "digits": 0,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "externalId": False,
    "extraTypeInfo": None,
    "filterable": True,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "groupable": True,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "idLookup": True,
    "inlineHelpText": None,
    "label": "Account ID",
    "length": 18,
    "mask": None,
    "maskType": None,
    "name": "Id",
    "nameField": False,
    "namePointing": False,
    "nillable": False,
    "permissionable": False,
    "picklistValues": [],
    "polymorphicForeignKey": False,
    "precision": 0,
    "queryByDistance": False,
    "referenceTargetField": None,
    "referenceTo": [],
    "relationshipName": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "scale": 0,
    "searchPrefilterable": False,
    "soapType": "tns:ID",
    "sortable": True,
    "type": "id",
    "unique": False,
    "updateable": False,
    "writeRequiresMasterRead": False,
}


def test_a_row_is_found_by_its_short_id_and_a_wrong_id_is_malformed(talk: Talk) -> None:
    """15 characters do for a row and for its bytes; what is no Id is MALFORMED_ID with the field."""
    key = talk.query("SELECT Id FROM Attachment LIMIT 1")[0]["Id"]
    for path in (f"/sobjects/Attachment/{key[:15]}", f"/sobjects/Attachment/{key[:15]}/Body"):
        assert talk.get(path).status_code == 200
    for path in ("/sobjects/Attachment/nonsense", "/sobjects/Attachment/x'y/Body"):
        answer = talk.get(path)
        assert answer.status_code == 400
        assert (answer.json()[0]["errorCode"], answer.json()[0]["fields"]) == ("MALFORMED_ID", ["Id"])


def test_describe_holds_the_traps_of_recorded_ones(talk: Talk) -> None:
    """A name that is its own compound, persons' names, pictures, and a way that is no reference."""
    contact, account = talk.fields("Contact"), talk.fields("Account")
    assert {contact[name]["extraTypeInfo"] for name in ("Name", "FirstName", "LastName", "Salutation")} == {
        "personname"
    }
    assert (account["Name"]["compoundFieldName"], account["Name"]["type"]) == ("Name", "string")
    assert (contact["PhotoUrl"]["extraTypeInfo"], contact["PhotoUrl"]["groupable"]) == ("imageurl", False)
    assert (contact["JigsawContactId"]["relationshipName"], contact["JigsawContactId"]["type"]) == (
        "JigsawContact",
        "string",
    )
