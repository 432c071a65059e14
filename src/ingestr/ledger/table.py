"""Tables of the schema ``_ingestr``: rows about targets, made, read and replaced as SQL. Knows no table's meaning."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema, normal_type
from ingestr.core.sql import Statements, column, identifier, sql_type
from ingestr.destinations.base import SYSTEM_SCHEMA, TableRef, Target
from ingestr.errors import DestinationError
from ingestr.strategies.base import alter, create_schema

_TARGET = {"table_schema": pa.string(), "table_name": pa.string()}


@dataclass(frozen=True)
class SystemTable:
    """One table of ours.

    Args:
        name: its name in the schema ``_ingestr``.
        columns: its columns beside those that name the target.
        later: those of them that tables of earlier versions lack; null there.
        most: as many rows about the target a run has to see; None for all.
        shared: its rows are about all targets of the destination.
    """

    name: str
    columns: Mapping[str, pa.DataType]
    later: frozenset[str] = frozenset()
    most: int | None = None
    shared: bool = False

    @property
    def ref(self) -> TableRef:
        """Where it lies."""
        return TableRef(SYSTEM_SCHEMA, self.name)

    @property
    def schema(self) -> TableSchema:
        """All its columns, those that name the target first."""
        return TableSchema(tuple(Column(name, type_) for name, type_ in {**_TARGET, **self.columns}.items()))

    def faults(self, there: Target) -> list[str]:
        """The columns that are missing, or of another type than ingestr gives them."""
        found = {each.name: normal_type(each.type) for each in there.columns}
        return [
            name
            for name, type_ in {**_TARGET, **self.columns}.items()
            if found.get(name) != type_ and not (name in self.later and name not in found)
        ]

    def check(self, there: Target) -> None:
        """Refuse a table that has faults.

        Raises:
            DestinationError: the table is not one that ingestr made.
        """
        if wrong := self.faults(there):
            raise DestinationError(
                f"{self.ref} is not as ingestr made it: {', '.join(wrong)} is missing, or of another type",
                hint="another version of ingestr may have made it; rename the table, and the next run makes it anew",
            )

    def select(self, target: TableRef, there: Target) -> exp.Select:
        """A query for the rows about a target, as far as the table has the columns; moments come as text.

        An engine may hold moments that Python cannot: infinity, or the year 10000.
        """
        rows = self.select_all(there).where(self._about(target), copy=False)
        return rows if self.most is None else rows.limit(self.most, copy=False)

    def select_all(self, there: Target) -> exp.Select:
        """The same for the rows about every target."""
        asked = [
            exp.cast(column(name), "TEXT").as_(name, quoted=True) if type_ == TIMESTAMP else column(name)
            for name, type_ in self.columns.items()
            if there.find(name) is not None
        ]
        return exp.Select().select(*asked, copy=False).from_(self.ref.to_table(), copy=False)

    def parse(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of ``select`` with its moments in UTC; None for what the table lacks, and for what is no moment."""
        return {
            name: _moment(row.get(name)) if type_ == TIMESTAMP else row.get(name)
            for name, type_ in self.columns.items()
        }

    def ensure(self, there: Target | None) -> Statements:
        """Statements after which the table is there with all of its columns."""
        if there is not None:
            lacking = [name for name in sorted(self.later) if there.find(name) is None]
            return [
                alter(self.ref, exp.ColumnDef(this=identifier(name), kind=sql_type(self.columns[name]), exists=True))
                for name in lacking
            ]
        definitions = [
            exp.ColumnDef(this=identifier(name), kind=sql_type(type_))
            for name, type_ in {**_TARGET, **self.columns}.items()
        ]
        schema = exp.Schema(this=self.ref.to_table(), expressions=definitions)
        return [create_schema(SYSTEM_SCHEMA), exp.Create(this=schema, kind="TABLE", exists=True)]

    def delete(self, target: TableRef, *those: exp.Expr) -> exp.Expr:
        """DELETE of the rows about the target, or of those among them."""
        return exp.delete(self.ref.to_table(), where=exp.and_(self._about(target), *those))

    def _about(self, target: TableRef) -> exp.Expr:
        return about(self.ref if self.shared else target)

    def insert(self, target: TableRef, rows: Iterable[Mapping[str, object]]) -> Statements:
        """INSERT of rows about the target; nothing where there are none."""
        types = {**_TARGET, **self.columns}
        subject = self.ref if self.shared else target
        named = {"table_schema": subject.schema, "table_name": subject.name}
        columns = [identifier(name) for name in types]
        values = [[_literal({**named, **row}[name], type_) for name, type_ in types.items()] for row in rows]
        tuples = exp.Values(expressions=[exp.Tuple(expressions=row) for row in values])
        return [exp.insert(tuples, self.ref.to_table(), columns=columns)] if values else []


def about(target: TableRef) -> exp.Expr:
    """The condition for rows about a target: engines find a table under its name in any case."""
    return exp.and_(
        exp.func("LOWER", column("table_schema")).eq(target.schema.lower()),
        exp.func("LOWER", column("table_name")).eq(target.name.lower()),
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment_literal(moment: datetime) -> exp.Expr:
    """A moment as SQL."""
    return _literal(moment, TIMESTAMP)


def _literal(value: object, type_: pa.DataType) -> exp.Expr:
    if isinstance(value, datetime):
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), sql_type(type_))
    return exp.convert(value)
