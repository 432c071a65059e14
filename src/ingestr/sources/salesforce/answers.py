"""What an HTTP answer of Salesforce means: its error codes, and which of our errors each becomes."""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
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
from ingestr.sources.salesforce.transport import proxy_of

TRANSIENT_STATUS = frozenset({406, 420, 429, 500, 502, 503, 504})
NUMERIC_OVERFLOW = "Numeric Overflow"
# Faults of SOAP that say nothing of the request; they pass.
_TRANSIENT_FAULTS = frozenset({"SERVER_UNAVAILABLE", "UNKNOWN_EXCEPTION", "API_CURRENTLY_DISABLED"})
_QUOTA = "REQUEST_LIMIT_EXCEEDED"

_REQUEST_HINTS = {
    "MALFORMED_QUERY": "Salesforce does not let this object be read as a whole",
    "INVALID_TYPE_FOR_OPERATION": "Salesforce does not let this object be queried",
    "EXTERNAL_OBJECT_UNSUPPORTED_EXCEPTION": "Salesforce does not let this object be read as a whole",
    "INVALID_FIELD": "run again, as the object may have changed; if it stays, leave the field out with "
    "--sql-exclude-columns, or Salesforce does not let this object be read as a whole",
    "NOT_FOUND": "it was deleted meanwhile, or the user lost sight of it: run again",
    "QUERY_TIMEOUT": "read a smaller range: --interval-start and --interval-end with an --incremental-key",
    "OPERATION_TOO_LARGE": "give the user the permission View All Data, or read a smaller range",
    "INVALID_QUERY_LOCATOR": "Salesforce dropped the query while it was read: run again",
    "TXN_SECURITY_METERING_ERROR": "exempt the user from transaction security policies",
}


@dataclass(frozen=True)
class ApiError:
    """One error of an answer: its code in Salesforce's spelling, and the text for people."""

    code: str
    message: str


def parse_errors(response: httpx.Response) -> list[ApiError]:
    """The errors in a body: REST arrays, OAuth and Bulk 1.0 objects, SOAP faults; empty for anything else."""
    kind = response.headers.get("Content-Type", "").lower()
    if "xml" in kind:
        return _soap_fault(response.content)
    try:
        body = json.loads(response.content)
    except ValueError:
        return []
    found = []
    for item in body if isinstance(body, list) else [body]:
        if isinstance(item, dict):
            code = item.get("errorCode") or item.get("error") or item.get("exceptionCode")
            text = item.get("message") or item.get("error_description") or item.get("exceptionMessage") or ""
            if code:
                found.append(ApiError(str(code), str(text).strip()))
    return found


def _soap_fault(body: bytes) -> list[ApiError]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - the login host's own answer, over TLS
    except ElementTree.ParseError:
        return []
    texts = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    code = texts.get("exceptionCode") or texts.get("faultcode", "").rpartition(":")[2]
    return [ApiError(code, texts.get("exceptionMessage") or texts.get("faultstring", ""))] if code else []


def is_html(response: httpx.Response) -> bool:
    """Whether a page for people came where data was asked for."""
    return "html" in response.headers.get("Content-Type", "").lower()


def is_transient(response: httpx.Response) -> bool:
    """Whether the same request may well succeed in a moment.

    REQUEST_LIMIT_EXCEEDED has two meanings told apart only by its text: too many requests at this moment (passing),
    and the daily quota used up (not). SOAP answers wrong passwords with HTTP 500: repeating those locks the user out.
    """
    errors = parse_errors(response) if response.status_code >= 400 else []
    if "xml" in response.headers.get("Content-Type", "").lower():
        return any(error.code in _TRANSIENT_FAULTS or _is_concurrent(error) for error in errors)
    if response.status_code in TRANSIENT_STATUS:
        return not _is_overflow(errors)
    if response.status_code == 403:
        return any(_is_concurrent(error) for error in errors)
    return response.status_code < 300 and is_html(response)


def is_about_the_org(error: ApiError) -> bool:
    """Whether an error says that the org is unwell or used up, rather than that the request is wrong."""
    return error.code in _TRANSIENT_FAULTS or error.code == _QUOTA


def _is_concurrent(error: ApiError) -> bool:
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
    page = _Text()
    page.feed(response.text[:20_000])
    return " ".join(page.words)[:120]


def unreachable(error: httpx.TransportError, doing: str, host: str) -> SourceUnavailableError:
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
        target = _host_of(response.headers.get("Location", ""))
        hint = f"use that host: domain={target}" if target else "check the domain"
        return SourceError(f"{doing}: Salesforce redirects to {target or 'another place'}", hint=hint)
    errors = parse_errors(response)
    if not errors:
        page = f": “{_page_text(response)}”" if is_html(response) and _page_text(response) else ""
        kind = "no readable error" if status >= 300 else "something that is not JSON"
        kind = "a web page" if is_html(response) else kind
        message = f"{doing}: Salesforce answered HTTP {status} with {kind}{page}"
        if status in TRANSIENT_STATUS:
            return SourceUnavailableError(message, hint="Salesforce or the network is unwell; run again later")
        return SourceError(message, hint="check that the domain is the org's API host, e.g. acme.my.salesforce.com")
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
    if _is_concurrent(error):
        return SourceUnavailableError(message, hint="too many requests at once, of all users: run again later")
    if code == _QUOTA:
        return QuotaError(
            message, hint="the org's API calls of the last 24 hours are used up; run again when some are free"
        )
    if code in ("LIMIT_EXCEEDED", "EXCEEDEDQUOTA"):
        return QuotaError(message, hint="a limit of the Bulk API is reached; it refills over 24 hours")
    if status in TRANSIENT_STATUS and not _is_overflow([error]):
        return SourceUnavailableError(message, hint="Salesforce is unwell; run again later")
    if status == 401:
        return AuthenticationError(message, hint="check the login in the source URI")
    if status == 403:
        return AccessError(message, hint="the logged-in user lacks a permission; ask the org's administrator")
    return RequestRefusedError(message, code=code, status=status, hint=_REQUEST_HINTS.get(code))
