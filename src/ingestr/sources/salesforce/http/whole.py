"""Reads an answer's body into memory: inflated, within bounds of size and time. Result pages are streamed instead."""

import io
from collections.abc import Iterator

import httpx
from isal import isal_zlib
from isal.igzip_lib import IsalError

from ingestr.core.clock import Clock
from ingestr.errors import SourceError, SourceUnavailableError
from ingestr.sources.salesforce.http.checks import encoding_of

# Bytes of an answer that is read into memory, after inflating. A describe of 10,000 fields has some 20 MB, a REST page
# of 2,000 rows with long texts may have more than 100; pages of Bulk results are streamed, and are not meant.
MOST_BYTES = 256 << 20
# Seconds for one body. Salesforce itself gives up a request after ten minutes.
LONGEST_BODY = 900.0
_DAMAGED: tuple[type[Exception], ...] = (IsalError,)  # type: ignore[assignment]
_GZIP = 31
_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20


class DamagedBodyError(httpx.RemoteProtocolError):
    """A body that is not what its headers say: asked for again like one that broke off."""


def read_whole(response: httpx.Response, doing: str, most: int, clock: Clock) -> bytes:
    """The body as it was before it was packed.

    Args:
        response: an answer whose body has not been read.
        doing: what was asked for, for messages.
        most: bytes that the body may have, packed or not.
        clock: tells how long it takes.

    Raises:
        DamagedBodyError: not what Content-Encoding says, or cut short.
        SourceError: packed in an unknown way, or too large.
        SourceUnavailableError: it takes for ever.
    """
    encoding = encoding_of(response.headers.get("Content-Encoding", ""), doing)
    chunks = _bounded(response, doing, most, clock)
    # Unlike a list that is joined, it gives its bytes without a copy of them.
    body = io.BytesIO()
    for piece in _inflated(chunks) if encoding else chunks:
        if body.tell() + len(piece) > most:
            raise _too_large(doing, most)
        body.write(piece)
    return body.getvalue()


def _bounded(response: httpx.Response, doing: str, most: int, clock: Clock) -> Iterator[bytes]:
    """The chunks of a body as they are on the wire, in the time and up to the size that are allowed."""
    began, size = clock.monotonic(), 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > most:
            raise _too_large(doing, most)
        if clock.monotonic() - began > LONGEST_BODY:
            raise SourceUnavailableError(
                f"{doing}: the answer is not complete after {LONGEST_BODY / 60:.0f} minutes",
                hint="Salesforce or the network is unwell; run again later",
            )
        yield chunk


def _too_large(doing: str, most: int) -> SourceError:
    return SourceError(
        f"{doing}: the answer is larger than {most >> 20} MB",
        hint="if it should be so large, allow more: add &max_answer_mb=1024 to the source URI, say",
    )


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The text of a gzip body in pieces of bounded size, however many of them a small body may hold."""
    member = None
    packed = b""
    try:
        for chunk in chunks:
            packed += chunk
            more = True
            while more:
                if member is None:
                    # What follows a part is another part, or padding.
                    packed = packed.lstrip(b"\0")
                    if not _begins(packed):
                        break
                    member = isal_zlib.decompressobj(_GZIP)
                piece = member.decompress(packed, _PIECE)
                # A full piece may leave some text behind, although all that was packed is taken.
                more = len(piece) == _PIECE
                packed = member.unconsumed_tail
                if member.eof:
                    packed, member, more = member.unused_data, None, True
                if piece:
                    yield piece
    except _DAMAGED as error:
        raise DamagedBodyError(f"the compressed body is damaged: {error}") from None
    if member is not None or packed:
        raise DamagedBodyError("the compressed body is cut short")


def _begins(packed: bytes) -> bool:
    """Whether a part of gzip begins here, as far as can be seen."""
    if not _MAGIC.startswith(packed[:2]):
        raise DamagedBodyError("the body is not gzip, as it says")
    return len(packed) >= 2
