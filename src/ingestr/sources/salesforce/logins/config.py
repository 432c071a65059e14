"""What a ``salesforce://`` URI says: which login, at which host, and how the API is spoken to. Sends nothing."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from ingestr.core.secret import Secret
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError
from ingestr.uri import check_characters

# The newest API version that this client was written against; the oldest with Bulk 2.0 queries.
NEWEST_VERSION = 67
OLDEST_VERSION = 47
# Bytes of an answer that is read into memory, after inflating. A describe of 10,000 fields has some 20 MB, a REST page
# of 2,000 rows with long texts may have more than 100; pages of Bulk results are streamed, and are not meant.
MOST_BYTES = 256 << 20
_SMALLEST_MB, _LARGEST_MB = 1, 4096

_FORMS = (
    "access_token + domain; username + password + token + domain; or client_id + client_secret + domain "
    "(see: ingestr example-uris)"
)
_UI_HOSTS = (".lightning.force.com", ".my.salesforce-setup.com", ".vf.force.com")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True)
class AccessToken:
    """A session made elsewhere; it cannot be renewed."""

    token: Secret


@dataclass(frozen=True)
class UsernamePassword:
    """A user's own login; the security token may be empty where the network is trusted."""

    username: str
    password: Secret
    security_token: Secret


@dataclass(frozen=True)
class ClientCredentials:
    """An OAuth client of the org, running as the user that the org assigned to it."""

    client_id: Secret
    client_secret: Secret


Login = AccessToken | UsernamePassword | ClientCredentials

# Parameters of each login; optional ones in the second place.
_LOGINS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "access_token": (("access_token",), ()),
    "password": (("username", "password"), ("token",)),
    "client_credentials": (("client_id", "client_secret"), ()),
}
_SELECTORS = ("grant_type", "auth_method")
_OTHER_NAMES = {"username_password": "password"}
_OPTIONS = ("api_version", "max_answer_mb")
# What these hold is made by machines, without white space. A password is a person's.
_WITHOUT_SPACE = ("access_token", "token", "client_id", "client_secret")


@dataclass(frozen=True)
class SalesforceConfig:
    """A login, the URL to log in at (scheme and host, no path), and how the API is spoken to.

    Args:
        login: which credentials.
        login_url: scheme and host, no path.
        api_version: the version that the user wants, e.g. ``59.0``; None for the newest that both sides know.
        most_bytes: the largest answer that is read into memory.
    """

    login: Login
    login_url: str
    api_version: str | None = None
    most_bytes: int = MOST_BYTES


def is_host(text: str) -> bool:
    """Whether a text is a name or an address of a host that can be looked up: labels of up to 63 characters."""
    if is_loopback(text):
        return True
    try:
        # Names that begin with xn-- have rules of their own, which are checked here.
        return bool(_HOST.fullmatch(text)) and bool(httpx.URL(scheme="https", host=text).host)
    except (httpx.InvalidURL, UnicodeError):
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def login_url(domain: str) -> str:
    """The URL for every documented form of ``domain``.

    ``login``, ``test``, ``acme.my``, ``acme--dev.sandbox.my``, a whole host, or a URL; ``http://`` for loopback alone,
    as a token would otherwise travel in the clear.
    """
    scheme, separator, rest = domain.strip().partition("://")
    if not separator:
        scheme, rest = "https", scheme
    try:
        parts = urlsplit(f"{scheme}://{rest.rstrip('/')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if scheme.lower() not in ("https", "http") or not is_host(host) or parts.username:
        raise ConfigurationError(
            "the domain in the source URI is not a host",
            hint="write login, test, acme.my, acme--dev.sandbox.my, a host or an https:// URL",
        )
    if scheme.lower() == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"http://{host} would send credentials unencrypted",
            hint=f"write https://{_whole(host)}; http:// is for loopback",
        )
    for suffix in _UI_HOSTS:
        if host.endswith(suffix):
            name = host.removesuffix(suffix)
            raise ConfigurationError(
                f"{host} is a host for browsers, not for the API", hint=f"use domain={name}.my.salesforce.com"
            )
    if not separator and port is None:
        host = _whole(host)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme.lower()}://{shown}" + (f":{port}" if port else "")


def _whole(host: str) -> str:
    """``acme.my`` as the host that it is short for."""
    short = not is_loopback(host) and not re.search(r"\.(com|mil|cn|net|org)$", host)
    return f"{host}.salesforce.com" if short else host


