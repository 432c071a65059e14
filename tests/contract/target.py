"""A session of an org, simulated or real, as plain HTTP: logins, calls that are counted, jobs that are cleaned up."""

import csv
import io
import json
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

# The newest version that the facts asserted here were read for, and the oldest that has them all.
NEWEST, OLDEST = 67.0, 58.0
SOAP_VERSION = "64.0"
ENDED = {"JobComplete", "Failed", "Aborted"}
REST_TIME = "%Y-%m-%dT%H:%M:%S.000+0000"
_PATIENCE_SECONDS = 600
_PARTNER = "{urn:partner.soap.sforce.com}"


class NumberText(str):
    """A JSON number as it was written."""


@dataclass(frozen=True)
class Session:
    """An open session, and the answer that opened it, if there was one."""

    url: str
    token: str
    answer: httpx.Response | None = None


def make_client() -> httpx.Client:
    """A client that trusts what the environment says (SSL_CERT_FILE, HTTPS_PROXY) and follows no redirect."""
    return httpx.Client(timeout=120, verify=ssl.create_default_context())


def parameters_of(uri: str) -> dict[str, str]:
    """What a source URI says."""
    return dict(parse_qsl(urlsplit(uri).query))


def login_host(parameters: dict[str, str]) -> str:
    """Scheme and host of the login: `login`, `test`, `acme.my`, a whole host or a URL."""
    domain = parameters.get("domain", "login").rstrip("/")
    if "://" in domain:
        return domain
    return f"https://{domain}" if domain.endswith(".com") else f"https://{domain}.salesforce.com"


def log_in(client: httpx.Client, uri: str) -> Session:
    """Open a session by whichever login the URI holds."""
    given = parameters_of(uri)
    host = login_host(given)
    if "access_token" in given:
        return Session(host, given["access_token"])
    if "client_id" in given:
        form = {"grant_type": "client_credentials"} | {name: given[name] for name in ("client_id", "client_secret")}
        answer = client.post(f"{host}/services/oauth2/token", data=form)
        body = answer.json()
        assert answer.status_code == 200, f"{answer.status_code} {body.get('error')} {body.get('error_description')}"
        return Session(body["instance_url"].rstrip("/"), body["access_token"], answer)
    answer = soap_login(client, host, given["username"], given["password"] + given.get("token", ""))
    assert answer.status_code == 200, f"SOAP login: {answer.status_code}"
    found = ElementTree.fromstring(answer.content).find(f".//{_PARTNER}result")
    assert found is not None
    server = urlsplit(found.findtext(f"{_PARTNER}serverUrl") or "")
    token = found.findtext(f"{_PARTNER}sessionId") or ""
    return Session(f"{server.scheme}://{server.netloc}", token, answer)


def soap_login(client: httpx.Client, host: str, username: str, secret: str) -> httpx.Response:
    """The answer to a SOAP login."""
    body = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">'
        f"<env:Body><urn:login><urn:username>{escape(username)}</urn:username>"
        f"<urn:password>{escape(secret)}</urn:password></urn:login></env:Body></env:Envelope>"
    )
    headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"}
    return client.post(f"{host}/services/Soap/u/{SOAP_VERSION}", content=body.encode(), headers=headers)


