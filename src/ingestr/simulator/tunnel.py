"""Knows how clients that insist on `*.salesforce.com` reach the org: a throw-away CA, and a CONNECT proxy on loopback.

Must not know what the org answers.
"""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

# What the org pretends to be behind the proxy, and every host that leads to it.
INSTANCE_HOST = "acme.my.salesforce.com"
_SUFFIXES = (".salesforce.com", ".force.com")
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

    def __init__(self, host: str, org_port: int) -> None:
        self._server = _TunnelServer((host, 0), _Tunnel)
        self._server.org_address = (host, org_port)
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


class _Tunnel(socketserver.StreamRequestHandler):
    server: _TunnelServer

    def handle(self) -> None:
        method, _, rest = self.rfile.readline().decode("latin-1").partition(" ")
        while self.rfile.readline().strip():
            pass
        host, _, _port = rest.partition(" ")[0].rpartition(":")
        if method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        if not host.endswith(_SUFFIXES):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self.server.org_address) as org:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pipe(self.connection, org)


def _pipe(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side ends."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                try:
                    piece = key.fileobj.recv(_PIECE)  # type: ignore[union-attr]
                    if not piece:
                        return
                    key.data.sendall(piece)
                except OSError:
                    return
