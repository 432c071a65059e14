"""Knows how clients that insist on `*.salesforce.com` reach the org: a throw-away CA, and a CONNECT proxy on loopback.

Must not know what the org answers.
"""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ingestr.simulator.patience import Patience

# What the org pretends to be behind the proxy, and every host that leads to it.
INSTANCE_HOST = "acme.my.salesforce.com"
SUFFIXES = (".salesforce.com", ".force.com")
_CERTIFIED = (
    INSTANCE_HOST,
    "login.salesforce.com",
    "test.salesforce.com",
    "*.my.salesforce.com",
    "*.salesforce.com",
    "localhost",
    "127.0.0.1",
    "::1",
)
_PIECE = 64 * 1024
# More are no client's.
_MOST_TUNNELS = 256
_LONGEST_HEAD_LINE, _MOST_HEAD_LINES = 16_384, 200


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files: the CA that a client must trust, and the server's own chain and key."""

    ca: Path
    chain: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make a certificate authority that nobody knows and a certificate for the org, as files.

    Raises:
        RuntimeError: the library that makes certificates is not installed.
    """
    try:
        # Only TLS needs it, so it is an extra of its own.
        trustme = import_module("trustme")
    except ImportError as error:
        raise RuntimeError("TLS for the simulated org needs trustme: pip install trustme") from error
    authority = trustme.CA()
    leaf = authority.issue_cert(*_CERTIFIED)
    made = Certificates(folder / "ca.pem", folder / "org.pem", folder / "org.key")
    authority.cert_pem.write_to_path(str(made.ca))
    made.chain.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(made.key))
    return made


class Proxy:
    """A CONNECT proxy that leads every Salesforce host to the org, and refuses all others."""

    def __init__(self, host: str, org_port: int, patience: Patience) -> None:
        self._server = _TunnelServer((host, 0), _Tunnel)
        self._server.org_address = (host, org_port)
        self._server.patience = patience
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), name="simulated-proxy", daemon=True
        )

    def start(self) -> None:
        """Begin to take connections."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _TunnelServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    org_address: tuple[str, int]
    patience: Patience

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        self.free = threading.BoundedSemaphore(_MOST_TUNNELS)
        super().__init__(address, handler)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Take a connection while there are not too many; the others are closed."""
        del request, client_address
        return self.free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a connection that broke or came too slowly: it is over, and that is all."""


class _Tunnel(socketserver.StreamRequestHandler):
    server: _TunnelServer

    def handle(self) -> None:
        patience = self.server.patience
        # A head that comes byte by byte is no quicker for that: reading ends at this moment.
        ending = threading.Timer(patience.head, self._end)
        ending.daemon = True
        ending.start()
        try:
            head = self._head()
        finally:
            ending.cancel()
        if head is None:
            return
        method, _, rest = head.partition(" ")
        host, _, _port = rest.partition(" ")[0].lower().rpartition(":")
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        if not host.endswith(SUFFIXES):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self.server.org_address, patience.answer) as org:
            self.connection.settimeout(patience.answer)
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pipe(self.connection, org, patience.answer)

    def _head(self) -> str | None:
        """Return the request line, having read the head to its end, or None where it has none."""
        first = self.rfile.readline(_LONGEST_HEAD_LINE)
        for _ in range(_MOST_HEAD_LINES):
            line = self.rfile.readline(_LONGEST_HEAD_LINE)
            if not line.strip():
                return first.decode("latin-1") if line else None
        return None

    def _end(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _pipe(one: socket.socket, other: socket.socket, idle: float) -> None:
    """Carry bytes both ways until either side ends, or neither has said anything for long."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while events := ready.select(idle):
            for key, _ in events:
                try:
                    piece = key.fileobj.recv(_PIECE)  # type: ignore[union-attr]
                    if not piece:
                        return
                    key.data.sendall(piece)
                except OSError:
                    return
