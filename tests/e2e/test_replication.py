"""After any change at the source the destination equals the source: deletes of every kind, and rows never seen."""

from datetime import timedelta
from pathlib import Path

import pytest

from ingestr.errors import IncompleteReadError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, assert_same, expected, ingest, loaded, query, table_names

HOUR = 3600


def live(database: Path) -> set[str]:
    """Ids of the rows that the table shows as live."""
    return set(query(database, "SELECT id FROM public.t WHERE NOT is_deleted").column("id").to_pylist())


def ids(org: SimulatedOrg, name: str = "Account") -> list[str]:
    """Ids of the live rows of the org."""
    found: list[str] = org.table(name).column("Id").to_pylist()
    return found


def test_every_run_counts_both_sides(org: SimulatedOrg, database: Path) -> None:
    """The result carries the live rows of both sides, equal, on the first run and on those that change nothing."""
    for _ in range(2):
        result = ingest(org, "account", database)
        assert result.rows_in_source == result.rows_in_destination == org.count("Account")
    assert result.usage.calls <= 4


@pytest.mark.parametrize("bin_log", [True, False])
def test_rows_that_vanish_without_a_trace_are_marked(org: SimulatedOrg, database: Path, bin_log: bool) -> None:
    """Purged rows come in no query: the log of deletions names them, and where it cannot, the Ids are compared."""
    ingest(org, "account", database)
    gone = ids(org)[:4]
    org.clock.advance(HOUR)
    org.delete("Account", gone)
    org.purge("Account", gone)
    if not bin_log:
        org.delete_log_since = org.clock.now()
    org.clock.advance(60)
    result = ingest(org, "account", database)
    assert result.rows_deleted == 4
    assert result.rows_in_source == result.rows_in_destination
    assert live(database) == set(ids(org))
    assert set(gone) <= set(loaded(database).column("id").to_pylist())
    swept = [r for r in org.requests if "SELECT Id FROM" in r.query.replace("+", " ").replace("%20", " ")]
    assert bool(swept) == (not bin_log)
    assert table_names(database) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]


def test_what_is_asked_for_together_is_asked_for_alone_where_the_org_will_not(
    org: SimulatedOrg, database: Path
) -> None:
    """A run that finds nothing new costs two calls; where the org serves none together it costs more, and is right."""
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    together = ingest(org, "account", database)
    assert (together.rows_read, together.usage.calls) == (0, 2)
    body = '[{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}]'
    org.faults.add(Fault(path="/composite$", times=None, status=403, headers=JSON_HEADERS, body=body))
    gone = ids(org)[:2]
    org.delete("Account", gone)
    org.purge("Account", gone)
    org.clock.advance(HOUR)
    alone = ingest(org, "account", database)
    assert (alone.rows_deleted, alone.rows_in_source) == (2, org.count("Account"))
    # Among them the one that was refused.
    assert alone.usage.calls == 5


@pytest.mark.parametrize("answer", ['{"compositeResponse": []}', '{"compositeResponse": [{"referenceId": "r0"}]}'])
def test_an_answer_that_lacks_what_was_asked_for_together(org: SimulatedOrg, database: Path, answer: str) -> None:
    """Nothing is taken for empty, or for counted, that was not: it is asked for alone."""
    ingest(org, "account", database)
    org.clock.advance(HOUR)
    org.update("Account", ids(org)[:3], {"Phone": "1"})
    org.clock.advance(60)
    org.faults.add(Fault(path="/composite$", status=200, headers=JSON_HEADERS, body=answer))
    result = ingest(org, "account", database)
    assert (result.rows_updated, result.rows_in_source) == (3, org.count("Account"))
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_hard_removes_deleted_rows(org: SimulatedOrg, database: Path) -> None:
    """--deletes hard leaves live rows only, whichever way they went."""
    ingest(org, "account", database, deletes="hard")
    assert set(loaded(database).column("id").to_pylist()) == set(ids(org))
    org.clock.advance(HOUR)
    org.delete("Account", ids(org)[:3])
    vanished = ids(org)[:2]
    org.delete("Account", vanished)
    org.purge("Account", vanished)
    org.clock.advance(60)
    result = ingest(org, "account", database, deletes="hard")
    assert set(loaded(database).column("id").to_pylist()) == set(ids(org))
    assert result.rows_in_source == result.rows_in_destination == org.count("Account")


