"""DuckDB in a file, or in this process's memory."""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Capabilities, TableRef
from ingestr.errors import ConfigurationError, DestinationError

log = logging.getLogger("ingestr.duckdb")

# Memory must not grow with the table: rows wait in our stream, not in DuckDB. Each of its threads fills row groups of
# its own and has blocks of every column open until the commit, so that the memory it needs grows with threads and
# columns; what else does not fit goes to its temporary file.
_THREADS = min(os.cpu_count() or 1, 4)
_USUAL_COLUMNS = 75


def _memory_limit(columns: int) -> str:
    return f"{75 + columns * _THREADS}MB"


_SETTINGS = {
    "threads": str(_THREADS),
    "memory_limit": _memory_limit(_USUAL_COLUMNS),
    "preserve_insertion_order": "false",
    "TimeZone": "UTC",
    "max_vacuum_tasks": "100",
}
# Seconds that a load which was interrupted may take to notice.
_PATIENCE = 5.0
_LONGEST_LOGGED = 500
# What part of a table may be deleted rows before it is rewritten without them.
_MOST_DELETED = 0.2
# A DuckDB file has these bytes after a checksum; "md:" or "sqlite:" before a name mean other engines.
_MAGIC, _MAGIC_AT = b"DUCK", 8
_OTHER_ENGINE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# DuckDB keeps other processes off a file; these keep other runs of this process off it.
_in_use: dict[str, threading.Lock] = {}


