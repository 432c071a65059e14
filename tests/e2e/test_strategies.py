"""The strategies against the simulated org: first runs, changes, late rows, deletions, intervals, drift and copies."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import ConfigurationError, MassDeletionError, QuotaError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded, query

HOUR = 3600
KEPT = ["replace", "append", "merge", "delete+insert", "truncate+insert", "scd2"]


def sql(database: Path, text: str) -> list[Any]:
    """Run statements behind ingestr's back."""
    with duckdb.connect(str(database)) as connection:
        return connection.execute(text).fetchall()


def ids(org: SimulatedOrg, name: str = "Account") -> list[str]:
    """Keys of the live rows."""
    keys: list[str] = org.table(name).column("Id").to_pylist()
    return keys


def change(org: SimulatedOrg, keys: list[str], name: str = "Account", **values: Any) -> None:
    """An hour passes, and some rows change."""
    org.clock.advance(HOUR)
    org.update(name, keys, values or {"Phone": str(org.clock.now())})
    org.clock.advance(60)


def current(database: Path) -> Any:
    """The current versions, without what scd2 adds."""
    return query(
        database,
        "SELECT * EXCLUDE (_ingestr_loaded_at, _scd_valid_from, _scd_valid_to, _scd_is_current) FROM public.t "
        "WHERE _scd_is_current ORDER BY id",
    )


def check_versions(database: Path) -> None:
    """No two versions of a key overlap, and one at most is current: the open one."""
    rows = sql(database, "SELECT id, _scd_valid_from, _scd_valid_to, _scd_is_current FROM public.t ORDER BY 1, 2")
    for key in {row[0] for row in rows}:
        versions = [row[1:] for row in rows if row[0] == key]
        assert all((ends is None) == is_current for _, ends, is_current in versions)
        assert all(ends is None or begins < ends for begins, ends, _ in versions)
        assert all(versions[i][1] is not None for i in range(len(versions) - 1))
        assert all(versions[i][1] <= versions[i + 1][0] for i in range(len(versions) - 1))


@pytest.mark.parametrize("strategy", KEPT)
@pytest.mark.parametrize("table", ["account", "lead"])
def test_a_first_run_is_what_the_org_holds(shared_org: SimulatedOrg, database: Path, table: str, strategy: str) -> None:
    """Whatever the strategy, a table that did not exist holds the live rows, each once; versions are all open."""
    given: dict[str, Any] = (
        {"incremental_key": "last_timestamp"} if (table, strategy) == ("lead", "delete+insert") else {}
    )
    result = ingest(shared_org, table, database, incremental_strategy=strategy, **given)
    assert result.strategy == strategy
    truth = expected(shared_org, table.capitalize(), deleted=False)
    if strategy == "scd2":
        assert_same(current(database), truth)
    else:
        rows = query(database, "SELECT * EXCLUDE (_ingestr_loaded_at) FROM public.t WHERE NOT is_deleted ORDER BY id")
        assert_same(rows, truth)


def test_a_merge_without_an_incremental_key_reads_everything(org: SimulatedOrg, database: Path) -> None:
    """A table without one is merged by its Id; changes, deletions and purges arrive, and both sides are compared."""
    options: dict[str, Any] = {"incremental_strategy": "merge"}
    ingest(org, "lead", database, **options)
    keys = ids(org, "Lead")
    change(org, keys[:3], "Lead")
    org.delete("Lead", keys[3:4])
    org.purge("Lead", keys[4:5])
    org.clock.advance(60)
    result = ingest(org, "lead", database, **options)
    assert (result.rows_updated, result.rows_deleted) == (4, 1)
    assert result.rows_in_source == result.rows_in_destination == org.count("Lead")


