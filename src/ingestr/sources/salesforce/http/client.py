"""Calls to the API of one org: paths, versions, usage and errors. Knows nothing of tables or types."""

import copy
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from isal import isal_zlib

from ingestr.core.budget import ApiBudget
from ingestr.core.clock import Clock
from ingestr.errors import (
    AccessError,
    AuthenticationError,
    ConfigurationError,
    QuotaError,
    RequestRefusedError,
    SourceError,
)
from ingestr.flags import Flag
from ingestr.sources.base import Usage
from ingestr.sources.salesforce.http.answers import error_of, is_transient, unreachable
from ingestr.sources.salesforce.http.auth import SessionAuth
from ingestr.sources.salesforce.http.connections import Line
from ingestr.sources.salesforce.http.hosts import is_loopback
from ingestr.sources.salesforce.http.shapes import (
    Answer,
    as_object,
    as_objects,
    http_date,
    interpreting,
    unexpected,
    whole_number,
)
from ingestr.sources.salesforce.http.transport import RECEIVED, TIMEOUT, RetryTransport, make_connections
from ingestr.sources.salesforce.logins.base import Session, org_id_of
from ingestr.sources.salesforce.logins.config import NEWEST_VERSION, OLDEST_VERSION, SalesforceConfig

log = logging.getLogger("ingestr.salesforce")

# Salesforce answers 414 or 431 to more; host, other headers and a proxy's additions share it.
_LONGEST_REQUEST, _OTHER_HEADERS = 16_384, 1_000
_USAGE = re.compile(r"(?<![\w-])api-usage=([0-9]+)/([0-9]+)")


