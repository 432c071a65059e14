"""Logins by a signed assertion, by a refresh token that changes, and by the Salesforce CLI."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

import ingestr
from ingestr.errors import AuthenticationError, ConfigurationError, IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from support import claim_huge, ingest


def uri(org: SimulatedOrg, **parameters: str) -> str:
    """A source URI of these parameters and the app's id."""
    told = {"client_id": org.client_id, "domain": org.url, **parameters}
    return "salesforce://?" + urlencode(told, quote_via=quote)


def rows(source_uri: str) -> int:
    """How many roles can be read."""
    with ingestr.read(source_uri, "user_role") as stream:
        return sum(batch.num_rows for batch in stream)


def text_of(error: IngestrError) -> str:
    """All that an error tells."""
    return f"{error} {error.hint} {error!r}"


@pytest.fixture
def key(org: SimulatedOrg, tmp_path: Path) -> Path:
    """The file of the app's private key."""
    path = tmp_path / "app.pem"
    path.write_text(org.private_key)
    return path


def test_a_key_in_a_file_or_in_the_uri(org: SimulatedOrg, key: Path) -> None:
    """The key may be a file, a text with lines, or one whose line breaks are written out."""
    wanted = org.count("UserRole")
    for told in (
        {"private_key_path": str(key)},
        {"private_key": key.read_text()},
        {"private_key": key.read_text().replace("\n", "\\n")},
        {"private_key_path": str(key), "auth_method": "jwt", "audience": "https://test.salesforce.com"},
    ):
        assert rows(uri(org, username=org.username, **told)) == wanted


def test_a_session_by_assertion_is_renewed(org: SimulatedOrg, key: Path, database: Path) -> None:
    """When the session ends in the middle, another assertion is signed."""
    org.page_rows = 10
    org.faults.add(Fault(method="GET", path="/results", skip=1, times=1, expire_sessions=True))
    claim_huge(org, "Lead")
    result = ingest(org, "lead", database, source_uri=uri(org, username=org.username, private_key_path=str(key)))
    assert result.rows_read == org.count("Lead")
    assert len([each for each in org.requests if each.path.endswith("/oauth2/token")]) == 2


def test_what_is_wrong_with_a_key(org: SimulatedOrg, key: Path, tmp_path: Path) -> None:
    """Each mistake is named before or by Salesforce, and no part of the key is repeated."""
    broken, secret = tmp_path / "broken.pem", "MIIBROKENSECRET"
    broken.write_text(f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n")
    who = {"username": org.username}
    with SimulatedOrg(rows=1, seed=3) as other:
        strange = other.private_key
    cases: list[tuple[dict[str, str], type[IngestrError], str]] = [
        ({**who, "private_key_path": str(tmp_path / "none.pem")}, ConfigurationError, "cannot be read"),
        ({**who, "private_key_path": str(tmp_path)}, ConfigurationError, "cannot be read"),
        ({**who, "private_key_path": str(broken)}, ConfigurationError, "no RSA key"),
        ({**who, "private_key": secret}, ConfigurationError, "no RSA key"),
        ({**who, "private_key": strange}, AuthenticationError, "invalid assertion"),
        ({**who, "private_key_path": str(key), "audience": "https://acme.example"}, AuthenticationError, "audience"),
        ({"username": "eve@acme.example", "private_key_path": str(key)}, AuthenticationError, "approved"),
        ({**who, "private_key_path": str(key), "private_key": secret}, ConfigurationError, "one of"),
        ({"private_key_path": str(key)}, ConfigurationError, "lacks username"),
        ({**who, "auth_method": "jwt"}, ConfigurationError, "private_key"),
        ({**who, "private_key_path": str(key), "password": "x"}, ConfigurationError, "mixes logins"),
    ]
    for told, kind, words in cases:
        with pytest.raises(kind, match=words) as caught:
            rows(uri(org, **told))
        assert caught.value.hint
        assert secret not in text_of(caught.value)
        assert strange.splitlines()[1] not in text_of(caught.value)


def test_without_the_library_the_extra_is_named(org: SimulatedOrg, key: Path) -> None:
    """The library that signs is needed for this login alone."""
    script = (
        "import sys; sys.modules['jwt'] = None\n"
        "import ingestr, os\n"
        "try:\n    ingestr.read(os.environ['SOURCE_URI'], 'user_role')\n"
        "except ingestr.errors.ConfigurationError as error:\n    print(error.hint)\n"
    )
    told = uri(org, username=org.username, private_key_path=str(key))
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "SOURCE_URI": told}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "pip install 'ingestr[jwt]'"


