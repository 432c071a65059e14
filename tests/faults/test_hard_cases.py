"""Cases that cost other tools rows: what the platform sends that nobody expects, and what a client gets wrong."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError, IncompleteReadError, RequestRefusedError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.decode import decode_csv
from ingestr.sources.salesforce.http.auth import SessionAuth
from ingestr.sources.salesforce.http.transport import TIMEOUT, RetryTransport
from ingestr.sources.salesforce.logins.config import parse_config
from support import (
    JSON_HEADERS,
    FastClock,
    assert_same,
    claim_huge,
    expected,
    ingest,
    loaded,
    query,
    table_names,
)  # fmt: skip


def ids(org: SimulatedOrg, name: str = "Account") -> list[str]:
    """Ids of the live rows of the org."""
    found: list[str] = org.table(name).column("Id").to_pylist()
    return found


@pytest.fixture
def bulk_org(org: SimulatedOrg) -> SimulatedOrg:
    """An org whose leads are read by Bulk in several pages."""
    org.page_rows = 15
    claim_huge(org, "Lead", times=None)
    return org


@pytest.mark.parametrize("last", ["null", ""])
def test_the_last_locator_may_be_null_or_empty(bulk_org: SimulatedOrg, database: Path, last: str) -> None:
    """Paging ends at the word null as at a header without a value."""
    bulk_org.result_pages_supported = False
    pages = -(-bulk_org.count("Lead") // 15)
    fault = Fault(method="GET", path="/results", skip=pages - 1, times=1, headers={"Sforce-Locator": last})
    bulk_org.faults.add(fault)
    ingest(bulk_org, "lead", database, page_size=15)
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))


def test_a_sum_other_than_the_jobs_is_an_error(bulk_org: SimulatedOrg, database: Path) -> None:
    """Each page agrees with its header, and one is missing: the job's own number tells."""
    bulk_org.result_pages_supported = False
    bulk_org.faults.add(Fault(method="GET", path="/results", skip=1, times=1, headers={"Sforce-Locator": "null"}))
    with pytest.raises(IncompleteReadError, match="promised 59 rows and gave 30"):
        ingest(bulk_org, "lead", database, page_size=15)
    assert table_names(database) == []
    assert bulk_org.live_jobs == []


def test_nul_in_a_page_is_dropped(bulk_org: SimulatedOrg, database: Path) -> None:
    """A NUL comes through Bulk, compressed as pages are, and is the one character that is not kept."""
    names = [f["name"] for f in _describe(bulk_org, "Lead")]
    row = ",".join('"00Q000000000001AAA"' if n == "Id" else '"a\0b"' if n == "LastName" else "" for n in names)
    page = (",".join(f'"{n}"' for n in names) + "\n" + row + "\n").encode()
    headers = {"Sforce-Locator": "null", "Sforce-NumberOfRecords": "1", "Content-Type": "text/csv"}
    bulk_org.faults.add(Fault(method="GET", path="/results", status=200, headers=headers, body=page))
    promise = Fault(method="GET", path=r"/jobs/query/\w+$", times=None, json_patch={"numberRecordsProcessed": 1})
    bulk_org.faults.add(promise)
    bulk_org.result_pages_supported = False
    ingest(bulk_org, "lead", database, no_load_timestamp=True)
    assert query(database, "SELECT last_name FROM public.t").to_pylist() == [{"last_name": "ab"}]


def _describe(org: SimulatedOrg, name: str) -> list[dict[str, Any]]:
    url = f"{org.url}/services/data/v67.0/sobjects/{name}/describe"
    fields = httpx.get(url, headers={"Authorization": f"Bearer {org.access_token()}"}).json()["fields"]
    return [field for field in fields if field["type"] not in ("address", "location")]


@pytest.mark.parametrize("api", ["REST", "Bulk 2.0"])
def test_without_a_charset_it_is_utf8(org: SimulatedOrg, database: Path, api: str) -> None:
    """A body that names no charset is never taken for Latin-1."""
    org.update("Lead", ids(org, "Lead")[:1], {"Company": "Größe \u2028 🙂"})
    kind = "application/json" if api == "REST" else "text/csv"
    if api != "REST":
        claim_huge(org, "Lead")
    org.faults.add(Fault(method="GET", path="/query\\?|/results", times=None, headers={"Content-Type": kind}))
    assert ingest(org, "lead", database).read_by == api
    assert_same(loaded(database), expected(org, "Lead", deleted=False))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1.7976931348623157E308", "0.1234567890123456789"])
