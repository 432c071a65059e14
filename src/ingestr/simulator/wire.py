"""Knows a request and an answer as values; must not know what is asked or how bytes are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from isal import igzip

from ingestr.simulator.errors import ApiError

JSON = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was served, for assertions; `headers` have lower-case names."""

    method: str
    path: str
    query: str
    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to be served."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    parts: Mapping[str, str]
    size: int

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query string."""
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return values[-1] if values else None

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            ApiError: it is not one.
        """
        try:
            parsed = json.loads(self.body or b"{}")
        except ValueError as error:
            raise ApiError(400, "JSON_PARSER_ERROR", f"Unexpected character: {error}") from None
        except RecursionError:
            raise ApiError(400, "JSON_PARSER_ERROR", "The document is nested too deeply") from None
        if not isinstance(parsed, dict):
            raise ApiError(400, "JSON_PARSER_ERROR", "Expected an object")
        return parsed

    @property
    def target(self) -> str:
        """Path and query string."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(slots=True)
class Answer:
    """What goes back: `packed` is the body already compressed with gzip, if it was at hand."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = JSON
    headers: dict[str, str] = field(default_factory=dict)
    packed: bytes | None = None

    def plain(self) -> bytes:
        """Return the body uncompressed."""
        return self.body if self.packed is None else igzip.decompress(self.packed)

    def compressed(self) -> bytes:
        """Return the body compressed."""
        return igzip.compress(self.body, 1) if self.packed is None else self.packed


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that is JSON."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # Lone surrogates, which JSON that came in may have held, have no bytes.
    return Answer(status, text.encode("utf-8", "replace"), JSON, dict(headers or {}))


def error_answer(error: ApiError) -> Answer:
    """Return the platform's form of an error."""
    entry: dict[str, Any] = {"message": error.message, "errorCode": error.code}
    if error.fields is not None:
        entry["fields"] = error.fields
    return json_answer([entry], error.status)
