"""Knows what every request goes through on its way in and out: size, faults, session, counting, headers.

Must not know what any one resource answers, nor how bytes are sent.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import format_datetime

from isal import igzip

from ingestr.simulator.errors import ApiError
from ingestr.simulator.faults import Fault
from ingestr.simulator.login import require_session
from ingestr.simulator.state import FIRST_VERSION, OrgState
from ingestr.simulator.wire import JSON, Answer, Call, Request, error_answer, json_answer

_log = logging.getLogger(__name__)
Handler = Callable[[OrgState, Call], Answer]
LONGEST_REQUEST = 16_384
_OLDEST_KNOWN = 7


@dataclass(frozen=True, slots=True)
class Resource:
    """What answers at an address: a handler for each method.

    `session` says whether one is needed, `platform` whether Salesforce has such an address at all, `since` in which
    version it came.
    """

    handlers: dict[str, Handler]
    session: bool = True
    platform: bool = True
    since: int = FIRST_VERSION


@dataclass(slots=True)
class Sending:
    """An answer as it goes over the wire: pieces of body, and whether the connection is cut after them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut: bool = False
    dropped: bool = False


class Gate:
    """Serves one org's calls."""

    def __init__(self, org: OrgState) -> None:
        self._org = org

    def begin(self, call: Call, resource: Resource | None) -> Fault | None:
        """Return the fault that hits a call, having done what it does when the call comes in; no delay is waited."""
        if resource is not None and not resource.platform:
            return None
        org = self._org
        fault = org.faults.take(call.method, call.target)
        if fault is not None:
            if fault.expire_sessions:
                org.sessions.expire()
            if fault.vanish:
                with org.lock:
                    org.jobs.pop(call.parts.get("job", ""), None)
        return fault

    def serve(self, call: Call, resource: Resource | None, fault: Fault | None) -> Sending:
        """Return what to send for a call that was begun, and is hit by a fault or none."""
        if resource is not None and not resource.platform:
            return self._sending(call, resource, self._answer(call, resource), None)
        if fault is not None and fault.drop and not fault.served:
            self._note(call, 0)
            return Sending(0, [], b"", dropped=True)
        skipped = fault is not None and fault.replaces and not fault.served
        answer = Answer() if skipped else self._answer(call, resource)
        if fault is not None:
            answer = _spoiled(answer, fault)
        self._note(call, 0 if fault is not None and fault.drop else answer.status)
        if fault is not None and fault.drop:
            return Sending(0, [], b"", dropped=True)
        return self._sending(call, resource, answer, fault)

    def answer(self, call: Call, resource: Resource | None) -> Answer:
        """Return the answer to a call inside another, which has a session and is not counted again."""
        try:
            handler = None if resource is None or not resource.session else resource.handlers.get(call.method)
            if handler is None:
                raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
            _check_size(call)
            self._check_version(call.parts.get("version", ""), resource)
            return handler(self._org, call)
        except ApiError as error:
            return error_answer(error)

    def _note(self, call: Call, status: int) -> None:
        self._org.note(Request(call.method, call.path, call.query, status, call.headers))

    def _answer(self, call: Call, resource: Resource | None) -> Answer:
        try:
            if resource is None or resource.platform:
                _check_size(call)
            else:
                _check_is_json(call)
            version = call.parts.get("version")
            if version is not None and resource is not None and resource.session:
                self._check_version(version, resource)
            if resource is None:
                if call.path.startswith("/services/data/"):
                    require_session(self._org, call)
                raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
            handler = resource.handlers.get(call.method)
            if resource.session:
                require_session(self._org, call)
            if handler is None:
                allowed = ", ".join(sorted(resource.handlers))
                raise ApiError(
                    405, "METHOD_NOT_ALLOWED", f"HTTP Method '{call.method}' not allowed. Allowed are {allowed}"
                )
            return handler(self._org, call)
        except ApiError as error:
            return error_answer(error)
        except Exception as error:
            # A mistake of ours must not look like a rule of the platform's: tests read `internal_errors`.
            _log.exception("%s %s", call.method, call.target)
            number = self._org.note_error(error)
            message = (
                f"An unexpected error occurred. Please include this ErrorId if you contact support: {number}-1 (1)"
            )
            return error_answer(ApiError(500, "UNKNOWN_EXCEPTION", message))

    def _check_version(self, version: str, resource: Resource | None) -> None:
        if version in self._org.versions() and (resource is None or float(version) >= resource.since):
            return
        whole, _, rest = version.partition(".")
        if rest == "0" and whole.isdigit() and _OLDEST_KNOWN <= int(whole) < FIRST_VERSION:
            raise ApiError(
                410, "GONE", f"The requested resource is no longer available: API version {version} is retired"
            )
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")

    def _sending(self, call: Call, resource: Resource | None, answer: Answer, fault: Fault | None) -> Sending:
        org = self._org
        headers = {"Date": format_datetime(org.clock.now(), usegmt=True), "Vary": "Accept-Encoding"}
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        if resource is None or resource.session:
            headers["Sforce-Limit-Info"] = f"api-usage={org.api_calls}/{org.api_limit}"
            if org.per_app_usage:
                headers["Sforce-Limit-Info"] += f"; per-app-api-usage={org.api_calls}/{org.api_limit}(appName=ingestr)"
        headers["Set-Cookie"] = "BrowserId=simulated; path=/; SameSite=Lax"
        headers = _merged(headers, answer.headers)
        has_body = answer.packed is not None or answer.body
        if has_body and "gzip" in call.headers.get("accept-encoding", ""):
            body = answer.compressed()
            headers["Content-Encoding"] = "gzip"
        else:
            body = answer.plain()
        sending = Sending(answer.status, list(headers.items()), body)
        if fault is not None:
            if fault.corrupt_gzip and "Content-Encoding" in headers:
                middle = len(body) // 2
                sending.body = body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]
            if fault.truncate is not None:
                sending.body = body[: fault.truncate]
                sending.cut = not fault.clean_cut
        return sending


