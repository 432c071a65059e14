"""Clients that others wrote, unmodified, over TLS through the CONNECT proxy; skipped where they are not installed."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from ingestr.simulator import SimulatedOrg


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[SimulatedOrg]:
    """An org that says it is acme.my.salesforce.com."""
    pytest.importorskip("trustme", reason="TLS needs trustme, which is not installed")
    with SimulatedOrg(rows=40, seed=2, proxy=True) as org:
        yield org


def test_every_salesforce_host_leads_to_the_org(behind_proxy: SimulatedOrg) -> None:
    """Login host and instance are the same org, with certificates of the throw-away authority."""
    import ssl

    trusted = ssl.create_default_context(cafile=behind_proxy.ca_file)
    with httpx.Client(proxy=behind_proxy.proxy_url, verify=trusted, trust_env=False) as client:
        for host in ("login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com"):
            assert client.get(f"https://{host}/services/data/").json()[-1]["version"] == "67.0"
        with pytest.raises(httpx.ProxyError):
            client.get("https://example.com/")


def test_the_proxy_tunnels_and_nothing_else(behind_proxy: SimulatedOrg) -> None:
    """A plain request is refused."""
    host, _, port = (behind_proxy.proxy_url or "").removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"GET http://example.com/ HTTP/1.1\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 405")


def test_simple_salesforce_reads_the_right_rows(behind_proxy: SimulatedOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Password login, REST, Bulk 2.0 and Bulk 1.0."""
    library = pytest.importorskip("simple_salesforce", reason="simple-salesforce is not installed")
    monkeypatch.setenv("HTTPS_PROXY", behind_proxy.proxy_url or "")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", behind_proxy.ca_file or "")
    client = library.Salesforce(
        username=behind_proxy.username, password=behind_proxy.password, security_token=behind_proxy.security_token
    )
    ids = set(behind_proxy.table("Contact").column("Id").to_pylist())
    soql = "SELECT Id, Name FROM Contact"
    assert {record["Id"] for record in client.query_all(soql)["records"]} == ids
    assert {record["Id"] for record in client.bulk.Contact.query(soql)} == ids
    pages = list(client.bulk2.Contact.query(soql))
    assert sum(page.count('"003') for page in pages) == len(ids)
