"""What an org offers, and what it costs to learn about many tables at once."""

from collections.abc import Iterator

import pytest

from ingestr.core.secret import Secret
from ingestr.registry import open_source
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.base import ReadRequest, Source
from support import JSON_HEADERS, FastClock, source_uri


@pytest.fixture
def source(org: SimulatedOrg) -> Iterator[Source]:
    """A connection to the org."""
    made = open_source(Secret(source_uri(org)), FastClock())
    yield made
    made.close()


def test_what_the_org_offers(org: SimulatedOrg, source: Source) -> None:
    """Every object is told with a name, its size, and why it cannot be read; it takes two calls."""
    offered = {each.source_object: each for each in source.tables()}
    assert source.usage.calls == 2
    assert offered["Product2"].table == offered["Product2"].name == "product"
    assert offered["OpportunityFieldHistory"].name == "opportunity_field_history"
    assert offered["OpportunityFieldHistory"].table == "OpportunityFieldHistory"
    assert offered["Lead"].rows == org.count("Lead")
    assert offered["Lead"].label == "Lead"
    assert "no API" in offered["AccountChangeEvent"].reason
    assert "condition" in offered["ContentDocumentLink"].reason
    readable = [each for each in offered.values() if not each.reason]
    assert 20 < len(readable) < len(offered)


def test_many_tables_are_described_in_few_calls(org: SimulatedOrg, source: Source) -> None:
    """25 describes cost a call; one that cannot be had is asked for alone, and each is used once."""
    tables = [each.table for each in source.tables() if not each.reason]
    before = source.usage.calls
    source.prepare([*tables, "custom:Nothing__c", "query:SELECT Id FROM Account"])
    described = source.usage.calls - before
    schemas = {table: source.stream(table).schema for table in tables}
    assert described <= len(tables) // 25 + 2
    assert source.usage.calls - before == described
    org.add_field("Account", "New__c", "string", values=["x"])
    again = source.stream("account").schema
    assert set(again.names) - set(schemas["account"].names) == {"New__c"}


def test_sizes_are_asked_for_once(org: SimulatedOrg, source: Source) -> None:
    """A plan of one of many tables does not ask for its size again."""
    source.prepare(["account", "lead"])
    stream = source.stream("lead")
    before = source.usage.calls
    assert stream.plan(ReadRequest(tuple(stream.schema.names))).rows == org.count("Lead")
    assert source.usage.calls == before


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_org_that_refuses_to_describe_together(org: SimulatedOrg, source: Source, status: int) -> None:
    """Each object is described by a call of its own then."""
    body = '[{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}]'
    org.faults.add(Fault(path="/composite$", times=None, status=status, headers=JSON_HEADERS, body=body))
    source.prepare(["account", "lead", "contact"])
    assert [source.stream(table).source_object for table in ("account", "lead")] == ["Account", "Lead"]


def test_an_answer_with_fewer_describes(org: SimulatedOrg, source: Source) -> None:
    """What a joint answer lacks is asked for alone."""
    failed = '{"referenceId": "r0", "httpStatusCode": 500, "body": [{"errorCode": "UNKNOWN_EXCEPTION"}]}'
    body = f'{{"compositeResponse": [{failed}]}}'
    org.faults.add(Fault(path="/composite$", times=None, status=200, headers=JSON_HEADERS, body=body))
    source.prepare(["account", "lead", "contact"])
    assert "Company" in source.stream("lead").schema.names
