"""Simulated orgs for all tests: one that is only read, and fresh ones for tests that change theirs."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from databases import DuckDBFiles, PostgresDatabase, PostgresDatabases, new_database
from ingestr import redaction
from ingestr.simulator import SimulatedOrg
from kill import Killer
from servers import Server, newest, running
from support import Database

# A shell that starts the tests in the background has them ignore Ctrl-C, nohup has them ignore a closed terminal, and
# so would the processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# How long anything takes tells nothing on a machine that others use too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pages of broken-off runs wait in a folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.fixture(autouse=True)
def no_secrets() -> None:
    """Secrets that an earlier test made up are not blotted out of this one's messages."""
    redaction.forget_all()


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The newest PostgreSQL, for all tests of this process."""
    with running(newest()) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[PostgresDatabase]:
    """A PostgreSQL database of the test's own."""
    with new_database(postgres_server) as database:
        yield database


@pytest.fixture(params=["DuckDB", "PostgreSQL"])
def either(request: pytest.FixtureRequest) -> Database:
    """A database of the test's own, of each engine."""
    database: Database = request.getfixturevalue("database" if request.param == "DuckDB" else "postgres")
    return database


@pytest.fixture(params=["DuckDB", "PostgreSQL"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DuckDBFiles | PostgresDatabases]:
    """Makes databases of each engine."""
    if request.param == "DuckDB":
        yield DuckDBFiles(tmp_path)
        return
    with ExitStack() as made:
        yield PostgresDatabases(request.getfixturevalue("postgres_server"), made)


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """Where killed runs are forked from."""
    with Killer() as killer:
        yield killer


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says at the end of the run how much a random test has tried."""
    return lambda text: record_property("told", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests told, also those of other processes."""
    reports = [
        each for group in terminalreporter.stats.values() for each in group if getattr(each, "when", "") == "call"
    ]
    told = [(each.nodeid, text) for each in reports for name, text in each.user_properties if name == "told"]
    if told:
        terminalreporter.section("what random tests have tried")
        for test, text in sorted(told):
            terminalreporter.write_line(f"{test}: {text}")
