"""Surroundings that lack something: a home, a place for temporary files. Runs do without."""

from pathlib import Path

import pytest

from ingestr.simulator import SimulatedOrg
from support import assert_same, claim_huge, expected, ingest, loaded


@pytest.mark.parametrize("temporary", ["there", "missing"])
def test_a_run_needs_no_home(
    org: SimulatedOrg, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str
) -> None:
    """Without a home, a Bulk read keeps its pages among the temporary files, or nowhere, and leaves nothing behind."""
    org.page_rows = 10
    claim_huge(org, "Lead", times=None)
    folder = tmp_path / "temporary"
    if temporary == "there":
        folder.mkdir()
    monkeypatch.delenv("XDG_CACHE_HOME")
    # As for a user id that has no entry in passwd.
    monkeypatch.setenv("HOME", "~")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert ingest(org, "lead", database).read_by == "Bulk 2.0"
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert not folder.exists() or list(folder.iterdir()) == []
