"""Every way of reading a page gives what Python's csv module reads, byte for byte, and every API the same values.

``TEST_EXAMPLES=100000 pytest tests/unit/test_decode_property.py`` tries as many pages as one likes.
"""

import csv
import gzip
import io
import os
import random
from collections.abc import Callable

import pyarrow as pa
import pytest

from ingestr.errors import IncompleteReadError
from ingestr.sources.salesforce.decode import decode_csv, decode_csv_in_parts
from ingestr.sources.salesforce.read.body import open_text
from ingestr.sources.salesforce.read.spool import RawPage

# Several tests of a part each, so that they run side by side.
PARTS = 4
EXAMPLES = -(-int(os.environ.get("TEST_EXAMPLES", "5000")) // PARTS)
SIZES = (1, 2, 3, 5, 8, 13, 40, 200, 5_000)
PIECES = ['"', '""', ",", "\r", "\n", "\r\n", "\r\r\n", "a", " ", "é", "漢", "🙂", "\u2028", "\ufeff", "NULL", "\0"]

Rows = list[list[str | None]]


def cell(dice: random.Random) -> str:
    """A text of any of the pieces; often none."""
    return "".join(dice.choices(PIECES, k=dice.choice((0, 1, 1, 2, 3, 8)))) if dice.random() < 0.9 else "\r\n" * 30


def page_of(dice: random.Random) -> tuple[list[str], str]:
    """Names of columns, and a page of them as a server may write it: all cells in quotes, or those that need them."""
    names = [f"c{n}" for n in range(dice.randint(1, 4))]
    end = dice.choice(("\n", "\n", "\r\n"))
    all_quoted = dice.random() < 0.7

    def written(text: str) -> str:
        needed = not text.strip("\0") or any(mark in text for mark in '",\r\n')
        return '"' + text.replace('"', '""') + '"' if all_quoted or needed else text

    rows = [names, *([cell(dice) for _ in names] for _ in range(dice.choice((0, 1, 2, 3, 20))))]
    text = end.join(",".join(map(written, row)) for row in rows)
    return names, dice.choice(("", "", "\ufeff")) + text + dice.choice((end, end, ""))


def by_csv(text: str) -> Rows:
    """The rows as Python reads them, by our two rules: NUL is dropped, and an empty cell is null."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff").replace("\0", ""), newline=""), strict=True)
    return [[value or None for value in row] for row in reader][1:]


def rows_of(table: pa.Table) -> Rows:
    """The same of a table."""
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def ways(page: bytes, names: list[str], size: int) -> list[Callable[[], Rows]]:
    """The ways of reading a page: in memory, and in parts from a body that is compressed or not."""
    schema = pa.schema([(name, pa.string()) for name in names])

    def in_parts(encoding: str, body: bytes) -> Rows:
        raw = RawPage("u", body, encoding, None, None)
        parts = decode_csv_in_parts(lambda: open_text(raw), schema, block_bytes=size)
        return [row for part in parts for row in rows_of(part.table)]

    return [
        lambda: rows_of(decode_csv(page, schema, block_bytes=size).table),
        lambda: rows_of(decode_csv(page, schema).table),
        lambda: in_parts("gzip", gzip.compress(page, 1)),
        lambda: in_parts("", page),
    ]


def outcome(way: Callable[[], Rows]) -> Rows | None:
    """What the way gives; None where it refuses the page."""
    try:
        return way()
    except IncompleteReadError:
        return None


@pytest.mark.parametrize("part", range(PARTS))
def test_every_way_reads_what_csv_reads(part: int, tell: Callable[[str], None]) -> None:
    """No quote, comma, line break, character or size of blocks alters a byte of text."""
    dice = random.Random(part)
    compared = 0
    for _ in range(EXAMPLES):
        names, text = page_of(dice)
        size = dice.choice(SIZES)
        expected = by_csv(text)
        for way in ways(text.encode(), names, size):
            assert way() == expected, (text, size)
            compared += 1
    tell(f"{EXAMPLES} pages were read in {compared} ways, and all as by the csv module")


def test_what_is_no_csv_is_never_read_as_other_rows(tell: Callable[[str], None]) -> None:
    """Any bytes after a header are read as Python reads them, or refused as a broken page; nothing else happens."""
    dice = random.Random(8)
    read = broken = 0
    for _ in range(2 * EXAMPLES):
        names = ["x", "y"][: dice.randint(1, 2)]
        text = ",".join(f'"{name}"' for name in names) + "\n" + "".join(dice.choices('"",\n\ra', k=dice.randint(1, 14)))
        size = dice.choice(SIZES)
        found, *others = [outcome(way) for way in ways(text.encode(), names, size)]
        assert all(other == found for other in others), (text, size)
        if found is None:
            broken += 1
        else:
            assert found == [row or [None] for row in by_csv(text)], (text, size)
            assert all(len(row) == len(names) for row in found)
            read += 1
    tell(f"of {read + broken} texts {read} were CSV and read as by the csv module, {broken} were refused")
    assert min(read, broken) > EXAMPLES / 10


@pytest.mark.parametrize("at", range(-4, 2))
@pytest.mark.parametrize("piece", ["\r\n", "\r", "\n", '"', "é", "🙂"])
def test_nothing_happens_at_the_end_of_a_block(piece: str, at: int) -> None:
    """Whatever lies across the end of the reader's own block, which nobody chose, comes through."""
    block = 2 << 20
    cells = ["f" * (block - 1 + at) + piece * 3, piece, "end"]
    page = '"x","y"\n' + "".join(f'"{text.replace(chr(34), chr(34) * 2)}","{n}"\n' for n, text in enumerate(cells))
    for way in ways(page.encode(), ["x", "y"], block):
        assert [row[0] for row in way()] == cells
