"""The roles of a destination: the few things that a load asks of an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from sqlglot import exp

from ingestr.core.stream import RecordStream
from ingestr.errors import ConfigurationError

SYSTEM_SCHEMA = "_ingestr"


@dataclass(frozen=True)
class TableRef:
    """A table in a schema of the destination."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def to_table(self, alias: str | None = None) -> exp.Table:
        """The same as a quoted SQL expression."""
        return exp.table_(self.name, db=self.schema, quoted=True, alias=alias)


def parse_table(text: str, default_schema: str) -> TableRef:
    """``schema.table`` or ``table``.

    Raises:
        ConfigurationError: empty or more than two parts, or our own schema.
    """
    parts = [part.strip() for part in text.split(".")]
    if not all(parts) or len(parts) > 2:
        raise ConfigurationError(f"--dest-table {text!r} is not a table name", hint="write schema.table or table")
    schema, name = parts if len(parts) == 2 else (default_schema, parts[0])
    if schema.lower() == SYSTEM_SCHEMA:
        raise ConfigurationError(f"the schema {SYSTEM_SCHEMA} is kept for ingestr's own tables")
    return TableRef(schema, name)


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, asked before a call to the source is spent."""

    strategies: frozenset[str]


class Destination(Protocol):
    """One database, one connection, one transaction a load.

    ``load`` begins the transaction if none is open, ``commit`` ends it; ``rollback`` leaves everything as it was.
    """

    default_schema: str
    capabilities: Capabilities

    def connect(self) -> None:
        """Open the connection; raises DestinationError or ConfigurationError."""

    def columns(self, table: TableRef) -> pa.Schema | None:
        """The table's columns, or None where there is no such table."""

    def query(self, select: exp.Query) -> list[dict[str, Any]]:
        """Rows of a query, inside the open transaction if there is one."""

    def load(self, stream: RecordStream, staging: TableRef) -> int:
        """Create the staging table from the stream by the engine's own bulk path; returns the rows it holds."""

    def execute(self, statements: Sequence[exp.Expr]) -> None:
        """Run statements inside the transaction, beginning it if need be."""

    def commit(self, written: TableRef | None = None) -> None:
        """Make everything since the last commit visible at once; ``written`` is the table that it changes most."""

    def rollback(self) -> None:
        """Undo everything since the last commit."""

    def close(self) -> None:
        """Roll back what is open and close the connection."""
