"""Knows what the parts of one org share: rows, clock, sessions, faults, settings and counters; not HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from ingestr.simulator.assertions import SigningKey
from ingestr.simulator.changes import Changes
from ingestr.simulator.clock import Clock
from ingestr.simulator.events import Events
from ingestr.simulator.faults import Faults
from ingestr.simulator.ids import record_id
from ingestr.simulator.jobs import Job, make_pool
from ingestr.simulator.patience import Patience
from ingestr.simulator.seed import DEFAULT_END
from ingestr.simulator.sessions import Credentials, Sessions
from ingestr.simulator.soql.translator import Translator
from ingestr.simulator.store import Store
from ingestr.simulator.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from ingestr.simulator.bulk1 import ClassicJob
    from ingestr.simulator.rest import Cursor
    from ingestr.simulator.results import CsvResult
    from ingestr.simulator.wire import Call, Request

FIRST_VERSION = 31
LAST_SOAP_LOGIN = 64
# How long a Bulk job with its result, and a REST query's cursor, are kept.
RESULTS_KEPT, CURSORS_KEPT = timedelta(days=7), timedelta(days=2)
# Entities that REST can read and Bulk cannot, as extraction tools met them.
BULK_REFUSES = [
    "AcceptedEventRelation",
    "AssetTokenEvent",
    "AttachedContentNote",
    "Attachment",
    "CaseStatus",
    "ContractStatus",
    "DeclinedEventRelation",
    "EventWhoRelation",
    "FieldSecurityClassification",
    "KnowledgeArticle",
    "OrderStatus",
    "PartnerRole",
    "RecentlyViewed",
    "SolutionStatus",
    "TaskPriority",
    "TaskStatus",
    "TaskWhoRelation",
    "UndecidedEventRelation",
    "WorkOrderStatus",
]


# What tests and users may set on a running org.
SETTINGS = (
    "api_version",
    "api_limit",
    "api_calls",
    "page_rows",
    "rest_rows",
    "job_polls",
    "bulk_job_limit",
    "jobs_created",
    "bulk_refuses",
    "result_pages_supported",
    "rotate_refresh_tokens",
    "password_flow",
    "per_app_usage",
    "delete_log_since",
    "query_timeout_rows",
    "poisoned",
    "latency",
    "bytes_per_second",
)


_MOST_CURSORS, _MOST_RESULTS, _MOST_REQUESTS, _MOST_ERRORS = 200, 16, 10_000, 100
_LONGEST_NOTED = 16_384


class OrgState:
    """One org, without the server in front of it.

    Attributes:
        api_version: the newest version that the org speaks.
        api_limit: how many API calls a day allows.
        api_calls: how many were made.
        page_rows: rows of a Bulk result page when the client does not say.
        rest_rows: most records of a REST page when the client does not say.
        job_polls: how often a query job is seen unfinished.
        bulk_job_limit: how many query jobs a day allows.
        jobs_created: how many were made.
        requests: the latest 10,000 requests that were served, oldest first.
        requests_served: how many were served in all.
        patience: how long clients are waited for.
        internal_errors: what went wrong in the simulator itself, the first 100; empty unless it has a mistake.
        bulk_refuses: objects that Bulk does not read.
        result_pages_supported: whether jobs have `resultPages`.
        rotate_refresh_tokens: whether a refresh token is good for one use only.
        password_flow: whether the username-password OAuth flow is allowed.
        per_app_usage: whether Sforce-Limit-Info also names the app's own usage.
        delete_log_since: since when getDeleted can say what went, when it was trimmed.
        query_timeout_rows: queries that match more rows end in QUERY_TIMEOUT; None for no such bound.
        poisoned: Ids of rows that the platform cannot write: a query that matches one ends in Numeric Overflow.
        latency: seconds that pass before a request is looked at.
        bytes_per_second: how much of a body a connection carries in a second; 0 is as much as it can.
    """

    def __init__(self, rows: int, seed: int, start: datetime | None) -> None:
        self.clock = Clock()
        self.seed = seed
        end = start or DEFAULT_END
        self.end = end.replace(tzinfo=UTC) if end.tzinfo is None else end.astimezone(UTC)
        self.store = Store(rows, seed, self.end, self.clock)
        self.credentials = Credentials()
        self.sessions = Sessions(seed)
        self.signing_key = SigningKey()
        self.faults = Faults()
        self.patience = Patience()
        self.requests: list[Request] = []
        self.requests_served = 0
        self.internal_errors: list[Exception] = []
        self.api_version = "67.0"
        self.api_limit = 100_000
        self.api_calls = 0
        self.page_rows = 25_000
        self.rest_rows = 2_000
        self.job_polls = 1
        self.bulk_job_limit = 10_000
        self.jobs_created = 0
        self.bulk_refuses: set[str] = set(BULK_REFUSES)
        self.result_pages_supported = True
        self.rotate_refresh_tokens = False
        self.password_flow = True
        self.per_app_usage = False
        self.delete_log_since: datetime | None = None
        self.query_timeout_rows: int | None = None
        self.poisoned: set[str] = set()
        self.latency = 0.0
        self.bytes_per_second = 0.0
        self.url = ""
        self.jobs: dict[str, Job] = {}
        self.classic_jobs: dict[str, ClassicJob] = {}
        self.dispatch: Callable[[Call], Answer] = lambda _call: Answer(404)
        self.cursors: dict[str, Cursor] = {}
        self.results: dict[tuple[object, ...], Future[CsvResult]] = {}
        self.pool = make_pool()
        self.lock = Lock()
        self.changes = Changes(self.store, self.user_id)
        self.events = Events(self.store, self.changes)
        self._numbers = count(1)

    @property
    def user_id(self) -> str:
        """The Id of the user that every login is."""
        return record_id("005", 0)

    @property
    def organization_id(self) -> str:
        """The org's Id."""
        return self.sessions.organization_id

    @property
    def live_jobs(self) -> list[str]:
        """Ids of the query jobs that were neither deleted nor aborted."""
        with self.lock:
            return [key for key, job in self.jobs.items() if job.state != "Aborted"]

    def new_id(self, prefix: str) -> str:
        """Return an Id for something that is no row."""
        return record_id(prefix, next(self._numbers))

    def translator(self) -> Translator:
        """Return a translator for the objects and the time as they are."""
        return Translator(self.store, self.clock.now())

    def count_call(self) -> bool:
        """Count an API call; say whether the day's allowance had room for it."""
        with self.lock:
            if self.api_calls >= self.api_limit:
                return False
            self.api_calls += 1
            return True

    def versions(self) -> list[str]:
        """Return every version that the org speaks, oldest first."""
        return [f"{number}.0" for number in range(FIRST_VERSION, int(float(self.api_version)) + 1)]

    def kept_jobs(self) -> list[Job]:
        """Return the query jobs that are not yet too old."""
        oldest = self.clock.now() - RESULTS_KEPT
        with self.lock:
            self.jobs = {key: job for key, job in self.jobs.items() if job.created >= oldest}
            return list(self.jobs.values())

    def find_job(self, key: str) -> Job | None:
        """Return a query job, unless it was deleted or is too old."""
        return next((job for job in self.kept_jobs() if job.id == key), None)

    def find_cursor(self, key: str) -> Cursor | None:
        """Return an open query, unless it is too old."""
        with self.lock:
            cursor = self.cursors.get(key)
        return None if cursor is None or cursor.opened < self.clock.now() - CURSORS_KEPT else cursor

    def keep_cursor(self, key: str, cursor: Cursor) -> None:
        """Keep an open query for its next pages; the oldest goes when there are too many."""
        with self.lock:
            self.cursors[key] = cursor
            gone = self.cursors.pop(next(iter(self.cursors))) if len(self.cursors) > _MOST_CURSORS else None
        if gone is not None:
            gone.result.discard()

    def forget_results(self) -> None:
        """Drop results that no job needs and no equal query will ask for again."""
        with self.lock:
            used = {id(job.pending) for job in self.jobs.values()}
            for key, pending in list(self.results.items()):
                outdated = key[4] != self.store.version or len(self.results) > _MOST_RESULTS
                if outdated and id(pending) not in used:
                    del self.results[key]
                    pending.add_done_callback(_discard)

    def note(self, request: Request) -> None:
        """Remember a request that was served, without what no platform reads of it."""
        size = (
            len(request.path) + len(request.query) + sum(len(each) for item in request.headers.items() for each in item)
        )
        if size > 2 * _LONGEST_NOTED:
            path, query = request.path[:_LONGEST_NOTED], request.query[:_LONGEST_NOTED]
            request = replace(request, path=path, query=query, headers={})
        with self.lock:
            self.requests_served += 1
            self.requests.append(request)
            del self.requests[:-_MOST_REQUESTS]

    def note_error(self, error: Exception) -> int:
        """Remember a mistake of the simulator's own, and return its number."""
        with self.lock:
            if len(self.internal_errors) < _MOST_ERRORS:
                self.internal_errors.append(error)
            return len(self.internal_errors)


def _discard(done: Future[CsvResult]) -> None:
    if not done.cancelled() and done.exception() is None:
        done.result().discard()
