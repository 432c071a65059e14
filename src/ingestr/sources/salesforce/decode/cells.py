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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from ingestr.errors import IncompleteReadError

# A record has at most 1.6 million characters of long text, and 800 fields.
_LONGEST_ROW, _LONGEST_HEADER = 128 << 20, 1 << 20
_GROWTH, _BLOCKS_A_PART = 16, 4
_BEGINNING, _PIECE = 64 << 10, 1 << 20
_PARSE = arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
_CRS = re.compile(b"\r*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BROKEN = "a page of results is broken: "


def read_page(page: bytes, wanted: Sequence[str], block_bytes: int) -> pa.Table:
    """The page's rows as text, columns by name; an empty cell is null whatever its quotes.

    Args:
        page: without NUL, and with a line break at its end.
        wanted: columns, each of which must stand in the header once.
        block_bytes: text to parse at a time; where a row is longer than that, more.

    Raises:
        IncompleteReadError: the page is not CSV to its end, not UTF-8, or lacks a column.
    """
    source = io.BytesIO(page)
    header = _Header.of(source, wanted)
    return header.table(memoryview(page)[source.tell() :], block_bytes)


def read_parts(source: BinaryIO, wanted: Sequence[str], block_bytes: int) -> Iterator[pa.Table]:
    """The same of a page that is not in memory, some blocks at a time. An error may come after rows."""
    header = _Header.of(source, wanted)
    for rows in _whole_rows(source, _BLOCKS_A_PART * block_bytes):
        yield header.table(rows, block_bytes)


def texts(column: pa.ChunkedArray) -> Iterator[memoryview]:
    """The text of all values, joined, a chunk at a time."""
    for chunk in column.chunks:
        _, ends, text = chunk.buffers()
        if len(chunk) and text is not None:
            places = memoryview(ends).cast("i")
            yield memoryview(text)[places[chunk.offset] : places[chunk.offset + len(chunk)]]


@dataclass(frozen=True)
class _Header:
    """A page's first row, and what is wanted of the others.

    Args:
        columns: how many cells a row has.
        places: where the wanted ones are.
        names: their names.
        line_end: bytes that end a row.
    """

    columns: int
    places: tuple[int, ...]
    names: tuple[str, ...]
    line_end: int

    @classmethod
    def of(cls, source: BinaryIO, wanted: Sequence[str]) -> Self:
        """Read the header, and no further."""
        line = b""

        def lines() -> Iterator[str]:
            nonlocal line
            while line := source.readline(_LONGEST_HEADER):
                yield line.removeprefix(_BYTE_ORDER_MARK).decode()

        try:
            names = next(csv.reader(lines(), strict=True), [])
        except (csv.Error, UnicodeDecodeError) as error:
            raise IncompleteReadError(f"{_BROKEN}its header: {error}") from None
        for name in wanted:
            if names.count(name) != 1:
                what = "has twice" if name in names else "lacks"
                raise IncompleteReadError(f"a page of results {what} a column that was asked for: {name}")
        places = tuple(names.index(name) for name in wanted)
        return cls(len(names), places, tuple(wanted), 2 if line.endswith(b"\r\n") else 1)

    def table(self, rows: memoryview, block_bytes: int) -> pa.Table:
        """The wanted columns of some rows."""
        if not rows:
            return pa.schema([(name, pa.string()) for name in self.names]).empty_table()
        _check_quotes(rows[:_BEGINNING], self.columns, whole=len(rows) <= _BEGINNING)
        try:
            _check_utf8(rows)
            table = _parsed(rows, self.columns, block_bytes)
        except pa.ArrowInvalid as error:
            raise IncompleteReadError(f"{_BROKEN}{_without_row(error)}") from None
        if not self._is_plain(rows, table):
            _check_quotes(rows, self.columns, whole=True)
        return pa.table([table.column(place) for place in self.places], names=list(self.names))

    def _is_plain(self, rows: memoryview, table: pa.Table) -> bool:
        """Whether the rows' bytes are those of the texts in quotes, and no others."""
        structure: int = (3 * self.columns - 1 + self.line_end) * table.num_rows
        size = quotes = 0
        for column in table.columns:
            for text in map(bytes, texts(column)):
                size += len(text)
                # Looking for one is ten times as fast as counting, and most columns have none.
                quotes += text.count(b'"') if b'"' in text else 0
        return len(rows) == size + quotes + structure


def _whole_rows(source: BinaryIO, size: int) -> Iterator[memoryview]:
    """The rest of a page in parts that end where a row does; each is good until the next is asked for."""
    # One place for all of them: fresh memory for each costs as much as the work on it.
    room, filled = bytearray(size), 0
    while True:
        while filled < len(room) and (piece := source.read(min(_PIECE, len(room) - filled))):
            room[filled : filled + len(piece)] = piece
            filled += len(piece)
        if not filled:
            return
        if end := _last_row_end(room, filled):
            yield memoryview(room)[:end]
            room[: filled - end] = room[end:filled]
            filled -= end
        elif filled < len(room):
            raise IncompleteReadError(f"{_BROKEN}it ends inside a cell")
        elif filled >= _LONGEST_ROW:
            raise IncompleteReadError(f"a page of results has a row of more than {_LONGEST_ROW >> 20} MB")
        else:
            room = room + bytes(len(room))


def _last_row_end(text: bytearray, filled: int) -> int:
    """Where the last whole row ends: behind a line break with an even number of quotes before it."""
    end = text.rfind(b"\n", 0, filled) + 1
    quotes = text.count(b'"', 0, end)
    while quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', before, end)
        end = before
    return end


def _check_utf8(rows: memoryview) -> None:
    # Arrow's own check, cell by cell, takes three times as long.
    ends = pa.py_buffer((0).to_bytes(4, "little") + len(rows).to_bytes(4, "little"))
    pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(rows)]).validate(full=True)


