"""The three logins, their refusals, and sessions that end in the middle."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import (
    AuthenticationError,
    IngestrError,
    QuotaError,
    SessionExpiredError,
    SourceError,
    SourceUnavailableError,
)
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.http.answers import ApiError
from ingestr.sources.salesforce.logins import refusals
from support import JSON_HEADERS, FastClock, assert_same, claim_huge, expected, ingest, loaded, source_uri


@pytest.mark.parametrize("login", ["client", "token", "password"])
def test_each_login_reads(shared_org: SimulatedOrg, database: Path, login: str) -> None:
    """Every documented login loads the same table."""
    result = ingest(shared_org, "user_role", database, source_uri=source_uri(shared_org, login))
    assert_same(loaded(database), expected(shared_org, "UserRole", deleted=False))
    assert any("Summer '27" in note for note in result.notes) == (login == "password")


@pytest.mark.parametrize(
    ("login", "changes", "words"),
    [
        ("client", {"client_secret": "S3CRET"}, "client_secret"),
        ("client", {"client_id": "S3CRET"}, "client_id"),
        ("password", {"password": "S3CRET"}, "password"),
        ("password", {"token": "S3CRET"}, "security token"),
        ("token", {"access_token": "00D000000000001!S3CRET"}, "expired"),
    ],
)
def test_a_wrong_login_is_refused_without_repeating_it(
    org: SimulatedOrg, database: Path, login: str, changes: dict[str, str], words: str
) -> None:
    """The error says what to check, holds no secret, and is not tried again (that would lock a user out)."""
    with pytest.raises(AuthenticationError) as caught:
        ingest(org, "account", database, source_uri=source_uri(org, login, **changes))
    text = f"{caught.value} {caught.value.hint}"
    assert words in text
    assert "S3CRET" not in text
    assert caught.value.exit_code == 3
    assert len([r for r in org.requests if r.method == "POST"]) <= 1


def test_an_expired_session_is_renewed_once_for_all_threads(org: SimulatedOrg, database: Path) -> None:
    """Every page of a job meets the expiry at once: one login follows, and every page arrives."""
    org.page_rows = 10
    org.faults.add(Fault(method="GET", path="/results", skip=1, times=1, expire_sessions=True))
    claim_huge(org, "Lead")
    result = ingest(org, "lead", database)
    assert result.read_by == "Bulk 2.0"
    assert len([r for r in org.requests if r.status == 401]) >= 1
    assert len([r for r in org.requests if r.path.endswith("/oauth2/token")]) == 2
    assert_same(loaded(database), expected(org, "Lead", deleted=False))


def test_a_session_that_dies_between_calls_is_renewed(org: SimulatedOrg, database: Path) -> None:
    """After all sessions end, the next call logs in again and the run goes on."""
    ingest(org, "account", database)
    org.faults.add(
        Fault(
            method="GET",
            path="/query",
            times=1,
            status=401,
            headers={"Content-Type": "application/json"},
            body='[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]',
        )
    )
    ingest(org, "account", database, full_refresh=True)
    logins = [r for r in org.requests if r.path.endswith("/oauth2/token")]
    assert len(logins) == 3
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_bare_token_that_expired_says_so(org: SimulatedOrg, database: Path) -> None:
    """A token alone cannot be renewed: exit 3, with what to do."""
    uri = source_uri(org, "token")
    org.expire_sessions()
    with pytest.raises(SessionExpiredError) as caught:
        ingest(org, "account", database, source_uri=uri)
    assert caught.value.exit_code == 3
    assert "client_id" in str(caught.value.hint)


def test_a_401_that_no_login_cures_does_not_loop(org: SimulatedOrg, database: Path) -> None:
    """A refusal right after a fresh login is an error of the configuration."""
    org.faults.add(
        Fault(
            method="GET",
            path="/describe",
            times=None,
            status=401,
            headers={"Content-Type": "application/json"},
            body='[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]',
        )
    )
    with pytest.raises(AuthenticationError):
        ingest(org, "account", database)
    assert len([r for r in org.requests if r.path.endswith("/oauth2/token")]) == 2


def test_a_dead_login_host_is_named(database: Path, org: SimulatedOrg) -> None:
    """No connection is said with the host and a hint, after a few tries."""
    clock = FastClock()
    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1"):
        ingest(
            org,
            "account",
            database,
            clock=clock,
            source_uri="salesforce://?client_id=a&client_secret=S3CRET&domain=http://127.0.0.1:9",
        )
    assert 2 <= len(clock.slept) <= 8


def test_an_instance_elsewhere_gets_no_token(org: SimulatedOrg, database: Path) -> None:
    """A login answer that points the token at a foreign host is refused."""
    org.faults.add(
        Fault(
            method="POST",
            path="oauth2/token",
            times=1,
            status=200,
            headers={"Content-Type": "application/json"},
            body='{"access_token":"x","instance_url":"https://evil.example"}',
        )
    )
    with pytest.raises(SourceError, match=r"evil\.example"):
        ingest(org, "account", database)


def test_the_client_credentials_flow_needs_my_domain(org: SimulatedOrg, database: Path) -> None:
    """The login hosts do not serve the flow: the hint names the form of a domain that does."""
    body = '{"error":"invalid_grant","error_description":"request not supported on this domain"}'
    org.faults.add(Fault(path="oauth2/token", status=400, headers={"Content-Type": "application/json"}, body=body))
    with pytest.raises(AuthenticationError, match="request not supported on this domain") as caught:
        ingest(org, "account", database)
    assert "domain=acme.my" in str(caught.value.hint)


def soap_fault(code: str, text: str, times: int | None = None) -> Fault:
    """The SOAP login answers with a fault."""
    body = (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>sf:{code}</faultcode><faultstring>{code}: {text}</faultstring><detail><sf:LoginFault>"
        f"<sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{text}</sf:exceptionMessage>"
        "</sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
    headers = {"Content-Type": "text/xml;charset=UTF-8"}
    return Fault(method="POST", path="/Soap/", times=times, status=500, headers=headers, body=body)


@pytest.mark.parametrize("code", ["SERVER_UNAVAILABLE", "UNKNOWN_EXCEPTION"])
def test_a_login_host_that_is_unwell_is_asked_again(org: SimulatedOrg, database: Path, code: str) -> None:
    """Faults that say nothing of the login pass, and a login may be repeated; those that stay end with exit 4."""
    uri, clock = source_uri(org, "password"), FastClock()
    org.faults.add(soap_fault(code, "busy", times=2))
    ingest(org, "user_role", database, clock=clock, source_uri=uri)
    assert len(clock.slept) == 2
    org.faults.add(soap_fault(code, "busy"))
    with pytest.raises(SourceUnavailableError, match=code) as caught:
        ingest(org, "user_role", database, source_uri=uri)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("login", ["password", "client"])
def test_a_login_that_the_quota_refuses(org: SimulatedOrg, database: Path, login: str) -> None:
    """The daily quota is the quota at the login too: exit 6 at once."""
    clock = FastClock()
    text = "TotalRequests Limit exceeded."
    body = f'[{{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "{text}"}}]'
    org.faults.add(soap_fault("REQUEST_LIMIT_EXCEEDED", text))
    org.faults.add(Fault(method="POST", path="oauth2", times=None, status=403, headers=JSON_HEADERS, body=body))
    with pytest.raises(QuotaError) as caught:
        ingest(org, "user_role", database, clock=clock, source_uri=source_uri(org, login))
    assert caught.value.exit_code == 6
    assert clock.slept == []


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("login", ["password", "client"])
def test_a_web_page_at_the_login_is_called_one(org: SimulatedOrg, database: Path, login: str, status: int) -> None:
    """A host for browsers answers with a page: that is said, at once."""
    clock, page = FastClock(), "<html><body>Welcome to our shop</body></html>"
    org.faults.add(Fault(method="POST", times=None, status=status, headers={"Content-Type": "text/html"}, body=page))
    with pytest.raises(SourceError, match="with a web page: “Welcome to our shop”"):
        ingest(org, "user_role", database, clock=clock, source_uri=source_uri(org, login))
    assert clock.slept == []


@pytest.mark.parametrize("instance", ["https://[", "https://x.salesforce.com:port", "5"])
def test_an_instance_that_is_no_url(org: SimulatedOrg, database: Path, instance: str) -> None:
    """A login answer that names nonsense as the instance is refused: exit 4."""
    body = f'{{"access_token": "x", "instance_url": "{instance}"}}'
    org.faults.add(Fault(method="POST", path="oauth2/token", status=200, headers=JSON_HEADERS, body=body))
    with pytest.raises(SourceError) as caught:
        ingest(org, "user_role", database)
    assert caught.value.exit_code == 4


PASSING = [
    ("invalid_grant", "login rate exceeded"),
    ("invalid_grant", "Token request is already being processed"),
    ("server_error", "unknown_error retry your request"),
    ("unknown_error", "retry your request"),
    ("temporarily_unavailable", "the authorization server is busy"),
    ("invalid_request", "An error occurred. Please try again later."),
    ("rate_limit_exceeded", "number of login attempts has been exceeded"),
    ("LOGIN_RATE_EXCEEDED", "Login Rate Exceeded"),
]


def oauth_error(code: str, text: str, times: int | None = None, status: int = 400) -> Fault:
    """The OAuth login answers with an error."""
    body = json.dumps({"error": code, "error_description": text})
    return Fault(method="POST", path="oauth2/token", times=times, status=status, headers=JSON_HEADERS, body=body)


@pytest.mark.parametrize(("code", "text"), PASSING)
def test_a_login_that_is_refused_for_now_is_asked_again(
    org: SimulatedOrg, database: Path, code: str, text: str
) -> None:
    """It says nothing of the login: growing pauses, and if it stays so exit 4, not the advice to check the login."""
    clock = FastClock()
    org.faults.add(oauth_error(code, text, times=2))
    ingest(org, "user_role", database, clock=clock)
    assert len(clock.slept) == 2
    org.faults.add(oauth_error(code, text))
    clock = FastClock()
    with pytest.raises(SourceUnavailableError, match=f"{code}: {text}") as caught:
        ingest(org, "user_role", database, clock=clock)
    assert caught.value.exit_code == 4
    assert "run again later" in str(caught.value.hint)
    assert 20 < clock.elapsed < 600
    assert clock.slept[-1] > clock.slept[0]


@pytest.mark.parametrize("refusal", refusals.REFUSALS, ids=lambda refusal: refusal.code or refusal.part)
def test_each_refusal_of_a_login_has_its_own_hint(refusal: refusals.Refusal) -> None:
    """Who is refused learns what to do about this very refusal, wherever Salesforce writes it."""
    error = ApiError(refusal.code or "invalid_grant", refusal.part or "no")
    assert refusals.hint_for(error) == refusal.hint
    if not refusal.code:
        assert refusals.hint_for(ApiError(refusal.part.upper(), "no")) == refusal.hint
    assert [each.hint for each in refusals.REFUSALS].count(refusal.hint) == 1


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        ("OAUTH_EC_APP_NOT_FOUND", "external client app not found", "install the external client app"),
        ("invalid_client_id", "external client app is not installed in this org", "External Client App Manager"),
        ("invalid_grant", "ip restricted or invalid login hours", "login IP ranges"),
        ("invalid_grant", "inactive user", "deactivated"),
        ("invalid_grant", "user hasn't approved this consumer", "pre-approve"),
        ("invalid_grant", "expired access/refresh token", "authorize the app again"),
        ("OAUTH_APP_BLOCKED", "this app is blocked by admin", "Unblock"),
        ("invalid_app_access", "user is not admin approved to access this app", "Manage Profiles"),
        ("invalid_client", "invalid client credentials", "client_secret is wrong"),
        ("invalid_grant", "something new", "check the login in the source URI"),
    ],
)
def test_refused_logins_are_explained(org: SimulatedOrg, database: Path, code: str, text: str, words: str) -> None:
    """The server's words, and a hint of their own; nothing is tried again."""
    clock = FastClock()
    org.faults.add(oauth_error(code, text))
    with pytest.raises(AuthenticationError, match=f"login refused: {code}: {text}") as caught:
        ingest(org, "user_role", database, clock=clock)
    assert words in str(caught.value.hint)
    assert caught.value.exit_code == 3
    assert clock.slept == []
    assert len([r for r in org.requests if r.path.endswith("/oauth2/token")]) == 1


