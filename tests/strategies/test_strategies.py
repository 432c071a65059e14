"""Strategies on real databases, against a small model in plain Python."""

from dataclasses import replace as replace_fields
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestr.core.schema import TIMESTAMP, Column, TableSchema, normal_type
from ingestr.core.strategy import SchemaContract
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef
from ingestr.strategies import merge, replace
from ingestr.strategies.base import Load, create_schema, deduplicate, key_census
from ingestr.strategies.fit import fit

TARGET = TableRef("public", "order")
STAGING = TableRef("public", "_staging")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def schema_of(**types: pa.DataType) -> TableSchema:
    """Columns of these names and types."""
    return TableSchema(tuple(Column(name, type_, name) for name, type_ in types.items()))


PLAIN = schema_of(id=pa.string(), n=pa.int64(), stamp=TIMESTAMP)


def stage(database: Destination, rows: list[dict[str, Any]], schema: TableSchema = PLAIN) -> Load:
    """Rows in the staging table, as a load."""
    database.execute([create_schema("public")])
    batches = pa.Table.from_pylist(rows, schema=schema.arrow).to_batches()
    database.load(RecordStream(schema, batches), STAGING)
    target = database.describe(TARGET)[0]
    # Every column of these tables was made by ingestr, with the type that it has.
    made = {each.name.lower(): str(normal_type(each.type)) for each in target.columns} if target is not None else {}
    fitting = fit(target, schema, made=made, contract=SchemaContract.EVOLVE) if target is not None else None
    return Load(TARGET, STAGING, schema, target, fitting, ("id",), "stamp" if "stamp" in schema.names else None)


def content(database: Destination) -> list[dict[str, Any]]:
    """The target's rows by id."""
    from sqlglot import exp

    [rows] = database.query(exp.select("*").from_(TARGET.to_table()).order_by('"id"'))
    return rows


def run_merge(database: Destination, load: Load) -> dict[str, Any]:
    """De-duplicate, count and merge, as the pipeline does."""
    census = database.query(key_census(load))[0][0]
    if census["rows"] != census["distinct_keys"]:
        load, statements = deduplicate(load)
        database.execute(statements)
    database.execute(merge.prepare(load))
    counted = database.query(merge.census(load))[0][0]
    assert counted.pop("repeated", 0) == 0
    database.execute(merge.plan(load))
    return counted


def row(key: str, n: int | None, second: int = 0) -> dict[str, Any]:
    """One row."""
    return {"id": key, "n": n, "stamp": NOW.replace(second=second)}


def test_replace_swaps_and_leaves_no_staging(database: Destination) -> None:
    """After a replace the target is exactly what was staged."""
    database.execute(replace.plan(stage(database, [row("a", 1), row("b", 2)])))
    database.execute(replace.plan(stage(database, [row("c", 3)])))
    assert content(database) == [row("c", 3)]
    assert database.describe(STAGING) == [None]


def test_merge_counts_what_it_does(database: Destination) -> None:
    """New keys are inserted, changed rows updated, equal rows left alone; nulls compare as values."""
    run_merge(database, stage(database, [row("a", 1), row("b", None), row("c", 3), row("e", None)]))
    counted = run_merge(
        database, stage(database, [row("a", 1), row("b", None), row("c", None), row("d", 4), row("e", 5)])
    )
    assert counted == {"inserted": 1, "updated": 2, "unchanged": 2}
    assert content(database) == [row("a", 1), row("b", None), row("c", None), row("d", 4), row("e", 5)]
    assert database.describe(STAGING) == [None]


def test_the_newest_of_one_key_wins(database: Destination) -> None:
    """Staging may hold a key twice; the higher cursor value stays."""
    run_merge(database, stage(database, [row("a", 1, 5), row("a", 2, 9), row("a", 3, 7), row("b", 1)]))
    assert content(database) == [row("a", 2, 9), row("b", 1)]


def test_new_columns_are_added_and_lost_ones_stay(database: Destination) -> None:
    """The target keeps every column it ever had; rows written without a column keep its value."""
    run_merge(database, stage(database, [row("a", 1)]))
    wider = schema_of(id=pa.string(), Select=pa.string(), when=pa.time64("us"))
    counted = run_merge(database, stage(database, [{"id": "a", "Select": "x", "when": None}], wider))
    assert counted == {"inserted": 0, "updated": 1, "unchanged": 0}
    assert content(database) == [{**row("a", 1), "Select": "x", "when": None}]


def test_columns_are_widened_never_narrowed(database: Destination) -> None:
    """Integers become doubles where a double comes; once double, integers fit in."""
    run_merge(database, stage(database, [row("a", 1)]))
    run_merge(database, stage(database, [{"id": "b", "n": 2.5}], schema_of(id=pa.string(), n=pa.float64())))
    run_merge(database, stage(database, [row("c", 3)]))
    assert [r["n"] for r in content(database)] == [1.0, 2.5, 3.0]
    current = database.describe(TARGET)[0]
    assert current is not None
    number = current.find("n")
    assert number is not None
    assert number.type == pa.float64()


def test_a_changed_type_becomes_text(database: Destination) -> None:
    """A field that was a number and is text now keeps both kinds of values, as text."""
    run_merge(database, stage(database, [row("a", 1)]))
    run_merge(database, stage(database, [{"id": "b", "n": "x"}], schema_of(id=pa.string(), n=pa.string())))
    assert [r["n"] for r in content(database)] == ["1", "x"]


def test_unchanging_columns_alone_are_no_change(database: Destination) -> None:
    """A new load timestamp on an equal row leaves the old row as it was."""
    schema = schema_of(id=pa.string(), n=pa.int64(), loaded=TIMESTAMP)
    first, later = NOW, NOW.replace(hour=5)

    def load(when: datetime, n: int) -> dict[str, Any]:
        staged = stage(database, [{"id": "a", "n": n, "loaded": when}], schema)
        return run_merge(database, replace_fields(staged, unchanging=("loaded",)))

    load(first, 1)
    assert load(later, 1) == {"inserted": 0, "updated": 0, "unchanged": 1}
    assert content(database)[0]["loaded"] == first
    assert load(later, 2)["updated"] == 1
    assert content(database)[0]["loaded"] == later


ROWS = st.lists(st.tuples(st.sampled_from("abcdefg"), st.none() | st.integers(0, 3), st.integers(0, 59)), max_size=12)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_merge_is_a_dictionary(database: Destination, loads: list[list[tuple[str, int | None, int]]]) -> None:
    """Any sequence of merges leaves what a dictionary keyed by id would hold."""
    from sqlglot import exp

    database.execute([create_schema("public"), exp.Drop(tables=[TARGET.to_table()], kind="TABLE", exists=True)])
    model: dict[str, dict[str, Any]] = {}
    for rows in loads:
        newest: dict[str, dict[str, Any]] = {}
        # One (key, second) pair has one value: which of two equal stamps wins is nobody's promise.
        unique = {(key, second): n for key, n, second in rows}
        for (key, second), n in sorted(unique.items()):
            newest[key] = row(key, n, second)
        staged = [row(key, n, second) for (key, second), n in unique.items()]
        before = dict(model)
        counted = run_merge(database, stage(database, staged))
        assert counted == {
            "inserted": len(newest.keys() - before.keys()),
            "updated": sum(1 for key in newest if key in before and before[key] != newest[key]),
            "unchanged": sum(1 for key in newest if before.get(key) == newest[key]),
        }
        model.update(newest)
        assert content(database) == [model[key] for key in sorted(model)]
    database.rollback()
