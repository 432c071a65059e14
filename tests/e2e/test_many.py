"""Several tables by one command: which they are, what becomes of each, and what they cost together."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import ingestr
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError, SourceError, UnknownNameError
from ingestr.result import Outcome, SessionResult
from ingestr.run.many import side_by_side
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.meta.objects import NAMED_TABLES
from support import (
    JSON_HEADERS,
    Database,
    assert_same,
    content,
    expected,
    loaded,
    source_uri,
    table_names,
    uri_of,
)

COMMAND, INTO = (sys.executable, "-m", "ingestr"), ("--dest-uri", "duckdb:///sf.db")


def copy(org: SimulatedOrg, tables: Any, database: Database, **options: Any) -> SessionResult:
    """A session into the schema ``raw``."""
    given = {"dest_table": "raw.{table}", **options}
    return ingestr.ingest_tables(source_uri(org), tables, uri_of(database), **given)


def outcomes(result: SessionResult) -> dict[str, str]:
    """What became of each table."""
    return {each.source_table: str(each.outcome) for each in result.tables}


def test_the_documented_tables_side_by_side(org: SimulatedOrg, either: Database) -> None:
    """Each is as right as by a command of its own, at the first run and at the second; a small one costs few calls."""
    names = [name for name in NAMED_TABLES if not name.endswith("_history")]
    result = copy(org, [*names, "custom:My__Community_Group__c"], either)
    assert result.exit_code == 0
    assert set(outcomes(result).values()) == {"done"}
    for name in names:
        named = NAMED_TABLES[name]
        truth = expected(org, named.object_name, deleted=named.strategy == "merge")
        assert_same(loaded(either, f"raw.{name}"), truth)
    assert_same(loaded(either, "raw.my__community_group__c"), expected(org, "My__Community_Group__c", deleted=False))
    assert result.usage.calls <= 4 * len(names)
    org.clock.advance(60)
    again = copy(org, names, either)
    merged = [each.result for each in again.tables if each.result is not None and each.result.strategy == "merge"]
    assert len(merged) > 5
    assert all((each.rows_inserted, each.rows_updated) == (0, 0) for each in merged)
    # Whether there is anything new, how many rows there are, and which were deleted, is one call.
    assert all(each.usage.calls == 1 for each in merged)
    assert sum(each.result.usage.calls for each in again.tables if each.result) <= again.usage.calls
    ours = [name.split(".")[1] for name in table_names(either) if name.startswith("_ingestr.")]
    assert {"columns", "state"} <= set(ours)


def test_patterns_choose_tables(org: SimulatedOrg, either: Database) -> None:
    """Patterns mean names of tables and of objects; what cannot be read is listed with its reason, and is no error."""
    result = copy(org, "opportunity*,*__c", either, exclude_table="*_history, Wide__c")
    found = outcomes(result)
    assert {name for name, outcome in found.items() if outcome == "done"} == {
        *("opportunity", "opportunity_line_item", "opportunity_contact_role", "OpportunityStage"),
        "My__Community_Group__c",
    }
    left = {each.source_table: each.reason for each in result.tables if each.outcome is Outcome.LEFT_OUT}
    assert "no API" in left["OpportunityChangeEvent"]
    assert result.exit_code == 0
    assert "raw.opportunity_stage" in table_names(either)


def test_the_whole_org(org: SimulatedOrg, database: Path) -> None:
    """Every object is done or left out with its reason, also where only asking for its rows shows that."""
    result = copy(org, "*", database)
    assert result.exit_code == 0
    assert set(result.counts) == {Outcome.DONE, Outcome.LEFT_OUT}
    reasons = {each.source_table: each.reason for each in result.tables if each.outcome is Outcome.LEFT_OUT}
    assert "EXTERNAL_OBJECT" in reasons["OutgoingEmail"]
    assert "condition" in reasons["ContentDocumentLink"]
    assert result.counts[Outcome.DONE] > 30
    assert result.usage.calls < 4 * result.counts[Outcome.DONE]


def test_a_table_that_fails_does_not_stop_the_others(org: SimulatedOrg, either: Database) -> None:
    """Its error is in the result, its target is as it was, and the exit code is that of the worst."""
    copy(org, "account,lead", either)
    before = loaded(either, "raw.lead")
    body = json.dumps([{"errorCode": "UNKNOWN_EXCEPTION", "message": "Internal Salesforce.com Error"}])
    org.faults.add(Fault(path=r"FROM\+Lead", times=None, status=400, headers=JSON_HEADERS, body=body))
    org.clock.advance(60)
    result = copy(org, ["account", "lead", "contact", "nothing"], either)
    assert outcomes(result) == {"account": "done", "lead": "failed", "contact": "done", "nothing": "failed"}
    errors = {each.source_table: each.error for each in result.tables if each.error is not None}
    assert isinstance(errors["nothing"], UnknownNameError)
    assert isinstance(errors["lead"], SourceError)
    assert result.exit_code == 4
    assert_same(loaded(either, "raw.lead"), before)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"tables": "nix*"}, "unknown pattern of tables 'nix\\*'"),
        ({"tables": "account,lead", "exclude_table": "nix"}, "unknown table to exclude"),
        ({"tables": "account,lead", "exclude_table": "*"}, "no table is left"),
        ({"tables": "account,lead", "dest_table": "raw.all"}, "is one table"),
        ({"tables": "account,lead", "tables_in_flight": 0}, "whole number from 1 on"),
        ({"tables": ["account", "query:SELECT Id FROM Lead"]}, "has no name"),
        ({"tables": ["account", "lead"], "dest_table": "_ingestr.{table}"}, "kept for ingestr"),
        ({"tables": ""}, "missing"),
        ({"tables": "account,lead", "deletes": "perhaps"}, "does not know"),
    ],
)
def test_what_makes_no_sense_for_several_tables(
    org: SimulatedOrg, database: Path, asked: dict[str, Any], wrong: str
) -> None:
    """It is refused before a row is read, and leaves no file."""
    with pytest.raises(ConfigurationError, match=wrong) as caught:
        copy(org, asked.pop("tables"), database, **asked)
    assert caught.value.hint or "known" in str(caught.value)
    assert not database.exists()


def test_two_tables_may_not_become_one(org: SimulatedOrg, database: Path) -> None:
    """Names that meet in the destination are refused with both."""
    org.add_object("My_Thing__c", "a0X", {"Text__c": "string"})
    org.add_object("MyThing__c", "a0Y", {"Text__c": "string"})
    with pytest.raises(ConfigurationError, match=r"would both become raw\.my_thing__c"):
        copy(org, "*__c", database)


def test_the_budget_is_that_of_all(org: SimulatedOrg, database: Path) -> None:
    """When it is used up no further table is begun; what is done stays."""
    result = copy(org, list(NAMED_TABLES), database, api_budget="14", tables_in_flight=2)
    assert result.exit_code == 6
    counts = result.counts
    assert counts[Outcome.DONE] > 0
    assert counts[Outcome.NOT_BEGUN] > 5
    assert result.usage.calls <= 14
    assert len([name for name in table_names(database) if name.startswith("raw.")]) == counts[Outcome.DONE]


def test_one_login_serves_all_tables(org: SimulatedOrg, database: Path) -> None:
    """A session that ends in the middle is renewed once."""
    org.faults.add(Fault(path=r"FROM\+Contact", times=1, expire_sessions=True))
    copy(org, list(NAMED_TABLES), database)
    assert len([each for each in org.requests if each.path.endswith("/oauth2/token")]) == 2


def test_what_concerns_the_login_is_said_once(org: SimulatedOrg, database: Path) -> None:
    """A note about the connection is one of the session, not of each table."""
    result = ingestr.ingest_tables(source_uri(org, "password"), "account,user_role", uri_of(database))
    assert [note for note in result.notes if "Summer '27" in note]
    assert not any("Summer '27" in note for each in result.tables if each.result for note in each.result.notes)


def test_the_command(org: SimulatedOrg, tmp_path: Path) -> None:
    """The summary has a line a table, JSON an event a table and one for all; the exit code is that of the worst."""
    command = [
        sys.executable,
        "-m",
        "ingestr",
        "ingest",
        "--dest-uri",
        "duckdb:///sf.db",
        "--dest-table",
        "raw.{table}",
    ]
    command += ["--source-table", "account", "--source-table", "lead,Nothing__c"]
    surroundings = {**os.environ, "SOURCE_URI": source_uri(org)}
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("raw.account")
    assert "failed: Nothing__c: unknown table" in done.stdout
    assert lines[-2].startswith("3 tables: 2 done, 1 failed; ")
    told = subprocess.run(
        [*command, "--progress", "json"], cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    events = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each["table"] for each in events if each["event"] == "table" and each["status"] == "failed"] == [
        "Nothing__c"
    ]
    [session] = [each for each in events if each["event"] == "session"]
    assert [each["outcome"] for each in session["tables"]] == ["done", "done", "failed"]
    assert (session["done"], session["failed"], session["exit_code"]) == (2, 1, 2)
    assert events[-1]["event"] == "end"
    assert events[-1]["exit_code"] == told.returncode == 2


def test_the_plan_of_several_tables(org: SimulatedOrg, tmp_path: Path) -> None:
    """A line a table, and the sum: rows, calls, bytes, time and the allowance; nothing is written."""
    command = [
        sys.executable,
        "-m",
        "ingestr",
        "plan",
        "--dest-uri",
        "duckdb:///sf.db",
        "--source-table",
        "account,lead",
    ]
    surroundings = {**os.environ, "SOURCE_URI": source_uri(org)}
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("account  merge into main.account: ")
    assert f"about {counted(org.count('Lead'), 'row')}" in lines[1]
    assert re.fullmatch(
        r"2 tables: about [\d,]+ rows in about 2 API calls, about [\d.]+ kB and about 1 s with 4 tables in flight; "
        "nothing was written",
        lines[-2],
    )
    assert lines[-1].endswith(f" of {org.api_limit:,}")
    told = subprocess.run(
        [*command, "--dry-run", "--progress", "json", "--source-table", "ContentDocument*"],
        cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=True,
    )  # fmt: skip
    account, lead, total, _ = [json.loads(line) for line in told.stdout.splitlines()][-4:]
    reads = [each["read"] for each in (account, lead)]
    for name in ("rows", "calls", "bytes"):
        assert total[name] == sum(each[name] for each in reads) > 0
    assert (total["event"], total["tables"], total["tables_in_flight"], total["unknown"]) == ("plans", 2, 4, 0)
    assert total["seconds"] == pytest.approx(max(each["seconds"] for each in reads), abs=0.1)
    assert total["left_out"][0]["source_table"] == "ContentDocumentLink"
    assert (total["api_used"], total["api_limit"]) == (org.api_calls, org.api_limit)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tables", "in_flight", "seconds"),
    [
        ([(True, 60.0), (True, 30.0), (False, 10.0)], 4, 90.0),
        ([(True, 5.0), *[(False, 3.0)] * 30], 4, 30.0),
        ([(False, 3.0)] * 4, 1, 12.0),
        ([(False, 9.0), (False, 1.0)], 4, 9.0),
        ([], 4, 0.0),
    ],
)
def test_tables_side_by_side_take_less_time(tables: list[tuple[bool, float]], in_flight: int, seconds: float) -> None:
    """Large tables go one after the other, small ones in the threads that are left, and none is faster than itself."""
    assert side_by_side(tables, in_flight) == seconds


def test_ctrl_c_ends_all_and_keeps_what_is_committed(org: SimulatedOrg, tmp_path: Path) -> None:
    """Tables that are done stay, and those on their way leave nothing."""
    org.faults.add(Fault(method="GET", path=r"/query.*FROM\+(Lead|Contact)", times=None, delay=60))
    command = [*COMMAND, "ingest", *INTO, "--progress", "log", "--source-table", "user_role,account,lead,contact"]
    heard = tmp_path / "heard"
    with heard.open("w") as written:
        running = subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, "SOURCE_URI": source_uri(org)}, stderr=written
        )
        until = time.monotonic() + 60
        while heard.read_text().count(" is done (") < 2:
            assert running.poll() is None, heard.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130, heard.read_text()
    assert "2 tables of 4 ended before, and what they committed stays" in heard.read_text()
    database = tmp_path / "sf.db"
    assert {name for name in table_names(database) if name.startswith("main.")} == {"main.user_role", "main.account"}
    assert content(database, "SELECT count(*) FROM main.user_role") == [(org.count("UserRole"),)]
