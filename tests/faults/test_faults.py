"""What machines and networks do: each fault has its behaviour, and none leaves a half-written table."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import (
    AccessError,
    IncompleteReadError,
    JobFailedError,
    QuotaError,
    RequestRefusedError,
    SourceError,
    SourceUnavailableError,
)
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, FastClock, assert_same, claim_huge, expected, ingest, loaded, table_names

PAGE = "<html><head><title>Down</title></head><body>We are down for maintenance.</body></html>"


def error_body(code: str, message: str) -> str:
    """A REST error body."""
    return json.dumps([{"errorCode": code, "message": message}])


@pytest.fixture
def bulk_org(org: SimulatedOrg) -> SimulatedOrg:
    """An org whose leads are read by Bulk in several pages."""
    org.page_rows = 15
    claim_huge(org, "Lead", times=None)
    return org


@pytest.mark.parametrize("status", [420, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_waited_out(org: SimulatedOrg, database: Path, status: int) -> None:
    """A server that is unwell for a moment costs time, not rows."""
    clock = FastClock()
    org.faults.add(
        Fault(
            method="GET",
            path="/query",
            times=2,
            status=status,
            headers=JSON_HEADERS,
            body=error_body("SERVER_UNAVAILABLE", "busy"),
        )
    )
    ingest(org, "account", database, clock=clock)
    assert len(clock.slept) == 2
    assert_same(loaded(database), expected(org, "Account", deleted=True))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (503, PAGE, "text/html"),
        (200, PAGE, "text/html"),
        (500, error_body("UNKNOWN_EXCEPTION", "oops"), "application/json"),
    ],
)
def test_a_lasting_failure_ends_and_says_so(
    org: SimulatedOrg, database: Path, status: int, body: str, kind: str
) -> None:
    """A server that stays unwell ends the run with exit 4 after some minutes at most; the target is as it was."""
    ingest(org, "contact", database)
    before = loaded(database)
    clock = FastClock()
    org.faults.add(
        Fault(method="GET", path="/query", times=None, status=status, headers={"Content-Type": kind}, body=body)
    )
    with pytest.raises(SourceError) as caught:
        ingest(org, "contact", database, clock=clock, full_refresh=True)
    assert caught.value.exit_code == 4
    assert "reading Contact" in str(caught.value)
    assert "<html" not in str(caught.value)
    assert 30 < clock.elapsed < 600
    assert loaded(database).equals(before)


def test_retry_after_is_obeyed(org: SimulatedOrg, database: Path) -> None:
    """A server that says when to come back is believed."""
    clock = FastClock()
    org.faults.add(
        Fault(
            method="GET", path="/query", times=1, status=503, headers={**JSON_HEADERS, "Retry-After": "17"}, body="[]"
        )
    )
    ingest(org, "account", database, clock=clock)
    assert clock.slept == [17.0]


def test_the_used_up_quota_is_not_retried(org: SimulatedOrg, database: Path) -> None:
    """The daily quota refills in hours: exit 6 at once."""
    clock = FastClock()
    body = error_body("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    org.faults.add(Fault(method="GET", path="/describe", times=None, status=403, headers=JSON_HEADERS, body=body))
    with pytest.raises(QuotaError) as caught:
        ingest(org, "account", database, clock=clock)
    assert caught.value.exit_code == 6
    assert clock.slept == []


def test_too_many_requests_at_once_is_waited_out(org: SimulatedOrg, database: Path) -> None:
    """The same code with another text passes within moments."""
    body = error_body("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.")
    org.faults.add(Fault(method="GET", path="/query", times=1, status=403, headers=JSON_HEADERS, body=body))
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_missing_permission_is_named(org: SimulatedOrg, database: Path) -> None:
    """403 for any other reason is the administrator's to solve: exit 3."""
    body = error_body("API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.")
    org.faults.add(Fault(method="GET", path="/describe", times=None, status=403, headers=JSON_HEADERS, body=body))
    with pytest.raises(AccessError, match="API_DISABLED_FOR_ORG") as caught:
        ingest(org, "account", database)
    assert caught.value.exit_code == 3


PAGE_FAULTS: dict[str, dict[str, Any]] = {
    "cut with a dropped connection": {"truncate": 400},
    "cut cleanly": {"truncate": 400, "clean_cut": True},
    "damaged gzip": {"corrupt_gzip": True},
    "a row too few": {"record_count_delta": 1},
    "a renamed column": {"header_rename": {"Company": "Firma"}},
    "no answer": {"drop": True},
    "unwell": {"status": 503, "headers": JSON_HEADERS, "body": "[]"},
}


