"""Connections that belong together, so that whoever waits on one of them can be sent away, and nobody else is."""

import socket
from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Lock, local
from typing import Any
from weakref import WeakSet

import httpx

_CONNECTED = ("connect_tcp.complete", "start_tls.complete")


class OpenSockets:
    """Every socket that is connected, for any number of threads.

    httpx cannot end a request from another thread: a socket that is merely closed wakes nobody who reads from it. One
    that is shut down does, whether the reader waits for an answer to begin or for the rest of it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._hung_up = Event()

    @property
    def hung_up(self) -> Event:
        """Set when requests that are under way now are no longer wanted."""
        return self._hung_up

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of what httpx's extension ``trace`` tells."""
        if event.endswith(_CONNECTED):
            connected = info["return_value"].get_extra_info("socket")
            if isinstance(connected, socket.socket):
                with self._lock:
                    self._sockets.add(connected)

    def hang_up(self) -> None:
        """End all requests that are under way; later ones are made over new connections."""
        with self._lock:
            self._hung_up.set()
            self._hung_up = Event()
            for each in list(self._sockets):
                with suppress(OSError):
                    # Not the method of a TLS socket, which would forget its session while another thread uses it.
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
            self._sockets.clear()


class Line:
    """Connections of their own for some threads: ending these threads' requests ends no request of another thread.

    Args:
        connections: sends one request; closed with the line.
        lines: which line each thread uses.
    """

    def __init__(self, connections: httpx.Client, lines: local) -> None:
        self.connections = connections
        self.sockets = OpenSockets()
        self._lines = lines

    def use(self) -> None:
        """Let the requests of the calling thread go this way from now on."""
        self._lines.own = self

    def hang_up(self) -> None:
        """End the requests that are under way: they fail, and are not repeated."""
        self.sockets.hang_up()

    def close(self) -> None:
        """Close the connections."""
        self.connections.close()