def parse_config(authority: str, path: str, parameters: Mapping[str, Secret]) -> SalesforceConfig:
    """The login that the URI's parameters describe.

    Raises:
        ConfigurationError: parameters missing, unknown, of two logins at once, or with characters that cannot be.
    """
    if authority or path.strip("/"):
        raise ConfigurationError(
            "the Salesforce URI has a host or path", hint="everything is a parameter: salesforce://?domain=…"
        )
    known = ["domain", *_SELECTORS, *(name for need, may in _LOGINS.values() for name in need + may), *_OPTIONS]
    if unknown := len(set(parameters) - set(known)):
        # They are not named: after an & that is not URL-encoded, a part of a secret looks like a parameter.
        raise ConfigurationError(
            f"the Salesforce URI has {counted(unknown, 'unknown parameter')}",
            hint=f"it takes {', '.join(known)}; an & within a value is written %26",
        )
    given = {name: value for name, value in parameters.items() if value.reveal()}
    for name, value in given.items():
        _check_value(name, value.reveal())
    kind = _login_kind(given)
    need, may = _LOGINS[kind]
    if missing := [name for name in need if name not in given]:
        raise ConfigurationError(
            f"the Salesforce URI lacks {' and '.join(missing)} for the login by {kind.replace('_', ' ')}",
            hint=f"it takes {_FORMS}",
        )
    if extra := sorted(set(given) - {"domain", *_SELECTORS, *need, *may, *_OPTIONS}):
        raise ConfigurationError(
            f"the Salesforce URI mixes logins: {', '.join(extra)} does not go with {', '.join(need)}",
            hint=f"it takes {_FORMS}",
        )
    if "domain" not in given:
        raise ConfigurationError(
            "the Salesforce URI has no domain",
            hint="add &domain=login, &domain=test or your My Domain, e.g. &domain=acme.my",
        )
    url = login_url(given["domain"].reveal())
    login: Login
    if kind == "access_token":
        login = AccessToken(given["access_token"])
    elif kind == "password":
        username = given["username"].reveal()
        login = UsernamePassword(username, given["password"], given.get("token", Secret("")))
    else:
        login = ClientCredentials(given["client_id"], given["client_secret"])
    return SalesforceConfig(login, url, _api_version(given), _most_bytes(given))


def _check_value(name: str, value: str) -> None:
    """Refuse what a credential cannot hold; it is not repeated."""
    what = f"{name} in the source URI"
    check_characters(value, what)
    if name in (*_WITHOUT_SPACE, "username") and value != value.strip():
        raise ConfigurationError(f"{what} begins or ends with a space", hint="remove it; a + in a URI is a space")
    if name in _WITHOUT_SPACE and any(character.isspace() for character in value):
        raise ConfigurationError(f"{what} holds a space", hint="a + in a URI is a space: write %2B")
    if name == "access_token" and not (value.isascii() and value.isprintable()):
        raise ConfigurationError(
            f"{what} holds a character that is not ASCII", hint="copy it again: tokens are of ASCII characters alone"
        )


def _api_version(given: Mapping[str, Secret]) -> str | None:
    if "api_version" not in given:
        return None
    found = re.fullmatch(r"v?([0-9]{1,3})(?:\.0)?", given["api_version"].reveal().strip())
    if not found or not OLDEST_VERSION <= int(found[1]) <= NEWEST_VERSION:
        raise ConfigurationError(
            f"api_version in the source URI is none that ingestr speaks: {given['api_version'].reveal()}",
            hint=f"write one from {OLDEST_VERSION}.0 to {NEWEST_VERSION}.0, or leave it out for the newest",
        )
    return f"{int(found[1])}.0"


def _most_bytes(given: Mapping[str, Secret]) -> int:
    if "max_answer_mb" not in given:
        return MOST_BYTES
    text = given["max_answer_mb"].reveal().strip()
    if not re.fullmatch("[0-9]{1,6}", text) or not _SMALLEST_MB <= int(text) <= _LARGEST_MB:
        raise ConfigurationError(
            f"max_answer_mb in the source URI is no number of megabytes: {text}",
            hint=f"write a whole number from {_SMALLEST_MB} to {_LARGEST_MB}, or leave it out for {MOST_BYTES >> 20}",
        )
    return int(text) << 20


def _login_kind(given: Mapping[str, Secret]) -> str:
    chosen = {given[name].reveal() for name in _SELECTORS if name in given}
    chosen = {_OTHER_NAMES.get(name, name) for name in chosen}
    if len(chosen) > 1 or not chosen <= set(_LOGINS):
        raise ConfigurationError(
            "the Salesforce URI names a login that is not supported",
            hint=f"grant_type or auth_method is one of {', '.join([*_LOGINS, *_OTHER_NAMES])}",
        )
    if chosen:
        return chosen.pop()
    for kind, (need, may) in _LOGINS.items():
        if any(name in given for name in need + may):
            return kind
    raise ConfigurationError("the Salesforce URI holds no login", hint=f"it takes {_FORMS}")
