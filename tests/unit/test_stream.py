"""RecordStream: what crosses from a source to a reader is checked, counted, and fails with its own error."""

from collections.abc import Iterator

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from ingestr.core.schema import Column, TableSchema
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import TableRef
from ingestr.destinations.duckdb import DuckDBDestination
from ingestr.errors import SourceError

SCHEMA = TableSchema((Column("id", pa.string(), "Id"), Column("n", pa.int64(), "N")))


def batch(*numbers: int) -> pa.RecordBatch:
    """A batch of rows."""
    return pa.record_batch([pa.array([str(n) for n in numbers]), pa.array(numbers, pa.int64())], names=["id", "n"])


def test_every_reader_reads_it() -> None:
    """polars, pandas, pyarrow and DuckDB take the stream as it is."""

    def stream() -> RecordStream:
        return RecordStream(SCHEMA, [batch(1, 2), batch(3)])

    assert pl.DataFrame(stream())["n"].to_list() == [1, 2, 3]
    assert pd.DataFrame.from_arrow(stream())["n"].tolist() == [1, 2, 3]  # type: ignore[attr-defined]
    assert pa.table(stream())["n"].to_pylist() == [1, 2, 3]
    rows = stream()
    assert duckdb.execute("SELECT sum(n) FROM rows").fetchall() == [(6,)]
    assert rows.rows == 3


def test_a_batch_of_another_schema_is_refused() -> None:
    """Text under a number column would load as garbage."""
    wrong = pa.record_batch([pa.array(["1"]), pa.array(["x"])], names=["id", "n"])
    with pytest.raises(TypeError, match="record batch of schema"):
        list(RecordStream(SCHEMA, [batch(1), wrong]))


def test_the_producers_error_survives_the_engine() -> None:
    """DuckDB reports text; the load raises the error that the producer raised, and nothing stays behind."""

    def failing() -> Iterator[pa.RecordBatch]:
        yield batch(1)
        raise SourceError("the original", hint="kept")

    destination = DuckDBDestination("", "/:memory:stream", {}, in_process=True)
    destination.connect()
    stream = RecordStream(SCHEMA, failing())
    with pytest.raises(SourceError, match="the original") as caught:
        destination.load(stream, TableRef("main", "t"))
    assert caught.value.hint == "kept"
    destination.rollback()
    assert destination.describe(TableRef("main", "t")) == [None]
    destination.close()


@pytest.mark.parametrize("stop_after", [0, 1, 5])
def test_it_closes_exactly_once(stop_after: int) -> None:
    """However a stream ends, what it holds is released once."""
    closed: list[int] = []
    with RecordStream(SCHEMA, [batch(1), batch(2)], on_close=lambda: closed.append(1)) as stream:
        for seen, _ in enumerate(stream):
            if seen == stop_after:
                break
    stream.close()
    assert closed == [1]
