"""Faults as data: each one is met by a plain HTTP client, which must see it."""

import gzip
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ingestr.simulator import Fault, SimulatedOrg
from simulator.talk import PATIENTLY, Talk


def test_a_status_and_a_body_instead_of_the_answer(own_talk: Talk) -> None:
    """An HTML page with 503 and a header, once, on the second matching call."""
    fault = Fault(
        method="GET", path=r"/limits$", skip=1, status=503, body="<html>busy</html>", headers={"Retry-After": "3"}
    )
    own_talk.org.faults.add(fault)
    assert own_talk.get("/limits").status_code == 200
    answer = own_talk.get("/limits")
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (503, "<html>busy</html>", "3")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert own_talk.get("/limits").status_code == 200
    assert own_talk.org.faults.pending() == []


def test_a_fault_for_ever_lasts_until_cleared(own_talk: Talk) -> None:
    """times=None never ends by itself; other paths and methods are not hit."""
    own_talk.org.faults.add(Fault(path="/limits", times=None, status=500))
    assert {own_talk.get("/limits").status_code for _ in range(3)} == {500}
    assert own_talk.get("/sobjects").status_code == 200
    own_talk.org.faults.clear()
    assert own_talk.get("/limits").status_code == 200


def test_a_call_can_be_served_and_its_answer_lost(own_talk: Talk) -> None:
    """served=True: the job is made though the client hears 503."""
    own_talk.org.faults.add(Fault(method="POST", path="/jobs/query$", status=503, served=True))
    assert own_talk.create_job("SELECT Id FROM Account").status_code == 503
    assert len(own_talk.org.live_jobs) == 1


def test_a_dropped_connection_gives_no_answer(own_talk: Talk) -> None:
    """The client sees the connection close."""
    own_talk.org.faults.add(Fault(path="/limits", drop=True))
    with pytest.raises(httpx.RemoteProtocolError):
        own_talk.get("/limits")
    assert own_talk.get("/limits").status_code == 200


def _page(talk: Talk) -> str:
    return f"{talk.base}/jobs/query/{talk.finished_job('SELECT Id, Name FROM Account')}/results"


def test_a_body_cut_with_the_connection(own_talk: Talk) -> None:
    """The chunked body does not end."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(path="/results", truncate=100))
    with pytest.raises(httpx.RemoteProtocolError):
        own_talk.client.get(url, headers=own_talk.headers)


def test_a_body_cut_cleanly_shows_only_in_the_gzip_trailer(own_talk: Talk) -> None:
    """The chunked body ends well, but the gzip stream in it does not."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(path="/results", truncate=400, clean_cut=True))
    with own_talk.client.stream("GET", url, headers=own_talk.headers) as answer:
        raw = b"".join(answer.iter_raw())
    assert len(raw) == 400
    with pytest.raises(EOFError):
        gzip.decompress(raw)


def test_a_corrupt_body_does_not_unpack(own_talk: Talk) -> None:
    """A byte in the middle is wrong: the stream or its checksum breaks."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(path="/results", corrupt_gzip=True))
    with own_talk.client.stream("GET", url, headers=own_talk.headers) as answer:
        raw = b"".join(answer.iter_raw())
    with pytest.raises((zlib.error, gzip.BadGzipFile, EOFError)):
        gzip.decompress(raw)


def test_a_wrong_row_count_and_a_changed_header(own_talk: Talk) -> None:
    """Sforce-NumberOfRecords and the CSV header can both lie."""
    url = _page(own_talk)
    truth = own_talk.client.get(url, headers=own_talk.headers)
    own_talk.org.faults.add(Fault(path="/results", record_count_delta=-1))
    own_talk.org.faults.add(Fault(path="/results", header_rename={"Name": "Nom"}))
    wrong = own_talk.client.get(url, headers=own_talk.headers)
    assert int(wrong.headers["Sforce-NumberOfRecords"]) == int(truth.headers["Sforce-NumberOfRecords"]) - 1
    renamed = own_talk.client.get(url, headers=own_talk.headers)
    assert renamed.text.startswith('"Id","Nom"\n')
    assert renamed.text.partition("\n")[2] == truth.text.partition("\n")[2]


def test_jobs_fail_abort_and_get_stuck(own_talk: Talk) -> None:
    """The end of a job is the fault's to say, at its creation or at a poll."""
    org = own_talk.org
    org.faults.add(Fault(method="POST", path="/jobs/query", job_state="Failed", error_message="boom", polls=0))
    failed = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    body = own_talk.get(f"/jobs/query/{failed}").json()
    assert (body["state"], body["errorMessage"], body["numberRecordsProcessed"]) == ("Failed", "boom", 0)
    org.faults.add(Fault(method="GET", path="/jobs/query/", job_state="Aborted"))
    aborted = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    assert own_talk.get(f"/jobs/query/{aborted}").json()["state"] == "Aborted"
    org.faults.add(Fault(method="POST", path="/jobs/query", job_state="InProgress"))
    stuck = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    assert {own_talk.get(f"/jobs/query/{stuck}").json()["state"] for _ in range(10)} == {"InProgress"}


