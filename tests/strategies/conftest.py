"""Each test of a strategy runs on each engine."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from ingestr.core.secret import Secret
from ingestr.destinations.base import Destination
from ingestr.registry import open_destination
from servers import Server


@pytest.fixture(params=["DuckDB", "PostgreSQL"])
def database(request: pytest.FixtureRequest) -> Iterator[Destination]:
    """An empty database, whose transaction is rolled back in the end."""
    uri = "duckdb:///:memory:strategies"
    if request.param == "PostgreSQL":
        server: Server = request.getfixturevalue("postgres_server")
        uri = server.uri("postgres")
    with closing(open_destination(Secret(uri), in_process=True)) as destination:
        destination.connect()
        yield destination
