"""Logging in, and keeping one session for all threads. Knows the three logins, and nothing of tables."""

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, SessionExpiredError, SourceError
from ingestr.sources.salesforce.answers import error_of, is_about_the_org, is_html, parse_errors, unreachable
from ingestr.sources.salesforce.config import (
    AccessToken,
    ClientCredentials,
    Login,
    SalesforceConfig,
    UsernamePassword,
    is_loopback,
)

log = logging.getLogger("ingestr.salesforce")

# login() of the SOAP API exists up to v64; Salesforce removes it for good in Summer '27.
SOAP_VERSION = "64.0"
SOAP_LOGIN_ENDS = (
    "the login by username and password ends for all orgs in Summer '27 (June 2027); "
    "set up an OAuth client and use client_id and client_secret"
)
_API_DOMAINS = (".salesforce.com", ".force.com", ".cloudforce.com", ".salesforce.mil", ".sfcrmproducts.cn")
# 401s that a new session would not cure (jsforce found them by looping).
_NOT_AN_EXPIRY = ("Connected app is not attached to Agent", "This session is not valid for use with the REST API")


@dataclass(frozen=True)
class Session:
    """A token, the instance that it belongs to, and the org's id where the login told it."""

    token: Secret
    instance_url: str
    org_id: str | None


