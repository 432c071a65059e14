"""OAuth client credentials: an app of the org, running as the user that the org assigned to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import httpx

from ingestr.core.secret import Secret
from ingestr.sources.salesforce.http.answers import error_of, is_html, parse_errors
from ingestr.sources.salesforce.http.shapes import as_object, interpreting
from ingestr.sources.salesforce.logins.base import Session, logging_in, org_id_of, post, refused, session_of


@dataclass(frozen=True)
class ClientCredentials:
    """An OAuth client of the org, running as the user that the org assigned to it."""

    NAME: ClassVar[str] = "client_credentials"
    NEEDS: ClassVar[tuple[str, ...]] = ("client_secret", "client_id")
    MAY: ClassVar[tuple[str, ...]] = ()

    client_id: Secret
    client_secret: Secret

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters."""
        return cls(given["client_id"], given["client_secret"])

    @property
    def renewable(self) -> bool:
        """Always."""
        return True

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Ask the org's token endpoint."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id.reveal(),
            "client_secret": self.client_secret.reveal(),
        }
        url, accept = f"{login_url}/services/oauth2/token", {"Accept": "application/json"}
        answer = post(http, url, harmless=True, data=form, headers=accept)
        if answer.status_code != 200:
            raise refused(answer, login_url)
        if is_html(answer):
            raise error_of(answer, logging_in(login_url))
        with interpreting(logging_in(login_url)):
            if parse_errors(answer):
                raise refused(answer, login_url)
            body = as_object(json.loads(answer.content), logging_in(login_url))
            token, instance = body.text("access_token"), body.text("instance_url")
            identity = str(body.get("id", "")).split("/")
            org_id = next((found for part in identity if (found := org_id_of(part))), None)
            return session_of(token, instance, org_id or org_id_of(token.partition("!")[0]), login_url)