def test_a_refresh_token_that_stays(org: SimulatedOrg, tmp_path: Path) -> None:
    """Without rotation it is good for ever, with the app's secret or without; a file is filled at the first use."""
    token, kept = org.refresh_token(), tmp_path / "token"
    assert rows(uri(org, refresh_token=token)) == org.count("UserRole")
    assert rows(uri(org, refresh_token=token, client_secret=org.client_secret)) == org.count("UserRole")
    assert rows(uri(org, refresh_token=token, refresh_token_path=str(kept))) == org.count("UserRole")
    assert kept.read_text().strip() == token
    assert kept.stat().st_mode & 0o077 == 0
    assert rows(uri(org, refresh_token_path=str(kept))) == org.count("UserRole")


def test_a_refresh_token_that_changes_is_kept(org: SimulatedOrg, tmp_path: Path) -> None:
    """With rotation each run leaves the newest one in the file, also where the run fails afterwards."""
    org.rotate_refresh_tokens = True
    first, kept = org.refresh_token(), tmp_path / "token"
    told = uri(org, refresh_token=first, refresh_token_path=str(kept))
    seen = {first}
    for _ in range(3):
        assert rows(told) == org.count("UserRole")
        seen.add(kept.read_text())
    assert len(seen) == 4
    with pytest.raises(IngestrError), ingestr.read(told, "nothing"):
        pass
    assert kept.read_text() not in seen
    assert rows(told) == org.count("UserRole")
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["token"]


def test_a_session_by_refresh_token_is_renewed(org: SimulatedOrg, database: Path) -> None:
    """Within a run the newest token is known without a file; the result says that nothing keeps it."""
    org.rotate_refresh_tokens = True
    org.page_rows = 10
    org.faults.add(Fault(method="GET", path="/results", skip=1, times=1, expire_sessions=True))
    claim_huge(org, "Lead")
    result = ingest(org, "lead", database, source_uri=uri(org, refresh_token=org.refresh_token()))
    assert result.rows_read == org.count("Lead")
    assert any("refresh_token_path" in note for note in result.notes)


def test_a_new_authorization_goes_before_a_dead_file(org: SimulatedOrg, tmp_path: Path) -> None:
    """Where the file's token was revoked, the URI's is tried, and takes its place."""
    kept = tmp_path / "token"
    kept.write_text("5Aep861gone\n")
    fresh = org.refresh_token()
    assert rows(uri(org, refresh_token=fresh, refresh_token_path=str(kept))) == org.count("UserRole")
    assert rows(uri(org, refresh_token_path=str(kept))) == org.count("UserRole")


def test_a_refresh_token_is_sent_once(org: SimulatedOrg, tmp_path: Path) -> None:
    """An answer that gets lost may have been a new token: the old one is not sent again, which would revoke both."""
    org.rotate_refresh_tokens = True
    for fault in (
        Fault(path="/oauth2/token", served=True, drop=True),
        Fault(path="/oauth2/token", status=500, body=""),
    ):
        org.faults.add(fault)
        org.requests.clear()
        with pytest.raises(IngestrError):
            rows(uri(org, refresh_token=org.refresh_token(), refresh_token_path=str(tmp_path / "token")))
        assert len([each for each in org.requests if each.path.endswith("/oauth2/token")]) == 1


def test_what_is_wrong_with_a_refresh_token(org: SimulatedOrg, tmp_path: Path) -> None:
    """A new token must have its place before the old one is spent; a file of another kind is left as it is."""
    org.rotate_refresh_tokens = True
    token = org.refresh_token()
    strange = tmp_path / "strange"
    strange.write_text("two words\n")
    empty = tmp_path / "empty"
    empty.write_text("")
    cases: list[tuple[dict[str, str], type[IngestrError], str]] = [
        ({"refresh_token": token, "refresh_token_path": "/proc/none/token"}, ConfigurationError, "cannot be written"),
        ({"refresh_token": token, "refresh_token_path": str(strange)}, ConfigurationError, "something else"),
        ({"refresh_token": token, "refresh_token_path": str(tmp_path)}, ConfigurationError, "cannot be read"),
        ({"refresh_token_path": str(empty)}, ConfigurationError, "holds no refresh token"),
        ({"refresh_token": "5Aep861wrong"}, AuthenticationError, "authorize the app again"),
        ({"auth_method": "refresh_token"}, ConfigurationError, "refresh_token_path"),
    ]
    for told, kind, words in cases:
        with pytest.raises(kind) as caught:
            rows(uri(org, **told))
        assert words in text_of(caught.value)
        assert token not in text_of(caught.value)
    assert strange.read_text() == "two words\n"
    assert rows(uri(org, refresh_token=token)) == org.count("UserRole")


