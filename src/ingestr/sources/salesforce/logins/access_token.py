"""A session that was made elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import httpx

from ingestr.core.secret import Secret
from ingestr.sources.salesforce.logins.base import Login, Session, org_id_of


@dataclass(frozen=True)
class AccessToken(Login):
    """A session made elsewhere; it cannot be renewed."""

    NAME: ClassVar[str] = "access_token"
    TELLS: ClassVar[tuple[str, ...]] = ("access_token",)
    RENEWABLE: ClassVar[bool] = False
    NEEDS: ClassVar[tuple[str, ...]] = ("access_token",)

    token: Secret

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters."""
        return cls(given["access_token"])

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """The session, without a call."""
        return Session(self.token, login_url, org_id_of(self.token.reveal().partition("!")[0]))
