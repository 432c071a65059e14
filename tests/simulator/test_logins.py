"""Logging in: OAuth grants, SOAP login, sessions and their end."""

import base64
import ssl
import time
from xml.sax.saxutils import escape

import httpx
import jwt
import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import PATIENCE, PATIENTLY, Talk

TOKEN = "/services/oauth2/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def _client(org: SimulatedOrg) -> dict[str, str]:
    return {"client_id": org.client_id, "client_secret": org.client_secret}


def _post(org: SimulatedOrg, **form: str) -> httpx.Response:
    return httpx.post(org.url + TOKEN, data=form, **PATIENTLY)


def _soap(org: SimulatedOrg, password: str, version: str = "64.0") -> httpx.Response:
    body = (
        '<?xml version="1.0" encoding="utf-8"?><env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:urn="urn:partner.soap.sforce.com"><env:Body><urn:login>'
        f"<urn:username>{escape(org.username)}</urn:username><urn:password>{escape(password)}</urn:password>"
        "</urn:login></env:Body></env:Envelope>"
    )
    headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"}
    return httpx.post(f"{org.url}/services/Soap/u/{version}", content=body.encode(), headers=headers, **PATIENTLY)


def test_client_credentials_open_a_session(seeded: SimulatedOrg) -> None:
    """client_credentials answers with a token that works, and with no lifetime and no refresh token."""
    answer = _post(seeded, grant_type="client_credentials", **_client(seeded))
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache, no-store"
    assert body["instance_url"] == seeded.url
    assert body["issued_at"].isdigit()
    assert not {"expires_in", "refresh_token"} & body.keys()
    headers = {"Authorization": f"Bearer {body['access_token']}"}
    assert httpx.get(f"{seeded.url}/services/data/v66.0/", headers=headers, **PATIENTLY).status_code == 200


