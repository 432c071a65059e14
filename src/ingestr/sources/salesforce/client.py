"""Calls to the API of one org: paths, versions, usage and errors. Knows nothing of tables or types."""

import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import httpx

from ingestr.core.budget import ApiBudget
from ingestr.core.clock import Clock
from ingestr.errors import QuotaError, SourceError
from ingestr.sources.base import Usage
from ingestr.sources.salesforce.answers import error_of, is_transient, unreachable
from ingestr.sources.salesforce.auth import Session, SessionAuth
from ingestr.sources.salesforce.config import SalesforceConfig, is_loopback
from ingestr.sources.salesforce.shapes import Answer, as_object, as_objects, unexpected
from ingestr.sources.salesforce.transport import TIMEOUT, RetryTransport, make_connections

log = logging.getLogger("ingestr.salesforce")

# The newest version this client was written against; the oldest with Bulk 2.0 queries.
NEWEST_VERSION = 67.0
OLDEST_VERSION = 47.0
# Salesforce answers 414 or 431 to more; host, other headers and a proxy's additions share it.
_LONGEST_REQUEST, _OTHER_HEADERS = 16_384, 1_000
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d+)/(\d+)")


class SalesforceClient:
    """The API of one org, for any number of threads; logs in at its first call."""

    def __init__(self, config: SalesforceConfig, clock: Clock, budget: ApiBudget | None = None) -> None:
        self._budget = budget
        host = httpx.URL(config.login_url).host
        connections = make_connections(trust_environment=not is_loopback(host))
        self._transport = transport = RetryTransport(connections, clock, is_transient)
        headers = {"Accept-Encoding": "gzip", "User-Agent": "ingestr", "Sforce-Call-Options": "client=ingestr"}
        self._bare = httpx.Client(transport=transport, timeout=TIMEOUT, headers=headers)
        self._auth = SessionAuth(config, self._bare)
        # Requests are addressed when they are signed: until the login nobody knows the instance.
        self._http = httpx.Client(transport=transport, timeout=TIMEOUT, headers=headers, auth=self._auth)
        self._version_lock = threading.Lock()
        self._usage_lock = threading.Lock()
        self._version: str | None = None
        self._usage = Usage(0, None, None)
        self._server_now: datetime | None = None

    @property
    def session(self) -> Session:
        """The session in use, made if there is none."""
        return self._auth.session()

    @property
    def usage(self) -> Usage:
        """Calls made by us that count, and the org's allowance as last heard."""
        return self._usage

    @property
    def version(self) -> str:
        """The API version of this run: the newest that both sides know.

        It stays for the whole run, as results of a Bulk job can be read only with the version that made the job.
        """
        with self._version_lock:
            if self._version is None:
                self._version = self._negotiate()
            return self._version

    def _negotiate(self) -> str:
        doing = "asking for API versions"
        answer = self._send("GET", "/services/data/", doing, counts=False)
        offered = [item.decimal("version") for item in as_objects(_decoded(answer, doing), doing)]
        if not offered:
            raise unexpected(doing, "it names no version")
        common = [version for version in offered if OLDEST_VERSION <= version <= NEWEST_VERSION]
        if not common:
            raise SourceError(
                f"the org offers no API version between {OLDEST_VERSION} and {NEWEST_VERSION}",
                hint="install a newer ingestr",
            )
        log.debug("API version %s (the org offers up to %s)", max(common), max(offered))
        return f"{max(common):.1f}"

    def path(self, resource: str) -> str:
        """The absolute path of a resource such as ``limits`` in the run's version."""
        return f"/services/data/v{self.version}/{resource}"

    def fits_url(self, path: str, params: Mapping[str, str]) -> bool:
        """Whether a GET stays under the 16,384 bytes that Salesforce allows for URL and headers together."""
        token = len(self.session.token.reveal())
        return len(path) + len(urlencode(params)) + token + _OTHER_HEADERS <= _LONGEST_REQUEST

    def get_json(
        self,
        path: str,
        doing: str,
        params: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        loads: Callable[[bytes], Any] = json.loads,
    ) -> Answer:
        """GET and decode; raises our error for anything but a success with a JSON object."""
        return as_object(_decoded(self._send("GET", path, doing, params=params, headers=headers), doing, loads), doing)

    def send_json(
        self, method: str, path: str, doing: str, body: object = None, *, once: bool = False, repeatable: bool = False
    ) -> Any:
        """POST, PATCH or DELETE with a JSON body; None where the answer to one of the latter is empty.

        Args:
            method: of HTTP.
            path: as ``path()`` gives it.
            doing: what is asked for, for messages.
            body: what is sent as JSON; nothing for None.
            once: ask a single time: for cleaning up, which must not keep anybody waiting.
            repeatable: being served twice does no harm, so a POST is repeated after any passing failure.
        """
        answer = self._send(method, path, doing, json=body, extensions={"once": once, "repeatable": repeatable})
        return as_object(_decoded(answer, doing), doing) if answer.content or method == "POST" else None

    def stream(self, path: str, doing: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        """GET whose body the caller reads with ``iter_raw`` and closes; raises our error for anything but 200."""
        return self._send(
            "GET", path, doing, params=params, headers={"Accept": "text/csv"}, extensions={"stream": True}
        )

    def server_now(self) -> datetime:
        """The org's clock at its latest answer, in UTC at whole seconds."""
        if self._server_now is None:
            self._send("GET", "/services/data/", "asking for the time", counts=False)
        if self._server_now is None:
            raise SourceError(
                "Salesforce's answers carry no Date header that can be read",
                hint="does a proxy remove or change it? is the domain the host of a Salesforce API?",
            )
        return self._server_now

    def _send(self, method: str, path: str, doing: str, *, counts: bool = True, **options: Any) -> httpx.Response:
        extensions = {"timeout": TIMEOUT.as_dict(), **options.pop("extensions", {})}
        if counts and not extensions.get("once"):
            self._check_budget()
        options = {name: value for name, value in options.items() if value is not None}
        # The host is a placeholder: signing puts the session's instance in its place.
        request = self._http.build_request(method, f"https://instance{path}", extensions=extensions, **options)
        try:
            answer = self._http.send(request, stream=bool(extensions.get("stream")))
        except httpx.TransportError as error:
            raise unreachable(error, doing, request.url.host) from error
        self._note(answer, counts=counts)
        if not answer.is_success:
            answer.read()
            raise error_of(answer, doing)
        return answer

    def _check_budget(self) -> None:
        """Stop before the call that would take what others need; cleaning up is always allowed."""
        usage, budget = self._usage, self._budget
        if budget is not None and budget.is_used_up(usage.calls, usage.used, usage.limit):
            of_all = f" and the org has used {usage.used:,} of {usage.limit:,}" if usage.used and usage.limit else ""
            raise QuotaError(
                f"--api-budget {budget} is used up: this run has made {usage.calls:,} API calls{of_all}",
                hint="run again when fewer calls of the last 24 hours count, or allow more",
            )

    def _note(self, answer: httpx.Response, *, counts: bool) -> None:
        with self._usage_lock:
            used, limit = self._usage.used, self._usage.limit
            if found := _USAGE.search(answer.headers.get("Sforce-Limit-Info", "")):
                used, limit = int(found[1]), int(found[2])
            self._usage = Usage(self._usage.calls + counts, used, limit)
            self._server_now = _moment(answer.headers.get("Date", "")) or self._server_now

    def hang_up(self) -> None:
        """End the requests that are under way in other threads: they fail soon."""
        self._transport.hang_up()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._bare.close()


def _moment(http_date: str) -> datetime | None:
    """The time that a Date header names; None where nobody can tell."""
    try:
        moment = parsedate_to_datetime(http_date)
    except ValueError:
        log.debug("unreadable Date: %r", http_date)
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _decoded(answer: httpx.Response, doing: str, loads: Callable[[bytes], Any] = json.loads) -> Any:
    try:
        return loads(answer.content)
    except ValueError:
        raise error_of(answer, doing) from None
