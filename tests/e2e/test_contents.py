"""What a table really holds counts: restored copies, vanished rows, keys that repeat, and intervals."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import ConfigurationError, DestinationError, MassDeletionError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, assert_same, expected, ingest, loaded, query

HOUR = 3600


def sql(database: Path, text: str) -> list[Any]:
    """Run statements behind ingestr's back."""
    with duckdb.connect(str(database)) as connection:
        return connection.execute(text).fetchall()


def change(org: SimulatedOrg, first: int, last: int, name: str = "Account") -> None:
    """An hour passes, and some rows change."""
    org.clock.advance(HOUR)
    org.update(name, org.table(name).column("Id").to_pylist()[first:last], {"Phone": f"{first}-{last}"})
    org.clock.advance(60)


@pytest.mark.parametrize("deletes", ["soft", "hard", "ignore"])
@pytest.mark.parametrize("stamped", [True, False], ids=["stamped", "unstamped"])
def test_a_restored_copy_is_read_from_where_it_stands(
    org: SimulatedOrg, database: Path, deletes: str, stamped: bool
) -> None:
    """A table put back to an older copy gets every change since, however it is loaded, and the user is told."""
    options: dict[str, Any] = {"deletes": deletes, "no_load_timestamp": not stamped}
    ingest(org, "account", database, **options)
    sql(database, "CREATE TABLE public.copy AS FROM public.t")
    for first in (0, 5, 10):
        change(org, first, first + 5)
        ingest(org, "account", database, **options)
    sql(database, "DROP TABLE public.t; ALTER TABLE public.copy RENAME TO t")
    org.clock.advance(HOUR)
    result = ingest(org, "account", database, **options)
    assert any("where it stands" in note for note in result.notes)
    assert result.rows_read < org.count("Account")
    live = {row["Id"]: row["Phone"] for row in org.table("Account").to_pylist()}
    rows = dict(sql(database, "SELECT id, phone FROM public.t"))
    assert {key: rows[key] for key in live} == live
    assert not any("where it stands" in note for note in ingest(org, "account", database, **options).notes)


@pytest.mark.parametrize("deletes", ["soft", "hard", "ignore"])
def test_an_emptied_table_is_filled_again(org: SimulatedOrg, database: Path, deletes: str) -> None:
    """Whatever becomes of deletions: a table that somebody emptied is read as a whole, and that is said."""
    ingest(org, "account", database, deletes=deletes)
    sql(database, "DELETE FROM public.t")
    org.clock.advance(HOUR)
    result = ingest(org, "account", database, deletes=deletes)
    assert any("was emptied" in note for note in result.notes)
    truth = expected(org, "Account", deleted=deletes == "soft")
    assert loaded(database).column("id").to_pylist() == truth.column("id").to_pylist()


def test_rows_that_somebody_removed_come_back_without_a_comparison(org: SimulatedOrg, database: Path) -> None:
    """Where deletions are ignored no comparison brings rows back: the number of rows tells."""
    ingest(org, "account", database, deletes="ignore")
    sql(database, "DELETE FROM public.t WHERE id IN (SELECT id FROM public.t ORDER BY system_modstamp LIMIT 3)")
    org.clock.advance(HOUR)
    result = ingest(org, "account", database, deletes="ignore")
    assert any("has lost rows" in note for note in result.notes)
    assert loaded(database).num_rows == org.count("Account")


def test_progress_of_an_earlier_version_still_counts(org: SimulatedOrg, database: Path) -> None:
    """A state without what later versions keep is read, and completed."""
    ingest(org, "account", database)
    later = ("covered_from", "table_rows", "newest_change", "newest_load")
    sql(database, "; ".join(f"ALTER TABLE _ingestr.state DROP COLUMN {name}" for name in later))
    change(org, 0, 4)
    assert ingest(org, "account", database).rows_read == 4
    [(rows,)] = sql(database, "SELECT table_rows FROM _ingestr.state")
    assert rows == org.count("Account", deleted=True)


def test_a_table_of_ours_that_is_something_else_is_named(org: SimulatedOrg, database: Path) -> None:
    """What stands in _ingestr is checked like any input."""
    ingest(org, "account", database)
    sql(database, "ALTER TABLE _ingestr.state ALTER cursor_value TYPE VARCHAR")
    with pytest.raises(DestinationError, match=r"_ingestr\.state is not as ingestr made it: cursor_value"):
        ingest(org, "account", database)


def lose(org: SimulatedOrg, name: str, share: float, *, trace: bool) -> None:
    """Rows of an object vanish: without a trace, or into the recycle bin."""
    ids = org.table(name).column("Id").to_pylist()
    some = ids[: int(len(ids) * share)]
    if trace:
        org.delete(name, some)
    else:
        org.purge(name, some)
    org.clock.advance(HOUR)


