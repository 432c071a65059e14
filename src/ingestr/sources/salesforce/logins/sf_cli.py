"""The session of Salesforce's own command line: whoever has logged in with ``sf`` needs nothing else.

``sf org display`` tells the instance and renews the session. It told the token too until May 2026; since then
``sf org auth show-access-token`` does ("View Org Authentication Secrets" in the Salesforce DX Developer Guide).
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import httpx

from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, ConfigurationError, SourceUnavailableError
from ingestr.redaction import shown
from ingestr.sources.salesforce.http.hosts import login_url as checked_url
from ingestr.sources.salesforce.http.shapes import Answer
from ingestr.sources.salesforce.logins.base import Login, Session, org_id_of, session_of

_COMMAND = "sf"
# It starts slowly, and asks Salesforce.
_PATIENCE = 120
_DOING = "asking the Salesforce CLI for its session"


@dataclass(frozen=True)
class SfCli(Login):
    """A login that the Salesforce CLI keeps.

    Args:
        org: an alias or a username that it knows.
    """

    NAME: ClassVar[str] = "sf_cli"
    TELLS: ClassVar[tuple[str, ...]] = ("sf_cli",)
    NEEDS: ClassVar[tuple[str, ...]] = ("sf_cli",)

    org: str

    @classmethod
    def of(cls, given: Mapping[str, Secret]) -> Self:
        """The login of these parameters."""
        org = given["sf_cli"].reveal().strip()
        if org.startswith("-"):
            raise ConfigurationError("sf_cli in the source URI is no alias or username", hint="sf org list shows them")
        return cls(org)

    def log_in(self, login_url: str, http: httpx.Client) -> Session:
        """Ask the CLI; ``login_url`` is not needed, as it knows the instance."""
        told = self._ask("display")
        instance = checked_url(told.text("instanceUrl"))
        token = told.get("accessToken")
        try:
            token = self._ask("auth", "show-access-token").text("accessToken")
        except _UnknownCommandError as error:
            # An older one, which has told the token already.
            if not isinstance(token, str) or not token or token.startswith("["):
                raise AuthenticationError(str(error), hint="install a newer Salesforce CLI") from None
        return session_of(token, instance, org_id_of(told.get("id")), instance)

    def _ask(self, *words: str) -> Answer:
        """The result of one of the CLI's commands about the org."""
        command = shutil.which(_COMMAND)
        if command is None:
            raise ConfigurationError(
                "sf_cli in the source URI needs the Salesforce CLI, and there is no command sf here",
                hint="install it (npm install --global @salesforce/cli), or use another login",
            )
        surroundings = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
        try:
            done = subprocess.run(  # noqa: S603 - the program is found on the user's own path, without a shell
                [command, "org", *words, "--target-org", self.org, "--json"],
                env={**surroundings, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = "it does not end" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
            raise SourceUnavailableError(f"{_DOING}: {reason}", hint="try: sf org display") from None
        return self._result(done.stdout)

    def _result(self, output: bytes) -> Answer:
        try:
            body = json.loads(output)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise AuthenticationError(f"{_DOING}: it said nothing that can be read", hint="try: sf org display --json")
        if isinstance(body.get("result"), dict) and body.get("status", 0) == 0:
            return Answer(body["result"], _DOING)
        message = shown(str(body.get("message") or body.get("name") or "no reason is given"), longest=300)
        if "not a sf command" in message or body.get("name") in ("CommandNotFoundError", "NonExistentFlagsError"):
            raise _UnknownCommandError(f"{_DOING}: {message}")
        raise AuthenticationError(
            f"{_DOING} for {self.org}: {message}", hint="sf org list shows what it knows; sf org login web logs in anew"
        )


class _UnknownCommandError(Exception):
    """The CLI is older than a command."""
