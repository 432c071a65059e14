"""What all ways to log in have in common: the session that they make, and how a refusal is told."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import urlsplit

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, IngestrError, SourceError
from ingestr.sources.salesforce.http.answers import error_of, is_about_the_org, is_html, parse_errors, unreachable
from ingestr.sources.salesforce.http.hosts import is_host, is_loopback
from ingestr.sources.salesforce.http.shapes import Answer, as_object, interpreting, unexpected
from ingestr.sources.salesforce.logins import refusals

_ORG_ID = re.compile(r"(00D[A-Za-z0-9]{12})(?:[A-Za-z0-9]{3})?")
_API_DOMAINS = (".salesforce.com", ".force.com", ".cloudforce.com", ".salesforce.mil", ".sfcrmproducts.cn")


@dataclass(frozen=True)
class Session:
    """A token, the instance that it belongs to, and the org's id of 15 characters where the login told it."""

    token: Secret
    instance_url: str
    org_id: str | None


class Login(ABC):
    """One way to log in, with what it takes; a frozen value, whose ``repr`` shows no secret."""

    NAME: ClassVar[str]
    """What ``grant_type`` or ``auth_method`` calls it."""

    TELLS: ClassVar[tuple[str, ...]] = ()
    """Parameters of the URI that this login alone takes: any of them tells it from the others."""

    NEEDS: ClassVar[tuple[str, ...]]
    """Parameters that it must have."""

    MAY: ClassVar[tuple[str, ...]] = ()
    """Parameters that it may have; ``domain`` and the options of every login are not named here."""

    RENEWABLE: ClassVar[bool] = True
    """Whether a session that has ended can be made anew."""

    @classmethod
    @abstractmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters, all that it must have among them."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about it."""
        return ()

    @abstractmethod
    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Make a session.

        Raises:
            AuthenticationError: refused; the hint says which part to check.
            SourceUnavailableError: the login host gave no usable answer.
        """


def org_id_of(text: object) -> str | None:
    """The 15 characters of an org's id, if the text is one; what is no id is not known."""
    found = _ORG_ID.fullmatch(text) if isinstance(text, str) else None
    return found[1] if found else None


def ask_for_token(http: httpx.Client, login_url: str, form: Mapping[str, str], *, only_once: bool = False) -> Answer:
    """What the org's OAuth token endpoint answers to a form.

    Args:
        http: sends it.
        login_url: scheme and host.
        form: what is sent.
        only_once: never send again what may have been served.

    Raises:
        AuthenticationError: refused; the hint says which part to check.
        SourceUnavailableError: the host gave no usable answer.
    """
    url, accept = f"{login_url}/services/oauth2/token", {"Accept": "application/json"}
    answer = post(http, url, repeatable=not only_once, harmless=not only_once, data=form, headers=accept)
    if answer.status_code != 200:
        raise refused(answer, login_url)
    if is_html(answer):
        raise error_of(answer, logging_in(login_url))
    with interpreting(logging_in(login_url)):
        if parse_errors(answer):
            raise refused(answer, login_url)
        return as_object(json.loads(answer.content), logging_in(login_url))


def session_of_token(body: Answer, login_url: str) -> Session:
    """The session that the token endpoint's answer gives."""
    with interpreting(logging_in(login_url)):
        token, instance = body.text("access_token"), body.text("instance_url")
        identity = str(body.get("id", "")).split("/")
        org_id = next((found for part in identity if (found := org_id_of(part))), None)
        return session_of(token, instance, org_id or org_id_of(token.partition("!")[0]), login_url)


def post(http: httpx.Client, url: str, *, harmless: bool, repeatable: bool = True, **content: object) -> httpx.Response:
    """Send a login; wrong ones are no transient answers, so nobody is locked out.

    ``repeatable`` ones are sent again after any answer of a passing failure. Only ``harmless`` ones also where the
    answer got lost: it may have said that the password is wrong.
    """
    host = urlsplit(url).hostname or ""
    extensions = {"repeatable": repeatable, "harmless": harmless, "doing": f"logging in at {host}"}
    try:
        return http.post(url, **content, extensions=extensions)  # type: ignore[arg-type]
    except httpx.RequestError as error:
        raise unreachable(error, "logging in", host) from None


def session_of(token: str, instance: str, org_id: str | None, login_url: str) -> Session:
    """A session, if its token can stand in a header and may be sent to its instance."""
    if not token or not (token.isascii() and token.isprintable()) or " " in token:
        raise unexpected(logging_in(login_url), "its token cannot be sent")
    return Session(Secret(token), _checked_instance(instance, login_url), org_id)


def logging_in(login_url: str) -> str:
    """What is being done, for messages."""
    return f"logging in at {urlsplit(login_url).hostname}"


def refused(answer: httpx.Response, login_url: str) -> IngestrError:
    """Our error for an answer that is no session."""
    errors = parse_errors(answer)
    unwell = answer.status_code in (429, 502, 503, 504) and not any(error.soap for error in errors)
    if not errors or unwell or is_about_the_org(errors[0]):
        return error_of(answer, logging_in(login_url))
    error = errors[0]
    text = error.message.removeprefix(f"{error.code}: ")
    return AuthenticationError(f"login refused: {error.code}: {text}", hint=refusals.hint_for(error))


def _checked_instance(instance_url: str, login_url: str) -> str:
    """The instance as scheme and host, if a token may go there."""
    try:
        parts = urlsplit(instance_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not is_host(host):
        raise unexpected(logging_in(login_url), "the instance that it names is no URL")
    login_host = urlsplit(login_url).hostname or ""
    local = is_loopback(host) and is_loopback(login_host)
    trusted = parts.scheme == "https" and (host == login_host or host.endswith(_API_DOMAINS))
    if not (local or trusted):
        raise SourceError(f"the login host names {host!r} as the instance: not a host of Salesforce")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")
