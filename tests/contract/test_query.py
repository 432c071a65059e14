"""REST queries: pages, counts, windows of time, errors, the length of a URL, getUpdated and getDeleted."""

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from contract.conftest import PAGE, SAMPLE
from contract.target import Sample, Target, errors_of, literal, moment

ID = r"[A-Za-z0-9]{15}[A-Z0-5]{3}"
# Bytes of address and headers together.
LONGEST_REQUEST = 16_384


def test_pages_lead_to_all_rows(target: Target, read: Sample) -> None:
    """totalSize is the rows of all pages; each page but the last names the next; batchSize is not exceeded."""
    bodies = [page.json() for page in read.pages]
    assert {body["totalSize"] for body in bodies} == {sum(len(body["records"]) for body in bodies)}
    assert len(read.rest) == bodies[0]["totalSize"] <= SAMPLE
    for body in bodies[:-1]:
        assert body.keys() == {"totalSize", "done", "nextRecordsUrl", "records"}
        assert body["done"] is False
        assert body["nextRecordsUrl"].startswith(f"{target.base}/query/")
        assert 0 < len(body["records"]) <= PAGE
    assert bodies[-1].keys() == {"totalSize", "done", "records"}
    assert bodies[-1]["done"] is True
    if target.simulated:
        assert len(bodies) == 3


def test_a_record_has_its_address_and_the_fields_asked_for(target: Target, read: Sample) -> None:
    """A record is attributes with type and url, and each field of the SELECT, null ones too."""
    for key, record in read.rest.items():
        assert re.fullmatch(ID, key)
        assert record.keys() == {"attributes", *read.fields}
        url = f"{target.base}/sobjects/{read.name}/{key}"
        assert record["attributes"] == {"type": read.name, "url": url}


def test_rows_come_in_the_order_asked_for(read: Sample) -> None:
    """ORDER BY SystemModstamp, Id is the order across pages."""
    stamps = [moment(record["SystemModstamp"]) for record in read.rest.values()]
    assert stamps == sorted(stamps)


def test_windows_of_time_partition_the_rows(target: Target, read: Sample) -> None:
    """Rows with SystemModstamp < T and rows with >= T are all rows, each once; T itself belongs to the later."""
    stamps = [moment(record["SystemModstamp"]) for record in read.rest.values()]
    if not stamps:
        pytest.skip(f"{read.name} has no rows")
    # Of the oldest rows we know every one up to the last second, of which there may be more.
    end = stamps[-1] if len(stamps) == SAMPLE else stamps[-1] + timedelta(seconds=1)
    middle = stamps[len(stamps) // 2]
    before = target.count(f"{read.name} WHERE SystemModstamp < {literal(middle)}")
    after = target.count(f"{read.name} WHERE SystemModstamp >= {literal(middle)} AND SystemModstamp < {literal(end)}")
    assert before == sum(stamp < middle for stamp in stamps)
    assert after == sum(middle <= stamp < end for stamp in stamps)
    if target.simulated:
        assert before > 0
        assert after > 0


def test_deleted_rows_are_for_query_all_only(target: Target, subject: dict[str, Any]) -> None:
    """COUNT() of deleted rows is zero for query; queryAll gives rows whose IsDeleted is true."""
    name = subject["name"]
    if "IsDeleted" not in {each["name"] for each in subject["fields"]}:
        pytest.skip(f"{name} has no IsDeleted")
    assert target.count(f"{name} WHERE IsDeleted = true") == 0
    answer = target.get("/queryAll", q=f"SELECT Id, IsDeleted FROM {name} WHERE IsDeleted = true LIMIT 5")
    assert answer.status_code == 200
    assert all(record["IsDeleted"] is True for record in answer.json()["records"])
    if target.simulated:
        assert len(answer.json()["records"]) == 5


@pytest.mark.parametrize(
    ("soql", "code", "part"),
    [
        ("SELECT Id FROM No_Such_Object__c", "INVALID_TYPE", "sObject type 'No_Such_Object__c' is not supported"),
        ("SELECT No_Such__c FROM User", "INVALID_FIELD", "No such column 'No_Such__c' on entity 'User'"),
        ("SELECT Id FORM User", "MALFORMED_QUERY", "unexpected token"),
    ],
    ids=["object", "field", "syntax"],
)
def test_a_wrong_query_is_told_what_is_wrong(target: Target, soql: str, code: str, part: str) -> None:
    """A query that cannot be is 400 with an errorCode and a message that names the culprit."""
    status, given, message = errors_of(target.get("/query", q=soql))
    assert (status, given) == (400, code)
    assert part in message


def test_change_events_are_not_queried(target: Target, objects: dict[str, dict[str, Any]]) -> None:
    """An object that is not queryable is 400 INVALID_TYPE_FOR_OPERATION."""
    names = [name for name, each in objects.items() if each["associateEntityType"] == "ChangeEvent"]
    if not names:
        pytest.skip("the org has no change events")
    status, code, message = errors_of(target.get("/query", q=f"SELECT Id FROM {names[0]}"))
    assert (status, code) == (400, "INVALID_TYPE_FOR_OPERATION")
    assert f"entity type {names[0]} does not support query" in message


def test_an_unknown_locator_is_refused(target: Target) -> None:
    """A cursor that is not there, or no longer, is 400 INVALID_QUERY_LOCATOR."""
    status, code, _ = errors_of(target.get("/query/01g000000000000AAA-2000"))
    assert (status, code) == (400, "INVALID_QUERY_LOCATOR")


def test_a_url_may_be_long_but_not_too_long(target: Target) -> None:
    """Address and headers together may have 16,384 bytes; more is 414 or 431."""
    # Letters are one byte in a URL, and one name in a query may have 4,000.
    fits, over = (
        target.get("/query", q=f"SELECT Id FROM User WHERE Username IN ({names}) LIMIT 1")
        for names in (",".join(f"'{letter * 3_000}'" for letter in letters) for letters in ("abcd", "abcdef"))
    )
    assert len(fits.request.url.raw_path) > 12_000
    assert fits.status_code == 200
    assert len(over.request.url.raw_path) > LONGEST_REQUEST
    assert over.status_code in {414, 431}


def test_get_updated_and_get_deleted_say_how_far_they_go(target: Target, subject: dict[str, Any]) -> None:
    """getUpdated gives Ids, getDeleted Ids and times and since when it knows; both say until when they are complete."""
    end = parsedate_to_datetime(subject["answer"].headers["Date"])
    start = end - timedelta(minutes=10)
    moments = {"start": start, "end": end}
    span: dict[str, Any] = {name: each.strftime("%Y-%m-%dT%H:%M:%S+00:00") for name, each in moments.items()}
    updated = target.get(f"/sobjects/{subject['name']}/updated/", **span)
    assert updated.status_code == 200, updated.text
    assert updated.json().keys() == {"ids", "latestDateCovered"}
    assert all(re.fullmatch(ID, each) for each in updated.json()["ids"])
    deleted = target.get(f"/sobjects/{subject['name']}/deleted/", **span)
    assert deleted.status_code == 200, deleted.text
    assert deleted.json().keys() == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    for each in deleted.json()["deletedRecords"]:
        assert each.keys() == {"deletedDate", "id"}
        assert moment(each["deletedDate"]) <= end
    for text in (updated.json()["latestDateCovered"], deleted.json()["latestDateCovered"]):
        assert moment(text) <= end
    assert moment(deleted.json()["earliestDateAvailable"]) < end
