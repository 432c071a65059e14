"""A read that cannot end ends: pages that lead back, more rows than were promised, and empty pages without end."""

import json
from pathlib import Path

import pytest

from ingestr.errors import IncompleteReadError, SourceError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.http.checks import Trail
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded, table_names

NEXT = "/services/data/v67.0/query/01g000000000001-2000"


def page(**changes: object) -> Fault:
    """Whatever follows the first page of a query."""
    body = json.dumps({"totalSize": 3, "done": False, "nextRecordsUrl": NEXT, "records": [], **changes})
    return Fault(path="/query/01g", status=200, headers=JSON_HEADERS, body=body, times=None)


@pytest.fixture
def bulk_org(org: SimulatedOrg) -> SimulatedOrg:
    """An org whose leads are read by Bulk in several pages."""
    org.page_rows = 20
    claim_huge(org, "Lead", times=None)
    return org


@pytest.mark.parametrize("total", [None, -1, 5_000, 60])
def test_a_page_that_leads_to_itself(org: SimulatedOrg, database: Path, total: int | None) -> None:
    """Be the number of rows known or not, an address that was seen before is not followed."""
    patch = {"nextRecordsUrl": NEXT, "done": False, "totalSize": total}
    org.faults.add(Fault(method="GET", path=r"/query\?", times=None, json_patch=patch))
    org.faults.add(page(totalSize=total))
    with pytest.raises(IncompleteReadError, match="was read before"):
        ingest(org, "lead", database)
    assert table_names(database) == []


def test_more_rows_than_promised_end_the_read_at_once(org: SimulatedOrg, database: Path) -> None:
    """Nobody waits for the end of what is wrong already."""
    patch = {"nextRecordsUrl": NEXT, "done": False, "totalSize": 5}
    org.faults.add(Fault(method="GET", path=r"/query\?", times=None, json_patch=patch))
    with pytest.raises(IncompleteReadError, match=r"promised 5 rows and gave \d+"):
        ingest(org, "lead", database)
    assert not [r for r in org.requests if "/query/01g" in r.path]


def test_a_page_that_says_there_is_more_and_not_where(org: SimulatedOrg, database: Path) -> None:
    """A last page says that it is the last."""
    org.faults.add(Fault(method="GET", path=r"/query\?", times=None, json_patch={"done": False, "totalSize": None}))
    with pytest.raises(IncompleteReadError, match="and not where"):
        ingest(org, "lead", database)


@pytest.mark.parametrize(
    "address",
    ["https://elsewhere.example/services/data", "//elsewhere.example/services/x", "/services/../secrets", "/other", 5,
     "/services/data/%2e%2E/x", "/services/a\nb", "@elsewhere.example/services/", "/services/" + "a" * 10_000],
)  # fmt: skip
def test_an_address_leads_nowhere_but_to_the_api(org: SimulatedOrg, database: Path, address: object) -> None:
    """Another host, another path or a broken text is the server's fault, and is not asked."""
    patch = {"nextRecordsUrl": address, "done": False, "totalSize": None}
    org.faults.add(Fault(method="GET", path=r"/query\?", times=None, json_patch=patch))
    with pytest.raises(SourceError, match="leads to an address"):
        ingest(org, "lead", database)
    assert all(r.path.startswith("/services/") for r in org.requests)


def test_a_query_that_is_dropped_again_before_a_row_came(org: SimulatedOrg, database: Path) -> None:
    """A dropped query is asked anew where it stood; where it does not move, it ends."""
    refused = json.dumps([{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}])
    patch = {"nextRecordsUrl": NEXT, "done": False, "totalSize": None}
    org.faults.add(Fault(method="GET", path=r"/query\?", times=None, json_patch=patch))
    org.faults.add(Fault(path="/query/01g", times=None, status=400, headers=JSON_HEADERS, body=refused))
    with pytest.raises(SourceError, match="INVALID_QUERY_LOCATOR"):
        ingest(org, "lead", database)


def test_a_locator_that_comes_again(bulk_org: SimulatedOrg, database: Path) -> None:
    """The page that it leads to may even lie in the folder of pages already."""
    bulk_org.result_pages_supported = False
    bulk_org.faults.add(Fault(path="/results", headers={"Sforce-Locator": "MTAw"}, times=None))
    bulk_org.faults.add(Fault(path=r"/jobs/query/\w+$", json_patch={"numberRecordsProcessed": None}, times=None))
    with pytest.raises(IncompleteReadError, match="was read before"):
        ingest(bulk_org, "lead", database)
    assert bulk_org.live_jobs == []


@pytest.mark.parametrize("locator", ["a\tb", "a b", "é"])
def test_a_locator_of_another_form(bulk_org: SimulatedOrg, database: Path, locator: str) -> None:
    """It becomes part of an address, so it is looked at first."""
    bulk_org.result_pages_supported = False
    bulk_org.faults.add(Fault(path="/results", headers={"Sforce-Locator": locator}, times=None))
    with pytest.raises(SourceError, match="Sforce-Locator"):
        ingest(bulk_org, "lead", database)


@pytest.mark.parametrize("known", [True, False])
def test_a_listing_that_leads_to_itself(bulk_org: SimulatedOrg, database: Path, known: bool) -> None:
    """Neither a listing nor a page is read twice."""
    [patch] = [{"done": False, "nextRecordsUrl": "/services/data/v67.0/jobs/query/750/resultPages?locator=x"}]
    bulk_org.faults.add(Fault(path="/resultPages$", json_patch=patch, times=None))
    again = {"resultPages": [], **patch}
    bulk_org.faults.add(
        Fault(path="resultPages.locator", status=200, headers=JSON_HEADERS, body=json.dumps(again), times=None)
    )
    if not known:
        bulk_org.faults.add(Fault(path=r"/jobs/query/\w+$", json_patch={"numberRecordsProcessed": -1}, times=None))
    with pytest.raises(IncompleteReadError, match="was read before"):
        ingest(bulk_org, "lead", database)


def test_a_page_of_a_job_that_is_listed_twice(bulk_org: SimulatedOrg, database: Path) -> None:
    """Its rows would be there twice."""
    url = "/services/data/v67.0/jobs/query/750000000000001AAA/results?locator=a"
    body = json.dumps({"resultPages": [{"resultUrl": url}, {"resultUrl": url}], "done": True})
    bulk_org.faults.add(Fault(path="/resultPages", status=200, headers=JSON_HEADERS, body=body, times=None))
    bulk_org.faults.add(Fault(path="locator=a", status=200, body='"Id"\n', times=None))
    with pytest.raises(IncompleteReadError, match="was read before"):
        ingest(bulk_org, "lead", database)


def test_a_page_that_was_broken_is_fetched_from_the_same_address(bulk_org: SimulatedOrg, database: Path) -> None:
    """To ask again is no way back."""
    bulk_org.faults.add(Fault(method="GET", path="/results", times=3, truncate=100))
    ingest(bulk_org, "lead", database)
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))


def test_empty_pages_without_end() -> None:
    """Some empty pages may come in a row, and are forgotten with the next row; more of them have no end."""
    trail = Trail("reading Lead")
    for rows in [*[0] * 20, 1, *[0] * 20]:
        trail.go_on()
        trail.pass_page(rows)
    with pytest.raises(IncompleteReadError, match="empty pages in a row"):
        for _ in range(2):
            trail.go_on()
            trail.pass_page(0)
