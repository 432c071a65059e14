"""Bulk API 1.0 beyond its first steps: PK chunking, refusals, age."""

import csv
import io

import httpx
import pytest

from simulator.talk import Talk

ASYNC = "/services/async/66.0"
JSON = {"Content-Type": "application/json"}


def _session(talk: Talk) -> dict[str, str]:
    return {"X-SFDC-Session": talk.headers["Authorization"].removeprefix("Bearer "), **JSON}


def _job(talk: Talk, name: str, **headers: str) -> httpx.Response:
    body = {"operation": "query", "object": name, "contentType": "CSV"}
    return talk.client.post(f"{ASYNC}/job", json=body, headers={**_session(talk), **headers})


def _batches(talk: Talk, job: str, soql: str) -> list[dict[str, str]]:
    sent = talk.client.post(f"{ASYNC}/job/{job}/batch", content=soql, headers=_session(talk))
    assert sent.status_code == 201, sent.text
    found = talk.client.get(f"{ASYNC}/job/{job}/batch", headers=_session(talk)).json()["batchInfo"]
    return list(found)


def _ids(talk: Talk, job: str, batch: str) -> list[str]:
    url = f"{ASYNC}/job/{job}/batch/{batch}/result"
    [result] = talk.client.get(url, headers=_session(talk)).json()
    text = talk.client.get(f"{url}/{result}", headers=_session(talk)).text
    return [row["Id"] for row in csv.DictReader(io.StringIO(text, newline=""))]


@pytest.mark.parametrize(
    ("name", "header", "chunks"),
    [
        ("Account", "TRUE", 1),
        ("Account", "chunkSize=100", 6),
        ("Account", "chunkSize=100; startRow={start}", 3),
        ("AccountHistory", "chunkSize=250; parent=Account", 3),
    ],
)
def test_pk_chunking_makes_a_batch_of_each_range(talk: Talk, name: str, header: str, chunks: int) -> None:
    """The client's batch is NotProcessed, and the others hold every row once, from startRow on."""
    truth: list[str] = talk.org.table("Account", deleted=True).column("Id").to_pylist()
    start = truth[300] if "startRow" in header else ""
    value = header.format(start=start)
    job = _job(talk, name, **{"Sforce-Enable-PKChunking": value}).json()["id"]
    first, *others = _batches(talk, job, f"SELECT Id FROM {name}")
    assert (first["state"], len(others)) == ("NotProcessed", chunks)
    assert {batch["state"] for batch in others} == {"Completed"}
    found = [key for batch in others for key in _ids(talk, job, batch["id"])]
    alive: list[str] = talk.org.table(name).column("Id").to_pylist()
    assert sorted(found) == [key for key in alive if key >= start]
    info = talk.client.get(f"{ASYNC}/job/{job}", headers=_session(talk)).json()
    assert (info["numberBatchesTotal"], info["numberBatchesFailed"]) == (chunks + 1, 0)


def test_pk_chunking_has_rules_of_its_own(talk: Talk) -> None:
    """Neither an order nor a filter on the Id, no chunk above 250,000 rows, no small object."""
    key = talk.org.table("Account").column("Id")[0].as_py()
    for ending in ("ORDER BY Name", f"WHERE Id = '{key}'"):
        job = _job(talk, "Account", **{"Sforce-Enable-PKChunking": "TRUE"}).json()["id"]
        [failed] = _batches(talk, job, f"SELECT Id FROM Account {ending}")
        assert failed["state"] == "Failed"
        assert failed["stateMessage"].startswith("InvalidBatch : PK chunking")
    assert _job(talk, "Account", **{"Sforce-Enable-PKChunking": "chunkSize=250001"}).status_code == 400
    refused = _job(talk, "RecordType", **{"Sforce-Enable-PKChunking": "TRUE"}).json()
    assert refused["exceptionMessage"] == "Entity 'RecordType' is not supported to use PKChunking"


def test_a_base64_field_is_refused_in_bulks_own_words(talk: Talk) -> None:
    """The batch fails with FeatureNotEnabled."""
    job = _job(talk, "My__Community_Group__c").json()["id"]
    [batch] = _batches(talk, job, "SELECT File__c FROM My__Community_Group__c")
    assert (batch["state"], batch["stateMessage"]) == ("Failed", "FeatureNotEnabled : Binary field not supported")


def test_what_cannot_be_read_is_told_from_what_is_wrong(talk: Talk) -> None:
    """InvalidXML, ClientInputError, InvalidJobState and an unknown result, each 400."""
    headers = _session(talk)
    torn = talk.client.post(f"{ASYNC}/job", content="<jobInfo", headers={**headers, "Content-Type": "application/xml"})
    assert (torn.status_code, "<exceptionCode>InvalidXML</exceptionCode>" in torn.text) == (400, True)
    torn = talk.client.post(f"{ASYNC}/job", content="{", headers=headers)
    assert (torn.status_code, torn.json()["exceptionCode"]) == (400, "ClientInputError")
    job = _job(talk, "Account").json()["id"]
    odd = talk.client.post(f"{ASYNC}/job/{job}", json={"state": "Resting"}, headers=headers)
    assert (odd.status_code, odd.json()["exceptionCode"]) == (400, "InvalidJobState")
    [batch] = _batches(talk, job, "SELECT Id FROM Account")
    lost = talk.client.get(f"{ASYNC}/job/{job}/batch/{batch['id']}/result/752x", headers=headers)
    assert (lost.status_code, lost.json()["exceptionCode"]) == (400, "InvalidBatch")


def test_results_are_kept_for_seven_days(own_talk: Talk) -> None:
    """An older job cannot be found."""
    job = _job(own_talk, "Account").json()["id"]
    own_talk.org.clock.advance(8 * 86_400)
    answer = own_talk.client.get(f"{ASYNC}/job/{job}", headers=_session(own_talk))
    assert (answer.status_code, answer.json()["exceptionCode"]) == (400, "InvalidJob")