def test_a_date_key_goes_by_whole_days(org: SimulatedOrg, database: Path) -> None:
    """A moment within a day stands for the day, as the source reads whole days; no row is there twice."""
    options: dict[str, Any] = {"incremental_strategy": "delete+insert", "incremental_key": "CloseDate"}
    ingest(org, "opportunity", database, **options)
    dates = sorted(day for day in org.table("Opportunity").column("CloseDate").to_pylist() if day)
    interval: dict[str, Any] = {
        "interval_start": f"{dates[2]}T15:00:00",
        "interval_end": f"{dates[-3]}T15:00:00",
    }
    before = loaded(database)
    assert ingest(org, "opportunity", database, **options, **interval).rows_updated > 0
    assert loaded(database).equals(before)


@pytest.mark.parametrize("strategy", KEPT)
@pytest.mark.parametrize("table", ["account", "lead"])
def test_a_run_that_was_broken_off_goes_on(org: SimulatedOrg, database: Path, table: str, strategy: str) -> None:
    """What changed since the pages were read comes too, where the table has what tells it."""
    name = table.capitalize()
    options: dict[str, Any] = {"incremental_strategy": strategy, "pipelines_dir": str(database.parent / "cache")}
    if (table, strategy) == ("lead", "delete+insert"):
        options["incremental_key"] = "created_date"
    org.page_rows = 20
    claim_huge(org, name, times=None)
    over = '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'
    org.faults.add(
        Fault(method="GET", path="/results", skip=1, times=None, status=403, headers=JSON_HEADERS, body=over)
    )
    with pytest.raises(QuotaError):
        ingest(org, table, database, extract_parallelism=1, **options)
    org.faults.clear()
    key = ids(org, name)[0]
    change(org, [key], name, Phone="since")
    org.delete(name, ids(org, name)[1:2])
    org.clock.advance(60)
    result = ingest(org, table, database, extract_parallelism=1, **options)
    assert result.resumed
    phones = [phone for (phone,) in sql(database, f"SELECT phone FROM public.t WHERE id = '{key}'")]
    if (table, strategy) == ("lead", "append") or options.get("incremental_key"):
        # Nothing tells later changes of rows that are there: the run says so, or reads by another key.
        assert len(phones) == 1
    elif strategy in ("append", "scd2", "delete+insert"):
        assert len(phones) == 2
        assert "since" in phones
    else:
        assert phones == ["since"]
    if strategy == "scd2":
        check_versions(database)
        assert_same(current(database), expected(org, name, deleted=False))


@pytest.mark.parametrize("strategy", ["none", None])
def test_none_is_the_tables_own(org: SimulatedOrg, database: Path, strategy: str | None) -> None:
    """Without a strategy, and with none, each table is written in its own way."""
    assert ingest(org, "account", database, incremental_strategy=strategy).strategy == "merge"
    assert ingest(org, "lead", database, dest_table="public.u", incremental_strategy=strategy).strategy == "replace"


def test_append_keeps_a_row_for_each_version(org: SimulatedOrg, database: Path) -> None:
    """What changed is added, deletions too; the overlap of windows adds no version twice, and late rows arrive."""
    options: dict[str, Any] = {"incremental_strategy": "append"}
    first = ingest(org, "account", database, **options)
    keys = ids(org)
    change(org, keys[:3])
    assert ingest(org, "account", database, **options).rows_inserted == 3
    org.clock.advance(60)
    again = ingest(org, "account", database, **options)
    assert (again.rows_read, again.rows_inserted, again.rows_unchanged) == (3, 0, 3)
    org.insert("Account", [{"Name": "late"}], system_modstamp=org.clock.now() - timedelta(minutes=8))
    org.delete("Account", keys[:1])
    org.clock.advance(60)
    assert ingest(org, "account", database, **options).rows_inserted == 2
    versions = dict(sql(database, "SELECT id, count(*) FROM public.t GROUP BY id"))
    assert [versions[key] for key in keys[:4]] == [3, 2, 2, 1]
    assert sum(versions.values()) == first.rows_read + 3 + 2


