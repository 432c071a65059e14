"""OAuth refresh token: the session of a user who has let the app act for them; the token may change at each use.

Where the app rotates its refresh tokens, using one that was replaced revokes all of them ("Rotate Refresh Tokens" in
Salesforce's help). The new one is therefore written before the session is used, and one process at a time uses it.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar, Self

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, ConfigurationError
from ingestr.sources.salesforce.logins.base import Login, Session, ask_for_token, session_of_token

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("ingestr.salesforce")

_LARGEST = 16 << 10
_LOST = (
    "Salesforce has replaced the refresh token of the source URI, which is spent now, and nothing keeps the new one: "
    "authorize the app again, and name a file for it with refresh_token_path"
)


@dataclass(frozen=True)
class RefreshToken(Login):
    """A login by a refresh token.

    Args:
        client_id: the app's consumer key.
        client_secret: the app's secret, where it has one.
        token: the refresh token of the URI, if there is one.
        path: the file that keeps the newest one, if there is one; it goes before the URI's.
    """

    NAME: ClassVar[str] = "refresh_token"
    TELLS: ClassVar[tuple[str, ...]] = ("refresh_token", "refresh_token_path")
    NEEDS: ClassVar[tuple[str, ...]] = ("client_id",)
    MAY: ClassVar[tuple[str, ...]] = ("client_secret", "refresh_token", "refresh_token_path")

    client_id: Secret
    client_secret: Secret | None
    token: Secret | None
    path: Path | None
    _newest: list[Secret] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters.

        Raises:
            ConfigurationError: there is neither a token nor a file for one.
        """
        if "refresh_token" not in given and "refresh_token_path" not in given:
            raise ConfigurationError(
                "the login by refresh token needs refresh_token, refresh_token_path, or both",
                hint="refresh_token_path names the file that keeps the newest token",
            )
        try:
            path = Path(given["refresh_token_path"].reveal()).expanduser() if "refresh_token_path" in given else None
        except RuntimeError:
            raise ConfigurationError(
                "refresh_token_path begins with a home that nobody has here", hint="write the whole path"
            ) from None
        return cls(given["client_id"], given.get("client_secret"), given.get("refresh_token"), path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What becomes of a token that was replaced and that no file keeps."""
        if not self._newest or self.path is not None:
            return ()
        return (_LOST,)

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Use the newest token; a new one is kept before the session is used.

        Raises:
            ConfigurationError: the file cannot be read, or a new token could not be kept in it.
        """
        with _alone(self.path):
            tried: set[str] = set()
            known = [*self._newest[-1:], *self._kept(), *([self.token] if self.token is not None else [])]
            for number, token in enumerate(known, 1):
                if token.reveal() in tried:
                    continue
                tried.add(token.reveal())
                try:
                    body = self._ask(token, login_url, http)
                except AuthenticationError as error:
                    # Somebody may have authorized the app anew: then the URI's is good, and the file's is not.
                    if number == len(known) or "invalid_grant" not in str(error):
                        raise
                    log.debug("%s: trying the next refresh token", error)
                else:
                    self._keep(token, body.get("refresh_token"))
                    return session_of_token(body, login_url)
        raise ConfigurationError(
            f"{self.path} holds no refresh token, and the source URI has none", hint="add refresh_token to the URI once"
        )

    def _ask(self, token: Secret, login_url: str, http: httpx.Client) -> Any:
        form = {"grant_type": "refresh_token", "client_id": self.client_id.reveal(), "refresh_token": token.reveal()}
        if self.client_secret is not None:
            form["client_secret"] = self.client_secret.reveal()
        if self.path is not None:
            _check_writable(self.path)
        # Served twice, it would be a replaced token the second time, which revokes them all.
        return ask_for_token(http, login_url, form, only_once=True)

    def _kept(self) -> list[Secret]:
        if self.path is None:
            return []
        try:
            if self.path.stat().st_size > _LARGEST:
                raise ConfigurationError(f"{self.path} is too large to hold a refresh token", hint="name another file")
            text = self.path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigurationError(f"refresh_token_path {str(self.path)!r} cannot be read: {reason}") from None
        if not text.isprintable() or " " in text:
            raise ConfigurationError(
                f"{self.path} holds something else than a refresh token, and is left as it is", hint="name another file"
            )
        return [Secret(text)] if text else []

    def _keep(self, used: Secret, told: object) -> None:
        """Keep what the next login needs."""
        new = Secret(told) if isinstance(told, str) and told else None
        if new is not None:
            self._newest.append(new)
        if self.path is not None and [new or used] != self._kept():
            _write(self.path, new or used)


def _check_writable(path: Path) -> None:
    """Before the old token is spent: whether a new one could be kept."""
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            return
    except OSError as error:
        raise ConfigurationError(
            f"refresh_token_path {str(path)!r} cannot be written, and a new token would be lost: {error.strerror}",
            hint="name a file in a folder that this user may write to",
        ) from None


def _write(path: Path, token: Secret) -> None:
    """Replace the file at once, readable by its owner alone."""
    with NamedTemporaryFile("w", encoding="ascii", dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        try:
            new.write(token.reveal() + "\n")
            new.flush()
            os.fsync(new.fileno())
            Path(new.name).replace(path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


@contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """Let one process at a time use the file's token: two that use it at once would revoke it."""
    # Windows has no such lock.
    if path is None or sys.platform == "win32":
        yield
        return
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"refresh_token_path {str(path)!r} is in a folder that cannot be written: {error.strerror}",
            hint="name a file in a folder that this user may write to",
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
