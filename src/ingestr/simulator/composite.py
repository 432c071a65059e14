"""Knows the composite resources: several calls in one, each with an answer of its own; must not know what is called."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ingestr.simulator.errors import ApiError
from ingestr.simulator.state import OrgState
from ingestr.simulator.wire import JSON, Answer, Call, json_answer

_MOST_BATCHED, _MOST_COMPOSED = 25, 25


def batch(org: OrgState, call: Call) -> Answer:
    """Answer `POST …/composite/batch`: calls that know nothing of each other."""
    wanted = _requests(call, "batchRequests")
    if len(wanted) > _MOST_BATCHED:
        raise ApiError(400, "INVALID_BATCH_SIZE", f"The maximum number of subrequests is {_MOST_BATCHED}")
    halt = bool(call.json().get("haltOnError"))
    results: list[dict[str, Any]] = []
    for each in wanted:
        if halt and any(result["statusCode"] >= 400 for result in results):
            halted = {"errorCode": "BATCH_PROCESSING_HALTED", "message": "Batch processing halted by request"}
            results.append({"statusCode": 412, "result": [halted]})
            continue
        answer = _inner(org, call, each.get("method", "GET"), "/services/data/" + str(each.get("url", "")).lstrip("/"))
        results.append({"statusCode": answer.status, "result": _body(answer)})
    return json_answer({"hasErrors": any(result["statusCode"] >= 400 for result in results), "results": results})


def composite(org: OrgState, call: Call) -> Answer:
    """Answer `POST …/composite`: calls with names; references between them are not followed."""
    wanted = _requests(call, "compositeRequest")
    if len(wanted) > _MOST_COMPOSED:
        raise ApiError(400, "INVALID_INPUT", f"The maximum number of subrequests is {_MOST_COMPOSED}")
    answers = []
    for each in wanted:
        answer = _inner(org, call, each.get("method", "GET"), str(each.get("url", "")))
        headers = {name: value for name, value in answer.headers.items() if name in {"ETag", "Last-Modified"}}
        shown = {"body": _body(answer), "httpHeaders": headers, "httpStatusCode": answer.status}
        answers.append({**shown, "referenceId": each.get("referenceId")})
    return json_answer({"compositeResponse": answers})


def _requests(call: Call, name: str) -> list[dict[str, Any]]:
    """Return the calls inside a call.

    Raises:
        ApiError: there is no list of them.
    """
    wanted = call.json().get(name)
    if not isinstance(wanted, list) or not all(isinstance(each, dict) for each in wanted):
        raise ApiError(400, "JSON_PARSER_ERROR", f"{name} is a list of objects")
    return wanted


def _inner(org: OrgState, call: Call, method: str, url: str) -> Answer:
    split = urlsplit(url)
    inner = replace(call, method=method, path=split.path, query=split.query, body=b"", parts={}, size=len(url))
    return org.dispatch(inner)


def _body(answer: Answer) -> Any:
    text = answer.plain()
    return json.loads(text) if text and answer.content_type == JSON else text.decode("utf-8", "replace") or None
