"""Nothing that a read starts outlives it: no thread, no connection, no job, however the read ends."""

import gc
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

import ingestr
from ingestr.core.stream import RecordStream
from ingestr.errors import IncompleteReadError, SourceUnavailableError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.http.connections import OpenSockets
from ingestr.sources.salesforce.http.transport import TIMEOUT, RetryTransport
from ingestr.sources.salesforce.read.pages import GivenUpError, Workers
from support import JSON_HEADERS, FastClock, claim_huge, source_uri

PAGE = 10


class Silence:
    """A way to the org on which some requests are never answered.

    Args:
        org: where the others lead.
        about: what stands in the first line of a request that is not passed on.
    """

    def __init__(self, org: SimulatedOrg, about: bytes) -> None:
        self._target = ("127.0.0.1", org.port)
        self._about = about
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.silent = threading.Semaphore(0)
        self._start(self._accept)

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name="silence")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as org:
            self._start(self._pump, org, client)
            with suppress(OSError):
                while request := client.recv(1 << 16):
                    if self._about in request.partition(b"\r\n")[0]:
                        self.silent.release()
                        continue
                    org.sendall(request)
            with suppress(OSError):
                org.shutdown(socket.SHUT_RDWR)

    def _pump(self, org: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answer := org.recv(1 << 16):
                client.sendall(answer)
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Wait until every connection of the client is closed: it is the client who must close them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def ours() -> list[str]:
    """Threads of reads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bulk-")]


@pytest.fixture
def bulk_org(org: SimulatedOrg) -> Iterator[SimulatedOrg]:
    """An org whose leads are read by Bulk in several pages; no thread of a read is there afterwards."""
    org.page_rows = PAGE
    claim_huge(org, "Lead", times=None)
    yield org
    assert ours() == []
    # What was not closed says so when it is collected, and warnings are errors.
    gc.collect()


@pytest.mark.parametrize("about", [b"/results", b"/resultPages"])
def test_a_stream_that_is_closed_early_leaves_nothing(bulk_org: SimulatedOrg, about: bytes) -> None:
    """Downloads that wait for a server which has fallen silent are sent away, and the job is deleted."""
    way = Silence(bulk_org, about)
    try:
        uri = source_uri(bulk_org, "token", domain=way.url)
        stream = ingestr.read(uri, "lead", extract_parallelism=3, page_size=PAGE)
        reader = threading.Thread(target=_read_in_vain, args=[stream])
        reader.start()
        assert way.silent.acquire(timeout=60)
        assert ours()
        stream.close()
        assert ours() == []
        assert bulk_org.live_jobs == []
        reader.join()
    finally:
        way.close()


def _read_in_vain(stream: RecordStream) -> None:
    with pytest.raises(GivenUpError):
        list(stream)


def test_a_body_that_stops_flowing_is_left(bulk_org: SimulatedOrg) -> None:
    """A page that has begun and does not go on is waited for no longer than the stream is open."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def begin() -> None:
        client, _ = server.accept()
        held.append(client)
        client.recv(1 << 16)
        client.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"Id"')

    thread = threading.Thread(target=begin)
    thread.start()
    sockets = OpenSockets()
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/")
        request.extensions = {**request.extensions, "trace": sockets.trace, "timeout": {"read": 60}}
        response = client.send(request, stream=True)
        chunks = response.iter_raw()
        assert next(chunks) == b'"Id"'
        unwanted = sockets.hung_up
        waiting = threading.Timer(0, sockets.hang_up)
        waiting.start()
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)
        assert unwanted.is_set()
        assert not sockets.hung_up.is_set()
        response.close()
        waiting.join()
    thread.join()
    for each in (*held, server):
        each.close()


