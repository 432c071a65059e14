"""The control interface: everything that tests do from Python, over HTTP, for tools in any language."""

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import PATIENTLY, Talk


def _do(org: SimulatedOrg, operation: str, **body: Any) -> Any:
    answer = httpx.post(f"{org.url}/__control__/{operation}", json=body, **PATIENTLY)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


def test_rows_are_changed_over_http(own: SimulatedOrg) -> None:
    """insert, update, delete, undelete, purge, with the time of the org's clock."""
    _do(own, "clock", freeze="2026-05-06T12:00:00+00:00")
    [key] = _do(own, "insert", object="Account", rows=[{"Name": "x", "AnnualRevenue": 5}])
    assert _do(own, "update", object="Account", ids=[key], values={"Name": "y"}) == 1
    assert _do(own, "delete", object="Account", ids=[key]) == 1
    assert _do(own, "undelete", object="Account", ids=[key]) == 1
    row = next(row for row in own.table("Account").to_pylist() if row["Id"] == key)
    assert (row["Name"], row["AnnualRevenue"], row["SystemModstamp"].isoformat()) == (
        "y",
        5.0,
        "2026-05-06T12:00:00+00:00",
    )
    assert _do(own, "purge", object="Account", ids=[key]) == 1
    assert _do(own, "count", object="Account") == own.count("Account")


def test_the_schema_is_changed_over_http(own_talk: Talk) -> None:
    """add, retype, hide and drop a field; add an object; grow it is only for seeded ones."""
    org = own_talk.org
    _do(org, "add_field", object="Account", field="New__c", type="int", values=[1, 2], facts={"digits": 5})
    assert own_talk.fields("Account")["New__c"]["digits"] == 5
    _do(org, "retype_field", object="Account", field="New__c", type="string", facts={"length": 9})
    assert {record["New__c"] for record in own_talk.query("SELECT New__c FROM Account")} == {"1", "2"}
    _do(org, "hide_field", object="Account", field="New__c")
    assert "New__c" not in own_talk.fields("Account")
    _do(org, "drop_field", object="Account", field="New__c")
    _do(org, "add_object", name="Thing__c", prefix="a77", fields={"Size__c": "double", "Note__c": "textarea"})
    [key] = _do(org, "insert", object="Thing__c", rows=[{"Name": "t", "Size__c": 1.5}])
    assert key.startswith("a77")
    assert own_talk.query("SELECT Size__c, Owner.Name FROM Thing__c")[0]["Size__c"] == 1.5
    assert own_talk.bulk("SELECT Note__c FROM Thing__c") == [{"Note__c": ""}]
    _do(org, "relabel", object="Thing__c", label="Item")
    assert own_talk.get("/sobjects/Thing__c/describe").json()["label"] == "Item"


def test_faults_are_set_over_http(own_talk: Talk) -> None:
    """A fault is a JSON object; the control interface itself is never hit."""
    url = f"{own_talk.org.url}/__control__/faults"
    assert httpx.post(url, json={"path": ".", "status": 503, "times": None}, **PATIENTLY).status_code == 200
    assert own_talk.get("/limits").status_code == 503
    assert [fault["status"] for fault in httpx.get(url, **PATIENTLY).json()] == [503]
    httpx.delete(url, **PATIENTLY)
    assert own_talk.get("/limits").status_code == 200
    assert httpx.post(url, json={"nonsense": 1}, **PATIENTLY).status_code == 400


def test_the_org_tells_its_state_and_settings(own_talk: Talk) -> None:
    """status, settings, requests and sessions."""
    org = own_talk.org
    assert _do(org, "settings", page_rows=10, bulk_refuses=["Account"])["page_rows"] == 10
    assert org.bulk_refuses == {"Account"}
    body = httpx.get(f"{org.url}/__control__", **PATIENTLY).json()
    assert body["settings"]["bulk_refuses"] == ["Account"]
    assert body["credentials"]["username"] == org.username
    own_talk.get("/limits")
    shown = httpx.get(f"{org.url}/__control__/requests", **PATIENTLY).json()
    assert [(each["path"], each["status"]) for each in shown] == [("/services/data/v66.0/limits", 200)]
    token = _do(org, "access_token")
    assert org.sessions.known(token)
    _do(org, "expire_sessions")
    assert not org.sessions.known(token)


