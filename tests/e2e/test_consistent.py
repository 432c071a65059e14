"""`--consistent`: all tables of a session end at one moment, and what refers to nothing between them is found."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ingestr
from ingestr.errors import ConfigurationError
from ingestr.progress import Progress
from ingestr.progress_many import LogTables
from ingestr.render import session_text
from ingestr.result import Consistency, IngestResult, Outcome, SessionResult
from ingestr.run import many
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sync_file import SyncFile
from ingestr.table_list import SessionOptions, make_session_options
from support import (
    JSON_HEADERS,
    Database,
    FastClock,
    assert_same,
    command,
    content,
    expected,
    loaded,
    source_uri,
    table_names,
    uri_of,
)


class Meanwhile(LogTables):
    """Lets something happen in the org when a table's turn comes, before it is read."""

    def __init__(self, events: dict[str, Callable[[], object]]) -> None:
        super().__init__(FastClock())
        self._events = events
        self.begun: list[str] = []

    @contextmanager
    def table(self, name: str) -> Iterator[Progress]:
        """The progress of one table."""
        self.begun.append(name)
        self._events.pop(name, lambda: None)()
        with super().table(name) as progress:
            yield progress


def copy(
    org: SimulatedOrg,
    tables: str,
    database: Database,
    events: dict[str, Callable[[], object]] | None = None,
    own: dict[str, dict[str, Any]] | None = None,
    **options: Any,
) -> SessionResult:
    """A session into the schema ``raw``, one table after the other, while something may happen in the org.

    Args:
        org, tables, database, options: as for ``ingestr.ingest_tables``.
        events: what happens when a table's turn comes.
        own: options of some of the tables.
    """
    given = {"dest_table": "raw.{table}", "tables_in_flight": 1, "consistent": True, **options}
    settled = make_session_options(source_uri=source_uri(org), source_table=tables, dest_uri=uri_of(database), **given)
    settled = replace(settled, overrides=own or {})
    progress = Meanwhile(events or {})
    result = many.run_tables(settled, clock=FastClock(), progress=progress, in_process=True)
    assert not progress._events, f"the tables began as {progress.begun}"
    return result


def fits(result: SessionResult) -> Consistency:
    """How the tables fit together, where none failed."""
    assert set(outcomes(result).values()) == {"done"}, [table.error for table in result.tables]
    assert result.consistency is not None
    return result.consistency


def outcomes(result: SessionResult) -> dict[str, str]:
    """What became of each table."""
    return {table.source_table: str(table.outcome) for table in result.tables}


def each(result: SessionResult) -> dict[str, IngestResult]:
    """What was done to each table."""
    return {table.source_table: table.result for table in result.tables if table.result is not None}


def ids(database: Database, table: str, where: str = "true") -> set[str]:
    """The keys of a table."""
    return {str(row[0]) for row in content(database, f"SELECT id FROM raw.{table} WHERE {where}")}


def after(org: SimulatedOrg, seconds: float, happens: Callable[[], object]) -> Callable[[], None]:
    """What happens, so much later by the org's clock."""

    def event() -> None:
        org.clock.advance(seconds)
        happens()

    return event


@pytest.fixture
def frozen(org: SimulatedOrg) -> SimulatedOrg:
    """An org whose clock moves only when it is told to, and whose accounts are read before its contacts."""
    org.clock.freeze()
    org.grow("Account", 90)
    return org


