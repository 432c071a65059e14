"""The PostgreSQL destination: what every destination must do, on a real server, and what only a server does."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from databases import PostgresDatabase, new_database
from destinations.conformance import DestinationConformance, rows_of, schema_of, stream_of
from ingestr.core.secret import Secret
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef
from ingestr.destinations.postgres_uri import connection_parameters
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.registry import open_destination
from ingestr.strategies.base import create_from
from ingestr.uri import parse_uri
from servers import Server
from support import Database

TABLE = TableRef("public", "t")
TEXTS = schema_of(id=pa.int64(), text=pa.string())


@pytest.fixture(scope="module")
def one(postgres_server: Server) -> Iterator[PostgresDatabase]:
    """A database for all of these tests."""
    with new_database(postgres_server) as database:
        yield database


@pytest.fixture
def database(one: PostgresDatabase) -> PostgresDatabase:
    """The same without what the test before has left."""
    one.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return one


class TestConformance(DestinationConformance):
    """What every destination must do."""

    @pytest.fixture
    def database(self, one: PostgresDatabase) -> PostgresDatabase:
        """The same without what the test before has left."""
        one.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return one

    def sql(self, database: Database, text: str) -> list[tuple[Any, ...]]:
        """Run statements over another connection."""
        assert isinstance(database, PostgresDatabase)
        return database.execute(text)


def opened(uri: str) -> Destination:
    """A connection."""
    destination = open_destination(Secret(uri), in_process=True)
    destination.connect()
    return destination


@pytest.fixture
def destination(database: PostgresDatabase) -> Iterator[Destination]:
    """A connection of ingestr's."""
    with closing(opened(database.uri)) as destination:
        yield destination


def parameters_of(uri: str) -> dict[str, str]:
    """What libpq is told of a URI, without what always holds."""
    parsed = parse_uri(uri, role="destination")
    found = connection_parameters(parsed.authority, parsed.path, parsed.parameters)
    asked = ("host", "port", "user", "password", "dbname", "sslmode", "options")
    return {name: value for name, value in found.items() if name in asked}


@pytest.mark.parametrize(
    ("uri", "parameters"),
    [
        ("postgresql://u:p%40%3A%2F@h:5433", {"user": "u", "password": "p@:/", "host": "h", "port": "5433"}),
        ("postgres://h/d?sslmode=require", {"host": "h", "dbname": "d", "sslmode": "require"}),
        ("postgresql://", {}),
        ("postgresql:///d?host=/var/run/postgresql", {"dbname": "d", "host": "/var/run/postgresql"}),
        ("postgresql://%2Fvar%2Frun/d", {"dbname": "d", "host": "/var/run"}),
        ("postgresql://me@[2001:db8::1]:5432/d", {"user": "me", "host": "2001:db8::1", "port": "5432", "dbname": "d"}),
        ("postgresql://a:1,b:2/d", {"host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql://a,b/d?ssl=true", {"host": "a,b", "dbname": "d", "sslmode": "require"}),
        ("postgresql:///a%20b?options=-c%20x%3D1", {"dbname": "a b", "options": "-c x=1"}),
    ],
)  # fmt: skip
def test_uris_mean_what_libpq_takes_them_for(uri: str, parameters: dict[str, str]) -> None:
    """User, password, hosts, ports, database and parameters, each of which may be missing."""
    assert parameters_of(uri) == parameters


@pytest.mark.parametrize(
    ("uri", "words", "hint"),
    [
        ("postgresql://u:S3CRET@h/d?sslmod=require", "unknown parameter 'sslmod'", "sslmode"),
        ("postgresql://u:S3CRET@h:port/d", "cannot be read", "encoded"),
        ("postgresql://u:S3CRET@h/d?password=S3CRET2", "gives password twice", "write postgresql://"),
    ],
)
def test_bad_uris_are_refused(uri: str, words: str, hint: str) -> None:
    """What is wrong is said, without repeating a secret."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        open_destination(Secret(uri), in_process=False)
    assert hint in str(caught.value.hint)
    assert "S3CRET" not in f"{caught.value} {caught.value.hint}"


def test_a_missing_driver_is_named_with_the_extra() -> None:
    """Who installed ingestr alone is told what to install; other destinations need no driver of PostgreSQL's."""
    script = """
import sys
sys.modules["psycopg"] = None
from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError
from ingestr.registry import open_destination
open_destination(Secret("duckdb:///x.db"), in_process=False)
try:
    open_destination(Secret("postgresql://h/d"), in_process=False)
except ConfigurationError as error:
    print(error, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "psycopg" in done.stdout
    assert "pip install 'ingestr[postgres]'" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "missing"}, '"missing" does not exist'),
        ({"user": "nobody_known"}, "nobody_known"),
        ({"folder": "/nowhere"}, "cannot connect"),
    ],
)
def test_a_server_out_of_reach_says_why(database: PostgresDatabase, change: dict[str, str], words: str) -> None:
    """The server's own words, and what to check."""
    uri = database.server.uri(change.get("name", database.name), change.get("user", "postgres"))
    if "folder" in change:
        uri = f"postgresql:///d?host={change['folder']}&connect_timeout=3"
    with pytest.raises(DestinationError, match=words) as caught:
        opened(uri)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("CREATE DATABASE odd ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'", "encoding LATIN1"),
        ("CREATE DATABASE odd; ALTER DATABASE odd SET default_transaction_read_only = on", "takes no changes"),
    ],
)
def test_a_database_that_cannot_take_every_row_is_refused(postgres_server: Server, make: str, words: str) -> None:
    """Before anything is asked of Salesforce."""
    with postgres_server.connect() as connection:
        for statement in make.split("; "):
            connection.execute(statement.encode())
        try:
            with pytest.raises(DestinationError, match=words):
                opened(postgres_server.uri("odd"))
        finally:
            connection.execute("DROP DATABASE odd WITH (FORCE)")


