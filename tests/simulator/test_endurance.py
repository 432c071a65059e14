"""The org goes on answering whatever another program sends it: patterns, half requests, floods, nesting, numbers."""

import gc
import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest

from ingestr.simulator import Fault, SimulatedOrg
from simulator.talk import PATIENCE, PATIENTLY, Talk

JSON = {"Content-Type": "application/json"}
DEEP = 100_000


def control(org: SimulatedOrg, path: str, text: str) -> httpx.Response:
    """POST JSON as it is written."""
    return httpx.post(f"{org.url}/__control__/{path}", content=text, headers=JSON, **PATIENTLY)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*(.*)*x$", "^(([a-z])+.)+[A-Z]([a-z])+$", r"(\w+\s?)*!$"]
)
def test_no_pattern_of_a_fault_takes_for_ever(own_talk: Talk, pattern: str) -> None:
    """Expressions that others search for years are searched in a moment."""
    own_talk.org.faults.add(Fault(path=pattern, times=None, status=500))
    began = time.monotonic()
    assert own_talk.client.get("/services/data?x=" + "a" * 8_000 + "!").status_code in {200, 500}
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("pattern", ["(a{1,900}){1,900}", "x" * 201, "(?=a)", r"(a)\1", "[", "(?P<x"])
def test_a_pattern_that_could_is_refused(own: SimulatedOrg, pattern: str) -> None:
    """Counted repetitions, very long patterns, and what RE2 does not have: said at once, from Python and over HTTP."""
    with pytest.raises(ValueError):
        Fault(path=pattern)
    answer = control(own, "faults", json.dumps({"path": pattern}))
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "CONTROL")
    assert own.faults.pending() == []


@pytest.mark.parametrize(
    "facts",
    [{"status": 99}, {"status": 600}, {"delay": -1}, {"delay": 1e9}, {"headers": {"a": 5}}, {"headers": {"a b": "c"}},
     {"headers": {"a": "b\r\nc: d"}}, {"body": "\ud800"}, {"path": 5}, {"path": None}],
    ids=str,
)  # fmt: skip
def test_a_fault_that_no_answer_can_have_is_refused(own: SimulatedOrg, facts: dict[str, Any]) -> None:
    """It would break connections in another way than it says."""
    assert control(own, "faults", json.dumps(facts)).status_code == 400
    assert own.faults.pending() == []


def test_faults_are_not_without_number(own: SimulatedOrg) -> None:
    """Each is searched by every request; those that hit for the last time make room."""
    for _ in range(1_000):
        own.faults.add(Fault(path="/limits"))
    with pytest.raises(ValueError, match="faults in force"):
        own.faults.add(Fault())
    own.faults.take("GET", "/limits")
    own.faults.add(Fault())