@pytest.mark.parametrize("trace", [False, True], ids=["unseen", "deleted"])
@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("account", {"deletes": "soft"}),
        ("account", {"deletes": "hard"}),
        ("account", {"full_refresh": True}),
        ("lead", {}),
        ("lead", {"full_refresh": True}),
    ],
)
def test_rows_that_vanish_in_masses_stop_the_run(
    org: SimulatedOrg, database: Path, table: str, options: dict[str, Any], trace: bool
) -> None:
    """Two thirds of the live rows do not go without the user's word; a few go as always."""
    first = {key: value for key, value in options.items() if key != "full_refresh"}
    ingest(org, table, database, **first)
    lose(org, table.capitalize(), 0.1, trace=trace)
    ingest(org, table, database, **options)
    before = loaded(database)
    lose(org, table.capitalize(), 0.67, trace=trace)
    with pytest.raises(MassDeletionError, match=r"live ones in public\.t") as caught:
        ingest(org, table, database, **options)
    assert caught.value.exit_code == 4
    assert loaded(database).equals(before)
    ingest(org, table, database, **options, allow_mass_delete=True)
    alive = query(database, "SELECT id FROM public.t WHERE NOT is_deleted ORDER BY id").column("id").to_pylist()
    assert alive == sorted(org.table(table.capitalize()).column("Id").to_pylist())


def test_another_orgs_rows_take_no_tables_place(org: SimulatedOrg, database: Path) -> None:
    """A table that is replaced is not filled from another org by mistake, though as many rows come."""
    ingest(org, "lead", database)
    before = loaded(database)
    with SimulatedOrg(rows=60, seed=99) as other:
        with pytest.raises(MassDeletionError, match="are of the org 00D"):
            ingest(other, "lead", database)
        assert loaded(database).equals(before)
        ingest(other, "lead", database, full_refresh=True)
        assert loaded(database).num_rows == other.count("Lead")
    ingest(org, "lead", database, allow_mass_delete=True)
    assert loaded(database).equals(before)


def test_a_limit_is_no_loss(org: SimulatedOrg, database: Path) -> None:
    """Who asks for a few rows of a table that is replaced gets these."""
    ingest(org, "lead", database)
    ingest(org, "lead", database, sql_limit=5)
    assert loaded(database).num_rows == 5


def serve(org: SimulatedOrg, name: str, rows: list[dict[str, Any]]) -> None:
    """Let REST queries for an object give these rows."""
    records = [{"attributes": {"type": name}, **row} for row in rows]
    body = json.dumps({"totalSize": len(rows), "done": True, "records": records})
    path = rf"/query(All)?\?.*Key__c.*{name}"
    org.faults.add(Fault(method="GET", path=path, times=None, status=200, headers=JSON_HEADERS, body=body))


HIDDEN = ("CreatedDate", "LastModifiedDate", "IsDeleted", "Name", "OwnerId", "CreatedById", "LastModifiedById")


def add_log(org: SimulatedOrg, *hidden: str) -> None:
    """An object of 40 rows with few fields."""
    org.add_object("Audit_Log__b", "a99", {"Key__c": "string"})
    org.insert("Audit_Log__b", [{"Key__c": f"k{n}"} for n in range(40)])
    for field in (*HIDDEN, *hidden):
        org.hide_field("Audit_Log__b", field)


@pytest.fixture
def keyless(org: SimulatedOrg) -> SimulatedOrg:
    """An org with an object all of whose rows bear the empty key, as those of big objects and of metadata do."""
    add_log(org, "SystemModstamp")
    serve(org, "Audit_Log__b", [{"Id": "000000000000000AAA", "Key__c": f"k{n % 7}"} for n in range(40)])
    return org


def test_rows_that_a_key_does_not_tell_apart_are_all_loaded(keyless: SimulatedOrg, database: Path) -> None:
    """A replace needs no key: no row is dropped for one that repeats, not even one that is equal."""
    result = ingest(keyless, "custom:Audit_Log__b", database)
    assert (result.rows_read, result.rows_inserted, result.duplicates) == (40, 40, 0)
    assert any("without a key" in note for note in result.notes)
    assert query(database, "SELECT count(*) AS n FROM public.t").to_pylist() == [{"n": 40}]


@pytest.mark.parametrize("options", [{"primary_key": ["key__c"]}, {"primary_key": ["id", "key__c"]}])
def test_a_key_of_the_users_own_is_counted(keyless: SimulatedOrg, database: Path, options: dict[str, Any]) -> None:
    """A key that the user names and that repeats is an error, whatever the strategy."""
    with pytest.raises(ConfigurationError, match="33 rows of Audit_Log__b repeat the key") as caught:
        ingest(keyless, "custom:Audit_Log__b", database, **options)
    assert "--primary-key" in str(caught.value.hint)
    with pytest.raises(ConfigurationError, match="repeat the key"):
        ingest(keyless, "lead", database, primary_key=["company"], incremental_key="system_modstamp")