def test_a_slow_job_takes_its_polls(own_talk: Talk) -> None:
    """polls=3 is three looks at an unfinished job."""
    own_talk.org.faults.add(Fault(method="POST", path="/jobs/query", polls=3))
    job = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    states = [own_talk.get(f"/jobs/query/{job}").json()["state"] for _ in range(4)]
    assert states == ["InProgress"] * 3 + ["JobComplete"]


def test_a_session_that_ends_and_a_job_that_vanishes(own_talk: Talk) -> None:
    """Both happen at the call that the fault matches."""
    job = own_talk.finished_job("SELECT Id FROM Account")
    own_talk.org.faults.add(Fault(path="/jobs/query/", vanish=True))
    assert own_talk.get(f"/jobs/query/{job}").status_code == 404
    own_talk.org.faults.add(Fault(path="/limits", expire_sessions=True))
    assert own_talk.get("/limits").status_code == 401


def test_a_describe_that_changes_between_calls(own_talk: Talk) -> None:
    """json_patch replaces a member of the answer, once."""
    own_talk.org.faults.add(Fault(path="/describe", json_patch={"fields": []}))
    assert own_talk.fields("Account") == {}
    assert len(own_talk.fields("Account")) == 58


def test_ten_clients_at_once(own: SimulatedOrg) -> None:
    """Answers do not mix while rows are added at the same time."""

    def read(number: int) -> set[str]:
        with httpx.Client(base_url=own.url, **PATIENTLY) as client:
            talk = Talk(own, client)
            if number % 2:
                return {record["Id"][:3] for record in talk.query("SELECT Id, Owner.Name FROM Account")}
            own.insert("Contact", [{"LastName": f"n{number}"}])
            return {row["Id"][:3] for row in talk.bulk("SELECT Id, Name FROM Contact")}

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(read, range(20)))
    assert found == [{"003"}, {"001"}] * 10
    assert own.count("Contact") == len({*own.table("Contact").column("Id").to_pylist()})


def test_requests_are_remembered(own_talk: Talk) -> None:
    """What was asked, and what status it got."""
    own_talk.get("/sobjects/Account", fields="Id")
    request = own_talk.org.requests[-1]
    assert (request.method, request.path, request.query, request.status) == (
        "GET",
        "/services/data/v66.0/sobjects/Account",
        "fields=Id",
        200,
    )
    assert request.headers["accept-encoding"] == "gzip, deflate"


def test_the_command_says_where_it_listens() -> None:
    """serve prints the address and three URIs that hold everything, URL-encoded."""
    from ingestr.simulator import source_uris

    with SimulatedOrg(rows=0) as org:
        uris = source_uris(org, org.access_token())
    assert all(
        uri.startswith("salesforce://?") and f"domain=http%3A%2F%2F127.0.0.1%3A{org.port}" in uri
        for uri in uris.values()
    )
    assert "password=correct%20horse%20%26%20%3Cbattery%3E" in uris["username and password"]


