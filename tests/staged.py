"""Rows staged on real databases for the tests of strategies, as a run stages them."""

from dataclasses import replace as replace_fields
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema, normal_type
from ingestr.core.strategy import SchemaContract
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef
from ingestr.strategies.base import Load, Strategy, create_schema
from ingestr.strategies.fit import fit

TARGET, STAGING = TableRef("public", "order"), TableRef("public", "_staging")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
# A row of these tests: a key, a value, and the second of its last change.
Row = tuple[str, int | None, int]


def at(second: int) -> datetime:
    """A moment of these tests."""
    return NOW.replace(minute=second // 60, second=second % 60)


def stage(database: Destination, rows: list[Row], deleted: frozenset[str] = frozenset(), **changes: Any) -> Load:
    """Rows in the staging table, as a load with ``changes``."""
    schema = TableSchema(
        tuple(
            Column(name, type_, name)
            for name, type_ in {"id": pa.string(), "n": pa.int64(), "stamp": TIMESTAMP, "gone": pa.bool_()}.items()
        )
    )
    database.execute([create_schema("public")])
    values = [{"id": key, "n": n, "stamp": at(second), "gone": key in deleted} for key, n, second in rows]
    database.load(RecordStream(schema, pa.Table.from_pylist(values, schema=schema.arrow).to_batches()), STAGING)
    target = database.describe(TARGET)[0]
    made = {each.name.lower(): str(normal_type(each.type)) for each in target.columns} if target is not None else {}
    load = Load(
        TARGET,
        STAGING,
        schema,
        target,
        fit(target, schema, made=made, contract=SchemaContract.EVOLVE) if target is not None else None,
        ("id",),
        cursor="stamp",
        deleted="gone",
        changed="stamp",
        stamp="stamp" if target is not None else None,
        incremental_key="stamp",
    )
    return replace_fields(load, **changes)


def write(database: Destination, strategy: Strategy, load: Load) -> dict[str, Any]:
    """Let a strategy write a load; the numbers that it tells are those that the table shows."""
    before = 0 if load.becomes else count(database)
    database.execute(strategy.prepare(load))
    census = database.query(strategy.census(load))[0][0]
    database.execute(strategy.plan(load))
    assert count(database) == before + int(census["grown" if "grown" in census else "inserted"])
    beside = ("", "_distinct", "_changed", "_versions", "_going", "_steps", "_ended")
    names = [TableRef(STAGING.schema, STAGING.name + name) for name in beside]
    assert database.describe(*names) == [None] * len(names)
    return census


def count(database: Destination) -> int:
    """Rows of the target."""
    [[row]] = database.query(exp.select(exp.Count(this=exp.Star()).as_("n")).from_(TARGET.to_table()))
    return int(row["n"])


def content(database: Destination, *names: str) -> list[tuple[Any, ...]]:
    """These columns of the target's rows, in order."""
    [rows] = database.query(exp.select(*(exp.column(name) for name in names)).from_(TARGET.to_table()))
    return sorted((tuple(row.values()) for row in rows), key=repr)


def empty(database: Destination) -> None:
    """There is no target."""
    database.rollback()
    database.execute([create_schema("public"), exp.Drop(tables=[TARGET.to_table()], kind="TABLE", exists=True)])
