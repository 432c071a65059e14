"""Second runs, changes at the source, intervals, and state."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, ingest, loaded, query, table_names


def later(org: SimulatedOrg, seconds: float = 60) -> None:
    """Let time pass at the org: a window ends before the second in which it is read."""
    org.clock.advance(seconds)


def matches(org: SimulatedOrg, database: Path, name: str) -> None:
    """The loaded table is what the org holds, deleted rows included."""
    assert_same(loaded(database), expected(org, name, deleted=True))


def test_a_second_run_changes_nothing(org: SimulatedOrg, database: Path) -> None:
    """Nothing changed at the source: no row is touched, not even its load timestamp, and few calls are spent."""
    ingest(org, "account", database)
    before = query(database, "SELECT * FROM public.t ORDER BY id")
    result = ingest(org, "account", database)
    assert (result.rows_inserted, result.rows_updated) == (0, 0)
    assert query(database, "SELECT * FROM public.t ORDER BY id").equals(before)
    assert result.usage.calls <= 4


def test_changes_at_the_source_arrive(org: SimulatedOrg, database: Path) -> None:
    """Inserts, updates, deletes and undeletes come with the next run, and only they are read."""
    ingest(org, "account", database)
    org.clock.advance(7200)
    ids = org.table("Account").column("Id").to_pylist()
    org.insert("Account", [{"Name": "New, with a comma"}, {"Name": "Ünïcode"}])
    org.update("Account", ids[:3], {"Name": "Changed"})
    org.delete("Account", ids[3:5])
    later(org)
    result = ingest(org, "account", database)
    assert (result.rows_read, result.rows_inserted, result.rows_updated, result.rows_unchanged) == (7, 2, 5, 0)
    matches(org, database, "Account")
    org.clock.advance(7200)
    org.undelete("Account", ids[3:4])
    later(org)
    assert ingest(org, "account", database).rows_updated == 1
    matches(org, database, "Account")


def test_rows_that_become_visible_late_are_not_lost(org: SimulatedOrg, database: Path) -> None:
    """A row may carry a time before the last window's end: windows overlap by ten minutes."""
    ingest(org, "account", database)
    late = org.clock.now() - timedelta(minutes=9)
    org.insert("Account", [{"Name": "late"}], system_modstamp=late)
    org.clock.advance(3600)
    assert ingest(org, "account", database).rows_inserted == 1
    matches(org, database, "Account")


def test_the_overlap_is_what_somebody_asks_for(org: SimulatedOrg, database: Path) -> None:
    """Rows that become visible two hours late are read where windows overlap by three."""
    ingest(org, "account", database)
    org.insert("Account", [{"Name": "very late"}], system_modstamp=org.clock.now() - timedelta(hours=2))
    org.clock.advance(3600)
    window = ingest(org, "account", database, lag="3h").window
    assert window is not None
    assert window.start is not None
    assert window.end is not None
    assert window.end - window.start > timedelta(hours=3)
    matches(org, database, "Account")
    org.clock.advance(3600)
    narrow = ingest(org, "account", database, lag="0s").window
    assert narrow is not None
    assert narrow.start == window.end


def test_the_window_ends_at_the_servers_clock(org: SimulatedOrg, database: Path) -> None:
    """A server whose clock differs from ours loses no row."""
    org.clock.advance(-86_400)
    ingest(org, "account", database)
    org.insert("Account", [{"Name": "by the server's clock"}])
    org.clock.advance(60)
    ingest(org, "account", database)
    matches(org, database, "Account")


def test_an_interval_is_inclusive_and_moves_no_state(org: SimulatedOrg, database: Path) -> None:
    """A backfill reads both of its ends, and the next run goes on where the last one ended."""
    ingest(org, "account", database)
    state = query(database, "SELECT * FROM _ingestr.state")
    stamps = sorted(set(org.table("Account", deleted=True).column("SystemModstamp").to_pylist()))
    first, last = stamps[2], stamps[-3]
    inside = [s for s in org.table("Account", deleted=True).column("SystemModstamp").to_pylist() if first <= s <= last]
    result = ingest(org, "account", database, interval_start=first.isoformat(), interval_end=last.isoformat())
    assert result.rows_read == len(inside)
    assert query(database, "SELECT * FROM _ingestr.state").equals(state)
    matches(org, database, "Account")


