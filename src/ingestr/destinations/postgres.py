"""PostgreSQL: one connection, one transaction a load, rows by COPY.

Statements wait until the next query or the commit and then go in one round trip with it: a load of a few rows is
mostly waiting for the network.
"""

import copy
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pgpq
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier, Literal
from sqlglot import exp

from ingestr.core.secret import Secret
from ingestr.core.sql import identifier, sql_type
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.destinations import postgres_catalog
from ingestr.destinations.base import SYSTEM_SCHEMA, Capabilities, Rows, TableRef, Target
from ingestr.destinations.postgres_catalog import Upkeep
from ingestr.destinations.postgres_errors import first_line, translated
from ingestr.destinations.postgres_sql import LONGEST_NAME, Rendering, analyze, short
from ingestr.destinations.postgres_uri import connection_parameters
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.flags import Flag

log = logging.getLogger("ingestr.postgres")

_OLDEST = 15
_LONGEST_LOGGED = 500
# A role may have settings under which statements and values would mean something else, or a load would be cut short.
_SETTINGS = {
    "search_path": "pg_catalog, pg_temp",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_min_messages": "warning",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "default_tablespace": "",
    # The server knows nothing yet of rows just staged, and would sort whole rows of both tables to join them: to hash
    # the smaller one is faster.
    "enable_mergejoin": "off",
    # As for disks without moving heads: the server would otherwise read all of a table to find a fiftieth of its rows.
    "random_page_cost": "1.1",
    # Enough to know of a table just made how many rows it has and that its keys differ; more would cost more than it
    # saves, and autovacuum sees to tables that stay.
    "default_statistics_target": "1",
    # Rows that a policy hides would look as if they were not there: an error instead.
    "row_security": "off",
}
# How long to wait for a lock, another run's included, where the URI or the role says nothing else.
_PATIENCE = "10min"
# Kilobytes for each hash or sort, where the role has less: those of some ten thousand rows.
_WORK_MEMORY = 65_536
# Other runs are kept from making or removing tables of ours at the same time.
_LEDGER = "ingestr"


@dataclass(frozen=True)
class _Text:
    """A statement that waits, whether somebody wants its rows, and whether it outdates rows of the target."""

    text: str
    is_query: bool = False
    outdates: bool = False


_BEGIN = _Text("BEGIN")


