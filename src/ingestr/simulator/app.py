"""Knows the addresses of the org and how answers are sent over ASGI; must not know what is answered."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from ingestr.simulator import bulk, bulk1, composite, control, login, replication, rest
from ingestr.simulator.gate import Gate, Handler, Resource, Sending
from ingestr.simulator.state import OrgState
from ingestr.simulator.wire import JSON, Answer, Call

_PIECE = 256 * 1024
# On a slow connection pieces are small enough to flow.
_PIECES_A_SECOND = 20
_LARGEST_BODY = 16 * 1024 * 1024
# Threads that serve the platform and those that serve the control interface, which answers whatever the others do.
_THREADS, _CONTROL_THREADS = 40, 4
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_DATA = "/services/data/v{version}"


def _control(**handlers: Handler) -> Resource:
    return Resource(handlers, session=False, platform=False)


def _bulk(since: int, **handlers: Handler) -> Resource:
    return Resource(handlers, since=since)


_CLASSIC = Resource({"GET": bulk1.serve, "POST": bulk1.serve}, session=False)
_CLASSIC_PATHS = (
    "job",
    "job/{job}",
    "job/{job}/batch",
    "job/{job}/batch/{batch}",
    "job/{job}/batch/{batch}/result",
    "job/{job}/batch/{batch}/result/{result}",
)
RESOURCES: dict[str, Resource] = {
    "/services/oauth2/token": Resource({"POST": login.token, "GET": login.token}, session=False),
    "/services/oauth2/revoke": Resource({"POST": login.revoke, "GET": login.revoke}, session=False),
    "/services/oauth2/userinfo": Resource({"GET": login.userinfo, "POST": login.userinfo}, session=False),
    "/id/{org}/{user}": Resource({"GET": login.identity}),
    "/services/Soap/u/{version}": Resource({"POST": login.soap}, session=False),
    "/services/Soap/u/{version}/{org}": Resource({"POST": login.soap}, session=False),
    "/services/data": Resource({"GET": rest.versions}, session=False),
    _DATA: Resource({"GET": rest.resources}),
    f"{_DATA}/limits": Resource({"GET": rest.limits}),
    f"{_DATA}/limits/recordCount": Resource({"GET": rest.record_count}, since=40),
    f"{_DATA}/sobjects": Resource({"GET": rest.sobjects}),
    f"{_DATA}/sobjects/{{name}}": Resource({"GET": rest.sobject}),
    f"{_DATA}/sobjects/{{name}}/describe": Resource({"GET": rest.describe}),
    f"{_DATA}/sobjects/{{name}}/updated": Resource({"GET": replication.updated}),
    f"{_DATA}/sobjects/{{name}}/deleted": Resource({"GET": replication.deleted}),
    f"{_DATA}/sobjects/{{name}}/{{id}}": Resource({"GET": rest.row}),
    f"{_DATA}/sobjects/{{name}}/{{id}}/{{field}}": Resource({"GET": rest.blob}),
    f"{_DATA}/query": Resource({"GET": rest.query}),
    f"{_DATA}/queryAll": Resource({"GET": rest.query_all}),
    f"{_DATA}/query/{{locator}}": Resource({"GET": rest.query_more}),
    f"{_DATA}/queryAll/{{locator}}": Resource({"GET": rest.query_more}),
    f"{_DATA}/jobs/query": _bulk(47, GET=bulk.listed, POST=bulk.create),
    f"{_DATA}/jobs/query/{{job}}": _bulk(47, GET=bulk.poll, PATCH=bulk.change, DELETE=bulk.delete),
    f"{_DATA}/jobs/query/{{job}}/results": _bulk(47, GET=bulk.results),
    f"{_DATA}/jobs/query/{{job}}/resultPages": _bulk(58, GET=bulk.result_pages),
    f"{_DATA}/jobs/query/{{job}}/resultpages": _bulk(58, GET=bulk.result_pages),
    f"{_DATA}/composite": Resource({"POST": composite.composite}),
    f"{_DATA}/composite/batch": Resource({"POST": composite.batch}),
    **{f"/services/async/{{version}}/{path}": _CLASSIC for path in _CLASSIC_PATHS},
    "/__control__": _control(GET=control.status),
    "/__control__/faults": _control(GET=control.faults, POST=control.faults, DELETE=control.faults),
    "/__control__/requests": _control(GET=control.requests, DELETE=control.requests),
    "/__control__/{operation}": _control(POST=control.operate),
}


def make_app(org: OrgState) -> ASGIApp:
    """Return the ASGI application that is the org."""
    gate = Gate(org)
    platform, controls = CapacityLimiter(_THREADS), CapacityLimiter(_CONTROL_THREADS)

    def route(path: str, resource: Resource | None) -> Route:
        threads = platform if resource is None or resource.platform else controls
        return Route(path, _endpoint(org, gate, resource, threads), methods=_METHODS)

    routes = [*(route(path, resource) for path, resource in RESOURCES.items()), route("/{rest:path}", None)]
    inner = Starlette(routes=routes)
    inner.router.redirect_slashes = False

    def dispatch(call: Call) -> Answer:
        for pattern, resource in patterns:
            found = pattern.match(call.path.rstrip("/"))
            if found is not None:
                return gate.answer(replace(call, parts=found.groupdict()), resource)
        return gate.answer(call, None)

    patterns = [(compile_path(path)[0], resource) for path, resource in RESOURCES.items()]
    org.dispatch = dispatch

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1:
            # The platform does not mind a slash at the end.
            scope["path"] = scope["path"].rstrip("/") or "/"
        await inner(scope, receive, send)

    return application


class _Response:
    """Sends what the gate said, at most so many bytes of the body a second, or cuts the connection instead."""

    def __init__(self, sending: Sending, patience: float, bytes_per_second: float = 0) -> None:
        self._sending = sending
        self._patience = patience
        self._rate = bytes_per_second

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        sending, transport = self._sending, scope.get("state", {}).get("transport")
        if sending.dropped:
            await _close(transport)
            return
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sending.headers]
        await send({"type": "http.response.start", "status": sending.status, "headers": headers})
        try:
            if sending.status not in {204, 304} and scope["method"] != "HEAD":
                await self._send_body(send)
            if sending.cut:
                await _close(transport)
                return
            await self._send_piece(send, b"", more=False)
        except TimeoutError:
            if transport is not None:
                transport.abort()

    async def _send_body(self, send: Send) -> None:
        body, rate, loop = self._sending.body, self._rate, asyncio.get_running_loop()
        piece = min(_PIECE, max(1, int(rate / _PIECES_A_SECOND))) if rate > 0 else _PIECE
        began = loop.time()
        for start in range(0, len(body), piece):
            await self._send_piece(send, body[start : start + piece], more=True)
            if rate > 0:
                # Reckoned from the beginning, so that sleeps which end late do not add up.
                await asyncio.sleep(began + min(start + piece, len(body)) / rate - loop.time())

    async def _send_piece(self, send: Send, piece: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._patience):
            await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _close(transport: Any) -> None:
    """Close the connection with what was sent so far, and wait until the server has noticed."""
    if transport is None:
        return
    transport.close()
    for _ in range(1_000):
        if transport.get_extra_info("socket") is None or transport.get_extra_info("socket").fileno() < 0:
            return
        await asyncio.sleep(0.001)


class _BodyError(Exception):
    """A body that is too large or too slow, as a status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _read_body(request: HttpRequest, patience: float) -> bytes:
    """Return the whole body.

    Raises:
        _BodyError: there is too much of it, or it does not end in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(patience):
            async for piece in request.stream():
                body += piece
                if len(body) > _LARGEST_BODY:
                    raise _BodyError(413, f"The body is larger than {_LARGEST_BODY} bytes")
    except TimeoutError:
        raise _BodyError(408, f"The body did not come within {patience:g} seconds") from None
    return bytes(body)


def _refused(error: _BodyError) -> Sending:
    """Return an answer after which the connection ends, since the rest of the body is not read."""
    body = json.dumps([{"errorCode": "BAD_REQUEST", "message": str(error)}]).encode()
    return Sending(error.status, [("Content-Type", JSON), ("Connection", "close")], body)


def _endpoint(org: OrgState, gate: Gate, resource: Resource | None, threads: CapacityLimiter) -> Any:
    platform = resource is None or resource.platform

    async def endpoint(request: HttpRequest) -> _Response:
        scope = request.scope
        query = scope["query_string"].decode("latin-1")
        raw = scope.get("raw_path") or scope["path"].encode()
        try:
            body = await _read_body(request, org.patience.body)
        except _BodyError as error:
            return _Response(_refused(error), org.patience.answer)
        except ClientDisconnect:
            return _Response(Sending(0, [], b"", dropped=True), org.patience.answer)
        size = len(raw) + len(query) + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        call = Call(
            method="GET" if request.method == "HEAD" else request.method,
            path=scope["path"],
            query=query,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            parts={key: str(value) for key, value in request.path_params.items()},
            size=size,
        )
        if platform and org.latency > 0:
            await asyncio.sleep(org.latency)
        fault = await to_thread.run_sync(gate.begin, call, resource, limiter=threads)
        if fault is not None and fault.delay:
            # Not in a thread: however many requests wait, there is one for the next.
            await asyncio.sleep(fault.delay)
        sending = await to_thread.run_sync(gate.serve, call, resource, fault, limiter=threads)
        return _Response(sending, org.patience.answer, org.bytes_per_second if platform else 0)

    return endpoint
