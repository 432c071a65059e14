"""The org answers programs of this machine alone: no web page reaches it, whatever its name and what it sends."""

import http.client
import json
import ssl
from collections.abc import Mapping

import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import PATIENCE, Talk

FORM = "grant_type=client_credentials"
PATHS = ["/__control__", "/__control__/requests", "/services/data", "/services/oauth2/userinfo", "/no/such/path", "/"]


def ask(
    org: SimulatedOrg, method: str, path: str, headers: Mapping[str, str], body: str | None = None
) -> http.client.HTTPResponse:
    """Send a request with exactly these headers, besides the length of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", org.port, timeout=PATIENCE)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(None if body is None else body.encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def here(org: SimulatedOrg) -> str:
    """The org's own Host."""
    return f"127.0.0.1:{org.port}"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    ["rebound.example", "rebound.example:{port}", "127.0.0.1.rebound.example", "localhost.rebound.example", "10.0.0.1",
     "192.168.1.2:{port}", "[2001:db8::1]", "127.0.0.1@rebound.example", "", "login.salesforce.com", "0.0.0.0"],
)  # fmt: skip
def test_a_name_that_is_not_loopbacks_is_refused(seeded: SimulatedOrg, host: str, path: str) -> None:
    """A page whose own name was made to lead to 127.0.0.1 says that name in Host: it gets 403 everywhere."""
    answer = ask(seeded, "GET", path, {"Host": host.format(port=seeded.port)})
    assert answer.status == 403
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:{port}", "localhost:{port}", "LocalHost", "127.8.9.10", "[::1]", "[::1]:{port}"]
)
def test_every_name_of_loopback_is_served(seeded: SimulatedOrg, host: str) -> None:
    """With a port or without, in either family."""
    assert ask(seeded, "GET", "/services/data", {"Host": host.format(port=seeded.port)}).status == 200


def test_names_of_salesforce_are_served_where_a_certificate_leads_them_here() -> None:
    """Behind TLS the org is Salesforce, for as long as the name is one of Salesforce's."""
    with SimulatedOrg(rows=0, proxy=True) as org:
        for host, status in [("acme.my.salesforce.com", 200), ("Login.Salesforce.com:443", 200), ("a.example", 403)]:
            trusted = ssl.create_default_context(cafile=org.ca_file)
            connection = http.client.HTTPSConnection("127.0.0.1", org.port, timeout=PATIENCE, context=trusted)
            connection.request("GET", "/services/data", headers={"Host": host})
            assert connection.getresponse().status == status
            connection.close()


def test_an_address_that_the_org_was_told_to_listen_on_is_served() -> None:
    """Who lets it listen on more than loopback means that; a name is refused there too, an address is not."""
    with SimulatedOrg(rows=0, host="0.0.0.0") as org:
        assert ask(org, "GET", "/services/data", {"Host": f"192.0.2.7:{org.port}"}).status == 200
        assert ask(org, "GET", "/services/data", {"Host": "rebound.example"}).status == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "said",
    [{"Origin": "https://other.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": ""},
     {"Origin": "https://{here}"}, {"Origin": "http://localhost:{port}"}, {"Origin": "http://["},
     {"Referer": "https://other.example/page"}, {"Referer": "http://{here}@other.example/"},
     {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "Cross-Site"},
     {"Sec-Fetch-Site": "same-origin", "Origin": "https://other.example"}],
    ids=str,
)  # fmt: skip
def test_a_page_of_another_origin_is_refused(seeded: SimulatedOrg, said: dict[str, str], path: str) -> None:
    """Whatever of Origin, Referer and Sec-Fetch-Site shows it; another port or scheme is another origin."""
    shown = {name: value.format(here=here(seeded), port=seeded.port) for name, value in said.items()}
    answer = ask(seeded, "GET", path, {"Host": here(seeded), **shown})
    assert answer.status == 403
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control-")]


def test_a_header_that_is_said_twice_is_refused(seeded: SimulatedOrg) -> None:
    """Which of two origins counts is nothing to guess."""
    headers = {"Host": here(seeded), "Origin": f"http://{here(seeded)}", "origin": "https://other.example"}
    assert ask(seeded, "GET", "/services/data", headers).status == 403


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_no_method_is_an_exception(own: SimulatedOrg, method: str) -> None:
    """A question before a request across origins (OPTIONS) gets no leave, and nothing is done."""
    headers = {"Host": here(own), "Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    answer = ask(own, method, "/__control__/faults", headers, '{"status": 500}' if method == "POST" else None)
    assert answer.status == 403
    assert own.faults.pending() == []
    assert own.requests == []


def test_the_orgs_own_pages_are_served(seeded: SimulatedOrg) -> None:
    """An address that the user typed, and what an answer of the org's leads to."""
    own = f"http://{here(seeded)}"
    for said in (
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": own, "Referer": f"{own}/__control__"},
        {"Referer": f"{own}/services/data?x=1"},
    ):
        assert ask(seeded, "GET", "/services/data", {"Host": here(seeded), **said}).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_the_control_interface_reads_json_alone(own: SimulatedOrg, kind: str | None) -> None:
    """A form or a script without leave can send any other kind, so with a body only JSON is taken: else 415."""
    headers = {"Host": here(own), **({} if kind is None else {"Content-Type": kind})}
    assert ask(own, "POST", "/__control__/faults", headers, '{"status": 500}').status == 415
    assert ask(own, "POST", "/__control__/settings", headers, '{"api_limit": 1}').status == 415
    assert (own.faults.pending(), own.api_limit) == ([], 100_000)


def test_an_operation_without_a_body_needs_no_kind(own: SimulatedOrg) -> None:
    """What needs nothing is done without saying anything; JSON may name its character set."""
    assert ask(own, "POST", "/__control__/access_token", {"Host": here(own), "Content-Length": "0"}).status == 200
    kind = {"Host": here(own), "Content-Type": "Application/JSON; charset=utf-8"}
    assert ask(own, "POST", "/__control__/settings", kind, json.dumps({"page_rows": 9})).status == 200
    assert own.page_rows == 9


def test_the_platform_takes_forms_as_ever(own_talk: Talk) -> None:
    """Logins are forms, and clients that are no browsers say nothing of where they come from."""
    org = own_talk.org
    body = f"{FORM}&client_id={org.client_id}&client_secret={org.client_secret}"
    headers = {"Host": here(org), "Content-Type": "application/x-www-form-urlencoded"}
    assert ask(org, "POST", "/services/oauth2/token", headers, body).status == 200