def test_a_first_run_over_an_interval_does_not_hide_the_rest(org: SimulatedOrg, database: Path) -> None:
    """After a load of an interval alone, a plain run still reads everything."""
    ingest(org, "account", database, interval_end="1999-01-01")
    ingest(org, "account", database)
    matches(org, database, "Account")


def test_full_refresh_starts_again(org: SimulatedOrg, database: Path) -> None:
    """--full-refresh replaces the table: rows gone from the source go, and the state starts anew."""
    ingest(org, "account", database)
    org.purge("Account", org.table("Account").column("Id").to_pylist()[:2])
    result = ingest(org, "account", database, full_refresh=True)
    assert result.strategy == "replace"
    matches(org, database, "Account")
    assert ingest(org, "account", database).rows_inserted == 0


def test_a_key_makes_a_replace_table_a_merge(org: SimulatedOrg, database: Path) -> None:
    """--incremental-key on a replace table merges on that key; last_timestamp means SystemModstamp."""
    ingest(org, "contact", database, incremental_key="last_timestamp")
    org.clock.advance(7200)
    org.update("Contact", org.table("Contact").column("Id").to_pylist()[:4], {"Title": "Chief"})
    later(org)
    result = ingest(org, "contact", database, incremental_key="system_modstamp")
    assert (result.strategy, result.rows_read, result.rows_updated) == ("merge", 4, 4)
    matches(org, database, "Contact")


def test_a_date_key_reads_whole_days(org: SimulatedOrg, database: Path) -> None:
    """A key of type date is windowed by days, both included."""
    ingest(
        org,
        "opportunity",
        database,
        incremental_key="CloseDate",
        interval_start="2000-01-01",
        interval_end="2100-01-01",
    )
    dates = org.table("Opportunity", deleted=True).column("CloseDate").to_pylist()
    inside = [
        d
        for d in dates
        if d and datetime(2000, 1, 1, tzinfo=UTC).date() <= d <= datetime(2100, 1, 1, tzinfo=UTC).date()
    ]
    assert loaded(database).num_rows == len(inside) > 0


def test_fractions_in_an_integer_field_widen_the_column(org: SimulatedOrg, database: Path) -> None:
    """Describe says int, the org holds a fraction: the column becomes double, now and in later runs, and it is said."""
    ingest(org, "account", database)
    org.clock.advance(7200)
    ids = org.table("Account").column("Id").to_pylist()
    org.add_field("Account", "Whole__c", "int", wire="double")
    org.update("Account", ids[:1], {"Whole__c": 7})
    later(org)
    ingest(org, "account", database)
    org.clock.advance(7200)
    org.update("Account", ids[1:2], {"Whole__c": 2.5})
    later(org)
    result = ingest(org, "account", database)
    assert any("Whole__c" in note for note in result.notes)
    org.clock.advance(7200)
    org.update("Account", ids[2:3], {"Whole__c": 9})
    later(org)
    assert not any("Whole__c" in note for note in ingest(org, "account", database).notes)
    values = query(database, "SELECT whole__c AS v FROM public.t WHERE whole__c IS NOT NULL ORDER BY v").column("v")
    assert values.to_pylist() == [2.5, 7.0, 9.0]


def test_a_table_of_another_object_is_not_merged_into(org: SimulatedOrg, database: Path) -> None:
    """Merging contacts into accounts, or another org's accounts, would mix what never belonged together."""
    ingest(org, "account", database)
    with pytest.raises(ConfigurationError, match="holds Account, not Task"):
        ingest(org, "task", database)


def test_a_table_of_another_org_is_not_merged_into(org: SimulatedOrg, database: Path) -> None:
    """The org's id, where the login tells it, guards the table."""
    ingest(org, "account", database)
    before = loaded(database)
    with SimulatedOrg(rows=10, seed=99) as other, pytest.raises(ConfigurationError, match="was loaded from the org"):
        ingest(other, "account", database)
    assert loaded(database).equals(before)