# Those that only repeat what another shows wait for the slower set.
STRATEGIES = [
    None,
    "merge",
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("replace", "truncate+insert", "delete+insert", "scd2")),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_tables_end_where_the_session_began(frozen: SimulatedOrg, either: Database, strategy: str | None) -> None:
    """Rows that are created while tables are read are in none of them, at the first run and at later ones."""
    org = frozen
    options = dict[str, Any](incremental_strategy=strategy)
    if strategy == "delete+insert":
        options["incremental_key"] = "system_modstamp"
    for number in (1, 2):
        before = org.table("Contact"), org.table("Account")
        began = org.clock.now().replace(microsecond=0)

        def create(number: int = number) -> None:
            [account] = org.insert("Account", [{"Name": f"late {number}"}])
            org.insert("Contact", [{"LastName": f"late {number}", "AccountId": account}])

        result = copy(org, "account,contact", either, {"contact": after(org, 30, create)}, **options)
        found = fits(result)
        assert (found.until, found.orphans) == (began, ())
        assert found.references is not None
        assert found.references >= 2
        current = "_scd_is_current" if strategy == "scd2" else "true"
        assert ids(either, "contact", f"NOT is_deleted AND {current}") == set(before[0].column("Id").to_pylist())
        assert ids(either, "account", f"NOT is_deleted AND {current}") == set(before[1].column("Id").to_pylist())
        if strategy == "merge":
            counts = [(one.rows_in_source, one.rows_in_destination) for one in each(result).values()]
            assert all(source == here for source, here in counts), counts
        org.clock.advance(3600)


@pytest.mark.parametrize("strategy", ["replace", "merge"])
def test_a_row_that_changes_while_it_waits_is_there(frozen: SimulatedOrg, either: Database, strategy: str) -> None:
    """Salesforce gives no earlier version: the row comes as it is now, and is neither missed nor taken for new."""
    org = frozen
    [waits] = org.insert("Contact", [{"LastName": "waits"}])
    org.clock.advance(60)
    for phone in ("1", "2"):
        change = after(org, 30, partial(org.update, "Contact", [waits], {"Phone": phone}))
        copy(org, "account,contact", either, {"contact": change}, incremental_strategy=strategy)
        assert content(either, f"SELECT phone FROM raw.contact WHERE id = '{waits}'") == [(phone,)]
        org.clock.advance(3600)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("strategy", [None, pytest.param("replace", marks=pytest.mark.slow), "merge"])
def test_what_a_changed_row_refers_to_is_read_too(
    frozen: SimulatedOrg, either: Database, strategy: str | None, first: bool
) -> None:
    """A contact moves to an account that was created when accounts had been read: that one comes, with its parent."""
    org, options = frozen, dict[str, Any](incremental_strategy=strategy)
    moves = org.table("Contact").column("Id").to_pylist()[0]
    if not first:
        copy(org, "account,contact", either, **options)
        org.clock.advance(3600)
    made: list[str] = []

    def move() -> None:
        [parent] = org.insert("Account", [{"Name": "the parent of the new one"}])
        made.extend([parent, *org.insert("Account", [{"Name": "new", "ParentId": parent}, {"Name": "of no use"}])])
        org.update("Contact", [moves], {"AccountId": made[1]})

    result = copy(org, "account,contact", either, {"contact": after(org, 30, move)}, **options)
    assert fits(result).orphans == ()
    assert ids(either, "account") >= set(made[:2])
    assert made[2] not in ids(either, "account")
    assert [note for note in result.notes if note.startswith("account: 1 row read besides")] == [result.notes[-1]] * 2
    org.clock.advance(3600)
    later = ingestr.ingest_tables(source_uri(org), "account,contact", uri_of(either), "raw.{table}", **options)
    assert later.consistency is None
    deleted = strategy != "replace"
    assert_same(loaded(either, "raw.account"), expected(org, "Account", deleted=deleted))
    assert_same(loaded(either, "raw.contact"), expected(org, "Contact", deleted=strategy == "merge"))


@pytest.mark.parametrize("options", [{"deletes": "hard"}, {"incremental_strategy": "replace"}])
def test_a_deleted_row_is_not_read_besides(frozen: SimulatedOrg, either: Database, options: dict[str, Any]) -> None:
    """A table that keeps no deleted rows gets none of them because others refer to them: these are orphans."""
    org = frozen
    moves = org.table("Contact").column("Id").to_pylist()[0]
    made = org.insert("Account", [{"Name": "short-lived"}])
    org.delete("Account", made)
    org.clock.advance(60)
    move = after(org, 30, partial(org.update, "Contact", [moves], {"AccountId": made[0]}))
    result = copy(org, "account,contact", either, {"contact": move}, **options)
    [orphans] = fits(result).orphans
    assert (orphans.table, orphans.column, orphans.examples) == ("raw.contact", "account_id", (made[0],))
    assert made[0] not in ids(either, "account")
    assert result.notes == ()