def test_append_without_a_key_of_the_table_adds_everything(org: SimulatedOrg, database: Path) -> None:
    """A table that has no incremental key is added as a whole by each run, live rows alone."""
    for _ in range(2):
        result = ingest(org, "lead", database, incremental_strategy="append")
        assert result.rows_inserted == org.count("Lead")
    assert loaded(database).num_rows == 2 * org.count("Lead")


def test_append_reads_an_interval_again_without_adding_it_twice(org: SimulatedOrg, database: Path) -> None:
    """A reading again of what is covered brings no version that is there; it brings back one that somebody removed."""
    options: dict[str, Any] = {"incremental_strategy": "append"}
    ingest(org, "account", database, **options)
    before = loaded(database)
    stamps = sorted(org.table("Account", deleted=True).column("SystemModstamp").to_pylist())
    interval: dict[str, Any] = {"interval_start": stamps[3].isoformat(), "interval_end": stamps[-3].isoformat()}
    assert ingest(org, "account", database, **options, **interval).rows_inserted == 0
    assert loaded(database).equals(before)


def test_a_new_field_makes_no_version(org: SimulatedOrg, database: Path) -> None:
    """Rows in the overlap have a value for it now; that alone is no change of the row."""
    for strategy, table in (("append", "public.a"), ("scd2", "public.s")):
        ingest(org, "account", database, dest_table=table, incremental_strategy=strategy)
    change(org, ids(org)[:2])
    for strategy, table in (("append", "public.a"), ("scd2", "public.s")):
        ingest(org, "account", database, dest_table=table, incremental_strategy=strategy)
    org.add_field("Account", "Fresh__c", "double", values=[1.5])
    org.clock.advance(60)
    for strategy, table in (("append", "public.a"), ("scd2", "public.s")):
        result = ingest(org, "account", database, dest_table=table, incremental_strategy=strategy)
        # Versions that are there get the field's value.
        assert (result.rows_read, result.rows_inserted) == (2, 0)
        assert (result.rows_updated > 0) == (strategy == "scd2")
    assert sql(database, "SELECT DISTINCT fresh__c FROM public.a") == [(None,)]
    assert sql(database, "SELECT DISTINCT fresh__c FROM public.s WHERE _scd_is_current") == [(1.5,)]
    assert sql(database, "SELECT DISTINCT fresh__c FROM public.s WHERE NOT _scd_is_current") == [(None,)]


def test_delete_insert_replaces_an_interval(org: SimulatedOrg, database: Path) -> None:
    """Rows of the interval are as the org holds them now, also those that are gone there; others stay as they were."""
    options: dict[str, Any] = {"incremental_strategy": "delete+insert", "incremental_key": "CreatedDate"}
    begin = org.clock.now().replace(microsecond=0) - timedelta(days=20)
    for day in range(10):
        created = begin + timedelta(days=day)
        org.insert("Account", [{"Name": f"day {day}", "CreatedDate": created}], system_modstamp=created)
    ingest(org, "account", database, **options)
    days = {row["Name"]: row["Id"] for row in org.table("Account").to_pylist() if row["Name"].startswith("day ")}
    org.clock.advance(HOUR)
    org.update("Account", [days["day 3"], days["day 8"]], {"Phone": "changed"})
    org.delete("Account", [days["day 4"]])
    org.purge("Account", [days["day 4"]])
    sql(database, "INSERT INTO public.t (id, name, created_date, is_deleted) "
        f"SELECT 'mine', 'made up', TIMESTAMPTZ '{(begin + timedelta(days=5)).isoformat()}', false")  # fmt: skip
    org.clock.advance(60)
    interval: dict[str, Any] = {
        "interval_start": (begin + timedelta(days=2)).isoformat(),
        "interval_end": (begin + timedelta(days=6)).isoformat(),
    }
    state = sql(database, "SELECT cursor_value FROM _ingestr.state")
    result = ingest(org, "account", database, **options, **interval)
    assert (result.rows_read, result.rows_inserted, result.rows_updated, result.rows_deleted) == (4, 0, 4, 2)
    assert sql(database, "SELECT cursor_value FROM _ingestr.state") == state
    phones = dict(sql(database, "SELECT name, phone FROM public.t WHERE name LIKE 'day %' OR id = 'mine'"))
    assert set(phones) == set(days) - {"day 4"}
    assert phones["day 3"] == "changed"
    assert phones["day 8"] != "changed"


