"""The script that one writes by hand: simple-salesforce for the pages, pandas for the types, DuckDB for the table.

Arguments: a file that says in JSON where the org is and what to ask, and the database.
"""

import io
import json
import sys
from pathlib import Path

import duckdb
import pandas as pd
from simple_salesforce import Salesforce


def main(asked: dict[str, str], database: str) -> None:
    """Load all rows, with the types that pandas guesses."""
    salesforce = Salesforce(instance_url=asked["tls_url"], session_id=asked["access_token"])
    kind = getattr(salesforce.bulk2, asked["object"])
    read = kind.query_all if asked["operation"] == "queryAll" else kind.query
    # Left alone it looks only every five seconds whether the job is done.
    pages = read(asked["query"], wait=0.2)
    frame = pd.concat([pd.read_csv(io.StringIO(page), low_memory=False) for page in pages])
    with duckdb.connect(database) as connection:
        connection.register("frame", frame)
        connection.execute("CREATE TABLE t AS SELECT * FROM frame")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