@pytest.mark.parametrize("fault", PAGE_FAULTS)
@pytest.mark.parametrize("pages", ["resultPages", "locators"])
def test_a_broken_page_is_fetched_again(bulk_org: SimulatedOrg, database: Path, fault: str, pages: str) -> None:
    """A page that breaks off, is damaged, or is not what its headers say is fetched again, alone."""
    bulk_org.result_pages_supported = pages == "resultPages"
    bulk_org.faults.add(Fault(method="GET", path=r"/results", skip=1, times=1, **PAGE_FAULTS[fault]))
    result = ingest(bulk_org, "lead", database, page_size=15)
    assert result.read_by == "Bulk 2.0"
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))
    fetched = [r for r in bulk_org.requests if r.path.endswith("/results")]
    assert len(fetched) == -(-bulk_org.count("Lead") // 15) + 1
    assert bulk_org.live_jobs == []


@pytest.mark.parametrize("fault", ["cut cleanly", "a row too few", "a renamed column"])
def test_a_page_that_stays_broken_is_an_error(bulk_org: SimulatedOrg, database: Path, fault: str) -> None:
    """A difference that does not heal is an error, never a success; the target is as it was and the job is gone."""
    ingest(bulk_org, "lead", database)
    before = loaded(database)
    bulk_org.faults.add(Fault(method="GET", path=r"/results", skip=1, times=None, **PAGE_FAULTS[fault]))
    with pytest.raises(IncompleteReadError):
        ingest(bulk_org, "lead", database)
    assert loaded(database).equals(before)
    assert bulk_org.live_jobs == []


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_every_end_of_a_job_ends_the_wait(bulk_org: SimulatedOrg, database: Path, state: str) -> None:
    """A job that fails, is aborted, or reaches a state nobody knows is an error with its own words."""
    bulk_org.faults.add(
        Fault(method="GET", path=r"/jobs/query/", job_state=state, error_message="something deep inside")
    )
    with pytest.raises(JobFailedError, match=state):
        ingest(bulk_org, "lead", database)


def test_a_state_nobody_knows_ends_the_wait(bulk_org: SimulatedOrg, database: Path) -> None:
    """A later version may bring a state that this one does not know: waiting for ever would be worse than stopping."""
    bulk_org.faults.add(Fault(method="GET", path=r"/jobs/query/", json_patch={"state": "Hibernating"}))
    with pytest.raises(JobFailedError, match="Hibernating"):
        ingest(bulk_org, "lead", database)


def test_a_long_job_is_polled_ever_less_often(bulk_org: SimulatedOrg, database: Path) -> None:
    """Polling costs calls: an hour of waiting is some dozens of them, and nothing is lost by it."""
    clock = FastClock()
    bulk_org.faults.add(Fault(method="GET", path=r"/jobs/query/", polls=80))
    ingest(bulk_org, "lead", database, clock=clock)
    assert clock.slept[0] < 1
    assert clock.slept == sorted(clock.slept)
    assert clock.elapsed > 3600
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))


def test_a_broken_rest_page_is_fetched_again(org: SimulatedOrg, database: Path) -> None:
    """A JSON_HEADERS body that breaks off is asked for again."""
    org.faults.add(Fault(method="GET", path="/query", times=1, truncate=300))
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_login_host_that_is_down_is_waited_for(org: SimulatedOrg, database: Path) -> None:
    """A 503 of the login is as passing as any other."""
    clock = FastClock()
    org.faults.add(
        Fault(method="POST", path="oauth2/token", times=2, status=503, headers={"Content-Type": "text/html"}, body=PAGE)
    )
    ingest(org, "account", database, clock=clock)
    assert len(clock.slept) == 2


def test_a_login_host_that_stays_down_is_an_error(org: SimulatedOrg, database: Path) -> None:
    """And ends."""
    org.faults.add(
        Fault(
            method="POST", path="oauth2/token", times=None, status=503, headers={"Content-Type": "text/html"}, body=PAGE
        )
    )
    with pytest.raises(SourceUnavailableError, match="maintenance"):
        ingest(org, "account", database)


