"""Simulated orgs for all tests: one that is only read, and fresh ones for tests that change theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestr.simulator import SimulatedOrg


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pages of broken-off runs wait in a folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(scope="session")
def shared_org() -> Iterator[SimulatedOrg]:
    """An org that no test may change; faults are not allowed either."""
    with SimulatedOrg(rows=300, seed=7) as org:
        yield org
        assert org.internal_errors == []


@pytest.fixture
def org() -> Iterator[SimulatedOrg]:
    """A small org of the test's own."""
    with SimulatedOrg(rows=60, seed=1) as org:
        yield org
        assert org.internal_errors == []


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the test's database will be."""
    return tmp_path / "sf.db"
