"""`ingestr.read`: the rows as an Arrow stream for data frames and notebooks."""

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import ingestr
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, source_uri


def test_polars_pandas_duckdb_and_pyarrow_read_it(shared_org: SimulatedOrg) -> None:
    """Each of them takes the stream as it is, and sees every row and type."""
    uri = source_uri(shared_org)
    truth = expected(shared_org, "Contact", deleted=False)
    assert_same(pa.table(ingestr.read(uri, "contact")).sort_by("id"), truth)
    assert pl.DataFrame(ingestr.read(uri, "contact")).height == truth.num_rows
    assert len(pd.DataFrame.from_arrow(ingestr.read(uri, "contact"))) == truth.num_rows  # type: ignore[attr-defined]
    contacts = ingestr.read(uri, "contact")  # noqa: F841 - DuckDB finds it by its name
    assert duckdb.execute("SELECT count(*), count(DISTINCT id) FROM contacts").fetchall() == [(truth.num_rows,) * 2]


def test_options_have_the_names_of_ingest(shared_org: SimulatedOrg) -> None:
    """Columns, limit, naming and interval mean the same as for ingest."""
    uri = source_uri(shared_org)
    with ingestr.read(uri, "account", sql_limit=3, schema_naming="direct", sql_exclude_columns=["Description"]) as rows:
        table = pa.table(rows)
    assert table.num_rows == 3
    assert "Description" not in table.column_names
    stamp = shared_org.table("Account").column("SystemModstamp")[0].as_py()
    day = ingestr.read(uri, "account", interval_start=stamp, interval_end=stamp)
    assert set(pa.table(day).column("system_modstamp").to_pylist()) == {stamp}


def test_an_interval_without_a_key_is_refused(shared_org: SimulatedOrg) -> None:
    """A table without a key of its own cannot be read in part."""
    with pytest.raises(ingestr.IngestrError, match="needs a key"):
        ingestr.read(source_uri(shared_org), "contact", interval_start="2024-01-01")


def test_stopping_early_removes_the_job(org: SimulatedOrg) -> None:
    """A reader who has seen enough closes the stream; no job stays at Salesforce."""
    org.grow("Lead", 30_000)
    org.page_rows = 2_000
    with ingestr.read(source_uri(org), "lead") as rows:
        assert next(iter(rows)).num_rows > 0
    assert org.live_jobs == []