def test_a_nul_is_named_with_its_column(destination: Destination) -> None:
    """PostgreSQL holds no such text; a column's name may have spaces, commas and colons."""
    schema = schema_of(**{"id": pa.int64(), "a: b, c": pa.string()})
    rows = [{"id": 1, "a: b, c": "x"}, {"id": 2, "a: b, c": "x\0y"}]
    with pytest.raises(DestinationError, match="a text of a: b, c holds a NUL") as caught:
        destination.load(stream_of(schema, rows), TABLE)
    assert "--sql-exclude-columns" in str(caught.value.hint)


def test_a_row_that_fits_no_page_says_so(destination: Destination) -> None:
    """Hundreds of short texts are stored in the row itself; more columns than a table may have are another error."""
    schema = schema_of(**{f"c{number}": pa.string() for number in range(800)})
    with pytest.raises(DestinationError, match="row is too big") as caught:
        destination.load(stream_of(schema, [{f"c{number}": "x" * 20 for number in range(800)}]), TABLE)
    assert "8,160 bytes" in str(caught.value.hint)
    destination.rollback()
    with pytest.raises(DestinationError, match="1600 columns") as caught:
        destination.load(stream_of(schema_of(**{f"c{number}": pa.string() for number in range(1601)})), TABLE)
    assert "--sql-exclude-columns" in str(caught.value.hint)