def test_a_row_that_comes_to_light_late(frozen: SimulatedOrg, either: Database) -> None:
    """An account and its contact, stamped before the session began, show between the two reads: both are there."""
    org = frozen
    stamp = org.clock.now() - timedelta(seconds=20)
    made: list[str] = []

    def commit() -> None:
        made.extend(org.insert("Account", [{"Name": "late"}], stamp))
        made.extend(org.insert("Contact", [{"LastName": "late", "AccountId": made[0]}], stamp))

    result = copy(org, "account,contact", either, {"contact": after(org, 5, commit)})
    assert fits(result).orphans == ()
    assert made[0] in ids(either, "account")
    assert made[1] in ids(either, "contact")


def test_the_next_run_misses_nothing(frozen: SimulatedOrg, either: Database) -> None:
    """What was created, changed and deleted while a session ran is there after the next one, whichever it is."""
    org, tables = frozen, "account,opportunity,contact"
    copy(org, tables, either)
    org.clock.advance(3600)
    accounts, deals = (org.table(name).column("Id").to_pylist() for name in ("Account", "Opportunity"))

    def happen() -> None:
        org.insert("Account", [{"Name": "new"}])
        org.update("Account", accounts[:3], {"Phone": "1"})
        org.update("Opportunity", deals[:3], {"Amount": 5})
        org.delete("Opportunity", deals[3:5])
        org.delete("Account", accounts[-1:])
        org.clock.advance(5)

    fits(copy(org, tables, either, {"opportunity": after(org, 30, happen), "contact": happen}))
    org.clock.advance(20)
    for consistent in (True, False):
        result = copy(org, tables, either, consistent=consistent)
        for name in ("Account", "Opportunity"):
            assert_same(loaded(either, f"raw.{name.lower()}"), expected(org, name, deleted=True))
        merged = each(result)["account"]
        assert merged.rows_in_source == merged.rows_in_destination
        org.clock.advance(60)


@pytest.mark.parametrize("consistent", [True, False])
def test_rows_deleted_meanwhile_are_no_difference(frozen: SimulatedOrg, either: Database, *, consistent: bool) -> None:
    """Rows that go after the moment up to which a table is read were live then, and are counted on both sides."""
    org = frozen
    gone = org.table("Opportunity").column("Id").to_pylist()[:8]
    gone += org.insert("Opportunity", [{"Name": "short", "StageName": "Prospecting", "CloseDate": "2026-01-01"}])
    org.clock.advance(60)
    for some in (gone[:4], gone[4:]):
        live, delete = org.count("Opportunity"), after(org, 30, partial(org.delete, "Opportunity", some))
        found = each(copy(org, "account,opportunity", either, {"opportunity": delete}, consistent=consistent))
        assert found["opportunity"].rows_in_source == live
        assert found["opportunity"].rows_in_destination == live
        org.clock.advance(3600)
    # A table of its own moment ends at that; what went later comes with the next run.
    copy(org, "account,opportunity", either, consistent=consistent)
    assert ids(either, "opportunity", "is_deleted") >= set(gone)


def broken(org: SimulatedOrg) -> dict[str, tuple[int, int]]:
    """Takes away parents that others refer to; returns how many rows refer to how many of them, by column."""
    account = org.table("Contact").column("AccountId").to_pylist()[0]
    tasks = [who for who in org.table("Task").column("WhoId").to_pylist() if who is not None]
    lead = next(who for who in tasks if who.startswith("00Q"))
    contacts = org.table("Contact").column("AccountId").to_pylist().count(account)
    deals = org.table("Opportunity").column("AccountId").to_pylist().count(account)
    org.purge("Account", [account])
    org.purge("Lead", [lead])
    return {
        "raw.contact.account_id": (contacts, 1),
        "raw.opportunity.account_id": (deals, 1),
        "raw.task.who_id": (tasks.count(lead), 1),
    }


