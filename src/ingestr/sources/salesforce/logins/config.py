"""What a ``salesforce://`` URI says: which login, at which host, and how the API is spoken to. Sends nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ingestr.core.secret import Secret
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError
from ingestr.sources.salesforce.http.hosts import login_url
from ingestr.sources.salesforce.http.whole import MOST_BYTES
from ingestr.sources.salesforce.logins.access_token import AccessToken
from ingestr.sources.salesforce.logins.base import Login
from ingestr.sources.salesforce.logins.client_credentials import ClientCredentials
from ingestr.sources.salesforce.logins.jwt_bearer import JwtBearer
from ingestr.sources.salesforce.logins.refresh_token import RefreshToken
from ingestr.sources.salesforce.logins.sf_cli import SfCli
from ingestr.sources.salesforce.logins.username_password import UsernamePassword
from ingestr.uri import check_characters

# The newest API version that this client was written against; the oldest with Bulk 2.0 queries.
NEWEST_VERSION = 67
OLDEST_VERSION = 47
_SMALLEST_MB, _LARGEST_MB = 1, 4096

_FORMS = (
    "access_token + domain; username + password + token + domain; client_id + client_secret + domain; "
    "client_id + username + private_key_path + domain; client_id + refresh_token + refresh_token_path + domain; or "
    "sf_cli alone (see: ingestr example-uris)"
)


# Of two that take the same parameters, the first is meant.
_KINDS: tuple[type[Login], ...] = (AccessToken, RefreshToken, JwtBearer, SfCli, UsernamePassword, ClientCredentials)
LOGINS = {each.NAME: each for each in _KINDS}
_SELECTORS = ("grant_type", "auth_method")
_OTHER_NAMES = {"username_password": "password", "jwt": "jwt_bearer"}
_OPTIONS = ("api_version", "max_answer_mb")
# What these hold is made by machines, without white space. A password is a person's.
_WITHOUT_SPACE = ("access_token", "token", "client_id", "client_secret", "refresh_token")


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


def parse_config(authority: str, path: str, parameters: Mapping[str, Secret]) -> SalesforceConfig:
    """The login that the URI's parameters describe.

    Raises:
        ConfigurationError: parameters missing, unknown, of two logins at once, or with characters that cannot be.
    """
    if authority or path.strip("/"):
        raise ConfigurationError(
            "the Salesforce URI has a host or path", hint="everything is a parameter: salesforce://?domain=…"
        )
    names = dict.fromkeys(name for login in _KINDS for name in login.NEEDS + login.MAY)
    known = ["domain", *_SELECTORS, *names, *_OPTIONS]
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
    if missing := [name for name in kind.NEEDS if name not in given]:
        raise ConfigurationError(
            f"the Salesforce URI lacks {' and '.join(missing)} for the login by {kind.NAME.replace('_', ' ')}",
            hint=f"it takes {_FORMS}",
        )
    if extra := sorted(set(given) - {"domain", *_SELECTORS, *kind.NEEDS, *kind.MAY, *_OPTIONS}):
        raise ConfigurationError(
            f"the Salesforce URI mixes logins: {', '.join(extra)} does not go with {', '.join(kind.NEEDS)}",
            hint=f"it takes {_FORMS}",
        )
    if kind is SfCli:
        if "domain" in given:
            raise ConfigurationError("the Salesforce CLI knows the instance of sf_cli", hint="leave out domain")
        return SalesforceConfig(kind.of(given), "", _api_version(given), _most_bytes(given))
    if "domain" not in given:
        raise ConfigurationError(
            "the Salesforce URI has no domain",
            hint="add &domain=login, &domain=test or your My Domain, e.g. &domain=acme.my",
        )
    url = login_url(given["domain"].reveal())
    return SalesforceConfig(kind.of(given), url, _api_version(given), _most_bytes(given))


def _check_value(name: str, value: str) -> None:
    """Refuse what a credential cannot hold; it is not repeated."""
    what = f"{name} in the source URI"
    # A key in PEM form has lines.
    check_characters(re.sub(r"\r?\n", "", value) if name == "private_key" else value, what)
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


def _login_kind(given: Mapping[str, Secret]) -> type[Login]:
    chosen = {given[name].reveal() for name in _SELECTORS if name in given}
    chosen = {_OTHER_NAMES.get(name, name) for name in chosen}
    if len(chosen) > 1 or not chosen <= set(LOGINS):
        raise ConfigurationError(
            "the Salesforce URI names a login that is not supported",
            hint=f"grant_type or auth_method is one of {', '.join([*LOGINS, *_OTHER_NAMES])}",
        )
    if chosen:
        return LOGINS[chosen.pop()]
    # What one login alone takes tells it from the others; of what several take, any is a beginning.
    telling = [(login, login.TELLS) for login in _KINDS]
    beginning = [(login, login.NEEDS) for login in (ClientCredentials, UsernamePassword)]
    for login, names in (*telling, *beginning):
        if any(name in given for name in names):
            return login
    raise ConfigurationError("the Salesforce URI holds no login", hint=f"it takes {_FORMS}")