def test_doubles_at_the_edge_are_read(text: str) -> None:
    """What Java writes for the ends of its doubles is a double here."""
    page = f'"x"\n"{text}"\n'.encode()
    [value] = decode_csv(page, pa.schema([("x", pa.float64())])).table.column("x").to_pylist()
    assert repr(value) == repr(float(text.replace("Infinity", "inf")))


@pytest.mark.parametrize("text", ["0999-12-31", "0001-01-01"])
def test_early_dates_are_read(text: str) -> None:
    """Dates before the year 1000 exist in orgs that imported them."""
    page = f'"x"\n"{text}"\n'.encode()
    [value] = decode_csv(page, pa.schema([("x", pa.date32())])).table.column("x").to_pylist()
    assert value.isoformat() == text


@pytest.mark.parametrize("text", ["0000-00-00", "12024-01-01", "2023-02-30"])
def test_dates_that_are_none_are_set_aside(text: str) -> None:
    """An impossible date costs its row, not the run."""
    page = f'"Id","x"\n"1","{text}"\n"2","2024-01-01"\n'.encode()
    decoded = decode_csv(page, pa.schema([("Id", pa.string()), ("x", pa.date32())]), collect=True)
    assert decoded.table.column("Id").to_pylist() == ["2"]
    assert [(row.key, row.field, row.value) for row in decoded.rejected] == [("1", "x", text)]


def test_a_field_that_may_not_be_null_is_null(org: SimulatedOrg, database: Path) -> None:
    """Describe says that an account has a name; an account without one is a row like others."""
    org.update("Account", ids(org)[:2], {"Name": None})
    ingest(org, "account", database)
    assert loaded(database).column("name").null_count == 2
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_many_rows_of_one_second(org: SimulatedOrg, database: Path) -> None:
    """A load stamps thousands of rows alike, some before and some after a run within that second: all come."""
    ingest(org, "account", database)
    org.clock.advance(3600)
    moment = org.clock.now().replace(microsecond=0)
    org.insert("Account", [{"Name": f"first {n}"} for n in range(40)], system_modstamp=moment)
    org.clock.advance(1)
    ingest(org, "account", database)
    org.insert("Account", [{"Name": f"second {n}"} for n in range(40)], system_modstamp=moment)
    org.clock.advance(60)
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_the_state_is_the_windows_end(org: SimulatedOrg, database: Path) -> None:
    """Bulk gives rows in no order: neither the last nor the newest row decides where the next window begins."""
    org.grow("Account", 60)
    org.page_rows = 15
    claim_huge(org, "Account")
    result = ingest(org, "account", database)
    assert result.read_by == "Bulk 2.0"
    [state] = query(database, "SELECT cursor_value FROM _ingestr.state").to_pylist()
    newest = max(org.table("Account", deleted=True).column("SystemModstamp").to_pylist())
    assert state["cursor_value"] > newest
    assert abs(state["cursor_value"] - org.clock.now()) < timedelta(minutes=1)


def test_an_empty_window_moves_on(org: SimulatedOrg, database: Path) -> None:
    """A window without rows was read all the same; the overlap guards rows that come late into it."""
    ingest(org, "account", database)
    org.clock.advance(3600)
    result = ingest(org, "account", database)
    assert result.rows_read == 0
    [state] = query(database, "SELECT cursor_value FROM _ingestr.state").to_pylist()
    late = org.clock.now().replace(microsecond=0) - timedelta(minutes=8)
    org.insert("Account", [{"Name": "late", "CreatedDate": late}], system_modstamp=late)
    org.clock.advance(60)
    assert late < state["cursor_value"]
    assert ingest(org, "account", database).rows_inserted == 1


