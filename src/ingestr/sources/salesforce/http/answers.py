"""What an HTTP answer of Salesforce means: its error codes, and which of our errors each becomes."""

import json
import logging
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx

from ingestr.errors import (
    AccessError,
    AuthenticationError,
    IngestrError,
    QuotaError,
    RequestRefusedError,
    SourceError,
    SourceUnavailableError,
)
from ingestr.flags import Flag
from ingestr.redaction import shown
from ingestr.sources.salesforce.http.transport import REDIRECTED_TO, proxy_of

log = logging.getLogger("ingestr.salesforce")

TRANSIENT_STATUS = frozenset({406, 420, 429, 500, 502, 503, 504})
NUMERIC_OVERFLOW = "Numeric Overflow"
# Faults of SOAP that say nothing of the request; they pass.
_TRANSIENT_FAULTS = frozenset({"SERVER_UNAVAILABLE", "UNKNOWN_EXCEPTION", "API_CURRENTLY_DISABLED"})
# Refusals of a login that say nothing of it: the code, where only one has this meaning, and a part of the text.
PASSING_REFUSALS = (
    ("", "login rate exceeded"),
    ("", "number of login attempts has been exceeded"),
    ("", "already being processed"),
    ("", "retry your request"),
    ("rate_limit_exceeded", ""),
    ("LOGIN_RATE_EXCEEDED", ""),
    ("server_error", ""),
    ("unknown_error", ""),
    ("temporarily_unavailable", ""),
    ("invalid_request", "try again"),
)
# Errors that say that the session does not belong to this host, or cannot be read by it; a new one may.
MISPLACED_SESSION = frozenset(
    {"URL_NOT_RESET", "INVALID_AUTH_HEADER", "INVALID_JWT_FORMAT", "ORG_NOT_OWNED_BY_INSTANCE"}
)
EXPIRED_SESSION = "INVALID_SESSION_ID"
_QUOTA = "REQUEST_LIMIT_EXCEEDED"
_OTHER_HOST = (
    "the session belongs to another host: write the org's own, domain=acme.my or acme--dev.sandbox.my, as "
    "Setup > My Domain shows it; tokens do not work at login, test or a former instance"
)

_REQUEST_HINTS = {
    "MALFORMED_QUERY": "Salesforce does not let this object be read as a whole",
    "INVALID_TYPE_FOR_OPERATION": "Salesforce does not let this object be queried",
    "EXTERNAL_OBJECT_UNSUPPORTED_EXCEPTION": "Salesforce does not let this object be read as a whole",
    "INVALID_FIELD": "run again, as the object may have changed; if it stays, leave the field out with "
    f"{Flag.SQL_EXCLUDE_COLUMNS}, or Salesforce does not let this object be read as a whole",
    "NOT_FOUND": "it was deleted meanwhile, or the user lost sight of it: run again",
    "QUERY_TIMEOUT": f"read a smaller range: {Flag.INTERVAL_START} and {Flag.INTERVAL_END} with an "
    f"{Flag.INCREMENTAL_KEY}",
    "OPERATION_TOO_LARGE": "give the user the permission View All Data, or read a smaller range",
    "INVALID_QUERY_LOCATOR": "Salesforce dropped the query while it was read: run again",
    **dict.fromkeys(MISPLACED_SESSION, _OTHER_HOST),
    EXPIRED_SESSION: "the login works, but its session is not accepted: do policies of the org bind sessions to IP "
    "addresses or apps? is the domain the org's own, domain=acme.my?",
    "TXN_SECURITY_METERING_ERROR": "exempt the user from transaction security policies",
}


_LONGEST_CODE, _LONGEST_TEXT, _LONGEST_PAGE = 200, 4_000, 20_000
# What is larger is no error of Salesforce, and could take many times its size when it is decoded.
_LARGEST_ERROR = 4 << 20


@dataclass(frozen=True)
class ApiError:
    """One error of an answer: its code in Salesforce's spelling, the text for people, and whether SOAP brought it."""

    code: str
    message: str
    soap: bool = False


