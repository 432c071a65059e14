"""HTTP below authentication: timeouts, certificates, and repeating what may be repeated. Knows no Salesforce path."""

import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from http.cookiejar import CookieJar
from typing import Any
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import httpx
import tenacity
import truststore

from ingestr.core.clock import Clock
from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError
from ingestr.redaction import guard_log
from ingestr.sources.salesforce.http.connections import Line
from ingestr.sources.salesforce.http.hosts import is_loopback
from ingestr.sources.salesforce.http.shapes import http_date
from ingestr.sources.salesforce.http.whole import MOST_BYTES, read_whole

log = logging.getLogger("ingestr.salesforce")

# Salesforce runs a query for two minutes before it gives up, and sends nothing meanwhile.
TIMEOUT = httpx.Timeout(connect=20, read=300, write=60, pool=None)
_ATTEMPTS = 8
_CONNECT_ATTEMPTS = 4
# 420 means that Salesforce's edge does not know the org: an org that is gone answers so for ever.
_FEW_ATTEMPTS = {420: 3}
_LONGEST_WAIT = 30.0
_LONGEST_RETRY_AFTER = 300.0
_PACKING = (b"content-encoding", b"content-length", b"transfer-encoding")
_READING = frozenset({"GET", "DELETE", "PATCH"})
# What these log of each request and answer may hold the token.
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")


# Where an answer would send us, which is told and not followed.
REDIRECTED_TO = "Ingestr-Redirected-To"
# An extension of an answer whose body was read here: how many bytes of it came over the network.
RECEIVED = "ingestr_received"


class TransientAnswerError(Exception):
    """An answer worth asking for again; the last one is handed on when patience ends."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


class _NoCookies(CookieJar):
    """Keeps none: sessions are carried by tokens, and what a server sets need not be read."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        """Leave them."""


def make_connections(*, trust_environment: bool) -> httpx.Client:
    """Pooled connections whose certificates are checked against the system's store, or ``SSL_CERT_FILE``.

    Args:
        trust_environment: honour ``HTTPS_PROXY`` and its kin; off for this machine's own addresses.

    Raises:
        ConfigurationError: they name no proxy that could be used.
    """
    guard_log(*_LOGGERS)
    for url in getproxies().values():
        _remembered(url)
    own_store = "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
    context = ssl.create_default_context() if own_store else truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        return httpx.Client(
            verify=context, limits=limits, timeout=TIMEOUT, trust_env=trust_environment, cookies=_NoCookies()
        )
    except (ValueError, ImportError, httpx.InvalidURL):
        # Their values are not repeated: a proxy's URL may hold a password.
        raise _unusable_proxy() from None


@lru_cache(maxsize=16)
def _remembered(url: str) -> Secret:
    """A proxy's URL, whose password is blotted out of messages from now on."""
    return Secret(url if "://" in url else f"http://{url}")


def proxy_of(host: str) -> str | None:
    """The proxy that the environment names for a host, as host and port; None where the way is direct."""
    found = getproxies()
    url = found.get("https") or found.get("all")
    if not url or is_loopback(host) or proxy_bypass(host):
        return None
    try:
        return _proxy_url(url).netloc.decode("ascii")
    except httpx.InvalidURL:
        return None


def _proxy_url(text: str) -> httpx.URL:
    return httpx.URL(text if "://" in text else f"http://{text}")


def _unusable_proxy() -> ConfigurationError:
    for kind, text in getproxies().items():
        try:
            scheme = _proxy_url(text).scheme if kind in ("http", "https", "all") else "http"
        except httpx.InvalidURL:
            scheme = ""
        if scheme not in ("http", "https"):
            return ConfigurationError(
                f"{kind.upper()}_PROXY names no proxy that ingestr can use",
                hint="write http://host:port (SOCKS is not spoken), or unset it",
            )
    return ConfigurationError(
        "NO_PROXY cannot be read", hint="write hosts with commas between them, an IPv6 address as [::1]"
    )