def _parsed(rows: memoryview, columns: int, block_bytes: int) -> pa.Table:
    """All columns, in the page's order and under their numbers."""
    names = [str(place) for place in range(columns)]
    # Pages are decoded side by side: threads within a page would cost twice the time of the processors.
    read = arrow_csv.ReadOptions(block_size=1 << 30, use_threads=False, column_names=names)
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        check_utf8=False,
    )
    while True:
        file = pa.PythonFile(_Blocks(rows, block_bytes), mode="r")
        try:
            return arrow_csv.read_csv(file, read_options=read, parse_options=_PARSE, convert_options=convert)
        except pa.ArrowInvalid:
            # Arrow has no error of its own for a row that is longer than a block.
            if block_bytes >= len(rows):
                raise
            block_bytes *= _GROWTH


class _Blocks:
    """Rows as a file of blocks for Arrow, which finds the rows in them.

    None ends in CR: Arrow would drop the LF that the next block begins with, inside a cell too (``CSVBufferIterator``
    in Arrow's csv/reader.cc takes the two for one line break).
    """

    closed = False

    def __init__(self, rows: memoryview, size: int) -> None:
        self._rows = rows
        self._size = size
        self._start = 0

    def read(self, _: int = -1) -> bytes | memoryview:
        """The next block; nothing at the end."""
        start, end = self._start, self._start + self._size
        if end < len(self._rows) and self._rows[end - 1] == ord("\r"):
            # A pattern that matches nothing too always matches.
            end = _CRS.match(self._rows, end).end() + 1  # type: ignore[union-attr]
        self._start = min(end, len(self._rows))
        block = self._rows[start : self._start]
        # Arrow drops a byte order mark: the page's own is gone, and this one is text.
        return _BYTE_ORDER_MARK + block if not start and block[:3] == _BYTE_ORDER_MARK else block

    def close(self) -> None:
        """There is nothing to close."""


def _without_row(error: Exception) -> str:
    """What Arrow says of a row, without the row: its values are nobody's business who reads a message."""
    return re.sub(r"(got \d+): .*", r"\1", str(error), flags=re.DOTALL)


def _check_quotes(rows: memoryview, columns: int, *, whole: bool) -> None:
    """Look at each quote and line break for itself; rows that are not ``whole`` are the beginning of more.

    Raises:
        IncompleteReadError: a quote stands where none may be, or a row is empty.
    """
    odd = False
    for start in range(0, len(rows), _PIECE):
        # A byte before and one after show what a byte is about; a line break stands for both ends.
        before = bytes(rows[start - 1 : start]) or b"\n"
        after = bytes(rows[start + _PIECE : start + _PIECE + 1]) or b"\n"
        odd = _check_piece(before + rows[start : start + _PIECE] + after, columns, odd=odd)
    if odd and whole:
        raise IncompleteReadError(f"{_BROKEN}it ends inside a cell")


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
        raise IncompleteReadError(f"{_BROKEN}a quote stands where none may be")
    second = pc.and_not(pc.and_(breaks[before], breaks[here]), inside)
    if columns > 1 and pc.and_not(second, pc.and_(cr[before], lf[here])).true_count:
        raise IncompleteReadError(f"{_BROKEN}it has an empty line")
    return bool(inside[size - 1].as_py())


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
