"""Answers that are no HTTP, or hardly: the network's nonsense ends as Salesforce being out of reach."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ingestr.core.secret import Secret
from ingestr.errors import IngestrError, SourceError
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.logins.access_token import AccessToken
from ingestr.sources.salesforce.logins.config import SalesforceConfig
from support import FastClock

TOKEN = "00D000000000001!OnTheWire.0123456789"
VERSIONS = b'[{"version": "64.0"}]'
Answer = Callable[[socket.socket], None]


@contextmanager
def answering(answer: Answer) -> Iterator[SalesforceClient]:
    """A client of a server that reads one request a connection, answers, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.settimeout(20)
                    asked = b""
                    while b"\r\n\r\n" not in asked and (piece := connection.recv(65_536)):
                        asked += piece
                    answer(connection)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = SalesforceClient(SalesforceConfig(AccessToken(Secret(TOKEN)), url, most_bytes=4 << 20), FastClock())
        try:
            yield client
        finally:
            client.close()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=30)


def sending(*pieces: bytes) -> Answer:
    """Send these."""
    return lambda connection: connection.sendall(b"".join(pieces))


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    """The beginning of an answer."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])


LENGTH = b"Content-Length: %d" % len(VERSIONS)
NONSENSE: dict[str, tuple[bytes, ...]] = {
    "nothing": (b"",),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n",),
    "bytes": (bytes(range(256)) * 4,),
    "a status that is none": (b"HTTP/1.1 abc OK\r\n\r\n",),
    "a header of 200,000 bytes": (head(b"X: " + b"x" * 200_000, LENGTH), VERSIONS),
    "50,000 headers": (head(*[b"X-%d: y" % number for number in range(50_000)], LENGTH), VERSIONS),
    "a header that repeats the token": (head(b"X: " + TOKEN.encode() + b"\0", LENGTH), VERSIONS),
    "a header without a name": (head(b": x", LENGTH), VERSIONS),
    "a length that is none": (head(b"Content-Length: many"), VERSIONS),
    "two lengths": (head(LENGTH, b"Content-Length: 5"), VERSIONS),
    "a length of 400 digits": (head(b"Content-Length: " + b"9" * 400), VERSIONS),
    "more than there is": (head(b"Content-Length: 99"), VERSIONS),
    "chunks that are none": (head(b"Transfer-Encoding: chunked"), b"zz\r\n[]\r\n0\r\n\r\n"),
    "chunks that break off": (head(b"Transfer-Encoding: chunked"), b"ff\r\n[]"),
    "another transfer coding": (head(b"Transfer-Encoding: gzip"), VERSIONS),
    "protocols that nobody asked for": (head(b"Upgrade: x", status=b"101 Switching Protocols"),),
    "a redirect to nowhere": (head(b"Location: https://xn--.example/", b"Content-Length: 0", status=b"302 Found"),),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_on_the_wire_is_no_bug(name: str) -> None:
    """It is asked for again, and ends with exit 4 where it stays so; the token is not repeated."""
    with answering(sending(*NONSENSE[name])) as client:
        with pytest.raises(SourceError) as caught:
            _ = client.version
        assert caught.value.exit_code == 4
        assert "OnTheWire" not in f"{caught.value} {caught.value.hint}"
        assert str(caught.value).isprintable()


def test_odd_answers_that_can_be_read() -> None:
    """A body up to the end of the connection, header names in any case, cookies of any kind: as HTTP has it."""
    odd = (
        b"set-cookie: a=b; expires=Wed, 21 Oct 99999999999999999999 07:28:00 GMT",
        b"SFORCE-LIMIT-INFO: api-usage=5/9",
    )
    with answering(sending(head(*odd), VERSIONS)) as client:
        assert client.version == "64.0"
        assert (client.usage.used, client.usage.limit) == (5, 9)


def test_random_bytes_on_the_wire(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers with random damage: read, or refused by an error of ours."""
    date = b"Date: Sun, 17 May 2026 12:00:00 GMT"
    good = head(b"Content-Length: 8", b"Content-Type: application/json", date) + b'{"a": 1}'
    read = refused = 0
    chance = random.Random(20_260_517)

    def damaged(connection: socket.socket) -> None:
        answer = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(answer))
            answer[at : at + chance.randrange(3)] = chance.choice(
                (b"", b"\0", b"\xff", b"\r\n", b"9", b":", b";", b" ")
            )
        connection.sendall(bytes(answer))

    for _ in range(40):
        with answering(damaged) as client:
            for _ in range(5):
                try:
                    client.get_json("/services/data/v64.0/limits", "asking")
                    read += 1
                except IngestrError as error:
                    refused += 1
                    assert str(error).isprintable()
    with capsys.disabled():
        print(f"\nwire: {read + refused} damaged answers, {refused} refused")
    assert min(read, refused) > 10
