"""RecordStream: the one guarded iterator of record batches between a source and whoever reads it.

It exists because engines pull Arrow from C: an exception in a Python generator comes back from them as bare text, its
type lost, and nothing there checks that a batch has the schema that was declared.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from ingestr.core.schema import TableSchema
from ingestr.errors import ConfigurationError, IngestrError


class RecordStream:
    """Record batches of one declared schema, read once.

    polars, pandas, pyarrow and DuckDB read it through ``__arrow_c_stream__``. An engine that fails while it pulls
    must call ``raise_error()``: the first error of the producer is kept here as it was.

    Args:
        schema: what every batch must have.
        batches: the producer; pulled by one thread at a time, not always the same one.
        origin: how the rows are read, for people.
        on_close: called once, when the stream is exhausted, has failed, or is closed early.
        on_batch: called with (rows, bytes) of each batch as it passes.
    """

    def __init__(
        self,
        schema: TableSchema,
        batches: Iterable[pa.RecordBatch],
        *,
        origin: str = "",
        on_close: Callable[[], None] = lambda: None,
        on_batch: Callable[[int, int], None] = lambda rows, size: None,
    ) -> None:
        self.schema = schema
        self.rows = 0
        self.origin = origin
        self.error: BaseException | None = None
        self._batches = iter(batches)
        self._on_close = on_close
        self._on_batch = on_batch
        self._closed = self._started = False
        self._arrow = schema.arrow

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._started or self._closed:
            raise ConfigurationError(
                "the stream has been read or closed", hint="a stream is read once: call ingestr.read again"
            )
        self._started = True
        try:
            for batch in self._batches:
                if not batch.schema.equals(self._arrow):
                    raise TypeError(f"a record batch of schema\n{batch.schema}\nin a stream of\n{self._arrow}")
                self.rows += batch.num_rows
                self._on_batch(batch.num_rows, batch.nbytes)
                yield batch
        except BaseException as error:
            if self.error is None and not isinstance(error, GeneratorExit):
                self.error = error
            raise
        finally:
            self.close()

    def reader(self) -> pa.RecordBatchReader:
        """The stream as a pyarrow reader."""
        return pa.RecordBatchReader.from_batches(self._arrow, iter(self))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> Any:
        return self._arrow.__arrow_c_schema__()

    def raise_error(self) -> None:
        """Raise the producer's first error, if it had one."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Release what the producer holds (threads, jobs at the source); harmless when repeated."""
        if not self._closed:
            self._closed = True
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close; an engine's error gives way to the producer's, which is its cause."""
        self.close()
        if isinstance(error, Exception) and isinstance(self.error, IngestrError) and error is not self.error:
            raise self.error from error