def test_delete_insert_without_an_interval_goes_by_what_was_read(org: SimulatedOrg, database: Path) -> None:
    """What changed since is read, and replaces what lies between its first and last key; no rows, no change."""
    options: dict[str, Any] = {"incremental_strategy": "delete+insert"}
    ingest(org, "account", database, **options)
    before = loaded(database)
    org.clock.advance(HOUR)
    assert ingest(org, "account", database, **options).rows_read == 0
    assert loaded(database).equals(before)
    change(org, ids(org)[:3])
    result = ingest(org, "account", database, **options)
    assert any("3 rows of public.t with a key of the rows read lie outside" in note for note in result.notes)
    for _ in range(2):
        # The overlap of windows brings the same rows, and none is there twice.
        ingest(org, "account", database, **options)
        assert loaded(database).num_rows == before.num_rows + 3


def test_delete_insert_on_every_run_of_a_scheduler(org: SimulatedOrg, database: Path) -> None:
    """Intervals that follow each other leave each row once, late ones too, though more is read than the interval."""
    options: dict[str, Any] = {"incremental_strategy": "delete+insert", "incremental_key": "CreatedDate"}
    moments = [org.clock.now() - timedelta(days=4000)]
    for step in range(4):
        org.insert("Account", [{"Name": f"new {step}"}])
        late = org.clock.now() - timedelta(minutes=2)
        org.insert("Account", [{"Name": f"late {step}", "CreatedDate": late}], system_modstamp=late)
        org.clock.advance(300)
        moments.append(org.clock.now())
        named: dict[str, Any] = {"interval_start": moments[-2].isoformat(), "interval_end": moments[-1].isoformat()}
        ingest(org, "account", database, **options, **named)
        assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_truncate_insert_keeps_the_table(org: SimulatedOrg, database: Path) -> None:
    """The contents are those of the org; the table itself, its comment and a column of somebody else stay."""
    ingest(org, "account", database)
    sql(database, "COMMENT ON TABLE public.t IS 'mine'; ALTER TABLE public.t ADD COLUMN note VARCHAR DEFAULT 'n'")
    [(oid,)] = sql(database, "SELECT table_oid FROM duckdb_tables() WHERE table_name = 't'")
    org.purge("Account", ids(org)[:2])
    org.clock.advance(HOUR)
    result = ingest(org, "account", database, incremental_strategy="truncate+insert")
    assert (result.strategy, result.rows_inserted) == ("truncate+insert", org.count("Account"))
    rows = query(database, "SELECT * EXCLUDE (_ingestr_loaded_at, note) FROM public.t ORDER BY id")
    assert_same(rows, expected(org, "Account", deleted=False))
    kept = "SELECT table_oid, comment FROM duckdb_tables() WHERE table_name = 't'"
    assert sql(database, kept) == [(oid, "mine")]
    assert sql(database, "SELECT DISTINCT note FROM public.t") == [("n",)]


def test_a_replace_of_an_interval_holds_the_interval(org: SimulatedOrg, database: Path) -> None:
    """The table becomes what was read: rows outside the interval are not kept, and the next merge fills the gap."""
    ingest(org, "account", database)
    middle = sorted(org.table("Account").column("SystemModstamp").to_pylist())[30]
    interval: dict[str, Any] = {"interval_start": middle.isoformat()}
    result = ingest(org, "account", database, incremental_strategy="replace", allow_mass_delete=True, **interval)
    inside = [row for row in org.table("Account").to_pylist() if row["SystemModstamp"] >= middle]
    assert result.rows_read == loaded(database).num_rows == len(inside)
    org.clock.advance(HOUR)
    merged = ingest(org, "account", database)
    assert merged.rows_in_source == merged.rows_in_destination == org.count("Account")


