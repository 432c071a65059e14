"""HTTP below authentication: timeouts, certificates, and repeating what may be repeated. Knows no Salesforce path."""

import logging
import os
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.request import getproxies, proxy_bypass

import httpx
import tenacity
import truststore

from ingestr.core.clock import Clock
from ingestr.errors import ConfigurationError
from ingestr.sources.salesforce.config import is_loopback
from ingestr.sources.salesforce.connections import OpenSockets

log = logging.getLogger("ingestr.salesforce")

# Salesforce runs a query for two minutes before it gives up, and sends nothing meanwhile.
TIMEOUT = httpx.Timeout(connect=20, read=300, write=60, pool=None)
_ATTEMPTS = 8
_CONNECT_ATTEMPTS = 4
# 420 means that Salesforce's edge does not know the org: an org that is gone answers so for ever.
_FEW_ATTEMPTS = {420: 3}
_LONGEST_WAIT = 30.0
_LONGEST_RETRY_AFTER = 300.0


class TransientAnswerError(Exception):
    """An answer worth asking for again; the last one is handed on when patience ends."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


def make_connections(*, trust_environment: bool) -> httpx.Client:
    """Pooled connections whose certificates are checked against the system's store, or ``SSL_CERT_FILE``.

    Args:
        trust_environment: honour ``HTTPS_PROXY`` and its kin; off for this machine's own addresses.

    Raises:
        ConfigurationError: they name no proxy that could be used.
    """
    own_store = "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ
    context = ssl.create_default_context() if own_store else truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        return httpx.Client(verify=context, limits=limits, timeout=TIMEOUT, trust_env=trust_environment)
    except (ValueError, ImportError, httpx.InvalidURL):
        # Their values are not repeated: a proxy's URL may hold a password.
        raise _unusable_proxy() from None


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
    ``extensions={"repeatable": True}`` may be served twice without harm, and is repeated after any transient failure.

    Bodies are read here, so that one cut short counts as a failure like any other, unless the request is marked
    ``extensions={"stream": True}``.
    """

    def __init__(self, connections: httpx.Client, clock: Clock, is_transient: Callable[[httpx.Response], bool]) -> None:
        self._connections = connections
        self._clock = clock
        self._is_transient = is_transient
        self._closed = False
        self._sockets = OpenSockets()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and send again; the last answer or error is the caller's."""
        unwanted = self._sockets.hung_up
        request.extensions = {**request.extensions, "trace": self._sockets.trace}
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
            return retrying(self._send, request)
        except TransientAnswerError as error:
            return error.response

    def _send(self, request: httpx.Request) -> httpx.Response:
        began = time.perf_counter()
        response = self._connections.send(request, stream=True)
        if not (request.extensions.get("stream") and response.status_code == 200):
            try:
                raw = b"".join(response.iter_raw())
            finally:
                response.close()
            response = httpx.Response(
                response.status_code, headers=response.headers, stream=httpx.ByteStream(raw), request=request
            )
            response.read()
            if self._is_transient(response):
                raise TransientAnswerError(response)
        took = (time.perf_counter() - began) * 1000
        log.debug("%s %s → %d in %.0f ms", request.method, request.url.path, response.status_code, took)
        return response

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientAnswerError) and (asked := error.response.headers.get("Retry-After")):
            try:
                seconds = float(asked) if asked.isdigit() else self._seconds_until(asked)
            except ValueError:
                log.debug("unreadable Retry-After: %r", asked)
            else:
                return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
        growing = tenacity.wait_exponential(multiplier=0.5, max=_LONGEST_WAIT) + tenacity.wait_random(0, 0.5)
        return growing(state)

    def _seconds_until(self, http_date: str) -> float:
        return (parsedate_to_datetime(http_date) - self._clock.now()).total_seconds()

    def hang_up(self) -> None:
        """End the requests that are under way: they fail, and are not repeated."""
        self._sockets.hang_up()

    def close(self) -> None:
        """Close the connections; requests under way fail, and are not repeated."""
        self._closed = True
        self._connections.close()


def _worth_repeating(request: httpx.Request, error: BaseException) -> bool:
    if request.extensions.get("once"):
        return False
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, TransientAnswerError):
        status = error.response.status_code
        failed = status in (403, 420, 429, 503) or (status >= 400 and bool(request.extensions.get("repeatable")))
        return request.method in ("GET", "DELETE", "PATCH") or failed
    return request.method in ("GET", "DELETE", "PATCH") and isinstance(
        error, httpx.TransportError | httpx.DecodingError
    )


def _patience_ends(state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    attempts = _ATTEMPTS
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        attempts = _CONNECT_ATTEMPTS
    elif isinstance(error, TransientAnswerError):
        attempts = _FEW_ATTEMPTS.get(error.response.status_code, _ATTEMPTS)
    return state.attempt_number >= attempts


def _log_retry(request: httpx.Request, state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    log.warning("%s %s: %s; again in %.1f s", request.method, request.url.path, error or "failed", wait)
