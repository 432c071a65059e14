"""Username, password and security token, by the SOAP API, which alone takes them without an app."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self
from xml.sax.saxutils import escape

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError
from ingestr.sources.salesforce.http.answers import error_of, is_html, texts_of_xml
from ingestr.sources.salesforce.http.shapes import interpreting
from ingestr.sources.salesforce.logins.base import Login, Session, logging_in, org_id_of, post, refused, session_of
from ingestr.sources.salesforce.logins.refusals import SOAP_LOGIN_ENDS

# login() of the SOAP API exists up to v64; Salesforce removes it for good in Summer '27.
SOAP_VERSION = "64.0"


@dataclass(frozen=True)
class UsernamePassword(Login):
    """A user's own login; the security token may be empty where the network is trusted."""

    NAME: ClassVar[str] = "password"
    TELLS: ClassVar[tuple[str, ...]] = ("password", "token")
    NEEDS: ClassVar[tuple[str, ...]] = ("username", "password")
    MAY: ClassVar[tuple[str, ...]] = ("token",)

    username: str
    password: Secret
    security_token: Secret

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters."""
        return cls(given["username"].reveal(), given["password"], given.get("token", Secret("")))

    @property
    def notes(self) -> tuple[str, ...]:
        """When Salesforce ends this login."""
        return (SOAP_LOGIN_ENDS,)

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Call login() of the SOAP API."""
        # Both together are a secret of their own, which a server may repeat.
        password = Secret(self.password.reveal() + self.security_token.reveal())
        envelope = (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/" '
            'xmlns:urn="urn:partner.soap.sforce.com">'
            "<env:Header><urn:CallOptions><urn:client>ingestr</urn:client></urn:CallOptions></env:Header><env:Body>"
            f"<urn:login><urn:username>{escape(self.username)}</urn:username>"
            f"<urn:password>{escape(password.reveal())}</urn:password></urn:login></env:Body></env:Envelope>"
        )
        answer = post(
            http,
            f"{login_url}/services/Soap/u/{SOAP_VERSION}",
            harmless=False,
            content=envelope.encode(),
            headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"},
        )
        if answer.status_code != 200:
            raise refused(answer, login_url)
        if is_html(answer):
            raise error_of(answer, logging_in(login_url))
        with interpreting(logging_in(login_url)):
            texts = texts_of_xml(answer.content)
            if texts.get("faultcode"):
                raise refused(answer, login_url)
            if texts.get("passwordExpired") == "true":
                raise AuthenticationError("login refused: the password has expired", hint="set a new one in Salesforce")
            token, instance = texts.get("sessionId", ""), texts.get("serverUrl", "")
            return session_of(token, instance, org_id_of(texts.get("organizationId")), login_url)
