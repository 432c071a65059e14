# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows the REST API's answers: versions, limits, describe, query, cursors; not Bulk, nor how bytes are sent."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from ingestr.simulator.describe import child_relationship_name, describe_global, describe_object, summarise
from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.ids import to_18
from ingestr.simulator.model import Field, SObject
from ingestr.simulator.numbers import whole
from ingestr.simulator.results import JsonResult
from ingestr.simulator.soql.translator import Plan, Translator
from ingestr.simulator.soql.tree import Select
from ingestr.simulator.state import FIRST_VERSION, OrgState
from ingestr.simulator.store import quote
from ingestr.simulator.strain import find_strain
from ingestr.simulator.wire import Answer, Call, json_answer

_SMALLEST_BATCH, _BIGGEST_BATCH = 200, 2_000
# A page is cut short when its rows are wide, as the platform does.
_MOST_CELLS = 200_000
_FAR = 2**62


def base_path(call: Call) -> str:
    """Return the path that this version's resources begin with."""
    return f"/services/data/v{call.parts['version']}"


def versions(org: OrgState, _call: Call) -> Answer:
    """Answer `GET /services/data/`."""
    seasons = ("Summer '{}", "Winter '{}", "Spring '{}")
    listed = []
    for version in org.versions():
        years, season = divmod(int(float(version)) - FIRST_VERSION, 3)
        label = seasons[season].format(14 + years + (season > 0))
        listed.append({"label": label, "url": f"/services/data/v{version}", "version": version})
    return json_answer(listed)


def resources(org: OrgState, call: Call) -> Answer:
    """Answer the resource map."""
    base = base_path(call)
    names = ("sobjects", "query", "queryAll", "limits", "jobs", "composite", "search", "recent", "tooling")
    body = {name: f"{base}/{name}" for name in names}
    return json_answer({**body, "identity": f"{org.url}/id/{org.organization_id}/{org.user_id}"})


