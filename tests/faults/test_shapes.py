"""Answers that are no answers of Salesforce's API: another server, a proxy's own page, a stub."""

from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import SourceError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, FastClock, claim_huge, ingest, table_names

PLACES = {
    "versions": ("GET", r"/services/data/?$"),
    "describe": ("GET", r"/describe$"),
    "describeGlobal": ("GET", r"/sobjects/?$"),
    "query": ("GET", r"/query\?"),
    "recordCount": ("GET", r"/recordCount"),
    "count": ("GET", r"/queryAll\?q=SELECT[+]COUNT"),
    "job": ("POST", r"/jobs/query"),
    "poll": ("GET", r"/jobs/query/\w+$"),
}


@pytest.mark.parametrize("body", ['{"a": 1}', "[]", "null", "{}", "5", '[{"a": 1}]', "[null]", "no JSON", ""])
@pytest.mark.parametrize("place", PLACES)
def test_an_answer_of_another_shape_is_no_bug(org: SimulatedOrg, database: Path, place: str, body: str) -> None:
    """A success whose body is not what the API gives is the server's failure: exit 4, wherever it comes."""
    table = {"describeGlobal": "case_status", "count": "account"}.get(place, "lead")
    method, path = PLACES[place]
    if place in ("job", "poll"):
        claim_huge(org, "Lead", times=None)
    org.faults.add(Fault(method=method, path=path, times=None, status=200, headers=JSON_HEADERS, body=body))
    with pytest.raises(SourceError) as caught:
        ingest(org, table, database, clock=FastClock())
    assert caught.value.exit_code == 4
    assert "Salesforce" in f"{caught.value} {caught.value.hint}"
    assert table_names(database) == []


INNER: list[tuple[str, str, Any]] = [
    ("describe", r"/describe$", {"fields": "none"}),
    ("describe", r"/describe$", {"fields": [{"name": "Id"}]}),
    ("query", r"/query\?", {"totalSize": "many"}),
    ("query", r"/query\?", {"records": None}),
    ("query", r"/query\?", {"records": [5]}),
    ("recordCount", r"/recordCount", {"sObjects": [{"name": "Lead", "count": "many"}]}),
]


@pytest.mark.parametrize(("place", "path", "patch"), INNER)
def test_an_answer_of_which_a_part_is_of_another_shape(
    org: SimulatedOrg, database: Path, place: str, path: str, patch: dict[str, Any]
) -> None:
    """What is wrong is named, with the hint that the host may be another."""
    org.faults.add(Fault(method="GET", path=path, times=None, json_patch=patch))
    with pytest.raises(SourceError, match="is not what Salesforce's API gives") as caught:
        ingest(org, "lead", database)
    assert "is the domain the host of a Salesforce API" in str(caught.value.hint)


@pytest.mark.parametrize("date", ["soon", "Thu, 99 Foo 2024 25:61:61 GMT", "", "2024-01-01T00:00:00Z"])
def test_a_date_that_nobody_can_read(org: SimulatedOrg, database: Path, date: str) -> None:
    """Without the server's clock no window can end: exit 4, with the reason."""
    org.faults.add(Fault(path="", times=None, headers={"Date": date}))
    with pytest.raises(SourceError, match="no Date header that can be read"):
        ingest(org, "account", database)