@pytest.mark.parametrize("table", ["account_change_event", "AccountChangeEvent"])
def test_an_object_that_no_api_queries_is_said_to_be_one(shared_org: SimulatedOrg, database: Path, table: str) -> None:
    """It exists, so calling it unknown would mislead."""
    with pytest.raises(ConfigurationError, match="lets no API query it"):
        ingest(shared_org, table, database)


def test_names_do_not_change_when_the_naming_does(org: SimulatedOrg, database: Path) -> None:
    """A merge with another naming would add every column a second time."""
    ingest(org, "account", database)
    with pytest.raises(ConfigurationError, match="column names"):
        ingest(org, "account", database, schema_naming="direct")


def test_names_are_as_the_target_has_them(org: SimulatedOrg, database: Path) -> None:
    """Without a naming the one of the table holds: that of its first load, or that of the columns of somebody else."""
    ingest(org, "account", database, schema_naming="direct")
    later(org)
    ingest(org, "account", database)
    assert_same(loaded(database, key="Id"), expected(org, "Account", deleted=True, naming="direct"))
    query_and_write(database, "CREATE TABLE public.u(Id VARCHAR, AccountNumber VARCHAR)")
    ingest(org, "account", database, dest_table="public.u")
    assert {"AccountNumber", "BillingCity"} <= set(loaded(database, "public.u", key="Id").column_names)
    query_and_write(database, "CREATE TABLE public.v(id VARCHAR, account_number VARCHAR)")
    ingest(org, "account", database, dest_table="public.v")
    assert "billing_city" in loaded(database, "public.v").column_names


@pytest.mark.parametrize("table", ["account", "contact"])
def test_staging_tables_lie_where_the_user_says(org: SimulatedOrg, database: Path, table: str) -> None:
    """--staging-dataset keeps the target's schema free of them, whatever the strategy, and leaves nothing there."""
    for _ in range(2):
        ingest(org, table, database, staging_dataset="waiting")
        later(org, 3600)
        org.purge(table.capitalize(), org.table(table.capitalize()).column("Id").to_pylist()[:1])
    ingest(org, table, database, staging_dataset="waiting")
    live = query(database, "SELECT count(*) AS n FROM public.t WHERE NOT is_deleted").to_pylist()
    assert live == [{"n": org.count(table.capitalize())}]
    assert [name for name in table_names(database) if name.startswith("waiting")] == []


def query_and_write(database: Path, sql: str) -> None:
    """Run a statement as the table's owner would."""
    with duckdb.connect(str(database)) as connection:
        connection.execute(sql)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"incremental_key": "name"}, ConfigurationError, "of type string"),
        ({"incremental_key": "system_modstmp"}, UnknownNameError, "SystemModstamp"),
        ({"primary_key": ["idd"]}, UnknownNameError, "id"),
        ({"sql_exclude_columns": ["phnoe"]}, UnknownNameError, "phone"),
        ({"sql_exclude_columns": ["id"]}, ConfigurationError, "key of this load"),
        ({"sql_exclude_columns": ["system_modstamp"]}, ConfigurationError, "key of this load"),
        ({"dest_table": "a.b.c"}, ConfigurationError, "names the catalog 'a', and the database is 'sf'"),
        ({"dest_table": "a.b.c.d"}, ConfigurationError, "not a table name"),
        ({"dest_table": "_ingestr.state"}, ConfigurationError, "ingestr's own"),
    ],
)
def test_wrong_names_are_named(
    shared_org: SimulatedOrg, database: Path, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """An unknown column or an unusable key is refused with the nearest names, and nothing is written."""
    with pytest.raises(error) as caught:
        ingest(shared_org, "account", database, **options)
    assert words in f"{caught.value} {getattr(caught.value, 'hint', '')}"


@pytest.mark.parametrize(
    ("table", "near"),
    [
        ("acount", "account"),
        ("custom:My__Comunity_Group__c", "custom:My__Community_Group__c"),
        ("custom:", "API name"),
        ("custom:a/../b", "API name"),
    ],
)
def test_an_unknown_table_gets_the_nearest_names(
    shared_org: SimulatedOrg, database: Path, table: str, near: str
) -> None:
    """A misspelt table is told the names that exist."""
    with pytest.raises(ConfigurationError) as caught:
        ingest(shared_org, table, database)
    assert near in f"{caught.value} {caught.value.hint}"
