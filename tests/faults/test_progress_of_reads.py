"""A read says how far it is: the job while it is made, and how many rows there will be."""

from dataclasses import dataclass, field

from ingestr.core.secret import Secret
from ingestr.registry import open_source
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.base import ReadProgress, ReadRequest
from support import FastClock, claim_huge, source_uri


@dataclass
class Told:
    """What a read said."""

    said: list[ReadProgress] = field(default_factory=list)

    def read(self, org: SimulatedOrg, table: str) -> int:
        """Read the Ids of a table; returns how many there are."""
        source = open_source(Secret(source_uri(org)), FastClock())
        try:
            with source.stream(table).read(ReadRequest(fields=("Id",), report=self.said.append)) as rows:
                return sum(batch.num_rows for batch in rows)
        finally:
            source.close()


def test_a_job_that_is_made(org: SimulatedOrg) -> None:
    """Its state and the rows that it has so far, then the rows in all."""
    claim_huge(org, "Lead")
    org.faults.add(Fault(path=r"/jobs/query/\w+$", polls=3))
    told = Told()
    rows = told.read(org, "lead")
    assert any(each.phase.startswith("Bulk job 750") and each.phase.endswith("is InProgress") for each in told.said)
    assert [each.total for each in told.said[:-1]] == [None] * (len(told.said) - 1)
    assert told.said[-1] == ReadProgress("reading Lead", rows, rows)


def test_a_query_knows_its_rows(org: SimulatedOrg) -> None:
    """The first page tells how many rows match."""
    told = Told()
    rows = told.read(org, "lead")
    assert told.said == [ReadProgress("reading Lead", None, rows)]


def test_what_is_not_known_is_not_said(org: SimulatedOrg) -> None:
    """There is no total of -1."""
    org.faults.add(Fault(path=r"/query\?", times=None, json_patch={"totalSize": -1}))
    told = Told()
    assert told.read(org, "lead") == org.count("Lead")
    assert told.said == []