class SessionAuth(httpx.Auth):
    """Addresses each request to the session's instance and signs it.

    A session that expires is renewed once, whichever of many threads meets the expiry first; the others wait and use
    the new one. A second refusal in a row is the caller's.
    """

    def __init__(self, config: SalesforceConfig, http: httpx.Client) -> None:
        self._config = config
        self._http = http
        self._lock = threading.Lock()
        self._session: Session | None = None

    def session(self, expired: Session | None = None) -> Session:
        """The current session, made when there is none or when the one at hand is the ``expired`` one."""
        with self._lock:
            if self._session is None or self._session is expired:
                if expired is not None and isinstance(self._config.login, AccessToken):
                    raise SessionExpiredError(
                        "the access token has expired or was revoked, and it alone cannot be renewed",
                        hint="get a new one, or use client_id and client_secret, which renew themselves",
                    )
                self._session = log_in(self._config, self._http)
                log.debug("logged in; the instance is %s", self._session.instance_url)
            return self._session

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign, send, and on an expired session renew and send once more."""
        session = self.session()
        _sign(request, session)
        response = yield request
        if response.status_code == 401:
            response.read()
            if not any(text in response.text for text in _NOT_AN_EXPIRY):
                _sign(request, self.session(expired=session))
                yield request


def _sign(request: httpx.Request, session: Session) -> None:
    instance = httpx.URL(session.instance_url)
    request.url = request.url.copy_with(scheme=instance.scheme, host=instance.host, port=instance.port)
    request.headers["Host"] = request.url.netloc.decode("ascii")
    request.headers["Authorization"] = f"Bearer {session.token.reveal()}"


def log_in(config: SalesforceConfig, http: httpx.Client) -> Session:
    """Make a session.

    Raises:
        AuthenticationError: refused; the hint says which part to check.
        SourceUnavailableError: the login host gave no usable answer.
    """
    login: Login = config.login
    match login:
        case AccessToken(token):
            org_id = token.reveal().partition("!")[0]
            return Session(token, config.login_url, org_id if org_id.startswith("00D") else None)
        case ClientCredentials():
            return _client_credentials(login, config.login_url, http)
        case UsernamePassword():
            return _soap_login(login, config.login_url, http)
        case _:
            assert_never(login)


def _post(http: httpx.Client, url: str, **content: object) -> httpx.Response:
    try:
        # A login can be served twice; wrong ones are no transient answers, so nobody is locked out.
        return http.post(url, **content, extensions={"repeatable": True})  # type: ignore[arg-type]
    except httpx.TransportError as error:
        raise unreachable(error, "logging in", urlsplit(url).hostname or "") from None


def _client_credentials(login: ClientCredentials, login_url: str, http: httpx.Client) -> Session:
    form = {
        "grant_type": "client_credentials",
        "client_id": login.client_id.reveal(),
        "client_secret": login.client_secret.reveal(),
    }
    answer = _post(http, f"{login_url}/services/oauth2/token", data=form, headers={"Accept": "application/json"})
    if answer.status_code != 200:
        raise _refused(answer, login_url)
    if is_html(answer):
        raise error_of(answer, _logging_in(login_url))
    try:
        body = answer.json()
        token, instance = str(body["access_token"]), str(body["instance_url"])
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            f"{_logging_in(login_url)}: the answer holds no session", hint="check that the domain is your My Domain"
        ) from None
    org_id = next((part for part in str(body.get("id", "")).split("/") if part.startswith("00D")), None)
    return Session(Secret(token), _checked_instance(instance, login_url), org_id)


_HINTS = {
    "invalid_client_id": "client_id is not the consumer key of an app of this org",
    "invalid_client": "client_secret is wrong",
    "invalid_app_access": "an administrator must approve the app for this user",
    "unsupported_grant_type": "the app does not allow the client credentials flow",
    "INVALID_LOGIN": "check username, password and security token; test users log in at domain=test",
    "LOGIN_MUST_USE_SECURITY_TOKEN": "add token=<security token>",
    "INVALID_OPERATION_WITH_EXPIRED_PASSWORD": "the password has expired: set a new one in Salesforce",
    "PASSWORD_LOCKOUT": "the user is locked out: wait, or ask an administrator",
    "LOGIN_DURING_RESTRICTED_DOMAIN": "this network's address is not among those the org allows",
    "LOGIN_DURING_RESTRICTED_TIME": "the user's login hours do not allow it now",
    "UNSUPPORTED_API_VERSION": SOAP_LOGIN_ENDS,
    "API_DISABLED_FOR_ORG": "the org or user may not use the API, or this login is switched off: " + SOAP_LOGIN_ENDS,
}
_GRANT_HINTS = {
    "request not supported on this domain": "the client credentials flow needs your My Domain: domain=acme.my",
    "no client credentials user enabled": "in the app's settings, choose a user for the flow to run as",
    "client credentials flow not enabled": "in the app's settings, enable the client credentials flow",
}


def _logging_in(login_url: str) -> str:
    return f"logging in at {urlsplit(login_url).hostname}"


def _refused(answer: httpx.Response, login_url: str) -> Exception:
    errors = parse_errors(answer)
    if not errors or answer.status_code in (429, 502, 503, 504) or is_about_the_org(errors[0]):
        return error_of(answer, _logging_in(login_url))
    error = errors[0]
    # invalid_grant is one code for many causes: its text alone tells them apart.
    hint = _GRANT_HINTS.get(error.message) or _HINTS.get(error.code) or "check the login in the source URI"
    text = error.message.removeprefix(f"{error.code}: ")
    return AuthenticationError(f"login refused: {error.code}: {text}", hint=hint)


def _soap_login(login: UsernamePassword, login_url: str, http: httpx.Client) -> Session:
    password = login.password.reveal() + login.security_token.reveal()
    envelope = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">'
        "<env:Header><urn:CallOptions><urn:client>ingestr</urn:client></urn:CallOptions></env:Header><env:Body>"
        f"<urn:login><urn:username>{escape(login.username)}</urn:username>"
        f"<urn:password>{escape(password)}</urn:password></urn:login></env:Body></env:Envelope>"
    )
    answer = _post(
        http,
        f"{login_url}/services/Soap/u/{SOAP_VERSION}",
        content=envelope.encode(),
        headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"},
    )
    if answer.status_code != 200:
        raise _refused(answer, login_url)
    if is_html(answer):
        raise error_of(answer, _logging_in(login_url))
    try:
        root = ElementTree.fromstring(answer.content)  # noqa: S314 - the login host's own answer, over TLS
    except ElementTree.ParseError:
        raise SourceError(f"{_logging_in(login_url)}: the answer is not SOAP", hint="check the domain") from None
    texts = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    if texts.get("passwordExpired") == "true":
        raise AuthenticationError("login refused: the password has expired", hint="set a new one in Salesforce")
    if not texts.get("sessionId") or not texts.get("serverUrl"):
        raise SourceError(f"{_logging_in(login_url)}: the answer holds no session", hint="check the domain")
    instance = _checked_instance(texts["serverUrl"], login_url)
    return Session(Secret(texts["sessionId"]), instance, texts.get("organizationId"))


def _checked_instance(instance_url: str, login_url: str) -> str:
    """The instance as scheme and host, if a token may go there."""
    try:
        parts = urlsplit(instance_url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"{_logging_in(login_url)}: the instance that it names is no URL") from None
    login_host = urlsplit(login_url).hostname or ""
    local = is_loopback(host) and is_loopback(login_host)
    trusted = parts.scheme == "https" and (host == login_host or host.endswith(_API_DOMAINS))
    if not (local or trusted):
        raise SourceError(f"the login host names {host!r} as the instance: not a host of Salesforce")
    return f"{parts.scheme}://{parts.netloc}"
