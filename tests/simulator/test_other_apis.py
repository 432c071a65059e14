"""Bulk 1.0 for older clients, composite calls, and the objects that cannot simply be read."""

import csv
import io
from typing import Any

import pytest

from simulator.talk import Talk

ASYNC = "/services/async/66.0"


def _classic(talk: Talk, soql: str, content_type: str, operation: str = "query") -> tuple[dict[str, Any], str, str]:
    headers = {"X-SFDC-Session": talk.headers["Authorization"].removeprefix("Bearer ")}
    body = {"operation": operation, "object": soql.split(" FROM ")[1].split(maxsplit=1)[0], "contentType": content_type}
    as_json = {**headers, "Content-Type": "application/json"}
    created = talk.client.post(f"{ASYNC}/job", json=body, headers=as_json)
    assert created.status_code == 201, created.text
    job = created.json()["id"]
    batch = talk.client.post(f"{ASYNC}/job/{job}/batch", content=soql, headers=as_json)
    assert batch.status_code == 201
    url = f"{ASYNC}/job/{job}/batch/{batch.json()['id']}"
    info = talk.client.get(url, headers=as_json).json()
    ids = talk.client.get(f"{url}/result", headers=as_json).json()
    text = talk.client.get(f"{url}/result/{ids[0]}", headers=headers).text if ids else ""
    talk.client.post(f"{ASYNC}/job/{job}", json={"state": "Closed"}, headers=as_json)
    return info, text, talk.client.get(f"{ASYNC}/job/{job}", headers=as_json).json()["state"]


def test_bulk_1_gives_json_with_times_in_milliseconds(talk: Talk) -> None:
    """Job, batch, result list, result: records with attributes, times as epoch milliseconds."""
    import json

    info, text, state = _classic(talk, "SELECT Id, Name, CreatedDate, AnnualRevenue FROM Account", "JSON", "queryAll")
    truth = {row["Id"]: row for row in talk.org.table("Account", deleted=True).to_pylist()}
    records = json.loads(text)
    assert (info["state"], info["numberRecordsProcessed"], state) == ("Completed", len(truth), "Closed")
    for record in records:
        row = truth[record["Id"]]
        assert record["attributes"]["type"] == "Account"
        assert record["CreatedDate"] == int(row["CreatedDate"].timestamp() * 1000)
        assert (record["Name"], record["AnnualRevenue"]) == (row["Name"], row["AnnualRevenue"])


def test_bulk_1_gives_csv(talk: Talk) -> None:
    """The same rows as one CSV file."""
    _, text, _ = _classic(talk, "SELECT Id, Name FROM Contact", "CSV")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["Id"] for row in rows} == set(talk.org.table("Contact").column("Id").to_pylist())


def test_bulk_1_fails_the_batch_of_a_bad_query(talk: Talk) -> None:
    """The batch is Failed with a stateMessage; there is no result."""
    info, text, _ = _classic(talk, "SELECT Id, BillingAddress FROM Account", "JSON")
    assert (info["state"], text) == ("Failed", "")
    assert info["stateMessage"].startswith("InvalidBatch : Failed to process query: FUNCTIONALITY_NOT_ENABLED")


def test_bulk_1_has_errors_of_its_own(talk: Talk) -> None:
    """An expired session is 400 InvalidSessionId, in XML unless JSON was asked for."""
    answer = talk.client.post(f"{ASYNC}/job", content="<jobInfo/>", headers={"X-SFDC-Session": "x"})
    assert answer.status_code == 400
    assert "<exceptionCode>InvalidSessionId</exceptionCode>" in answer.text
    token = talk.headers["Authorization"].removeprefix("Bearer ")
    body = '<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><operation>query</operation>'
    body += "<object>Account</object><contentType>CSV</contentType></jobInfo>"
    made = talk.client.post(f"{ASYNC}/job", content=body, headers={"X-SFDC-Session": token})
    assert made.status_code == 201
    assert "<state>Open</state>" in made.text
    retired = talk.client.post("/services/async/30.0/job", json={}, headers={"X-SFDC-Session": token})
    assert retired.json()["exceptionCode"] == "InvalidVersion"


def test_a_batch_of_describes_answers_each(own_talk: Talk) -> None:
    """composite/batch is one API call, with a status for each part."""
    urls = ["v66.0/sobjects/Account/describe", "v66.0/sobjects/Nope/describe", "v66.0/limits"]
    body = {"batchRequests": [{"method": "GET", "url": url} for url in urls]}
    answer = own_talk.client.post(f"{own_talk.base}/composite/batch", json=body, headers=own_talk.headers).json()
    assert answer["hasErrors"] is True
    assert [part["statusCode"] for part in answer["results"]] == [200, 404, 200]
    assert answer["results"][0]["result"]["name"] == "Account"
    assert own_talk.org.api_calls == 1


def test_composite_names_its_parts(talk: Talk) -> None:
    """Each part has a referenceId, a status and a body."""
    part = {"method": "GET", "url": f"{talk.base}/query?q=SELECT+COUNT()+FROM+Account", "referenceId": "n"}
    answer = talk.client.post(f"{talk.base}/composite", json={"compositeRequest": [part]}, headers=talk.headers).json()
    [only] = answer["compositeResponse"]
    assert (only["referenceId"], only["httpStatusCode"]) == ("n", 200)
    assert only["body"]["totalSize"] == talk.org.count("Account")


