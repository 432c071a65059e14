"""Knows how an ASGI application is put behind a socket, in a thread of its own; must not know the org."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingestr.simulator.patience import Patience
from ingestr.simulator.tunnel import Certificates

_START_SECONDS = 10.0
log = logging.getLogger("ingestr.simulator")
_GRACE_SECONDS = 1.0
_LOOK_EVERY = 1.0
# What asyncio has begun with a connection is done after three.
_TURNS = 5
# Longer than the platform allows, so that the org itself can say 414 and 431.
_LONGEST_HEAD = 1 << 18


class _Protocol(H11Protocol):
    """Lets the application close the connection, as a failing network does, and ends one that never finishes asking.

    uvicorn itself would wait for a head for ever.
    """

    def __init__(self, *arguments: Any, patience: Patience, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience = patience
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """Let the time run while a head is awaited; more bytes of it give no more time."""
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._head_due is None:
            self._head_due = self.loop.call_later(self._patience.head, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


class _Uvicorn(uvicorn.Server):
    """Stops within milliseconds when told, which tests that start many orgs feel."""

    _told: asyncio.Event | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        if not self.should_exit:
            await self._told.wait()

    def tell(self) -> None:
        """End the main loop, from any thread."""
        self.should_exit = True
        if self._loop is not None and self._told is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                loop.remove_reader(listening)
        # asyncio loses connections that were just taken when their server is closed before they have begun.
        await _turns()
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = time.monotonic() + _GRACE_SECONDS
        while (_others() or self.server_state.connections) and time.monotonic() < deadline:
            await asyncio.sleep(0.002)
        for task in _others():
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # Sockets are closed in the loop's next turns, and by nobody when it ends before.
        await _turns()


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


class PortError(OSError):
    """The port is taken, or not ours to take."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any that is free.

    Raises:
        PortError: that cannot be done.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small writes at once only on sockets that say they are TCP; without that every answer waits 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise PortError(f"port {port} of {host}: {error.strerror}") from error
    sock.listen(512)
    return sock


class Server:
    """An HTTP server on a socket of its own."""

    def __init__(
        self, app: ASGIApp, sock: socket.socket, patience: Patience, certificates: Certificates | None = None
    ) -> None:
        config = uvicorn.Config(
            app,
            http=partial(_Protocol, patience=patience),  # type: ignore[arg-type]
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            ssl_certfile=None if certificates is None else str(certificates.chain),
            ssl_keyfile=None if certificates is None else str(certificates.key),
        )
        self._server = _Uvicorn(config)
        self._sock = sock
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a thread; return when requests are taken."""
        thread = threading.Thread(target=self._serve, name="simulated-org", daemon=True)
        thread.start()
        # Known only now: a start that is interrupted leaves nothing to wait for.
        self._thread = thread
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the simulated org's server did not start")
            time.sleep(0.002)

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._sock])
        except Exception:
            if not self._server.should_exit:
                raise
            # On a machine that has no time, a server that is told to end while it begins may fail to do either.
            log.debug("the simulated org's server failed as it ended", exc_info=True)

    def stop(self) -> None:
        """Stop serving and close the socket."""
        self._server.tell()
        if self._thread is not None:
            self._thread.join(_START_SECONDS)
        self._sock.close()

    def run(self) -> None:
        """Serve, once started, until the main thread, which only waits, is interrupted."""
        forever = threading.Event()
        while self._thread is not None and self._thread.is_alive():
            # Not join: a join that is interrupted takes the thread for ended.
            forever.wait(_LOOK_EVERY)