def test_versions_of_one_record_are_one_row(org: SimulatedOrg, database: Path) -> None:
    """A record that changes while an unordered query is read may come twice: the newest version stays."""
    add_log(org)
    version = {"Id": "a99000000000001AAA", "Key__c": "old", "SystemModstamp": "2024-01-01T00:00:01.000+0000"}
    newer = version | {"Key__c": "new", "SystemModstamp": "2024-01-01T00:00:02.000+0000"}
    serve(org, "Audit_Log__b", [newer, version, newer])
    result = ingest(org, "custom:Audit_Log__b", database)
    assert (result.rows_read, result.duplicates) == (3, 2)
    assert query(database, "SELECT key__c FROM public.t").to_pylist() == [{"key__c": "new"}]


def test_rows_that_differ_within_a_second_are_rows(org: SimulatedOrg, database: Path) -> None:
    """Two rows of one Id and one timestamp with other values are no versions of one record."""
    add_log(org)
    row = {"Id": "000000000000000AAA", "Key__c": "one", "SystemModstamp": "2024-01-01T00:00:01.000+0000"}
    serve(org, "Audit_Log__b", [row, row | {"Key__c": "two"}])
    ingest(org, "custom:Audit_Log__b", database)
    assert query(database, "SELECT count(*) AS n FROM public.t").to_pylist() == [{"n": 2}]
    with pytest.raises(ConfigurationError, match="1 row of Audit_Log__b repeat"):
        ingest(org, "custom:Audit_Log__b", database, incremental_key="system_modstamp", dest_table="public.u")


def test_a_scheduler_may_pass_an_interval_on_every_run(org: SimulatedOrg, database: Path) -> None:
    """Hourly intervals keep progress, find late rows and deletions, and leave no gap."""
    begin = org.clock.now() - timedelta(days=4000)
    moments = [begin]

    def run() -> Any:
        moments.append(org.clock.now())
        named: dict[str, Any] = {"interval_start": moments[-2].isoformat(), "interval_end": moments[-1].isoformat()}
        return ingest(org, "account", database, **named)

    run()
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    for step in range(4):
        change(org, step, step + 3)
        late = org.clock.now() - timedelta(minutes=65)
        org.insert("Account", [{"Name": "late"}], system_modstamp=late)
        ids = org.table("Account").column("Id").to_pylist()
        org.purge("Account", ids[20:21])
        org.clock.advance(60)
        result = run()
        assert result.rows_in_source == result.rows_in_destination == org.count("Account")
    live = {row["Id"]: row["Phone"] for row in org.table("Account").to_pylist()}
    assert dict(sql(database, "SELECT id, phone FROM public.t WHERE NOT is_deleted")) == live


def test_a_table_begun_by_an_interval_is_compared_within_it(org: SimulatedOrg, database: Path) -> None:
    """What lies before the first interval is nobody's loss; what vanishes within it is found."""
    org.clock.advance(HOUR)
    begin = org.clock.now()
    change(org, 0, 10)
    result = ingest(org, "account", database, interval_start=begin.isoformat())
    assert result.rows_read == result.rows_in_source == result.rows_in_destination == 10
    org.purge("Account", org.table("Account").column("Id").to_pylist()[2:4])
    org.clock.advance(HOUR)
    again = ingest(org, "account", database, interval_start=begin.isoformat(), interval_end="2100-01-01")
    assert (again.rows_deleted, again.rows_in_source, again.rows_in_destination) == (2, 8, 8)
    whole = ingest(org, "account", database)
    assert whole.rows_in_source == whole.rows_in_destination == org.count("Account")


def test_an_interval_before_what_is_covered_extends_it(org: SimulatedOrg, database: Path) -> None:
    """The rows between an earlier interval and what is covered come too."""
    stamps = sorted(set(org.table("Account", deleted=True).column("SystemModstamp").to_pylist()))
    early, middle, late = stamps[3], stamps[8], stamps[-5]
    ingest(org, "account", database, interval_start=late.isoformat())
    result = ingest(org, "account", database, interval_start=early.isoformat(), interval_end=middle.isoformat())
    rows = org.table("Account", deleted=True).to_pylist()
    inside = [row for row in rows if early <= row["SystemModstamp"] <= late]
    assert result.rows_read == len(inside)
    assert loaded(database).num_rows == len([row for row in rows if row["SystemModstamp"] >= early])
    [(start,)] = sql(database, "SELECT covered_from AT TIME ZONE 'UTC' FROM _ingestr.state")
    assert start == early.replace(tzinfo=None)


def test_what_is_unknown_overwrites_nothing(org: SimulatedOrg, database: Path) -> None:
    """A login that does not tell its org leaves the org that is known, in a merge and in a replace."""
    for table in ("account", "lead"):
        ingest(org, table, database)
        known = sql(database, "SELECT source_identity FROM _ingestr.state")
        assert known[0][0]
        org.faults.add(Fault(path="/oauth2/token", times=None, json_patch={"id": ""}))
        org.faults.add(Fault(path="userinfo|Organization", times=None, status=403, headers=JSON_HEADERS, body="[]"))
        ingest(org, table, database)
        assert sql(database, "SELECT source_identity FROM _ingestr.state") == known
        org.faults.clear()
        sql(database, "DROP TABLE public.t")