@pytest.mark.parametrize("content_type", ["text/xml", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("status", [500, 503, 200])
def test_a_wrong_password_is_sent_once(org: SimulatedOrg, database: Path, content_type: str, status: int) -> None:
    """Whatever a proxy makes of the fault's headers: each further try would count against the user."""
    clock, fault = FastClock(), soap_fault("INVALID_LOGIN", "Invalid username, password, security token")
    org.faults.add(replace(fault, status=status, headers={"Content-Type": content_type}))
    with pytest.raises(AuthenticationError, match="login refused: INVALID_LOGIN") as caught:
        ingest(org, "user_role", database, clock=clock, source_uri=source_uri(org, "password"))
    assert "security token" in str(caught.value.hint)
    assert clock.slept == []


@pytest.mark.parametrize("fault", [{"drop": True, "served": True}, {"truncate": 40}, {"status": 500, "body": "<soap"}])
def test_a_password_whose_answer_is_lost_is_not_sent_again(
    org: SimulatedOrg, database: Path, fault: dict[str, Any]
) -> None:
    """The answer may have said that it is wrong; client credentials lock nobody out, and are sent again."""
    org.faults.add(
        Fault(method="POST", path="/Soap/", times=None, **{"headers": {"Content-Type": "text/xml"}, **fault})
    )
    with pytest.raises(SourceError) as caught:
        ingest(org, "user_role", database, source_uri=source_uri(org, "password"))
    assert caught.value.exit_code == 4
    assert len([r for r in org.requests if "/Soap/" in r.path]) == 1
    org.faults.clear()
    org.faults.add(Fault(method="POST", path="oauth2/token", times=2, drop=True))
    ingest(org, "user_role", database)


def test_a_password_that_changed_meanwhile_is_sent_once_by_all_threads(org: SimulatedOrg, database: Path) -> None:
    """Many downloads meet the expiry at once, and the login is refused: those who waited do not try it again."""
    org.page_rows = 10
    org.faults.add(Fault(method="GET", path="/results", skip=1, times=1, expire_sessions=True))
    claim_huge(org, "Lead")
    org.faults.add(replace(soap_fault("INVALID_LOGIN", "Invalid username or password"), skip=1))
    with pytest.raises(AuthenticationError, match="INVALID_LOGIN"):
        ingest(org, "lead", database, source_uri=source_uri(org, "password"))
    assert len([r for r in org.requests if "/Soap/" in r.path]) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "URL_NOT_RESET"),
        (401, "INVALID_AUTH_HEADER"),
        (401, "INVALID_JWT_FORMAT"),
        (403, "INVALID_JWT_FORMAT"),
        (400, "ORG_NOT_OWNED_BY_INSTANCE"),
        (401, "INVALID_SESSION_ID"),
        (403, "INVALID_SESSION_ID"),
    ],
)
def test_a_session_that_belongs_elsewhere(org: SimulatedOrg, database: Path, status: int, code: str) -> None:
    """A login makes a new session, once; a bare token ends with the advice to look at the domain."""
    body = json.dumps([{"errorCode": code, "message": "not here"}])
    refusal = Fault(method="GET", path="/describe", times=1, status=status, headers=JSON_HEADERS, body=body)
    org.faults.add(refusal)
    ingest(org, "account", database)
    assert len([r for r in org.requests if r.path.endswith("/oauth2/token")]) == 2
    for login in ("token", "client"):
        org.faults.add(replace(refusal, times=None))
        with pytest.raises(IngestrError) as caught:
            ingest(org, "account", database, source_uri=source_uri(org, login))
        assert "domain=acme.my" in str(caught.value.hint)
        assert caught.value.exit_code in (3, 4)
        org.faults.clear()
    assert len([r for r in org.requests if r.path.endswith("/oauth2/token")]) == 4


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (301, {"Location": "https://acme.my.salesforce.com/services/data/"}, ""),
        (302, {"Location": "https://acme.my.salesforce.com/"}, ""),
        (307, {"Location": "https://["}, ""),
        (404, {"Content-Type": "text/html"}, "<html><body>URL No Longer Exists</body></html>"),
    ],
)
def test_a_host_that_is_not_the_orgs(
    org: SimulatedOrg, database: Path, status: int, headers: dict[str, str], body: str
) -> None:
    """A former instance or a wrong domain redirects or answers with a page: the hint is about the domain."""
    org.faults.add(Fault(method="GET", path="/services/data", times=None, status=status, headers=headers, body=body))
    with pytest.raises(SourceError) as caught:
        ingest(org, "account", database, source_uri=source_uri(org, "token"))
    assert "domain=acme.my" in str(caught.value.hint)