def test_a_first_run_reads_all_history(org: SimulatedOrg, database: Path) -> None:
    """No start date is assumed: rows of the last century come too."""
    old = org.clock.now() - timedelta(days=365 * 30)
    org.insert("Account", [{"Name": "old", "CreatedDate": old}], system_modstamp=old)
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_rows_that_change_between_the_parts_of_their_fields_are_read_again(org: SimulatedOrg, database: Path) -> None:
    """Fields too many for one URL come in several queries: no row is mixed of two states."""
    names = [f"A_Rather_Long_Field_Name_{number:03d}__c" for number in range(450)]
    for name in names:
        org.add_field("Contact", name, "string", length=255, values=["old"])
    org.bulk_refuses = {*org.bulk_refuses, "Contact"}
    rows = ids(org, "Contact")[:3]
    org.clock.advance(60)
    stale = {"Id": rows[0], names[-1]: "stale", "SystemModstamp": "2001-01-01T00:00:00.000+0000"}
    stale |= dict.fromkeys(names, "stale")
    body = json.dumps({"totalSize": 1, "done": True, "records": [stale]})
    # The first query for the second part of the fields answers with another state of one row, and lacks the others.
    org.faults.add(Fault(method="GET", path="Id(\\+|%20)IN", status=200, headers=JSON_HEADERS, body=body))
    ingest(org, "contact", database)
    assert_same(loaded(database), expected(org, "Contact", deleted=False))


@pytest.mark.parametrize(
    ("table", "key"),
    [("contact_history", "CreatedDate"), ("LoginHistory", "LoginTime"), ("account", "SystemModstamp")],
)
def test_the_best_timestamp_that_an_object_has(org: SimulatedOrg, database: Path, table: str, key: str) -> None:
    """last_timestamp is SystemModstamp, else LastModifiedDate, CreatedDate or LoginTime."""
    ingest(org, table, database, incremental_key="last_timestamp")
    [state] = query(database, "SELECT cursor_field FROM _ingestr.state").to_pylist()
    assert state["cursor_field"] == key


def test_an_object_without_any_timestamp_says_so(org: SimulatedOrg, database: Path) -> None:
    """There is nothing to tell changed rows by: the keys that there are stand in the hint."""
    org.faults.add(Fault(path="/describe", times=None, status=200, headers=JSON_HEADERS, body=_bare_describe()))
    with pytest.raises(ConfigurationError, match="last_timestamp"):
        ingest(org, "campaign", database, incremental_key="last_timestamp")


def _bare_describe() -> str:
    fields = [{"name": "Id", "type": "id", "filterable": True, "sortable": True}, {"name": "Name", "type": "string"}]
    return json.dumps({"name": "Campaign", "queryable": True, "fields": fields})


def test_an_object_that_needs_a_filter_is_explained(org: SimulatedOrg, database: Path) -> None:
    """Salesforce reads some objects only by a parent's Id: its own words and a hint, nothing half-written."""
    with pytest.raises(RequestRefusedError, match="requires a filter") as caught:
        ingest(org, "content_document_link", database)
    assert "read as a whole" in str(caught.value.hint)
    assert table_names(database) == []


@pytest.mark.parametrize("table", ["campaign_member", "opportunity_contact_role"])
def test_objects_that_are_deleted_for_good(org: SimulatedOrg, database: Path, table: str) -> None:
    """Junctions leave no trace in queryAll: their rows are marked all the same."""
    name = {"campaign_member": "CampaignMember", "opportunity_contact_role": "OpportunityContactRole"}[table]
    ingest(org, table, database)
    gone = ids(org, name)[:3]
    org.clock.advance(3600)
    org.delete(name, gone)
    org.clock.advance(60)
    result = ingest(org, table, database)
    assert result.rows_in_source == result.rows_in_destination
    marked = query(database, "SELECT id FROM public.t WHERE is_deleted").column("id").to_pylist()
    assert set(gone) <= set(marked)


def test_a_deleted_row_keeps_what_was_known_of_it(org: SimulatedOrg, database: Path) -> None:
    """Salesforce may empty fields of a row that it deletes: the target's values stay, and the mark comes."""
    ingest(org, "account", database)
    row, other = ids(org)[:2]
    org.clock.advance(3600)
    org.update("Account", [row, other], {"Phone": None, "Website": "http://new.example"})
    org.delete("Account", [row])
    org.clock.advance(60)
    before = {r["id"]: r["phone"] for r in query(database, "SELECT id, phone FROM public.t").to_pylist()}
    assert before[row] is not None
    ingest(org, "account", database)
    rows = query(
        database, f"SELECT id, phone, website, is_deleted FROM public.t WHERE id IN ('{row}', '{other}')"
    ).to_pylist()
    after = {r["id"]: r for r in rows}
    assert after[row] == {"id": row, "phone": before[row], "website": "http://new.example", "is_deleted": True}
    assert after[other]["phone"] is None
    org.clock.advance(60)
    assert ingest(org, "account", database).rows_updated == 0


