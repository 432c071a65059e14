"""Both sides counted and compared again, without loading: what is a difference, and what is none; on each engine."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ingestr.core.clock import SystemClock
from ingestr.core.secret import Secret
from ingestr.core.strategy import Deletes
from ingestr.errors import ConfigurationError, DifferenceError, IngestrError
from ingestr.run.verify import Verified, verify
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, Database, bulk, content, execute, ingest, source_uri, table_names, uri_of

MINUTE, HOUR = 60, 3_600


def verified(org: SimulatedOrg, database: Database, *tables: str, **options: Any) -> list[Verified]:
    """What the comparison of tables shows; it leaves no table behind and changes no row."""
    before = table_names(database)
    source_table, deletes = options.get("source_table"), Deletes(options.get("deletes", "soft"))
    found = verify(Secret(source_uri(org)), Secret(uri_of(database)), tables, source_table, deletes, SystemClock())
    assert table_names(database) == before
    return found


def one(org: SimulatedOrg, database: Database, **options: Any) -> Verified:
    """What the comparison of ``public.t`` shows."""
    [found] = verified(org, database, "public.t", **options)
    return found


def ids(database: Database, condition: str = "NOT is_deleted") -> list[str]:
    """Ids of rows of the table."""
    return [row[0] for row in content(database, f"SELECT id FROM public.t WHERE {condition} ORDER BY id")]


TABLES: list[tuple[str, dict[str, Any]]] = [
    ("account", {}),
    ("account", {"deletes": "hard"}),
    ("account", {"incremental_strategy": "scd2"}),
    ("account", {"incremental_strategy": "delete+insert"}),
    ("account", {"interval_start": "2020-01-01"}),
    ("contact", {}),
    ("user_role", {"incremental_strategy": "truncate+insert"}),
    ("opportunity_history", {}),
    ("custom:My__Community_Group__c", {"mask": ["name:hash"]}),
]


@pytest.mark.parametrize(("table", "options"), TABLES, ids=str)
def test_a_table_that_was_just_loaded_is_equal(
    org: SimulatedOrg, either: Database, table: str, options: dict[str, Any]
) -> None:
    """Whatever the strategy; rows that come, change or go later are no difference, and nothing is loaded."""
    ingest(org, table, either, **options)
    found = one(org, either)
    assert found.is_equal, found
    assert found.in_source == found.in_destination
    assert found.difference is None
    name = found.source_object
    rows = org.table(name)
    org.clock.advance(HOUR)
    org.update(name, rows.column("Id").to_pylist()[:5], {"Name": "new"} if "Name" in rows.column_names else {})
    org.delete(name, rows.column("Id").to_pylist()[5:8])
    if name == "Account":
        org.insert(name, [{"Name": "late"}])
    org.clock.advance(MINUTE)
    before = content(either, "SELECT count(*) FROM public.t")
    later = one(org, either)
    assert later.is_equal, later
    assert content(either, "SELECT count(*) FROM public.t") == before
    assert later.as_of == found.as_of


def test_rows_that_changed_since_are_counted(org: SimulatedOrg, either: Database) -> None:
    """They are what the next run brings."""
    ingest(org, "account", either)
    assert one(org, either).changed_since == 0
    org.clock.advance(HOUR)
    org.insert("Account", [{"Name": "a"}, {"Name": "b"}])
    org.delete("Account", ids(either)[:1])
    org.clock.advance(MINUTE)
    found = one(org, either)
    assert (found.is_equal, found.changed_since, found.difference) == (True, 3, None)


@pytest.mark.parametrize("by_bulk", [False, True])
def test_rows_that_are_missing_and_too_many(org: SimulatedOrg, either: Database, by_bulk: bool) -> None:
    """Their Ids are named, and the table is left as it is."""
    ingest(org, "account", either)
    there = ids(either)
    org.clock.advance(HOUR)
    execute(either, f"DELETE FROM public.t WHERE id IN ('{there[0]}', '{there[1]}')")
    execute(either, f"UPDATE public.t SET is_deleted = true WHERE id = '{there[2]}'")
    execute(either, f"UPDATE public.t SET id = '001000000000XYZAAA' WHERE id = '{there[3]}'")
    if by_bulk:
        bulk(org, "Account")
    before = content(either, "SELECT * FROM public.t ORDER BY id")
    found = one(org, either)
    assert isinstance(found.error, DifferenceError)
    assert found.error.exit_code == 7
    assert found.difference is not None
    assert (found.difference.missing, found.difference.surplus, found.difference.explained) == (4, 1, 0)
    assert set(found.difference.missing_ids) == set(there[:4])
    assert found.difference.surplus_ids == ("001000000000XYZAAA",)
    assert there[0] in str(found.error)
    assert content(either, "SELECT * FROM public.t ORDER BY id") == before
    ingest(org, "account", either)
    assert one(org, either).is_equal


def test_what_vanished_since_without_a_trace_is_no_difference(org: SimulatedOrg, either: Database) -> None:
    """The log of deletions tells; what was purged before the last run, and stayed, is one."""
    ingest(org, "account", either)
    org.clock.advance(HOUR)
    org.purge("Account", ids(either)[:3])
    org.clock.advance(5 * MINUTE)
    found = one(org, either)
    assert found.is_equal, found
    assert found.difference is not None
    assert (found.difference.surplus, found.difference.explained) == (0, 3)


def test_rows_that_came_back_since_are_no_difference(org: SimulatedOrg, either: Database) -> None:
    """A row that was taken out of the bin is live there and deleted here, until the next run."""
    org.delete("Account", org.table("Account").column("Id").to_pylist()[:2])
    org.clock.advance(MINUTE)
    ingest(org, "account", either)
    gone = ids(either, "is_deleted")
    org.clock.advance(HOUR)
    org.undelete("Account", gone)
    org.clock.advance(MINUTE)
    found = one(org, either)
    assert found.is_equal, found
    assert found.difference is not None
    assert found.difference.explained == len(gone)


def test_rows_that_stay_when_deletes_are_ignored(org: SimulatedOrg, either: Database) -> None:
    """With ``ignore`` rows may be too many, but none may be missing."""
    ingest(org, "account", either, deletes="ignore")
    org.clock.advance(HOUR)
    org.delete("Account", ids(either)[:3])
    org.clock.advance(HOUR)
    ingest(org, "account", either, deletes="ignore")
    assert not one(org, either).is_equal
    found = one(org, either, deletes="ignore")
    assert found.is_equal, found
    execute(either, f"DELETE FROM public.t WHERE id = '{ids(either)[10]}'")
    error = one(org, either, deletes="ignore").error
    assert isinstance(error, DifferenceError)
    assert "1 row missing" in str(error)


def test_rows_in_quarantine_are_no_difference(org: SimulatedOrg, either: Database) -> None:
    """The table lacks them, and that is known."""
    org.add_field("Account", "Odd__c", "double", values=["1", "never", *["2"] * 9], wire="string")
    result = ingest(org, "account", either)
    found = one(org, either)
    assert found.is_equal, found
    assert found.in_quarantine == result.rows_quarantined > 0


def test_masked_ids_are_counted_and_not_compared(org: SimulatedOrg, either: Database) -> None:
    """Whose Ids are masked, of that only the numbers can be told."""
    ingest(org, "account", either, mask=["id:hash"])
    assert one(org, either).is_equal
    execute(either, f"DELETE FROM public.t WHERE id = '{ids(either)[0]}'")
    found = one(org, either)
    assert found.difference is None
    assert "live rows in Salesforce" in str(found.error)


def test_a_query_needs_its_text(org: SimulatedOrg, either: Database) -> None:
    """The ledger knows its conditions alone; what is given must be the same query."""
    text = "query:SELECT Id, Name, IsDeleted, SystemModstamp FROM Account WHERE Industry != 'Energy'"
    ingest(org, text, either, incremental_key="SystemModstamp")
    assert "--source-table" in str(getattr(one(org, either).error, "hint", ""))
    assert one(org, either, source_table=text).is_equal
    other = one(org, either, source_table=text.replace("Energy", "Retail")).error
    assert "holds query of Account" in str(other)


def test_a_query_that_cannot_be_counted(org: SimulatedOrg, either: Database) -> None:
    """Groups are no rows to compare."""
    text = "query:SELECT Industry, COUNT(Id) n FROM Account GROUP BY Industry"
    ingest(org, text, either)
    error = one(org, either, source_table=text).error
    assert isinstance(error, ConfigurationError)
    assert "cannot be counted" in str(error)


def test_tables_that_cannot_be_compared(org: SimulatedOrg, either: Database) -> None:
    """One that was named is an error; a pattern leaves it out and says why."""
    ingest(org, "account", either, incremental_strategy="append")
    ingest(org, "contact", either, dest_table="public.c", sql_limit=5)
    ingest(org, "user_role", either, dest_table="public.r")
    found = {each.table: each for each in verified(org, either, "public.*")}
    assert {table: each.is_equal for table, each in found.items()} == {
        "public.c": False,
        "public.r": True,
        "public.t": False,
    }
    assert "append keeps every version" in found["public.t"].reason
    assert "nobody knows up to when" in found["public.c"].reason
    assert [each.error for each in found.values()] == [None, None, None]
    named = one(org, either).error
    assert isinstance(named, ConfigurationError)
    assert "append keeps every version" in str(named)


def test_a_table_that_is_none_of_ours(org: SimulatedOrg, either: Database) -> None:
    """What ingestr did not load is refused, and so is what is not there."""
    ingest(org, "user_role", either)
    execute(either, "CREATE TABLE public.other (id TEXT)")
    for table, says in (("public.other", "was not loaded by ingestr"), ("public.nix", "does not exist")):
        [found] = verified(org, either, table)
        assert isinstance(found.error, ConfigurationError)
        assert says in str(found.error)
    with pytest.raises(IngestrError, match="unknown pattern"):
        verified(org, either, "nix.*")


def test_an_appended_key_is_found(org: SimulatedOrg, either: Database) -> None:
    """Rows that repeat an Id make the numbers differ though no Id does."""
    ingest(org, "account", either)
    execute(either, "INSERT INTO public.t SELECT * FROM public.t WHERE NOT is_deleted")
    assert "repeat the Id of another" in str(one(org, either).error)


def test_without_a_number_ids_are_compared(org: SimulatedOrg, either: Database) -> None:
    """Where Salesforce does not count, the Ids tell."""
    ingest(org, "account", either)
    body = json.dumps([{"errorCode": "QUERY_TIMEOUT", "message": "too long"}])
    org.faults.add(Fault(path="COUNT", times=None, status=400, headers={"Content-Type": "application/json"}, body=body))
    found = one(org, either)
    assert (found.is_equal, found.in_source) == (True, None)
    ingest(org, "account", either, mask=["id:hash"], full_refresh=True)
    [left_out] = verified(org, either, "public.t*")
    assert (left_out.is_equal, left_out.error) == (False, None)
    assert "no Ids that would tell them apart" in left_out.reason


@pytest.mark.parametrize("total", [40, 39, -1])
def test_rows_of_one_id_are_counted(org: SimulatedOrg, either: Database, total: int) -> None:
    """Big objects and metadata bear one Id in all rows: the number tells, and what is not known is not a number."""
    org.add_object("Audit_Log__b", "a99", {"Key__c": "string"})
    hidden = ("CreatedDate", "LastModifiedDate", "SystemModstamp", "IsDeleted", "Name", "OwnerId", "CreatedById")
    for field in (*hidden, "LastModifiedById"):
        org.hide_field("Audit_Log__b", field)
    rows = [{"attributes": {"type": "Audit_Log__b"}, "Id": "000000000000000AAA", "Key__c": f"{n}"} for n in range(40)]
    served = {"Key__c": {"totalSize": 40, "done": True, "records": rows}, "COUNT": {"totalSize": total, "records": []}}
    for asked, answer in served.items():
        path = rf"/query(All)?\?.*{asked}.*Audit_Log__b"
        org.faults.add(Fault(path=path, times=None, status=200, headers=JSON_HEADERS, body=json.dumps(answer)))
    ingest(org, "custom:Audit_Log__b", either)
    [found] = verified(org, either, "*")
    assert found.is_equal == (total == 40)
    assert ("39 live rows in Salesforce, 40 here" in str(found.error)) == (total == 39)
    assert ("does not count its rows" in found.reason) == (total == -1)


def command(org: SimulatedOrg, database: Database, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line."""
    surroundings = {**os.environ, "SOURCE_URI": source_uri(org), "DESTINATION_URI": uri_of(database)}
    call = [sys.executable, "-m", "ingestr", "verify", *words]
    return subprocess.run(call, env=surroundings, capture_output=True, text=True, check=False)


