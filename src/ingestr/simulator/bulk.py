"""Knows the Bulk 2.0 query API's answers and refusals; must not know how bytes are sent."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from ingestr.simulator.errors import ApiError
from ingestr.simulator.faults import Fault
from ingestr.simulator.jobs import FINISHED, Job
from ingestr.simulator.numbers import whole
from ingestr.simulator.rest import base_path, decode_locator, encode_locator, wire_time
from ingestr.simulator.results import CsvResult
from ingestr.simulator.soql.translator import Plan, compounds
from ingestr.simulator.state import OrgState
from ingestr.simulator.strain import find_strain
from ingestr.simulator.wire import Answer, Call, json_answer

_DELIMITERS = {"BACKQUOTE": "`", "CARET": "^", "COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
_LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
_PAGES_AT_ONCE, _JOBS_AT_ONCE = 5, 1_000
# Before this version the columns come by name, since then as they were selected.
_FIRST_IN_ORDER = 50
_AGGREGATE = "Aggregate Relationships not supported in Bulk V2 Query with CSV content type"


def create(org: OrgState, call: Call) -> Answer:
    """Answer `POST …/jobs/query`."""
    body = call.json()
    operation, text = str(body.get("operation")), body.get("query")
    if operation not in {"query", "queryAll"}:
        raise ApiError(400, "API_ERROR", f"Invalid value for operation: {operation}")
    if not isinstance(text, str):
        raise ApiError(400, "API_ERROR", "No query specified")
    if body.get("contentType", "CSV") != "CSV":
        raise ApiError(400, "API_ERROR", "Invalid contentType: only CSV is supported")
    delimiter, ending = str(body.get("columnDelimiter", "COMMA")), str(body.get("lineEnding", "LF"))
    if delimiter not in _DELIMITERS or ending not in _LINE_ENDINGS:
        raise ApiError(400, "API_ERROR", "Invalid columnDelimiter or lineEnding")
    plan = _plan(org, text, everything=operation == "queryAll")
    _refuse(org, plan)
    if float(call.parts["version"]) < _FIRST_IN_ORDER:
        plan.columns.sort(key=lambda column: column.label.lower())
    _count_job(org)
    pending = _result(org, text, operation, plan, delimiter, ending)
    fault = org.faults.take_job(call.method, call.target)
    strain = find_strain(org, plan)
    if fault is None and strain is not None:
        fault = Fault(job_state="Failed", error_message=f"{strain.code}: {strain.message}")
    job = Job(
        id=org.new_id("750"),
        operation=operation,
        query=text,
        object_name=plan.owner.name,
        version=call.parts["version"],
        delimiter=delimiter,
        line_ending=ending,
        created=org.clock.now(),
        pending=pending,
        polls_left=org.job_polls if fault is None or fault.polls is None else fault.polls,
        outcome="JobComplete" if fault is None or fault.job_state is None else fault.job_state,
        error_message=None if fault is None else fault.error_message,
    )
    with org.lock:
        org.jobs[job.id] = job
    return json_answer(_info(org, job, brief=True))


def _plan(org: OrgState, text: str, *, everything: bool) -> Plan:
    try:
        return org.translator().plan(text, everything=everything)
    except ApiError as error:
        # Of what REST says, Bulk keeps the words but not this code.
        if error.message.startswith("Implementation restriction"):
            raise ApiError(400, "API_ERROR", error.message) from None
        raise


def _count_job(org: OrgState) -> None:
    with org.lock:
        if org.jobs_created >= org.bulk_job_limit:
            message = f"Max bulk v2 query jobs ({org.bulk_job_limit}) per 24 hrs has been reached"
            raise ApiError(400, "LIMIT_EXCEEDED", message)
        org.jobs_created += 1


def _result(org: OrgState, text: str, operation: str, plan: Plan, delimiter: str, ending: str) -> Future[CsvResult]:
    """Return the result to come: the one that an equal query has already, if nothing changed since."""
    columns = tuple(each.label for each in plan.columns)
    # The parameters say what a date word means at the time.
    key = (text, operation, delimiter, ending, org.store.version, org.page_rows, columns, tuple(plan.parameters))
    with org.lock:
        known = org.results.get(key)
        if known is not None:
            return known

        def run() -> CsvResult:
            made = CsvResult(org.store, plan, _DELIMITERS[delimiter], _LINE_ENDINGS[ending])
            made.prepare(org.page_rows)
            return made

        org.results[key] = org.pool.submit(run)
        return org.results[key]


def _refuse(org: OrgState, plan: Plan) -> None:
    """Refuse what Bulk cannot do.

    Raises:
        ApiError: as the platform words it.
    """
    if plan.owner.name in org.bulk_refuses:
        raise ApiError(400, "INVALIDENTITY", f"Entity '{plan.owner.name}' is not supported by the Bulk API.")
    if plan.aggregate or plan.count_only or plan.children or plan.select.offset is not None or plan.typeof:
        raise ApiError(400, "API_ERROR", _AGGREGATE)
    if plan.fields_function:
        raise ApiError(400, "API_ERROR", "FIELDS() is not supported in Bulk V2 Query")
    if compounds(plan):
        raise ApiError(400, "API_ERROR", "Selecting compound data not supported in Bulk Query")
    if any(each.kind == "base64" for each in plan.columns):
        raise ApiError(400, "API_ERROR", "Blob field not supported in Bulk V2 Query")


def _need(org: OrgState, call: Call) -> Job:
    job = org.find_job(call.parts["job"])
    if job is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return job


def _info(org: OrgState, job: Job, *, brief: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": job.id,
        "operation": job.operation,
        "object": job.object_name,
        "createdById": org.user_id,
        "createdDate": wire_time(job.created),
        "systemModstamp": wire_time(job.modified or job.created),
        "state": job.state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float(job.version),
        "lineEnding": job.line_ending,
        "columnDelimiter": job.delimiter,
    }
    if brief:
        return body
    complete = job.state == "JobComplete"
    took = int(((job.modified or job.created) - job.created).total_seconds() * 1000)
    body.update(
        jobType="V2Query",
        numberRecordsProcessed=job.result.count if complete else 0,
        retries=0,
        totalProcessingTime=max(took, 0),
        isPkChunkingSupported=True,
    )
    if job.state == "Failed" and job.error_message is not None:
        body["errorMessage"] = job.error_message
    return body


def poll(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/jobs/query/{id}`."""
    job = _need(org, call)
    fault = org.faults.take_job(call.method, call.target)
    if fault is not None:
        job.outcome = fault.job_state or job.outcome
        job.error_message = fault.error_message or job.error_message
        job.polls_left = fault.polls if fault.polls is not None else 0
        job.state = "InProgress"
    job.poll(org.clock.now())
    return json_answer(_info(org, job))


