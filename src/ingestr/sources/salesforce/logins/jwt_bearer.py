"""OAuth JWT bearer: an app that signs with a key of its own, for a user who has approved it or was approved for it.

"OAuth 2.0 JWT Bearer Flow for Server-to-Server Integration" in Salesforce's help says what the assertion holds.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError
from ingestr.sources.salesforce.logins.base import Login, Session, ask_for_token, session_of_token

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Salesforce takes an assertion that ends within three minutes.
_LIFETIME = 170
_PRODUCTION, _SANDBOX = "https://login.salesforce.com", "https://test.salesforce.com"
_LARGEST_KEY = 64 << 10


@dataclass(frozen=True)
class JwtBearer(Login):
    """A user's login by a key whose certificate the app knows.

    Args:
        client_id: the app's consumer key.
        username: whose login it is.
        private_key: an RSA key in PEM form, without a passphrase.
        audience: the login server for which it is signed; None for the one that the domain tells.
    """

    NAME: ClassVar[str] = "jwt_bearer"
    TELLS: ClassVar[tuple[str, ...]] = ("private_key", "private_key_path", "audience")
    NEEDS: ClassVar[tuple[str, ...]] = ("client_id", "username")
    MAY: ClassVar[tuple[str, ...]] = ("private_key", "private_key_path", "audience")

    client_id: Secret
    username: str
    private_key: Secret
    audience: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters; reads the key's file.

        Raises:
            ConfigurationError: there is no key, or two.
        """
        if ("private_key" in given) == ("private_key_path" in given):
            raise ConfigurationError(
                "the login by JWT bearer takes one of private_key and private_key_path",
                hint="private_key_path names the file of a key in PEM form; private_key is its text, URL-encoded",
            )
        if "private_key" in given:
            # In variables line breaks are often written as \n.
            key = Secret(given["private_key"].reveal().replace("\\n", "\n"))
        else:
            key = _read_key(Path(given["private_key_path"].reveal()))
        audience = given["audience"].reveal().rstrip("/") if "audience" in given else None
        return cls(given["client_id"], given["username"].reveal(), key, audience)

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Sign an assertion, and ask the token endpoint for its session."""
        claims = {
            "iss": self.client_id.reveal(),
            "sub": self.username,
            "aud": self.audience or _audience(login_url),
            "exp": int(time.time()) + _LIFETIME,
        }
        form = {"grant_type": _GRANT, "assertion": _signed(claims, self.private_key)}
        return session_of_token(ask_for_token(http, login_url, form), login_url)


def _read_key(path: Path) -> Secret:
    try:
        path = path.expanduser()
        if path.stat().st_size > _LARGEST_KEY:
            raise ConfigurationError(
                f"{path} is too large to be a key", hint="private_key_path names a file in PEM form"
            )
        return Secret(path.read_text(encoding="ascii"))
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"private_key_path {str(path)!r} cannot be read: {reason}",
            hint="name the file of the app's private key, in PEM form",
        ) from None


def _audience(login_url: str) -> str:
    """The login server of the org's kind: sandboxes have one of their own."""
    host = urlsplit(login_url).hostname or ""
    return _SANDBOX if host == "test.salesforce.com" or ".sandbox." in host else _PRODUCTION


def _signed(claims: Mapping[str, object], key: Secret) -> str:
    try:
        import jwt  # noqa: PLC0415 - an extra, which other logins do without

        algorithm = jwt.get_algorithm_by_name("RS256")
    except (ImportError, NotImplementedError):
        raise ConfigurationError(
            "the login by JWT bearer needs a library that is not installed", hint="pip install 'ingestr[jwt]'"
        ) from None
    try:
        return jwt.encode(dict(claims), algorithm.prepare_key(key.reveal()), algorithm="RS256")
    except (jwt.PyJWTError, ValueError, TypeError):
        # Their texts may repeat the key.
        raise ConfigurationError(
            "the private key of the source URI is no RSA key in PEM form, or is locked by a passphrase",
            hint="openssl rsa -in locked.key -out open.key unlocks one; it begins with -----BEGIN",
        ) from None