@pytest.mark.parametrize(
    ("operation", "body"),
    [("insert", {"object": "Nope", "rows": []}), ("update", {}), ("settings", {"x": 1}), ("clock", {"set": "soon"})],
)
def test_mistakes_are_told(own: SimulatedOrg, operation: str, body: dict[str, Any]) -> None:
    """400 with what was wrong; an unknown operation is 404."""
    assert httpx.post(f"{own.url}/__control__/{operation}", json=body, **PATIENTLY).status_code == 400
    assert httpx.post(f"{own.url}/__control__/nonsense", json={}, **PATIENTLY).status_code == 404


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("insert", {"object": "Account", "rows": [{"NumberOfEmployees": "many"}]}),
        ("insert", {"object": "Account", "rows": "x"}),
        ("update", {"object": "Account", "ids": "001", "values": {}}),
        ("add_field", {"object": "Account", "field": "nAmE", "type": "string"}),
        ("add_field", {"object": "Account", "field": "New__c", "type": "int", "values": ["many"]}),
        ("retype_field", {"object": "Account", "field": "Rating", "type": "nonsense"}),
        ("add_object", {"name": "account"}),
        ("add_object", {"name": "Thing__c", "prefix": "001"}),
        ("add_object", {"name": "Thing__c", "prefix": "long"}),
        ("settings", {"page_rows": 0}),
        ("settings", {"page_rows": "many"}),
        ("settings", {"bulk_refuses": "Account"}),
        ("clock", {"stop": True}),
        ("faults", {"path": "["}),
        ("faults", {"status": "503"}),
    ],
)
def test_a_mistake_changes_nothing(own_talk: Talk, operation: str, body: dict[str, Any]) -> None:
    """400 with what was wrong, and the org is as it was."""
    before = own_talk.fields("Account")
    rows = own_talk.org.table("Account", deleted=True)
    answer = httpx.post(f"{own_talk.org.url}/__control__/{operation}", json=body, **PATIENTLY)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "CONTROL"), answer.text
    assert own_talk.fields("Account") == before
    assert own_talk.org.table("Account", deleted=True) == rows


def test_times_without_a_zone_are_utc(own_talk: Talk) -> None:
    """A naive start of the org, and a naive delete_log_since, mean UTC."""
    from datetime import datetime

    own_talk.org.clock.freeze(datetime(2026, 5, 20))
    _do(own_talk.org, "settings", delete_log_since="2026-05-18T00:00:00")
    span = {"start": "2026-05-19T00:00:00Z", "end": "2026-05-20T00:00:00Z"}
    for since in (own_talk.org.delete_log_since, datetime(2026, 5, 18)):
        own_talk.org.delete_log_since = since
        body = own_talk.get("/sobjects/Account/deleted/", **span).json()
        assert body["earliestDateAvailable"] == "2026-05-18T00:00:00.000+0000"
    with SimulatedOrg(rows=5, start=datetime(2026, 1, 1)) as org:
        org.add_field("Account", "New__c", "string")
        url = f"{org.url}/services/data/v66.0/sobjects"
        headers = {"Authorization": f"Bearer {org.access_token()}"}
        assert httpx.get(url, headers=headers, **PATIENTLY).status_code == 200


def test_an_object_without_a_prefix_gets_one_of_its_own(own: SimulatedOrg) -> None:
    """No two objects have the same key prefix."""
    for name in ("One__c", "Two__c"):
        _do(own, "add_object", name=name)
    keys = [_do(own, "insert", object=name, rows=[{"Name": "x"}])[0] for name in ("One__c", "Two__c")]
    assert len({key[:3] for key in keys}) == 2


def test_the_network_is_set_over_http(own_talk: Talk) -> None:
    """An answer comes no sooner than the latency and its body's size allow; the control interface is spared."""
    org = own_talk.org
    answer, _ = _timed(own_talk, "/sobjects/Account/describe")
    size = int(answer.num_bytes_downloaded)
    shown = _do(org, "settings", latency=0.1, bytes_per_second=size * 4)
    assert (shown["latency"], shown["bytes_per_second"]) == (org.latency, org.bytes_per_second) == (0.1, size * 4)
    slow, seconds = _timed(own_talk, "/sobjects/Account/describe")
    assert slow.json() == answer.json()
    assert seconds >= 0.1 + 0.25
    org.latency, org.bytes_per_second = 3_600, 1
    assert _do(org, "settings", latency=0, bytes_per_second=0)["latency"] == 0
    assert own_talk.get("/limits").status_code == 200


def test_waiting_requests_hold_up_nobody(own: SimulatedOrg) -> None:
    """However many requests wait for their time, others are answered."""
    own.latency = 3_600
    with ExitStack() as stack:
        for _ in range(100):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", own.port)))
            waiting.sendall(b"GET /services/data/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        _do(own, "settings", latency=0)
        assert httpx.get(f"{own.url}/services/data/", **PATIENTLY).status_code == 200


def _timed(talk: Talk, path: str) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return talk.get(path), time.monotonic() - began


def test_the_control_interface_costs_no_api_calls(own: SimulatedOrg) -> None:
    """It is no part of the platform."""
    httpx.get(f"{own.url}/__control__", **PATIENTLY)
    assert (own.api_calls, own.requests) == (0, [])


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM"])
def test_the_command_serves_until_interrupted(ending: str, tmp_path: Path) -> None:
    """serve() names three URIs on stderr, answers, and ends cleanly on Ctrl-C or when told to."""
    import signal
    import subprocess
    import sys

    env = {**os.environ, "TMPDIR": str(tmp_path)}
    program = "from ingestr.simulator import serve; serve(port=0, rows=5, seed=11)"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(4)]
        url = lines[0].partition(" listens at ")[2].partition(" ")[0]
        assert [line.split(": ")[0].strip() for line in lines[1:]] == [
            "access token",
            "username and password",
            "client credentials",
        ]
        assert httpx.get(f"{url}/services/data/", **PATIENTLY).status_code == 200
        process.send_signal(signal.Signals[ending])
        assert process.stderr.read() == "stopped\n"
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_told(own: SimulatedOrg) -> None:
    """The error is the system's own, and nothing is left behind."""
    with pytest.raises(OSError, match="in use"):
        SimulatedOrg(rows=0, port=own.port)
