"""Knows getUpdated and getDeleted: which Ids changed or went in a span of time, and how far back each can say.

Must not know how rows change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ingestr.simulator.errors import ApiError
from ingestr.simulator.model import SObject
from ingestr.simulator.rest import need_object, wire_time
from ingestr.simulator.state import OrgState
from ingestr.simulator.store import quote
from ingestr.simulator.wire import Answer, Call, json_answer

_UPDATED_DAYS, _DELETED_DAYS = 30, 15
_MOST_IDS = 600_000
_CURSORS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


def updated(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X/updated/`."""
    owner = _replicateable(org, call)
    start, end = _span(org, call, _UPDATED_DAYS)
    cursor = next((name for name in _CURSORS if owner.has(name)), None)
    if cursor is None:
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", f"object type {owner.name} is not replicable")
    where = f"{quote(cursor)} >= ? AND {quote(cursor)} < ? AND {org.store.alive(owner)}"
    sql = f'SELECT "Id" FROM {quote(owner.name)} WHERE {where} ORDER BY {quote(cursor)}, "Id"'  # noqa: S608 — ours
    ids = [row[0] for row in _rows(org, sql, [start, end])]
    return json_answer({"ids": ids, "latestDateCovered": _covered(org, end)})


def deleted(org: OrgState, call: Call) -> Answer:
    """Answer `GET …/sobjects/X/deleted/`: what the delete log still knows."""
    owner = _replicateable(org, call)
    start, end = _span(org, call, _DELETED_DAYS)
    where = "object = ? AND deleted >= ? AND deleted < ?"
    sql = f"SELECT id, max(deleted) FROM deleted_log WHERE {where} GROUP BY id ORDER BY 2, 1"  # noqa: S608 — ours
    found = _rows(org, sql, [owner.name, start, end])
    earliest = _earliest(org)
    body = {
        "deletedRecords": [{"deletedDate": wire_time(when.replace(tzinfo=UTC)), "id": key} for key, when in found],
        "earliestDateAvailable": wire_time(earliest),
        "latestDateCovered": _covered(org, end),
    }
    return json_answer(body)


def _rows(org: OrgState, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with org.store.cursor() as cursor:
        found = cursor.execute(sql, parameters).fetchmany(_MOST_IDS + 1)
    if len(found) > _MOST_IDS:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", "exceeded maximum of 600000 ids: narrow the span of time")
    return found


def _replicateable(org: OrgState, call: Call) -> SObject:
    owner = need_object(org, call.parts["name"])
    if "replicateable" not in owner.flags:
        raise ApiError(400, "INVALID_TYPE_FOR_OPERATION", f"object type {owner.name} is not replicable")
    return org.store.ensure(owner)


def _earliest(org: OrgState) -> datetime:
    """Return since when the delete log is kept; tests may say that it was trimmed."""
    floor, since = org.clock.now() - timedelta(days=_DELETED_DAYS), org.delete_log_since
    return floor if since is None else max(floor, since.replace(tzinfo=since.tzinfo or UTC))


def _span(org: OrgState, call: Call, days: int) -> tuple[datetime, datetime]:
    """Return start and end, to the minute, as the store keeps time.

    Raises:
        ApiError: missing, malformed, the wrong way round or too long ago.
    """
    start, end = (_moment(call, name) for name in ("start", "end"))
    if end - start <= timedelta(minutes=1):
        raise ApiError(400, "INVALID_REPLICATION_DATE", "endDate must be more than one minute after startDate")
    start, end = (moment.replace(second=0, microsecond=0) for moment in (start, end))
    # The current minute of the first day still counts: a client computes "30 days ago" before we do.
    if start < org.clock.now() - timedelta(days=days, minutes=1):
        raise ApiError(400, "INVALID_REPLICATION_DATE", f"startDate cannot be more than {days} days ago")
    if days == _DELETED_DAYS and org.delete_log_since is not None and start < _earliest(org):
        raise ApiError(400, "INVALID_REPLICATION_DATE", "startDate before org replication enabled date")
    return start.replace(tzinfo=None), end.replace(tzinfo=None)


def _moment(call: Call, name: str) -> datetime:
    text = call.parameter(name)
    try:
        moment = datetime.fromisoformat((text or "").replace(" ", "+"))
    except ValueError:
        raise ApiError(400, "MALFORMED_QUERY", f"invalid {name} date: {text}") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def _covered(org: OrgState, end: datetime) -> str:
    """Return how far the answer is complete: never beyond the org's own minute."""
    return wire_time(min(end.replace(tzinfo=UTC), org.clock.now().replace(second=0, microsecond=0)))
