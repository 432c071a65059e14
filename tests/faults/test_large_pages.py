"""Pages too large for memory go through a file and are decoded in parts: as right as others, whatever breaks."""

import errno
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ingestr.errors import IncompleteReadError, SourceError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce import decode
from ingestr.sources.salesforce.read import body, spool
from support import assert_same, claim_huge, expected, ingest, loaded

PAGE = 15


@pytest.fixture
def large_org(org: SimulatedOrg, monkeypatch: pytest.MonkeyPatch) -> SimulatedOrg:
    """An org whose leads come by Bulk, in pages that count as large, cut into blocks of a few rows."""
    monkeypatch.setattr(body, "LARGE_BODY", 500)
    monkeypatch.setattr(spool, "LARGE_BODY", 500)
    monkeypatch.setattr(decode, "_BLOCK_BYTES", 1_000)
    org.page_rows = PAGE
    claim_huge(org, "Lead", times=None)
    return org


def pages(org: SimulatedOrg) -> int:
    """Pages that a whole read of the leads needs."""
    return -(-org.count("Lead") // PAGE)


def fetched(org: SimulatedOrg) -> int:
    """Result pages that were asked for."""
    return len([r for r in org.requests if r.path.endswith("/results")])


def test_large_pages_are_read_whole(
    large_org: SimulatedOrg, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is checked, read in parts, and nothing of it stays behind."""
    parts: list[int] = []
    in_parts = decode.decode_csv_in_parts

    def counted(*given: Any, **named: Any) -> Any:
        for part in in_parts(*given, **named):
            parts.append(part.rows)
            yield part

    monkeypatch.setattr("ingestr.sources.salesforce.read.page_reader.decode_csv_in_parts", counted)
    folder = tmp_path / "pages"
    ingest(large_org, "lead", database, page_size=PAGE, pipelines_dir=str(folder))
    assert_same(loaded(database), expected(large_org, "Lead", deleted=False))
    assert fetched(large_org) == pages(large_org)
    assert sum(parts) == large_org.count("Lead")
    assert len(parts) > pages(large_org)
    assert not [file for file in folder.rglob("*") if file.is_file()]


FAULTS: dict[str, dict[str, Any]] = {
    "cut with a dropped connection": {"truncate": 900},
    "cut cleanly": {"truncate": 900, "clean_cut": True},
    "damaged gzip": {"corrupt_gzip": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_large_page_that_is_damaged_is_fetched_again(large_org: SimulatedOrg, database: Path, fault: str) -> None:
    """It is found out before a row of it is used."""
    large_org.faults.add(Fault(method="GET", path=r"/results", skip=1, times=1, **FAULTS[fault]))
    ingest(large_org, "lead", database, page_size=PAGE)
    assert_same(loaded(database), expected(large_org, "Lead", deleted=False))
    assert fetched(large_org) == pages(large_org) + 1


@pytest.mark.parametrize("fault", [{"record_count_delta": 1}, {"header_rename": {"Company": "Firma"}}])
def test_a_large_page_with_the_wrong_rows_is_an_error_once(
    large_org: SimulatedOrg, database: Path, tmp_path: Path, fault: dict[str, Any]
) -> None:
    """What shows only while its rows are used ends the run; the page is not kept, and the next run is right."""
    folder = str(tmp_path / "pages")
    large_org.faults.add(Fault(method="GET", path=r"/results", skip=1, times=1, **fault))
    with pytest.raises(IncompleteReadError):
        ingest(large_org, "lead", database, page_size=PAGE, pipelines_dir=folder)
    ingest(large_org, "lead", database, page_size=PAGE, pipelines_dir=folder)
    assert_same(loaded(database), expected(large_org, "Lead", deleted=False))


def test_no_room_for_a_large_page(large_org: SimulatedOrg, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is an error that names itself and a way out."""

    def full(**_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(SourceError, match="No space left") as caught:
        ingest(large_org, "lead", database, page_size=PAGE)
    assert "--pipelines-dir" in str(caught.value.hint) or "pipelines_dir" in str(caught.value.hint)
