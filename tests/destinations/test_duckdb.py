"""The DuckDB destination: URIs, locks, files that are something else, and tables in its way."""

import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import ingestr
from destinations.conformance import DestinationConformance
from ingestr.core.schema import Column, TableSchema
from ingestr.core.secret import Secret
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import TableRef
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.registry import open_destination
from ingestr.simulator import SimulatedOrg
from ingestr.strategies.base import create_schema
from support import Database, ingest, query, source_uri, table_names


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("duckdb://", "no file"),
        ("duckdb:///", "no file"),
        ("duckdb:///sf.db?token=S3CRET", "takes no parameters"),
        ("snowflake://user:S3CRET@host/db", "no destination is known"),
        ("sf.db", "no scheme"),
        ("duckdb:///:memory:", "gone when the command ends"),
    ],
)
def test_bad_uris_are_refused(uri: str, words: str) -> None:
    """What is no DuckDB URI is said, without repeating it."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_destination(Secret(uri), in_process=False)
    assert "S3CRET" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("uri", ["duckdb:///here.db", "duckdb://here.db", "duckdb:///./here.db"])
def test_a_relative_file_lies_in_the_working_directory(
    shared_org: SimulatedOrg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    """Three slashes and a name is a file here, as the path starts after the third slash; two slashes mean the same."""
    monkeypatch.chdir(tmp_path)
    ingest(shared_org, "user_role", tmp_path / "x", dest_uri=uri)
    assert (tmp_path / "here.db").is_file()


def test_a_database_in_memory_stays_with_the_caller(shared_org: SimulatedOrg) -> None:
    """From Python, :memory: is the database behind duckdb.sql."""
    ingestr.ingest(source_uri(shared_org), "user_role", "duckdb:///:memory:", "kept.roles", progress="log")
    rows = duckdb.execute("SELECT count(*) FROM kept.roles").fetchall()
    assert rows == [(shared_org.count("UserRole"),)]
    duckdb.sql("DROP SCHEMA kept CASCADE")


def test_the_folder_is_made_when_there_is_something_to_write(org: SimulatedOrg, tmp_path: Path) -> None:
    """A run that fails before it writes leaves neither the file nor its folder."""
    file = tmp_path / "new" / "folder" / "sf.db"
    with pytest.raises(ConfigurationError):
        ingest(org, "no_such_table", file)
    assert not file.parent.parent.exists()
    ingest(org, "user_role", file)
    assert file.is_file()
    (tmp_path / "letter").write_text("Dear reader")
    with pytest.raises(DestinationError, match="is not a folder"):
        ingest(org, "user_role", tmp_path / "letter" / "sf.db")


def test_a_run_never_removes_the_file(database: Path) -> None:
    """Two first runs see no file; the one that comes second to open it leaves the other's rows."""
    holder = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE winner AS SELECT 1'); "
        "print('held', flush=True); sys.stdin.read()"
    )
    loser = open_destination(Secret(f"duckdb:///{database}"), in_process=False)
    loser.connect()
    assert not database.exists()
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as winner:
        assert winner.stdout is not None
        assert winner.stdout.readline() == "held\n"
        with pytest.raises(DestinationError, match=f"PID {winner.pid}"):
            loser.execute([create_schema("public")])
        loser.close()
        winner.communicate("")
    assert table_names(database) == ["main.winner"]


def test_a_forked_process_is_told_to_be_spawned(database: Path) -> None:
    """What a child inherits of an open DuckDB has lost its threads: the child gets an error."""
    script = """
import os, sys
from ingestr.core.secret import Secret
from ingestr.errors import DestinationError
from ingestr.registry import open_destination

def connect():
    destination = open_destination(Secret("duckdb:///" + sys.argv[1]), in_process=True)
    destination.connect()
    return destination

parent = connect()
child = os.fork()
if child == 0:
    try:
        connect()
    except DestinationError as error:
        os._exit(0 if "spawn" in error.hint else 2)
    os._exit(1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
parent.close()
connect().close()
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(database)], check=False, timeout=60)
    assert done.returncode == 0


def test_a_file_that_is_something_else_is_left_alone(shared_org: SimulatedOrg, tmp_path: Path) -> None:
    """A file that is not DuckDB is refused and not touched."""
    file = tmp_path / "letter.txt"
    file.write_text("Dear reader, " * 1000)
    with pytest.raises(DestinationError, match="not a DuckDB database"):
        ingest(shared_org, "account", file)
    assert file.read_text().startswith("Dear reader")
    with pytest.raises(DestinationError, match="is a folder"):
        ingest(shared_org, "account", tmp_path)


def test_a_locked_file_says_who_holds_it(shared_org: SimulatedOrg, database: Path) -> None:
    """DuckDB lets one process write at a time: the error says so, with the other's number."""
    holder = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DestinationError, match=f"PID {other.pid}") as caught:
            ingest(shared_org, "account", database)
        other.communicate("")
    assert "one process" in str(caught.value.hint)