def test_calls_inside_a_call_keep_the_rules(talk: Talk) -> None:
    """An address too long is 414, a retired version 410, bytes are text, and nothing breaks the others."""
    body = talk.query("SELECT Body FROM Attachment LIMIT 1")[0]["Body"].removeprefix("/services/data/")
    urls = [f"v66.0/query?q={'x' * 17_000}", "v30.0/limits", body, "v66.0/limits", "../id/x/y"]
    requests = [{"method": "GET", "url": url} for url in urls]
    answer = talk.client.post(
        f"{talk.base}/composite/batch", json={"batchRequests": requests}, headers=talk.headers
    ).json()
    assert [each["statusCode"] for each in answer["results"]] == [414, 410, 200, 200, 404]
    assert answer["results"][2]["result"].startswith("file ")
    for broken in ({"batchRequests": ["x"]}, {}):
        refused = talk.client.post(f"{talk.base}/composite/batch", json=broken, headers=talk.headers)
        assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


@pytest.mark.parametrize(
    ("name", "code", "part"),
    [
        ("AccountChangeEvent", "INVALID_TYPE_FOR_OPERATION", "entity type AccountChangeEvent does not support query"),
        ("ActivityHistory", "INVALID_TYPE_FOR_OPERATION", "does not support query"),
        ("ContentDocumentLink", "MALFORMED_QUERY", "Implementation restriction: ContentDocumentLink requires a filter"),
        ("FieldDefinition", "MALFORMED_QUERY", "a filter on a reified column is required"),
        ("OutgoingEmail", "EXTERNAL_OBJECT_UNSUPPORTED_EXCEPTION", "not supported on the OutgoingEmail object"),
        ("DatacloudAddress", "EXTERNAL_OBJECT_EXCEPTION", "Transient queries are not implemented"),
    ],
)
def test_objects_that_refuse_a_plain_scan(talk: Talk, name: str, code: str, part: str) -> None:
    """Described, but not to be read without more."""
    assert talk.get(f"/sobjects/{name}/describe").status_code == 200
    status, found, message = talk.error(f"SELECT Id FROM {name}")
    assert (status, found) == (400, code)
    assert part in message


@pytest.mark.parametrize(
    ("soql", "served"),
    [
        ("SELECT Id FROM ContentDocumentLink WHERE ContentDocumentId = '069gK00000000GB'", True),
        ("SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId IN ('001gK00000000GB') AND IsDeleted = false", True),
        ("SELECT Id FROM ContentDocumentLink WHERE SystemModstamp > 2025-01-01T00:00:00Z", False),
        ("SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId IN (SELECT Id FROM Account)", False),
        ("SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId = '001gK00000000GB' OR IsDeleted = false", False),
        ("SELECT Id FROM FieldDefinition WHERE EntityDefinitionId = 'Account'", True),
        ("SELECT Id FROM FieldDefinition WHERE QualifiedApiName = 'Name'", False),
        ("SELECT Id FROM OutgoingEmail WHERE Id != null", False),
        ("SELECT Id FROM UserRecordAccess WHERE Id != null", False),
    ],
)
def test_only_the_right_filter_opens_a_restricted_object(talk: Talk, soql: str, served: bool) -> None:
    """Values of the fields that the refusal names are served; any other condition is refused as a plain scan is."""
    assert (talk.get("/query", q=soql).status_code == 200) is served


def test_bulk_has_a_code_of_its_own_for_a_restriction(talk: Talk) -> None:
    """What REST calls MALFORMED_QUERY is API_ERROR in Bulk 2.0, with the same words."""
    soql = "SELECT Id FROM ContentDocumentLink"
    error = talk.create_job(soql).json()[0]
    assert (error["errorCode"], error["message"]) == ("API_ERROR", talk.error(soql)[2])
    assert talk.create_job("SELECT Id FROM ActivityHistory").json()[0]["errorCode"] == "INVALID_TYPE_FOR_OPERATION"


def test_the_wide_object_and_the_service_objects_are_there(talk: Talk) -> None:
    """500 custom fields on one object; cases, assets and quotes."""
    assert sum(field["custom"] for field in talk.fields("Wide__c").values()) == 500
    for name in ("Case", "Asset", "Quote", "CaseHistory"):
        assert len(talk.query(f"SELECT Id FROM {name}")) == talk.org.count(name) > 0


def test_a_query_of_500_fields_goes_through_bulk(talk: Talk) -> None:
    """The query is in the body of the POST, so its length is no trouble there; in a URL it is."""
    names = talk.plain_fields("Wide__c")
    conditions = " AND ".join(f"Name != '{letter * 3_900}'" for letter in "abcd")
    soql = f"SELECT {','.join(names)} FROM Wide__c WHERE {conditions} LIMIT 3"
    assert talk.get("/query", q=soql).status_code == 414
    rows = talk.bulk(soql)
    assert list(rows[0]) == names
