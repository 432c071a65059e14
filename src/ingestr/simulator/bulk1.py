"""Knows Bulk API 1.0 queries, for clients that are older than Bulk 2.0; must not know how bytes are sent.

A job holds batches, a batch is one SOQL text, and its result is one CSV file or one JSON array.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ingestr.simulator.errors import ApiError
from ingestr.simulator.rest import wire_time
from ingestr.simulator.results import CsvResult, JsonResult
from ingestr.simulator.soql.translator import compounds
from ingestr.simulator.state import OrgState
from ingestr.simulator.wire import Answer, Call

_NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"
_FAR = 2**40


@dataclass(slots=True)
class Batch:
    """One query of a job; `result` is its bytes when it went well."""

    id: str
    state: str
    message: str | None
    rows: int
    result: bytes


@dataclass(slots=True)
class ClassicJob:
    """One Bulk 1.0 job."""

    id: str
    operation: str
    object_name: str
    content_type: str
    version: str
    created: str
    state: str = "Open"
    batches: dict[str, Batch] = field(default_factory=dict)


def require_session(org: OrgState, call: Call) -> None:
    """Let a call pass whose X-SFDC-Session lives.

    Raises:
        ApiError: InvalidSessionId; here an expired session is 400.
    """
    if not org.sessions.known(call.headers.get("x-sfdc-session", "")):
        raise ApiError(400, "InvalidSessionId", "Invalid session id")
    if not org.count_call():
        raise ApiError(400, "ExceededQuota", "ApiRequests Limit exceeded.")


def serve(org: OrgState, call: Call) -> Answer:
    """Answer any Bulk 1.0 call; its errors have a form of their own."""
    as_json = _wants_json(org, call)
    try:
        if call.parts["version"] not in org.versions():
            raise ApiError(400, "InvalidVersion", f"Api version {call.parts['version']} is not served")
        require_session(org, call)
        return _route(org, call, as_json=as_json)
    except ApiError as error:
        # The SOQL error of REST is wrapped in one of Bulk's own.
        known = error.code[:1].isupper() and "_" not in error.code and not error.code.isupper()
        code = error.code if known else "InvalidBatch"
        return _answer(
            "error", {"exceptionCode": code, "exceptionMessage": error.message}, error.status, as_json=as_json
        )


def _wants_json(org: OrgState, call: Call) -> bool:
    job = org.classic_jobs.get(call.parts.get("job", ""))
    if "json" in call.headers.get("content-type", "") or "json" in call.headers.get("accept", ""):
        return True
    return job is not None and job.content_type == "JSON"


def _route(org: OrgState, call: Call, *, as_json: bool) -> Answer:
    parts = call.parts
    if "job" not in parts:
        return _create(org, call, as_json=as_json)
    job = org.classic_jobs.get(parts["job"])
    if job is None:
        raise ApiError(400, "InvalidJob", f"Unable to find job {parts['job']}")
    if "batch" in parts:
        batch = job.batches.get(parts["batch"])
        if batch is None:
            raise ApiError(400, "InvalidBatch", f"Unable to find batch {parts['batch']}")
        if "result" in parts:
            kind = "text/csv; charset=UTF-8" if job.content_type == "CSV" else "application/json; charset=UTF-8"
            return Answer(body=batch.result, content_type=kind)
        if call.path.endswith("/result"):
            return _result_list(batch, as_json=as_json)
        return _answer("batchInfo", _batch_info(org, job, batch), as_json=as_json)
    if call.path.endswith("/batch"):
        if call.method == "POST":
            return _add_batch(org, call, job, as_json=as_json)
        infos = [_batch_info(org, job, each) for each in job.batches.values()]
        return _listed("batchInfoList", "batchInfo", infos, as_json=as_json)
    if call.method == "POST":
        job.state = _given(call).get("state", job.state)
    return _answer("jobInfo", _job_info(org, job), as_json=as_json)


def _given(call: Call) -> Mapping[str, str]:
    if call.body.lstrip().startswith(b"<"):
        tree = ElementTree.fromstring(call.body)  # noqa: S314 — what a test server is sent on loopback
        return {each.tag.rpartition("}")[2]: each.text or "" for each in tree}
    return call.json()


def _create(org: OrgState, call: Call, *, as_json: bool) -> Answer:
    given = _given(call)
    owner = org.store.find(str(given.get("object", "")))
    if given.get("operation") not in {"query", "queryAll"}:
        raise ApiError(400, "InvalidJob", f"Operation not supported here: {given.get('operation')}")
    if owner is None or owner.name in org.bulk_refuses:
        raise ApiError(400, "InvalidJob", f"Entity '{given.get('object')}' is not supported by the Bulk API.")
    kind = str(given.get("contentType", "XML"))
    if kind not in {"CSV", "JSON"}:
        raise ApiError(400, "InvalidJob", f"contentType {kind} is not served here: CSV and JSON are")
    created = wire_time(org.clock.now())
    job = ClassicJob(org.new_id("750"), str(given["operation"]), owner.name, kind, call.parts["version"], created)
    org.classic_jobs[job.id] = job
    return _answer("jobInfo", _job_info(org, job), 201, as_json=as_json)


def _add_batch(org: OrgState, call: Call, job: ClassicJob, *, as_json: bool) -> Answer:
    if job.state != "Open":
        raise ApiError(400, "InvalidJobState", f"Job is {job.state}: no batch can be added")
    batch = Batch(org.new_id("751"), "Completed", None, 0, b"")
    try:
        batch.result, batch.rows = _run(org, job, call.body.decode())
    except ApiError as error:
        batch.state, batch.message = "Failed", f"InvalidBatch : Failed to process query: {error.code}: {error.message}"
    job.batches[batch.id] = batch
    return _answer("batchInfo", {**_batch_info(org, job, batch), "state": "Queued"}, 201, as_json=as_json)


def _run(org: OrgState, job: ClassicJob, soql: str) -> tuple[bytes, int]:
    plan = org.translator().plan(soql, everything=job.operation == "queryAll")
    if compounds(plan):
        raise ApiError(400, "FUNCTIONALITY_NOT_ENABLED", "Selecting compound data not supported in Bulk Query")
    if any(each.kind == "base64" for each in plan.columns):
        raise ApiError(400, "FeatureNotEnabled", "Binary field not supported")
    if plan.aggregate or plan.count_only or plan.children:
        raise ApiError(400, "FUNCTIONALITY_NOT_ENABLED", "Aggregate Relationships not supported in Bulk Query")
    if job.content_type == "CSV":
        made = CsvResult(org.store, plan, ",", "\n")
        packed, rows = made.page(0, _FAR)
        made.discard()
        return Answer(packed=packed).plain(), rows
    result = JsonResult(org.store, plan, f"/services/data/v{job.version}", epoch_times=True)
    records = result.records(0, _FAR)
    result.discard()
    return ("[" + ",".join(records) + "]").encode(), len(records)


def _job_info(org: OrgState, job: ClassicJob) -> dict[str, Any]:
    done = [batch for batch in job.batches.values() if batch.state == "Completed"]
    failed = len(job.batches) - len(done)
    return {
        "id": job.id,
        "operation": job.operation,
        "object": job.object_name,
        "createdById": org.user_id,
        "createdDate": job.created,
        "systemModstamp": wire_time(org.clock.now()),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": job.content_type,
        "numberBatchesQueued": 0,
        "numberBatchesInProgress": 0,
        "numberBatchesCompleted": len(done),
        "numberBatchesFailed": failed,
        "numberBatchesTotal": len(job.batches),
        "numberRecordsProcessed": sum(batch.rows for batch in done),
        "numberRetries": 0,
        "apiVersion": float(job.version),
        "numberRecordsFailed": 0,
        "totalProcessingTime": 0,
        "apiActiveProcessingTime": 0,
        "apexProcessingTime": 0,
    }


def _batch_info(org: OrgState, job: ClassicJob, batch: Batch) -> dict[str, Any]:
    info: dict[str, Any] = {"id": batch.id, "jobId": job.id, "state": batch.state}
    if batch.message is not None:
        info["stateMessage"] = batch.message
    return {
        **info,
        "createdDate": job.created,
        "systemModstamp": wire_time(org.clock.now()),
        "numberRecordsProcessed": batch.rows,
        "numberRecordsFailed": 0,
        "totalProcessingTime": 0,
        "apiActiveProcessingTime": 0,
        "apexProcessingTime": 0,
    }


def _result_list(batch: Batch, *, as_json: bool) -> Answer:
    ids = ["752" + batch.id[3:]] if batch.state == "Completed" else []
    if as_json:
        return Answer(body=json.dumps(ids).encode(), content_type="application/json; charset=UTF-8")
    items = "".join(f"<result>{each}</result>" for each in ids)
    return _xml(f'<result-list xmlns="{_NAMESPACE}">{items}</result-list>')


def _answer(root: str, body: dict[str, Any], status: int = 200, *, as_json: bool) -> Answer:
    if as_json:
        return Answer(status, json.dumps(body).encode(), "application/json; charset=UTF-8")
    return _xml(f'<{root} xmlns="{_NAMESPACE}">{_members(body)}</{root}>', status)


def _listed(root: str, item: str, bodies: list[dict[str, Any]], *, as_json: bool) -> Answer:
    if as_json:
        return Answer(body=json.dumps({item: bodies}).encode(), content_type="application/json; charset=UTF-8")
    items = "".join(f"<{item}>{_members(body)}</{item}>" for body in bodies)
    return _xml(f'<{root} xmlns="{_NAMESPACE}">{items}</{root}>')


def _members(body: dict[str, Any]) -> str:
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in body.items())


def _xml(text: str, status: int = 200) -> Answer:
    declared = '<?xml version="1.0" encoding="UTF-8"?>' + text
    return Answer(status, declared.encode(), "application/xml; charset=UTF-8")
