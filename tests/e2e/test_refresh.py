"""Fields whose values change without a trace: read again when a day has passed, on each engine, and counted."""

from typing import Any

import pytest

from ingestr.errors import ConfigurationError, IngestrError
from ingestr.options import IngestOptions, make_options
from ingestr.progress import SilentProgress
from ingestr.render import plan_text
from ingestr.run import pipeline
from ingestr.run.preview import Preview
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, Database, FastClock, bulk, content, execute, ingest, source_uri, uri_of

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def with_formula(org: SimulatedOrg) -> list[str]:
    """Accounts have a formula; returns their Ids."""
    org.add_field("Account", "Score__c", "double", values=[1.0], traits=frozenset({"formula"}))
    ids: list[str] = org.table("Account").column("Id").to_pylist()
    return ids


def drift(org: SimulatedOrg, ids: list[str], value: float, seconds: float) -> None:
    """Time passes, and the formula's outcome changes without a trace."""
    org.clock.advance(seconds)
    org.update("Account", ids, {"Score__c": value}, touch=False)


def scores(database: Database) -> dict[str, float]:
    """The formula of each row."""
    return dict(content(database, "SELECT id, score__c FROM public.t"))


def plan(org: SimulatedOrg, database: Database, **options: Any) -> Preview:
    """What a run would do."""
    given = {"source_uri": source_uri(org), "source_table": "account", "dest_uri": uri_of(database), **options}
    made = make_options(IngestOptions, dest_table="public.t", **given)
    return pipeline.plan(made, clock=FastClock(), progress=SilentProgress(), in_process=True)


def test_formulas_are_read_again_when_a_day_has_passed(org: SimulatedOrg, either: Database) -> None:
    """Not before, and then again a day after that; a run that is started every day is late enough."""
    ids = with_formula(org)
    ingest(org, "account", either)
    drift(org, ids[:5], 2.0, HOUR)
    assert ingest(org, "account", either).rows_updated == 0
    org.clock.advance(DAY - HOUR - MINUTE)
    told = ingest(org, "account", either)
    assert (told.rows_updated, told.rows_read) == (5, 0)
    assert any("reading Score__c of all rows" in note for note in told.notes)
    assert "5 rows of public.t had other values there, and are updated" in told.notes
    assert {key for key, value in scores(either).items() if value == 2.0} == set(ids[:5])
    drift(org, ids[:5], 3.0, HOUR)
    assert ingest(org, "account", either).rows_updated == 0
    org.clock.advance(DAY)
    assert ingest(org, "account", either).rows_updated == 5


def test_rows_whose_formulas_are_the_same_are_left_alone(org: SimulatedOrg, either: Database) -> None:
    """Only rows that got another value bear the moment of the run that read formulas again."""
    ids = with_formula(org)
    ingest(org, "account", either)
    before = dict(content(either, "SELECT id, _ingestr_loaded_at FROM public.t"))
    drift(org, ids[:3], 2.0, DAY)
    ingest(org, "account", either)
    after = dict(content(either, "SELECT id, _ingestr_loaded_at FROM public.t"))
    assert {key for key in after if after[key] != before[key]} == set(ids[:3])


@pytest.mark.parametrize("by_bulk", [False, True])
def test_always_and_never(org: SimulatedOrg, either: Database, by_bulk: bool) -> None:
    """``always`` reads formulas at each run, which counts as the day's time; ``never`` does not, whatever the day."""
    ids = with_formula(org)
    ingest(org, "account", either)
    drift(org, ids[:4], 2.0, 2 * DAY)
    assert ingest(org, "account", either, refresh_formulas="never").rows_updated == 0
    if by_bulk:
        bulk(org, "Account")
    assert ingest(org, "account", either, refresh_formulas="always").rows_updated == 4
    drift(org, ids[:4], 3.0, HOUR)
    assert ingest(org, "account", either).rows_updated == 0
    assert ingest(org, "account", either, refresh_formulas=True).rows_updated == 4


def test_a_table_of_an_earlier_version_is_read_again(org: SimulatedOrg, either: Database) -> None:
    """Where the ledger does not say when formulas were read, they are read now, and that is kept from then on."""
    ids = with_formula(org)
    ingest(org, "account", either)
    execute(either, "ALTER TABLE _ingestr.state DROP COLUMN refreshed_at")
    drift(org, ids[:2], 2.0, MINUTE)
    assert "nobody knows when they were read" in plan(org, either).recalculation
    assert ingest(org, "account", either).rows_updated == 2
    drift(org, ids[:2], 3.0, MINUTE)
    assert ingest(org, "account", either).rows_updated == 0


def test_a_new_column_that_is_filled_is_counted(org: SimulatedOrg, either: Database) -> None:
    """The summary counts the rows that got a value of a field that is new."""
    ingest(org, "account", either)
    org.clock.advance(HOUR)
    org.add_field("Account", "Colour__c", "string", length=10, values=["red", None])
    told = ingest(org, "account", either)
    [[filled]] = content(either, "SELECT count(*) FROM public.t WHERE colour__c = 'red'")
    assert told.rows_updated == filled > 0


