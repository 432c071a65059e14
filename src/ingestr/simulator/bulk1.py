"""Knows Bulk API 1.0 queries, for clients that are older than Bulk 2.0; must not know how bytes are sent.

A job holds batches, a batch is one SOQL text, and its result is one CSV file or one JSON array. With PK chunking the
batch of the client is not processed, and others appear, one for each range of Ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ingestr.simulator import pk_chunks
from ingestr.simulator.errors import ApiError
from ingestr.simulator.pk_chunks import Chunking
from ingestr.simulator.rest import wire_time
from ingestr.simulator.results import CsvResult, JsonResult
from ingestr.simulator.soql.translator import Plan, compounds
from ingestr.simulator.state import RESULTS_KEPT, OrgState
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
    created: datetime
    chunking: Chunking | None = None
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
        code = error.code if _is_own(error) else "InvalidBatch"
        return _answer(
            "error", {"exceptionCode": code, "exceptionMessage": error.message}, error.status, as_json=as_json
        )


def _is_own(error: ApiError) -> bool:
    """Whether an error's code is of Bulk 1.0, which writes them otherwise than REST."""
    return error.code[:1].isupper() and "_" not in error.code and not error.code.isupper()


def _find(org: OrgState, call: Call) -> ClassicJob | None:
    job = org.classic_jobs.get(call.parts.get("job", ""))
    return None if job is None or job.created < org.clock.now() - RESULTS_KEPT else job


def _wants_json(org: OrgState, call: Call) -> bool:
    job = _find(org, call)
    if "json" in call.headers.get("content-type", "") or "json" in call.headers.get("accept", ""):
        return True
    return job is not None and job.content_type == "JSON"


def _route(org: OrgState, call: Call, *, as_json: bool) -> Answer:
    parts = call.parts
    if "job" not in parts:
        return _create(org, call, as_json=as_json)
    job = _find(org, call)
    if job is None:
        raise ApiError(400, "InvalidJob", f"Unable to find job {parts['job']}")
    if "batch" in parts:
        return _of_batch(org, call, job, as_json=as_json)
    if call.path.endswith("/batch"):
        if call.method == "POST":
            return _add_batch(org, call, job, as_json=as_json)
        infos = [_batch_info(org, job, each) for each in job.batches.values()]
        return _listed("batchInfoList", "batchInfo", infos, as_json=as_json)
    if call.method == "POST":
        state = _given(call).get("state")
        if state not in {"Closed", "Aborted"}:
            raise ApiError(400, "InvalidJobState", f"A job cannot be made {state}")
        job.state = state
    return _answer("jobInfo", _job_info(org, job), as_json=as_json)


def _of_batch(org: OrgState, call: Call, job: ClassicJob, *, as_json: bool) -> Answer:
    """Answer a call on one batch: its state, the list of its results, a result."""
    parts = call.parts
    batch = job.batches.get(parts["batch"])
    if batch is None:
        raise ApiError(400, "InvalidBatch", f"Unable to find batch {parts['batch']}")
    if "result" in parts:
        if parts["result"] not in _results(batch):
            raise ApiError(400, "InvalidBatch", f"Unable to find result {parts['result']}")
        kind = "text/csv; charset=UTF-8" if job.content_type == "CSV" else "application/json; charset=UTF-8"
        return Answer(body=batch.result, content_type=kind)
    if call.path.endswith("/result"):
        return _result_list(batch, as_json=as_json)
    return _answer("batchInfo", _batch_info(org, job, batch), as_json=as_json)