class SalesforceClient:
    """The API of one org, for any number of threads; logs in at its first call.

    Args:
        config: which login, at which host.
        clock: time and waiting.
        budget: API calls that may be made.
        connect: makes what sends the requests; by default it is made as the environment says.
    """

    def __init__(
        self,
        config: SalesforceConfig,
        clock: Clock,
        budget: ApiBudget | None = None,
        connect: Callable[[], httpx.Client] | None = None,
    ) -> None:
        self._budget = budget
        self._wanted_version = config.api_version
        host = httpx.URL(config.login_url).host
        connect = connect or partial(make_connections, trust_environment=not is_loopback(host))
        self._transport = transport = RetryTransport(connect, clock, is_transient, config.most_bytes)
        headers = {"Accept-Encoding": "gzip", "User-Agent": "ingestr", "Sforce-Call-Options": "client=ingestr"}
        self._bare = httpx.Client(transport=transport, timeout=TIMEOUT, headers=headers)
        self._auth = SessionAuth(config, self._bare)
        # Requests are addressed when they are signed: until the login nobody knows the instance.
        self._http = httpx.Client(transport=transport, timeout=TIMEOUT, headers=headers, auth=self._auth)
        self._version_lock = threading.Lock()
        self._org_lock = threading.Lock()
        self._org_id: str | None = None
        self._asked_for_org = False
        self._version: str | None = None
        self._calls = self._shared = _Calls()
        # Answers to requests that were sent together, each until somebody asks for it; packed, as hundreds of describes
        # would fill hundreds of megabytes.
        self._early: dict[str, bytes] = {}
        # About how many rows objects have, by their names in small letters, once all of them have been asked for.
        self.sizes: dict[str, int] | None = None

    @property
    def session(self) -> Session:
        """The session in use, made if there is none."""
        return self._auth.session()

    @property
    def usage(self) -> Usage:
        """Calls made by us that count, with what came of them, and the org's allowance as last heard."""
        used, limit = self._shared.allowance
        return Usage(self._calls.made, used, limit, self._calls.received)

    def receive(self, size: int) -> None:
        """Count the bytes of a body, as it came over the network."""
        for calls in {self._calls, self._shared}:
            calls.receive(size)

    def counting_apart(self) -> Self:
        """The same session and connections, whose ``usage`` begins at no call."""
        apart = copy.copy(self)
        apart._calls = _Calls()
        return apart

    @property
    def version(self) -> str:
        """The API version of this run: the one that the URI names, or else the newest that both sides know.

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
        common = sorted(version for version in offered if OLDEST_VERSION <= version <= NEWEST_VERSION)
        if not common:
            raise SourceError(
                f"the org offers no API version between {OLDEST_VERSION}.0 and {NEWEST_VERSION}.0",
                hint="install a newer ingestr",
            )
        names = [f"{version:.1f}" for version in common]
        if self._wanted_version is not None and self._wanted_version not in names:
            raise ConfigurationError(
                f"the org does not offer the API version {self._wanted_version} that the source URI names",
                hint=f"both sides know {', '.join(names)}; without api_version the newest is used",
            )
        version = self._wanted_version or names[-1]
        log.debug("API version %s (the org offers up to %s)", version, max(offered))
        return version

    def org_id(self) -> str | None:
        """The 15 characters of the org's id: from the login, or else asked for once; None where nobody tells."""
        session = self.session
        with self._org_lock:
            if session.org_id is None and not self._asked_for_org:
                self._asked_for_org = True
                self._org_id = self._told_org_id()
            return session.org_id or self._org_id

    def _told_org_id(self) -> str | None:
        """The id as the identity service tells it, which not every app may ask, or as the org's only Organization."""
        doing = "asking which org it is"
        try:
            answer = self._send("GET", "/services/oauth2/userinfo", doing, counts=False, extensions={"once": True})
            found = org_id_of(as_object(_decoded(answer, doing), doing).get("organization_id"))
            if found is not None:
                return found
        except (SourceError, AuthenticationError) as error:
            log.debug("%s", error)
        try:
            page = self.get_json(self.path("query"), doing, {"q": "SELECT Id FROM Organization"})
            return next((org_id_of(row.get("Id")) for row in page.parts("records")), None)
        except (SourceError, AuthenticationError) as error:
            log.debug("%s", error)
            return None

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
        early = self._early.pop(_target(path, params), None)
        if early is not None:
            return Answer(json.loads(isal_zlib.decompress(early)), doing)
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
            repeatable: repeat a POST after any answer of a passing failure, such as a 500, though it may be served
                twice; not where the answer is lost, as nobody could clean up what the first one made.
        """
        answer = self._send(method, path, doing, json=body, extensions={"once": once, "repeatable": repeatable})
        return as_object(_decoded(answer, doing), doing) if answer.content or method == "POST" else None

    def ask_together(self, targets: Sequence[tuple[str, Mapping[str, str] | None]], doing: str) -> bool:
        """GET several resources in one call, and keep the answers until ``get_json`` asks for each, once.

        All of them count as one call ("Composite" in the REST API Developer Guide); they may be 25, of which 5 queries.
        Of what fails nothing is kept, so that it is asked for alone.

        Returns:
            Whether the org serves such calls.
        """
        asked = {f"r{place}": _target(path, params) for place, (path, params) in enumerate(targets)}
        requests = [{"method": "GET", "url": target, "referenceId": name} for name, target in asked.items()]
        body = {"compositeRequest": requests}
        if self._shared.refuses_together:
            return False
        try:
            answer = self.send_json("POST", self.path("composite"), doing, body, repeatable=True)
        except (RequestRefusedError, AccessError) as error:
            log.debug("%s: each is asked for alone", error)
            self._shared.refuses_together = True
            return False
        with interpreting(doing):
            for each in answer.parts("compositeResponse"):
                target, found = asked.get(str(each.get("referenceId"))), each.get("body")
                if each.get("httpStatusCode") == 200 and target is not None and isinstance(found, dict):
                    self._early[target] = isal_zlib.compress(json.dumps(found).encode())
        return True

    def has_early(self, path: str, params: Mapping[str, str] | None = None) -> bool:
        """Whether an answer that came with others is kept."""
        return _target(path, params) in self._early

    def stream(self, path: str, doing: str, params: Mapping[str, str] | None = None) -> httpx.Response:
        """GET whose body the caller reads with ``iter_raw``, counts with ``receive``, and closes.

        Raises:
            IngestrError: anything but 200 was answered.
        """
        return self._send(
            "GET", path, doing, params=params, headers={"Accept": "text/csv"}, extensions={"stream": True}
        )

    def server_now(self) -> datetime:
        """The org's clock at its latest answer, in UTC at whole seconds."""
        if self._shared.now is None:
            self._send("GET", "/services/data/", "asking for the time", counts=False)
        if self._shared.now is None:
            raise SourceError(
                "Salesforce's answers carry no Date header that can be read",
                hint="does a proxy remove or change it? is the domain the host of a Salesforce API?",
            )
        return self._shared.now

    def _send(self, method: str, path: str, doing: str, *, counts: bool = True, **options: Any) -> httpx.Response:
        extensions = {"timeout": TIMEOUT.as_dict(), "doing": doing, **options.pop("extensions", {})}
        if counts and not extensions.get("once"):
            self._check_budget()
        options = {name: value for name, value in options.items() if value is not None}
        try:
            if not path.startswith("/"):
                raise unexpected(doing, "it names an address that is none of this host")
            # The host is a placeholder: signing puts the session's instance in its place.
            request = self._http.build_request(method, f"https://instance{path}", extensions=extensions, **options)
        except (httpx.InvalidURL, UnicodeError):
            raise unexpected(doing, "it names an address or a value that cannot be asked for") from None
        try:
            answer = self._http.send(request, stream=bool(extensions.get("stream")))
        # Their texts may repeat what was sent or received: they are no cause that a traceback could show.
        except httpx.RequestError as error:
            raise unreachable(error, doing, request.url.host) from None
        except httpx.InvalidURL as error:
            raise unexpected(doing, f"it leads to an address that is none: {error}") from None
        self._note(answer, counts=counts)
        if not answer.is_success:
            answer.read()
            raise error_of(answer, doing)
        if extensions.get("stream") and answer.status_code != 200:
            # Only a whole page can be counted; the body of anything else has been read already.
            raise unexpected(doing, f"it came with HTTP {answer.status_code} where a page was asked for")
        return answer

    def _check_budget(self) -> None:
        """Stop before the call that would take what others need; cleaning up is always allowed."""
        made, budget = self._shared.made, self._budget
        used, limit = self._shared.allowance
        if budget is not None and budget.is_used_up(made, used, limit):
            of_all = f" and the org has used {used:,} of {limit:,}" if used and limit else ""
            raise QuotaError(
                f"{Flag.API_BUDGET} {budget} is used up: this run has made {made:,} API calls{of_all}",
                hint="run again when fewer calls of the last 24 hours count, or allow more",
            )

    def _note(self, answer: httpx.Response, *, counts: bool) -> None:
        told = None
        if found := _USAGE.search(answer.headers.get("Sforce-Limit-Info", "")):
            told = whole_number(found[1]), whole_number(found[2])
        self.receive(answer.extensions.get(RECEIVED, 0))
        for calls in {self._calls, self._shared}:
            calls.add(counts, told)
        self._shared.now = http_date(answer.headers.get("Date", "")) or self._shared.now

    def open_line(self) -> Line:
        """Connections of their own for threads that end together; whoever asks for them closes them."""
        return self._transport.open_line()

    def stop(self) -> None:
        """End all requests that are under way, in whichever thread, and make no other."""
        self._transport.stop()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._bare.close()


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


class _Calls:
    """What calls were made and brought, and what the org has said of itself meanwhile, for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.made = 0
        self.received = 0
        self.refuses_together = False
        self.allowance: tuple[int | None, int | None] = (None, None)
        self.now: datetime | None = None

    def add(self, counts: bool, told: tuple[int | None, int | None] | None) -> None:
        """A call was answered; ``told`` is what the answer says of the allowance."""
        with self._lock:
            self.made += counts
            if told is not None and None not in told:
                self.allowance = told

    def receive(self, size: int) -> None:
        """So many bytes have come."""
        with self._lock:
            self.received += size


def _decoded(answer: httpx.Response, doing: str, loads: Callable[[bytes], Any] = json.loads) -> Any:
    with interpreting(doing):
        try:
            return loads(answer.content)
        except ValueError:
            raise error_of(answer, doing) from None
