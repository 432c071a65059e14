"""DuckDB in a file, or in this process's memory."""

import copy
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from sqlglot import exp

from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Capabilities, Rows, TableRef, Target
from ingestr.destinations.duckdb_catalog import describe_table
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.flags import Flag

log = logging.getLogger("ingestr.duckdb")

# Memory must not grow with the table: rows wait in our stream, not in DuckDB. Each of its threads fills row groups of
# its own and has blocks of every column open until the commit, so that the memory it needs grows with threads and
# columns; what else does not fit goes to its temporary file.
_THREADS = min(os.cpu_count() or 1, 4)
_USUAL_COLUMNS = 75


def _memory_limit(columns: int) -> str:
    return f"{75 + columns * _THREADS}MB"


# These hold for all connections to a database of this process.
_SETTINGS = {
    "threads": str(_THREADS),
    "memory_limit": _memory_limit(_USUAL_COLUMNS),
    "preserve_insertion_order": "false",
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
# Files that were being loaded when this process was forked: what it inherited of DuckDB there has lost its threads.
_inherited: set[str] = set()


def _after_fork() -> None:
    _inherited.update(file for file, turn in _in_use.items() if turn.locked())
    _in_use.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class DuckDBDestination:
    """One connection to one database; the whole load is one transaction of it."""

    default_schema = "main"
    capabilities = Capabilities("duckdb", frozenset(WriteStrategy), in_place_of={"JSONB": "JSON"}, exclusive=True)

    def __init__(self, authority: str, path: str, parameters: Mapping[str, Secret], *, in_process: bool) -> None:
        if parameters:
            raise ConfigurationError(
                f"duckdb:// takes no parameters, but the destination URI has {', '.join(sorted(parameters))}"
            )
        # duckdb://relative.db is relative.db: what stands where a host would is the beginning of the path.
        self._file = unquote(authority) + path if authority else path.removeprefix("/")
        if not self._file.strip("/"):
            raise ConfigurationError(
                "the DuckDB URI has no file", hint="duckdb:///relative.db or duckdb:////absolute/path.db"
            )
        if self._in_memory and not in_process:
            raise ConfigurationError(
                "a database in memory is gone when the command ends", hint="name a file: duckdb:///file.db"
            )
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._in_transaction = False
        self._turn: threading.Lock | None = None
        self._in_process = in_process
        # Settings of ours as DuckDB shows them; empty where the database is shared with the caller.
        self._set_by_us: dict[str, str] = {}
        self._catalog: str | None = None
        # The connection that has opened the database, where this is another one beside it.
        self._main: DuckDBDestination | None = None

    @property
    def _in_memory(self) -> bool:
        return self._file.startswith(":memory:")

    def connect(self) -> None:
        """Look at the file, and open it if it is there; in memory, it is the database behind ``duckdb.sql``.

        A file that is not there is made when something is written, so that a run which fails before leaves nothing, and
        none ever has to remove a file that another process may have opened meanwhile. A run of this process that writes
        to the same database is waited for.
        """
        if self._main is not None:
            if not self._main._is_made:
                return
            self._connection = self._main._open.cursor()
            self._prepare_connection()
            return
        try:
            place = self._file if self._in_memory else str(Path(self._file).resolve())
        except OSError as error:
            raise DestinationError(
                f"cannot find {self._file!r}: {error.strerror}",
                hint="the working directory may have been removed: change to one that exists, or write a whole path",
            ) from None
        if place in _inherited:
            raise DestinationError(
                f"this process was forked while {self._file!r} was being loaded, and cannot open it",
                hint="start processes by the method 'spawn', or before the first load",
            )
        self._wait_for_turn(place)
        try:
            if self._in_memory:
                # A cursor is a connection of its own to the same database: closing it keeps the caller's data.
                source = duckdb.default_connection() if self._file == ":memory:" else duckdb.connect(self._file)
                self._connection = source.cursor()
                self._prepare_connection()
            elif self._check_file():
                self._connect()
        except BaseException:
            self.close()
            raise

    def beside(self) -> "DuckDBDestination":
        """Another connection to the same database, not open yet; it is this one's turn that both use."""
        other = copy.copy(self)
        other.capabilities = replace(self.capabilities, exclusive=False)
        other._connection, other._in_transaction = None, False
        other._turn, other._set_by_us, other._main = None, {}, self
        return other

    def _wait_for_turn(self, place: str) -> None:
        turn = _in_use.setdefault(place, threading.Lock())
        if not turn.acquire(blocking=False):
            log.warning("another run of this process writes to %r: waiting for it", self._file)
            turn.acquire()
        self._turn = turn

    def _connect(self) -> None:
        try:
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(self._file)
            self._prepare_connection()
            if self._in_process and self._is_shared():
                log.debug("%r is open in this process: its settings are left as they are", self._file)
                return
            for name, value in _SETTINGS.items():
                self._set(name, value)
        except duckdb.IOException as error:
            raise self._cannot_open(_first_line(error)) from None
        except OSError as error:
            raise self._cannot_open(str(error.strerror)) from None
        except duckdb.Error as error:
            different = "different configuration" in str(error)
            hint = "this process has it open already: close that connection first" if different else None
            raise DestinationError(f"cannot open {self._file!r}: {_first_line(error)}", hint=hint) from None

    def _prepare_connection(self) -> None:
        """What holds for our connection alone."""
        [(self._catalog,)] = self._open.execute("SELECT current_database()").fetchall()
        self._open.execute("SET SESSION TimeZone = 'UTC'")

    def _is_shared(self) -> bool:
        """Whether the caller has connections to the same database, for which our settings would hold too."""
        [(connections,)] = self._open.execute("FROM duckdb_connection_count()").fetchall()
        return int(connections) > 1

    def _check_file(self) -> bool:
        """Whether the file is there; DuckDB opens files of other kinds too, through extensions or as a new database."""
        file = Path(self._file)
        if _OTHER_ENGINE.match(self._file):
            raise DestinationError(f"{self._file!r} is not a DuckDB file", hint="duckdb:///file.db is one")
        try:
            if file.is_dir():
                raise DestinationError(f"{self._file!r} is a folder, not a DuckDB file")
            if not file.exists():
                self._check_folder(file)
                return False
            head = _first_bytes(file)
        except OSError as error:
            raise DestinationError(f"cannot open {self._file!r}: {error.strerror}") from None
        if head and head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            raise DestinationError(f"{self._file!r} is not a DuckDB database", hint="name another file")
        return True

    def _check_folder(self, file: Path) -> None:
        """The folder, or the nearest one above it, in which it will be made, must be writable."""
        above = next(folder for folder in file.absolute().parents if folder.exists())
        if not above.is_dir():
            raise DestinationError(f"{str(above)!r} is not a folder", hint="name a file in a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise DestinationError(
                f"no permission to write in {str(above)!r}", hint="name a file in a folder that can be written to"
            )

    def _set(self, name: str, value: str) -> None:
        self._open.execute(f"SET {name} = '{value}'")
        self._set_by_us[name] = self._setting(name)

    def _setting(self, name: str) -> str:
        [(value,)] = self._open.execute(f"SELECT current_setting('{name}')::VARCHAR").fetchall()
        return str(value)

    @property
    def _may_set(self) -> bool:
        """Whether settings of the whole database are ours to choose."""
        return bool(self._set_by_us)

    def _cannot_open(self, text: str) -> DestinationError:
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
            self._connect()
            assert self._connection is not None  # noqa: S101 - for the type checker
        return self._connection

    @property
    def _is_made(self) -> bool:
        """Whether there is a database at all, perhaps made by another process since the run began."""
        return self._connection is not None or Path(self._file).exists()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except duckdb.ConstraintException as error:
            raise DestinationError(
                f"a constraint of the table refuses the rows: {_first_line(error)}",
                hint="nothing was written; drop the constraint, or set right what it is about in Salesforce",
            ) from error
        except duckdb.Error as error:
            raise DestinationError(f"DuckDB failed {doing}: {_first_line(error)}") from error

    def exists(self) -> bool:
        """Whether the file is there, or the database is in memory."""
        return self._is_made

    def check_catalog(self, catalog: str | None) -> None:
        """Refuse a catalog that the user names and that is another than the open database."""
        if catalog is None:
            return
        own = self._catalog or Path(self._file).stem
        if catalog.lower() != own.lower():
            raise ConfigurationError(
                f"{Flag.DEST_TABLE} names the catalog {catalog!r}, and the database is {own!r}",
                hint=f"write schema.table, or name the file of that catalog in {Flag.DEST_URI}",
            )

    def describe(self, *tables: TableRef) -> list[Target | None]:
        """The tables as they stand, None where there is no such table."""
        return [self._describe(table) for table in tables]

    def _describe(self, table: TableRef) -> Target | None:
        if not self._is_made:
            return None
        with self._errors(f"looking at {table}"):
            return describe_table(self._open, table, lambda query: self._arrow(query).schema)

    def reserve(self, table: TableRef) -> None:
        """Nothing is left to do: who has the file open has it alone."""

    def query(self, *queries: exp.Query) -> list[Rows]:
        """The rows of each query, inside the open transaction if there is one."""
        with self._errors("reading"):
            return [self._arrow(query).to_pylist() for query in queries]

    def _arrow(self, select: exp.Query) -> pa.Table:
        table: pa.Table = self._open.sql(self._render(select)).to_arrow_table()
        return table

    def _render(self, statement: exp.Expr) -> str:
        """The statement as text, in which every table bears its catalog: a schema may be called like the database."""
        named = statement.copy()
        for table in named.find_all(exp.Table):
            if table.args.get("db") is not None:
                table.set("catalog", exp.to_identifier(self._catalog, quoted=True))
        if isinstance(named, exp.Create):
            # A table that does not last is a table like others here.
            named.set("properties", None)
        if isinstance(named, exp.Comment) and isinstance(named.this, exp.Column):
            named.this.set("catalog", exp.to_identifier(self._catalog, quoted=True))
        return named.sql(self.capabilities.dialect, copy=False)

    def load(self, stream: RecordStream, staging: TableRef, *, lasting: bool = True) -> int:
        """Create the staging table from the stream in one statement; returns the rows it holds."""
        self._begin()
        if len(stream.schema.columns) > _USUAL_COLUMNS and self._may_set:
            self._set("memory_limit", _memory_limit(len(stream.schema.columns)))
        log.debug("loading %s", staging)
        create = exp.Create(
            this=staging.to_table(), kind="TABLE", expression=exp.select(exp.Star()).from_(exp.to_table("stream"))
        )
        try:
            self._execute_interruptibly(self._render(create), stream)
        except duckdb.Error as error:
            stream.raise_error()
            raise DestinationError(f"DuckDB failed loading {staging}: {_first_line(error)}") from error
        stream.raise_error()
        [[total]] = self.query(exp.select(exp.Count(this=exp.Star()).as_("n")).from_(staging.to_table()))
        return int(total["n"])

    def _execute_interruptibly(self, sql: str, stream: RecordStream) -> None:
        """Run the statement in a thread, so that Ctrl-C reaches this one while DuckDB waits for rows."""
        connection = self._open
        worker = ThreadPoolExecutor(1, "duckdb-load")
        running: Future[None] | None = None
        try:
            running = worker.submit(_execute_over, connection, sql, stream)
            running.result()
        except BaseException:
            # The statement may have failed, and then this is over. An interrupt may come while the thread starts,
            # before anybody can wait for it, or as a condition's lock changes hands: Python makes that another error.
            if running is None or not running.done():
                connection.interrupt()
                stream.close()
                if running is None or not wait([running], timeout=_PATIENCE).done:
                    # A call that hangs in the network holds the connection: with the process, its transaction ends too.
                    self._connection, self._in_transaction = None, False
            raise
        finally:
            worker.shutdown(wait=False)

    def execute(self, statements: Sequence[exp.Expr]) -> list[Rows]:
        """Run statements inside the transaction, beginning it if need be; returns the rows of its queries."""
        self._begin()
        found: list[Rows] = []
        for statement in statements:
            if isinstance(statement, exp.Query):
                found += self.query(statement)
                continue
            text = self._render(statement)
            log.debug("%s", text if len(text) <= _LONGEST_LOGGED else text[:_LONGEST_LOGGED] + "…")
            with self._errors("writing"):
                self._open.execute(text).fetchall()
        return found

    def _begin(self) -> None:
        if not self._in_transaction:
            with self._errors("beginning"):
                self._open.execute("BEGIN")
            self._in_transaction = True

    def commit(self, written: TableRef | None = None) -> None:
        """Make everything since the last commit visible at once."""
        if not self._in_transaction:
            return
        if written is not None and self._may_set:
            self._plan_vacuum(written)
        log.debug("COMMIT")
        with self._errors("committing"):
            self._open.execute("COMMIT")
        self._in_transaction = False
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
            [(live,)] = self._open.execute(self._render(counted)).fetchall()
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
        """Take our settings back, as the caller may have opened the same database meanwhile."""
        for name, ours in self._set_by_us.items():
            try:
                if self._setting(name) == ours:
                    self._open.execute(f"RESET {name}")
            except duckdb.Error as error:
                log.debug("%s", error)

    def close(self) -> None:
        """Roll back what is open and close the connection."""
        try:
            if self._connection is not None:
                self.rollback()
        finally:
            if self._connection is not None:
                if self._in_process:
                    self._restore()
                self._connection.close()
                self._connection = None
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