class DuckDBDestination:
    """One connection to one database; the whole load is one transaction of it."""

    default_schema = "main"
    capabilities = Capabilities(strategies=frozenset(WriteStrategy))

    def __init__(self, authority: str, path: str, parameters: Mapping[str, Secret], *, in_process: bool) -> None:
        if parameters:
            raise ConfigurationError(
                f"duckdb:// takes no parameters, but the destination URI has {', '.join(sorted(parameters))}"
            )
        if authority or not path.removeprefix("/"):
            raise ConfigurationError(
                "the DuckDB URI has no file", hint="duckdb:///relative.db or duckdb:////absolute/path.db"
            )
        self._file = path.removeprefix("/")
        if self._in_memory and not in_process:
            raise ConfigurationError(
                "a database in memory is gone when the command ends", hint="name a file: duckdb:///file.db"
            )
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._in_transaction = False
        self._turn: threading.Lock | None = None
        self._in_process = in_process
        self._to_restore: dict[str, str] = {}
        self._is_new = False

    @property
    def _in_memory(self) -> bool:
        return self._file.startswith(":memory:")

    def connect(self) -> None:
        """Open the file, creating it if there is none; in memory, it is the database behind ``duckdb.sql``.

        A run of this process that writes to the same database is waited for.
        """
        self._wait_for_turn()
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _wait_for_turn(self) -> None:
        turn = _in_use.setdefault(self._file if self._in_memory else str(Path(self._file).resolve()), threading.Lock())
        if not turn.acquire(blocking=False):
            log.warning("another run of this process writes to %r: waiting for it", self._file)
            turn.acquire()
        self._turn = turn

    def _connect(self) -> None:
        if self._in_memory:
            # A cursor is a connection of its own to the same database: closing it keeps the caller's data.
            source = duckdb.default_connection() if self._file == ":memory:" else duckdb.connect(self._file)
            self._connection = source.cursor()
            return
        self._check_file()
        try:
            self._connection = duckdb.connect(self._file)
            if self._in_process:
                # The caller may use the same database: what is set here holds for all of its connections.
                self._to_restore = {name: self._setting(name) for name in _SETTINGS}
            for name, value in _SETTINGS.items():
                self._set(name, value)
        except duckdb.IOException as error:
            raise self._cannot_open(error) from None
        except duckdb.Error as error:
            different = "different configuration" in str(error)
            hint = "this process has it open already: close that connection first" if different else None
            raise DestinationError(f"cannot open {self._file!r}: {_first_line(error)}", hint=hint) from None

    def _check_file(self) -> None:
        """DuckDB opens files of other kinds too, through extensions or as a database that is thrown away."""
        file = Path(self._file)
        if _OTHER_ENGINE.match(self._file):
            raise DestinationError(f"{self._file!r} is not a DuckDB file", hint="duckdb:///file.db is one")
        try:
            if not file.parent.is_dir():
                raise DestinationError(
                    f"the folder {str(file.parent)!r} does not exist", hint=f"mkdir -p '{file.parent}'"
                )
            if file.is_dir():
                raise DestinationError(f"{self._file!r} is a folder, not a DuckDB file")
            self._is_new = not file.exists()
            head = b"" if self._is_new else _first_bytes(file)
        except OSError as error:
            raise DestinationError(f"cannot open {self._file!r}: {error.strerror}") from None
        if head and head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            raise DestinationError(f"{self._file!r} is not a DuckDB database", hint="name another file")

    def _setting(self, name: str) -> str:
        row = self._open.execute(f"SELECT current_setting('{name}')::VARCHAR").fetchone()
        return str(row[0]) if row else ""

    def _set(self, name: str, value: str) -> None:
        self._open.execute(f"SET {name} = '{value}'")

    def _cannot_open(self, error: duckdb.Error) -> DestinationError:
        text = _first_line(error)
        if "lock" in text:
            return DestinationError(
                f"another process holds {self._file!r}: {text}",
                hint="DuckDB lets one process write at a time; wait for it or close it, then run again",
            )
        if not os.access(Path(self._file).parent, os.W_OK):
            return DestinationError(f"no permission to write in {str(Path(self._file).parent)!r}")
        return DestinationError(f"cannot open {self._file!r}: {text}")

    @property
    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise RuntimeError("connect() comes first")
        return self._connection

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise DestinationError(f"DuckDB failed {doing}: {_first_line(error)}") from error

    def columns(self, table: TableRef) -> pa.Schema | None:
        """The table's columns, or None where there is no such table."""
        with self._errors(f"looking at {table}"):
            # The views of information_schema over these take three times as long.
            [(tables, views)] = self._open.execute(
                "SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() "
                "AND lower(schema_name) = lower($1) AND lower(table_name) = lower($2)), "
                "(SELECT count(*) FROM duckdb_views() WHERE database_name = current_database() "
                "AND lower(schema_name) = lower($1) AND lower(view_name) = lower($2))",
                [table.schema, table.name],
            ).fetchall()
        if views:
            raise DestinationError(f"{table} is a view, not a table", hint="choose another --dest-table")
        if not tables:
            return None
        with self._errors(f"looking at {table}"):
            empty = exp.select("*").from_(table.to_table()).limit(0)
            return self._arrow(empty).schema

    def query(self, select: exp.Query) -> list[dict[str, Any]]:
        """Rows of a query, inside the open transaction if there is one."""
        with self._errors("reading"):
            rows: list[dict[str, Any]] = self._arrow(select).to_pylist()
            return rows

    def _arrow(self, select: exp.Query) -> pa.Table:
        table: pa.Table = self._open.sql(select.sql("duckdb")).to_arrow_table()
        return table

    def load(self, stream: RecordStream, staging: TableRef) -> int:
        """Create the staging table from the stream in one statement; returns the rows it holds."""
        self._begin()
        if len(stream.schema.columns) > _USUAL_COLUMNS and not self._in_memory:
            self._set("memory_limit", _memory_limit(len(stream.schema.columns)))
        log.debug("loading %s", staging)
        create = exp.Create(
            this=staging.to_table(), kind="TABLE", expression=exp.select("*").from_(exp.to_table("stream"))
        )
        try:
            self._execute_interruptibly(create.sql("duckdb"), stream)
        except duckdb.Error as error:
            stream.raise_error()
            raise DestinationError(f"DuckDB failed loading {staging}: {_first_line(error)}") from error
        stream.raise_error()
        total = self.query(exp.select(exp.Count(this=exp.Star()).as_("n")).from_(staging.to_table()))
        return int(total[0]["n"])

    def _execute_interruptibly(self, sql: str, stream: RecordStream) -> None:
        """Run the statement in a thread, so that Ctrl-C reaches this one while DuckDB waits for rows."""
        connection = self._open
        worker = ThreadPoolExecutor(1, "duckdb-load")
        running = worker.submit(_execute_over, connection, sql, stream)
        try:
            running.result()
        except KeyboardInterrupt:
            connection.interrupt()
            stream.close()
            if not wait([running], timeout=_PATIENCE).done:
                # A call that hangs in the network holds the connection: with the process, its transaction ends too.
                self._connection, self._in_transaction = None, False
            raise
        finally:
            worker.shutdown(wait=False)

    def execute(self, statements: Sequence[exp.Expr]) -> None:
        """Run statements inside the transaction, beginning it if need be."""
        self._begin()
        for statement in statements:
            text = statement.sql("duckdb")
            log.debug("%s", text if len(text) <= _LONGEST_LOGGED else text[:_LONGEST_LOGGED] + "…")
            with self._errors("writing"):
                self._open.execute(text).fetchall()

    def _begin(self) -> None:
        if not self._in_transaction:
            self._open.execute("BEGIN")
            self._in_transaction = True

    def commit(self, written: TableRef | None = None) -> None:
        """Make everything since the last commit visible at once."""
        if written is not None and not self._in_memory:
            self._plan_vacuum(written)
        log.debug("COMMIT")
        with self._errors("committing"):
            self._open.execute("COMMIT")
        self._in_transaction = self._is_new = False
        log.debug("committed")

    def _plan_vacuum(self, table: TableRef) -> None:
        """Let DuckDB rewrite a table only when deleted rows are a good part of it: it would after every small merge."""
        with self._errors("committing"):
            [(rows,)] = self._open.execute(
                "SELECT coalesce(max(estimated_size), 0) FROM duckdb_tables() WHERE database_name = current_database() "
                "AND lower(schema_name) = lower($1) AND lower(table_name) = lower($2)",
                [table.schema, table.name],
            ).fetchall()
            counted = exp.select(exp.Count(this=exp.Star())).from_(table.to_table())
            [(live,)] = self._open.execute(counted.sql("duckdb")).fetchall()
            self._set("max_vacuum_tasks", "100" if rows - live > _MOST_DELETED * rows else "0")

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        if self._in_transaction:
            self._in_transaction = False
            try:
                self._open.execute("ROLLBACK")
            except duckdb.Error as error:
                # A database that a full disk has invalidated has rolled back already.
                log.debug("%s", error)

    def _restore(self) -> None:
        for name, value in self._to_restore.items():
            try:
                self._set(name, value)
            except duckdb.Error as error:
                log.debug("%s", error)

    def close(self) -> None:
        """Roll back what is open and close the connection."""
        try:
            if self._connection is not None:
                self.rollback()
        finally:
            if self._connection is not None:
                self._restore()
                self._connection.close()
                self._connection = None
            if self._is_new and not self._in_memory:
                # Nothing was committed: a file that was not there before need not be there now.
                for name in (self._file, f"{self._file}.wal"):
                    Path(name).unlink(missing_ok=True)
            if self._turn is not None:
                self._turn.release()
                self._turn = None


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAGIC_AT + len(_MAGIC))


def _execute_over(connection: duckdb.DuckDBPyConnection, sql: str, stream: RecordStream) -> None:
    """Run a statement that reads from the table ``stream``: DuckDB finds the argument by its name."""
    connection.execute(sql).fetchall()


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().partition("\n")[0]