def test_orphans_are_counted(org: SimulatedOrg, either: Database) -> None:
    """Rows that refer to what the tables lack are told by numbers and examples, those of several parents too."""
    wanted = {column: numbers for column, numbers in broken(org).items() if numbers[0]}
    assert len(wanted) >= 2
    result = copy(org, "account,contact,lead,opportunity,task", either)
    assert result.exit_code == 0
    found = {f"{one.table}.{one.column}": one for one in fits(result).orphans}
    told = {name: (one.rows, one.keys) for name, one in found.items()}
    # Whatever else referred to them is told as well.
    assert told.items() >= wanted.items()
    assert set(told) - set(wanted) <= {"raw.account.parent_id", "raw.task.account_id", "raw.task.what_id"}
    who = found["raw.task.who_id"]
    assert who.parents == ("raw.contact", "raw.lead")
    assert len(who.examples) == 1
    assert who.examples[0].startswith("00Q")
    assert not [note for note in result.notes if "read besides" in note]


def columns_of(result: SessionResult) -> set[str]:
    """The columns in which orphans were found."""
    return {f"{one.table}.{one.column}" for one in fits(result).orphans}


def test_only_what_can_be_told_is_checked(org: SimulatedOrg, either: Database) -> None:
    """A reference is left out where a parent is not of the session, failed, or is masked, excluded or not whole."""
    broken(org)
    assert "raw.task.who_id" not in columns_of(copy(org, "contact,task", either))
    assert "raw.contact.account_id" in columns_of(copy(org, "account,contact", either, full_refresh=True))
    for options in ({"mask": ["account_id:hash"]}, {"sql_exclude_columns": ["account_id"]}):
        result = copy(org, "account,contact", either, own={"contact": options}, full_refresh=True)
        assert "raw.contact.account_id" not in columns_of(result)
    copy(org, "account,contact", either, full_refresh=True, consistent=False)
    body = json.dumps([{"errorCode": "UNKNOWN_EXCEPTION", "message": "Internal Salesforce.com Error"}])
    org.faults.add(Fault(path=r"FROM\+Account|/composite", times=None, status=400, headers=JSON_HEADERS, body=body))
    failed = copy(org, "account,contact", either)
    assert failed.exit_code == 4
    assert failed.counts == {Outcome.DONE: 1, Outcome.FAILED: 1}
    assert failed.consistency is not None
    assert failed.consistency.orphans == ()


def test_a_table_that_does_not_hold_everything_is_no_parent(org: SimulatedOrg, either: Database) -> None:
    """What was begun with an interval is completed by a session that names none, and is a parent then."""
    org.clock.advance(3600)
    ingestr.ingest_tables(
        source_uri(org), "account", uri_of(either), "raw.{table}", interval_start=org.clock.now().date()
    )
    assert len(ids(either, "account")) < org.count("Account")
    found = fits(copy(org, "account,contact", either))
    assert found.orphans == ()
    assert len(ids(either, "account", "NOT is_deleted")) == org.count("Account")


def test_rows_that_are_marked_as_deleted_are_there(org: SimulatedOrg, either: Database) -> None:
    """A live row that refers to a row which is marked as deleted is no orphan, and a deleted row never is one."""
    account = org.table("Contact").column("AccountId").to_pylist()[0]
    org.delete("Account", [account])
    deal = org.table("Opportunity").column("Id").to_pylist()[0]
    org.update("Opportunity", [deal], {"AccountId": org.insert("Account", [{"Name": "short"}])[0]})
    org.purge("Account", org.table("Opportunity").column("AccountId").to_pylist()[:1])
    org.delete("Opportunity", [deal])
    org.clock.advance(3600)
    found = {(one.table, one.column) for one in fits(copy(org, "account,contact,opportunity", either)).orphans}
    assert ("raw.contact", "account_id") not in found
    assert ("raw.opportunity", "account_id") not in found


def test_what_does_not_tell_its_creation_is_said(org: SimulatedOrg, database: Path) -> None:
    """A table that cannot be bounded is read as it is, with a note; what it holds too much makes no orphans."""
    result = copy(org, "user,user_role", database)
    fits(result)
    assert [note for note in each(result)["user_role"].notes if "nothing tells when its rows were created" in note]
    assert each(result)["user"].notes == ()


