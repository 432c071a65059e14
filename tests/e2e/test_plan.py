"""What a run would do: said before, by the steps of the run itself, without writing anything."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingestr
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.options import IngestOptions, make_options
from ingestr.progress import SilentProgress
from ingestr.render import plan_event, plan_text
from ingestr.run import pipeline
from ingestr.run.preview import Preview
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, FastClock, claim_huge, command, ingest, source_uri

HOUR = 3600


def plan(org: SimulatedOrg, table: str, database: Path, **options: Any) -> Preview:
    """The plan of a run into ``public.t``; nothing changes in the folder of the database, and few calls are spent."""
    given = {
        "source_uri": source_uri(org),
        "source_table": table,
        "dest_uri": f"duckdb:////{str(database).lstrip('/')}",
        "dest_table": "public.t",
        **options,
    }
    before = {file: file.read_bytes() for file in database.parent.rglob("*") if file.is_file()}
    made = pipeline.plan(
        make_options(IngestOptions, **given), clock=FastClock(), progress=SilentProgress(), in_process=True
    )
    assert {file: file.read_bytes() for file in database.parent.rglob("*") if file.is_file()} == before
    assert made.usage.calls <= 4
    assert not [request for request in org.requests if request.method == "POST" and "jobs" in request.path]
    return made


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("account", {}),
        ("contact", {}),
        ("custom:My__Community_Group__c", {}),
        ("contact", {"incremental_key": "last_timestamp"}),
        ("account", {"sql_limit": 5}),
        ("account", {"interval_start": "2000-01-01"}),
    ],
)
def test_the_run_does_what_the_plan_says(
    org: SimulatedOrg, database: Path, table: str, options: dict[str, Any]
) -> None:
    """Strategy, API, window, rows and target are those of the run that follows, the first and the second."""
    for there in (False, True):
        made = plan(org, table, database, **options)
        result = ingest(org, table, database, **options)
        assert (made.exists, made.source_object, made.dest_table) == (there, result.source_object, result.dest_table)
        assert (made.strategy, made.read.api) == (result.strategy, result.read_by)
        assert (made.window is None) == (result.window is None)
        if made.window is not None and result.window is not None:
            # The server's clock goes on between the two.
            assert (made.window.field, made.window.start) == (result.window.field, result.window.start)
        assert made.compared == (result.rows_in_source is not None)
        assert made.read.rows is not None
        assert made.read.rows >= result.rows_read or made.window is None
        assert made.read.query.startswith("SELECT Id, ")
        org.clock.advance(HOUR)
        org.requests.clear()


def test_a_large_table_is_planned_by_bulk(org: SimulatedOrg, database: Path) -> None:
    """The number of rows decides before a row is read, and the reason names it."""
    claim_huge(org, "Lead")
    made = plan(org, "lead", database)
    assert (made.read.api, made.read.rows) == ("Bulk 2.0", 5_000_000)
    assert "5,000,000" in made.read.reason
    assert "ORDER BY" not in made.read.query
    assert made.read.calls is not None
    assert 200 < made.read.calls < 300


def test_a_window_is_counted(org: SimulatedOrg, database: Path) -> None:
    """What changed since the last run is counted at the source, with one call."""
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:7], {"Phone": "1"})
    org.clock.advance(60)
    org.requests.clear()
    made = plan(org, "account", database)
    assert (made.read.rows, made.read.calls) == (7, 1)
    assert made.covered is not None
    assert made.covers is not None
    assert made.covered.end < made.covers.end
    assert made.compared


def test_bytes_and_time_are_assumed_until_they_are_measured(org: SimulatedOrg, database: Path) -> None:
    """A plan tells them by the fields, then as the largest load had them; of what nobody can count it tells nothing."""
    assumed = plan(org, "account", database).read
    first = ingest(org, "account", database)
    assert not assumed.measured
    assert assumed.bytes is not None
    assert 0.3 < assumed.bytes / first.usage.received < 3
    assert assumed.seconds is not None
    measured = plan(org, "account", database, full_refresh=True).read
    assert measured.measured
    with duckdb.connect(str(database)) as connection:
        found = connection.execute("SELECT bytes_received FROM _ingestr.loads").fetchall()
    assert 0 < found[0][0] < first.usage.received
    assert measured.bytes == round(found[0][0] * (measured.rows or 0) / first.rows_read)
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    assert plan(org, "account", database, full_refresh=True).read.bytes == measured.bytes
    assert "largest load" in plan_text(plan(org, "account", database, full_refresh=True))
    refusal = '[{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}]'
    org.faults.add(Fault(path="/limits/recordCount", status=403, headers=JSON_HEADERS, body=refusal))
    unknown = plan(org, "lead", database)
    assert (unknown.read.rows, unknown.read.bytes, unknown.read.seconds) == (None, None, None)
    assert "nobody knows how long" in plan_text(unknown)


def test_changes_of_columns_are_planned(org: SimulatedOrg, database: Path) -> None:
    """New fields, wider types, types of others and what somebody hung on the table are named."""
    org.add_field("Account", "Num__c", "int", [1])
    ingest(org, "account", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("ALTER TABLE public.t ALTER created_date TYPE TIMESTAMP; ALTER TABLE public.t ADD note TEXT")
    org.retype_field("Account", "Num__c", "string")
    org.add_field("Account", "New__c", "double", [1.5])
    made = plan(org, "account", database)
    assert (made.added, made.widened, made.checked) == (("new__c double",), ("num__c string",), ("created_date",))
    assert "the column note" in made.things
    assert not made.made_anew
    kept = plan(org, "account", database, schema_contract="discard_row")
    assert kept.absent == ("new__c",)
    assert plan(org, "contact", database, full_refresh=True, dest_table="public.u").exists is False


def test_what_a_run_would_refuse_is_refused(org: SimulatedOrg, database: Path) -> None:
    """Names, contracts and tables that are in the way end the plan as they would end the run."""
    with pytest.raises(UnknownNameError, match="acount"):
        plan(org, "acount", database)
    ingest(org, "account", database)
    org.add_field("Account", "New__c", "double", [1.5])
    with pytest.raises(ConfigurationError, match="freeze"):
        plan(org, "account", database, schema_contract="freeze")


def test_a_broken_off_read_is_seen(org: SimulatedOrg, database: Path) -> None:
    """The plan says that a run would go on with complete pages, and leaves them where they are."""
    org.page_rows = 10
    claim_huge(org, "Lead", times=None)
    org.faults.add(
        Fault(
            method="GET",
            path="/results",
            skip=2,
            times=None,
            status=403,
            body='[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests"}]',
            headers={"Content-Type": "application/json"},
        )
    )
    with pytest.raises(ingestr.IngestrError):
        ingest(org, "lead", database)
    org.faults.clear()
    claim_huge(org, "Lead", times=None)
    org.requests.clear()
    made = plan(org, "lead", database)
    assert made.resumed is not None
    assert "a read that was broken off" in plan_text(made)
    assert ingest(org, "lead", database).resumed
    org.requests.clear()
    assert plan(org, "lead", database).resumed is None


def test_text_and_json_say_the_same(org: SimulatedOrg, database: Path) -> None:
    """Both name the target, the query and the cost; JSON holds every value."""
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    org.requests.clear()
    made = plan(org, "account", database)
    text, event = plan_text(made), json.loads(json.dumps(plan_event(made)))
    assert "merge, because of the strategy of account; key id, by system_modstamp" in text
    for word in (
        "public.t, which stays",
        made.read.query,
        "SystemModstamp from ",
        "now everything",
        "nothing was written",
    ):
        assert word in text
    assert event["event"] == "plan"
    assert event["read"]["query"] == made.read.query
    assert event["window"]["field"] == "SystemModstamp"
    assert set(event) == {"event", *made.__dataclass_fields__}


def test_the_command_and_python_plan(org: SimulatedOrg, database: Path) -> None:
    """`ingestr plan`, `--dry-run` and `ingestr.plan` say the same, and no file is made."""
    arguments = ["--source-uri", source_uri(org), "--source-table", "account", "--dest-uri", "duckdb:///sf.db"]
    done = command("plan", *arguments, cwd=database.parent)
    assert done.returncode == 0, done.stderr
    assert "main.account, which is not there yet" in done.stdout
    dry = command("ingest", "--dry-run", *arguments, "--progress", "json", cwd=database.parent)
    events = [json.loads(line) for line in dry.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] in ("plan", "result", "end")] == ["plan", "end"]
    assert not database.exists()
    made = ingestr.plan(source_uri(org), "account", f"duckdb:///{database}", progress="log")
    assert made.read.query == next(event for event in events if event["event"] == "plan")["read"]["query"]
    with pytest.raises(TypeError, match="no_such"):
        ingestr.plan(source_uri(org), "account", f"duckdb:///{database}", no_such=1)
    assert not database.exists()
