"""What Salesforce does not know is not a number: reads without a total are complete when the last page says so."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import IncompleteReadError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded

UNKNOWN = pytest.mark.parametrize("unknown", [-1, None])


def ignorant(org: SimulatedOrg, path: str, **patch: Any) -> None:
    """The org never knows these numbers."""
    org.faults.add(Fault(method="GET", path=path, times=None, json_patch=patch))


@UNKNOWN
def test_a_query_without_a_total(
    org: SimulatedOrg, database: Path, unknown: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Big objects say -1: every page comes, and the log says what the proof is."""
    org.rest_rows = 25
    ignorant(org, r"/query(\?|/)", totalSize=unknown)
    with caplog.at_level(logging.DEBUG, "ingestr.salesforce"):
        ingest(org, "lead", database)
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert "told no number of rows" in caplog.text


@UNKNOWN
def test_a_job_without_a_total(org: SimulatedOrg, database: Path, unknown: int | None) -> None:
    """Each page still has as many rows as its header says, and the last one says that it is the last."""
    org.page_rows = 20
    claim_huge(org, "Lead", times=None)
    ignorant(org, r"/jobs/query/\w+$", numberRecordsProcessed=unknown)
    ingest(org, "lead", database)
    assert_same(loaded(database), expected(org, "Lead", deleted=False))


def test_a_page_is_still_counted(org: SimulatedOrg, database: Path) -> None:
    """A page with fewer rows than its header says is incomplete, whatever the job tells."""
    claim_huge(org, "Lead", times=None)
    ignorant(org, r"/jobs/query/\w+$", numberRecordsProcessed=None)
    org.faults.add(Fault(method="GET", path="/results", times=None, record_count_delta=1))
    with pytest.raises(IncompleteReadError, match="where its header says"):
        ingest(org, "lead", database)


@UNKNOWN
def test_a_size_that_is_not_known_chooses_rest(org: SimulatedOrg, database: Path, unknown: int | None) -> None:
    """Nobody takes the slow start of Bulk for a number that nobody knows."""
    body = json.dumps({"sObjects": [{"name": "Lead", "count": unknown}]})
    org.faults.add(Fault(path="recordCount", times=None, status=200, headers=JSON_HEADERS, body=body))
    ignorant(org, r"/query(\?|/)", totalSize=unknown)
    result = ingest(org, "lead", database)
    assert (result.read_by, org.jobs_created) == ("REST", 0)


@UNKNOWN
def test_a_count_that_is_not_known_compares_nothing(org: SimulatedOrg, database: Path, unknown: int | None) -> None:
    """The rows are merged; whether both sides agree, nobody can tell."""
    ignorant(org, r"queryAll\?q=SELECT[+]COUNT", totalSize=unknown)
    result = ingest(org, "account", database)
    assert result.rows_in_source is None
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_known_total_binds_as_ever(org: SimulatedOrg, database: Path) -> None:
    """Fewer rows than promised are an error."""
    ignorant(org, r"/query\?", totalSize=10_000)
    with pytest.raises(IncompleteReadError, match="promised 10000 rows"):
        ingest(org, "lead", database)
