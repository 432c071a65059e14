"""Bodies of result pages: whole or an error, and never more of their text in memory than a page may have."""

import gzip
import random
import subprocess
import sys
import zlib

import pytest

from ingestr.errors import IncompleteReadError
from ingestr.sources.salesforce.read.body import check, is_large, open_text, text_of
from ingestr.sources.salesforce.read.spool import RawPage

DICE = random.Random(3)
TEXT = b'"x"\n' + b"".join(b'"%d"\n' % DICE.getrandbits(64) for _ in range(2_000))
MIB = 1 << 20


def page(body: bytes, rows: int | None = None) -> RawPage:
    """A compressed page."""
    return RawPage("u", body, "gzip", rows, None)


def bomb(mib: int) -> bytes:
    """A body of this many MiB of spaces in one quoted cell, as one gzip member."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([packer.compress(b'"x"\n"'), *(packer.compress(b" " * MIB) for _ in range(mib)), packer.flush()])


def forged(body: bytes, size: int) -> bytes:
    """The body with another size in its trailer."""
    return body[:-4] + size.to_bytes(4, "little")


@pytest.mark.parametrize("rows", [None, 2_000])
def test_a_body_of_several_members_is_one_text(rows: int | None) -> None:
    """Gzip allows a body to be several, one after the other; a server in between may make it so."""
    half = len(TEXT) // 2
    body = gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:])
    assert text_of(page(body, rows)) == TEXT
    with open_text(page(body, rows)) as opened:
        assert opened.read() == TEXT


def test_a_body_that_says_less_than_it_is_long_is_not_read_at_once() -> None:
    """The trailer tells the size of the last member only."""
    assert is_large(page(gzip.compress(TEXT) + gzip.compress(b"")))
    assert not is_large(page(gzip.compress(TEXT)))
    assert not is_large(page(gzip.compress(b'"x"\n')))


@pytest.mark.parametrize("said", [0, 10, len(TEXT) - 1, len(TEXT) + 1, 60 * MIB])
def test_a_trailer_that_lies_is_found_out(said: int) -> None:
    """More or less than it says: the body is damaged."""
    body = forged(gzip.compress(TEXT), said)
    with pytest.raises(IncompleteReadError, match="damaged"):
        text_of(page(body))
    with pytest.raises(IncompleteReadError, match="damaged"):
        check(page(body))
    with pytest.raises(IncompleteReadError, match="damaged"), open_text(page(body)) as opened:
        opened.read()


@pytest.mark.parametrize("rows", [None, 1])
def test_a_text_larger_than_it_says_is_refused(rows: int | None) -> None:
    """A small body may hold gigabytes."""
    with pytest.raises(IncompleteReadError, match="more than 64 MB"):
        text_of(page(forged(bomb(200), 1_000), rows))


HUNGRY = """
import resource, sys
from ingestr.errors import IncompleteReadError
from ingestr.sources.salesforce.read.body import check, is_large, open_text, text_of
from ingestr.sources.salesforce.decode import decode_csv, decode_csv_in_parts
from ingestr.sources.salesforce.read.spool import RawPage
import pyarrow as pa
sys.path.insert(0, sys.argv[1])
from test_body import bomb, forged
page = RawPage("u", forged(bomb(1_000), int(sys.argv[2])) if int(sys.argv[2]) else bomb(1_000), "gzip", None, None)
schema = pa.schema([("x", pa.string())])
try:
    if is_large(page):
        list(decode_csv_in_parts(lambda: open_text(page), schema))
    else:
        decode_csv(text_of(page), schema)
except IncompleteReadError as error:
    print(error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("said", [0, 5_000_000])
def test_a_body_that_swells_is_not_kept_in_memory(said: int) -> None:
    """A gigabyte in one cell is an error before it is in memory, whatever the trailer says."""
    here = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", HUNGRY, here, str(said)], capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert "more than" in message or "longer" in message
    assert int(peak) < 600
