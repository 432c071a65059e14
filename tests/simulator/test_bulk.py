"""Bulk 2.0 query jobs: life, pages, formats and refusals."""

import csv
import gzip
import io
from typing import Any

import httpx
import pytest

from simulator.talk import PATIENCE, Talk


def test_a_job_answers_as_documented(talk: Talk) -> None:
    """Creation is 200 with the job, its version a number."""
    answer = talk.create_job("SELECT Id FROM Account")
    body = answer.json()
    assert answer.status_code == 200
    assert body["id"].startswith("750")
    assert body["state"] == "UploadComplete"
    assert body["apiVersion"] == 66.0
    assert {key: body[key] for key in ("operation", "object", "concurrencyMode", "contentType")} == {
        "operation": "query",
        "object": "Account",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
    }
    assert (body["lineEnding"], body["columnDelimiter"]) == ("LF", "COMMA")


def test_a_job_goes_through_its_states_and_counts_its_rows(talk: Talk) -> None:
    """A poll or two later the job is complete and says how many rows it has."""
    job = talk.finished_job("SELECT Id FROM Account")
    body = talk.get(f"/jobs/query/{job}").json()
    assert body["jobType"] == "V2Query"
    assert body["numberRecordsProcessed"] == talk.org.count("Account")


def test_pages_repeat_the_header_and_end_with_the_word_null(talk: Talk) -> None:
    """Sforce-Locator leads on and is the text null on the last page."""
    job = talk.finished_job("SELECT Id, Name FROM Account")
    total = talk.org.count("Account")
    first = talk.get(f"/jobs/query/{job}/results", maxRecords=total - 1)
    assert first.headers["Sforce-NumberOfRecords"] == str(total - 1)
    assert first.headers["Content-Type"].startswith("text/csv")
    last = talk.get(f"/jobs/query/{job}/results", maxRecords=total, locator=first.headers["Sforce-Locator"])
    assert last.headers["Sforce-NumberOfRecords"] == "1"
    assert last.headers["Sforce-Locator"] == "null"
    assert first.text.startswith('"Id","Name"\n"')
    assert last.text.startswith('"Id","Name"\n"')


def test_result_pages_point_at_every_row_once(own_talk: Talk) -> None:
    """resultPages gives five pages at a time until done."""
    own_talk.org.page_rows = 7
    job = own_talk.finished_job("SELECT Id FROM Contact")
    ids: list[str] = []
    url = f"{own_talk.base}/jobs/query/{job}/resultPages"
    rounds = 0
    while url:
        body = own_talk.client.get(url, headers=own_talk.headers).json()
        assert len(body["resultPages"]) <= 5
        for page in body["resultPages"]:
            text = own_talk.client.get(page["resultUrl"], headers=own_talk.headers).text
            ids += [row["Id"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        url = "" if body["done"] else body["nextRecordsUrl"]
        rounds += 1
    assert rounds > 1
    assert sorted(ids) == own_talk.org.table("Contact").column("Id").to_pylist()


def test_result_pages_are_not_there_before_58_or_when_switched_off(own_talk: Talk) -> None:
    """404 where the platform has no resultPages."""
    job = own_talk.finished_job("SELECT Id FROM Contact")
    own_talk.org.result_pages_supported = False
    assert own_talk.get(f"/jobs/query/{job}/resultPages").status_code == 404


def test_a_job_without_rows_has_one_page_with_the_header(own_talk: Talk) -> None:
    """Zero rows: the header alone, and the locator null."""
    job = own_talk.finished_job("SELECT Id FROM Account WHERE Id = NULL")
    page = own_talk.get(f"/jobs/query/{job}/results")
    assert (page.text, page.headers["Sforce-Locator"], page.headers["Sforce-NumberOfRecords"]) == (
        '"Id"\n',
        "null",
        "0",
    )
    assert len(own_talk.get(f"/jobs/query/{job}/resultPages").json()["resultPages"]) == 1


def test_rows_come_in_no_order_unless_asked(talk: Talk) -> None:
    """Without ORDER BY the rows are not in Id order; the same rows all the same."""
    ids = [row["Id"] for row in talk.bulk("SELECT Id FROM Lead")]
    assert ids != sorted(ids)
    assert sorted(ids) == talk.org.table("Lead").column("Id").to_pylist()
    ordered = [row["Id"] for row in talk.bulk("SELECT Id FROM Lead ORDER BY Id DESC")]
    assert ordered == sorted(ids, reverse=True)


def test_delimiter_and_line_ending_are_obeyed(talk: Talk) -> None:
    """Every value stays quoted; CRLF ends the rows, not the lines inside a value."""
    job = talk.finished_job("SELECT Id, Name FROM Account", columnDelimiter="PIPE", lineEnding="CRLF")
    text = talk.get(f"/jobs/query/{job}/results").content.decode()
    assert text.startswith('"Id"|"Name"\r\n"')
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="|"))
    truth = dict(zip(*(talk.org.table("Account").column(name).to_pylist() for name in ("Id", "Name")), strict=True))
    assert {row["Id"]: row["Name"] for row in rows} == truth