SESSIONS: list[dict[str, Any]] = [
    {"access_token": "\ud800"},
    {"access_token": "a\nb"},
    {"access_token": "über"},
    {"access_token": ""},
    {"access_token": ["x"]},
    {"access_token": "x", "instance_url": "https://xn--.salesforce.com"},
    {"access_token": "x", "instance_url": "https://a..salesforce.com"},
    {"access_token": "x", "instance_url": "https://" + "a" * 64 + ".salesforce.com"},
    {"access_token": "x", "instance_url": "https://acme.my.salesforce.com:99999"},
    {"access_token": "x", "instance_url": "https://me@evil.example/.salesforce.com"},
    {"access_token": "x", "instance_url": "http://acme.my.salesforce.com"},
    {"access_token": "x", "instance_url": "\ud800"},
    {"access_token": "x"},
]


@pytest.mark.parametrize("session", SESSIONS, ids=str)
def test_sessions_that_cannot_be_used(org: SimulatedOrg, database: Path, session: dict[str, Any]) -> None:
    """A token that cannot stand in a header, or an instance that is none, is the server's failure: exit 4."""
    body = json.dumps(session)
    org.faults.add(Fault(method="POST", path="oauth2/token", status=200, headers=JSON_HEADERS, body=body))
    with pytest.raises(SourceError) as caught:
        ingest(org, "user_role", database)
    assert caught.value.exit_code == 4


def test_the_uri_may_name_an_api_version(org: SimulatedOrg, database: Path) -> None:
    """Every call of the run is made in it."""
    ingest(org, "account", database, source_uri=source_uri(org, api_version="v59.0"))
    versions = {r.path.split("/")[3] for r in org.requests if r.path.startswith("/services/data/v")}
    assert versions == {"v59.0"}
