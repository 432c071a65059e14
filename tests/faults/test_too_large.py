"""Queries that Salesforce cannot serve whole are cut by Id, down to the row that is to blame; none is swallowed."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.errors import JobFailedError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.read.ranges import IdRange, to_id, to_number, with_checksum
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded, query, table_names

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def refusal(code: str, message: str, **options: object) -> Fault:
    """A query that is refused."""
    body = json.dumps([{"errorCode": code, "message": message}])
    return Fault(status=400, headers=JSON_HEADERS, body=body, **options)  # type: ignore[arg-type]


@given(st.text(BASE62, min_size=15, max_size=15))
def test_ids_are_numbers_and_back(row_id: str) -> None:
    """An Id of 15 characters survives the way to a number and back."""
    assert to_id(to_number(row_id)) == row_id


@given(st.text(BASE62, min_size=15, max_size=15), st.text(BASE62, min_size=15, max_size=15))
def test_ids_compare_as_their_numbers_do(one: str, other: str) -> None:
    """The order of the numbers is the order of the texts, by case."""
    assert (one < other) == (to_number(one) < to_number(other))


@given(st.integers(0, 62**15 - 3), st.integers(2, 10**9), st.integers(0, 40))
def test_halves_are_valid_and_leave_nothing_out(low: int, width: int, depth: int) -> None:
    """The ends of the parts are Ids of the same prefix as their neighbours, and each part begins where one ended."""
    parts = [IdRange(low, min(low + width, 62**15 - 1))]
    for _ in range(depth % 6):
        parts = [half for part in parts for half in (part.halves() if part.high - part.low > 1 else (part,))]
    assert (parts[0].open_low, parts[-1].open_high) == (True, True)
    for left, right in pairwise(parts):
        assert left.high == right.low
        assert not left.open_high
        assert not right.open_low
    for condition in [text for part in parts for text in part.conditions()]:
        row_id = condition.split("'")[1]
        assert len(row_id) == 15
        assert set(row_id) <= set(BASE62)


def test_the_checksum_is_the_platforms(shared_org: SimulatedOrg) -> None:
    """The three letters behind an Id of 15 characters are those that Salesforce adds."""
    for row_id in shared_org.table("Account").column("Id").to_pylist()[:50]:
        assert with_checksum(row_id[:15]) == row_id


@pytest.mark.parametrize("table", ["account", "lead"])
def test_a_query_that_takes_too_long_is_cut_by_id(org: SimulatedOrg, database: Path, table: str) -> None:
    """REST runs into the time limit, Bulk does, and ranges of Ids bring every row."""
    name = table.capitalize()
    org.grow(name, 150)
    org.query_timeout_rows = 40
    ingest(org, table, database)
    assert_same(loaded(database), expected(org, name, deleted=table == "account"))
    assert org.live_jobs == []
    ranges = [r.query for r in org.requests if "Id+%3C+" in r.query or "Id%20%3C%20" in r.query]
    assert len(ranges) >= 4


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("OPERATION_TOO_LARGE", "exceeded 100000 distinct who/what's"),
        ("QUERY_TIMEOUT", "Your query request was running for too long."),
    ],
)
def test_what_both_apis_refuse_as_too_large_is_cut(org: SimulatedOrg, database: Path, code: str, message: str) -> None:
    """The first query and the job are refused when they are made; ranges are served."""
    org.faults.add(refusal(code, message, method="GET", path="/queryAll.*ORDER\\+BY\\+Id$"))
    org.faults.add(refusal(code, message, method="POST", path="/jobs/query"))
    ingest(org, "task", database)
    assert_same(loaded(database), expected(org, "Task", deleted=True))


@pytest.mark.parametrize(
    "reason",
    ["QUERY_TIMEOUT: Your query request was running for too long.", "Retried more than fifteen times",
     "Failed to write query result"],
)  # fmt: skip
def test_a_job_that_took_too_long_is_cut(org: SimulatedOrg, database: Path, reason: str) -> None:
    """A failed job has no code, so its text tells."""
    claim_huge(org, "Lead")
    org.faults.add(Fault(method="GET", path=r"/jobs/query/", job_state="Failed", error_message=reason))
    ingest(org, "lead", database)
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert org.live_jobs == []


def test_any_other_failed_job_is_an_error(org: SimulatedOrg, database: Path) -> None:
    """Only what smaller parts would cure is cut."""
    claim_huge(org, "Lead")
    org.faults.add(Fault(method="GET", path=r"/jobs/query/", job_state="Failed", error_message="deep inside"))
    with pytest.raises(JobFailedError, match="deep inside"):
        ingest(org, "lead", database)
    assert table_names(database) == []


def test_a_query_that_always_takes_too_long_ends(org: SimulatedOrg, database: Path) -> None:
    """Cutting has an end: a range of few Ids that still takes too long is an error, and nothing is written."""
    org.query_timeout_rows = 0
    with pytest.raises(JobFailedError, match="QUERY_TIMEOUT"):
        ingest(org, "account", database)
    assert table_names(database) == []
    assert org.live_jobs == []


@pytest.mark.parametrize("api", ["REST", "Bulk 2.0"])
def test_a_row_that_salesforce_cannot_write_is_found_and_set_aside(org: SimulatedOrg, database: Path, api: str) -> None:
    """Numeric Overflow names no row: the ranges close in on it, and all other rows are loaded."""
    ids = org.table("Lead").column("Id").to_pylist()
    org.poisoned = {ids[3], ids[40]}
    if api == "Bulk 2.0":
        claim_huge(org, "Lead")
    result = ingest(org, "lead", database)
    assert result.rows_quarantined == 2
    aside = query(database, "SELECT row_id, field, reason FROM _ingestr.quarantine ORDER BY row_id").to_pylist()
    assert [row["row_id"] for row in aside] == sorted(org.poisoned)
    assert {row["field"] for row in aside} == {None}
    assert "Numeric Overflow" in aside[0]["reason"]
    truth = expected(org, "Lead", deleted=False)
    keep = [key not in org.poisoned for key in truth.column("id").to_pylist()]
    assert_same(loaded(database), truth.filter(keep))
    assert org.live_jobs == []


def test_a_merge_agrees_in_spite_of_such_a_row(org: SimulatedOrg, database: Path) -> None:
    """The row is live at the source and in quarantine here: both sides are explained, in later runs too."""
    org.poisoned = set(org.table("Account").column("Id").to_pylist()[5:6])
    result = ingest(org, "account", database)
    assert result.rows_in_source == result.rows_in_destination + 1
    org.clock.advance(3600)
    org.requests.clear()
    again = ingest(org, "account", database)
    assert again.rows_quarantined == 1
    assert len(org.requests) < 8