def test_a_job_that_vanishes_is_an_error(bulk_org: SimulatedOrg, database: Path) -> None:
    """Somebody deleted the job while its pages were read: said by name, and nothing is written."""
    bulk_org.faults.add(Fault(method="GET", path=r"/results", skip=2, times=1, vanish=True))
    with pytest.raises(RequestRefusedError, match="NOT_FOUND") as caught:
        ingest(bulk_org, "lead", database)
    assert "reading Lead" in str(caught.value)
    assert "run again" in str(caught.value.hint)
    assert table_names(database) == []


def test_a_job_that_never_ends_is_given_up_after_a_day(bulk_org: SimulatedOrg, database: Path) -> None:
    """Waiting is bounded by time, not by a count; the job is aborted and removed."""
    clock = FastClock()
    bulk_org.faults.add(Fault(method="POST", path=r"/jobs/query", job_state="InProgress"))
    with pytest.raises(JobFailedError, match="after 24 hours"):
        ingest(bulk_org, "lead", database, clock=clock)
    assert 24 * 3600 < clock.elapsed < 25 * 3600
    assert bulk_org.live_jobs == []


def test_a_query_locator_that_dies_costs_a_new_query(org: SimulatedOrg, database: Path) -> None:
    """Salesforce may drop a query between two pages: the rows behind the last Id are asked for anew."""
    body = error_body("INVALID_QUERY_LOCATOR", "invalid query locator")
    org.grow("Account", 500)
    org.faults.add(Fault(method="GET", path=r"/query/01g", times=None, status=400, headers=JSON_HEADERS, body=body))
    ingest(org, "account", database, page_size=200)
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    queries = [r.query for r in org.requests if "Id+%3E+%27" in r.query or "Id%20%3E%20%27" in r.query]
    assert len(queries) == 2


def test_a_query_locator_that_dies_on_an_unordered_query_is_an_error(org: SimulatedOrg, database: Path) -> None:
    """With a limit nobody can tell which rows are still to come: nothing is written."""
    body = error_body("INVALID_QUERY_LOCATOR", "invalid query locator")
    org.grow("Account", 500)
    org.faults.add(Fault(method="GET", path=r"/query/01g", times=None, status=400, headers=JSON_HEADERS, body=body))
    with pytest.raises(RequestRefusedError, match="INVALID_QUERY_LOCATOR") as caught:
        ingest(org, "account", database, page_size=200, sql_limit=450)
    assert "run again" in str(caught.value.hint)
    assert table_names(database) == []


def test_the_orgs_own_quota_ends_a_run(org: SimulatedOrg, database: Path) -> None:
    """When the org's calls run out in the middle, the run ends with exit 6 and says what was used."""
    org.api_limit = 2
    with pytest.raises(QuotaError, match="TotalRequests"):
        ingest(org, "account", database)
    assert table_names(database) == []


def test_a_slow_answer_is_waited_for(org: SimulatedOrg, database: Path) -> None:
    """Salesforce may think for a while; patience is measured in minutes."""
    org.faults.add(Fault(method="GET", path="/query", times=1, delay=1.5))
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def described(org: SimulatedOrg, ghost: str, times: int | None) -> None:
    """Let describe show a few fields and one that no query knows."""
    fields = [
        {"name": "Id", "type": "id", "sortable": True, "filterable": True},
        {"name": "Name", "type": "string"},
        {"name": "SystemModstamp", "type": "datetime", "filterable": True},
        {"name": ghost, "type": "string"},
    ]
    body = json.dumps({"name": "Account", "queryable": True, "fields": fields})
    org.faults.add(Fault(method="GET", path="/describe", times=times, status=200, headers=JSON_HEADERS, body=body))


@pytest.mark.parametrize("way", ["REST", "Bulk 2.0"])
def test_a_field_that_vanishes_after_describe_costs_a_new_describe(org: SimulatedOrg, database: Path, way: str) -> None:
    """Describe named a field that the query no longer finds: one new describe, and the read goes on without it."""
    described(org, "Ghost__c", times=1)
    if way != "REST":
        claim_huge(org, "Account", times=None)
    result = ingest(org, "account", database)
    assert result.read_by == way
    assert any("Ghost__c" in note for note in result.notes)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_field_that_stays_unreadable_is_an_error(org: SimulatedOrg, database: Path) -> None:
    """One new describe, not a loop: the error names the field, and nothing is written."""
    described(org, "Ghost__c", times=None)
    with pytest.raises(RequestRefusedError, match="Ghost__c") as caught:
        ingest(org, "account", database)
    assert caught.value.code == "INVALID_FIELD"
    assert len([r for r in org.requests if r.path.endswith("/describe")]) == 2
    assert table_names(database) == []