def test_the_end_of_some_requests_ends_no_other() -> None:
    """While a read is sent away, another thread's request, which deletes its job say, is served."""
    answered, asked = threading.Event(), threading.Semaphore(0)
    ended: dict[str, object] = {}

    def serve(server: socket.socket) -> None:
        for _ in range(2):
            client, _ = server.accept()
            answers.append(threading.Thread(target=answer, args=[client]))
            answers[-1].start()

    def answer(client: socket.socket) -> None:
        with client:
            client.recv(1 << 16)
            asked.release()
            answered.wait(60)
            with suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

    def ask(name: str) -> str:
        try:
            ended[name] = client.get(url).text
        except httpx.RemoteProtocolError as error:
            ended[name] = error
        return name

    answers: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        server_thread = threading.Thread(target=serve, args=[server])
        server_thread.start()
        transport = RetryTransport(lambda: httpx.Client(trust_env=False), FastClock(), lambda response: False)
        workers = Workers(transport.open_line)
        with httpx.Client(transport=transport, timeout=TIMEOUT) as client, ThreadPoolExecutor() as others:
            unwanted = workers.pool("bulk-page", 1).submit(ask, "unwanted")
            wanted = others.submit(ask, "wanted")
            assert asked.acquire(timeout=60)
            assert asked.acquire(timeout=60)
            workers.end()
            assert unwanted.done()
            assert not wanted.done()
            answered.set()
            assert wanted.result(60) == "wanted"
        for thread in (server_thread, *answers):
            thread.join(60)
    assert isinstance(ended["unwanted"], httpx.RemoteProtocolError)
    assert ended["wanted"] == "OK"


def test_a_read_that_fails_leaves_nothing(bulk_org: SimulatedOrg) -> None:
    """One page is broken for good while others still wait: the error comes, and the others are sent away."""
    bulk_org.faults.add(Fault(method="GET", path="/results", skip=1, times=None, record_count_delta=1))
    with pytest.raises(IncompleteReadError), ingestr.read(source_uri(bulk_org), "lead", page_size=PAGE) as stream:
        list(stream)
    assert ours() == []
    assert bulk_org.live_jobs == []


def test_a_read_that_ends_leaves_nothing(bulk_org: SimulatedOrg) -> None:
    """After the last row there is no thread to wait for."""
    with ingestr.read(source_uri(bulk_org), "lead", page_size=PAGE) as stream:
        assert sum(batch.num_rows for batch in stream) == bulk_org.count("Lead")
        assert ours() == []


def test_jobs_of_ranges_end_with_the_stream(bulk_org: SimulatedOrg) -> None:
    """What Salesforce cannot serve whole is read by a job for each range: the one under way is deleted too."""
    refusal = json.dumps([{"errorCode": "OPERATION_TOO_LARGE", "message": "too large"}])
    for path, times in (("/jobs/query$", 1), (r"/query\?.*Id\+%3C", None)):
        bulk_org.faults.add(Fault(path=path, times=times, status=400, headers=JSON_HEADERS, body=refusal))
    stream = ingestr.read(source_uri(bulk_org), "lead", page_size=PAGE)
    rows = iter(stream)
    next(rows)
    assert bulk_org.live_jobs
    stream.close()
    assert ours() == []
    assert bulk_org.live_jobs == []


def test_a_job_is_asked_for_again(bulk_org: SimulatedOrg) -> None:
    """A 500 while a query job is made says nothing of it: a second one does no harm."""
    bulk_org.faults.add(Fault(method="POST", path="/jobs/query$", times=1, served=True, status=500, body="[]"))
    with ingestr.read(source_uri(bulk_org), "lead", page_size=PAGE) as stream:
        assert sum(batch.num_rows for batch in stream) == bulk_org.count("Lead")
    assert bulk_org.jobs_created == 2


def test_a_server_that_stays_unwell(bulk_org: SimulatedOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience has an end."""
    monkeypatch.setattr("ingestr.sources.salesforce.http.transport._ATTEMPTS", 2)
    bulk_org.faults.add(Fault(method="POST", path="/jobs/query$", times=None, status=503, body="[]"))
    with pytest.raises(SourceUnavailableError):
        ingestr.read(source_uri(bulk_org), "lead")
