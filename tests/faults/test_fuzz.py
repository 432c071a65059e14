"""Random answers to every call of a read: only errors of ours come out, in time, and no text holds a secret."""

import copy
import csv
import gzip
import io
import json
import random
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from answering import Said, served
from ingestr import redaction
from ingestr.core.secret import Secret
from ingestr.errors import IngestrError
from ingestr.sources.base import ReadRequest
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.logins.client_credentials import ClientCredentials
from ingestr.sources.salesforce.logins.config import SalesforceConfig
from ingestr.sources.salesforce.logins.username_password import UsernamePassword
from ingestr.sources.salesforce.meta.catalog import Catalog
from ingestr.sources.salesforce.meta.describe import resolve_table
from ingestr.sources.salesforce.meta.relation import object_relation
from ingestr.sources.salesforce.source import SalesforceStream
from support import FastClock

HOST = "https://acme.my.salesforce.com"
SECRETS = ("s3cret-of-the-client", "pass-word-0815", "SecurityToken99")
SESSION = "00D5e000000abcD!AQ8AQFuzz.Token_0123456789"
HIDDEN = (*SECRETS, SESSION.partition("!")[2])
LOGINS = (
    ClientCredentials(Secret("3MVG9.id"), Secret(SECRETS[0])),
    UsernamePassword("ada@acme.example", Secret(SECRETS[1]), Secret(SECRETS[2])),
)
STAMP = "2026-05-01T10:00:00.000+0000"
NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
FIELDS = {"Id": "id", "Name": "string", "Rows__c": "int", "SystemModstamp": "datetime", "IsDeleted": "boolean"}
ROW = {"Id": "0015e000000abcDAAQ", "Name": "Müller", "Rows__c": 5, "SystemModstamp": STAMP, "IsDeleted": False}
JOBS, JOB = "/services/data/v64.0/jobs/query", "7505e000000abcDAAQ"


@pytest.fixture(autouse=True)
def known_secrets() -> Iterator[None]:
    """The logins above were made before this test, which begins with no secret known."""
    held = [redaction.remember(text) for text in (*SECRETS, SESSION)]
    yield
    del held