class Target:
    """One org under test. Everything it does leaves the org's data as they are.

    Attributes:
        uris: a source URI for each login that can be tried.
        simulated: whether it is the simulated org, whose data are known to be rich.
    """

    def __init__(self, client: httpx.Client, uris: list[str], *, simulated: bool) -> None:
        self.uris = uris
        self.simulated = simulated
        self._client = client
        self._jobs: list[str] = []
        self.session = log_in(client, uris[-1])
        self.versions = self.anonymous("GET", "/services/data/")
        common = [each["version"] for each in self.versions.json() if OLDEST <= float(each["version"]) <= NEWEST]
        self.version: str = max(common, key=float)
        self.base = f"/services/data/v{self.version}"

    @property
    def client(self) -> httpx.Client:
        """The connection, for calls that are not ordinary."""
        return self._client

    @property
    def host(self) -> str:
        """Where logins go."""
        return login_host(parameters_of(self.uris[-1]))

    def anonymous(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """A call without the session."""
        return self._client.request(method, self.session.url + path, **rest)

    def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """A call to a path of the server."""
        headers = {"Authorization": f"Bearer {self.session.token}", **rest.pop("headers", {})}
        return self._client.request(method, self.session.url + path, headers=headers, **rest)

    def get(self, resource: str, *, headers: dict[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """GET a resource of the version."""
        return self.call("GET", self.base + resource, params=parameters or None, headers=headers or {})

    def query(self, soql: str, resource: str = "query", batch: int = 2_000) -> list[httpx.Response]:
        """All pages of a query."""
        options = {"Sforce-Query-Options": f"batchSize={batch}"}
        pages = [self.get(f"/{resource}", headers=options, q=soql)]
        assert pages[0].status_code == 200, pages[0].text
        while not (body := pages[-1].json())["done"]:
            pages.append(self.call("GET", body["nextRecordsUrl"], headers=options))
            assert pages[-1].status_code == 200, pages[-1].text
            assert pages[-1].json()["records"], "a page without rows that is not the last"
        return pages

    def count(self, condition: str, resource: str = "query") -> int:
        """What COUNT() says of `X WHERE …`."""
        answer = self.get(f"/{resource}", q=f"SELECT COUNT() FROM {condition}")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body == {"totalSize": body["totalSize"], "done": True, "records": []}
        return int(body["totalSize"])

    def create_job(self, soql: str, operation: str = "query") -> httpx.Response:
        """The answer to the creation of a query job, which is deleted at the latest when the target is closed."""
        body = {"operation": operation, "query": soql, "contentType": "CSV"}
        answer = self.call("POST", f"{self.base}/jobs/query", json=body)
        if answer.status_code == 200:
            self._jobs.append(answer.json()["id"])
        return answer

    def job(self, method: str, job: str, rest: str = "", **arguments: Any) -> httpx.Response:
        """A call to a job's address."""
        return self.call(method, f"{self.base}/jobs/query/{job}{rest}", **arguments)

    def delete_job(self, job: str) -> httpx.Response:
        """The answer to the deletion of a job."""
        answer = self.job("DELETE", job)
        if answer.status_code == 204:
            self._jobs.remove(job)
        return answer

    def finish(self, soql: str) -> "Finished":
        """A job that is complete, and every answer on the way there."""
        created = self.create_job(soql)
        assert created.status_code == 200, created.text
        job = created.json()["id"]
        polls: list[dict[str, Any]] = []
        # Waiting is cheaper than asking.
        wait, deadline = 0.0 if self.simulated else 3.0, time.monotonic() + _PATIENCE_SECONDS
        while not polls or polls[-1]["state"] not in ENDED:
            assert time.monotonic() < deadline, polls[-1]
            time.sleep(wait)
            wait *= 2
            polls.append(self.job("GET", job).json())
        assert polls[-1]["state"] == "JobComplete", polls[-1]
        return Finished(job, created, polls)

    def close(self) -> None:
        """Delete the jobs that are left."""
        for job in list(self._jobs):
            if self.delete_job(job).status_code != 204:
                self.job("PATCH", job, json={"state": "Aborted"})
                self.delete_job(job)


@dataclass
class Finished:
    """A complete query job."""

    id: str
    created: httpx.Response
    polls: list[dict[str, Any]]


@dataclass
class Sample:
    """The same rows of an object read by REST and by Bulk, and describe's view of the fields read.

    Attributes:
        rest: records by Id, their numbers as text.
        bulk: rows by Id.
    """

    name: str
    fields: dict[str, dict[str, Any]]
    pages: list[httpx.Response]
    rest: dict[str, dict[str, Any]]
    bulk: dict[str, dict[str, str]] = field(default_factory=dict)


def records_of(pages: list[httpx.Response]) -> list[dict[str, Any]]:
    """The records of pages, with numbers as text."""
    bodies = [json.loads(page.text, parse_float=NumberText, parse_int=NumberText) for page in pages]
    return [record for body in bodies for record in body["records"]]


def csv_of(page: httpx.Response) -> list[list[str]]:
    """The rows of a page of CSV, the header first."""
    return list(csv.reader(io.StringIO(page.content.decode("utf-8"), newline="")))


def errors_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message of an error, which is an array of objects."""
    body = answer.json()
    assert isinstance(body, list), body
    assert {"errorCode", "message"} <= body[0].keys(), body
    return answer.status_code, body[0]["errorCode"], body[0]["message"]


def moment(text: str) -> datetime:
    """The time that REST means."""
    return datetime.strptime(text, REST_TIME).replace(tzinfo=UTC)


def literal(time_: datetime) -> str:
    """A time as SOQL writes it."""
    return time_.strftime("%Y-%m-%dT%H:%M:%SZ")


def words(text: str) -> set[str]:
    """The words of a text."""
    return set(text.split())