def test_two_processes_use_one_refresh_token(org: SimulatedOrg, tmp_path: Path) -> None:
    """One after the other: a token that is used twice would be revoked with all that came of it."""
    org.rotate_refresh_tokens = True
    told = uri(org, refresh_token=org.refresh_token(), refresh_token_path=str(tmp_path / "token"))
    script = "import ingestr, os\nwith ingestr.read(os.environ['SOURCE_URI'], 'user_role') as s: list(s)\n"
    running = [
        subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "SOURCE_URI": told}) for _ in range(4)
    ]
    assert [each.wait(120) for each in running] == [0, 0, 0, 0]
    assert rows(told) == org.count("UserRole")


CLI = """#!{python}
import json, os, pathlib, sys
words = " ".join(sys.argv[1:])
with open({log!r}, "a") as log:
    log.write(words + "\\n")
answers = json.loads(pathlib.Path({answers!r}).read_text())
found = next((answer for command, answer in answers.items() if words.startswith(command)), None)
assert os.environ["NO_COLOR"] == "1" and "FORCE_COLOR" not in os.environ
print(json.dumps(found) if found is not None else json.dumps(
    {{"status": 127, "name": "CommandNotFoundError", "message": words + " is not a sf command."}}))
"""
Answers = Callable[[dict[str, Any]], Path]


@pytest.fixture
def sf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A command ``sf`` that answers as it is told; gives the file that notes how it was called."""
    log, answers, command = tmp_path / "sf.log", tmp_path / "answers.json", tmp_path / "bin" / "sf"
    command.parent.mkdir()
    command.write_text(CLI.format(python=sys.executable, log=str(log), answers=str(answers)))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("FORCE_COLOR", "1")

    def tell(found: dict[str, Any]) -> Path:
        answers.write_text(json.dumps(found))
        return log

    return tell


def told_by_cli(**result: Any) -> dict[str, Any]:
    """An answer of the CLI."""
    return {"status": 0, "result": result, "warnings": []}


def test_the_session_of_the_cli(org: SimulatedOrg, sf: Answers) -> None:
    """It tells the instance, and by a command of its own the token; older ones tell both at once."""
    redacted = "[REDACTED] Use 'sf org auth show-access-token' to view"
    display = {"id": org.organization_id, "instanceUrl": org.url, "username": org.username}
    log = sf(
        {
            "org display --target-org dev --json": told_by_cli(**display, accessToken=redacted),
            "org auth show-access-token --target-org dev --json": told_by_cli(accessToken=org.access_token()),
        }
    )
    assert rows("salesforce://?sf_cli=dev") == org.count("UserRole")
    assert len(log.read_text().splitlines()) == 2
    sf({"org display": told_by_cli(**display, accessToken=org.access_token())})
    assert rows("salesforce://?auth_method=sf_cli&sf_cli=ada@acme.example") == org.count("UserRole")


def test_what_the_cli_cannot_do(org: SimulatedOrg, sf: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An org that it does not know, a token that nobody tells, a missing command: each is named, with what to do."""
    display = told_by_cli(instanceUrl=org.url, accessToken="[REDACTED]")
    unknown = {"status": 1, "name": "NamedOrgNotFoundError", "message": "No authorization information found for dev."}
    cases: list[tuple[dict[str, Any], str, type[IngestrError], str]] = [
        ({"org display": unknown}, "dev", AuthenticationError, "No authorization information"),
        ({"org display": display}, "dev", AuthenticationError, "install a newer"),
        ({"org display": [1]}, "dev", AuthenticationError, "nothing that can be read"),
        ({"org display": told_by_cli(instanceUrl="http://acme.example")}, "dev", ConfigurationError, "unencrypted"),
        ({"org display": told_by_cli()}, "dev", IngestrError, "instanceUrl"),
        ({}, "-x", ConfigurationError, "no alias"),
        ({}, "dev&domain=login", ConfigurationError, "leave out domain"),
    ]
    for answers, alias, kind, words in cases:
        sf(answers)
        with pytest.raises(kind) as caught:
            rows(f"salesforce://?sf_cli={alias}")
        assert words in text_of(caught.value)
        assert caught.value.hint
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="no command sf here"):
        rows("salesforce://?sf_cli=dev")