def limits(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/limits/`."""
    del call

    def entry(most: int, used: int = 0) -> dict[str, int]:
        return {"Max": most, "Remaining": max(0, most - used)}

    return json_answer(
        {
            "ConcurrentSyncReportRuns": entry(20),
            "DailyApiRequests": {**entry(org.api_limit, org.api_calls), "Workbench": entry(0)},
            "DailyAsyncApexExecutions": entry(250_000),
            "DailyBulkApiBatches": entry(15_000),
            "DailyBulkV2QueryFileStorageMB": entry(976_562),
            "DailyBulkV2QueryJobs": entry(org.bulk_job_limit, org.jobs_created),
            "DailyDeliveredPlatformEvents": entry(10_000),
            "DataStorageMB": entry(1_073, 5),
            "FileStorageMB": entry(1_073),
            "MonthlyPlatformEventsUsageEntitlement": entry(0),
        }
    )


def record_count(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/limits/recordCount`: satellites and unknown names are left out."""
    wanted = call.parameter("sObjects")
    names = wanted.split(",") if wanted else list(org.store.objects)
    found = [org.store.find(name.strip()) for name in names]
    counted = [
        {"count": org.store.count(each.name), "name": each.name}
        for each in found
        if each is not None and each.satellite is None
    ]
    return json_answer({"sObjects": [each for each in counted if each["count"]]})


def sobjects(org: OrgState, call: Call) -> Answer:
    """Answer describeGlobal."""
    return _unless_unchanged(org, call, None, lambda: describe_global(org.store.objects, base_path(call)))


def need_object(org: OrgState, name: str) -> SObject:
    found = org.store.find(name)
    if found is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return found


def sobject(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X`."""
    found = need_object(org, call.parts["name"])
    return json_answer({"objectDescribe": summarise(found, base_path(call)), "recentItems": []})


def describe(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X/describe`, or 304 when it has not changed since."""
    found = need_object(org, call.parts["name"])
    return _unless_unchanged(
        org, call, found.name, lambda: describe_object(found, org.store.objects.values(), base_path(call))
    )


def _unless_unchanged(org: OrgState, call: Call, name: str | None, body: Any) -> Answer:
    stamps = org.store.modified
    changed = (stamps[name] if name is not None else max(stamps.values())).replace(microsecond=0)
    changed = changed if changed.tzinfo else changed.replace(tzinfo=UTC)
    tag = hashlib.sha256(f"{name}/{changed.isoformat()}".encode()).hexdigest()[:8]
    headers = {"Last-Modified": format_datetime(changed, usegmt=True), "ETag": f'"{tag}"'}
    since = call.headers.get("if-modified-since")
    if since is not None:
        try:
            if changed <= parsedate_to_datetime(since):
                return Answer(304, b"", None, headers)
        except ValueError:
            pass
    return json_answer(body(), headers=headers)


def row(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X/{id}`."""
    found = need_object(org, call.parts["name"])
    names = (call.parameter("fields") or ",".join(each.name for each in found.visible())).split(",")
    translator = org.translator()
    plan = translator.plan(f"SELECT {','.join(names)} FROM {found.name} WHERE Id = '{_id(call)}'", everything=False)
    result = JsonResult(org.store, plan, base_path(call))
    records = result.records(0, 1)
    result.discard()
    if not records:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return Answer(body=records[0].encode())


def _id(call: Call) -> str:
    """Return the Id in the address, whole.

    Raises:
        ApiError: it is none.
    """
    full = to_18(call.parts["id"])
    if full is None:
        raise ApiError(400, "MALFORMED_ID", f"malformed id {call.parts['id']}", ["Id"])
    return full


def blob(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X/{id}/{field}` of a base64 field with its bytes."""
    found = need_object(org, call.parts["name"])
    field = found.find(call.parts["field"])
    if field is None or field.type != "base64":
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    org.store.ensure(found)
    value = org.store.scalar(f'SELECT {quote(field.name)} FROM {quote(found.name)} WHERE "Id" = ?', [_id(call)])
    if value is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return Answer(body=bytes(value), content_type="application/octet-stream")


def query(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/query?q=`."""
    return _query(org, call, everything=False)


def query_all(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/queryAll?q=`."""
    return _query(org, call, everything=True)


def _query(org: OrgState, call: Call, *, everything: bool) -> Answer:
    text = call.parameter("q")
    translator = org.translator()
    plan = translator.plan(text or "", everything=everything)
    if plan.count_only:
        counted = org.store.scalar(f"SELECT count(*) FROM ({plan.sql(['1'])})", plan.parameters)
        return json_answer({"totalSize": counted, "done": True, "records": []})
    if plan.typeof:
        raise ApiError(400, "MALFORMED_QUERY", "TYPEOF is not served by this simulated org")
    strain = find_strain(org, plan)
    if strain is not None:
        raise strain
    result = JsonResult(org.store, plan, base_path(call))
    if plan.aggregate and result.count > _BIGGEST_BATCH:
        result.discard()
        message = "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)
    key = org.new_id("01g")
    cursor = Cursor(result, plan, translator, org.clock.now(), everything=everything)
    answer = _page(org, call, key, cursor, 0)
    if result.count <= _batch_size(org, call, plan):
        result.discard()
    else:
        org.keep_cursor(key, cursor)
    return answer


class Cursor:
    """An open query: its result, and what its subqueries need."""

    def __init__(
        self, result: JsonResult, plan: Plan, translator: Translator, opened: datetime, *, everything: bool
    ) -> None:
        self.result = result
        self.plan = plan
        self.translator = translator
        self.opened = opened
        self.everything = everything


def query_more(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/query/{locator}`."""
    key, _, offset = call.parts["locator"].rpartition("-")
    cursor = org.find_cursor(key)
    start = whole(offset)
    if cursor is None or start is None:
        raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(org, call, key, cursor, start)


def _page(org: OrgState, call: Call, key: str, cursor: Cursor, start: int) -> Answer:
    rows = _batch_size(org, call, cursor.plan)
    children = [_child_members(org, call, cursor, child, start, rows) for child in cursor.plan.children]
    extra = [",".join(parts) for parts in zip(*children, strict=True)] if children else None
    records = cursor.result.records(start, rows, extra)
    after, total = start + len(records), cursor.result.count
    done = after >= total
    more = "" if done else f',"nextRecordsUrl":"{base_path(call)}/query/{key}-{after}"'
    body = f'{{"totalSize":{total},"done":{json.dumps(done)}{more},"records":[{",".join(records)}]}}'
    return Answer(body=body.encode())


def _batch_size(org: OrgState, call: Call, plan: Plan) -> int:
    rows = min(org.rest_rows, _BIGGEST_BATCH)
    for option in call.headers.get("sforce-query-options", "").split(","):
        name, _, value = option.strip().partition("=")
        wanted = whole(value)
        if name.lower() == "batchsize" and wanted is not None:
            rows = min(max(wanted, _SMALLEST_BATCH), _BIGGEST_BATCH)
    return max(1, min(rows, max(_SMALLEST_BATCH, _MOST_CELLS // max(1, len(plan.columns)))))


def _child_members(org: OrgState, call: Call, cursor: Cursor, select: Select, start: int, rows: int) -> list[str]:
    """Return the member that a subquery adds to each record of a page."""
    child, field = _child_of(org, cursor.plan.owner, select)
    parents = cursor.result.ids(start, rows)
    marks = ", ".join(f"'{each}'" for each in parents) or "NULL"
    inner = replace(select, source=child.name, limit=None)
    plan = cursor.translator.plan_tree(
        inner, everything=cursor.everything, extra=f"t0.{quote(field.name)} IN ({marks})"
    )
    result = JsonResult(org.store, plan, base_path(call), keep=f"t0.{quote(field.name)}")
    records = result.records(0, _FAR)
    by_parent: dict[str, list[str]] = {}
    for parent, record in zip(result.kept(), records, strict=True):
        mine = by_parent.setdefault(parent, [])
        if select.limit is None or len(mine) < select.limit:
            mine.append(record)
    result.discard()
    name = json.dumps(select.source)
    return [
        f'{name}:{{"totalSize":{len(found)},"done":true,"records":[{",".join(found)}]}}'
        if (found := by_parent.get(parent))
        else f"{name}:null"
        for parent in parents
    ]


def _child_of(org: OrgState, owner: SObject, select: Select) -> tuple[SObject, Field]:
    for child in org.store.objects.values():
        for each in child.visible():
            if (
                owner.name in each.reference_to
                and (child_relationship_name(owner, child, each) or "").lower() == select.source.lower()
            ):
                return child, each
    message = (
        f"Didn't understand relationship '{select.source}' in FROM part of query call. If you are attempting to use a "
        "custom relationship, be sure to append the '__r' after the custom relationship name. "
        "Please reference your WSDL or the describe call for the appropriate names."
    )
    raise ApiError(400, "INVALID_TYPE", pointed_at(select.text, select.source_at, message))


def wire_time(moment: datetime) -> str:
    """Return a time as REST writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def encode_locator(*parts: int) -> str:
    """Return numbers as an opaque locator."""
    return base64.urlsafe_b64encode(":".join(map(str, parts)).encode()).decode().rstrip("=")


def decode_locator(text: str) -> list[int]:
    """Return the numbers in a locator.

    Raises:
        ValueError: it is none of ours.
    """
    numbers = [int(part) for part in base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split(":")]
    if min(numbers) < 0:
        raise ValueError(text)
    return numbers