def test_a_view_in_the_way_is_not_dropped(shared_org: SimulatedOrg, database: Path) -> None:
    """The target's name may be a view somebody needs."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA public")
        connection.execute("CREATE VIEW public.t AS SELECT 1 AS id")
    with pytest.raises(DestinationError, match="is a view"):
        ingest(shared_org, "account", database)


def test_views_over_the_target_survive_a_replace(shared_org: SimulatedOrg, database: Path) -> None:
    """A view that reads the table reads the new one after a replace."""
    ingest(shared_org, "user_role", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE VIEW names AS SELECT name FROM public.t")
    ingest(shared_org, "user_role", database)
    with duckdb.connect(str(database)) as connection:
        assert len(connection.execute("FROM names").fetchall()) == shared_org.count("UserRole")


def test_deleted_rows_take_no_room_for_ever(tmp_path: Path) -> None:
    """Small merges leave the rows that they replace behind, but table and file do not grow with their number."""
    with SimulatedOrg(rows=20, seed=1) as org:
        org.grow("Account", 3_000)
        database = tmp_path / "sf.db"
        ingest(org, "account", database)
        shares, sizes = [], []
        for turn in range(8):
            org.clock.advance(3600)
            org.update("Account", org.table("Account").column("Id").to_pylist()[:300], {"Phone": str(turn)})
            org.clock.advance(60)
            assert ingest(org, "account", database).rows_updated == 300
            with duckdb.connect(str(database)) as connection:
                [(held,)] = connection.execute(
                    "SELECT estimated_size FROM duckdb_tables() WHERE table_name = 't'"
                ).fetchall()
                [(live,)] = connection.execute("SELECT count(*) FROM public.t").fetchall()
            shares.append((held - live) / live)
            sizes.append(database.stat().st_size)
        assert shares[0] > 0
        assert max(shares) < 0.4
        assert sizes[-1] < 1.5 * sizes[0]


def test_a_table_of_many_columns_is_committed(tmp_path: Path) -> None:
    """DuckDB holds blocks of every column until the commit: as many columns as Salesforce allows need their room."""
    names = [f"c{n}" for n in range(800)]
    schema = TableSchema(tuple(Column(name, pa.string()) for name in names))
    values = [pa.array([f"{n} {row * 7919 % 10_007} {row}" for row in range(4_000)]) for n in range(8)]
    batch = pa.record_batch([values[n % len(values)] for n in range(len(names))], schema=schema.arrow)
    with closing(open_destination(Secret(f"duckdb:///{tmp_path / 'wide.db'}"), in_process=False)) as destination:
        destination.connect()
        assert destination.load(RecordStream(schema, [batch] * 6), TableRef("main", "wide")) == 24_000
        destination.commit()
    assert query(tmp_path / "wide.db", "SELECT count(c799) AS n FROM main.wide").to_pylist() == [{"n": 24_000}]


def test_a_load_is_ended_by_whatever_ends_the_wait_for_it(database: Path) -> None:
    """An interrupt that Python turns into another error, as a lock changes hands, ends the statement all the same."""
    schema, unwanted = TableSchema((Column("a", pa.int64()),)), threading.Event()

    def rows() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        unwanted.wait()

    wait = threading.Condition.wait.__code__
    lines, first = inspect.getsourcelines(threading.Condition.wait)
    released = first + next(n for n, line in enumerate(lines) if "gotit = False" in line)

    def interrupt(frame: FrameType, event: str, arg: object) -> Any:
        caller = frame.f_back
        if frame.f_code is wait and frame.f_lineno == released and caller and caller.f_code.co_name == "result":
            raise KeyboardInterrupt
        return interrupt

    with closing(open_destination(Secret(f"duckdb:///{database}"), in_process=True)) as destination:
        destination.connect()
        destination.execute([create_schema("s")])
        destination.commit()
        stream, staging = RecordStream(schema, rows(), on_close=unwanted.set), TableRef("s", "staging")
        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with pytest.raises(RuntimeError, match="un-acquired lock"):
                destination.load(stream, staging)
        finally:
            sys.settrace(before)
        destination.rollback()
        assert destination.describe(staging) == [None]


class TestConformance(DestinationConformance):
    """What every destination must do."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        """A file."""
        return tmp_path / "sf.db"

    def sql(self, database: Database, text: str) -> list[tuple[Any, ...]]:
        """Run statements over another connection of this process."""
        with duckdb.connect(str(database)) as connection:
            return connection.execute(text).fetchall()
