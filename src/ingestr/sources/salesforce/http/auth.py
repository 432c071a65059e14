"""Logging in, and keeping one session for all threads. Knows the three logins, and nothing of tables."""

import copy
import json
import logging
import re
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, IngestrError, SessionExpiredError, SourceError
from ingestr.sources.salesforce.http.answers import (
    EXPIRED_SESSION,
    MISPLACED_SESSION,
    error_of,
    is_about_the_org,
    is_html,
    parse_errors,
    texts_of_xml,
    unreachable,
)
from ingestr.sources.salesforce.http.shapes import as_object, interpreting, unexpected
from ingestr.sources.salesforce.logins import refusals
from ingestr.sources.salesforce.logins.config import (
    AccessToken,
    ClientCredentials,
    Login,
    SalesforceConfig,
    UsernamePassword,
    is_host,
    is_loopback,
)

log = logging.getLogger("ingestr.salesforce")

# login() of the SOAP API exists up to v64; Salesforce removes it for good in Summer '27.
SOAP_VERSION = "64.0"
SOAP_LOGIN_ENDS = refusals.SOAP_LOGIN_ENDS
_ORG_ID = re.compile(r"(00D[A-Za-z0-9]{12})(?:[A-Za-z0-9]{3})?")
_API_DOMAINS = (".salesforce.com", ".force.com", ".cloudforce.com", ".salesforce.mil", ".sfcrmproducts.cn")
_LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
# 401s that a new session would not cure (jsforce found them by looping).
_NOT_AN_EXPIRY = ("Connected app is not attached to Agent", "This session is not valid for use with the REST API")


@dataclass(frozen=True)
class Session:
    """A token, the instance that it belongs to, and the org's id of 15 characters where the login told it."""

    token: Secret
    instance_url: str
    org_id: str | None


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
                    self._session = log_in(self._config, self._http)
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
        if isinstance(self._config.login, AccessToken):
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


def log_in(config: SalesforceConfig, http: httpx.Client) -> Session:
    """Make a session.

    Raises:
        AuthenticationError: refused; the hint says which part to check.
        SourceUnavailableError: the login host gave no usable answer.
    """
    login: Login = config.login
    match login:
        case AccessToken(token):
            return Session(token, config.login_url, org_id_of(token.reveal().partition("!")[0]))
        case ClientCredentials():
            return _client_credentials(login, config.login_url, http)
        case UsernamePassword():
            return _soap_login(login, config.login_url, http)
        case _:
            assert_never(login)


def org_id_of(text: object) -> str | None:
    """The 15 characters of an org's id, if the text is one; what is no id is not known."""
    found = _ORG_ID.fullmatch(text) if isinstance(text, str) else None
    return found[1] if found else None


def _post(http: httpx.Client, url: str, *, harmless: bool, **content: object) -> httpx.Response:
    """Send a login, which can be served twice; wrong ones are no transient answers, so nobody is locked out.

    Only ``harmless`` ones are sent again where the answer got lost: it may have said that the password is wrong.
    """
    host = urlsplit(url).hostname or ""
    extensions = {"repeatable": True, "harmless": harmless, "doing": f"logging in at {host}"}
    try:
        return http.post(url, **content, extensions=extensions)  # type: ignore[arg-type]
    except httpx.RequestError as error:
        raise unreachable(error, "logging in", host) from None


def _session(token: str, instance: str, org_id: str | None, login_url: str) -> Session:
    """A session, if its token can stand in a header and may be sent to its instance."""
    if not token or not (token.isascii() and token.isprintable()) or " " in token:
        raise unexpected(_logging_in(login_url), "its token cannot be sent")
    return Session(Secret(token), _checked_instance(instance, login_url), org_id)


def _client_credentials(login: ClientCredentials, login_url: str, http: httpx.Client) -> Session:
    form = {
        "grant_type": "client_credentials",
        "client_id": login.client_id.reveal(),
        "client_secret": login.client_secret.reveal(),
    }
    url, accept = f"{login_url}/services/oauth2/token", {"Accept": "application/json"}
    answer = _post(http, url, harmless=True, data=form, headers=accept)
    if answer.status_code != 200:
        raise _refused(answer, login_url)
    if is_html(answer):
        raise error_of(answer, _logging_in(login_url))
    with interpreting(_logging_in(login_url)):
        if parse_errors(answer):
            raise _refused(answer, login_url)
        body = as_object(json.loads(answer.content), _logging_in(login_url))
        token, instance = body.text("access_token"), body.text("instance_url")
        identity = str(body.get("id", "")).split("/")
        org_id = next((found for part in identity if (found := org_id_of(part))), None)
        return _session(token, instance, org_id or org_id_of(token.partition("!")[0]), login_url)


def _logging_in(login_url: str) -> str:
    return f"logging in at {urlsplit(login_url).hostname}"


def _refused(answer: httpx.Response, login_url: str) -> IngestrError:
    errors = parse_errors(answer)
    unwell = answer.status_code in (429, 502, 503, 504) and not any(error.soap for error in errors)
    if not errors or unwell or is_about_the_org(errors[0]):
        return error_of(answer, _logging_in(login_url))
    error = errors[0]
    text = error.message.removeprefix(f"{error.code}: ")
    return AuthenticationError(f"login refused: {error.code}: {text}", hint=refusals.hint_for(error))


def _soap_login(login: UsernamePassword, login_url: str, http: httpx.Client) -> Session:
    # Both together are a secret of their own, which a server may repeat.
    password = Secret(login.password.reveal() + login.security_token.reveal())
    envelope = (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" xmlns:urn="urn:partner.soap.sforce.com">'
        "<env:Header><urn:CallOptions><urn:client>ingestr</urn:client></urn:CallOptions></env:Header><env:Body>"
        f"<urn:login><urn:username>{escape(login.username)}</urn:username>"
        f"<urn:password>{escape(password.reveal())}</urn:password></urn:login></env:Body></env:Envelope>"
    )
    answer = _post(
        http,
        f"{login_url}/services/Soap/u/{SOAP_VERSION}",
        harmless=False,
        content=envelope.encode(),
        headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"},
    )
    if answer.status_code != 200:
        raise _refused(answer, login_url)
    if is_html(answer):
        raise error_of(answer, _logging_in(login_url))
    with interpreting(_logging_in(login_url)):
        texts = texts_of_xml(answer.content)
        if texts.get("faultcode"):
            raise _refused(answer, login_url)
        if texts.get("passwordExpired") == "true":
            raise AuthenticationError("login refused: the password has expired", hint="set a new one in Salesforce")
        token, instance = texts.get("sessionId", ""), texts.get("serverUrl", "")
        return _session(token, instance, org_id_of(texts.get("organizationId")), login_url)


def _checked_instance(instance_url: str, login_url: str) -> str:
    """The instance as scheme and host, if a token may go there."""
    try:
        parts = urlsplit(instance_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not is_host(host):
        raise unexpected(_logging_in(login_url), "the instance that it names is no URL")
    login_host = urlsplit(login_url).hostname or ""
    local = is_loopback(host) and is_loopback(login_host)
    trusted = parts.scheme == "https" and (host == login_host or host.endswith(_API_DOMAINS))
    if not (local or trusted):
        raise SourceError(f"the login host names {host!r} as the instance: not a host of Salesforce")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")
