"""How a result page is compressed is what its header says, and what is not understood is refused by name."""

from pathlib import Path

import pytest

from ingestr.errors import SourceError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.http.checks import encoding_of
from ingestr.sources.salesforce.read import page_reader
from support import claim_huge, ingest, table_names


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("gzip", "gzip"), ("x-gzip", "gzip"), (" GZIP ", "gzip"), ("identity, gzip", "gzip"), ("identity", ""), ("", "")],
)
def test_two_names_of_one_encoding(header: str, encoding: str) -> None:
    """``x-gzip`` is gzip, and ``identity`` is nothing at all."""
    assert encoding_of(header, "reading Lead") == encoding


@pytest.mark.parametrize("header", ["br", "zstd", "deflate", "gzip, gzip", "x-unheard-of"])
def test_another_encoding_is_refused_by_name(header: str) -> None:
    """It was not asked for, so somebody on the way has put it there."""
    with pytest.raises(SourceError, match=header) as caught:
        encoding_of(header, "reading Lead")
    assert "proxy" in str(caught.value.hint)


def test_a_page_of_another_encoding(org: SimulatedOrg, database: Path) -> None:
    """The run ends with its name, and nothing is written."""
    claim_huge(org, "Lead")
    org.faults.add(Fault(path="/results", times=None, headers={"content-encoding": "br"}))
    with pytest.raises(SourceError, match="encoded as"):
        ingest(org, "lead", database)
    assert table_names(database) == []


def test_a_page_without_end_is_left(org: SimulatedOrg, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that goes on and on is bounded, far above what Salesforce sends."""
    claim_huge(org, "Lead")
    monkeypatch.setattr(page_reader, "_LARGEST_BODY", 100)
    with pytest.raises(SourceError, match="does not end"):
        ingest(org, "lead", database)
    assert org.live_jobs == []