def test_deletions_older_than_the_log(org: SimulatedOrg, database: Path) -> None:
    """After a pause longer than the 15 days that getDeleted reaches back, Ids are compared."""
    ingest(org, "account", database)
    gone = ids(org)[:4]
    org.clock.advance(3600)
    org.delete("Account", gone)
    org.purge("Account", gone)
    org.clock.advance(20 * 24 * 3600)
    result = ingest(org, "account", database)
    assert result.rows_deleted == 4
    assert result.rows_in_source == result.rows_in_destination
    assert not [r for r in org.requests if r.path.endswith("/deleted/")]


def test_a_new_login_may_lead_to_another_instance() -> None:
    """An org that moved answers the next login with its new host: the repeated call goes there."""
    hosts = iter(["https://old.my.salesforce.com", "https://new.my.salesforce.com"])
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        assert set(request.extensions["timeout"]) >= {"connect", "read"}
        assert request.extensions["timeout"]["read"] is not None
        if request.url.path.endswith("/oauth2/token"):
            login = {"access_token": f"00D!{len(asked)}", "instance_url": next(hosts)}
            return httpx.Response(200, content=iter([json.dumps(login).encode()]))
        asked.append(request.url.host)
        return httpx.Response(401 if request.url.host.startswith("old") else 200, content=iter([b"[]"]))

    def connect() -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(handle), timeout=TIMEOUT)

    transport = RetryTransport(connect, FastClock(), lambda response: False)
    bare = httpx.Client(transport=transport, timeout=TIMEOUT)
    parameters = {"client_id": Secret("a"), "client_secret": Secret("b"), "domain": Secret("acme.my")}
    auth = SessionAuth(parse_config("", "", parameters), bare)
    with httpx.Client(transport=transport, timeout=TIMEOUT, auth=auth) as client:
        assert client.get("https://instance/services/data/").status_code == 200
    assert asked == ["old.my.salesforce.com", "new.my.salesforce.com"]


def test_a_job_whose_answer_was_lost_is_not_made_twice(bulk_org: SimulatedOrg, database: Path) -> None:
    """Whether a broken-off POST was served nobody knows: it is not repeated, and the run ends."""
    from ingestr.errors import SourceUnavailableError

    bulk_org.faults.add(Fault(method="POST", path="/jobs/query", served=True, drop=True))
    with pytest.raises(SourceUnavailableError):
        ingest(bulk_org, "lead", database)
    assert bulk_org.jobs_created <= 1
    assert table_names(database) == []


def test_a_job_that_cannot_be_deleted_is_no_failure(bulk_org: SimulatedOrg, database: Path) -> None:
    """Cleaning up may fail: the rows are there, and Salesforce removes the job itself."""
    body = '[{"errorCode":"INVALID_AUTH_HEADER","message":"INVALID_HEADER_TYPE"}]'
    fault = Fault(method="DELETE", path="/jobs/query", times=None, status=401, headers=JSON_HEADERS, body=body)
    bulk_org.faults.add(fault)
    ingest(bulk_org, "lead", database)
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))


def test_two_runs_of_one_process_take_turns(org: SimulatedOrg, database: Path) -> None:
    """Threads of a notebook or a scheduler that write to one file wait for each other, and all succeed."""
    from concurrent.futures import ThreadPoolExecutor

    org.faults.add(Fault(method="GET", path="/query", times=2, delay=0.3))
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(ingest, org, table, database, dest_table=f"public.{name}")
            for table, name in (("account", "a"), ("account", "a"), ("contact", "c"))
        ]
        results = [run.result() for run in runs]
    assert sum(result.rows_inserted for result in results[:2]) == org.count("Account", deleted=True)
    assert loaded(database, "public.c").num_rows == org.count("Contact")