def change(org: OrgState, call: Call) -> Answer:
    """Answer `PATCH …/jobs/query/{id}`: abort."""
    job = _need(org, call)
    if call.json().get("state") != "Aborted":
        raise ApiError(400, "API_ERROR", "Only the state Aborted can be set on a query job")
    with job.lock:
        if job.state in FINISHED:
            raise ApiError(400, "INVALIDJOBSTATE", f"Aborting already {_SPOKEN[job.state]} Job not allowed")
        job.state = "Aborted"
        job.modified = org.clock.now()
    return json_answer(_info(org, job))


_SPOKEN = {"JobComplete": "Completed", "Failed": "Failed", "Aborted": "Aborted"}


def delete(org: OrgState, call: Call) -> Answer:
    """Answer `DELETE …/jobs/query/{id}`."""
    job = _need(org, call)
    if job.state not in FINISHED:
        raise ApiError(400, "API_ERROR", "Error encountered when deleting the job because the job is not terminated")
    with org.lock:
        org.jobs.pop(job.id, None)
    org.forget_results()
    return Answer(204, b"", None)


def listed(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/jobs/query`: at most 1,000 jobs at a time."""
    parallel = (call.parameter("concurrencyMode") or "parallel").lower() == "parallel"
    jobs = org.kept_jobs() if parallel and call.parameter("jobType") in {None, "V2Query"} else []
    locator = call.parameter("queryLocator")
    try:
        start = decode_locator(locator)[0] if locator else 0
    except ValueError:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator") from None
    end = start + _JOBS_AT_ONCE
    done = end >= len(jobs)
    more = None if done else f"{base_path(call)}/jobs/query?queryLocator={encode_locator(end)}"
    return json_answer({"done": done, "records": [_info(org, job) for job in jobs[start:end]], "nextRecordsUrl": more})


def _finished(org: OrgState, call: Call) -> Job:
    job = _need(org, call)
    if call.parts["version"] != job.version:
        message = f"The job was created with API version {job.version}; its results can be read with that version only"
        raise ApiError(409, "VERSION_MISMATCH", message)
    if job.state != "JobComplete":
        raise ApiError(400, "INVALIDJOBSTATE", f"The job is not complete: its state is {job.state}")
    return job


def results(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/jobs/query/{id}/results`."""
    job = _finished(org, call)
    start, rows = 0, org.page_rows
    locator, most = call.parameter("locator"), call.parameter("maxRecords")
    if most is not None:
        rows = whole(most) or 0
        if rows == 0:
            raise ApiError(400, "API_ERROR", "maxRecords must be a number greater than 0")
    if locator:
        try:
            start, *fixed = decode_locator(locator)
        except ValueError:
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator") from None
        rows = fixed[0] if fixed else rows
    packed, taken = job.result.page(start, rows)
    after = start + taken
    headers = {
        "Sforce-Locator": "null" if after >= job.result.count else encode_locator(after),
        "Sforce-NumberOfRecords": str(taken),
    }
    return Answer(200, b"", "text/csv; charset=UTF-8", headers, packed)


def result_pages(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/jobs/query/{id}/resultPages`: where up to five pages are."""
    if not org.result_pages_supported:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    job = _finished(org, call)
    locator = call.parameter("locator")
    try:
        start = decode_locator(locator)[0] if locator else 0
    except ValueError:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator") from None
    base = f"{base_path(call)}/jobs/query/{job.id}"
    end = min(job.result.count, start + _PAGES_AT_ONCE * org.page_rows)
    # A job without rows still has a page, which holds the header.
    starts = range(start, max(end, start + 1), org.page_rows)
    pages = [{"resultUrl": f"{base}/results?locator={encode_locator(each, org.page_rows)}"} for each in starts]
    body: dict[str, Any] = {"resultPages": pages, "done": end >= job.result.count}
    if not body["done"]:
        body["nextRecordsUrl"] = f"{base}/resultpages?locator={encode_locator(end)}"
    return json_answer(body)