def _given(call: Call) -> Mapping[str, str]:
    if call.body.lstrip().startswith(b"<"):
        try:
            tree = ElementTree.fromstring(call.body)  # noqa: S314 — what a test server is sent on loopback
        except ElementTree.ParseError as error:
            raise ApiError(400, "InvalidXML", f"Unable to parse the request: {error}") from None
        return {each.tag.rpartition("}")[2]: each.text or "" for each in tree}
    try:
        return call.json()
    except ApiError as error:
        raise ApiError(400, "ClientInputError", error.message) from None


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
    chunking = pk_chunks.read_header(call.headers.get("sforce-enable-pkchunking"), owner, org.store)
    job = ClassicJob(
        id=org.new_id("750"),
        operation=str(given["operation"]),
        object_name=owner.name,
        content_type=kind,
        version=call.parts["version"],
        created=org.clock.now(),
        chunking=chunking,
    )
    org.classic_jobs[job.id] = job
    return _answer("jobInfo", _job_info(org, job), 201, as_json=as_json)


def _add_batch(org: OrgState, call: Call, job: ClassicJob, *, as_json: bool) -> Answer:
    if job.state != "Open":
        raise ApiError(400, "InvalidJobState", f"Job is {job.state}: no batch can be added")
    soql, batch = call.body.decode("utf-8", "replace"), Batch(org.new_id("751"), "Completed", None, 0, b"")
    job.batches[batch.id] = batch
    try:
        if job.chunking is None:
            batch.result, batch.rows = _run(org, job, soql, None)
        else:
            _plan(org, job, soql, None)
            batch.state = "NotProcessed"
            for condition in pk_chunks.conditions(job.chunking, org.store):
                result, rows = _run(org, job, soql, condition)
                chunk = Batch(org.new_id("751"), "Completed", None, rows, result)
                job.batches[chunk.id] = chunk
    except ApiError as error:
        of_query = f"InvalidBatch : Failed to process query: {error.code}: {error.message}"
        batch.state = "Failed"
        batch.message = f"{error.code} : {error.message}" if _is_own(error) else of_query
    return _answer("batchInfo", {**_batch_info(org, job, batch), "state": "Queued"}, 201, as_json=as_json)


def _plan(org: OrgState, job: ClassicJob, soql: str, condition: str | None) -> Plan:
    """Return the plan of a batch.

    Raises:
        ApiError: the query is wrong, or Bulk 1.0 cannot do it.
    """
    plan = org.translator().plan(soql, everything=job.operation == "queryAll", extra=condition)
    if job.chunking is not None:
        pk_chunks.check(plan.select)
    if plan.fields_function or plan.typeof or plan.select.offset is not None:
        raise ApiError(400, "FUNCTIONALITY_NOT_ENABLED", "FIELDS(), TYPEOF and OFFSET not supported in Bulk Query")
    if compounds(plan):
        raise ApiError(400, "FUNCTIONALITY_NOT_ENABLED", "Selecting compound data not supported in Bulk Query")
    if any(each.kind == "base64" for each in plan.columns):
        raise ApiError(400, "FeatureNotEnabled", "Binary field not supported")
    if plan.aggregate or plan.count_only or plan.children:
        raise ApiError(400, "FUNCTIONALITY_NOT_ENABLED", "Aggregate Relationships not supported in Bulk Query")
    return plan


def _run(org: OrgState, job: ClassicJob, soql: str, condition: str | None) -> tuple[bytes, int]:
    plan = _plan(org, job, soql, condition)
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
    failed = sum(batch.state == "Failed" for batch in job.batches.values())
    return {
        "id": job.id,
        "operation": job.operation,
        "object": job.object_name,
        "createdById": org.user_id,
        "createdDate": wire_time(job.created),
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
        "createdDate": wire_time(job.created),
        "systemModstamp": wire_time(org.clock.now()),
        "numberRecordsProcessed": batch.rows,
        "numberRecordsFailed": 0,
        "totalProcessingTime": 0,
        "apiActiveProcessingTime": 0,
        "apexProcessingTime": 0,
    }


def _results(batch: Batch) -> list[str]:
    return ["752" + batch.id[3:]] if batch.state == "Completed" else []


def _result_list(batch: Batch, *, as_json: bool) -> Answer:
    ids = _results(batch)
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
