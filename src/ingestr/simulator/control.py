"""Knows the org's control interface: what Python can do to an org, over HTTP under `/__control__/`.

It is no part of the platform: no session, no faults, no counting. Must not know how any of it is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

import duckdb

from ingestr.simulator.errors import ApiError
from ingestr.simulator.faults import Fault
from ingestr.simulator.model import ORDINARY_FLAGS, SObject, new_field
from ingestr.simulator.state import SETTINGS, OrgState
from ingestr.simulator.wire import Answer, Call, json_answer

Operation = Callable[[OrgState, dict[str, Any]], Any]
# More than any setting means, and still a number that every clock and counter takes.
_MUCH = 10**12


def status(org: OrgState, _call: Call) -> Answer:
    """Answer `GET /__control__`: where things stand."""
    body = {
        "url": org.url,
        "clock": org.clock.now().isoformat(),
        "settings": {name: _plain(getattr(org, name)) for name in SETTINGS},
        "credentials": asdict(org.credentials),
        "objects": sorted(org.store.objects),
        "faults": [_shown(fault) for fault in org.faults.pending()],
        "live_jobs": org.live_jobs,
        "api_calls": org.api_calls,
        "requests_served": org.requests_served,
        "operations": sorted(OPERATIONS),
    }
    return json_answer(body)


def requests(org: OrgState, call: Call) -> Answer:
    """Answer `GET /__control__/requests`, or forget them on DELETE."""
    if call.method == "DELETE":
        org.requests.clear()
    shown = ("method", "path", "query", "status")
    return json_answer([{name: getattr(each, name) for name in shown} for each in list(org.requests)])


def faults(org: OrgState, call: Call) -> Answer:
    """Answer `/__control__/faults`: list, add one, or clear."""
    if call.method == "DELETE":
        org.faults.clear()
    if call.method == "POST":
        body = call.json()
        unknown = body.keys() - {each.name for each in fields(Fault)}
        if unknown:
            raise ApiError(400, "CONTROL", f"no such fact of a fault: {', '.join(sorted(unknown))}")
        try:
            org.faults.add(Fault(**body))
        except (TypeError, ValueError, re.error) as error:
            raise ApiError(400, "CONTROL", f"{type(error).__name__}: {error}") from None
    return json_answer([_shown(fault) for fault in org.faults.pending()])


def operate(org: OrgState, call: Call) -> Answer:
    """Answer `POST /__control__/{operation}` with what the operation gives."""
    operation = OPERATIONS.get(call.parts["operation"])
    if operation is None:
        raise ApiError(404, "CONTROL", f"no such operation; there are {', '.join(sorted(OPERATIONS))}")
    try:
        return json_answer({"result": operation(org, call.json())})
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError, duckdb.Error) as error:
        raise ApiError(400, "CONTROL", f"{type(error).__name__}: {error}") from None


def _shown(fault: Fault) -> dict[str, Any]:
    facts = {each.name: _plain(getattr(fault, each.name)) for each in fields(Fault) if getattr(fault, each.name)}
    return {name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _moment(body: dict[str, Any], name: str) -> datetime | None:
    text = body.get(name)
    return None if text is None else datetime.fromisoformat(text)


def _clock(org: OrgState, body: dict[str, Any]) -> str:
    unknown = body.keys() - {"set", "freeze", "advance", "reset"}
    if unknown:
        raise ValueError(f"the clock cannot {', '.join(sorted(unknown))}")
    if "set" in body:
        org.clock.set(datetime.fromisoformat(body["set"]))
    if "freeze" in body:
        org.clock.freeze(_moment(body, "freeze"))
    if "advance" in body:
        org.clock.advance(float(body["advance"]))
    if body.get("reset"):
        org.clock.reset()
    return org.clock.now().isoformat()


def _settings(org: OrgState, body: dict[str, Any]) -> dict[str, Any]:
    checked = {name: _checked_setting(org, name, value) for name, value in body.items()}
    for name, value in checked.items():
        setattr(org, name, value)
    return {name: _plain(getattr(org, name)) for name in SETTINGS}


def _checked_setting(org: OrgState, name: str, value: Any) -> Any:
    """Return a setting's value in its own type.

    Raises:
        ValueError: no such setting, or no such value.
    """
    if name not in SETTINGS:
        raise ValueError(f"no setting {name}; there are {', '.join(SETTINGS)}")
    if name == "delete_log_since":
        moment = None if value is None else datetime.fromisoformat(value)
        return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if name == "query_timeout_rows" and value is None:
        return None
    kind = int if name == "query_timeout_rows" else type(getattr(org, name))
    if kind is set and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return set(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind in (int, float) and not (name in {"page_rows", "rest_rows"}) <= value < _MUCH):
        raise ValueError(f"{name} cannot be {value!r}")
    if name == "api_version" and not re.fullmatch(r"\d{1,3}\.0", str(value)):
        raise ValueError(f"{name} is written like 67.0")
    return value


def _ids(body: dict[str, Any]) -> list[str]:
    ids = body["ids"]
    if not isinstance(ids, list):
        raise ValueError("ids is a list")
    return ids


def _insert(org: OrgState, body: dict[str, Any]) -> list[str]:
    return org.changes.insert(body["object"], body["rows"], _moment(body, "system_modstamp"))


def _update(org: OrgState, body: dict[str, Any]) -> int:
    touch = bool(body.get("touch", True))
    return org.changes.update(body["object"], _ids(body), body["values"], _moment(body, "system_modstamp"), touch=touch)


def _delete(org: OrgState, body: dict[str, Any]) -> int:
    if body.get("cascade"):
        return org.events.delete_with_children(body["object"], _ids(body), _moment(body, "system_modstamp"))
    return org.changes.delete(body["object"], _ids(body), _moment(body, "system_modstamp"))


def _add_field(org: OrgState, body: dict[str, Any]) -> None:
    facts = dict(body.get("facts", {}))
    for name in ("reference_to", "picklist", "picklist_labels"):
        if name in facts:
            facts[name] = tuple(facts[name])
    org.store.add_field(body["object"], body["field"], body["type"], body.get("values"), facts)


def _add_object(org: OrgState, body: dict[str, Any]) -> None:
    """Add a custom object with the system fields and those named, type by name."""
    taken = {each.prefix for each in org.store.objects.values()}
    free = next(prefix for prefix in (f"a{number:02}" for number in range(2, 100)) if prefix not in taken)
    org.store.add_object(make_object(body["name"], body.get("prefix", free), body.get("fields", {})))


def make_object(name: str, prefix: str, kinds: dict[str, str]) -> SObject:
    """Return a custom object as an administrator would add it."""
    if not re.fullmatch("[0-9A-Za-z]{3}", prefix):
        raise ValueError(f"a key prefix is three letters or digits, not {prefix!r}")
    system = {
        "Id": "id",
        "OwnerId": "reference",
        "IsDeleted": "boolean",
        "Name": "string",
        "CreatedDate": "datetime",
        "CreatedById": "reference",
        "LastModifiedDate": "datetime",
        "LastModifiedById": "reference",
        "SystemModstamp": "datetime",
    }
    owner = SObject(name, prefix, frozenset({*ORDINARY_FLAGS, "undeletable", "custom"}))
    for field, kind in {**system, **kinds}.items():
        own = field in system and field not in {"OwnerId", "Name"}
        facts: dict[str, Any] = {"nillable": field not in system, "createable": not own, "updateable": not own}
        if kind == "reference":
            facts["reference_to"] = ("User",)
        owner.put(new_field(field, kind, [*facts.items(), *([("length", 18)] if kind == "id" else [])]))
    return owner


OPERATIONS: dict[str, Operation] = {
    "clock": _clock,
    "settings": _settings,
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "undelete": lambda org, body: org.changes.undelete(body["object"], _ids(body)),
    "purge": lambda org, body: org.changes.purge(body["object"], _ids(body)),
    "merge": lambda org, body: org.events.merge(body["object"], body["winner"], body["losers"]),
    "convert_lead": lambda org, body: org.events.convert_lead(body["id"], opportunity=body.get("opportunity", True)),
    "archive": lambda org, body: org.events.archive(body["object"], _ids(body)),
    "empty_bin": lambda org, body: org.events.empty_bin(_moment(body, "before")),
    "add_field": _add_field,
    "drop_field": lambda org, body: org.store.drop_field(body["object"], body["field"]),
    "hide_field": lambda org, body: org.store.change_field(
        body["object"], body["field"], {"hidden": body.get("hidden", True)}
    ),
    "retype_field": lambda org, body: org.store.change_field(
        body["object"], body["field"], {"type": body["type"], **body.get("facts", {})}
    ),
    "add_object": _add_object,
    "relabel": lambda org, body: org.store.relabel(body["object"], body["label"]),
    "grow": lambda org, body: org.store.grow(body["object"], int(body["rows"])),
    "count": lambda org, body: org.store.count(body["object"], deleted=bool(body.get("deleted"))),
    "access_token": lambda org, _body: org.sessions.issue(),
    "refresh_token": lambda org, _body: org.sessions.issue_refresh(),
    "expire_sessions": lambda org, _body: org.sessions.expire(),
}
