"""Guards around a load: what lies in its way is named, and what it was not asked to change stays."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import ingestr
from ingestr.errors import ConfigurationError, DestinationError, IncompleteReadError
from ingestr.simulator import Fault, SimulatedOrg
from support import claim_huge, ingest, loaded, query, source_uri


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.json", "x.db"])
def test_a_file_of_another_kind_is_left_alone(shared_org: SimulatedOrg, tmp_path: Path, name: str) -> None:
    """DuckDB would open it through a reader of its kind, and throw the rows away."""
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(DestinationError, match="not a DuckDB database"):
        ingest(shared_org, "user_role", tmp_path / name)
    assert (tmp_path / name).read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("file", ["md:x", "sqlite:x.db", "postgres:dbname=x"])
def test_other_engines_behind_duckdb_are_refused(shared_org: SimulatedOrg, tmp_path: Path, file: str) -> None:
    """A prefix would make DuckDB fetch an extension and write elsewhere."""
    with pytest.raises(DestinationError, match="not a DuckDB file"):
        ingest(shared_org, "user_role", tmp_path / "x", dest_uri=f"duckdb:///{file}")


def test_a_table_is_the_same_in_any_case(org: SimulatedOrg, database: Path) -> None:
    """public.T is public.t to the engine: its state and what it holds are the same too."""
    ingest(org, "account", database, dest_table="public.Accounts")
    org.clock.advance(3600)
    assert ingest(org, "account", database, dest_table="PUBLIC.accounts").window is not None
    with pytest.raises(ConfigurationError, match="holds Account"):
        ingest(org, "opportunity", database, dest_table="public.ACCOUNTS")


def test_a_failed_first_run_leaves_no_file(org: SimulatedOrg, database: Path) -> None:
    """A database that was made for a run which came to nothing is not left lying about."""
    with pytest.raises(ConfigurationError):
        ingest(org, "no_such_table", database)
    assert list(database.parent.iterdir()) == []


def test_the_callers_settings_stay(org: SimulatedOrg, database: Path) -> None:
    """Who has the same file open in this process finds its settings as they were."""
    names = ("threads", "preserve_insertion_order")
    with duckdb.connect(str(database)) as mine:

        def settings() -> list[object]:
            return [mine.execute(f"SELECT current_setting('{name}')").fetchone() for name in names]

        def memory() -> float:
            # DuckDB writes it with one decimal.
            [(text,)] = mine.execute("SELECT current_setting('memory_limit')").fetchall()
            return float(text.split()[0])

        before, room = settings(), memory()
        ingest(org, "user_role", database)
        assert settings() == before
        assert memory() == pytest.approx(room, abs=0.11)
        assert mine.execute("SELECT count(*) FROM public.t").fetchall() == [(org.count("UserRole"),)]


def test_another_configuration_of_the_same_file_is_explained(org: SimulatedOrg, database: Path) -> None:
    """A connection of this process that was opened otherwise is in the way."""
    duckdb.connect(str(database)).close()
    with duckdb.connect(str(database), read_only=True), pytest.raises(DestinationError) as caught:
        ingest(org, "user_role", database)
    assert "close that connection" in str(caught.value.hint)


def test_a_stream_is_read_once(shared_org: SimulatedOrg) -> None:
    """A second reader, or one after the close, gets an error and not an empty table."""
    rows = ingestr.read(source_uri(shared_org), "contact")
    assert pa.table(rows).num_rows == shared_org.count("Contact")
    with pytest.raises(Exception, match="has been read or closed"):
        pa.table(rows)
    closed = ingestr.read(source_uri(shared_org), "contact")
    closed.close()
    with pytest.raises(Exception, match="has been read or closed"):
        pa.table(closed)


def test_the_readers_error_is_ours(org: SimulatedOrg) -> None:
    """Engines reduce an error to text: leaving the block gives the error itself."""
    claim_huge(org, "Lead")
    org.faults.add(Fault(method="GET", path="/results", times=None, record_count_delta=1))
    with pytest.raises(IncompleteReadError), ingestr.read(source_uri(org), "lead") as rows:
        pa.table(rows)


def test_columns_are_named_as_the_target_names_them(org: SimulatedOrg, database: Path) -> None:
    """A column that got a suffix is excluded by that name, whoever holds the plain one."""
    org.add_field("Account", "Foo_Bar__c", "string", length=10, values=["plain"])
    ingest(org, "account", database)
    org.add_field("Account", "FooBar__c", "string", length=10, values=["other"])
    org.clock.advance(60)
    ingest(org, "account", database)
    [suffixed] = [n for n in loaded(database).column_names if n.startswith("foo_bar__c_")]
    org.hide_field("Account", "Foo_Bar__c")
    org.clock.advance(60)
    org.requests.clear()
    ingest(org, "account", database, sql_exclude_columns=[suffixed])
    assert not [r for r in org.requests if "FooBar__c" in r.query]


def test_a_table_of_somebody_else_keeps_its_numbers(org: SimulatedOrg, database: Path) -> None:
    """Merging into a table that was there: an INTEGER column stays one, and amounts with cents are not rounded."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA public; CREATE TABLE public.t AS SELECT 'x' AS id, 2 AS amount, 'me' AS note")
    with pytest.raises(ConfigurationError, match=r"public\.t\.amount is INT, and \d+ values do not fit it"):
        ingest(org, "opportunity", database)
    ids = org.table("Opportunity", deleted=True).column("Id").to_pylist()
    org.update("Opportunity", ids, {"Amount": 12})
    org.clock.advance(60)
    ingest(org, "opportunity", database, sql_exclude_columns=["ExpectedRevenue"], deletes="ignore")
    assert query(database, "SELECT DISTINCT typeof(amount) AS t FROM public.t").to_pylist() == [{"t": "INTEGER"}]


