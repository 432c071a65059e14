"""Logins, versions, resources, headers, limits and counts."""

import re
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from contract.target import Sample, Target, errors_of, log_in, parameters_of, soap_login


def test_every_login_opens_the_resource_map(target: Target) -> None:
    """A session by any login is a bearer token; the version's root maps each resource to its address, and says who."""
    for uri in target.uris:
        session = log_in(target.client, uri)
        headers = {"Authorization": f"Bearer {session.token}"}
        answer = target.client.get(f"{session.url}{target.base}/", headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        for name in ("sobjects", "query", "queryAll", "limits", "jobs"):
            assert body[name] == f"{target.base}/{name}"
        assert re.search(r"/id/00D\w{15}/005\w{15}$", body["identity"])


def test_the_token_endpoint_answers_without_a_lifetime(target: Target) -> None:
    """A token comes with instance_url, identity and the milliseconds of its issue as text, never with expires_in."""
    answer = target.session.answer
    if answer is None or "client_id" not in parameters_of(target.uris[-1]):
        pytest.skip("the login is not by client credentials")
    body = answer.json()
    assert {"access_token", "instance_url", "id", "token_type", "issued_at", "signature", "scope"} <= body.keys()
    assert body["token_type"] == "Bearer"
    assert re.fullmatch(r"\d{13}", body["issued_at"])
    assert re.fullmatch(r"https?://.+/id/00D\w{15}/005\w{15}", body["id"])
    assert "expires_in" not in body
    assert answer.headers["Cache-Control"] == "no-cache, no-store"


def test_an_unknown_client_is_refused_as_oauth_does(target: Target) -> None:
    """A wrong consumer key is 400 (or 401) with error and error_description in an object."""
    form = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "nothing"}
    answer = target.client.post(f"{target.host}/services/oauth2/token", data=form)
    assert answer.status_code in {400, 401}
    assert answer.json().keys() >= {"error", "error_description"}
    assert answer.json()["error"] in {"invalid_client_id", "invalid_client", "invalid_grant"}


def test_a_refused_soap_login_is_a_fault(target: Target) -> None:
    """An unknown user is HTTP 500 with the same code as faultcode and exceptionCode."""
    answer = soap_login(target.client, target.host, "nobody@nowhere.invalid", "nothing")
    assert answer.status_code == 500
    fault = ElementTree.fromstring(answer.content)
    code = next(each.text or "" for each in fault.iter() if each.tag.endswith("faultcode"))
    detail = next(each.text or "" for each in fault.iter() if each.tag.endswith("exceptionCode"))
    assert code.rpartition(":")[2] == detail != ""
    if target.simulated:
        assert detail == "INVALID_LOGIN"


def test_versions_ascend_and_name_their_address(target: Target) -> None:
    """The list of versions needs no session and goes from the oldest to the newest."""
    assert target.versions.status_code == 200
    body: list[dict[str, Any]] = target.versions.json()
    assert all({"label", "url", "version"} <= each.keys() for each in body)
    assert all(re.fullmatch(r"\d+\.0", each["version"]) for each in body)
    assert all(each["url"] == f"/services/data/v{each['version']}" for each in body)
    numbers = [float(each["version"]) for each in body]
    assert numbers == sorted(set(numbers))


def test_every_answer_says_time_and_usage(read: Sample) -> None:
    """Date is the server's clock; Sforce-Limit-Info is the org's use of its daily calls; bodies are JSON in UTF-8."""
    answer = read.pages[0]
    assert parsedate_to_datetime(answer.headers["Date"]).utcoffset() is not None
    assert answer.headers["Date"].endswith(" GMT")
    usage = re.match(
        r"api-usage=(\d+)/(\d+)(; ?per-app-api-usage=\d+/\d+\(appName=.+\))?$", answer.headers["Sforce-Limit-Info"]
    )
    assert usage is not None
    assert int(usage[2]) > 0
    assert answer.headers["Content-Type"].lower().replace(" ", "") == "application/json;charset=utf-8"


def test_limits_are_pairs_of_max_and_remaining(target: Target) -> None:
    """Each limit says Max and Remaining, and the daily calls and query jobs are among them."""
    answer = target.get("/limits/")
    if answer.status_code == 403:
        pytest.skip("the user may not see limits (View Setup and Configuration)")
    body = answer.json()
    assert {"DailyApiRequests", "DailyBulkV2QueryJobs", "DailyBulkV2QueryFileStorageMB"} <= body.keys()
    for name, each in body.items():
        assert isinstance(each["Max"], int), name
        assert isinstance(each["Remaining"], int), name


def test_record_counts_leave_out_what_they_cannot_count(counts: dict[str, int] | None) -> None:
    """recordCount gives a number for names that it knows; unknown names and satellites are absent, not errors."""
    if counts is None:
        pytest.skip("the user may not see counts (View Setup and Configuration)")
    assert not counts.keys() & {"AccountHistory", "AccountChangeEvent", "No_Such_Object__c"}
    assert all(isinstance(count, int) and count >= 0 for count in counts.values())


def test_an_unknown_session_is_401(target: Target) -> None:
    """A token that is no session, or no longer one, is 401 INVALID_SESSION_ID."""
    unknown = target.anonymous(
        "GET", f"{target.base}/limits/", headers={"Authorization": "Bearer 00D000000000000!AQwrong"}
    )
    assert errors_of(unknown) == (401, "INVALID_SESSION_ID", "Session expired or invalid")
    missing = target.anonymous("GET", f"{target.base}/limits/")
    assert errors_of(missing)[:2] in {(401, "INVALID_SESSION_ID"), (401, "INVALID_AUTH_HEADER")}


def test_an_unknown_address_is_404(target: Target) -> None:
    """An address that is no resource is 404 NOT_FOUND."""
    assert errors_of(target.get("/no/such/resource")) == (
        404,
        "NOT_FOUND",
        "The requested resource does not exist",
    )


def test_a_retired_version_is_410(target: Target) -> None:
    """Versions 7 to 30 are gone."""
    headers = {"Authorization": f"Bearer {target.session.token}"}
    assert target.anonymous("GET", "/services/data/v20.0/limits/", headers=headers).status_code == 410
