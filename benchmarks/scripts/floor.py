"""The floor: curl for the pages, one after the other, kept as they come, and DuckDB's `read_csv` with declared types.

It knows its token and query, checks nothing, and starts from nothing each time: the least work, not a tool.
Arguments: a file that says in JSON where the org is and what to ask, and the database.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

SQL_TYPES = {
    "boolean": "BOOLEAN", "int": "BIGINT", "long": "BIGINT", "double": "DOUBLE", "currency": "DOUBLE",
    "percent": "DOUBLE", "date": "DATE", "datetime": "TIMESTAMPTZ", "time": "TIME",
}  # fmt: skip


def main(asked: dict[str, Any], database: str) -> None:
    """Load all rows."""
    headers = ["-H", f"Authorization: Bearer {asked['access_token']}", "-H", "Content-Type: application/json"]
    jobs = "/services/data/v67.0/jobs/query"

    def call(path: str, *options: str) -> Any:
        done = subprocess.run(
            ["curl", "-sSf", *headers, *options, asked["url"] + path], capture_output=True, check=True
        )
        return json.loads(done.stdout)

    body = json.dumps({"operation": asked["operation"], "query": asked["query"]})
    job = call(jobs, "-d", body)["id"]
    while call(f"{jobs}/{job}")["state"] != "JobComplete":
        time.sleep(0.2)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        urls, following = [], f"{jobs}/{job}/resultPages"
        while following:
            listing = call(following)
            urls += [asked["url"] + each["resultUrl"] for each in listing["resultPages"]]
            following = listing.get("nextRecordsUrl")
        wanted = "".join(f'url = "{url}"\noutput = "{folder}/{n:05d}.csv.gz"\n' for n, url in enumerate(urls))
        Path(folder, "pages").write_text(wanted)
        # Without --compressed curl does not inflate what the header asks for.
        fetch = ["curl", "-sSf", *headers, "-H", "Accept-Encoding: gzip", "-K", f"{folder}/pages"]
        subprocess.run(fetch, check=True)
        # A row of a wide object can be longer than the reader expects.
        longest = "max_line_size = 8000000, " if len(asked["fields"]) > 100 else ""
        columns = ", ".join(f"'{name}': '{SQL_TYPES.get(kind, 'VARCHAR')}'" for name, kind in asked["fields"])
        with duckdb.connect(database) as connection:
            connection.execute("SET preserve_insertion_order = false")
            connection.execute(
                f"CREATE TABLE t AS SELECT * FROM read_csv('{folder}/*.csv.gz', header = true, quote = '\"', "
                f"escape = '\"', new_line = '\\n', {longest}columns = {{{columns}}})"
            ).fetchall()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