def test_results_want_the_version_that_made_the_job(talk: Talk) -> None:
    """Another version is 409."""
    job = talk.finished_job("SELECT Id FROM Account")
    answer = talk.client.get(f"/services/data/v65.0/jobs/query/{job}/results", headers=talk.headers)
    assert answer.status_code == 409


def test_results_before_the_end_are_refused(talk: Talk) -> None:
    """A job that is not complete has no results."""
    job = talk.create_job("SELECT Id FROM Account").json()["id"]
    assert talk.get(f"/jobs/query/{job}/results").status_code == 400


def test_abort_and_delete_follow_the_rules(own_talk: Talk) -> None:
    """Only a running job is aborted, only an ended one deleted, and then it is gone."""
    url = f"{own_talk.base}/jobs/query"
    running = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    refused = own_talk.client.delete(f"{url}/{running}", headers=own_talk.headers)
    assert (refused.status_code, refused.json()[0]["errorCode"]) == (400, "API_ERROR")
    assert own_talk.org.live_jobs == [running]
    aborted = own_talk.client.patch(f"{url}/{running}", json={"state": "Aborted"}, headers=own_talk.headers)
    assert aborted.json()["state"] == "Aborted"
    assert own_talk.org.live_jobs == []
    done = own_talk.finished_job("SELECT Id FROM Account")
    late = own_talk.client.patch(f"{url}/{done}", json={"state": "Aborted"}, headers=own_talk.headers)
    assert late.json() == [{"message": "Aborting already Completed Job not allowed", "errorCode": "INVALIDJOBSTATE"}]
    assert own_talk.client.delete(f"{url}/{done}", headers=own_talk.headers).status_code == 204
    assert own_talk.get(f"/jobs/query/{done}").status_code == 404


def test_jobs_are_listed(own_talk: Talk) -> None:
    """A crashed client finds its job again."""
    job = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    body = own_talk.get("/jobs/query", jobType="V2Query").json()
    assert [record["id"] for record in body["records"]] == [job]
    assert (body["done"], body["nextRecordsUrl"]) == (True, None)


@pytest.mark.parametrize(
    ("soql", "code", "part"),
    [
        ("SELECT COUNT() FROM Account", "API_ERROR", "Aggregate Relationships not supported in Bulk V2 Query"),
        ("SELECT COUNT(Id) FROM Account", "API_ERROR", "Aggregate Relationships"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "API_ERROR", "Aggregate Relationships"),
        ("SELECT Id FROM Account OFFSET 5", "API_ERROR", "Aggregate Relationships"),
        ("SELECT BillingAddress FROM Account", "API_ERROR", "Selecting compound data not supported in Bulk Query"),
        ("SELECT Location__c FROM My__Community_Group__c", "API_ERROR", "Selecting compound data"),
        ("SELECT File__c FROM My__Community_Group__c", "API_ERROR", "Blob field not supported"),
        ("SELECT Id FROM CaseStatus", "INVALIDENTITY", "Entity 'CaseStatus' is not supported by the Bulk API."),
        ("SELECT Foo FROM Account", "INVALID_FIELD", "No such column 'Foo' on entity 'Account'"),
        ("SELECT Id FROM Nonsense", "INVALID_TYPE", "sObject type 'Nonsense' is not supported"),
        ("SELECT FIELDS(STANDARD) FROM Account", "API_ERROR", "FIELDS()"),
    ],
)
def test_what_bulk_cannot_do_is_refused_at_once(talk: Talk, soql: str, code: str, part: str) -> None:
    """The job is not created; the error is the platform's."""
    answer = talk.create_job(soql)
    assert answer.status_code == 400
    assert answer.json()[0]["errorCode"] == code
    assert part in answer.json()[0]["message"]


def test_a_days_jobs_can_be_used_up(own_talk: Talk) -> None:
    """Beyond the daily number of jobs: LIMIT_EXCEEDED, and REST goes on."""
    own_talk.org.bulk_job_limit = 1
    assert own_talk.create_job("SELECT Id FROM Account").status_code == 200
    answer = own_talk.create_job("SELECT Id FROM Account")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "LIMIT_EXCEEDED")
    assert answer.json()[0]["message"] == "Max bulk v2 query jobs (1) per 24 hrs has been reached"
    assert own_talk.get("/limits").json()["DailyBulkV2QueryJobs"] == {"Max": 1, "Remaining": 0}


