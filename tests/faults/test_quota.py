"""The API's allowance belongs to others too: what is used is read from every answer, and a budget is kept."""

from pathlib import Path

import pytest

from ingestr.core.budget import ApiBudget
from ingestr.errors import ConfigurationError, QuotaError
from ingestr.simulator import SimulatedOrg
from support import assert_same, claim_huge, expected, ingest, loaded, table_names


def test_a_run_stops_before_others_starve(org: SimulatedOrg, database: Path) -> None:
    """At 80% of the org's allowance, whoever used it, the run ends with exit 6 and changes nothing."""
    org.api_limit, org.api_calls = 1_000, 798
    with pytest.raises(QuotaError, match=r"--api-budget 80% is used up.*800 of 1,000") as caught:
        ingest(org, "account", database, api_budget="80%")
    assert caught.value.exit_code == 6
    assert org.api_calls == 800
    assert table_names(database) == []


def test_below_the_budget_nothing_happens(org: SimulatedOrg, database: Path) -> None:
    """A budget that suffices is not noticed."""
    ingest(org, "account", database, api_budget="80%")
    assert_same(loaded(database), expected(org, "Account", deleted=True))


def test_a_number_bounds_the_calls_of_a_run(org: SimulatedOrg, database: Path) -> None:
    """What was downloaded is kept, cleaning up is allowed, and run after run gets through."""
    org.page_rows = 10
    claim_huge(org, "Lead", times=None)
    runs = 0
    while True:
        runs += 1
        try:
            result = ingest(org, "lead", database, api_budget="8", extract_parallelism=1)
        except QuotaError as error:
            assert "--api-budget 8" in str(error)
            continue
        break
    assert runs > 1
    assert result.resumed
    assert org.jobs_created == 1
    assert org.live_jobs == []
    assert_same(loaded(database), expected(org, "Lead", deleted=False))


def test_the_usage_of_one_app_is_not_taken_for_the_orgs(org: SimulatedOrg, database: Path) -> None:
    """Sforce-Limit-Info may name the app's own usage too."""
    org.per_app_usage = True
    org.api_calls = 5_000
    result = ingest(org, "account", database)
    assert (result.usage.used, result.usage.limit) == (org.api_calls, 100_000)


@pytest.mark.parametrize("text", ["80%", " 12.5% ", "100%", "5000", "1"])
def test_budgets_are_shares_or_numbers(text: str) -> None:
    """A share of all, or a number of calls."""
    assert ApiBudget.parse(text) in (
        ApiBudget(0.8),
        ApiBudget(0.125),
        ApiBudget(1.0),
        ApiBudget(None, 5_000),
        ApiBudget(None, 1),
    )


@pytest.mark.parametrize("text", ["0%", "101%", "-5", "0", "many", "0.8", ""])
def test_other_budgets_are_refused(org: SimulatedOrg, database: Path, text: str) -> None:
    """What is neither is refused before a call."""
    with pytest.raises(ConfigurationError, match="--api-budget"):
        ingest(org, "account", database, api_budget=text)
    assert org.requests == []