def break_off(org: SimulatedOrg, database: Database, **options: Any) -> None:
    """A session that loses Salesforce while the leads are read by Bulk, of which a few pages are kept."""
    org.page_rows = 10
    sizes = json.dumps({"sObjects": [{"name": "Lead", "count": 5_000_000}]})
    org.faults.add(Fault(path=r"limits/recordCount", times=None, status=200, headers=JSON_HEADERS, body=sizes))
    down = Fault(method="GET", path="/results", skip=3, times=None, status=503, headers=JSON_HEADERS, body="[]")
    org.faults.add(down)
    result = copy(org, "account,lead", database, extract_parallelism=1, **options)
    assert {name: outcome for name, outcome in outcomes(result).items() if outcome != "done"} == {"lead": "failed"}
    org.faults.clear()
    org.faults.add(Fault(path=r"limits/recordCount", times=None, status=200, headers=JSON_HEADERS, body=sizes))


def test_a_table_that_was_killed_is_gone_on_with(frozen: SimulatedOrg, either: Database) -> None:
    """Pages of a session that was broken off are used, and the table ends where the new session began."""
    org = frozen
    break_off(org, either)
    org.clock.advance(3 * 3600)
    leads = org.table("Lead").column("Id").to_pylist()
    org.update("Lead", leads[:2], {"Phone": "555"})
    org.delete("Lead", leads[2:4])
    org.insert("Lead", [{"LastName": "New", "Company": "New"}])
    org.clock.advance(60)
    truth = expected(org, "Lead", deleted=False)
    late = partial(org.insert, "Lead", [{"LastName": "Late", "Company": "Late"}])
    result = copy(org, "account,lead", either, {"lead": after(org, 30, late)}, extract_parallelism=1)
    fits(result)
    assert each(result)["lead"].resumed
    assert_same(loaded(either, "raw.lead"), truth)
    assert org.live_jobs == []


def test_pages_without_a_bound_are_not_used(frozen: SimulatedOrg, database: Path) -> None:
    """A read that was begun without `--consistent` may hold later rows, so that it is begun again."""
    org = frozen
    break_off(org, database, consistent=False)
    org.clock.advance(60)
    result = copy(org, "account,lead", database, extract_parallelism=1)
    fits(result)
    assert not each(result)["lead"].resumed
    assert_same(loaded(database, "raw.lead"), expected(org, "Lead", deleted=False))
    assert org.live_jobs == []


def test_what_cannot_be_read_besides_is_said(frozen: SimulatedOrg, database: Path) -> None:
    """Where the rows that others refer to cannot be had, the tables stay as they are, and the orphans are told."""
    org = frozen
    moves = org.table("Contact").column("Id").to_pylist()[0]

    def move() -> None:
        org.update("Contact", [moves], {"AccountId": org.insert("Account", [{"Name": "new"}])[0]})
        body = json.dumps([{"errorCode": "UNKNOWN_EXCEPTION", "message": "Internal Salesforce.com Error"}])
        org.faults.add(Fault(path=r"FROM\+Account.*Id\+IN", times=None, status=400, headers=JSON_HEADERS, body=body))

    result = copy(org, "account,contact", database, {"contact": after(org, 30, move)})
    [orphans] = fits(result).orphans
    assert (orphans.table, orphans.column, orphans.rows, orphans.keys) == ("raw.contact", "account_id", 1, 1)
    [note] = [note for note in result.notes if "could not be read" in note]
    assert note.startswith("account: rows that others refer to")
    org.faults.clear()
    org.clock.advance(60)
    assert fits(copy(org, "account,contact", database)).orphans == ()


