"""What happens to a record batch between the source's field names and the target's columns."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from ingestr.core.masking import Mask
from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.stream import RecordStream

LOADED_AT = "_ingestr_loaded_at"


@dataclass(frozen=True)
class Treatment:
    """What becomes of values on their way, by source field: they are trimmed, cast and masked, in this order.

    Args:
        trim: whether white space at the ends of texts goes.
        casts: fields whose values get another type that holds them all.
        masks: fields whose values are made unreadable.
    """

    trim: bool = False
    casts: Mapping[str, pa.DataType] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)

    def type_of(self, column: Column) -> pa.DataType:
        """The type of a source column's values afterwards."""
        mask = self.masks.get(column.name)
        return mask.type if mask is not None else self.casts.get(column.name, column.type)

    def mask_of(self, name: str) -> str | None:
        """What tells the mask of a source column from another, without a secret; None where it has none."""
        mask = self.masks.get(name)
        return None if mask is None else mask.kept

    def apply(self, name: str, values: pa.Array) -> pa.Array:
        """A source column's values, treated: as many, in the same order."""
        if self.trim and pa.types.is_string(values.type):
            values = trimmed(values)
        if name in self.casts and values.type != self.casts[name]:
            values = pc.cast(values, self.casts[name])
        mask = self.masks.get(name)
        return values if mask is None else mask.apply(values)


AS_THEY_COME = Treatment()


def trimmed(texts: pa.Array) -> pa.Array:
    """Texts without white space at their ends; null where nothing is left, as Salesforce keeps no empty text."""
    cut = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.equal(cut, ""), pa.scalar(None, texts.type), cut)


def target_schema(
    source: TableSchema, names: Mapping[str, str], *, load_timestamp: bool, treatment: Treatment = AS_THEY_COME
) -> TableSchema:
    """The treated source's schema under the target's column names, with the load timestamp at the end."""
    columns = [Column(names[each.name], treatment.type_of(each), each.name) for each in source.columns]
    if load_timestamp:
        columns.append(Column(LOADED_AT, TIMESTAMP))
    return TableSchema(tuple(columns))


def stamp_and_rename(
    stream: RecordStream,
    schema: TableSchema,
    loaded_at: datetime,
    on_batch: Callable[[int, int], None] = lambda rows, size: None,
    treatment: Treatment = AS_THEY_COME,
) -> RecordStream:
    """The same rows as ``schema``: positions stay, values are treated, and the load timestamp is one for the whole run.

    ``on_batch`` is told the rows and bytes of each batch, for the progress display.
    """
    arrow = schema.arrow
    stamped = len(schema.columns) > len(stream.schema.columns)
    moment = _timestamp(loaded_at)
    fields = stream.schema.names

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in stream:
            arrays = [treatment.apply(name, values) for name, values in zip(fields, batch.columns, strict=True)]
            if stamped:
                arrays.append(pa.repeat(moment, batch.num_rows))
            yield pa.RecordBatch.from_arrays(arrays, schema=arrow)

    return RecordStream(schema, batches(), origin=stream.origin, on_close=stream.close, on_batch=on_batch)


def _timestamp(moment: datetime) -> pa.Scalar:
    """The scalar, made of its bytes: pyarrow's own way imports pandas where that is installed, which takes long."""
    since_epoch = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    data = pa.py_buffer(since_epoch.to_bytes(8, sys.byteorder, signed=True))
    return pa.Array.from_buffers(TIMESTAMP, 1, [None, data])[0]
