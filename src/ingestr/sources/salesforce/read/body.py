"""The text in a page's body: at once, or, of a page too large for that, a piece after the other."""

import io
import mmap
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from isal import igzip
from isal.igzip_lib import IsalError

from ingestr.errors import IncompleteReadError, SourceError
from ingestr.flags import Flag
from ingestr.sources.salesforce.read.spool import LARGE_BODY, RawPage

_DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, IsalError)  # type: ignore[assignment]
_LARGE_TEXT = 64 << 20
# What a gzip header and trailer add to a text that cannot be made smaller, generously.
_OVERHEAD = 1_024
_PIECE = 1 << 20


def gathered(chunks: Iterable[bytes], folder: Path | None) -> bytes | mmap.mmap:
    """A body as it arrives; a large one lies in a file that has no name.

    Args:
        chunks: the parts of the body.
        folder: where the file is made; where the system keeps such files if None.

    Raises:
        SourceError: the file cannot be written.
    """
    parts: list[bytes] = []
    size = 0
    left = iter(chunks)
    for chunk in left:
        parts.append(chunk)
        size += len(chunk)
        if size > LARGE_BODY:
            break
    else:
        return b"".join(parts)
    try:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.writelines(chain(parts, left))
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise SourceError(
            f"a page of results is too large for memory and cannot be kept in a file: {error}",
            hint=f"make room there, or name another folder with {Flag.PIPELINES_DIR}",
        ) from error


def is_large(page: RawPage) -> bool:
    """Whether the page's text is better not in memory at once, as far as the body tells."""
    said = _said_size(page)
    # A body that says to be longer than its text is of several parts, of which the last one's size is told.
    return len(page.body) > LARGE_BODY or said > _LARGE_TEXT or said + _OVERHEAD < len(page.body)


def text_of(page: RawPage) -> bytes:
    """The page's CSV, in memory.

    Raises:
        IncompleteReadError: the body is cut short or damaged, or its text is larger than ``is_large`` was told.
    """
    if page.encoding != "gzip":
        return bytes(page.body)
    said = min(_said_size(page), _LARGE_TEXT)
    try:
        with _inflated(page) as source:
            # The size is known, so that the text is not moved while it grows; but a body may say anything.
            text = source.read(said + 1)
            if len(text) > said:
                text += source.read(_LARGE_TEXT - said)
            if len(text) > _LARGE_TEXT:
                raise IncompleteReadError(
                    f"a compressed page of results holds more than {_LARGE_TEXT >> 20} MB, not the {said} bytes it says"
                )
    except _DAMAGED as error:
        raise _damaged(error) from None
    return text


def check(page: RawPage) -> None:
    """Read the text once to its end; raises IncompleteReadError where the body is cut short or damaged."""
    quotes = 0
    try:
        with _inflated(page) as source:
            while piece := source.read(_PIECE):
                quotes += piece.count(b'"')
    except _DAMAGED as error:
        raise _damaged(error) from None
    if page.encoding != "gzip" and quotes % 2:
        # Nothing but an open quote tells that an uncompressed body without a length was cut.
        raise IncompleteReadError("a page of results is cut short")


def open_text(page: RawPage) -> BinaryIO:
    """The page's CSV as a file, without NUL, with a line break at its end."""
    return io.BufferedReader(_Text(_inflated(page)), _PIECE)


class _Text(io.RawIOBase):
    """What ``open_text`` gives."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._last = b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        while piece := self._piece(len(into)):
            # Databases do not take NUL in text, and Salesforce lets it in by accident only.
            piece = piece.replace(b"\0", b"")
            if piece:
                break
        else:
            piece = b"" if self._last == b"\n" else b"\n"
        into[: len(piece)] = piece
        self._last = piece[-1:] or self._last
        return len(piece)

    def _piece(self, size: int) -> bytes:
        try:
            return self._source.read(size)
        except _DAMAGED as error:
            raise _damaged(error) from None

    def close(self) -> None:
        self._source.close()
        super().close()


def _inflated(page: RawPage) -> BinaryIO:
    # Arrow reads any buffer as a file, and copies none.
    source: BinaryIO = pa.BufferReader(pa.py_buffer(page.body))
    return igzip.IGzipFile(fileobj=source, mode="rb") if page.encoding == "gzip" else source


def _said_size(page: RawPage) -> int:
    """Bytes of text by the trailer of the compressed body."""
    return int.from_bytes(page.body[-4:], "little") if page.encoding == "gzip" else len(page.body)


def _damaged(error: Exception) -> IncompleteReadError:
    return IncompleteReadError(f"a compressed page of results is damaged: {error}")