@pytest.mark.parametrize("table", ["account", "lead"])
def test_scd2_keeps_history(org: SimulatedOrg, database: Path, table: str) -> None:
    """Changes, deletions, returns and purges: the current versions are what the org holds, and none overlap."""
    name = table.capitalize()
    options: dict[str, Any] = {"incremental_strategy": "scd2"}
    ingest(org, table, database, **options)
    keys = ids(org, name)
    change(org, keys[:3], name)
    org.delete(name, keys[3:5])
    org.clock.advance(60)
    result = ingest(org, table, database, **options)
    assert (result.rows_inserted, result.rows_updated, result.rows_deleted) == (0, 3, 2)
    check_versions(database)
    assert_same(current(database), expected(org, name, deleted=False))
    before = query(database, "SELECT * FROM public.t ORDER BY id, _scd_valid_from")
    org.clock.advance(60)
    ingest(org, table, database, **options)
    assert query(database, "SELECT * FROM public.t ORDER BY id, _scd_valid_from").equals(before)
    org.clock.advance(HOUR)
    org.undelete(name, keys[3:4])
    org.insert(name, [{"Name": "late"} if name == "Account" else {"LastName": "late", "Company": "c"}],
               system_modstamp=org.clock.now() - timedelta(minutes=9))  # fmt: skip
    org.clock.advance(60)
    ingest(org, table, database, **options)
    check_versions(database)
    assert_same(current(database), expected(org, name, deleted=False))
    versions = sql(database, f"SELECT count(*) FROM public.t WHERE id = '{keys[3]}'")
    assert versions == [(2,)]


def test_an_incremental_read_ends_nothing_that_it_did_not_see(org: SimulatedOrg, database: Path) -> None:
    """A row that vanished without a trace stays current until everything is read; then its version ends."""
    options: dict[str, Any] = {"incremental_strategy": "scd2"}
    ingest(org, "account", database, **options)
    ingest(org, "lead", database, dest_table="public.u", **options)
    account, lead = ids(org)[0], ids(org, "Lead")[0]
    org.purge("Account", [account])
    org.purge("Lead", [lead])
    org.clock.advance(HOUR)
    ingest(org, "account", database, **options)
    ingest(org, "lead", database, dest_table="public.u", **options)
    assert sql(database, f"SELECT _scd_is_current FROM public.t WHERE id = '{account}'") == [(True,)]
    assert sql(database, f"SELECT _scd_is_current FROM public.u WHERE id = '{lead}'") == [(False,)]


def test_a_second_change_within_a_second_is_a_version(org: SimulatedOrg, database: Path) -> None:
    """Its timestamp does not tell it from the version before: it begins when the run saw it, and nothing is lost."""
    options: dict[str, Any] = {"incremental_strategy": "scd2"}
    key = ids(org)[0]
    change(org, [key], Phone="one")
    ingest(org, "account", database, **options)
    stamp = next(row["SystemModstamp"] for row in org.table("Account").to_pylist() if row["Id"] == key)
    org.update("Account", [key], {"Phone": "two"}, system_modstamp=stamp)
    org.clock.advance(60)
    ingest(org, "account", database, **options)
    check_versions(database)
    phones = sql(database, f"SELECT phone FROM public.t WHERE id = '{key}' ORDER BY _scd_valid_from")
    assert phones == [("one",), ("two",)]


