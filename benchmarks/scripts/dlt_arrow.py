"""dlt's Arrow path: a resource that yields each page as an Arrow table with declared types, into DuckDB.

Arguments: a file that says in JSON where the org is and what to ask, and the database.
"""

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.csv
import requests

ARROW_TYPES = {
    "boolean": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "double": pa.float64(), "currency": pa.float64(),
    "percent": pa.float64(), "date": pa.date32(), "datetime": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


def pages(asked: dict[str, Any]) -> Iterator[bytes]:
    """The result's pages as CSV, by locator."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {asked['access_token']}"
        jobs = f"{asked['url']}/services/data/v67.0/jobs/query"
        body = {"operation": asked["operation"], "query": asked["query"]}
        job = f"{jobs}/{session.post(jobs, json=body).json()['id']}"
        while session.get(job).json()["state"] != "JobComplete":
            time.sleep(0.2)
        locator = ""
        while locator != "null":
            page = session.get(f"{job}/results", params={"locator": locator} if locator else None)
            locator = page.headers["Sforce-Locator"]
            yield page.content


def main(asked: dict[str, Any], database: str) -> None:
    """Load all rows."""
    types = {name: ARROW_TYPES.get(kind, pa.string()) for name, kind in asked["fields"]}
    convert = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    # A row of a wide object can be longer than the reader's usual block.
    read = pyarrow.csv.ReadOptions(block_size=8 << 20)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)

    @dlt.resource(name="t", write_disposition="replace")
    def rows() -> Iterator[pa.Table]:
        for page in pages(asked):
            yield pyarrow.csv.read_csv(
                io.BytesIO(page), read_options=read, parse_options=parse, convert_options=convert
            )

    target = dlt.destinations.duckdb(database)
    dlt.pipeline("bench", pipelines_dir="pipelines", destination=target, dataset_name="public").run(rows())


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