class PostgresDestination:
    """One connection to one database; the whole load is one transaction of it."""

    default_schema = "public"
    capabilities = Capabilities(
        "postgres",
        frozenset(WriteStrategy),
        in_place_of={"JSON": "JSONB"},
        longest_name=LONGEST_NAME,
        indexes_keys=True,
    )

    def __init__(
        self,
        authority: str,
        path: str,
        parameters: Mapping[str, Secret],
        *,
        in_process: bool,
    ) -> None:
        self._parameters = connection_parameters(authority, path, parameters)
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._in_transaction = False
        self._waiting: list[_Text] = []
        self._schemas: set[str] = set()
        self._target: TableRef | None = None
        self._target_exists = False
        self._changes_ledger = False
        self._upkeep: Upkeep | None = None
        self._outdated = 0
        self._rendering = Rendering()

    def beside(self) -> "PostgresDestination":
        """Another connection to the same database, not open yet."""
        other = copy.copy(self)
        other._connection, other._in_transaction, other._waiting, other._schemas = None, False, [], set()
        other._target, other._target_exists, other._changes_ledger = None, False, False
        other._rendering = Rendering()
        return other

    @property
    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        assert self._connection is not None  # noqa: S101 - every run connects first
        return self._connection

    def connect(self) -> None:
        """Log in, and settle how this session reads and writes values."""
        try:
            named = make_conninfo("", **self._parameters)
            self._connection = psycopg.connect(named, client_encoding="UTF8", autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise self._cannot_connect(error) from None
        try:
            self._check_server()
            self._waiting.append(_Text(self._settings()))
        except BaseException:
            self.close()
            raise

    def _settings(self) -> str:
        """The statement that settles them; a name that this version of the server does not know is left out."""
        values = SQL(", ").join(SQL("({}, {})").format(name, value) for name, value in _SETTINGS.items())
        statement = SQL(
            "SELECT pg_catalog.set_config(s.name, v.value, false) FROM (VALUES {}) AS v (name, value) "
            "JOIN pg_catalog.pg_settings s ON s.name = v.name UNION ALL SELECT "
            "pg_catalog.set_config('lock_timeout', {}, false) WHERE pg_catalog.current_setting('lock_timeout') = '0' "
            "UNION ALL SELECT pg_catalog.set_config(name, {}, false) FROM pg_catalog.pg_settings "
            "WHERE name = 'work_mem' AND setting::int < {}"
        )
        return statement.format(values, _PATIENCE, str(_WORK_MEMORY), _WORK_MEMORY).as_string(self._open)

    def _check_server(self) -> None:
        info = self._open.info
        if info.server_version // 10_000 < _OLDEST:
            raise DestinationError(
                f"the server is PostgreSQL {info.server_version // 10_000}, and ingestr needs {_OLDEST} or newer",
                hint=f"upgrade the server, or name another one in {Flag.DEST_URI}",
            )
        encoding = info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise DestinationError(
                f"the database {info.dbname!r} has the encoding {encoding}, which cannot hold every text",
                hint="make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )
        if "on" in (info.parameter_status("in_hot_standby"), info.parameter_status("default_transaction_read_only")):
            raise DestinationError(
                f"the database {info.dbname!r} takes no changes: it is a standby, or read-only for this role",
                hint=f"name the primary in {Flag.DEST_URI} (?target_session_attrs=read-write picks it among several "
                "hosts)",
            )

    def _cannot_connect(self, error: psycopg.Error) -> DestinationError:
        text = first_line(error)
        hint = f"check host, port, database and login in {Flag.DEST_URI}, and whether the server takes connections"
        if isinstance(error, psycopg.ProgrammingError):
            hint = f"check the parameters of {Flag.DEST_URI}"
        if "does not exist" in text and "database" in text:
            hint = f"make it with CREATE DATABASE, or name another one in {Flag.DEST_URI}"
        return DestinationError(f"cannot connect to PostgreSQL: {text}", hint=hint)

    def exists(self) -> bool:
        """It does, as there is a connection."""
        return True

    def check_catalog(self, catalog: str | None) -> None:
        """Refuse a catalog that the user names and that is another than the open database."""
        own = self._open.info.dbname
        if catalog is not None and catalog != own:
            raise ConfigurationError(
                f"{Flag.DEST_TABLE} names the catalog {catalog!r}, and the database is {own!r}",
                hint=f"write schema.table, or name that database in {Flag.DEST_URI}",
            )

    def reserve(self, table: TableRef) -> None:
        """Keep other runs off a table until the connection is closed; waits for one that is at it."""
        for name in (table.schema, table.name):
            if short(name) != name:
                raise ConfigurationError(
                    f"{name!r} has {len(name.encode())} bytes, and PostgreSQL cuts names to {LONGEST_NAME}",
                    hint=f"choose a shorter {Flag.DEST_TABLE}",
                )
        key = _number(f"{table.schema}.{table.name}")
        found = self._ask(
            "SELECT pg_try_advisory_lock({}), (SELECT min(relname) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = relnamespace WHERE nspname = {} AND lower(relname) = lower({}) AND relname <> {} "
            "AND relkind IN ('r', 'p')), (SELECT array_agg(nspname::text) FROM pg_namespace)",
            key,
            table.schema,
            table.name,
            table.name,
        )
        [(free, other, schemas)] = found
        self._schemas = set(schemas)
        if other is not None:
            raise ConfigurationError(
                f"{table.schema} has a table {other!r}, which differs from {table.name!r} in case only",
                hint=f"write {Flag.DEST_TABLE} as that table is spelled, or choose another name",
            )
        if not free:
            log.warning("another run writes to %s: waiting for it", table)
            try:
                self._open.execute("SELECT pg_advisory_lock(%s)", [key])
            except psycopg.errors.LockNotAvailable:
                raise DestinationError(
                    f"another run has been writing to {table} for longer than this one may wait",
                    hint="run again when it has ended (SELECT * FROM pg_locks WHERE locktype = 'advisory' shows it)",
                ) from None
            except psycopg.Error as error:
                raise translated(error, f"waiting for {table}", broken=self._open.broken) from None
        self._target = table

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query about the catalog, with what waits; values are quoted as this session reads them."""
        texts, self._waiting = self._waiting, []
        asked = SQL(query).format(*map(Literal, values)).as_string(self._open)
        with self._errors("reading the catalog"), self._open.cursor(row_factory=tuple_row) as cursor:
            cursor.execute("; ".join([*(each.text for each in texts), asked]).encode())
            while cursor.nextset():
                pass
            return cursor.fetchall()

    def describe(self, *tables: TableRef) -> list[Target | None]:
        """The tables as they stand, None where there is no such table."""
        refs = [TableRef(table.schema, short(table.name)) for table in tables]
        asked = self._ask(postgres_catalog.DESCRIBE, [each.schema for each in refs], [each.name for each in refs])
        found = postgres_catalog.described(asked, refs)
        if self._target in refs:
            self._target_exists = self._target in found
            self._upkeep = postgres_catalog.upkeep_of(asked, self._target)
        return [found.get(ref) for ref in refs]

    def query(self, *queries: exp.Query) -> list[Rows]:
        """The rows of each query, inside the open transaction if there is one."""
        return self._run(queries, "writing" if self._waiting else "reading")

    def load(self, stream: RecordStream, staging: TableRef, *, lasting: bool = True) -> int:
        """Create the staging table from the stream by COPY; returns the rows that the server counted.

        A producer that fails, or an interrupt, ends the COPY; the transaction is then good for a rollback only.
        """
        schema = stream.schema.columns
        columns = [exp.ColumnDef(this=identifier(each.name), kind=sql_type(each.type)) for each in schema]
        create = exp.Create(this=exp.Schema(this=staging.to_table(), expressions=columns), kind="TABLE")
        if not lasting:
            create.set("properties", exp.Properties(expressions=[exp.UnloggedProperty()]))
        self.execute([exp.Drop(tables=[staging.to_table()], kind="TABLE", exists=True), create])
        self._flush()
        names = [Identifier(each.name) for each in schema]
        # Rows of a table that this transaction makes need not be marked as visible later, row by row.
        copy = SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY, FREEZE)").format(
            Identifier(staging.schema, short(staging.name)), SQL(", ").join(names)
        )
        log.debug("loading %s", staging)
        encoder = pgpq.ArrowToPostgresBinaryEncoder(stream.schema.arrow)
        with self._open.cursor() as cursor:
            try:
                with cursor.copy(copy) as rows:
                    rows.write(encoder.write_header())
                    for batch in stream:
                        rows.write(encoder.write_batch(batch))
                    rows.write(encoder.finish())
            except psycopg.Error as error:
                stream.raise_error()
                broken = self._open.broken
                doing = f"loading {staging}"
                raise translated(error, doing, broken=broken, columns=stream.schema.names) from error
            if not lasting:
                self._waiting.append(_Text(analyze(staging.to_table())))
            if self._target is not None and self._target_exists:
                # Others go on reading the table, and write to it when this run is done.
                table = self._target.to_table().sql("postgres")
                self._waiting.append(_Text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
            return cursor.rowcount

    def execute(self, statements: Sequence[exp.Expr]) -> list[Rows]:
        """Run statements inside the transaction; where none of them is a query, they wait for the next one."""
        self._begin()
        for statement in statements:
            if isinstance(statement, exp.Create) and statement.kind == "SCHEMA" and self._has_schema(statement):
                # Whoever may not make schemas may well use those that there are.
                continue
            if _makes_or_removes(statement) and not self._changes_ledger:
                self._changes_ledger = True
                self._waiting.append(_Text(f"SELECT pg_advisory_xact_lock({_number(_LEDGER)})"))
            for text in self._rendering.statements(statement):
                log.debug("%s", text if len(text) <= _LONGEST_LOGGED else text[:_LONGEST_LOGGED] + "…")
                self._waiting.append(_Text(text))
            if isinstance(statement, exp.Query):
                self._waiting[-1] = replace(self._waiting[-1], is_query=True)
            if isinstance(statement, exp.Delete | exp.Update | exp.Merge):
                is_target = self._target is not None and statement.this.name == self._target.name
                self._waiting[-1] = replace(self._waiting[-1], outdates=is_target)
        return self._run([], "writing") if any(each.is_query for each in self._waiting) else []

    def _has_schema(self, create: exp.Create) -> bool:
        if not self._schemas:
            self._schemas = {name for (name,) in self._ask("SELECT nspname FROM pg_namespace")}
        return create.this.args["db"].name in self._schemas

    def _begin(self) -> None:
        if not self._in_transaction:
            self._in_transaction = True
            self._waiting.append(_BEGIN)

    def _flush(self) -> None:
        if self._waiting:
            self._run([], "writing")

    def _run(self, queries: Sequence[exp.Query], doing: str) -> list[Rows]:
        """Run what waits, and these queries; returns the rows of each query."""
        for query in queries:
            *before, text = self._rendering.statements(query)
            self._waiting += [*map(_Text, before), _Text(text, is_query=True)]
        texts, self._waiting = self._waiting, []
        found: list[Rows] = []
        with self._errors(doing), self._open.cursor(row_factory=dict_row) as cursor:
            cursor.execute("; ".join(each.text for each in texts).encode())
            for number, each in enumerate(texts):
                if number:
                    cursor.nextset()
                if each.is_query:
                    found.append(cursor.fetchall())
                elif each.outdates:
                    self._outdated += cursor.rowcount
        return found

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise translated(error, doing, broken=self._open.broken) from error

    def commit(self, written: TableRef | None = None) -> None:
        """Make everything since the last commit visible at once."""
        if not self._in_transaction:
            return
        log.debug("COMMIT")
        self._waiting.append(_Text("COMMIT"))
        self._run([], "committing")
        self._in_transaction = self._changes_ledger = False
        log.debug("committed")
        if written is not None and self._upkeep is not None and self._upkeep.is_due(self._outdated):
            self._vacuum(written)
        self._outdated = 0

    def _vacuum(self, table: TableRef) -> None:
        """Let the index tell by itself which rows there are, without the pages that have changed."""
        name = Identifier(table.schema, table.name)
        try:
            self._open.execute(SQL("VACUUM (SKIP_LOCKED, TRUNCATE FALSE, PROCESS_TOAST FALSE) {}").format(name))
        except psycopg.Error as error:
            # The rows are there, and the server does the same by itself some time.
            log.debug("%s", first_line(error))

    def rollback(self) -> None:
        """Undo everything since the last commit."""
        self._rendering.forget()
        self._outdated = 0
        if not self._in_transaction:
            return
        self._in_transaction = self._changes_ledger = False
        if _BEGIN in self._waiting:
            del self._waiting[self._waiting.index(_BEGIN) :]
            return
        self._waiting.clear()
        try:
            self._open.execute("ROLLBACK")
        except psycopg.Error as error:
            # The server rolls back what a lost connection has begun.
            log.debug("%s", first_line(error))

    def close(self) -> None:
        """Roll back what is open and close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._in_transaction = False


def _number(name: str) -> int:
    """The key of an advisory lock."""
    return int.from_bytes(hashlib.sha256(f"ingestr {name}".encode()).digest()[:8], signed=True)


def _makes_or_removes(statement: exp.Expr) -> bool:
    """Whether a statement changes which tables, or columns of tables, of ours there are."""
    if not isinstance(statement, exp.Create | exp.Drop | exp.Alter):
        return False
    return any(table.db == SYSTEM_SCHEMA for table in statement.find_all(exp.Table))