@pytest.mark.parametrize("strategy", ["append", "merge", "delete+insert", "scd2"])
def test_a_restored_copy_gets_what_changed_since(org: SimulatedOrg, database: Path, strategy: str) -> None:
    """Whatever the strategy, a table that was put back is noticed, and gets the changes since."""
    options: dict[str, Any] = {"incremental_strategy": strategy}
    ingest(org, "account", database, **options)
    sql(database, "CREATE TABLE public.copy AS FROM public.t")
    change(org, ids(org)[:5])
    ingest(org, "account", database, **options)
    sql(database, "DROP TABLE public.t; ALTER TABLE public.copy RENAME TO t")
    org.clock.advance(HOUR)
    result = ingest(org, "account", database, **options)
    assert any("where it stands" in note or "has lost rows" in note for note in result.notes)
    where = "WHERE _scd_is_current" if strategy == "scd2" else "WHERE NOT is_deleted"
    newest = dict(sql(database, f"SELECT id, arg_max(phone, system_modstamp) FROM public.t {where} GROUP BY id"))
    truth = {row["Id"]: row["Phone"] for row in org.table("Account").to_pylist()}
    assert {key: newest[key] for key in ids(org)[:5]} == {key: truth[key] for key in ids(org)[:5]}


@pytest.mark.parametrize("strategy", ["truncate+insert", "scd2", "delete+insert"])
def test_rows_that_vanish_in_masses_stop_every_strategy(org: SimulatedOrg, database: Path, strategy: str) -> None:
    """No way of writing empties a table without the user's word."""
    options: dict[str, Any] = {"incremental_strategy": strategy}
    if strategy == "delete+insert":
        options |= {"incremental_key": "created_date", "interval_start": "1990-01-01", "interval_end": "2100-01-01"}
    ingest(org, "lead", database, **options)
    before = query(database, "SELECT * FROM public.t ORDER BY id")
    org.purge("Lead", ids(org, "Lead")[:45])
    org.clock.advance(HOUR)
    with pytest.raises(MassDeletionError):
        ingest(org, "lead", database, **options)
    assert query(database, "SELECT * FROM public.t ORDER BY id").equals(before)
    ingest(org, "lead", database, allow_mass_delete=True, **options)
    gone = "_scd_is_current" if strategy == "scd2" else "true"
    assert sql(database, f"SELECT count(*) FROM public.t WHERE {gone} AND NOT is_deleted") == [(org.count("Lead"),)]


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        ("lead", {"incremental_strategy": "delete+insert"}, "no incremental key of its own"),
        ("account", {"incremental_strategy": "append", "deletes": "hard"}, "keeps every version"),
        ("account", {"incremental_strategy": "scd2", "deletes": "hard"}, "keeps every version"),
        ("account", {"incremental_strategy": "append", "refresh_formulas": True}, "only adds rows"),
        ("account", {"incremental_strategy": "delete+insert", "sql_limit": 5}, "would remove rows that are not read"),
        ("account", {"incremental_strategy": "upsert"}, "--incremental-strategy does not know"),
    ],
)
def test_contradictions_are_refused(
    shared_org: SimulatedOrg, database: Path, table: str, options: dict[str, Any], words: str
) -> None:
    """A strategy that lacks what it needs, or contradicts another option, is refused with the reason."""
    with pytest.raises(ConfigurationError, match=words):
        ingest(shared_org, table, database, **options)
    assert not database.exists()


