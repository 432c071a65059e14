"""Tables of the schema ``_ingestr``: rows about targets, made, read and replaced as SQL. Knows no table's meaning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import normal_type
from ingestr.core.sql import Statements, column, identifier, sql_type
from ingestr.destinations.base import SYSTEM_SCHEMA, Destination, TableRef
from ingestr.errors import DestinationError
from ingestr.strategies.base import alter, create_schema, drop

_TARGET = {"table_schema": pa.string(), "table_name": pa.string()}


@dataclass(frozen=True)
class SystemTable:
    """One table of ours.

    Args:
        name: its name in the schema ``_ingestr``.
        columns: its columns beside those that name the target.
        later: those of them that tables of earlier versions lack; null there.
    """

    name: str
    columns: Mapping[str, pa.DataType]
    later: frozenset[str] = frozenset()

    @property
    def ref(self) -> TableRef:
        """Where it lies."""
        return TableRef(SYSTEM_SCHEMA, self.name)

    def exists(self, destination: Destination) -> bool:
        """Whether it has been made."""
        return destination.describe(self.ref) is not None

    def rows(self, destination: Destination, target: TableRef) -> list[dict[str, Any]]:
        """The rows about a target; none where the table has not been made.

        Raises:
            DestinationError: the table is not one that ingestr made.
        """
        there = destination.describe(self.ref)
        if there is None:
            return []
        found = {each.name: normal_type(each.type) for each in there.columns}
        wrong = [
            name
            for name, type_ in {**_TARGET, **self.columns}.items()
            if found.get(name) != type_ and not (name in self.later and name not in found)
        ]
        if wrong:
            raise DestinationError(
                f"{self.ref} is not as ingestr made it: {', '.join(wrong)} is missing, or of another type",
                hint="another version of ingestr may have made it; rename the table, and the next run makes it anew",
            )
        names = [column(name) for name in self.columns if name in found]
        rows = destination.query(exp.select(*names).from_(self.ref.to_table()).where(about(target)))
        return [dict.fromkeys(self.columns) | row for row in rows]

    def ensure(self) -> Statements:
        """Statements after which the table is there."""
        definitions = [
            exp.ColumnDef(this=identifier(name), kind=sql_type(type_))
            for name, type_ in {**_TARGET, **self.columns}.items()
        ]
        schema = exp.Schema(this=self.ref.to_table(), expressions=definitions)
        added = [
            alter(self.ref, exp.ColumnDef(this=identifier(name), kind=sql_type(self.columns[name]), exists=True))
            for name in sorted(self.later)
        ]
        return [create_schema(SYSTEM_SCHEMA), exp.Create(this=schema, kind="TABLE", exists=True), *added]

    def replace(self, target: TableRef, rows: Iterable[Mapping[str, object]]) -> Statements:
        """Statements that leave exactly these rows about the target."""
        return [*self.ensure(), self.delete(target), *self.insert(target, rows)]

    def delete(self, target: TableRef, *those: exp.Expr) -> exp.Expr:
        """DELETE of the rows about the target, or of those among them."""
        return exp.delete(self.ref.to_table(), where=exp.and_(about(target), *those))

    def drop_if_empty(self, destination: Destination) -> None:
        """Remove the table when its last row is gone."""
        if not destination.query(exp.select("1").from_(self.ref.to_table()).limit(1)):
            destination.execute([drop(self.ref)])

    def insert(self, target: TableRef, rows: Iterable[Mapping[str, object]]) -> Statements:
        """INSERT of rows about the target; nothing where there are none."""
        types = {**_TARGET, **self.columns}
        named = {"table_schema": target.schema, "table_name": target.name}
        tuples = [
            exp.Tuple(expressions=[_literal({**named, **row}[name], type_) for name, type_ in types.items()])
            for row in rows
        ]
        columns = [identifier(name) for name in types]
        return [exp.insert(exp.Values(expressions=tuples), self.ref.to_table(), columns=columns)] if tuples else []


def about(target: TableRef) -> exp.Expr:
    """The condition for rows about a target: engines find a table under its name in any case."""
    return exp.and_(
        exp.func("LOWER", column("table_schema")).eq(target.schema.lower()),
        exp.func("LOWER", column("table_name")).eq(target.name.lower()),
    )


def _literal(value: object, type_: pa.DataType) -> exp.Expr:
    if isinstance(value, datetime):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), sql_type(type_))
    return exp.convert(value)