class RetryTransport(httpx.BaseTransport):
    """Repeats requests that failed for a passing reason.

    Reading requests are repeated after any network error or transient answer. Others only when the server cannot have
    acted on them: no connection was made, or it answered that it did not serve the request. A request that is marked
    ``extensions={"repeatable": True}`` is repeated after any answer of a passing failure, and one that is marked
    ``"harmless": True`` also where the answer was lost: being served twice leaves nothing behind.

    Bodies are read here, so that one cut short counts as a failure like any other, unless the request is marked
    ``extensions={"stream": True}``.

    Args:
        connect: makes pooled connections, each of which sends one request.
        clock: time and waiting.
        is_transient: whether the same request may succeed in a moment.
        most_bytes: the largest body that is read into memory.
    """

    def __init__(
        self,
        connect: Callable[[], httpx.Client],
        clock: Clock,
        is_transient: Callable[[httpx.Response], bool],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._is_transient = is_transient
        self._most_bytes = most_bytes
        self._closed = False
        self._lines = threading.local()
        self._every_line: WeakSet[Line] = WeakSet()
        self._line = self.open_line()

    def open_line(self) -> Line:
        """Connections of their own for some threads; whoever asks for them closes them."""
        connections = self._connect()
        connections.event_hooks = {"response": [_leave_redirect]}
        line = Line(connections, self._lines)
        self._every_line.add(line)
        return line

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and send again; the last answer or error is the caller's."""
        line: Line = getattr(self._lines, "own", self._line)
        unwanted = line.sockets.hung_up
        request.extensions = {**request.extensions, "trace": line.sockets.trace}
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: not (self._closed or unwanted.is_set()) and _worth_repeating(request, error)
            ),
            stop=_patience_ends,
            wait=self._pause,
            sleep=lambda seconds: self._clock.sleep(seconds, unwanted),
            before_sleep=lambda state: _log_retry(request, state),
            reraise=True,
        )
        try:
            return retrying(self._send, line, request)
        except TransientAnswerError as error:
            return error.response

    def _send(self, line: Line, request: httpx.Request) -> httpx.Response:
        if self._closed:
            raise httpx.ReadError("nobody waits for an answer any more", request=request)
        began = time.perf_counter()
        response = line.connections.send(request, stream=True)
        if not (request.extensions.get("stream") and response.status_code == 200):
            response = self._whole(request, response)
            if self._is_transient(response):
                raise TransientAnswerError(response)
        took = (time.perf_counter() - began) * 1000
        log.debug("%s %s → %d in %.0f ms", request.method, request.url.path, response.status_code, took)
        return response

    def _whole(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        """The same answer with its body read and inflated."""
        doing = str(request.extensions.get("doing") or "asking Salesforce")
        try:
            body = read_whole(response, doing, self._most_bytes, self._clock)
        finally:
            response.close()
        headers = httpx.Headers([(name, value) for name, value in response.headers.raw if name.lower() not in _PACKING])
        received = {RECEIVED: response.num_bytes_downloaded}
        return httpx.Response(response.status_code, headers=headers, content=body, request=request, extensions=received)

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientAnswerError):
            asked = retry_after(error.response.headers.get("Retry-After", ""), self._clock.now())
            if asked is not None:
                return min(asked, _LONGEST_RETRY_AFTER)
        growing = tenacity.wait_exponential(multiplier=0.5, max=_LONGEST_WAIT) + tenacity.wait_random(0, 0.5)
        return growing(state)

    def stop(self) -> None:
        """End the requests of all threads; later ones fail at once."""
        self._closed = True
        for line in list(self._every_line):
            line.hang_up()

    def close(self) -> None:
        """Close the connections that are no line's; requests under way fail, and are not repeated."""
        self._closed = True
        self._line.close()


def _leave_redirect(response: httpx.Response) -> None:
    """Keep httpx from preparing to follow a redirect, which fails in many ways where its address is none."""
    location = response.headers.pop("Location", None)
    if location is not None:
        response.headers[REDIRECTED_TO] = location


def retry_after(header: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks to wait, as a number or a date; None where it cannot be read."""
    text = header.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text):
        return float(text)
    moment = http_date(text) if text else None
    return max((moment - now).total_seconds(), 0.0) if moment is not None else None


def _worth_repeating(request: httpx.Request, error: BaseException) -> bool:
    if request.extensions.get("once") or isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return False
    repeatable = bool(request.extensions.get("repeatable"))
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, TransientAnswerError):
        status = error.response.status_code
        return request.method in _READING or status in (403, 420, 429, 503) or (repeatable and status >= 400)
    harmless = request.method in _READING or bool(request.extensions.get("harmless"))
    return harmless and isinstance(error, httpx.TransportError)


def _patience_ends(state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    attempts = _ATTEMPTS
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        attempts = _CONNECT_ATTEMPTS
    elif isinstance(error, TransientAnswerError):
        attempts = _FEW_ATTEMPTS.get(error.response.status_code, _ATTEMPTS)
    return state.attempt_number >= attempts


def _log_retry(request: httpx.Request, state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    log.warning("%s %s: %s; again in %.1f s", request.method, request.url.path, error or "failed", wait)
