"""Databases that tests write to, of each engine behind the same few questions. The servers are real ones."""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa

from servers import Server

_ARROW = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1184: pa.timestamp("us", tz="UTC"),
}

_NUMBERS = itertools.count()


@contextlib.contextmanager
def new_database(server: Server) -> "Iterator[PostgresDatabase]":
    """A new database, gone afterwards."""
    database = PostgresDatabase(server, f"t{next(_NUMBERS)}")
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{database.name}"'.encode())
    try:
        yield database
    finally:
        database.drop()


@dataclass(frozen=True)
class DuckDBFiles:
    """Makes databases in a folder."""

    folder: Path
    # A part of the instants and sequences is enough for the second engine in each run of the tests.
    share: int = 1

    def new(self, name: str) -> Path:
        """Where a database will be."""
        return self.folder / f"{name}.db"

    def copy(self, database: Any, name: str) -> Path:
        """The same content under another name, in the place of what is there."""
        for file in self.folder.glob(f"{name}.db*"):
            file.unlink()
        return Path(shutil.copy(database, self.new(name)))


@dataclass(frozen=True)
class PostgresDatabases:
    """Makes databases on a server, which are gone with ``close``."""

    server: Server
    made: contextlib.ExitStack
    share: int = 4

    def new(self, name: str) -> "PostgresDatabase":
        """An empty database."""
        return self.made.enter_context(new_database(self.server))

    def copy(self, database: Any, name: str) -> "PostgresDatabase":
        """The same content under another name, in the place of what is there."""
        copy: PostgresDatabase = database.copy_to(f"{database.name}_{name}")
        self.made.callback(copy.drop)
        return copy


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of a server, for one test."""

    server: Server
    name: str

    @property
    def uri(self) -> str:
        """The destination URI."""
        return self.server.uri(self.name)

    def connect(self, user: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the test's own."""
        return self.server.connect(self.name, user)

    def execute(self, sql: str, user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements, as somebody else; returns the rows of the last one."""
        with self.connect(user) as connection:
            cursor = connection.execute(sql.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description is not None else []

    def query(self, sql: str) -> pa.Table:
        """Rows of a query, with the types that the server declares."""
        with self.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            cursor = connection.execute(sql.encode())
            described = cursor.description or []
            schema = pa.schema([(each.name, _ARROW.get(each.type_code, pa.string())) for each in described])
            names = [each.name for each in described]
            return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cursor.fetchall()], schema)

    def table_names(self) -> list[str]:
        """All tables, but that of broken-off reads where it is empty: a server keeps it for other runs."""
        names = self.query(
            "SELECT schemaname || '.' || tablename AS t FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY t"
        ).column("t")
        found = [str(name) for name in names.to_pylist()]
        if "_ingestr.reads" in found and not self.query("SELECT 1 AS n FROM _ingestr.reads").num_rows:
            found.remove("_ingestr.reads")
        return found

    def copy_to(self, name: str) -> "PostgresDatabase":
        """The same content under another name, in the place of what is there."""
        with self.server.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self.name}"'.encode())
        return PostgresDatabase(self.server, name)

    def drop(self) -> None:
        """Remove it."""
        with self.server.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)'.encode())
