"""Orgs for the simulator's own tests, and a client that speaks plain HTTP to them."""

from collections.abc import Iterator

import httpx
import pytest

from ingestr.simulator import SimulatedOrg
from simulator.talk import PATIENTLY, Talk


@pytest.fixture(scope="session")
def seeded() -> Iterator[SimulatedOrg]:
    """An org that no test changes."""
    with SimulatedOrg(rows=600, seed=3) as org:
        yield org
        assert org.internal_errors == []


@pytest.fixture
def own() -> Iterator[SimulatedOrg]:
    """An org of the test's own."""
    with SimulatedOrg(rows=60, seed=5) as org:
        yield org
        assert org.internal_errors == []


@pytest.fixture
def talk(seeded: SimulatedOrg) -> Iterator[Talk]:
    """A logged-in client of the shared org."""
    with httpx.Client(base_url=seeded.url, **PATIENTLY) as client:
        yield Talk(seeded, client)


@pytest.fixture
def own_talk(own: SimulatedOrg) -> Iterator[Talk]:
    """A logged-in client of the test's own org."""
    with httpx.Client(base_url=own.url, **PATIENTLY) as client:
        yield Talk(own, client)
