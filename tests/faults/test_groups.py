"""What Salesforce refuses to select at once is read in groups of fields, joined on the Id, whichever API refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.errors import JobFailedError, RequestRefusedError, SourceError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.read.groups import FieldGroups, is_too_wide
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded, table_names

COMPLICATED = "QUERY_TOO_COMPLICATED", "Query is either selecting too many fields or the filter is too complicated."


def refusing(code: str, message: str, **where: object) -> Fault:
    """Queries that are refused for ever."""
    body = json.dumps([{"errorCode": code, "message": message}])
    return Fault(times=None, status=400, headers=JSON_HEADERS, body=body, **where)  # type: ignore[arg-type]


def more_than(fields: int) -> str:
    """The address of a query for more than so many fields."""
    return r"\?q=SELECT." + r"\w+%2C." * fields


@pytest.mark.parametrize("most", [25, 7])
def test_a_query_of_too_many_formulas(org: SimulatedOrg, database: Path, most: int) -> None:
    """The fields are halved until they are served; every value is there, and so is every column."""
    org.faults.add(refusing(*COMPLICATED, path=more_than(most)))
    org.faults.add(refusing(*COMPLICATED, method="POST", path="/jobs/query"))
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


@pytest.mark.parametrize("where", ["creation", "job"])
def test_a_large_table_that_bulk_refuses(
    org: SimulatedOrg, database: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """Be the job refused or failed, the rows come by REST, and the cost is said."""
    claim_huge(org, "Lead", times=None)
    org.faults.add(refusing(*COMPLICATED, path=more_than(20)))
    if where == "creation":
        org.faults.add(refusing(*COMPLICATED, method="POST", path="/jobs/query"))
    else:
        reason = "Failed to process query: QUERY_TOO_COMPLICATED: too many fields"
        org.faults.add(Fault(path="/jobs/query/", job_state="Failed", error_message=reason))
    result = ingest(org, "lead", database)
    assert result.read_by == "REST"
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert org.live_jobs == []
    assert "reading it by REST in 3 groups of fields, which costs about 21 calls" in caplog.text


@pytest.mark.parametrize("named", ["pack__Level__c", "Level__c", "", "Nothing__c"])
@pytest.mark.parametrize("code", ["MALFORMED_QUERY", "INVALID_FIELD"])
def test_one_name_inside_and_outside_a_package(org: SimulatedOrg, database: Path, named: str, code: str) -> None:
    """Two fields that Salesforce takes for one are asked for apart, whichever of them it names."""
    org.add_field("Account", "Level__c", "string", ["own", None])
    org.add_field("Account", "pack__Level__c", "string", ["packaged", "other", None])
    both = r".*2C\+Level__c.*pack__Level__c"
    message = f"duplicate field selected: {named}"
    org.faults.add(refusing(code, message, path=rf"/query(All)?\?{both}"))
    org.faults.add(refusing(code, message, method="POST", path="/jobs/query"))
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    assert {"level__c", "pack__level__c"} <= set(loaded(database).column_names)


def test_rows_that_change_between_two_groups(org: SimulatedOrg, database: Path) -> None:
    """Each group holds the system timestamp, though the user left it out: no row is made of two states."""
    org.faults.add(refusing(*COMPLICATED, path=more_than(20)))
    ingest(org, "lead", database, sql_exclude_columns=["system_modstamp"])
    selected = [r.query for r in org.requests if r.status == 200 and "Id+IN" in r.query]
    assert selected
    assert all("SystemModstamp" in query for query in selected)
    assert "system_modstamp" not in loaded(database).column_names


def test_a_field_that_is_refused_alone_is_named(org: SimulatedOrg, database: Path) -> None:
    """There is nothing left to cut: the error says what to leave out."""
    org.faults.add(refusing(*COMPLICATED, path=r"/query\?q=SELECT.*Description"))
    with pytest.raises(SourceError, match="Description is asked for alone") as caught:
        ingest(org, "lead", database)
    assert caught.value.hint == "leave it out: --sql-exclude-columns Description"
    assert table_names(database) == []


FIELDS = st.lists(st.text("ABCDEFGH", min_size=1, max_size=6), unique=True, min_size=1, max_size=60)


@given(FIELDS, st.integers(10, 120), st.integers(1, 8), st.randoms(use_true_random=False))
def test_groups_hold_every_field_once(fields: list[str], room: int, most: int, random: object) -> None:
    """Whatever is refused, and in which order, no field is lost and none is asked for twice."""
    groups = FieldGroups(["Id", *fields], ("Id",), lambda some: sum(map(len, some)) <= room)
    error = RequestRefusedError("no", code="QUERY_TOO_COMPLICATED", status=400)
    place = 0
    while place < len(groups):
        own = [name for name in groups[place] if name != "Id"]
        if len(own) > most:
            clash = random.choice([None, random.choice(own), "unknown"])  # type: ignore[attr-defined]
            twice = RequestRefusedError(f"duplicate field selected: {clash}", code="MALFORMED_QUERY", status=400)
            groups.split(place, error if clash is None else twice)
        else:
            place += 1
    assert sorted(name for place in range(len(groups)) for name in groups[place] if name != "Id") == sorted(fields)
    assert all(groups[place][0] == "Id" for place in range(len(groups)))


def test_without_an_id_nothing_can_be_joined() -> None:
    """An object without Id is read whole or not at all."""
    groups = FieldGroups(["A", "B"], (), lambda some: True)
    refusal = RequestRefusedError("too complicated", code="QUERY_TOO_COMPLICATED", status=400)
    with pytest.raises(SourceError, match="has no Id") as caught:
        groups.split(0, refusal)
    assert "--sql-exclude-columns" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("error", "wide"),
    [
        (RequestRefusedError("x", code="QUERY_TOO_COMPLICATED", status=400), True),
        (RequestRefusedError("API_ERROR: QUERY_TOO_COMPLICATED: x", code="API_ERROR", status=400), True),
        (RequestRefusedError("Duplicate field selected: A", code="MALFORMED_QUERY", status=400), True),
        (RequestRefusedError("unexpected token: A", code="MALFORMED_QUERY", status=400), False),
        (RequestRefusedError("No such column A", code="INVALID_FIELD", status=400), False),
        (JobFailedError("x", reason="duplicate field selected: A"), True),
        (JobFailedError("x", reason="deep inside"), False),
    ],
)
def test_what_fewer_fields_would_cure(error: SourceError, wide: bool) -> None:
    """By the code where it has one meaning, else by the text."""
    assert is_too_wide(error) == wide


def test_ranges_that_bulk_refuses_are_cut_until_rest_takes_them(
    org: SimulatedOrg, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large as a whole and too wide for Bulk: smaller ranges of Ids come by REST, in groups of fields."""
    monkeypatch.setattr("ingestr.sources.salesforce.read.planner.MOST_REST_ROWS", 40)
    org.faults.add(refusing(*COMPLICATED, path=more_than(20)))
    large = refusing("OPERATION_TOO_LARGE", "too large", method="POST", path="/jobs/query")
    org.faults.add(replace(large, times=1))
    org.faults.add(refusing(*COMPLICATED, method="POST", path="/jobs/query"))
    ingest(org, "lead", database)
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