def test_basic_authorization_names_the_client_too(seeded: SimulatedOrg) -> None:
    """Client id and secret may come in a Basic header instead of the body."""
    pair = base64.b64encode(f"{seeded.client_id}:{seeded.client_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    answer = httpx.post(seeded.url + TOKEN, data={"grant_type": "client_credentials"}, headers=headers, **PATIENTLY)
    assert answer.status_code == 200


def test_password_grant_wants_password_and_security_token(seeded: SimulatedOrg) -> None:
    """The password is followed by the security token."""
    form = {"grant_type": "password", "username": seeded.username, **_client(seeded)}
    assert _post(seeded, password=seeded.password + seeded.security_token, **form).status_code == 200
    wrong = _post(seeded, password=seeded.password, **form)
    assert wrong.status_code == 400
    assert wrong.json() == {"error": "invalid_grant", "error_description": "authentication failure"}


@pytest.mark.parametrize(
    ("change", "error", "description"),
    [
        ({"client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        ({"client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({"grant_type": "x"}, "unsupported_grant_type", "grant type not supported"),
    ],
)
def test_wrong_clients_are_told_why(seeded: SimulatedOrg, change: dict[str, str], error: str, description: str) -> None:
    """Each mistake has the platform's own error and text, with status 400."""
    answer = _post(seeded, **{"grant_type": "client_credentials", **_client(seeded), **change})
    assert (answer.status_code, answer.json()) == (400, {"error": error, "error_description": description})


def test_a_refresh_token_gives_sessions_again_and_again(own: SimulatedOrg) -> None:
    """Without rotation a refresh token stays good and no new one is given."""
    form = {"grant_type": "refresh_token", "refresh_token": own.refresh_token(), **_client(own)}
    first, second = _post(own, **form), _post(own, **form)
    assert first.status_code == second.status_code == 200
    assert first.json()["access_token"] != second.json()["access_token"]
    assert "refresh_token" not in first.json()


def test_a_rotated_refresh_token_used_twice_spoils_its_successor(own: SimulatedOrg) -> None:
    """With rotation each use gives a new refresh token, and replaying the old one revokes them all."""
    own.rotate_refresh_tokens = True
    old = own.refresh_token()
    form = {"grant_type": "refresh_token", **_client(own)}
    new = _post(own, refresh_token=old, **form).json()["refresh_token"]
    assert _post(own, refresh_token=old, **form).json()["error_description"] == "expired access/refresh token"
    assert _post(own, refresh_token=new, **form).status_code == 400


def test_soap_login_gives_a_session_and_the_server(seeded: SimulatedOrg) -> None:
    """SOAP login answers with a session that REST takes, and with the server's address."""
    answer = _soap(seeded, seeded.password + seeded.security_token)
    assert answer.status_code == 200
    assert f"<serverUrl>{seeded.url}/services/Soap/u/64.0/00D" in answer.text
    session = answer.text.partition("<sessionId>")[2].partition("</sessionId>")[0]
    headers = {"Authorization": f"Bearer {session}"}
    assert httpx.get(f"{seeded.url}/services/data/v64.0/limits", headers=headers, **PATIENTLY).status_code == 200


def test_soap_login_with_a_wrong_password_is_a_fault(seeded: SimulatedOrg) -> None:
    """A refused SOAP login is HTTP 500 with INVALID_LOGIN in the fault."""
    answer = _soap(seeded, "wrong")
    assert answer.status_code == 500
    assert "<sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>" in answer.text
    assert "security token; or user locked out." in answer.text


@pytest.mark.parametrize("version", ["65.0", "67.0", "30.0", "99.0"])
def test_soap_login_is_gone_from_65_on_and_before_31(seeded: SimulatedOrg, version: str) -> None:
    """login() is there in v31 to v64 only."""
    answer = _soap(seeded, seeded.password + seeded.security_token, version)
    assert answer.status_code == 500
    assert "UNSUPPORTED_API_VERSION" in answer.text


def test_a_session_ends_when_told(own_talk: Talk) -> None:
    """An expired session gets 401 INVALID_SESSION_ID on every call."""
    assert own_talk.get("/limits").status_code == 200
    own_talk.org.expire_sessions()
    answer = own_talk.get("/limits")
    assert answer.status_code == 401
    assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_a_malformed_authorization_header_has_its_own_error(talk: Talk) -> None:
    """A scheme other than Bearer or OAuth is INVALID_AUTH_HEADER."""
    token = talk.headers["Authorization"].removeprefix("Bearer ")
    assert talk.client.get(talk.base, headers={"Authorization": f"OAuth {token}"}).status_code == 200
    answer = talk.client.get(talk.base, headers={"Authorization": "Token abc"})
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (401, "INVALID_AUTH_HEADER")


def test_the_first_token_is_the_same_for_the_same_seed() -> None:
    """Documents may name the token of a seed."""
    with SimulatedOrg(rows=0, seed=9) as one, SimulatedOrg(rows=0, seed=9) as two:
        first = one.access_token()
        assert first == two.access_token()
        assert first.startswith(one.organization_id[:15] + "!")


def test_userinfo_refuses_in_plain_text(seeded: SimulatedOrg) -> None:
    """userinfo answers a bad token with 403 and bare text, unlike the REST API."""
    answer = httpx.get(
        f"{seeded.url}/services/oauth2/userinfo",
        headers={"Authorization": "Bearer x"},
        **PATIENTLY,
    )
    assert (answer.status_code, answer.text) == (403, "Bad_OAuth_Token")


def test_client_credentials_want_the_orgs_own_domain() -> None:
    """On the hosts where all orgs log in the grant is not supported; a password is."""
    with SimulatedOrg(rows=0, tls=True) as org:
        trusting = ssl.create_default_context(cafile=org.ca_file)
        with httpx.Client(base_url=org.url, verify=trusting, timeout=PATIENCE) as client:
            for host in ("login.salesforce.com", "test.salesforce.com:443"):
                form = {"grant_type": "client_credentials", **_client(org)}
                answer = client.post(TOKEN, data=form, headers={"Host": host})
                expected = {"error": "invalid_grant", "error_description": "request not supported on this domain"}
                assert (answer.status_code, answer.json()) == (400, expected)
                form |= {"grant_type": "password", "username": org.username}
                form["password"] = org.password + org.security_token
                assert client.post(TOKEN, data=form, headers={"Host": host}).status_code == 200


def test_a_new_refresh_token_is_new(own: SimulatedOrg) -> None:
    """Not even one that was revoked is given out again, nor one that lives."""
    first, second = own.refresh_token(), own.refresh_token()
    own.sessions.revoke(first)
    assert own.refresh_token() not in {first, second}


def _signed(org: SimulatedOrg, **claims: object) -> str:
    ends = int(time.time()) + 120
    told = {"iss": org.client_id, "sub": org.username, "aud": "https://login.salesforce.com", "exp": ends, **claims}
    return jwt.encode(told, org.private_key, algorithm="RS256")


def test_a_signed_assertion_opens_a_session(seeded: SimulatedOrg) -> None:
    """JWT bearer tells neither when the session began nor a signature, and gives no refresh token."""
    answer = _post(seeded, grant_type=JWT_BEARER, assertion=_signed(seeded))
    assert answer.status_code == 200
    assert sorted(answer.json()) == ["access_token", "id", "instance_url", "scope", "token_type"]


def test_assertions_that_are_refused(seeded: SimulatedOrg) -> None:
    """Another key, user, app, audience, or time is refused as the platform refuses it."""
    with SimulatedOrg(rows=1, seed=9) as other:
        strange = other.private_key
    body = {"iss": seeded.client_id, "sub": seeded.username, "aud": seeded.url, "exp": int(time.time()) + 60}
    for assertion, description in (
        (jwt.encode(body, strange, algorithm="RS256"), "invalid assertion"),
        (jwt.encode(body, "s" * 40, algorithm="HS256"), "invalid assertion"),
        ("a.b", "invalid assertion"),
        ("", "invalid assertion"),
        (_signed(seeded, iss="x"), "invalid assertion"),
        (_signed(seeded, exp=int(time.time()) - 1), "invalid assertion"),
        (_signed(seeded, exp=int(time.time()) + 4_000), "invalid assertion"),
        (_signed(seeded, aud="https://acme.example"), "audience is invalid"),
        (_signed(seeded, sub="eve@acme.example"), "user hasn't approved this consumer"),
    ):
        answer = _post(seeded, grant_type=JWT_BEARER, assertion=assertion)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert answer.json()["error_description"] == description
