"""What every strategy works on, and the statements that they share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import AddColumn, SchemaChange, TableSchema, WidenColumn, diff, normal_type
from ingestr.destinations.base import Destination, TableRef

Statements = list[exp.Expr]


@dataclass(frozen=True)
class Load:
    """Staged rows and the table they are for.

    Args:
        target: the table that readers see.
        staging: the table that holds the rows just read.
        staged: the columns of the staging table.
        current: the target's columns now, or None where it does not exist.
        primary_key: columns that identify a row; may be empty.
        cursor: the column whose highest value wins among rows of one key, or None.
        unchanging: columns that alone never make a row count as changed (the load timestamp).
        lost: columns that the source has no values for any more: null in every row that is written.
        deleted: the column that marks deleted rows, or None.
        stamp: a column whose value differs whenever the row has changed, or None; the same value proves nothing.
    """

    target: TableRef
    staging: TableRef
    staged: TableSchema
    current: pa.Schema | None
    primary_key: tuple[str, ...]
    cursor: str | None = None
    unchanging: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    deleted: str | None = None
    stamp: str | None = None


def identifier(name: str) -> exp.Identifier:
    """A quoted identifier, so that reserved words and any case survive."""
    return exp.to_identifier(name, quoted=True)


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column, of a table alias if one is given."""
    return exp.column(name, table=table, quoted=True)


def sql_type(type_: pa.DataType) -> exp.DataType:
    """The SQL type that keeps every value of an Arrow type; sqlglot spells it for the engine's dialect."""
    normal = normal_type(type_)
    names = {
        pa.string(): "TEXT",
        pa.bool_(): "BOOLEAN",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        pa.date32(): "DATE",
        pa.time64("us"): "TIME",
        pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    }
    if normal not in names:
        raise TypeError(f"no SQL type is known for {type_}")
    return exp.DataType.build(names[normal])


def drop(table: TableRef) -> exp.Expr:
    """DROP TABLE IF EXISTS."""
    return exp.Drop(tables=[table.to_table()], kind="TABLE", exists=True)


def create_schema(name: str) -> exp.Expr:
    """CREATE SCHEMA IF NOT EXISTS."""
    return exp.Create(this=exp.Table(db=identifier(name)), kind="SCHEMA", exists=True)


def alter(table: TableRef, action: exp.Expr) -> exp.Expr:
    """ALTER TABLE with one action."""
    return exp.Alter(this=table.to_table(), kind="TABLE", actions=[action])


def swap(load: Load) -> Statements:
    """Staging takes the target's place; what the target held is gone."""
    rename = exp.AlterRename(this=exp.table_(load.target.name, quoted=True))
    return [drop(load.target), alter(load.staging, rename)]


def evolve(load: Load) -> Statements:
    """Give the target the columns and types that the staged rows need."""
    changes: list[SchemaChange] = diff(load.current, load.staged) if load.current is not None else []
    statements: Statements = []
    for change in changes:
        match change:
            case AddColumn(name, type_):
                action: exp.Expr = exp.ColumnDef(this=identifier(name), kind=sql_type(type_))
            case WidenColumn(name, type_):
                action = exp.AlterColumn(this=identifier(name), dtype=sql_type(type_))
            case _:
                assert_never(change)
        statements.append(alter(load.target, action))
    return statements


def evolved(load: Load) -> pa.Schema:
    """The target's columns once ``evolve`` has run."""
    current = {field.name.lower(): (field.name, normal_type(field.type)) for field in load.current or ()}
    for change in diff(load.current, load.staged) if load.current is not None else []:
        current[change.name.lower()] = (change.name, change.type)
    return pa.schema(list(current.values()))


def count_rows(destination: Destination, table: TableRef, where: exp.Expr | None = None) -> int:
    """Rows of a table, or those of them for which a condition is true."""
    counted = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(table.to_table())
    return int(destination.query(counted if where is None else counted.where(where))[0]["n"])


def key_census(load: Load) -> exp.Query:
    """One row: staged ``rows``, rows with a null in the primary key, and distinct keys."""
    keys = [column(name) for name in load.primary_key]
    any_null = exp.or_(*(key.copy().is_(exp.null()) for key in keys))
    distinct = exp.select(*keys).distinct().from_(load.staging.to_table())
    nulls = exp.select(exp.Count(this=exp.Star())).from_(load.staging.to_table()).where(any_null)
    total = exp.select(exp.Count(this=exp.Star())).from_(load.staging.to_table())
    keyed = exp.select(exp.Count(this=exp.Star())).from_(distinct.subquery("k"))
    return exp.select(
        total.subquery().as_("rows"), nulls.subquery().as_("null_keys"), keyed.subquery().as_("distinct_keys")
    )


def deduplicate(load: Load) -> tuple[Load, Statements]:
    """Keep one staged row a key, the one with the newest cursor value; returns the load over what remains."""
    clean = replace(load, staging=TableRef(load.staging.schema, load.staging.name + "_distinct"))
    newest = [column(load.cursor).desc(nulls_first=False)] if load.cursor else [column(load.primary_key[0]).asc()]
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name) for name in load.primary_key],
        order=exp.Order(expressions=newest),
    )
    columns = [column(name) for name in load.staged.names]
    ranked = exp.select(*columns, rank.as_("_rank")).from_(load.staging.to_table()).subquery("r")
    rows = exp.select(*columns).from_(ranked).where(exp.column("_rank").eq(1))
    create = exp.Create(this=clean.staging.to_table(), kind="TABLE", expression=rows)
    return clean, [create, drop(load.staging)]


def matches(names: Sequence[str], left: str, right: str) -> exp.Expr:
    """``left.k = right.k AND …``."""
    return exp.and_(*(column(name, left).eq(column(name, right)) for name in names))