def parse_errors(response: httpx.Response) -> list[ApiError]:
    """The errors in a body: REST arrays, OAuth and Bulk 1.0 objects, SOAP faults; empty for anything else.

    A body can be anything, and the libraries that read it fail in many ways: whatever they raise means that there is no
    error that can be read.
    """
    if len(response.content) > _LARGEST_ERROR:
        return []
    try:
        # What a body is, is decided by itself: a SOAP fault that is not seen would be taken for a passing failure, and
        # a wrong password sent again.
        if _is_xml(response):
            return _soap_fault(response.content)
        return _json_errors(json.loads(response.content))
    except Exception:
        log.debug("an error body that cannot be read:", exc_info=True)
        return []


def _is_xml(response: httpx.Response) -> bool:
    start = response.content.lstrip()[:1]
    return start == b"<" or ("xml" in _content_type(response) and start not in (b"[", b"{"))


def _json_errors(body: Any) -> list[ApiError]:
    found = []
    for item in body if isinstance(body, list) else [body]:
        if isinstance(item, dict):
            code = _first(item, "errorCode", "error", "exceptionCode")
            text = _first(item, "message", "error_description", "exceptionMessage")
            if code:
                found.append(ApiError(code[:_LONGEST_CODE], text[:_LONGEST_TEXT].strip()))
    return found


def _first(item: dict[str, Any], *names: str) -> str:
    for name in names:
        value: object = item.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


class _WithoutDoctype(ElementTree.TreeBuilder):
    """SOAP has no document types, and entities are declared in them."""

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type")


def texts_of_xml(body: bytes) -> dict[str, str]:
    """The text of each element of an XML document by its name without a namespace; of several the last.

    Raises:
        Exception: of any kind, where it is no XML or declares a document type.
    """
    parser = ElementTree.XMLParser(target=_WithoutDoctype())  # noqa: S314 - without entities there is no harm in it
    parser.feed(body)
    root: ElementTree.Element = parser.close()
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}


def _soap_fault(body: bytes) -> list[ApiError]:
    texts = texts_of_xml(body)
    code = texts.get("exceptionCode") or texts.get("faultcode", "").rpartition(":")[2]
    text = texts.get("exceptionMessage") or texts.get("faultstring", "")
    return [ApiError(code[:_LONGEST_CODE], text[:_LONGEST_TEXT], soap=True)] if code else []


def _content_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).lower()


def is_html(response: httpx.Response) -> bool:
    """Whether a page for people came where data was asked for."""
    return "html" in _content_type(response)


def is_transient(response: httpx.Response) -> bool:
    """Whether the same request may well succeed in a moment.

    REQUEST_LIMIT_EXCEEDED has two meanings told apart only by its text: too many requests at this moment (passing),
    and the daily quota used up (not). SOAP answers wrong passwords with HTTP 500: repeating those locks the user out.
    """
    status = response.status_code
    errors = parse_errors(response) if status >= 400 else []
    if any(is_passing(error) for error in errors):
        return True
    if any(error.soap for error in errors):
        return False
    if status in TRANSIENT_STATUS:
        # A fault that cannot be read may be one about the password.
        return not _is_overflow(errors) and not (status == 500 and _is_xml(response) and not is_html(response))
    return status < 300 and is_html(response)


def is_passing(error: ApiError) -> bool:
    """Whether an error says by its code or text that it passes."""
    if error.soap and error.code in _TRANSIENT_FAULTS:
        return True
    text = error.message.lower()
    return is_concurrent(error) or any(
        code in ("", error.code) and part in text for code, part in PASSING_REFUSALS if code or part
    )


def is_about_the_org(error: ApiError) -> bool:
    """Whether an error says that the org is unwell or used up, rather than that the request is wrong."""
    return error.code in _TRANSIENT_FAULTS or error.code == _QUOTA or is_passing(error)


def is_concurrent(error: ApiError) -> bool:
    return error.code == _QUOTA and error.message.startswith("Concurrent")


def _is_overflow(errors: list[ApiError]) -> bool:
    """UNKNOWN_EXCEPTION mostly passes; not where Salesforce cannot write a number of some row."""
    return any(error.code == "UNKNOWN_EXCEPTION" and NUMERIC_OVERFLOW in error.message for error in errors)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.extend(data.split())