def _check_size(call: Call) -> None:
    line = len(call.target)
    if line > LONGEST_REQUEST:
        raise ApiError(414, "URI_TOO_LONG", "URI Too Long")
    if call.size > LONGEST_REQUEST:
        raise ApiError(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", "Request Header Fields Too Large")


def _check_is_json(call: Call) -> None:
    """Refuse what a form of a web page can send: a browser asks the server first before it sends JSON for a page."""
    kind = call.headers.get("content-type", "" if not call.body else "nothing")
    if kind and kind.partition(";")[0].strip().lower() != "application/json":
        message = (
            f"The control interface reads application/json, and this is {kind}: say Content-Type: application/json"
        )
        raise ApiError(415, "CONTROL", message)


def _merged(headers: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return headers with others added or put in their place, whatever their case."""
    replaced = {name.lower() for name in others}
    return {**{name: value for name, value in headers.items() if name.lower() not in replaced}, **others}


def _spoiled(answer: Answer, fault: Fault) -> Answer:
    """Return the answer with the fault in it."""
    headers = _merged(answer.headers, fault.headers)
    if fault.replaces:
        status = answer.status if fault.status is None else fault.status
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body or b""
        kind = (
            "text/html; charset=UTF-8"
            if body.lstrip().startswith(b"<")
            else answer.content_type or "application/json;charset=UTF-8"
        )
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), kind)
        return Answer(
            status, body, kind, {name: value for name, value in headers.items() if name.lower() != "content-type"}
        )
    answer = replace(answer, headers=headers)
    if fault.record_count_delta and "Sforce-NumberOfRecords" in headers:
        headers["Sforce-NumberOfRecords"] = str(int(headers["Sforce-NumberOfRecords"]) + fault.record_count_delta)
    if fault.header_rename:
        answer = _renamed(answer, fault)
    if fault.json_patch and answer.content_type == JSON:
        shown = json.loads(answer.plain())
        # Errors and the list of versions are arrays, which have no members.
        if isinstance(shown, dict):
            answer = json_answer({**shown, **fault.json_patch}, answer.status, headers)
    return answer


def _renamed(answer: Answer, fault: Fault) -> Answer:
    """Return a CSV page whose header row calls columns otherwise."""
    header, ending, rows = answer.plain().partition(b"\n")
    text = header.decode()
    for name, other in fault.header_rename.items():
        text = re.sub(f'"{re.escape(name)}"', lambda _, other=other: f'"{other}"', text)  # type: ignore[misc]
    return replace(answer, packed=igzip.compress(text.encode() + ending + rows, 1))