def during(schema: Any, act: Callable[[], None]) -> RecordStream:
    """A stream that does something between two batches."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"id": 1, "text": "a"}], schema=schema.arrow)
        act()
        for _ in range(200):
            yield pa.RecordBatch.from_pylist([{"id": 2, "text": "b" * 10_000}] * 10, schema=schema.arrow)

    return RecordStream(schema, batches())


BACKENDS = "SELECT {} FROM pg_stat_activity WHERE application_name = 'ingestr' AND datname = current_database()"


@pytest.mark.parametrize("when", ["in the middle", "before the commit"])
def test_a_lost_connection_leaves_what_was_there(database: PostgresDatabase, when: str) -> None:
    """The server rolls back; the error says that running again is all there is to do."""
    database.execute("CREATE TABLE public.t AS SELECT 1 AS id")

    def end() -> None:
        database.execute(BACKENDS.format("pg_terminate_backend(pid, 5000)"))

    with closing(opened(database.uri)) as destination:
        with pytest.raises(DestinationError, match=r"lost while|terminating connection") as caught:
            destination.load(during(TEXTS, end if when == "in the middle" else lambda: None), TableRef("public", "s"))
            destination.execute([create_from(TableRef("public", "u"), exp.select("1"))])
            end()
            destination.commit()
        assert "run" in str(caught.value.hint)
        destination.rollback()
    assert database.table_names() == ["public.t"]


def test_a_statement_that_somebody_ends_is_an_error(database: PostgresDatabase, destination: Destination) -> None:
    """pg_cancel_backend, or a timeout of the server."""

    def cancel() -> None:
        database.execute(BACKENDS.format("pg_cancel_backend(pid)"))

    with pytest.raises(DestinationError, match="cancel") as caught:
        destination.load(during(TEXTS, cancel), TABLE)
    assert "run again" in str(caught.value.hint)


def test_an_interrupt_ends_a_load_at_once(database: PostgresDatabase, destination: Destination) -> None:
    """Ctrl-C while the server lets us wait: the statement is cancelled, and the connection is good for a rollback."""
    with database.connect() as other:
        other.execute("CREATE TABLE public.t (id int)")
        other.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")

        def interrupt() -> None:
            wait_for_a_waiting_session(database)
            os.kill(os.getpid(), signal.SIGINT)

        killer = threading.Thread(target=interrupt)
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            destination.query(exp.select("*").from_(TABLE.to_table()))
        killer.join()
        destination.rollback()
        assert rows_of(destination, exp.select(exp.convert(1).as_("n"))) == [{"n": 1}]


def wait_for_a_waiting_session(database: PostgresDatabase) -> None:
    """Return when a connection of ingestr's waits for a lock."""
    while database.execute(BACKENDS.format("count(*)") + " AND wait_event_type = 'Lock'") == [(0,)]:
        pass


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(database: PostgresDatabase) -> None:
    """A session that reads the table keeps it from being dropped: the error says what to do."""
    with (
        database.connect() as other,
        closing(opened(f"{database.uri}&options=-c%20lock_timeout%3D50ms")) as destination,
    ):
        other.execute("CREATE TABLE public.t (id int)")
        other.execute("BEGIN; SELECT * FROM public.t")
        destination.execute([exp.Drop(tables=[TABLE.to_table()], kind="TABLE")])
        with pytest.raises(DestinationError, match="lock timeout") as caught:
            destination.commit()
        assert "lock_timeout" in str(caught.value.hint)


def test_runs_of_one_table_take_turns(database: PostgresDatabase) -> None:
    """A second run waits for the first, and is refused when it takes too long; other tables are free."""
    turns: list[str] = []
    with closing(opened(database.uri)) as first:
        first.reserve(TABLE)
        with closing(opened(f"{database.uri}&options=-c%20lock_timeout%3D50ms")) as second:
            second.reserve(TableRef("public", "other"))
            with pytest.raises(DestinationError, match="another run has been writing to public"):
                second.reserve(TABLE)
        waiting = threading.Thread(target=lambda: take_turn(database, turns))
        waiting.start()
        wait_for_a_waiting_session(database)
        turns.append("first")
    waiting.join()
    assert turns == ["first", "second"]


def take_turn(database: PostgresDatabase, turns: list[str]) -> None:
    """Reserve the table, say so, and let it go."""
    with closing(opened(database.uri)) as second:
        second.reserve(TABLE)
        turns.append("second")


def test_others_read_but_do_not_write_while_rows_are_compared(database: PostgresDatabase) -> None:
    """What the strategy counts stays so until the commit."""
    database.execute("CREATE TABLE public.t AS SELECT 1 AS id")
    with closing(opened(database.uri)) as destination:
        destination.reserve(TABLE)
        destination.describe(TABLE)
        destination.load(stream_of(TEXTS), TableRef("public", "s"), lasting=False)
        destination.query(exp.select("1"))
        assert database.execute("SELECT id FROM public.t") == [(1,)]
        modes = "SELECT mode FROM pg_locks WHERE relation = 'public.t'::regclass AND granted"
        assert database.execute(modes) == [("ShareRowExclusiveLock",)]
        assert database.execute("SELECT relpersistence::text FROM pg_class WHERE relname = 's'") == []
        destination.rollback()
    assert database.table_names() == ["public.t"]


def test_two_first_runs_make_our_tables_once(database: PostgresDatabase) -> None:
    """Runs of different tables begin at the same time: neither fails for what the other makes."""
    from ingestr.ledger.reads import READS

    database.execute("DROP SCHEMA IF EXISTS _ingestr CASCADE")
    errors: list[BaseException] = []

    def make() -> None:
        try:
            with closing(opened(database.uri)) as destination:
                for _ in range(5):
                    destination.execute(READS.ensure(None))
                    destination.commit()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database.execute("DROP SCHEMA _ingestr CASCADE")
