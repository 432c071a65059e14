"""The orgs that the contract holds for, and what several tests read of them, once.

The simulated org is always one. A real org is another when SALESFORCE_TEST_URI holds a source URI of it, with any of
the three logins. It is only read, and the query jobs made there are deleted. In one process (without -n) this takes
fewer than 60 API calls.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from contract.target import Finished, Sample, Target, csv_of, make_client, records_of
from ingestr.simulator import SimulatedOrg, source_uris

URI = os.environ.get("SALESFORCE_TEST_URI")
UNSET = pytest.mark.skip(reason="set SALESFORCE_TEST_URI to a source URI (salesforce://?…) to hold a real org to this")
FEW = 60
# Enough for three pages of the smallest size, and few enough for any org.
SAMPLE = 450
PAGE = 200
# A server may send smaller pages than it is asked for, but an end must come.
MOST_PAGES = 20
# One of these is read; all have SystemModstamp, and User has a row wherever somebody can log in.
CANDIDATES = ("Account", "Lead", "Contact", "Opportunity", "User")
EACH_TYPE = 4


@pytest.fixture(scope="session", params=["simulated", pytest.param("real", marks=() if URI else UNSET)])
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The org that the facts are asserted for."""
    if request.param == "real":
        with make_client() as client:
            org = Target(client, [URI or ""], simulated=False)
            yield org
            org.close()
        return
    with SimulatedOrg(rows=600, seed=11) as served, make_client() as client:
        org = Target(client, list(source_uris(served, served.access_token()).values()), simulated=True)
        yield org
        org.close()
        assert served.jobs == {}
        assert served.internal_errors == []
        assert served.api_calls < FEW


@pytest.fixture(scope="session")
def listing(target: Target) -> dict[str, Any]:
    """The body of describeGlobal."""
    answer = target.get("/sobjects/")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.fixture(scope="session")
def objects(listing: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of describeGlobal by name."""
    return {each["name"]: each for each in listing["sobjects"]}


@pytest.fixture(scope="session")
def customs(objects: dict[str, dict[str, Any]]) -> list[str]:
    """Some custom objects that can be read."""
    wanted = [
        name
        for name, each in objects.items()
        if name.endswith("__c") and each["custom"] and each["queryable"] and not each["customSetting"]
    ]
    return wanted[:50]


@pytest.fixture(scope="session")
def counts(target: Target, objects: dict[str, dict[str, Any]], customs: list[str]) -> dict[str, int] | None:
    """What recordCount says of the candidates and of names that it must leave out; None without the permission."""
    names = [name for name in CANDIDATES if name in objects]
    left_out = ["AccountHistory", "AccountChangeEvent", "No_Such_Object__c"]
    answer = target.get("/limits/recordCount", sObjects=",".join([*names, *customs, *left_out]))
    if answer.status_code == 403:
        return None
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"sObjects"}
    assert all(each.keys() == {"count", "name"} for each in body["sObjects"])
    return {each["name"]: each["count"] for each in body["sObjects"]}


@pytest.fixture(scope="session")
def subject(target: Target, objects: dict[str, dict[str, Any]], counts: dict[str, int] | None) -> dict[str, Any]:
    """Describe of the object that is read: the smallest with rows enough for several pages, else the largest."""
    known = {name: (counts or {}).get(name, 0) for name in CANDIDATES if name in objects and objects[name]["queryable"]}
    enough = [name for name in known if known[name] >= SAMPLE]
    name = min(enough, key=lambda each: known[each]) if enough else max(known, key=lambda each: known[each])
    return _described(target, name if known[name] else "User")


def _described(target: Target, name: str) -> dict[str, Any]:
    # What was changed since the year 2000 is all of it: 200, not 304.
    answer = target.get(f"/sobjects/{name}/describe", headers={"If-Modified-Since": "Sat, 01 Jan 2000 00:00:00 GMT"})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return {**body, "answer": answer}


@pytest.fixture(scope="session")
def described(
    target: Target, subject: dict[str, Any], counts: dict[str, int] | None, customs: list[str]
) -> list[dict[str, Any]]:
    """Describe of the object that is read, and of the custom object with the most rows, if there is one."""
    if not customs:
        return [subject]
    return [subject, _described(target, max(customs, key=lambda each: (counts or {}).get(each, 0)))]


def _sampled(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A few fields of each type."""
    fields = {each["name"]: each for each in description["fields"]}
    chosen = {name: fields[name] for name in ("Id", "SystemModstamp", "CreatedDate")}
    taken: dict[str, int] = {}
    for name, each in fields.items():
        # Texts without end would make the sample large; lists of Ids and binaries are not read in queries.
        heavy = each["length"] > 4_000 and each["type"] != "multipicklist" and taken.get("long", 0) > 0
        if heavy or each["type"] == "base64" or each["soapType"] == "urn:JunctionIdListNames":
            continue
        kind = "long" if each["length"] > 4_000 else each["type"]
        taken[kind] = taken.get(kind, 0) + 1
        if taken[kind] <= EACH_TYPE:
            chosen[name] = each
    # A compound is compared with its components.
    return chosen | {name: each for name, each in fields.items() if each["compoundFieldName"] in chosen}


def _soql(name: str, fields: list[str]) -> str:
    # The rows that changed least recently are the least likely to change between two calls.
    return f"SELECT {', '.join(fields)} FROM {name} ORDER BY SystemModstamp, Id LIMIT {SAMPLE}"


def _flat(fields: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, each in fields.items() if each["type"] not in {"address", "location"}]


@pytest.fixture(scope="session")
def read(target: Target, subject: dict[str, Any]) -> Sample:
    """Rows of the object by REST, in small pages."""
    fields = _sampled(subject)
    pages = target.query(_soql(subject["name"], list(fields)), batch=PAGE)
    return Sample(subject["name"], fields, pages, {str(each["Id"]): each for each in records_of(pages)})


class Job(Finished):
    """A complete job and its pages, read along the locators."""

    pages: list[Any]
    columns: list[str]


@pytest.fixture(scope="session")
def job(target: Target, read: Sample) -> Job:
    """The same rows by Bulk, in small pages."""
    return _bulk(target, read, PAGE)


def _bulk(target: Target, sample: Sample, rows: int) -> Job:
    columns = _flat(sample.fields)
    finished = target.finish(_soql(sample.name, columns))
    made = Job(finished.id, finished.created, finished.polls)
    made.columns, made.pages, locator = columns, [], ""
    while locator != "null":
        parameters = {"maxRecords": rows, **({"locator": locator} if locator else {})}
        page = target.job("GET", made.id, "/results", params=parameters, headers={"Accept": "text/csv"})
        assert page.status_code == 200, page.text
        made.pages.append(page)
        assert len(made.pages) <= MOST_PAGES
        locator = page.headers["Sforce-Locator"]
    for page in made.pages:
        for row in csv_of(page)[1:]:
            values = dict(zip(columns, row, strict=True))
            sample.bulk[values["Id"]] = values
    return made


@pytest.fixture(scope="session")
def samples(target: Target, described: list[dict[str, Any]], read: Sample, job: Job) -> list[Sample]:
    """Rows by REST and by Bulk, of the object and of the custom object."""
    del job
    found = [read]
    for other in described[1:]:
        fields = _sampled(other)
        pages = target.query(_soql(other["name"], list(fields)))
        sample = Sample(other["name"], fields, pages, {str(each["Id"]): each for each in records_of(pages)})
        _bulk(target, sample, SAMPLE)
        found.append(sample)
    return found
