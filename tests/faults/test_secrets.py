"""Servers that repeat secrets, and write what steers a terminal: neither leaves the program in any text."""

import base64
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from ingestr.errors import IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, FastClock, claim_huge, command, ingest, source_uri

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "in a URL": lambda text: quote(text, safe=""),
    "in Basic": lambda text: base64.b64encode(f"client:{text}".encode()).decode(),
}


def tail(token: str) -> str:
    """What is secret in a session's token: before it stands the org."""
    return token.partition("!")[2]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", [200, 401, 503])
def test_the_log_of_libraries_holds_no_token(
    org: SimulatedOrg, database: Path, caplog: pytest.LogCaptureFixture, status: int, spelling: str
) -> None:
    """A Python user who logs everything, httpx and httpcore too, sees no token, though the server repeats it."""
    caplog.set_level(logging.DEBUG)
    token = org.access_token()
    said = SPELLINGS[spelling](token)
    org.faults.add(Fault(times=None, status=status, headers={**JSON_HEADERS, "X-Echo": said}, body=json.dumps(said)))
    with pytest.raises(IngestrError) as caught:
        ingest(org, "account", database, source_uri=source_uri(org, "token", access_token=token))
    told = caplog.text + "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert {record.name for record in caplog.records} >= {"httpx", "httpcore.http11"}
    assert "x-echo" in told.lower()
    assert SPELLINGS[spelling](tail(token))[6:-6] not in told
    assert tail(token) not in told


@pytest.mark.parametrize("debug", [(), ("--debug",)])
@pytest.mark.parametrize("place", ["login", "describe", "job", "poll"])
def test_the_command_prints_no_secret(org: SimulatedOrg, database: Path, place: str, debug: tuple[str, ...]) -> None:
    """Wherever a server repeats the password or the token: errors, hints, the log, the debug log and its tracebacks."""
    token, secret = org.access_token(), org.client_secret
    claim_huge(org, "Lead", times=None)
    text = f"you sent Bearer {token} and {secret}\x1b]0;owned\x07\u202e"
    body = {
        "login": json.dumps({"error": "invalid_grant", "error_description": text}),
        "poll": json.dumps({"id": "750000000000001AAA", "state": "Failed", "errorMessage": text}),
    }.get(place, json.dumps([{"errorCode": "X", "message": text}]))
    path = {"login": "oauth2/token", "describe": "/describe", "job": "/jobs/query$", "poll": "/jobs/query/"}[place]
    status = 200 if place == "poll" else 400
    method = "POST" if place in ("login", "job") else "GET"
    org.faults.add(Fault(method=method, path=path, times=None, status=status, headers=JSON_HEADERS, body=body))
    uri = source_uri(org) if place == "login" else source_uri(org, "token", access_token=token)
    done = command(
        "ingest", "--source-table", "lead", "--dest-uri", "duckdb:///sf.db", "--dest-table", "public.t", *debug,
        cwd=database.parent, SOURCE_URI=uri,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert "you sent Bearer" in told
    assert "\\x1b]0;owned\\x07\\u202e" in told
    hidden = [secret] if place == "login" else [tail(token)]
    assert [each for each in hidden if each in told] == []
    assert {c for c in told if not c.isprintable()} <= {"\n"}


@pytest.mark.parametrize("login", ["client", "password", "token"])
def test_an_error_in_python_holds_no_secret(org: SimulatedOrg, database: Path, login: str) -> None:
    """Neither ``str``, ``repr``, hint, attributes nor a printed traceback."""
    uri = source_uri(org, login)
    secrets = [org.client_secret, org.password, org.security_token, org.password + org.security_token]
    said = json.dumps([{"errorCode": " ".join(secrets), "message": " ".join(secrets)}])
    org.faults.add(Fault(times=None, status=400, headers=JSON_HEADERS, body=said))
    with pytest.raises(IngestrError) as caught:
        ingest(org, "account", database, clock=FastClock(), source_uri=uri)
    error = caught.value
    told = "\n".join([str(error), repr(error), str(error.hint), str(vars(error)), *traceback.format_exception(error)])
    given = {"client": secrets[:1], "password": secrets[1:], "token": []}[login]
    assert [each for each in given if each in told] == []
    assert "***" in told or login == "token"
