"""What a ``salesforce://`` URI says: which login, and at which host. Knows nothing of HTTP."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingestr.core.secret import Secret
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError

_FORMS = (
    "access_token + domain; username + password + token + domain; or client_id + client_secret + domain "
    "(see: ingestr example-uris)"
)
_UI_HOSTS = (".lightning.force.com", ".my.salesforce-setup.com", ".vf.force.com")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


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


@dataclass(frozen=True)
class SalesforceConfig:
    """A login and the URL to log in at (scheme and host, no path)."""

    login: Login
    login_url: str


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
    if scheme.lower() not in ("https", "http") or not (_HOST.fullmatch(host) or is_loopback(host)) or parts.username:
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
        ConfigurationError: parameters missing, unknown, or of two logins at once.
    """
    if authority or path.strip("/"):
        raise ConfigurationError(
            "the Salesforce URI has a host or path", hint="everything is a parameter: salesforce://?domain=…"
        )
    known = ["domain", *_SELECTORS, *(name for need, may in _LOGINS.values() for name in need + may)]
    if unknown := len(set(parameters) - set(known)):
        # They are not named: after an & that is not URL-encoded, a part of a secret looks like a parameter.
        raise ConfigurationError(
            f"the Salesforce URI has {counted(unknown, 'unknown parameter')}",
            hint=f"it takes {', '.join(known)}; an & within a value is written %26",
        )
    given = {name: value for name, value in parameters.items() if value.reveal()}
    kind = _login_kind(given)
    need, may = _LOGINS[kind]
    if missing := [name for name in need if name not in given]:
        raise ConfigurationError(
            f"the Salesforce URI lacks {' and '.join(missing)} for the login by {kind.replace('_', ' ')}",
            hint=f"it takes {_FORMS}",
        )
    if extra := sorted(set(given) - {"domain", *_SELECTORS, *need, *may}):
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
    return SalesforceConfig(login, url)


def _login_kind(given: Mapping[str, Secret]) -> str:
    chosen = {given[name].reveal() for name in _SELECTORS if name in given}
    if len(chosen) > 1 or not chosen <= set(_LOGINS):
        raise ConfigurationError(
            "the Salesforce URI names a login that is not supported",
            hint=f"grant_type or auth_method is one of {', '.join(_LOGINS)}",
        )
    if chosen:
        return chosen.pop()
    for kind, (need, may) in _LOGINS.items():
        if any(name in given for name in need + may):
            return kind
    raise ConfigurationError("the Salesforce URI holds no login", hint=f"it takes {_FORMS}")
