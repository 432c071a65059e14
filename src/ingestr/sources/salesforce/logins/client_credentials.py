"""OAuth client credentials: an app of the org, running as the user that the org assigned to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import httpx

from ingestr.core.secret import Secret
from ingestr.sources.salesforce.logins.base import Login, Session, ask_for_token, session_of_token


@dataclass(frozen=True)
class ClientCredentials(Login):
    """An OAuth client of the org, running as the user that the org assigned to it."""

    NAME: ClassVar[str] = "client_credentials"
    NEEDS: ClassVar[tuple[str, ...]] = ("client_id", "client_secret")

    client_id: Secret
    client_secret: Secret

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters."""
        return cls(given["client_id"], given["client_secret"])

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Ask the org's token endpoint."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id.reveal(),
            "client_secret": self.client_secret.reveal(),
        }
        return session_of_token(ask_for_token(http, login_url, form), login_url)
