"""The roles of a destination: the few things that a load asks of an engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa
from sqlglot import exp

from ingestr.core.stream import RecordStream
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag

SYSTEM_SCHEMA = "_ingestr"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class TableRef:
    """A table in a schema of the destination; the catalog is always the destination's own database."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    def to_table(self, alias: str | None = None) -> exp.Table:
        """The same as a quoted SQL expression."""
        return exp.table_(self.name, db=self.schema, quoted=True, alias=alias)


@dataclass(frozen=True)
class TableName:
    """A table as the user names it: ``catalog`` is None where the name has two parts or one."""

    ref: TableRef
    catalog: str | None


def parse_table(text: str, default_schema: str) -> TableName:
    """``catalog.schema.table``, ``schema.table`` or ``table``.

    Raises:
        ConfigurationError: empty or more than three parts, or our own schema.
    """
    parts = [part.strip() for part in text.split(".")]
    if not all(parts) or len(parts) > 3:
        raise ConfigurationError(
            f"{Flag.DEST_TABLE} {text!r} is not a table name", hint="write schema.table, table or catalog.schema.table"
        )
    catalog = parts.pop(0) if len(parts) == 3 else None
    schema, name = parts if len(parts) == 2 else (default_schema, parts[0])
    if schema.lower() == SYSTEM_SCHEMA:
        raise ConfigurationError(
            f"the schema {SYSTEM_SCHEMA} is kept for ingestr's own tables",
            hint=f"choose another one in {Flag.DEST_TABLE}",
        )
    return TableName(TableRef(schema, name), catalog)


@dataclass(frozen=True)
class TargetColumn:
    """One column of a table as it stands.

    Args:
        name: as the engine spells it.
        type: the Arrow type in which the engine hands it out.
        kind: the type as the engine declares it, as a SQL expression: ``DECIMAL(18, 2)``, ``ENUM('a', 'b')``.
        nullable: whether it may be null.
        default: the expression of its DEFAULT, or None.
        generated: whether the engine computes it from other columns, so that nobody can write it.
        comment: what people noted about it, or None.
        pinned_by: what keeps the engine from changing its type, in words: an index here, a view there.
    """

    name: str
    type: pa.DataType
    kind: exp.DataType
    nullable: bool = True
    default: str | None = None
    generated: bool = False
    comment: str | None = None
    pinned_by: tuple[str, ...] = ()


class Role(Enum):
    """What a column tells of its row."""

    KEY = "key"
    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    CURSOR = "cursor"
    LOADED_AT = "loaded at"


@dataclass(frozen=True)
class Target:
    """A table of the destination as it stands, with what people have hung on it.

    Args:
        ref: where it lies.
        columns: in order.
        indexes: name of each index that somebody made, with the statement that makes it; without ingestr's own.
        constraints: PRIMARY KEY, UNIQUE, CHECK and FOREIGN KEY as the engine spells them.
        referenced_by: other tables whose foreign keys point here.
        comment: what people noted about the table, or None.
        others: whatever else it would lose if it were made anew, in words: views, triggers, privileges, its owner.
        tells_case: whether the engine takes names that differ in case only for names of two things.
        commentable: whether the login may comment on it.
        roles: the column of each role, where a run has settled that; the table need not have it.
    """

    ref: TableRef
    columns: tuple[TargetColumn, ...]
    indexes: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    referenced_by: tuple[str, ...] = ()
    comment: str | None = None
    others: tuple[str, ...] = ()
    tells_case: bool = False
    commentable: bool = True
    roles: Mapping[Role, str] = field(default_factory=dict)

    def of(self, role: Role) -> TargetColumn | None:
        """The column of a role, if there is one."""
        return self.find(self.roles.get(role))

    def find(self, name: str | None) -> TargetColumn | None:
        """The column of this name, in any case where there is none that is spelled just so."""
        if name is None:
            return None
        return self._by_name.get(name) or self._by_lower_name.get(name.lower())

    @cached_property
    def _by_name(self) -> dict[str, TargetColumn]:
        return {column.name: column for column in self.columns}

    @cached_property
    def _by_lower_name(self) -> dict[str, TargetColumn]:
        return {column.name.lower(): column for column in self.columns}


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, asked before a call to the source is spent.

    Args:
        dialect: its SQL, as sqlglot calls it.
        strategies: what it can do in one step that others see as a whole.
        reasons: why it cannot do others.
        in_place_of: types that it has not, or cannot tell equal values of, each with the one that takes its place.
        longest_name: how many bytes a name of a column may have; None where there is no such bound.
        exclusive: whether one process at a time has the whole database to itself.
        indexes_keys: whether it needs an index to find rows by their key without reading all of the table.
    """

    dialect: str
    strategies: frozenset[str]
    reasons: Mapping[str, str] = field(default_factory=dict)
    in_place_of: Mapping[str, str] = field(default_factory=dict)
    longest_name: int | None = None
    exclusive: bool = False
    indexes_keys: bool = False

    def refuses(self, strategy: str) -> str | None:
        """Why a strategy cannot be done; None if it can."""
        if strategy in self.strategies:
            return None
        return self.reasons.get(strategy, "it knows no way that others see as one step")


class Destination(Protocol):
    """One database, one connection, one transaction a load.

    ``load`` begins the transaction if none is open, ``commit`` ends it; ``rollback`` leaves everything as it was.
    """

    default_schema: str
    capabilities: Capabilities

    def connect(self) -> None:
        """Open the connection; raises DestinationError or ConfigurationError."""

    def beside(self) -> "Destination":
        """Another connection to the same database, not open yet, for another table of the same session.

        This one must be open already, and stay open longer.
        """

    def exists(self) -> bool:
        """Whether there is a database; a file is made only when something is written."""

    def check_catalog(self, catalog: str | None) -> None:
        """Refuse a catalog that the user names and that is another than the open database."""

    def reserve(self, table: TableRef) -> None:
        """Keep other runs off a table until the connection is closed; waits for one that is at it.

        Raises:
            ConfigurationError: nobody could tell the table's name from that of another.
            DestinationError: the other run takes too long.
        """

    def describe(self, *tables: TableRef) -> list[Target | None]:
        """The tables as they stand, None where there is no such table; one round trip for all of them."""

    def query(self, *queries: exp.Query) -> list[Rows]:
        """The rows of each query, inside the open transaction if there is one; one round trip for all of them."""

    def load(self, stream: RecordStream, staging: TableRef, *, lasting: bool = True) -> int:
        """Create the staging table from the stream by the engine's own bulk path; returns the rows it holds.

        Args:
            stream: the rows.
            staging: the table.
            lasting: whether it may become the target, rather than to be dropped before the commit.
        """

    def execute(self, statements: Sequence[exp.Expr]) -> list[Rows]:
        """Run statements inside the transaction, beginning it if need be; one round trip for all of them.

        Returns:
            The rows of those that are queries, in order.
        """

    def commit(self, written: TableRef | None = None) -> None:
        """Make everything since the last commit visible at once; ``written`` is the table that it changes most."""

    def rollback(self) -> None:
        """Undo everything since the last commit."""

    def close(self) -> None:
        """Roll back what is open and close the connection."""