def test_ignore_leaves_deleted_rows_as_they_were(org: SimulatedOrg, database: Path) -> None:
    """--deletes ignore reads live rows only and takes none away."""
    ingest(org, "account", database, deletes="ignore")
    before = set(loaded(database).column("id").to_pylist())
    assert before == set(ids(org))
    org.clock.advance(HOUR)
    org.delete("Account", ids(org)[:3])
    org.purge("Account", ids(org)[:2])
    org.clock.advance(60)
    ingest(org, "account", database, deletes="ignore")
    assert live(database) == before


def test_an_object_without_a_recycle_bin(org: SimulatedOrg, database: Path) -> None:
    """Rows of an object that has no deletion mark are removed when they are gone."""
    ingest(org, "user_role", database, incremental_key="last_timestamp")
    gone = ids(org, "UserRole")[-1:]
    org.clock.advance(HOUR)
    org.delete("UserRole", gone)
    org.clock.advance(60)
    result = ingest(org, "user_role", database, incremental_key="last_timestamp")
    assert result.rows_deleted == 1
    assert_same(loaded(database), expected(org, "UserRole", deleted=False))


def test_rows_that_were_never_seen_are_read(org: SimulatedOrg, database: Path) -> None:
    """A row committed far later than its timestamp says is found by the count, and read by its Id."""
    ingest(org, "account", database)
    long_ago = org.clock.now() - timedelta(days=3)
    org.insert("Account", [{"Name": "late", "CreatedDate": long_ago}], system_modstamp=long_ago)
    org.clock.advance(HOUR)
    result = ingest(org, "account", database)
    assert result.rows_in_source == result.rows_in_destination
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_rows_lost_at_the_destination_come_back(org: SimulatedOrg, database: Path) -> None:
    """Somebody deleted rows from the table: the next run notices and reads them again."""
    import duckdb

    ingest(org, "account", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM public.t WHERE NOT is_deleted AND rowid % 7 = 0")
    org.clock.advance(HOUR)
    ingest(org, "account", database)
    assert live(database) == set(ids(org))


def test_a_merge_of_records_keeps_its_trace(org: SimulatedOrg, database: Path) -> None:
    """Losers of a merge are deleted rows that name the winner."""
    ingest(org, "account", database)
    winner, loser = ids(org)[:2]
    org.clock.advance(HOUR)
    org.merge("Account", winner, [loser])
    org.clock.advance(60)
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    row = query(database, f"SELECT is_deleted, master_record_id FROM public.t WHERE id = '{loser}'").to_pylist()[0]
    assert row == {"is_deleted": True, "master_record_id": winner}


def test_archived_activities_stay_live(org: SimulatedOrg, database: Path) -> None:
    """Archived tasks are seen by queryAll alone; they are not deleted, and both sides count them."""
    result = ingest(org, "task", database)
    truth = expected(org, "Task", deleted=True)
    assert_same(loaded(database), truth)
    archived = truth.column("is_archived").to_pylist().count(True)
    assert archived > 0
    assert result.rows_in_source == truth.column("is_deleted").to_pylist().count(False)


def test_without_its_mark_no_deleted_row_is_read(org: SimulatedOrg, database: Path) -> None:
    """A user who excludes is_deleted gets live rows only: deleted ones would look alive."""
    ingest(org, "account", database, sql_exclude_columns=["is_deleted"])
    assert set(loaded(database).column("id").to_pylist()) == set(ids(org))


def test_a_difference_that_does_not_heal_is_an_error(org: SimulatedOrg, database: Path) -> None:
    """When Salesforce's own answers contradict each other, the run fails and the table stays as it was."""
    ingest(org, "account", database)
    before = loaded(database)
    org.clock.advance(HOUR)
    org.insert("Account", [{"Name": "seen"}])
    late = org.clock.now() - timedelta(days=3)
    org.insert("Account", [{"Name": "unseen", "CreatedDate": late}], system_modstamp=late)
    org.clock.advance(60)
    empty = '{"totalSize":0,"done":true,"records":[]}'
    json = {"Content-Type": "application/json"}
    org.faults.add(Fault(path=r"Id\+IN|Id%20IN", times=None, status=200, headers=json, body=empty))
    with pytest.raises(IncompleteReadError, match="even after comparing"):
        ingest(org, "account", database)
    assert loaded(database).equals(before)