def test_delayed_requests_hold_up_nobody(own: SimulatedOrg) -> None:
    """However many a fault delays, others are answered, and the org stops at once."""
    own.faults.add(Fault(path="/services/data", times=100, delay=3_600))
    with ExitStack() as stack:
        for _ in range(100):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", own.port)))
            waiting.sendall(b"GET /services/data/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while own.faults.pending():
            time.sleep(0.01)
        assert httpx.get(f"{own.url}/services/data/", **PATIENTLY).status_code == 200
        assert control(own, "access_token", "").status_code == 200


@pytest.mark.parametrize("half", [b"", b"GET /services/data HTTP/1.1\r\nHost: loc", b"GET / HTTP/1.1\r\n"])
def test_a_request_that_never_comes_ends(own: SimulatedOrg, half: bytes) -> None:
    """A connection that says nothing, or half a head, is closed."""
    own.patience.head = 0.05
    with socket.create_connection(("127.0.0.1", own.port), PATIENCE) as waiting:
        waiting.sendall(half)
        assert _rest(waiting) == b""


def test_bytes_one_by_one_give_no_more_time(own: SimulatedOrg) -> None:
    """The head has its time as a whole, also the second of a connection."""
    own.patience.head = 0.2
    with socket.create_connection(("127.0.0.1", own.port), 0.01) as waiting:
        waiting.sendall(b"GET /services/data HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            try:
                if not waiting.recv(65_536):
                    break
            except TimeoutError:
                waiting.sendall(b"x")
            except ConnectionError:
                break
        else:
            pytest.fail("it still waits for the head")


def test_a_body_that_never_comes_ends(own: SimulatedOrg) -> None:
    """408, and the connection ends."""
    own.patience.body = 0.05
    with socket.create_connection(("127.0.0.1", own.port), PATIENCE) as waiting:
        waiting.sendall(b"POST /services/oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        assert _rest(waiting).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_nobody_takes_ends(own: SimulatedOrg) -> None:
    """A client that reads nothing is cut off when it is clear that it will not."""
    own.patience.answer = 0
    own.faults.add(Fault(status=200, body="x" * 50_000_000))
    with socket.create_connection(("127.0.0.1", own.port), PATIENCE) as waiting:
        waiting.sendall(b"GET /services/data HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert len(_rest(waiting)) < 50_000_000


def test_a_body_has_an_end(own: SimulatedOrg) -> None:
    """More than 16 MiB, said beforehand or not, is 413, on every path."""
    large = b" " * (16 * 1024 * 1024 + 1)
    for path in ("/__control__/insert", "/services/oauth2/token"):
        for body in (large, iter([large])):
            try:
                answer = httpx.post(own.url + path, content=body, headers=JSON, **PATIENTLY)
            except httpx.TransportError:
                # The answer came while the rest was sent, and was lost with the connection.
                continue
            assert answer.status_code == 413
    assert httpx.get(f"{own.url}/services/data/", **PATIENTLY).status_code == 200


def test_a_head_has_an_end(own: SimulatedOrg) -> None:
    """Headers without end are refused, and others are answered."""
    with socket.create_connection(("127.0.0.1", own.port), PATIENCE) as flooding, pytest.raises(OSError):
        flooding.sendall(b"GET /services/data HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(10_000):
            flooding.sendall(b"X: " + b"y" * 10_000 + b"\r\n")
        raise AssertionError("a hundred megabytes of headers were read")
    assert httpx.get(f"{own.url}/services/data/", **PATIENTLY).status_code == 200


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP])
@pytest.mark.parametrize(
    "path",
    [
        "/__control__/settings",
        "/__control__/faults",
        "{base}/jobs/query",
        "{base}/composite",
        "/services/async/62.0/job",
    ],
)
def test_json_that_is_nested_without_end_is_refused(own_talk: Talk, path: str, text: str) -> None:
    """400, like all that is no object."""
    token = own_talk.headers["Authorization"].removeprefix("Bearer ")
    headers = {**own_talk.headers, **JSON, "X-SFDC-Session": token}
    answer = own_talk.client.post(path.format(base=own_talk.base), content=text, headers=headers)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "where", ["NOT " * 20_000 + "Name = 'a'", "(NOT " * 9_000 + "Name = 'a'" + ")" * 9_000], ids=["row", "parentheses"]
)
def test_statements_that_are_nested_without_end_are_refused(own_talk: Talk, where: str) -> None:
    """They are too complicated, and no mistake of the simulator's."""
    answer = own_talk.create_job(f"SELECT Id FROM Account WHERE {where}")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "QUERY_TOO_COMPLICATED")


DIGITS = "9" * 5_000


def test_numbers_of_thousands_of_digits_are_refused(own_talk: Talk) -> None:
    """In statements, parameters and headers."""
    assert own_talk.error(f"SELECT Id FROM Account LIMIT {DIGITS}")[:2] == (400, "MALFORMED_QUERY")
    assert own_talk.query(f"SELECT Id FROM Account WHERE NumberOfEmployees > {DIGITS}") == []
    job = own_talk.finished_job("SELECT Id FROM Account")
    assert own_talk.get(f"/jobs/query/{job}/results", maxRecords=DIGITS).status_code == 400
    assert own_talk.get(f"/jobs/query/{job}/results", maxRecords="²").status_code == 400
    assert own_talk.get(f"/query/01gXX0000000001-{DIGITS}").status_code == 400
    headers = {**own_talk.headers, "Sforce-Query-Options": f"batchSize={DIGITS}"}
    soql = {"q": "SELECT Id FROM Account"}
    assert own_talk.client.get(f"{own_talk.base}/query", params=soql, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("operation", "text"),
    [("settings", '{"latency": 1e999}'), ("settings", '{"latency": NaN}'), ("settings", '{"poisoned": [1]}'),
     ("settings", '{"bytes_per_second": Infinity}'), ("clock", '{"advance": 1e300}'),
     ("settings", '{"api_version": "99999999999.0"}'),
     ("settings", '{"page_rows": 99999999999999999999}'), ("clock", '{"advance": 251000000000}'),
     ("clock", '{"set": "9999-12-31T23:59:59+00:00"}'), ("clock", '{"freeze": "0001-01-01T00:00:00"}')],
)  # fmt: skip
def test_a_setting_with_which_nothing_goes_on_is_refused(own_talk: Talk, operation: str, text: str) -> None:
    """400, and the platform answers as before."""
    assert control(own_talk.org, operation, text).status_code == 400
    assert own_talk.get("/limits").status_code == 200


def test_the_log_of_requests_keeps_the_latest(own_talk: Talk) -> None:
    """Of however many requests, and without what a client sends to fill it."""
    org = own_talk.org
    own_talk.get("/limits")
    for _ in range(10_005):
        org.note(org.requests[-1])
    assert (len(org.requests), org.requests_served) == (10_000, 10_006)
    own_talk.client.get("/services/data", headers={"X": "y" * 200_000})
    assert org.requests[-1].headers == {}


def test_no_connection_outlives_the_org() -> None:
    """Those that come while it stops are closed like all others: a socket that nobody closes warns, and fails."""
    for _ in range(4):
        with SimulatedOrg(rows=0) as org:
            knocking = threading.Thread(target=_knock, args=(org.port,))
            knocking.start()
            while org.requests_served < 10:
                time.sleep(0.001)
        knocking.join()
        gc.collect()


def _knock(port: int) -> None:
    """Connect, ask and leave, many times or until nobody listens."""
    with suppress(OSError):
        for _ in range(500):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                connection.sendall(b"GET /services/data HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize("half", [b"", b"CONNECT login.sales", b"CONNECT login.salesforce.com:443 HTTP/1.1\r\nA: b"])
def test_the_proxy_does_not_wait_for_ever(half: bytes) -> None:
    """A connection to the proxy that never says where it leads is closed."""
    with SimulatedOrg(rows=0, proxy=True) as org:
        org.patience.head = 0.05
        host, _, port = (org.proxy_url or "").removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), PATIENCE) as waiting:
            waiting.sendall(half)
            assert _rest(waiting) == b""


def _rest(connection: socket.socket) -> bytes:
    """What comes until the other side ends the connection."""
    pieces: list[bytes] = []
    try:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)
