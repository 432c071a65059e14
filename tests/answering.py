"""A Salesforce that is a function: what the client makes of answers that no server of ours would give."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.logins.config import SalesforceConfig
from support import FastClock

Headers = dict[str, str] | list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Said:
    """An answer as it is on the wire: its body in one piece or in several."""

    status: int = 200
    headers: Headers = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""

    @classmethod
    def as_json(cls, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> "Said":
        """An answer in JSON."""
        return cls(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


class _Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def served(
    answer: Callable[[httpx.Request], Said], config: SalesforceConfig, clock: FastClock | None = None
) -> SalesforceClient:
    """A client of a server that is a function."""

    def handle(request: httpx.Request) -> httpx.Response:
        said = answer(request)
        stream = httpx.ByteStream(said.body) if isinstance(said.body, bytes) else _Pieces(said.body)
        return httpx.Response(said.status, headers=said.headers, stream=stream)

    def connect() -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(handle), trust_env=False)

    return SalesforceClient(config, clock or FastClock(), connect=connect)
