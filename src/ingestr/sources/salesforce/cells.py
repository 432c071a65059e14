"""The cells of a CSV page, byte for byte, as columns of text; what is no CSV is an error.

Arrow's reader is fast but lenient: it joins text after a closing quote to the cell, takes an empty line for a row of
nulls and the page's end for the end of a cell. What it made of a page is therefore counted. In a page with all cells in
quotes, as Salesforce writes it, each cell takes three bytes beside its text, each quote in a text one more, each CR at
a row's end one; only text between a closing quote and the end of its cell could keep that sum. So the beginning of each
page is looked at quote by quote, and all of a page with another sum. Must not know the types of columns.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from ingestr.errors import IncompleteReadError

# A record has at most 1.6 million characters of long text, and 800 fields.
_LONGEST_ROW, _LONGEST_HEADER = 128 << 20, 1 << 20
_GROWTH, _BATCHES = 16, 8
_BEGINNING = 64 << 10
_PIECE = 1 << 20
_PARSE = arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
_QUOTE = re.compile(b'"')
# CR, and the bytes of characters beyond ASCII.
_NO_END = b"\r" + bytes(range(128, 256))
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OpenPage = Callable[[], BinaryIO]


def read_text(open_page: OpenPage, wanted: Sequence[str], block_bytes: int, *, in_parts: bool) -> Iterator[pa.Table]:
    """The page's rows as text, columns by name; an empty cell is null whatever its quotes.

    Args:
        open_page: opens the page at its beginning; it is without NUL and ends in a line break.
        wanted: columns, each of which must stand in the header once.
        block_bytes: text to parse at a time; where a row is longer than that, more.
        in_parts: give a table for some blocks at a time, and not one for the page.

    Raises:
        IncompleteReadError: the page is not CSV to its end, not UTF-8, or lacks a column. It may come after rows.
    """
    done = 0
    while True:
        try:
            for table in _tables(open_page, wanted, block_bytes, done, in_parts=in_parts):
                done += table.num_rows
                yield table
        except pa.ArrowInvalid as error:
            if block_bytes >= _LONGEST_ROW:
                raise IncompleteReadError(f"a page of results is broken: {error}") from None
            # Arrow has no error of its own for a row that is longer than a block.
            block_bytes = min(block_bytes * _GROWTH, _LONGEST_ROW)
        else:
            return


def _tables(
    open_page: OpenPage, wanted: Sequence[str], block_bytes: int, skip: int, *, in_parts: bool
) -> Iterator[pa.Table]:
    """One try with blocks of this size, without the rows that an earlier try gave."""
    with open_page() as source:
        names, breaks = _header(source)
        places = [_place(names, name) for name in wanted]
        check_quotes(open_page, len(names), _BEGINNING)
        blocks = _Blocks(source, block_bytes)
        seen = _Seen()
        for table in _parsed(blocks, len(names), in_parts=in_parts):
            seen.add(table)
            rest = table.slice(skip)
            skip = max(skip - table.num_rows, 0)
            if rest.num_rows:
                yield pa.table([rest.column(place) for place in places], names=list(wanted))
    if blocks.bytes - seen.text - (3 * len(names) + breaks - 1) * seen.rows != seen.quotes:
        check_quotes(open_page, len(names))


@dataclass
class _Seen:
    """What Arrow made of a page so far: rows, bytes of text, and quotes among them."""

    rows: int = 0
    text: int = 0
    quotes: int = 0

    def add(self, table: pa.Table) -> None:
        """Count a table."""
        self.rows += table.num_rows
        for column in table.columns:
            for text in texts(column):
                self.text += len(text)
                # Looking for one is ten times as fast as counting, and most columns have none.
                self.quotes += bytes(text).count(b'"') if _QUOTE.search(text) else 0


def texts(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """The text of all values, joined, a chunk at a time."""
    for chunk in column.chunks:
        _, ends, text = chunk.buffers()
        if len(chunk) and text is not None:
            places = memoryview(ends).cast("i")
            yield memoryview(text)[places[chunk.offset] : places[chunk.offset + len(chunk)]]


class PageInMemory(io.BytesIO):
    """A page as a file that is read without copying it."""

    def __init__(self, page: bytes) -> None:
        super().__init__(page)
        self._page = memoryview(page)

    def read(self, size: int | None = -1) -> memoryview:  # type: ignore[override]
        """The next bytes."""
        start = self.tell()
        end = self.seek(start + size if size is not None and 0 <= size < len(self._page) - start else len(self._page))
        return self._page[start:end]


class _Blocks:
    """The rest of a page in blocks, as a file for Arrow, which finds the rows in them.

    None ends in CR: Arrow would drop the LF that the next block begins with, inside a cell too (``CSVBufferIterator``
    in Arrow's csv/reader.cc takes the two for one line break). Nor does one end within a character.
    """

    closed = False

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source = source
        self._size = size
        self._rest = b""
        self._begun = False
        self.bytes = 0

    def read(self, _: int = -1) -> bytes | memoryview:
        """The next block; nothing at the end. Raises ArrowInvalid where it is not UTF-8."""
        block: bytes | memoryview
        while block := self._source.read(self._size):
            self.bytes += len(block)
            if self._rest or block[-1:] in _NO_END:
                whole = self._rest + block
                block = whole.rstrip(_NO_END)
                self._rest = whole[len(block) :]
            if block:
                if not self._begun and bytes(block[:3]) == _BYTE_ORDER_MARK:
                    # Arrow drops one; the page's own is gone, and this one is text.
                    block = _BYTE_ORDER_MARK + block
                self._begun = True
                # Arrow's own check, cell by cell, takes three times as long.
                ends = pa.py_buffer((0).to_bytes(4, "little") + len(block).to_bytes(4, "little"))
                pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(block)]).validate(full=True)
                return block
        return b""

    def close(self) -> None:
        """The source belongs to somebody else."""


def _header(source: BinaryIO) -> tuple[list[str], int]:
    """The names of the page's columns, and how many bytes end a row."""
    line = b""

    def lines() -> Iterator[str]:
        nonlocal line
        while line := source.readline(_LONGEST_HEADER):
            yield line.removeprefix(_BYTE_ORDER_MARK).decode()

    try:
        names = next(csv.reader(lines(), strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise IncompleteReadError(f"a page of results is broken: its header: {error}") from None
    return names, 2 if line.endswith(b"\r\n") else 1


def _place(names: Sequence[str], name: str) -> int:
    if names.count(name) != 1:
        what = "has twice" if name in names else "lacks"
        raise IncompleteReadError(f"a page of results {what} a column that was asked for: {name}")
    return names.index(name)


def _parsed(blocks: _Blocks, columns: int, *, in_parts: bool) -> Iterator[pa.Table]:
    """All columns, in the page's order and under their numbers."""
    names = [str(place) for place in range(columns)]
    options: dict[str, Any] = {
        # Pages are decoded side by side: threads within a page would cost twice the time of the processors.
        "read_options": arrow_csv.ReadOptions(block_size=1 << 30, use_threads=False, column_names=names),
        "parse_options": _PARSE,
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            check_utf8=False,
        ),
    }
    file = pa.PythonFile(blocks, mode="r")
    try:
        if in_parts:
            batches = arrow_csv.open_csv(file, **options)
            # The work on a column of a table costs more than that on its rows where they are few.
            while some := list(islice(batches, _BATCHES)):
                yield pa.Table.from_batches(some)
        else:
            yield arrow_csv.read_csv(file, **options)
    except pa.ArrowInvalid:
        # A page without rows is right, and an error to Arrow.
        if blocks.bytes:
            raise


def check_quotes(open_page: OpenPage, columns: int, most: int | None = None) -> None:
    """Look at each quote and line break for itself.

    Args:
        open_page: as for ``read_text``.
        columns: cells of a row.
        most: how many bytes to look at; all if None.

    Raises:
        IncompleteReadError: a quote stands where none may be, a row is empty, or the page ends inside a cell.
    """
    with open_page() as source:
        _header(source)
        # A byte before and one after show what the bytes between them are about; a line break stands for both ends.
        text, odd = b"\n", False
        while piece := source.read(min(_PIECE, most or _PIECE)):
            text += piece
            if most is not None:
                break
            odd = _check_piece(text, columns, odd=odd)
            text = text[-2:]
        odd = _check_piece(text + b"\n", columns, odd=odd)
    if odd and most is None:
        raise IncompleteReadError("a page of results is broken: it ends inside a cell")


def _check_piece(text: bytes, columns: int, *, odd: bool) -> bool:
    """Look at the bytes but the first and the last; ``odd`` tells, and is told, whether they are inside a cell."""
    size = len(text) - 2
    data = pa.Array.from_buffers(pa.uint8(), len(text), [None, pa.py_buffer(text)])
    quote, comma, cr, lf = (pc.equal(data, _scalar(pa.uint8(), byte)) for byte in (b'"', b",", b"\r", b"\n"))
    breaks = pc.or_(cr, lf)
    border = pc.or_(pc.or_(quote, comma), breaks)
    before, here, after = slice(0, size), slice(1, size + 1), slice(2, size + 2)
    inside = _parity(quote[here], odd=odd)
    opening, closing = pc.and_(quote[here], inside), pc.and_not(quote[here], inside)
    if pc.or_(pc.and_not(opening, border[before]), pc.and_not(closing, border[after])).true_count:
        raise IncompleteReadError("a page of results is broken: a quote stands where none may be")
    second = pc.and_not(pc.and_(breaks[before], breaks[here]), inside)
    if columns > 1 and pc.and_not(second, pc.and_(cr[before], lf[here])).true_count:
        raise IncompleteReadError("a page of results is broken: it has an empty line")
    return bool(inside[size - 1].as_py()) if size else odd


def _parity(bits: pa.BooleanArray, *, odd: bool) -> pa.BooleanArray:
    """For each bit, whether the bits up to it are an odd number, and one more if ``odd``; 64 bits at a time."""
    size, words = len(bits), len(bits) // 64 + 1
    packed = pc.xor(bits, pc.and_not(bits, bits)).buffers()[1].to_pybytes().ljust(8 * words, b"\0")
    parity = pa.Array.from_buffers(pa.uint64(), words, [None, pa.py_buffer(packed)])
    for shift in (1, 2, 4, 8, 16, 32):
        parity = pc.bit_wise_xor(parity, pc.shift_left(parity, _number(shift)))
    last = pc.shift_right(parity, _number(63))
    earlier = pc.add(pc.subtract(pc.cumulative_sum(last), last), _number(odd))
    # 0 - 1 is all ones: the words with an odd number before them are turned over.
    turned = pc.subtract(_number(0), pc.bit_wise_and(earlier, _number(1)))
    parity = pc.bit_wise_xor(parity, turned)
    return pa.Array.from_buffers(pa.bool_(), size, [None, parity.buffers()[1]])


def _number(value: int) -> pa.Scalar:
    return _scalar(pa.uint64(), value.to_bytes(8, "little"))


def _scalar(type_: pa.DataType, data: bytes) -> pa.Scalar:
    # Unlike pa.scalar, this does not import pandas where it is installed.
    return pa.Array.from_buffers(type_, 1, [None, pa.py_buffer(data)])[0]
