"""What several tests need: runs without waiting, and the comparison of a table with what the org holds."""

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlencode

import duckdb
import pyarrow as pa

from databases import DuckDBFiles, PostgresDatabase, PostgresDatabases
from ingestr.core.naming import SchemaNaming, assign_names
from ingestr.core.secret import Secret
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import TableRef
from ingestr.options import IngestOptions, make_options
from ingestr.progress import SilentProgress
from ingestr.registry import open_destination
from ingestr.result import IngestResult
from ingestr.run import pipeline
from ingestr.simulator import Fault, SimulatedOrg

# How many random sequences are tried. The slower set of tests tries as many as THOROUGH and kills at every instant; no
# variable of ingestr's own, which refuses INGESTR_ names that it does not know.
EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "24"))
THOROUGH = EXAMPLES >= 200
Database = Path | PostgresDatabase
Engine = DuckDBFiles | PostgresDatabases
JSON_HEADERS = {"Content-Type": "application/json;charset=UTF-8"}


@dataclass
class FastClock:
    """A clock whose waiting takes no time; it remembers how long it would have waited."""

    slept: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    def now(self) -> datetime:
        """The machine's time."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that were asked to be waited."""
        return self.elapsed

    def sleep(self, seconds: float, waking: Event | None = None) -> None:
        """Pretend to wait."""
        self.slept.append(seconds)
        self.elapsed += seconds


def source_uri(org: SimulatedOrg, login: str = "client", **changes: str) -> str:
    """The source URI of an org, for one of the three logins."""
    parameters = {
        "client": {"client_id": org.client_id, "client_secret": org.client_secret},
        "token": {"access_token": org.access_token()},
        "password": {"username": org.username, "password": org.password, "token": org.security_token},
    }[login]
    return "salesforce://?" + urlencode({**parameters, "domain": org.url, **changes})


def uri_of(database: Database) -> str:
    """The destination URI of a database."""
    return f"duckdb:////{str(database).lstrip('/')}" if isinstance(database, Path) else database.uri


def ingest(
    org: SimulatedOrg, table: str, database: Database, clock: FastClock | None = None, **options: Any
) -> IngestResult:
    """One run into ``public.t`` of a database, without waiting."""
    given: dict[str, Any] = {
        "source_uri": source_uri(org),
        "source_table": table,
        "dest_uri": uri_of(database),
        "dest_table": "public.t",
        **options,
    }
    return pipeline.run(
        make_options(IngestOptions, **given), clock=clock or FastClock(), progress=SilentProgress(), in_process=True
    )


def claim_huge(org: SimulatedOrg, object_name: str, *, times: int | None = 1) -> None:
    """Let the org claim so many rows of an object that a reader takes Bulk."""
    body = json.dumps({"sObjects": [{"name": object_name, "count": 5_000_000}]})
    path = f"limits/recordCount.*={object_name}$"
    org.faults.add(Fault(method="GET", path=path, times=times, status=200, headers=JSON_HEADERS, body=body))


def bulk(org: SimulatedOrg, object_name: str) -> None:
    """Rows of the object come by Bulk, in several pages."""
    claim_huge(org, object_name, times=None)
    org.page_rows = 15


def content(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query as the engine's own driver gives them."""
    if not isinstance(database, Path):
        return database.execute(sql)
    with duckdb.connect(str(database), read_only=True) as opened:
        return opened.execute(sql).fetchall()


def execute(database: Database, sql: str) -> None:
    """Run statements as somebody else who may write to the database."""
    if not isinstance(database, Path):
        database.execute(sql)
        return
    with duckdb.connect(str(database)) as opened:
        opened.execute(sql)


def query(database: Database, sql: str) -> pa.Table:
    """Rows of a query."""
    if not isinstance(database, Path):
        return database.query(sql)
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table: pa.Table = connection.sql(sql).to_arrow_table()
        return table


def table_names(database: Database) -> list[str]:
    """All tables of a database."""
    if not isinstance(database, Path):
        return database.table_names()
    if not database.exists():
        return []
    names = query(database, "SELECT schema_name || '.' || table_name AS t FROM duckdb_tables() ORDER BY t").column("t")
    return [str(name) for name in names.to_pylist()]


def loaded(database: Database, table: str = "public.t", *, key: str = "id") -> pa.Table:
    """A loaded table in the order of its key, without the load timestamp."""
    rows = query(database, f'SELECT * FROM {table} ORDER BY "{key}"')
    return rows.drop_columns([LOADED_AT]) if LOADED_AT in rows.column_names else rows


def expected(org: SimulatedOrg, object_name: str, *, deleted: bool, naming: str = "default") -> pa.Table:
    """What the org holds, in the order of Id, under the documented column names."""
    truth = org.table(object_name, deleted=deleted).sort_by("Id")
    names = assign_names(truth.column_names, {}, SchemaNaming(naming))
    return truth.rename_columns([names[name] for name in truth.column_names])


def assert_same(actual: pa.Table, truth: pa.Table) -> None:
    """Columns, types and every value are the same; says which column and row differ."""
    assert actual.column_names == truth.column_names
    kinds = [
        (n, str(a), str(t)) for n, a, t in zip(truth.column_names, actual.schema.types, truth.schema.types, strict=True)
    ]
    assert [k for k in kinds if k[1].replace("Etc/UTC", "UTC") != k[2]] == []
    assert actual.num_rows == truth.num_rows
    for name in truth.column_names:
        have, want = actual.column(name).to_pylist(), truth.column(name).to_pylist()
        wrong = [(i, h, w) for i, (h, w) in enumerate(zip(have, want, strict=True)) if repr(h) != repr(w)]
        assert wrong[:1] == [], f"{name}: {len(wrong)} values differ"


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "ingestr", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def kinds(database: Database, table: str = "t") -> dict[str, str]:
    """The columns of a table of ``public`` and their types, as the engine spells them."""
    with closing(open_destination(Secret(uri_of(database)), in_process=True)) as destination:
        destination.connect()
        [target] = destination.describe(TableRef("public", table))
        dialect = destination.capabilities.dialect
    assert target is not None
    return {each.name: each.kind.sql(dialect).upper() for each in target.columns}
