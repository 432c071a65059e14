"""Knows which requests come from programs of this machine, and refuses those that a web page sends; not what is asked.

A server on loopback can be reached by every page that is open in a browser of the same machine: by forms and scripts of
other sites, which say where they come from, and under names whose addresses change to 127.0.0.1 (DNS rebinding), which
stand in Host. The fetch metadata are those of https://www.w3.org/TR/fetch-metadata/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# What a browser says when its user typed the address, or when the org's own answer asked for more.
_OWN_FETCHES = frozenset({"none", "same-origin"})
_SAID_ONCE = frozenset({"host", "origin", "referer", "sec-fetch-site"})


class LocalPrograms:
    """An ASGI application that lets a request through to another only when a program of this machine sent it.

    Args:
        app: what answers the requests that are let through.
        listens: the address that the server listens on; one that is not loopback was chosen, so it may be in Host.
        suffixes: ends of the names that lead here through the org's own proxy and certificate.
    """

    def __init__(self, app: ASGIApp, listens: str, suffixes: tuple[str, ...] = ()) -> None:
        self._app = app
        self._listens = listens.lower()
        self._suffixes = suffixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 with the reason, or pass the request on."""
        reason = self._reason(scope) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        body = f"The simulated org refuses this request: {reason}.\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        # What is left of the request's body is not read.
        await send({"type": "http.response.start", "status": 403, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _reason(self, scope: Scope) -> str | None:
        """Return why the request is refused, or None."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            if name in headers and name in _SAID_ONCE:
                return f"{name} is said twice"
            headers[name] = raw_value.decode("latin-1").strip()
        found = _HOST.fullmatch(headers.get("host", ""))
        if found is None or not self._is_ours(found[1].lower()):
            return "Host is not the name of this machine's loopback, such as 127.0.0.1 or localhost"
        return _foreign(headers, scope["scheme"])

    def _is_ours(self, host: str) -> bool:
        if host in {"localhost", self._listens, f"[{self._listens}]"} or host.endswith(self._suffixes):
            return True
        try:
            address = ip_address(host.strip("[]"))
        except ValueError:
            return False
        # Who listens everywhere has said so; an address, unlike a name, cannot be made to lead elsewhere.
        return address.is_loopback or self._listens in {"0.0.0.0", "::"}  # noqa: S104


def _foreign(headers: Mapping[str, str], scheme: str) -> str | None:
    """Return how a request shows that a page of another origin sent it, or None."""
    if headers.get("sec-fetch-site", "none").lower() not in _OWN_FETCHES:
        return "a web page of another site sent it (Sec-Fetch-Site)"
    own = _origin(f"{scheme}://{headers['host']}")
    for name in ("origin", "referer"):
        if name in headers and _origin(headers[name]) != own:
            return f"a web page of another origin sent it ({name.capitalize()})"
    return None


def _origin(url: str) -> tuple[str, str, str] | None:
    """Return scheme, host and port of an address, or None where it has none."""
    try:
        split = urlsplit(url)
    except ValueError:
        return None
    found = _HOST.fullmatch(split.netloc)
    return None if found is None else (split.scheme, found[1].lower(), found[2] or _DEFAULT_PORTS.get(split.scheme, ""))
