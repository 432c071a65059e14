"""The PostgreSQL destination: what every destination must do, on a real server."""

from collections.abc import Iterator
from typing import Any

import pytest

from databases import PostgresDatabase, Server
from destinations.conformance import DestinationConformance
from support import Database


@pytest.fixture(scope="module")
def one(postgres_server: Server) -> Iterator[PostgresDatabase]:
    """A database for all of these tests."""
    with postgres_server.database() as database:
        yield database


class TestConformance(DestinationConformance):
    """What every destination must do."""

    @pytest.fixture
    def database(self, one: PostgresDatabase) -> PostgresDatabase:
        """The same without what the test before has left."""
        one.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return one

    def sql(self, database: Database, text: str) -> list[tuple[Any, ...]]:
        """Run statements over another connection."""
        assert isinstance(database, PostgresDatabase)
        return database.execute(text)