def test_refused_objects_can_be_chosen(own_talk: Talk) -> None:
    """A test decides which objects Bulk does not know."""
    own_talk.org.bulk_refuses = {"Account"}
    assert own_talk.create_job("SELECT Id FROM Account").status_code == 400
    assert own_talk.create_job("SELECT Id FROM CaseStatus").status_code == 200


def test_parents_are_columns_with_dots(talk: Talk) -> None:
    """Relationship fields are flat in CSV."""
    rows = talk.bulk("SELECT Id, Owner.Name FROM Account")
    assert list(rows[0]) == ["Id", "Owner.Name"]


def test_compressed_pages_are_gzip_without_a_length(talk: Talk) -> None:
    """Content-Encoding is gzip and the body is chunked: nothing but the trailer tells that it is whole."""
    job = talk.finished_job("SELECT Id FROM Account")
    with talk.client.stream("GET", f"{talk.base}/jobs/query/{job}/results", headers=talk.headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers
    assert gzip.decompress(raw).startswith(b'"Id"\n')


def test_an_equal_query_after_a_change_sees_the_change(own_talk: Talk) -> None:
    """Results are kept for equal queries only while nothing changes."""
    before = len(own_talk.bulk("SELECT Id FROM Account"))
    own_talk.org.insert("Account", [{"Name": "new"}])
    assert len(own_talk.bulk("SELECT Id FROM Account")) == before + 1


def test_bulk_came_with_version_47_and_its_column_order_with_50(talk: Talk) -> None:
    """Before 47 there are no query jobs, before 58 no resultPages, and before 50 columns come by name."""

    def at(version: str, method: str, path: str, **options: Any) -> httpx.Response:
        return talk.client.request(
            method, f"/services/data/v{version}.0{path}", headers=talk.headers, timeout=PATIENCE, **options
        )

    body = {"operation": "query", "query": "SELECT Name, Id, AccountNumber FROM Account"}
    assert at("46", "POST", "/jobs/query", json=body).status_code == 404
    headers = []
    for version in ("49", "50"):
        job = at(version, "POST", "/jobs/query", json=body).json()["id"]
        while at(version, "GET", f"/jobs/query/{job}").json()["state"] != "JobComplete":
            pass
        headers.append(at(version, "GET", f"/jobs/query/{job}/results").text.partition("\n")[0])
        assert at(version, "GET", f"/jobs/query/{job}/resultPages").status_code == 404
    assert headers == ['"AccountNumber","Id","Name"', '"Name","Id","AccountNumber"']


def test_jobs_are_kept_for_seven_days(own_talk: Talk) -> None:
    """An older job is gone, from the list too."""
    job = own_talk.finished_job("SELECT Id FROM Account")
    own_talk.org.clock.advance(6 * 86_400)
    assert own_talk.get(f"/jobs/query/{job}/results").status_code == 200
    own_talk.org.clock.advance(2 * 86_400)
    assert own_talk.get(f"/jobs/query/{job}/results").json()[0]["errorCode"] == "NOT_FOUND"
    assert own_talk.get("/jobs/query").json()["records"] == []


def test_a_date_word_means_another_day_when_the_clock_moves_on(own_talk: Talk) -> None:
    """An equal query is answered anew when TODAY is another day."""
    own_talk.org.insert("Account", [{"Name": "fresh"}])
    soql = "SELECT Name FROM Account WHERE CreatedDate = TODAY"
    assert own_talk.bulk(soql) == [{"Name": "fresh"}]
    own_talk.org.clock.advance(86_400)
    assert own_talk.bulk(soql) == []


def test_a_thousand_jobs_are_listed_at_a_time(own_talk: Talk) -> None:
    """nextRecordsUrl leads to the rest; a mode that no query job has lists none."""
    for _ in range(1_001):
        own_talk.create_job("SELECT Id FROM UserRole")
    body = own_talk.get("/jobs/query").json()
    assert (len(body["records"]), body["done"]) == (1_000, False)
    rest = own_talk.client.get(body["nextRecordsUrl"], headers=own_talk.headers).json()
    assert (len(rest["records"]), rest["done"], rest["nextRecordsUrl"]) == (1, True, None)
    assert own_talk.get("/jobs/query", concurrencyMode="serial").json()["records"] == []


def test_odd_requests_are_the_clients_mistake(talk: Talk) -> None:
    """A locator that was made up, or a list where a word belongs, is 400."""
    job = talk.finished_job("SELECT Id FROM UserRole")
    for path in ("results", "resultPages"):
        answer = talk.get(f"/jobs/query/{job}/{path}", locator="LTE")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")
    for body in ({"operation": ["query"]}, {"operation": "query", "columnDelimiter": ["TAB"]}):
        odd = talk.client.post(
            f"{talk.base}/jobs/query", json={"query": "SELECT Id FROM Account", **body}, headers=talk.headers
        )
        assert (odd.status_code, odd.json()[0]["errorCode"]) == (400, "API_ERROR")