def test_reading_everything_counts_as_reading_formulas(org: SimulatedOrg, either: Database) -> None:
    """After a full refresh the day begins anew."""
    ids = with_formula(org)
    ingest(org, "account", either)
    org.clock.advance(2 * DAY)
    ingest(org, "account", either, full_refresh=True)
    drift(org, ids[:2], 2.0, HOUR)
    assert ingest(org, "account", either).rows_updated == 0


def test_a_read_that_is_taken_up_is_as_old_as_its_job(org: SimulatedOrg, either: Database) -> None:
    """Formulas that were downloaded two days ago are read again by the next run."""
    ids = with_formula(org)
    bulk(org, "Account")
    body = '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests"}]'
    org.faults.add(
        Fault(method="GET", path="/results", skip=1, times=None, status=403, headers=JSON_HEADERS, body=body)
    )
    with pytest.raises(IngestrError):
        ingest(org, "account", either)
    org.faults.clear()
    bulk(org, "Account")
    drift(org, ids, 2.0, 2 * DAY)
    assert ingest(org, "account", either).resumed
    org.clock.advance(MINUTE)
    assert ingest(org, "account", either).rows_updated > 0
    assert {scores(either)[key] for key in ids} == {2.0}


@pytest.mark.parametrize("options", [{"sql_limit": 3}, {"interval_start": "2000-01-01", "interval_end": "2000-01-02"}])
def test_a_run_of_some_rows_reads_no_formulas_of_others(
    org: SimulatedOrg, either: Database, options: dict[str, Any]
) -> None:
    """A limit, or an interval that is covered, is not what the day's reading belongs to; the next run does it."""
    ids = with_formula(org)
    ingest(org, "account", either)
    drift(org, ids[:2], 2.0, 2 * DAY)
    assert ingest(org, "account", either, **options).rows_updated <= options.get("sql_limit", 0)
    assert ingest(org, "account", either).rows_updated > 0
    assert set(scores(either).values()) == {1.0, 2.0}


def test_a_deleted_row_keeps_what_was_calculated(org: SimulatedOrg, either: Database) -> None:
    """Formulas are read again of live rows alone."""
    ids = with_formula(org)
    ingest(org, "account", either)
    org.clock.advance(HOUR)
    org.delete("Account", ids[:1])
    org.clock.advance(HOUR)
    ingest(org, "account", either)
    drift(org, ids, 2.0, DAY)
    assert ingest(org, "account", either).rows_updated == len(ids) - 1
    assert scores(either)[ids[0]] == 1.0


def test_versions_are_left_as_they_were_read(org: SimulatedOrg, either: Database) -> None:
    """A table of versions changes none by itself; ``always`` does, in the current ones."""
    ids = with_formula(org)
    scd2: Any = {"incremental_strategy": "scd2"}
    ingest(org, "account", either, **scd2)
    drift(org, ids[:2], 2.0, 2 * DAY)
    assert "versions" in plan(org, either, **scd2).recalculation
    assert ingest(org, "account", either, **scd2).rows_updated == 0
    assert ingest(org, "account", either, refresh_formulas="always", **scd2).rows_updated == 2


def test_the_plan_says_whether_formulas_are_read_again(org: SimulatedOrg, either: Database) -> None:
    """And why, and at which cost."""
    with_formula(org)
    assert "formulas" not in plan_text(plan(org, either))
    ingest(org, "account", either)
    org.clock.advance(HOUR)
    assert "formulas       not read again: they are as of 20" in plan_text(plan(org, either))
    assert "not read again: --refresh-formulas never" in plan_text(plan(org, either, refresh_formulas="never"))
    org.clock.advance(DAY)
    made = plan(org, either)
    # The table tells how many rows there are about.
    assert made.usage.calls == 2
    text = plan_text(made)
    assert "formulas       score__c read again of all rows in about 1 API call more: they are as of 20" in text
    assert plan(org, either, refresh_formulas="always").recalculation == "--refresh-formulas always"


@pytest.mark.parametrize("name", ["Contract", "ContractLineItem", "ServiceContract"])
def test_what_time_changes_is_read_like_a_formula(org: SimulatedOrg, either: Database, name: str) -> None:
    """The status of contracts changes as a day begins, and moves no timestamp."""
    org.add_object(name, "8z9", {"Status": "string"})
    ids = org.insert(name, [{"Status": "Inactive"}, {"Status": "Active"}])
    org.clock.advance(MINUTE)
    ingest(org, name, either)
    org.clock.advance(DAY)
    org.update(name, ids, {"Status": "Expired"}, touch=False)
    assert ingest(org, name, either).rows_updated == 2
    assert content(either, "SELECT DISTINCT status FROM public.t") == [("Expired",)]


def test_append_cannot_read_formulas_again(org: SimulatedOrg, either: Database) -> None:
    """``always`` contradicts a strategy that only adds rows; ``auto`` leaves its rows alone."""
    ids = with_formula(org)
    with pytest.raises(ConfigurationError, match="only adds rows"):
        ingest(org, "account", either, incremental_strategy="append", refresh_formulas="always")
    ingest(org, "account", either, incremental_strategy="append")
    drift(org, ids, 2.0, 2 * DAY)
    assert ingest(org, "account", either, incremental_strategy="append").rows_updated == 0
    assert set(scores(either).values()) == {1.0}
