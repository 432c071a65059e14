"""Clients that others wrote, unmodified, over TLS through the CONNECT proxy; skipped where they are not installed."""

import json
import os
import shutil
import socket
import subprocess
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


JSFORCE = """
const jsforce = require('jsforce');
const {ORG, TOKEN, USERNAME, PASSWORD, CLIENT_ID, CLIENT_SECRET} = process.env;
const soql = 'SELECT Id, Name FROM Contact';
(async () => {
  const conn = new jsforce.Connection({instanceUrl: ORG, accessToken: TOKEN, version: '62.0'});
  const found = {rest: (await conn.query(soql)).records.length};
  found.describe = (await conn.describe('Contact')).fields.length;
  found.bulk2 = (await (await conn.bulk2.query(soql, {pollInterval: 50})).toArray()).length;
  found.bulk1 = (await (await conn.bulk.query(soql)).toArray()).length;
  const soap = new jsforce.Connection({loginUrl: ORG, version: '62.0'});
  found.user = (await soap.login(USERNAME, PASSWORD)).id;
  const oauth2 = {loginUrl: ORG, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET};
  const app = new jsforce.Connection({oauth2});
  await app.authorize({grant_type: 'client_credentials'});
  found.app = (await app.query('SELECT COUNT() FROM Contact')).totalSize;
  console.log(JSON.stringify(found));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def test_jsforce_reads_the_right_rows() -> None:
    """REST, describe, both Bulk APIs, SOAP login and client credentials."""
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", "require('jsforce')"], capture_output=True, check=False).returncode:
        pytest.skip("jsforce is not installed: npm install jsforce, and name its folder in NODE_PATH")
    with SimulatedOrg(rows=40, seed=2) as org:
        known = {
            "ORG": org.url,
            "TOKEN": org.access_token(),
            "USERNAME": org.username,
            "PASSWORD": org.password + org.security_token,
            "CLIENT_ID": org.client_id,
            "CLIENT_SECRET": org.client_secret,
        }
        run = subprocess.run(
            [node, "-e", JSFORCE], env={**os.environ, **known}, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stderr
        contacts = org.count("Contact")
        expected = {"rest": contacts, "bulk2": contacts, "bulk1": contacts, "app": contacts, "describe": 61}
        assert json.loads(run.stdout) == {**expected, "user": org.user_id}