def test_a_key_of_another_type_is_refused(org: SimulatedOrg, database: Path) -> None:
    """Ids are text: a table whose id is a number holds something else."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA public; CREATE TABLE public.t AS SELECT 1 AS id")
    with pytest.raises(ConfigurationError, match=r"public\.t\.id is int32"):
        ingest(org, "opportunity", database)


def test_rows_that_the_comparison_brings_are_counted(org: SimulatedOrg, database: Path) -> None:
    """Somebody removed rows from the table: the result says how many came back."""
    ingest(org, "account", database)
    with duckdb.connect(str(database)) as connection:
        [(live,)] = connection.execute("SELECT count(*) FROM public.t WHERE NOT is_deleted AND phone > '5'").fetchall()
        connection.execute("DELETE FROM public.t WHERE phone > '5'")
    assert live > 0
    org.clock.advance(3600)
    result = ingest(org, "account", database)
    assert result.rows_inserted == result.rows_read == live


@pytest.mark.parametrize("full", [False, True])
def test_hard_counts_what_it_removes(org: SimulatedOrg, database: Path, full: bool) -> None:
    """Rows that were marked are removed and counted once; later runs have nothing to remove."""
    ingest(org, "account", database)
    marked = org.count("Account", deleted=True) - org.count("Account")
    assert marked > 0
    org.clock.advance(3600)
    first = ingest(org, "account", database, deletes="hard", full_refresh=full)
    assert first.rows_deleted == (0 if full else marked)
    assert first.rows_inserted == (org.count("Account") if full else 0)
    org.clock.advance(60)
    second = ingest(org, "account", database, deletes="hard")
    assert (second.rows_deleted, second.rows_inserted) == (0, 0)
    assert loaded(database).num_rows == org.count("Account")


def test_hard_holds_for_an_interval_too(org: SimulatedOrg, database: Path) -> None:
    """A backfill leaves no row that is marked as deleted."""
    ingest(org, "account", database, deletes="hard", interval_start="2000-01-01", interval_end="2100-01-01")
    assert set(loaded(database).column("is_deleted").to_pylist()) == {False}


def test_hard_needs_the_mark(org: SimulatedOrg, database: Path) -> None:
    """Without is_deleted nothing tells which rows to remove; soft says that it does not see deletions."""
    with pytest.raises(ConfigurationError, match="--deletes hard needs IsDeleted"):
        ingest(org, "account", database, deletes="hard", sql_exclude_columns=["is_deleted"])
    result = ingest(org, "account", database, sql_exclude_columns=["is_deleted"])
    assert any("not compared" in note for note in result.notes)


def test_null_keys_are_the_users_choice(org: SimulatedOrg, database: Path) -> None:
    """A key without values is a wrong option, not a failing database."""
    org.update("Lead", org.table("Lead").column("Id").to_pylist()[:2], {"Phone": None})
    with pytest.raises(ConfigurationError, match="no value in the primary key"):
        ingest(org, "lead", database, primary_key=["phone"])