def page_of_csv() -> bytes:
    """A page of Bulk results."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(FIELDS), quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerow({**ROW, "IsDeleted": "false"})
    return text.getvalue().encode()


def described() -> dict[str, Any]:
    """What describe says."""
    of_all = {"filterable": True, "sortable": True, "nillable": True, "calculated": False, "soapType": "xsd:string"}
    fields = [{"name": name, "type": kind, **of_all} for name, kind in FIELDS.items()]
    return {"name": "Account", "queryable": True, "replicateable": True, "fields": fields}


SOAP = (
    f"<e xmlns='urn:x'><sessionId>{SESSION}</sessionId><serverUrl>{HOST}/services/Soap/u/64.0</serverUrl>"
    "<organizationId>00D5e000000abcDEAY</organizationId></e>"
)
# The calls by name: method, path, and what a healthy org answers.
CALLS: dict[str, tuple[str, str, Any]] = {
    "token": ("POST", "/oauth2/token$", {"access_token": SESSION, "instance_url": HOST, "id": f"{HOST}/id/00D/005"}),
    "soap": ("POST", "/Soap/u/", SOAP.encode()),
    "versions": ("GET", "/services/data/$", [{"version": "58.0"}, {"version": "64.0"}]),
    "userinfo": ("GET", "/userinfo$", {"organization_id": "00D5e000000abcDEAY"}),
    "describe": ("GET", "/describe$", described()),
    "objects": ("GET", "/sobjects/$", {"sobjects": [{"name": "Thing__c", "queryable": True}]}),
    "size": ("GET", "/recordCount$", {"sObjects": [{"name": "Account", "count": 1}]}),
    "query": ("GET", "/query(All)?$", {"totalSize": 1, "done": True, "records": [ROW]}),
    "together": ("POST", "/composite$", {"compositeResponse": [
        {"referenceId": "r0", "httpStatusCode": 200, "body": {"totalSize": 1, "done": True, "records": []}}]}),
    "deleted": ("GET", "/deleted/$", {"deletedRecords": [{"id": ROW["Id"], "deletedDate": STAMP}]}),
    "job": ("POST", "/jobs/query$", {"id": JOB, "state": "UploadComplete"}),
    "poll": ("GET", f"/jobs/query/{JOB}$", {"id": JOB, "state": "JobComplete", "numberRecordsProcessed": 1}),
    "pages": ("GET", "/resultPages$", {"resultPages": [{"resultUrl": f"{JOBS}/{JOB}/results"}], "done": True}),
    "results": ("GET", "/results$", page_of_csv()),
}  # fmt: skip
# Which calls a healthy run makes; a wrong answer to any of them must do no harm.
LARGE = {"size": {"sObjects": [{"name": "Account", "count": 5_000_000}]}}
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 5, 1e400, -1e400, float("nan"), 10**300, 1.5, "", "x", "\ud800", "\x1b[2J", "\0", "a\nb",
    "²", "9" * 5_000, "\u0665", "../../etc", "https://evil.example/", "//evil.example", "null", [], {}, [[]], [None],
    {"": None}, [{}], {"Id": "!!!"}, "Infinity", "2026-13-45T99:99:99Z", "é" * 300, *HIDDEN, "\u202e", " ",
)  # fmt: skip
HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Type": (
        "text/html; charset=hex", "text/xml", "text/csv; charset=utf-16", "", "text/html; charset=\x80", "x" * 900,
    ),
    "Content-Encoding": ("gzip", "x-gzip", "br", "deflate", "identity", "gzip, gzip", "\x1b", "zstd"),
    "Date": ("Fri, 31 Dec 9999 23:59:59 -1400", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "", "²", "0", "-0000"),
    "Retry-After": ("-0000", "²", "9" * 400, "-5", "Wed, 21 Oct 2015 07:28:00 -0000", "Fri, 31 Dec 9999 23:59:59"),
    "Sforce-Limit-Info": ("api-usage=" + "9" * 5_000 + "/1", "api-usage=²/5", "api-usage=/", SESSION),
    "Sforce-NumberOfRecords": ("²", "-1", "9" * 5_000, "1e400", "", "\u0665", "2"),
    "Sforce-Locator": ("a\x01b", "²", "x" * 9_000, "..", "null"),
    "Location": ("https://[", "//", "https://xn--.example", "x" * 70_000, "\x01", f"https://{SECRETS[0]}.example"),
    "Set-Cookie": ("a=b; expires=Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "=;=;", "x" * 5_000),
}  # fmt: skip
STATUS = (200, 200, 200, 201, 204, 206, 301, 304, 400, 401, 403, 404, 409, 420, 429, 500, 503, 999)
BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[", b"{}", b"[]", b"[" * 100_000, b'{"a":' * 100_000, b"<html>", b"<![foo[x]]>", b"\xff\xfe",
    b"\x1f\x8b",
    b'<?xml version="1.0" encoding="shift_jis"?><a/>', b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"Infinity",
    b"9" * 5_000, b'"' + b"a" * 3_000, json.dumps(HIDDEN).encode(), b"Id\n", b'"Id","Id"\n"1"\n', b"\xef\xbb\xbf[]",
)  # fmt: skip


def spoiled(body: Any, chance: random.Random) -> Any:
    """The body with one of its parts replaced, removed or doubled."""
    body = copy.deepcopy(body)
    where: Any = body
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where))) if isinstance(where, list) else []
        if not keys:
            return chance.choice(NASTY)
        key = chance.choice(keys)
        if isinstance(where[key], dict | list) and where[key] and chance.random() < 0.7:
            where = where[key]
            continue
        match chance.randrange(4):
            case 0 if isinstance(where, dict):
                del where[key]
            case 1 if isinstance(where, list):
                where.append(copy.deepcopy(where[key]))
            case _:
                where[key] = chance.choice(NASTY)
        return body


def wrong(body: Any, chance: random.Random) -> Said:
    """A random answer: of another status, with other headers, another body, or one that is nearly right."""
    plain = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, headers = 200, {"Content-Type": "application/json", "Date": "Sun, 17 May 2026 12:00:00 GMT"}
    match chance.randrange(6):
        case 0:
            plain = chance.choice(BODIES)
        case 1:
            plain = chance.randbytes(chance.randrange(200))
        case 2 if plain:
            at = chance.randrange(len(plain))
            plain = plain[:at] + chance.choice((b"", b"\0", b"\xff", b'"', b"<", b"9" * 400)) + plain[at + 1 :]
        case 3:
            code = chance.choice((*NASTY, "INVALID_FIELD", "OPERATION_TOO_LARGE", "INVALIDENTITY", "URL_NOT_RESET"))
            plain = json.dumps([{"errorCode": code, "message": chance.choice(NASTY)}]).encode()
            status = chance.choice(STATUS)
        case _ if not isinstance(body, bytes):
            plain = json.dumps(spoiled(body, chance)).encode()
        case _:
            plain = plain[: chance.randrange(len(plain))]
    if chance.random() < 0.25:
        status = chance.choice(STATUS)
    if chance.random() < 0.4:
        name = chance.choice(list(HEADERS))
        headers[name] = chance.choice(HEADERS[name])
    if chance.random() < 0.1:
        plain, headers["Content-Encoding"] = gzip.compress(plain), "gzip"
    return Said(status, [(name.encode(), value.encode("utf-8", "replace")) for name, value in headers.items()], plain)


def healthy(name: str, *, large: bool) -> Said:
    """The answer of an org that is well."""
    body = LARGE.get(name, CALLS[name][2]) if large else CALLS[name][2]
    if name == "results":
        return Said(200, {"Content-Type": "text/csv", "Sforce-NumberOfRecords": "1", "Sforce-Locator": "null"}, body)
    if isinstance(body, bytes):
        return Said(200, {"Content-Type": "text/xml"}, body)
    return Said.as_json(body, headers={"Date": "Sun, 17 May 2026 12:00:00 GMT"})


def answering(spoil: str, chance: random.Random, *, large: bool) -> Callable[[httpx.Request], Said]:
    """An org that is well, but for one call whose answers are random."""
    asked = 0

    def answer(request: httpx.Request) -> Said:
        nonlocal asked
        asked += 1
        assert asked < 2_000, "the read does not end"
        for name, (method, path, body) in CALLS.items():
            if request.method == method and re.search(path, request.url.path):
                return wrong(body, chance) if name == spoil else healthy(name, large=large)
        return Said(204)

    return answer


def everything(client: SalesforceClient, clock: FastClock, spoil: str) -> None:
    """All calls that a run makes."""
    named, describe = resolve_table(Catalog(client), "Thing__c" if spoil == "objects" else "account")
    client.org_id()
    stream = SalesforceStream(client, clock, named, object_relation(describe))
    stream.server_now()
    stream.anticipate(ReadRequest(("Id",)), NOW, None, NOW - timedelta(days=1))
    stream.count_live(NOW)
    stream.deleted_since(NOW - timedelta(days=1), NOW)
    for _ in stream.read(ReadRequest(tuple(column.name for column in stream.schema.columns))):
        pass


@pytest.mark.parametrize("spoil", CALLS)
def test_only_errors_of_ours_come_out(spoil: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever one call is answered with: exit 2, 3, 4 or 6 with a line that can be shown, never another exception."""
    inputs = refused = 0
    for seed in range(240):
        chance = random.Random(f"{spoil} {seed}")
        clock = FastClock()
        config = SalesforceConfig(LOGINS[spoil == "soap"], HOST, most_bytes=8 << 20)
        client = served(answering(spoil, chance, large=spoil in ("job", "poll", "pages", "results")), config, clock)
        inputs += 1
        try:
            everything(client, clock, spoil)
        except IngestrError as error:
            refused += 1
            told = f"{error} {error.hint} {error!r} {vars(error)}"
            assert error.exit_code in (2, 3, 4, 6), told
            assert f"{error}{error.hint}".isprintable(), told
            told += "".join(traceback.format_exception(error))
            assert [secret for secret in HIDDEN if secret in told] == []
        except BaseException as error:
            error.add_note(f"the answer to {spoil}, seed {seed}")
            raise
        finally:
            client.close()
    with capsys.disabled():
        print(f"\n{spoil}: {inputs} random answers, {refused} refused")
    # Which org it is need not be known.
    assert refused > inputs // 10 or spoil == "userinfo"