def test_the_command(org: SimulatedOrg, either: Database) -> None:
    """A line a table, or JSON; the exit code is 7 where a table differs, and 2 for what cannot be compared."""
    ingest(org, "account", either)
    ingest(org, "user_role", either, dest_table="public.r")
    done = command(org, either)
    assert (done.returncode, [line.split()[0] for line in done.stdout.splitlines()]) == (0, ["equal", "equal"])
    number = org.count("UserRole")
    assert f"equal    public.r: {number} live rows in Salesforce, {number} here, as of 20" in done.stdout
    [gone, *_] = ids(either)
    execute(either, f"DELETE FROM public.t WHERE id = '{gone}'")
    done = command(org, either, "public.r", "--dest-table", "public.t")
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines()[1].startswith("differs  public.t: ")
    assert f"1 row missing ({gone})" in done.stdout
    told = command(org, either, "--dest-table", "public.{table}", "--format", "json")
    events = {each["table"]: each for each in map(json.loads, told.stdout.splitlines())}
    assert (events["public.r"]["equal"], events["public.t"]["equal"]) == (True, False)
    assert events["public.t"]["difference"]["missing_ids"] == [gone]
    assert command(org, either, "public.nix").returncode == 2
    assert command(org, either, "--deletes", "nix", "public.r").returncode == 2


def test_tables_by_what_they_were_loaded_from(org: SimulatedOrg, either: Database) -> None:
    """``--source-table`` alone means the tables that a load makes of it where it is given no name."""
    for table in ("account", "user_role"):
        ingest(org, table, either, dest_table=None)
    for given, names in (("user_role", ["user_role"]), ("account,user*", ["account", "user_role"])):
        done = command(org, either, "--source-table", given)
        told = [line.split()[1].rstrip(":").rpartition(".")[2] for line in done.stdout.splitlines()]
        assert (done.returncode, told) == (0, names), done.stdout + done.stderr
    done = command(org, either, "public.nix", "--source-table", "account,user_role")
    assert (done.returncode, done.stdout) == (2, "")
    assert "says what one table holds" in done.stderr
