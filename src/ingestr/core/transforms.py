"""What happens to a record batch between the source's field names and the target's columns."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.stream import RecordStream

LOADED_AT = "_ingestr_loaded_at"


def target_schema(source: TableSchema, names: dict[str, str], *, load_timestamp: bool) -> TableSchema:
    """The source's schema under the target's column names, with the load timestamp at the end."""
    columns = [Column(names[column.name], column.type, column.name) for column in source.columns]
    if load_timestamp:
        columns.append(Column(LOADED_AT, TIMESTAMP))
    return TableSchema(tuple(columns))


def stamp_and_rename(
    stream: RecordStream,
    schema: TableSchema,
    loaded_at: datetime,
    on_batch: Callable[[int, int], None] = lambda rows, size: None,
) -> RecordStream:
    """The same rows as ``schema``: positions stay, names change, the load timestamp is one value for the whole run.

    ``on_batch`` is told the rows and bytes of each batch, for the progress display.
    """
    arrow = schema.arrow
    stamped = len(schema.columns) > len(stream.schema.columns)
    moment = _timestamp(loaded_at)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            arrays = list(batch.columns)
            if stamped:
                arrays.append(pa.repeat(moment, batch.num_rows))
            yield pa.RecordBatch.from_arrays(arrays, schema=arrow)

    return RecordStream(schema, batches(), origin=stream.origin, on_close=stream.close, on_batch=on_batch)


def _timestamp(moment: datetime) -> pa.Scalar:
    """The scalar, made of its bytes: pyarrow's own way imports pandas where that is installed, which takes long."""
    since_epoch = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    data = pa.py_buffer(since_epoch.to_bytes(8, sys.byteorder, signed=True))
    return pa.Array.from_buffers(TIMESTAMP, 1, [None, data])[0]
