"""Bulk API 2.0 query jobs: life, pages, refusals."""

import re
from typing import Any

import pytest

from contract.conftest import PAGE, SAMPLE, Job
from contract.target import Target, csv_of, errors_of, moment

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
STATES = {"UploadComplete", "InProgress", "JobComplete"}


def test_a_job_is_created_with_200_and_says_what_it_is(target: Target, job: Job) -> None:
    """A new job says its object, operation and format, its version as a number, and that it waits."""
    body = job.created.json()
    assert job.created.status_code == 200
    assert re.fullmatch(r"750\w{15}", body["id"])
    facts = {
        "operation": "query",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
        "apiVersion": float(target.version),
    }
    assert {name: body[name] for name in facts} == facts
    assert body["state"] in {"UploadComplete", "InProgress"}
    assert re.fullmatch(r"005\w{15}", body["createdById"])
    assert moment(body["createdDate"]) <= moment(body["systemModstamp"])


def test_a_job_is_polled_until_it_is_complete(job: Job) -> None:
    """Each poll says the state; a complete job says its type, its retries and its time."""
    assert {each["state"] for each in job.polls} <= STATES
    last = job.polls[-1]
    assert last["jobType"] == "V2Query"
    assert all(isinstance(last[name], int) for name in ("numberRecordsProcessed", "retries", "totalProcessingTime"))


def test_pages_add_up_to_what_the_job_processed(target: Target, job: Job) -> None:
    """Sforce-NumberOfRecords is the rows of the page, at most maxRecords, and their sum is numberRecordsProcessed."""
    rows = [len(csv_of(page)) - 1 for page in job.pages]
    assert rows == [int(page.headers["Sforce-NumberOfRecords"]) for page in job.pages]
    assert max(rows) <= PAGE
    assert sum(rows) == job.polls[-1]["numberRecordsProcessed"]
    if target.simulated:
        assert len(rows) == 3


def test_locators_lead_from_page_to_page(job: Job) -> None:
    """Every page but the last names the next by a locator; on the last it is the text null."""
    locators = [page.headers["Sforce-Locator"] for page in job.pages]
    assert locators[-1] == "null"
    assert len(set(locators)) == len(locators)


def test_every_page_begins_with_the_header_in_the_order_selected(job: Job) -> None:
    """Pages are CSV in UTF-8 without a mark, and each repeats the columns of the SELECT."""
    for page in job.pages:
        assert page.headers["Content-Type"].startswith("text/csv")
        assert not page.content.startswith(BYTE_ORDER_MARK)
        rows = csv_of(page)
        assert rows[0] == job.columns
        assert all(len(row) == len(job.columns) for row in rows)


def test_a_page_can_be_read_again_and_uncompressed(target: Target, job: Job) -> None:
    """A locator stays good, and gzip is sent to those who accept it and to nobody else."""
    assert {page.headers.get("Content-Encoding") for page in job.pages} == {"gzip"}
    parameters: dict[str, Any] = {"maxRecords": PAGE}
    if len(job.pages) > 1:
        parameters["locator"] = job.pages[0].headers["Sforce-Locator"]
    headers = {"Accept": "text/csv", "Accept-Encoding": "identity"}
    again = target.job("GET", job.id, "/results", params=parameters, headers=headers)
    assert again.headers.get("Content-Encoding") in {None, "identity"}
    assert csv_of(again) == csv_of(job.pages[min(1, len(job.pages) - 1)])


def test_result_pages_point_at_every_row_once(target: Target, job: Job) -> None:
    """resultPages names up to five pages at a time, of the same job, with the same rows in sum."""
    path: str | None = f"{target.base}/jobs/query/{job.id}/resultPages"
    ids: list[str] = []
    while path is not None:
        body = target.call("GET", path).json()
        assert len(ids) <= SAMPLE
        assert 1 <= len(body["resultPages"]) <= 5
        for each in body["resultPages"]:
            assert each["resultUrl"].startswith(f"{target.base}/jobs/query/{job.id}/results?locator=")
            ids += [row[0] for row in csv_of(target.call("GET", each["resultUrl"]))[1:]]
        # The guide's table and its example spell the name differently.
        path = None if body["done"] else body.get("nextRecordsUrl", body.get("nextRecordUrl"))
    assert sorted(ids) == sorted(row[0] for page in job.pages for row in csv_of(page)[1:])


def test_a_job_without_rows_ends_like_any_other(target: Target, subject: dict[str, Any]) -> None:
    """No rows: one page with the header or nothing; then abort is too late, delete is 204, and the job is gone."""
    done = target.finish(f"SELECT Id FROM {subject['name']} WHERE SystemModstamp < 1900-01-01T00:00:00Z")
    assert done.polls[-1]["numberRecordsProcessed"] == 0
    page = target.job("GET", done.id, "/results")
    assert page.status_code == 200
    assert page.headers["Sforce-NumberOfRecords"] == "0"
    assert page.headers["Sforce-Locator"] == "null"
    assert csv_of(page) in ([], [["Id"]])
    late = errors_of(target.job("PATCH", done.id, json={"state": "Aborted"}))
    assert late == (400, "INVALIDJOBSTATE", "Aborting already Completed Job not allowed")
    assert target.delete_job(done.id).status_code == 204
    assert errors_of(target.job("GET", done.id))[:2] == (404, "NOT_FOUND")


def test_results_want_the_version_that_made_the_job(target: Target, job: Job) -> None:
    """Another version's address is 409."""
    other = f"{float(target.version) - 1:.1f}"
    answer = target.call("GET", f"/services/data/v{other}/jobs/query/{job.id}/results")
    assert answer.status_code == 409


def test_a_running_job_is_aborted_before_it_is_deleted(target: Target) -> None:
    """Delete is refused while the job runs; abort says Aborted; a job that was faster than us ends by itself."""
    job = target.create_job("SELECT Id FROM User LIMIT 1").json()["id"]
    early = target.delete_job(job)
    if early.status_code == 204:
        return
    assert errors_of(early)[:2] == (400, "API_ERROR")
    aborted = target.job("PATCH", job, json={"state": "Aborted"})
    if aborted.status_code == 200:
        assert aborted.json()["id"] == job
        assert aborted.json()["state"] == "Aborted"
    else:
        assert errors_of(aborted)[:2] == (400, "INVALIDJOBSTATE")
    assert target.delete_job(job).status_code == 204


def test_an_unknown_job_is_not_found(target: Target) -> None:
    """A job that never was is 404 NOT_FOUND, or 400 INVALIDJOB as another page of the guide has it."""
    found = errors_of(target.job("GET", "750000000000000AAA"))[:2]
    assert found in {(404, "NOT_FOUND"), (400, "INVALIDJOB")}


@pytest.mark.parametrize(
    ("soql", "part"),
    [
        ("SELECT Id, Address FROM User LIMIT 1", "Selecting compound data not supported in Bulk Query"),
        ("SELECT COUNT() FROM User", ""),
        ("SELECT No_Such__c FROM User LIMIT 1", "No such column 'No_Such__c' on entity 'User'"),
    ],
    ids=["compound", "count", "field"],
)
def test_what_bulk_cannot_do_is_refused_at_once(target: Target, soql: str, part: str) -> None:
    """Compound fields, COUNT() and unknown fields are 400 when the job is made, not later."""
    status, code, message = errors_of(target.create_job(soql))
    assert status == 400
    assert code
    assert part in message