def test_versions_and_rows_do_not_mix(org: SimulatedOrg, database: Path) -> None:
    """A table of versions takes no other strategy, and a table of rows becomes none, before anything is read."""
    ingest(org, "account", database, dest_table="public.rows")
    ingest(org, "account", database, dest_table="public.versions", incremental_strategy="scd2")
    with pytest.raises(ConfigurationError, match="has not the columns _scd_valid_from"):
        ingest(org, "account", database, dest_table="public.rows", incremental_strategy="scd2")
    for strategy in ("merge", "append", "replace", "delete+insert", "truncate+insert"):
        with pytest.raises(ConfigurationError, match="holds versions of its rows"):
            ingest(org, "account", database, dest_table="public.versions", incremental_strategy=strategy)
    ingest(org, "account", database, dest_table="public.versions", full_refresh=True)
    assert "_scd_valid_from" not in loaded(database, "public.versions").column_names
    ingest(org, "account", database, dest_table="public.rows", incremental_strategy="scd2", full_refresh=True)
    assert len(sql(database, "SELECT id FROM public.rows WHERE _scd_is_current")) == org.count("Account")


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("changed", [0, 3])
def test_a_merge_into_appended_versions_is_refused(org: SimulatedOrg, database: Path, turns: int, changed: int) -> None:
    """Where one key has several rows, nobody can tell which of them is meant, be they read again or not."""
    ingest(org, "account", database, incremental_strategy="append")
    for turn in range(turns):
        change(org, ids(org)[:3], Phone=str(turn))
        ingest(org, "account", database, incremental_strategy="append")
    before = loaded(database)
    change(org, ids(org)[:changed], Phone="last")
    with pytest.raises(ConfigurationError, match=r"3 keys of public\.t \(id\) have several rows"):
        ingest(org, "account", database)
    assert loaded(database).equals(before)


@pytest.mark.parametrize(
    ("table", "strategy"),
    [("Case", "merge"), ("record_type", "merge"), ("custom:Case", "replace"), ("contact", "replace")],
)
def test_an_object_by_its_plain_name_is_merged(
    shared_org: SimulatedOrg, database: Path, table: str, strategy: str
) -> None:
    """What is documented stays as documented; all else merges where it has an Id and SystemModstamp."""
    result = ingest(shared_org, table, database)
    assert result.strategy == strategy


def test_a_merge_changes_only_rows_of_the_condition(org: SimulatedOrg, database: Path) -> None:
    """Rows outside of the condition stay as they are; where one of them would have to change, nothing is written."""
    ingest(org, "account", database)
    first, second = ids(org)[:2]
    sql(database, "ALTER TABLE public.t ADD COLUMN frozen BOOLEAN DEFAULT false")
    sql(database, f"UPDATE public.t SET frozen = true WHERE id = '{second}'")
    change(org, [first], Phone="1")
    result = ingest(org, "account", database, incremental_predicate="NOT target.frozen")
    assert result.rows_updated == 1
    assert sql(database, f"SELECT phone FROM public.t WHERE id = '{first}'") == [("1",)]
    change(org, [first, second], Phone="2")
    before = loaded(database)
    with pytest.raises(ConfigurationError, match=r"1 row of public\.t .* lie outside of --incremental-predicate"):
        ingest(org, "account", database, incremental_predicate="NOT frozen")
    assert loaded(database).equals(before)
    assert ingest(org, "account", database).rows_updated == 2


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("created_date >=", "is not a condition"),
        ("id = 'a'; DROP TABLE public.t", "is not a condition"),
        ("", "is not a condition"),
        ("1 = 1", "names no column"),
        ("id IN (SELECT id FROM other)", "columns of one row"),
        ("count(id) > 1", "columns of one row"),
        ("id = ?", "columns of one row"),
        ("other.id = 'a'", "columns of the target"),
        ("creatd_date > now()", "creatd_date"),
    ],
)
def test_a_condition_is_one_on_the_target(shared_org: SimulatedOrg, database: Path, condition: str, words: str) -> None:
    """What is no condition, or speaks of anything but the target's columns, is refused before a row is read."""
    ingest(shared_org, "account", database)
    asked = len(shared_org.requests)
    with pytest.raises(ConfigurationError, match=words):
        ingest(shared_org, "account", database, incremental_predicate=condition)
    assert not any("/query" in each.path and "SELECT" in each.query for each in shared_org.requests[asked:])


def test_a_condition_belongs_to_a_merge(shared_org: SimulatedOrg, database: Path) -> None:
    """Of another strategy it would say nothing, so that it is refused."""
    with pytest.raises(ConfigurationError, match="belongs to a merge"):
        ingest(shared_org, "lead", database, incremental_predicate="id = 'a'")
