"""Knows the OAuth endpoints and SOAP login, word for word; must not know rows or queries."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ingestr.simulator.assertions import refusal
from ingestr.simulator.errors import ApiError
from ingestr.simulator.state import FIRST_VERSION, LAST_SOAP_LOGIN, OrgState
from ingestr.simulator.wire import Answer, Call, json_answer

_NO_STORE = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache", "Expires": "Thu, 01 Jan 1970 00:00:00 GMT"}
_PARTNER = "{urn:partner.soap.sforce.com}"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_BIGGEST_LOGIN = 10 * 1024
_MOST_FIELDS = 1_000
# Where orgs of all customers log in; client credentials want the org's own domain.
_SHARED_HOSTS = frozenset({"login.salesforce.com", "test.salesforce.com"})
SESSION_SECONDS = 7_200
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOLD_TO_JWT = ("access_token", "scope", "instance_url", "id", "token_type")


@dataclass(frozen=True, slots=True)
class _RefusalError(Exception):
    error: str
    description: str


def token(org: OrgState, call: Call) -> Answer:
    """Answer `POST /services/oauth2/token`."""
    if call.method != "POST":
        return _refused(_RefusalError("invalid_request", "must use HTTP POST"))
    try:
        form = _form(call)
        if form.get("grant_type") == _JWT_BEARER:
            return _granted_by_signature(org, form)
        return _granted(org, form, _client(call.headers, form), call.headers.get("host", ""))
    except _RefusalError as refusal:
        return _refused(refusal)


def _form(call: Call) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        _RefusalError: it is none that a login sends.
    """
    try:
        fields = parse_qs(call.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _RefusalError("invalid_request", "too many parameters") from None
    return {key: values[-1] for key, values in fields.items()}


def _refused(refusal: _RefusalError) -> Answer:
    return json_answer({"error": refusal.error, "error_description": refusal.description}, 400, _NO_STORE)


def _client(headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            raise _RefusalError("invalid_client", "invalid client credentials") from None
        return client_id, secret
    return form.get("client_id", ""), form.get("client_secret", "")


def _granted(org: OrgState, form: Mapping[str, str], client: tuple[str, str], host: str) -> Answer:
    known, grant = org.credentials, form.get("grant_type", "")
    if grant == "client_credentials" and host.partition(":")[0] in _SHARED_HOSTS:
        raise _RefusalError("invalid_grant", "request not supported on this domain")
    if grant not in {"client_credentials", "password", "refresh_token"}:
        raise _RefusalError("unsupported_grant_type", "grant type not supported")
    if client[0] != known.client_id:
        raise _RefusalError("invalid_client_id", "client identifier invalid")
    secret_optional = grant == "refresh_token" and client[1] == ""
    if client[1] != known.client_secret and not secret_optional:
        raise _RefusalError("invalid_client", "invalid client credentials")
    extra: dict[str, str] = {}
    if grant == "password":
        right = form.get("username") == known.username and form.get("password") == known.password + known.security_token
        if not (right and org.password_flow):
            raise _RefusalError("invalid_grant", "authentication failure")
    elif grant == "refresh_token":
        if not org.sessions.use_refresh(form.get("refresh_token", ""), rotate=org.rotate_refresh_tokens):
            raise _RefusalError("invalid_grant", "expired access/refresh token")
        if org.rotate_refresh_tokens:
            extra["refresh_token"] = org.sessions.issue_refresh()
    return json_answer({**_token_body(org, known.client_secret), **extra}, headers=_NO_STORE)


def _granted_by_signature(org: OrgState, form: Mapping[str, str]) -> Answer:
    why = refusal(form.get("assertion", ""), org.signing_key, org.credentials, org.url)
    if why is not None:
        raise _RefusalError("invalid_grant", why)
    body = _token_body(org, org.credentials.client_secret)
    return json_answer({name: body[name] for name in _TOLD_TO_JWT}, headers=_NO_STORE)


def _token_body(org: OrgState, secret: str) -> dict[str, str]:
    issued = str(int(org.clock.now().timestamp() * 1000))
    identity = f"{org.url}/id/{org.organization_id}/{org.user_id}"
    signature = hmac.new(secret.encode(), (identity + issued).encode(), hashlib.sha256).digest()
    return {
        "access_token": org.sessions.issue(),
        "signature": base64.b64encode(signature).decode(),
        "scope": "api refresh_token",
        "instance_url": org.url,
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued,
    }


def revoke(org: OrgState, call: Call) -> Answer:
    """Answer `/services/oauth2/revoke`."""
    try:
        wanted = _form(call).get("token") or call.parameter("token") or ""
    except _RefusalError as refusal:
        return _refused(refusal)
    if org.sessions.revoke(wanted):
        return Answer(200, b"", None)
    return _refused(_RefusalError("unsupported_token_type", "this token type is not supported"))


def userinfo(org: OrgState, call: Call) -> Answer:
    """Answer `/services/oauth2/userinfo`; a bad token is 403 in plain text here."""
    scheme, _, given = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        return Answer(403, b"Missing_OAuth_Token", "text/plain;charset=UTF-8")
    if not org.sessions.known(given):
        return Answer(403, b"Bad_OAuth_Token", "text/plain;charset=UTF-8")
    return identity(org, call)


def identity(org: OrgState, _call: Call) -> Answer:
    """Answer the identity URL."""
    body = {
        "id": f"{org.url}/id/{org.organization_id}/{org.user_id}",
        "user_id": org.user_id,
        "organization_id": org.organization_id,
        "username": org.credentials.username,
        "preferred_username": org.credentials.username,
        "active": True,
        "user_type": "STANDARD",
        "urls": {
            "rest": f"{org.url}/services/data/v{{version}}/",
            "partner": f"{org.url}/services/Soap/u/{{version}}/{org.organization_id[:15]}",
        },
    }
    return json_answer(body)


def soap(org: OrgState, call: Call) -> Answer:
    """Answer `POST /services/Soap/u/{version}`: the login call alone."""
    version = call.parts.get("version", "")
    try:
        number = float(version)
        if number > float(org.api_version) or number < FIRST_VERSION:
            raise ValueError
    except ValueError:
        return _fault("UNSUPPORTED_API_VERSION", "Invalid Api version specified on URL")
    if number > LAST_SOAP_LOGIN:
        return _fault(
            "UNSUPPORTED_API_VERSION", f"SOAP API login() is not supported in API version {version}. Use OAuth instead."
        )
    if len(call.body) > _BIGGEST_LOGIN:
        return _fault("INVALID_OPERATION", "The login request is larger than 10 KB")
    try:
        tree = ElementTree.fromstring(call.body)  # noqa: S314 — what a test server is sent on loopback
    except ElementTree.ParseError as error:
        return _fault("soapenv:Client", f"{error}")
    given = tree.find(f".//{_PARTNER}login")
    if given is None:
        return _fault("UNKNOWN_EXCEPTION", "No operation available for request: only login is served here")
    known = org.credentials
    right = given.findtext(f"{_PARTNER}username") == known.username
    if not right or given.findtext(f"{_PARTNER}password") != known.password + known.security_token:
        return _fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    return _logged_in(org, version)


def _fault(code: str, message: str) -> Answer:
    shown = escape(message)
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{_ENVELOPE}" '
        'xmlns:sf="urn:fault.partner.soap.sforce.com" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>{code}</faultcode><faultstring>{code}: {shown}</faultstring><detail>"
        f'<sf:LoginFault xsi:type="sf:LoginFault"><sf:exceptionCode>{code}</sf:exceptionCode>'
        f"<sf:exceptionMessage>{shown}</sf:exceptionMessage>"
        "</sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )
    return Answer(500, body.encode(), "text/xml;charset=UTF-8")


def _logged_in(org: OrgState, version: str) -> Answer:
    short, user = org.organization_id[:15], org.user_id
    facts = [
        ("accessibilityMode", "false"),
        ("chatterExternal", "false"),
        ("currencySymbol", "$"),
        ("orgAttachmentFileSizeLimit", "5242880"),
        ("orgDefaultCurrencyIsoCode", "USD"),
        ("orgDefaultCurrencyLocale", "en_US"),
        ("orgDisallowHtmlAttachments", "false"),
        ("orgHasPersonAccounts", "false"),
        ("organizationId", org.organization_id),
        ("organizationMultiCurrency", "false"),
        ("organizationName", "Acme"),
        ("profileId", "00egK00000000GBQAY"),
        ("roleId", ""),
        ("sessionSecondsValid", str(SESSION_SECONDS)),
        ("userDefaultCurrencyIsoCode", ""),
        ("userEmail", org.credentials.username),
        ("userFullName", "Ada Admin"),
        ("userId", user),
        ("userLanguage", "en_US"),
        ("userLocale", "en_US"),
        ("userName", org.credentials.username),
        ("userTimeZone", "UTC"),
        ("userType", "Standard"),
        ("userUiSkin", "Theme3"),
    ]
    info = "".join(
        f"<{name}>{escape(value)}</{name}>" if value else f'<{name} xsi:nil="true"/>' for name, value in facts
    )
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="{_ENVELOPE}" '
        'xmlns="urn:partner.soap.sforce.com" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><loginResponse><result>'
        f"<metadataServerUrl>{org.url}/services/Soap/m/{version}/{short}</metadataServerUrl><passwordExpired>false</passwordExpired>"
        f"<sandbox>false</sandbox><serverUrl>{org.url}/services/Soap/u/{version}/{short}</serverUrl>"
        f"<sessionId>{org.sessions.issue()}</sessionId><userId>{user}</userId><userInfo>{info}</userInfo>"
        "</result></loginResponse></soapenv:Body></soapenv:Envelope>"
    )
    return Answer(200, body.encode(), "text/xml;charset=UTF-8")


def require_session(org: OrgState, call: Call) -> None:
    """Let a call pass whose session lives.

    Raises:
        ApiError: 401, or 403 when the day's API calls are used up.
    """
    scheme, _, given = call.headers.get("authorization", "").partition(" ")
    if scheme and scheme.lower() not in {"bearer", "oauth"}:
        raise ApiError(401, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE")
    if not org.sessions.known(given.strip()):
        raise ApiError(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if not org.count_call():
        raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
