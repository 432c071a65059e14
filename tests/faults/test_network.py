"""Certificates and proxies: the system's rules are honoured, and a failure says what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ingestr.errors import SourceUnavailableError
from ingestr.options import IngestOptions, make_options
from ingestr.progress import SilentProgress
from ingestr.run import pipeline
from ingestr.simulator import SimulatedOrg
from support import FastClock, assert_same, command, expected, ingest, loaded, source_uri


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[SimulatedOrg]:
    """An org that is acme.my.salesforce.com for whoever asks through its proxy."""
    with SimulatedOrg(rows=30, seed=4, proxy=True) as org:
        yield org


@pytest.mark.parametrize(("login", "domain"), [("password", "login"), ("client", "acme.my"), ("token", "acme.my")])
def test_https_through_a_proxy(behind_proxy: SimulatedOrg, database: Path, login: str, domain: str) -> None:
    """HTTPS_PROXY leads to Salesforce's hosts, SSL_CERT_FILE names the authority, and each short domain its host."""
    done = command(
        "ingest", "--source-table", "account", "--dest-uri", "duckdb:///sf.db", "--dest-table", "public.t",
        cwd=database.parent,
        SOURCE_URI=source_uri(behind_proxy, login, domain=domain),
        HTTPS_PROXY=behind_proxy.proxy_url or "",
        SSL_CERT_FILE=behind_proxy.ca_file or "",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_same(loaded(database), expected(behind_proxy, "Account", deleted=True))


def test_a_certificate_nobody_vouches_for_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token travels to a host whose certificate does not hold, and no time is lost by trying again."""
    clock = FastClock()
    with SimulatedOrg(rows=5, seed=4, tls=True) as org, pytest.raises(SourceUnavailableError) as caught:
        ingest(org, "account", database, clock=clock)
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    assert clock.slept == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "socks5://u:S3CRET@127.0.0.1:1"),
        ("HTTPS_PROXY", "ftp://u:S3CRET@127.0.0.1:1"),
        ("ALL_PROXY", "gopher://u:S3CRET@127.0.0.1:1"),
        ("NO_PROXY", "[::1"),
    ],
)
def test_proxy_variables_that_cannot_be_used(database: Path, variable: str, value: str) -> None:
    """A variable that names no proxy is named, its value is not: exit 2, before anything is sent."""
    done = command(
        "ingest", "--source-table", "account", "--dest-uri", "duckdb:///sf.db", cwd=database.parent,
        SOURCE_URI="salesforce://?client_id=a&client_secret=b&domain=acme.my", **{variable: value},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {variable} ")
    assert "S3CRET" not in done.stderr


def test_a_proxy_that_is_not_there_is_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that the proxy refuses is the proxy's failure: it is named, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://u:S3CRET@127.0.0.1:9")
    uri = "salesforce://?client_id=a&client_secret=b&domain=acme.my"
    options = make_options(IngestOptions, source_uri=uri, source_table="account", dest_uri=f"duckdb:///{database}")
    with pytest.raises(SourceUnavailableError, match=r"through the proxy 127\.0\.0\.1:9") as caught:
        pipeline.run(options, clock=FastClock(), progress=SilentProgress(), in_process=True)
    assert "HTTPS_PROXY and NO_PROXY" in str(caught.value.hint)
    assert "S3CRET" not in f"{caught.value} {caught.value.hint}"


def test_a_proxy_that_refuses_is_named(behind_proxy: SimulatedOrg, database: Path) -> None:
    """A proxy that does not lead to the host is not the org's fault."""
    uri = f"salesforce://?client_id=a&client_secret=S3CRET&domain={quote('https://elsewhere.example.com', safe='')}"
    done = command(
        "ingest", "--source-table", "account", "--dest-uri", "duckdb:///sf.db",
        cwd=database.parent, SOURCE_URI=uri,
        HTTPS_PROXY=behind_proxy.proxy_url or "", SSL_CERT_FILE=behind_proxy.ca_file or "",
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "elsewhere.example.com" in done.stderr
    assert "S3CRET" not in done.stderr
