"""What every destination must do; each engine's tests inherit it and say how to reach its database."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pytest
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.secret import Secret
from ingestr.core.sql import absent_from, column, identifier, sql_type
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, TableRef, Target
from ingestr.errors import ConfigurationError, DestinationError, SourceError
from ingestr.registry import open_destination
from ingestr.strategies.base import alter, create_from, create_schema, drop
from ingestr.strategies.fit import as_flag, as_moment, misfit
from support import Database, uri_of

TABLE, OTHER = TableRef("public", "Some table"), TableRef("public", "other")
TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "flag": pa.bool_(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "day": pa.date32(),
    "hour": pa.time64("us"),
    "moment": TIMESTAMP,
}
VALUES: dict[str, list[Any]] = {
    "text": [
        *("", " ", "\\N", "NULL", "'; DROP TABLE x; --", 'a"b', "a\\b\\", "007", "1\n2\r\n\t3"),
        *("\u2028\u200b", "é🦆", "x" * 70_000),
    ],
    "flag": [True, False],
    "whole": [0, -1, 2**63 - 1, -(2**63)],
    "number": [0.0, -1.5, 0.1, 1e308, 5e-324, 12345678.9],
    "day": [date(1700, 1, 1), date(1970, 1, 1), date(4000, 12, 31)],
    "hour": [time(0), time(23, 59, 59, 999_999)],
    "moment": [
        datetime(1700, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 123_456, tzinfo=UTC),
        datetime(4000, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
}


def schema_of(**types: pa.DataType) -> TableSchema:
    """Columns of these names and types."""
    return TableSchema(tuple(Column(name, type_, name) for name, type_ in types.items()))


def stream_of(schema: TableSchema, *batches: list[dict[str, Any]]) -> RecordStream:
    """Batches of rows."""
    return RecordStream(schema, [pa.RecordBatch.from_pylist(rows, schema=schema.arrow) for rows in batches])


def described(destination: Destination, table: TableRef) -> Target:
    """A table that is there."""
    [target] = destination.describe(table)
    assert target is not None
    return target


def rows_of(destination: Destination, query: exp.Query) -> list[dict[str, Any]]:
    """The rows of one query."""
    [rows] = destination.query(query)
    return rows


def everything(table: TableRef) -> exp.Select:
    """A query for the rows of a table."""
    return exp.select("*").from_(table.to_table())


class DestinationConformance:
    """The rules; a subclass overrides ``database``."""

    @pytest.fixture
    def database(self) -> Database:
        """Where the test writes."""
        raise NotImplementedError

    @pytest.fixture
    def destination(self, database: Database) -> Iterator[Destination]:
        """A connection, with the schema of the tests made."""
        with closing(self.opened(database)) as destination:
            destination.execute([create_schema("public")])
            destination.commit()
            yield destination

    def opened(self, database: Database) -> Destination:
        """A connection to it."""
        destination = open_destination(Secret(uri_of(database)), in_process=True)
        destination.connect()
        return destination

    def sql(self, database: Database, text: str) -> list[tuple[Any, ...]]:
        """Run statements as somebody else would; returns the rows of the last one."""
        raise NotImplementedError

    def tables(self, database: Database) -> list[str]:
        """The tables that others see."""
        system = "('information_schema', 'pg_catalog')"
        names = "SELECT table_schema || '.' || table_name AS t FROM information_schema.tables"
        return [name for (name,) in self.sql(database, f"{names} WHERE table_schema NOT IN {system} ORDER BY t")]

    @pytest.mark.parametrize("name", TYPES)
    def test_every_value_comes_back(self, destination: Destination, name: str) -> None:
        """Each type holds its extremes, null and the empty text apart, in several batches."""
        schema = schema_of(n=pa.int64(), value=TYPES[name])
        rows = [{"n": n, "value": value} for n, value in enumerate([None, *VALUES[name], None])]
        assert destination.load(stream_of(schema, rows[:2], [], rows[2:]), TABLE) == len(rows)
        assert rows_of(destination, everything(TABLE).order_by("n")) == rows
        destination.commit()
        assert rows_of(destination, everything(TABLE).order_by("n")) == rows
        target = described(destination, TABLE)
        value = target.find("VALUE")
        assert value is not None
        assert (value.kind, value.nullable, value.default, value.generated) == (
            sql_type(TYPES[name]),
            True,
            None,
            False,
        )
        assert value.type == TYPES[name] or pa.types.is_timestamp(value.type)

    def test_a_stream_without_rows_makes_the_table(self, destination: Destination) -> None:
        """All columns are there, in their order."""
        assert destination.load(stream_of(schema_of(**TYPES)), TABLE) == 0
        target = described(destination, TABLE)
        assert [each.name for each in target.columns] == list(TYPES)
        assert rows_of(destination, everything(TABLE)) == []

    def test_nothing_is_seen_before_the_commit(self, destination: Destination, database: Database) -> None:
        """Rows, and tables made, renamed or dropped, are seen by others with the commit, all at once."""
        schema = schema_of(id=pa.int64())
        destination.load(stream_of(schema, [{"id": 1}]), OTHER)
        destination.commit()
        before = self.tables(database)
        destination.load(stream_of(schema, [{"id": 2}]), TABLE)
        destination.execute([exp.delete(OTHER.to_table())])
        assert rows_of(destination, everything(OTHER)) == []
        assert self.sql(database, "SELECT * FROM public.other") == [(1,)]
        assert self.tables(database) == before
        rename = exp.AlterRename(this=exp.table_(OTHER.name, quoted=True))
        added = exp.ColumnDef(this=identifier("Order"), kind=sql_type(pa.string()))
        destination.execute([drop(OTHER), alter(TABLE, rename), alter(OTHER, added)])
        assert rows_of(destination, everything(OTHER)) == [{"id": 2, "Order": None}]
        destination.commit()
        assert self.sql(database, "SELECT * FROM public.other") == [(2, None)]

    @pytest.mark.parametrize("how", ["rollback", "close", "producer", "statement"])
    def test_what_is_not_committed_never_was(self, database: Database, how: str) -> None:
        """A rollback, a closed connection, a failing producer or statement leave everything as it was."""
        schema = schema_of(id=pa.int64())
        with closing(self.opened(database)) as destination:
            destination.execute([create_schema("public")])
            destination.load(stream_of(schema, [{"id": 1}]), OTHER)
            destination.commit()
            destination.execute([exp.delete(OTHER.to_table()), create_schema("fresh")])
            if how == "producer":

                def fail() -> Iterator[pa.RecordBatch]:
                    yield pa.RecordBatch.from_pylist([{"id": 5}], schema=schema.arrow)
                    raise SourceError("the source is gone", hint="wait")

                with pytest.raises(SourceError, match="the source is gone") as caught:
                    destination.load(RecordStream(schema, fail()), TABLE)
                assert caught.value.hint == "wait"
            elif how == "statement":
                with pytest.raises(DestinationError):
                    rows_of(destination, exp.select("no_such_column").from_(OTHER.to_table()))
            else:
                destination.load(stream_of(schema, [{"id": 2}]), TABLE)
            if how != "close":
                destination.rollback()
                assert rows_of(destination, everything(OTHER)) == [{"id": 1}]
                # The connection is good for another load.
                assert destination.load(stream_of(schema, [{"id": 3}]), TABLE) == 1
        assert self.tables(database) == ["public.other"]
        assert self.sql(database, "SELECT * FROM public.other") == [(1,)]

    def test_tables_are_described_together(self, destination: Destination) -> None:
        """Those that are not there are left out."""
        destination.load(stream_of(schema_of(id=pa.int64())), OTHER)
        missing = TableRef("public", "missing")
        assert destination.describe(missing, OTHER, missing) == [None, described(destination, OTHER), None]

    def test_what_hangs_on_a_table_is_described(self, destination: Destination, database: Database) -> None:
        """Defaults, NOT NULL, computed columns, indexes, keys and comments, as far as every engine has them."""
        self.sql(
            database,
            "CREATE TABLE public.t(id INTEGER PRIMARY KEY, n DECIMAL(5,2) DEFAULT 1, m TEXT NOT NULL); "
            "CREATE INDEX ns ON public.t(n); CREATE TABLE public.child(t_id INTEGER REFERENCES public.t(id)); "
            "COMMENT ON TABLE public.t IS 'mine'; COMMENT ON COLUMN public.t.n IS 'a number'",
        )
        target = described(destination, TableRef("public", "t"))
        assert (target.comment, list(target.indexes), target.referenced_by) == ("mine", ["ns"], ("public.child",))
        assert any("PRIMARY KEY" in constraint for constraint in target.constraints)
        key, number, text = target.columns
        assert (key.nullable, number.nullable, text.nullable) == (False, True, False)
        assert (number.type, number.comment) == (pa.decimal128(5, 2), "a number")
        assert number.default is not None
        assert text.kind == sql_type(pa.string())

    def test_a_view_is_no_target(self, destination: Destination, database: Database) -> None:
        """The name may be that of a view somebody needs."""
        self.sql(database, "CREATE VIEW public.v AS SELECT 1 AS id")
        with pytest.raises(DestinationError, match="is a view"):
            destination.describe(TableRef("public", "v"))

    def test_another_catalog_is_refused(self, destination: Destination) -> None:
        """Only the database's own may be named."""
        destination.check_catalog(None)
        with pytest.raises(ConfigurationError, match="names the catalog 'elsewhere'"):
            destination.check_catalog("elsewhere")

    @pytest.mark.parametrize(
        ("kind", "good", "bad"),
        [
            ("INTEGER", ["1", "-5", None], ["x", "007", "1.5", "99999999999", ""]),
            ("DECIMAL(5,2)", ["123.45", "0.50"], ["1234.5", "0.005", "1e3", "x"]),
            ("DATE", ["2026-01-31"], ["2026-02-31", "soon"]),
            ("BOOLEAN", ["true", "false"], ["yes", "2"]),
        ],
    )
    def test_values_that_a_type_does_not_hold_are_found(
        self, destination: Destination, database: Database, kind: str, good: list[Any], bad: list[Any]
    ) -> None:
        """A text fits another type where the way back gives the same text."""
        self.sql(database, f"CREATE TABLE public.t(value {kind})")
        rows = [{"value": value} for value in [*good, *bad]]
        destination.load(stream_of(schema_of(value=pa.string()), rows), OTHER)
        target = described(destination, TableRef("public", "t"))
        there = target.columns[0]
        found = rows_of(destination, everything(OTHER).where(misfit(there, pa.string())))
        assert sorted(row["value"] for row in found) == sorted(bad)

    def test_roles_are_read_from_any_type(self, destination: Destination, database: Database) -> None:
        """Times and marks that somebody keeps as text, or without a zone, are read as what they mean."""
        self.sql(
            database,
            "CREATE TABLE public.t(a TEXT, b TIMESTAMP, c DATE, d TEXT); INSERT INTO public.t VALUES "
            "('2026-01-01 00:00:00+00', '2026-01-01', '2026-01-01', 'true'), ('soon', NULL, NULL, 'maybe')",
        )
        target = described(destination, TableRef("public", "t"))
        a, b, c, d = target.columns
        moments = [as_moment(each, column(each.name)).as_(each.name) for each in (a, b, c)]
        rows = rows_of(destination, exp.select(*moments, as_flag(d, column("d")).as_("d")).from_(target.ref.to_table()))
        start = datetime(2026, 1, 1, tzinfo=UTC)
        assert sorted((list(row.values()) for row in rows), key=repr) == [
            [None, None, None, False],
            [start] * 3 + [True],
        ]

    def test_a_key_that_is_absent(self, destination: Destination) -> None:
        """Rows whose key is not among others are found by one key column or several."""
        schema = schema_of(id=pa.string(), n=pa.int64())
        destination.load(stream_of(schema, [{"id": "a", "n": 1}, {"id": "b", "n": 2}]), TABLE)
        destination.load(stream_of(schema, [{"id": "a", "n": 1}, {"id": "b", "n": 3}]), OTHER)
        for names, absent in ((["id"], []), (["id", "n"], ["b"])):
            keys = [column(name) for name in names]
            there = exp.select(*keys).from_(OTHER.to_table())
            rows = rows_of(destination, everything(TABLE).where(absent_from(keys, there)))
            assert [row["id"] for row in rows] == absent

    def test_long_names_of_ours_do_not_meet(self, destination: Destination) -> None:
        """Names that agree in more bytes than an engine may keep are those of two tables."""
        long = "x" * 61
        for end in ("first", "second"):
            rows = exp.select(exp.convert(end).as_("a"))
            destination.execute([create_from(TableRef("public", f"{long}_{end}"), rows)])
        for end in ("first", "second"):
            assert rows_of(destination, everything(TableRef("public", f"{long}_{end}"))) == [{"a": end}]
            described(destination, TableRef("public", f"{long}_{end}"))
