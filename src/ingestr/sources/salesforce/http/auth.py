"""Keeping one session for all threads, and signing with it. Knows no login, and nothing of tables."""

import copy
import logging
import threading
from collections.abc import Generator
from urllib.parse import urlsplit

import httpx

from ingestr.errors import IngestrError, SessionExpiredError
from ingestr.sources.salesforce.http.answers import EXPIRED_SESSION, MISPLACED_SESSION, parse_errors
from ingestr.sources.salesforce.logins.base import Session
from ingestr.sources.salesforce.logins.config import SalesforceConfig

log = logging.getLogger("ingestr.salesforce")

_LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
# 401s that a new session would not cure (jsforce found them by looping).
_NOT_AN_EXPIRY = ("Connected app is not attached to Agent", "This session is not valid for use with the REST API")


class SessionAuth(httpx.Auth):
    """Addresses each request to the session's instance and signs it.

    A session that expires is renewed once, whichever of many threads meets the expiry first; the others wait and use
    the new one. A second refusal in a row is the caller's. A login that failed is not tried again by those who wait,
    nor by whoever cleans up: each try with a wrong password counts against the user.
    """

    def __init__(self, config: SalesforceConfig, http: httpx.Client) -> None:
        self._config = config
        self._http = http
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._failure: IngestrError | None = None

    def session(self, expired: Session | None = None) -> Session:
        """The current session, made when there is none or when the one at hand is the ``expired`` one."""
        with self._lock:
            if self._failure is not None:
                # A copy, as several threads may raise it.
                raise copy.copy(self._failure)
            if self._session is None or self._session is expired:
                try:
                    self._session = self._config.login.log_in(self._config.login_url, self._http)
                except IngestrError as error:
                    self._failure = error
                    raise
                log.debug("logged in; the instance is %s", self._session.instance_url)
            return self._session

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign, send, and on a session that ended or belongs elsewhere renew it and send once more."""
        session = self.session()
        _sign(request, session)
        response = yield request
        if response.status_code < 300:
            return
        response.read()
        if any(text.encode() in response.content for text in _NOT_AN_EXPIRY):
            return
        codes = {error.code for error in parse_errors(response)}
        ended = response.status_code == 401 or EXPIRED_SESSION in codes
        if not self._config.login.RENEWABLE:
            if ended:
                raise _ended(response, self._config.login_url)
        elif ended or codes & MISPLACED_SESSION:
            _sign(request, self.session(expired=session))
            yield request


def _ended(response: httpx.Response, login_url: str) -> SessionExpiredError:
    """Our error for a token that is not accepted and that nobody here can renew."""
    host = urlsplit(login_url).hostname or ""
    errors = parse_errors(response)
    said = f" ({errors[0].code}: {errors[0].message})" if errors else ""
    hint = (
        "get a new one, or use client_id and client_secret, which renew themselves; it is accepted by the org's own "
        "host alone, named by domain=acme.my or acme--dev.sandbox.my"
    )
    if host in _LOGIN_HOSTS:
        hint = f"no token is accepted at {host}: name the org's own host, domain=acme.my or acme--dev.sandbox.my"
    return SessionExpiredError(
        f"the access token has expired, was revoked or is not of the org at {host}; it alone cannot be renewed{said}",
        hint=hint,
    )


def _sign(request: httpx.Request, session: Session) -> None:
    instance = httpx.URL(session.instance_url)
    request.url = request.url.copy_with(scheme=instance.scheme, host=instance.host, port=instance.port)
    request.headers["Host"] = request.url.netloc.decode("ascii")
    request.headers["Authorization"] = f"Bearer {session.token.reveal()}"
