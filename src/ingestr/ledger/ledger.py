"""What ingestr keeps about one target, looked at once a run. Knows no meaning of what is kept."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.sql import Statements, column
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef, Target
from ingestr.ledger.table import SystemTable, about
from ingestr.strategies.base import drop, insert_into

log = logging.getLogger("ingestr")
_ROWS_A_BATCH = 10_000


class Ledger:
    """The tables of ``_ingestr`` as they stood when the run began, and their rows about one target.

    Two round trips: one for the tables, one for the rows. What this run writes later is not in it.

    Args:
        destination: holds the target.
        target: the table that the rows are about.
        tables: all tables that the run asks for.
        known: these tables as they stand, where somebody has looked at them already; None where nobody has.

    Attributes:
        ref: the target's name.
        tables: those that were asked for.
        target: the target as it stood then, or None.
    """

    def __init__(
        self,
        destination: Destination,
        target: TableRef,
        tables: Iterable[SystemTable],
        known: Mapping[str, Target | None] | None = None,
    ) -> None:
        self._destination = destination
        self.ref = target
        self.tables = tuple(tables)
        every = {each.name: each for each in self.tables}
        self.target, *found = destination.describe(target, *(each.ref for each in self.tables if known is None))
        self._there: dict[str, Target | None] = dict(zip(every, found, strict=True)) if known is None else dict(known)
        readable = {
            name: each.select(target, there)
            for name, each in every.items()
            if (there := self._there[name]) is not None and not each.faults(there)
        }
        rows = destination.query(*readable.values()) if readable else []
        self._rows = dict(zip(readable, rows, strict=True))

    def rows(self, table: SystemTable) -> list[dict[str, Any]]:
        """The rows about the target; none where the table has not been made.

        Raises:
            DestinationError: the table is not one that ingestr made.
        """
        there = self._there[table.name]
        if there is not None:
            table.check(there)
        return [table.parse(row) for row in self._rows.get(table.name, [])]

    def select(self, table: SystemTable) -> exp.Select | None:
        """A query for all rows about the target; None where the table was not there, or not as ingestr makes it."""
        there = self._there[table.name]
        return table.select_all(there).where(about(self.ref)) if there is not None and self.has(table) else None

    def has(self, table: SystemTable) -> bool:
        """Whether the table was there when the run began, as ingestr makes it."""
        return self._there[table.name] is not None and self.is_sound(table)

    def is_sound(self, table: SystemTable) -> bool:
        """Whether the table is as ingestr makes it, or not made yet."""
        there = self._there[table.name]
        return there is None or not table.faults(there)

    def make_way(self, table: SystemTable) -> None:
        """Remove a table of ours that is not as we make it, where nothing in it can be of use."""
        if not self.is_sound(table):
            log.debug("%s is of another form, and is made anew", table.ref)
            self._destination.execute([drop(table.ref)])
            self._destination.commit()
            self._there[table.name] = None

    def ensure(self, table: SystemTable) -> Statements:
        """Statements after which the table is there with all of its columns."""
        return table.ensure(self._there[table.name])

    def replace(self, table: SystemTable, rows: Iterable[Mapping[str, object]]) -> Statements:
        """Statements that leave exactly these rows about the target."""
        return [*self.ensure(table), self.delete(table), *table.insert(self.ref, rows)]

    def load(self, table: SystemTable, rows: Iterable[Mapping[str, object]], staging: TableRef) -> None:
        """Leave exactly these rows about the target, however many they are: they go by the engine's bulk path.

        Args:
            table: whose rows they are.
            rows: values by the names of the table's columns.
            staging: a table where they wait, which is not there.

        Raises:
            DestinationError: the table is not one that ingestr made.
        """
        self.rows(table)
        schema = table.schema
        named = {"table_schema": self.ref.schema, "table_name": self.ref.name}
        stream = RecordStream(schema, _batches(({**named, **row} for row in rows), schema.arrow))
        self._destination.execute([*self.ensure(table), self.delete(table)])
        self._destination.load(stream, staging, lasting=False)
        staged = exp.select(*map(column, schema.names)).from_(staging.to_table())
        self._destination.execute([insert_into(table.ref, schema.names, staged), drop(staging)])

    def insert(self, table: SystemTable, rows: Iterable[Mapping[str, object]]) -> Statements:
        """INSERT of rows about the target; nothing where there are none."""
        return table.insert(self.ref, rows)

    def drop_if_empty(self, table: SystemTable) -> None:
        """Remove a table when its last row is gone, where no other run can be about to write to it."""
        if self._destination.capabilities.exclusive:
            [rows] = self._destination.query(exp.select("1").from_(table.ref.to_table()).limit(1))
            if not rows:
                self._destination.execute([drop(table.ref)])
                self._there[table.name] = None

    def delete(self, table: SystemTable, *those: exp.Expr) -> exp.Expr:
        """DELETE of the rows about the target, or of those among them."""
        return table.delete(self.ref, *those)


def _batches(rows: Iterator[Mapping[str, object]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while some := list(islice(rows, _ROWS_A_BATCH)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)