def test_what_is_done_is_told_where_the_check_cannot_be_made(org: SimulatedOrg, database: Path) -> None:
    """A budget that is used up before the references are looked at takes no result away."""
    result = copy(org, "account,contact,lead,opportunity,task,event", database, api_budget="9")
    assert result.exit_code == 6
    assert result.counts[Outcome.DONE] > 0
    assert result.consistency is not None
    assert result.consistency.references is None
    assert [note for note in result.notes if "could not be checked" in note]
    assert "references between them not checked" in session_text(result)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"interval_start": "2024-01-01"}, "consistent together with an interval"),
        ({"interval_end": "2024-01-01"}, "consistent together with an interval"),
        ({"sql_limit": 5}, "consistent together with sql_limit"),
        ({"consistent": "perhaps"}, "consistent"),
    ],
)
def test_what_contradicts_it_is_refused(org: SimulatedOrg, database: Path, given: dict[str, Any], wrong: str) -> None:
    """A session in which tables would end elsewhere, or hold a part of their rows, is refused before a call."""
    with pytest.raises(ConfigurationError, match=wrong):
        ingestr.ingest_tables(
            source_uri(org), "account,contact", uri_of(database), "raw.{table}", **{"consistent": True, **given}
        )
    assert org.requests == []
    assert not database.exists()


def settled(folder: Path, text: str) -> SessionOptions:
    """What a file of tables says."""
    (folder / "ingestr.toml").write_text(
        'source = "salesforce://?access_token=00Dx"\ndestination = "duckdb:///x.db"\n' + text
    )
    return SyncFile(folder / "ingestr.toml", {}).options()


def test_a_file_of_tables_says_it(tmp_path: Path) -> None:
    """`consistent = true` is about the whole file, and a table with an interval of its own is refused with its line."""
    assert settled(tmp_path, "consistent = true\n[tables]\naccount = {}\ncontact = {}\n").consistent
    assert not settled(tmp_path, "[tables]\naccount = {}\n").consistent
    with pytest.raises(ConfigurationError, match="line 5: consistent together with an interval"):
        settled(tmp_path, "consistent = true\n[tables]\ncontact = { interval_start = 2024-01-31 }\n")
    with pytest.raises(ConfigurationError, match=r"unknown key options\.consistent"):
        settled(tmp_path, "[options]\nconsistent = true\n[tables]\naccount = {}\n")


def test_the_command(org: SimulatedOrg, tmp_path: Path) -> None:
    """The summary and JSON say up to when the tables go and what was found; one table alone is refused."""
    account = org.table("Contact").column("AccountId").to_pylist()[0]
    org.purge("Account", [account])
    words = ("ingest", "--consistent", "--dest-uri", "duckdb:///sf.db", "--dest-table", "raw.{table}")
    uri = source_uri(org)
    done = command(*words, "--source-table", "account,contact", cwd=tmp_path, SOURCE_URI=uri)
    assert done.returncode == 0, done.stderr
    assert f"missing from raw.account: {account}" in done.stdout
    assert "orphans: raw.contact.account_id: " in done.stdout
    assert "consistent: 2 tables up to 20" in done.stdout
    assert f"missing from raw.account: {account}" in done.stderr
    told = command(*words, "--source-table", "account,contact", "--progress", "json", cwd=tmp_path, SOURCE_URI=uri)
    [session] = [event for event in map(json.loads, told.stdout.splitlines()) if event["event"] == "session"]
    assert datetime.fromisoformat(session["consistency"]["until"]).tzinfo is not None
    assert account in [key for one in session["consistency"]["orphans"] for key in one["examples"]]
    one = command(*words, "--source-table", "account", cwd=tmp_path, SOURCE_URI=uri)
    assert one.returncode == 2
    assert "--consistent is about several tables, and --source-table names one: account" in one.stderr


def test_a_plan_reads_up_to_the_same_moment(org: SimulatedOrg, tmp_path: Path) -> None:
    """The plan of a session shows the queries of the run, and writes nothing."""
    words = (
        "ingest",
        "--dry-run",
        "--consistent",
        "--dest-uri",
        "duckdb:///sf.db",
        "--source-table",
        "account,contact",
    )
    planned = command(*words, "--progress", "json", cwd=tmp_path, SOURCE_URI=source_uri(org))
    assert planned.returncode == 0, planned.stderr
    plans = [event for event in map(json.loads, planned.stdout.splitlines()) if event["event"] == "plan"]
    assert len(plans) == 2
    assert len({plan["read"]["query"].rsplit("CreatedDate < ", 1)[1][:20] for plan in plans}) == 1
    assert table_names(tmp_path / "sf.db") == []
