"""Commands that look and change nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from databases import PostgresDatabase
from ingestr.errors import IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, Database, ingest, source_uri, table_names, uri_of


def command(org: SimulatedOrg, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with the org as its source."""
    surroundings = {**os.environ, "SOURCE_URI": source_uri(org), **variables}
    return subprocess.run(
        [sys.executable, "-m", "ingestr", *words], env=surroundings, capture_output=True, text=True, check=False
    )


def test_what_an_org_has(org: SimulatedOrg) -> None:
    """Each table with its rows, strategy, key and API, and those that cannot be read with the reason."""
    done = command(org, "discover", "--exclude-table", "Wide__c")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["account"] == ["account", "Account", str(org.count("Account")), "merge", "SystemModstamp", "REST", "1"]
    assert lines["user"][2:4] == [str(org.count("User")), "replace"]
    assert "Wide__c" not in done.stdout
    assert "not read: Salesforce lets no API query it: AccountChangeEvent, " in done.stdout
    told = command(org, "discover", "--source-table", "account,opportunity*", "--format", "json")
    found = {each["table"]: each for each in map(json.loads, told.stdout.splitlines())}
    assert found["account"]["rows"] == org.count("Account")
    assert found["OpportunityChangeEvent"]["reason"]
    assert not found["OpportunityChangeEvent"]["strategy"]
    assert org.api_calls < 12


def test_what_a_table_has(org: SimulatedOrg) -> None:
    """Each field with its column, type, label, values and references; what is not read says why."""
    done = command(org, "describe", "--source-table", "opportunity,Attachment")
    assert done.returncode == 0, done.stderr
    assert "opportunity: Opportunity" in done.stdout
    [stage] = [line for line in done.stdout.splitlines() if line.startswith("stage_name")]
    assert "picklist → string" in stage
    assert "one of Prospecting, " in stage
    [account] = [line for line in done.stdout.splitlines() if line.startswith("account_id")]
    assert account.endswith("to Account")
    assert "binary content is not copied" in done.stdout
    told = command(org, "describe", "--source-table", "opportunity", "--format", "json")
    fields = {each["name"]: each for each in json.loads(told.stdout)["fields"]}
    assert fields["StageName"]["column_name"] == "stage_name"
    prospecting = {"value": "Prospecting", "label": "Prospecting", "active": True, "default": False}
    assert prospecting in fields["StageName"]["choices"]


def test_how_tables_refer_to_one_another(org: SimulatedOrg) -> None:
    """A diagram has the tables that were asked for, and the references between them alone."""
    done = command(org, "describe", "--source-table", "account,contact", "--format", "mermaid")
    lines = done.stdout.splitlines()
    assert lines[0] == "erDiagram"
    assert "    Account ||--o{ Contact : AccountId" in lines
    assert not any("User" in line for line in lines)


def test_both_ends_can_be_used(org: SimulatedOrg, either: Database) -> None:
    """Login, version, tables, calls and destination are fine, and nothing is left in the database."""
    ingest(org, "user_role", either)
    before = table_names(either)
    done = command(org, "check", "--dest-uri", uri_of(either), "--dest-table", "raw.account")
    assert done.returncode == 0, done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["login", "API", "tables", "API", "destination"]
    assert "schema raw" in done.stdout
    assert table_names(either) == before


def test_a_file_that_is_not_there_is_not_made(org: SimulatedOrg, tmp_path: Path) -> None:
    """Looking makes no database."""
    done = command(org, "check", "--dest-uri", f"duckdb:///{tmp_path}/new.db")
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])


def test_a_login_that_is_no_good(org: SimulatedOrg, tmp_path: Path) -> None:
    """The exit code is that of what cannot be used, and the other end is looked at all the same."""
    bad = source_uri(org, "token", access_token="00D000000000001!wrong")
    done = command(org, "check", "--dest-uri", f"duckdb:///{tmp_path}/new.db", SOURCE_URI=bad)
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith("failed  login")
    assert lines[1].split()[0] == "hint"
    assert lines[-1].startswith("ok      destination")
    told = command(org, "check", "--format", "json", SOURCE_URI=bad)
    assert [json.loads(line)["ok"] for line in told.stdout.splitlines()] == [False]


def test_a_role_that_may_not_write(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """The destination's own refusal is told."""
    postgres.execute("DROP ROLE IF EXISTS looker; CREATE ROLE looker LOGIN")
    done = command(org, "check", "--dest-uri", postgres.server.uri(postgres.name, "looker"))
    assert done.returncode == 5
    assert "failed  destination" in done.stdout


def test_what_was_loaded(org: SimulatedOrg, either: Database) -> None:
    """Each load is remembered with the rows of both sides, a failed one with its error unless it is the first."""
    assert command(org, "runs", "--dest-uri", uri_of(either)).stdout == "no load is remembered here\n"
    with pytest.raises(IngestrError):
        ingest(org, "account", either, sql_exclude_columns="nix")
    assert table_names(either) == []
    first = ingest(org, "account", either)
    org.clock.advance(60)
    with pytest.raises(IngestrError):
        ingest(org, "account", either, sql_exclude_columns="nix")
    ingest(org, "user_role", either, dest_table="public.roles")
    told = command(org, "runs", "--dest-uri", uri_of(either), "--format", "json")
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert sorted((each["table"], each["outcome"]) for each in found) == [
        ("public.roles", "done"),
        ("public.t", "done"),
        ("public.t", "failed"),
    ]
    [loaded] = [each for each in found if each["table"] == "public.t" and each["outcome"] == "done"]
    assert loaded["rows_read"] == first.rows_read
    assert loaded["rows_in_source"] == loaded["rows_in_destination"] == first.rows_in_source
    assert loaded["api_calls"] > 0
    shown = command(org, "runs", "--dest-uri", uri_of(either), "--dest-table", "public.t").stdout.splitlines()
    assert len(shown) == 3
    [failed] = [line for line in shown if "failed" in line]
    assert "unknown column to exclude 'nix'" in failed


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["describe"], 2, "--source-table is missing"),
        (["describe", "--source-table", "acount"], 2, "did you mean account"),
        (["discover", "--format", "mermaid"], 2, "--format does not know 'mermaid'"),
        (["discover", "--source-table", "nix*"], 2, "unknown pattern"),
        (["check", "account"], 2, "1 argument without an option"),
    ],
)
def test_mistakes(org: SimulatedOrg, words: list[str], code: int, says: str) -> None:
    """A mistake is one line and a hint."""
    done = command(org, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_an_org_that_refuses_a_describe(org: SimulatedOrg) -> None:
    """The other tables are listed, and this one with the reason."""
    body = json.dumps([{"errorCode": "INSUFFICIENT_ACCESS", "message": "insufficient access rights"}])
    org.faults.add(
        Fault(path="sobjects/Lead/describe|/composite$", times=None, status=403, headers=JSON_HEADERS, body=body)
    )
    done = command(org, "discover", "--source-table", "account,lead")
    assert done.returncode == 0, done.stderr
    assert "not read: describing Lead: INSUFFICIENT_ACCESS" in done.stdout
    assert done.stdout.splitlines()[1].startswith("account")