def test_headers_of_a_fault_take_the_place_of_the_answers(own_talk: Talk) -> None:
    """A header is replaced whatever its case, and sent once."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(path="/results", headers={"sforce-locator": "dead", "content-type": "text/plain"}))
    answer = own_talk.client.get(url, headers=own_talk.headers)
    assert answer.headers.get_list("Sforce-Locator") == ["dead"]
    assert answer.headers.get_list("Content-Type") == ["text/plain"]


def test_a_patch_spares_what_is_no_object(own_talk: Talk) -> None:
    """json_patch leaves arrays, CSV pages and empty answers as they are."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(times=None, json_patch={"x": 1}))
    assert isinstance(own_talk.client.get("/services/data/").json(), list)
    assert own_talk.client.get(url, headers=own_talk.headers).text.startswith('"Id"')
    assert own_talk.get("/limits").json()["x"] == 1


def test_gzip_is_damaged_only_where_there_is_gzip(own_talk: Talk) -> None:
    """A client that takes no gzip gets its page as it is."""
    url = _page(own_talk)
    own_talk.org.faults.add(Fault(path="/results", times=2, corrupt_gzip=True))
    plain = own_talk.client.get(url, headers={**own_talk.headers, "Accept-Encoding": "identity"})
    own_talk.org.faults.clear()
    assert plain.text == own_talk.client.get(url, headers=own_talk.headers).text


@pytest.mark.parametrize("facts", [{"status": "503"}, {"times": "x"}, {"headers": []}, {"drop": 1}, {"skip": True}])
def test_a_fault_is_made_of_the_right_types(facts: dict[str, Any]) -> None:
    """TypeError when it is made, not a broken answer later."""
    with pytest.raises(TypeError, match="of a fault cannot be"):
        Fault(**facts)


def test_methods_are_matched_in_any_case(own_talk: Talk) -> None:
    """A fault of method get hits GET."""
    own_talk.org.faults.add(Fault(method="get", path="/limits", status=503))
    assert own_talk.get("/limits").status_code == 503


def test_a_query_of_too_many_rows_runs_into_the_time_limit(own_talk: Talk) -> None:
    """REST answers QUERY_TIMEOUT, a job fails with it; fewer rows, LIMIT and COUNT() are served."""
    own_talk.org.query_timeout_rows = 5
    answer = own_talk.get("/query", q="SELECT Id FROM Account")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "QUERY_TIMEOUT")
    own_talk.org.job_polls = 0
    job = own_talk.create_job("SELECT Id FROM Account").json()["id"]
    body = own_talk.get(f"/jobs/query/{job}").json()
    assert (body["state"], body["errorMessage"].partition(":")[0]) == ("Failed", "QUERY_TIMEOUT")
    assert own_talk.get("/query", q="SELECT Id FROM Account LIMIT 20").status_code == 200
    assert own_talk.get("/query", q="SELECT COUNT() FROM Account").status_code == 200
    few = own_talk.org.table("Account").column("Id").to_pylist()[4]
    assert own_talk.get("/query", q=f"SELECT Id FROM Account WHERE Id < '{few}'").status_code == 200


def test_a_row_that_cannot_be_written_fails_its_queries(own_talk: Talk) -> None:
    """UNKNOWN_EXCEPTION with Numeric Overflow, and a failed job; Ids alone and other rows are served."""
    first, second, *_ = own_talk.org.table("Account").column("Id").to_pylist()
    own_talk.org.poisoned = {first}
    answer = own_talk.get("/query", q="SELECT Id, Name FROM Account")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (500, "UNKNOWN_EXCEPTION")
    assert "Numeric Overflow" in answer.json()[0]["message"]
    own_talk.org.job_polls = 0
    job = own_talk.create_job("SELECT Id, Name FROM Account").json()["id"]
    assert "Numeric Overflow" in own_talk.get(f"/jobs/query/{job}").json()["errorMessage"]
    assert own_talk.get("/query", q="SELECT Id FROM Account").status_code == 200
    assert own_talk.get("/query", q=f"SELECT Id, Name FROM Account WHERE Id >= '{second}'").status_code == 200