def _page_text(response: httpx.Response) -> str:
    """The first words of a page for people; empty where it cannot be read."""
    page = _Text()
    start = response.content[:_LONGEST_PAGE]
    try:
        try:
            text = start.decode(response.charset_encoding or "utf-8", "replace")
        except (LookupError, ValueError):
            # A charset that nobody knows, or that is none.
            text = start.decode("utf-8", "replace")
        page.feed(text)
    except Exception:
        log.debug("a web page that cannot be read:", exc_info=True)
    words = " ".join(page.words)
    # Secrets are blotted out before the text is cut.
    return shown(words, longest=120)


def unreachable(error: httpx.RequestError, doing: str, host: str) -> SourceUnavailableError:
    """Our error for a request that got no answer; a proxy on the way is named, as it may be the one that refused."""
    hint = "check the domain and the network"
    proxy = proxy_of(host)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "the host's certificate is not trusted here: name your authority's file in SSL_CERT_FILE"
    elif isinstance(error, httpx.ProxyError):
        hint = "the proxy refuses: check HTTPS_PROXY and NO_PROXY"
    elif proxy is not None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        hint = f"is the proxy {proxy} in reach? check HTTPS_PROXY and NO_PROXY"
    text = str(error) or type(error).__name__
    way = f" through the proxy {proxy}" if proxy else ""
    return SourceUnavailableError(f"{doing}: no usable answer from {host}{way}: {text}", hint=hint)


def error_of(response: httpx.Response, doing: str) -> IngestrError:
    """Our error for an answer that is not a success.

    Args:
        response: the last answer, its body read.
        doing: what was asked for, for the message: ``describing Account``.
    """
    status = response.status_code
    if 300 <= status < 400:
        target = _host_of(response.headers.get(REDIRECTED_TO, ""))
        hint = f"use that host: domain={target}" if target else f"check the domain: {_OTHER_HOST}"
        return SourceError(f"{doing}: Salesforce redirects to {target or 'another place'}", hint=hint)
    errors = parse_errors(response)
    if not errors:
        words = _page_text(response) if is_html(response) else ""
        page = f": “{words}”" if words else ""
        kind = "no readable error" if status >= 300 else "something that is not JSON"
        kind = "a web page" if is_html(response) else kind
        message = f"{doing}: Salesforce answered HTTP {status} with {kind}{page}"
        if status in TRANSIENT_STATUS:
            return SourceUnavailableError(message, hint="Salesforce or the network is unwell; run again later")
        return SourceError(
            message, hint="check that the domain is the org's API host: domain=acme.my for acme.my.salesforce.com"
        )
    return _refusal(errors[0], status, doing)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _refusal(error: ApiError, status: int, doing: str) -> IngestrError:
    """Our error for an answer with a code."""
    code, text = error.code, " ".join(error.message.split())
    message = f"{doing}: {code}: {text}"
    if is_concurrent(error):
        return SourceUnavailableError(message, hint="too many requests at once, of all users: run again later")
    if code == _QUOTA:
        return QuotaError(
            message, hint="the org's API calls of the last 24 hours are used up; run again when some are free"
        )
    if code in ("LIMIT_EXCEEDED", "EXCEEDEDQUOTA"):
        return QuotaError(message, hint="a limit of the Bulk API is reached; it refills over 24 hours")
    if is_passing(error):
        return SourceUnavailableError(message, hint="it passes by itself: run again later, in some minutes")
    if status in TRANSIENT_STATUS and not _is_overflow([error]):
        return SourceUnavailableError(message, hint="Salesforce is unwell; run again later")
    if status == 401 or code == EXPIRED_SESSION:
        return AuthenticationError(message, hint=_REQUEST_HINTS.get(code, "check the login in the source URI"))
    if status == 403 and code not in (EXPIRED_SESSION, *MISPLACED_SESSION):
        return AccessError(message, hint="the logged-in user lacks a permission; ask the org's administrator")
    return RequestRefusedError(message, code=code, status=status, hint=_REQUEST_HINTS.get(code))
