"""What one would write by hand: fetch the result pages with httpx, hand the files to DuckDB with declared types.

It reads one page after the other, checks nothing, forgets nothing it should have forgotten, and starts from nothing
each time: a floor for the work, not a tool.
"""

import gzip
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import duckdb
import httpx

SQL_TYPES = {
    "boolean": "BOOLEAN", "int": "BIGINT", "double": "DOUBLE", "currency": "DOUBLE", "percent": "DOUBLE",
    "date": "DATE", "datetime": "TIMESTAMPTZ", "time": "TIME",
}  # fmt: skip


def main(source_uri: str, database: str) -> None:
    """Load all leads."""
    given = {name: values[0] for name, values in parse_qs(urlsplit(source_uri).query).items()}
    login = {
        "grant_type": "client_credentials",
        "client_id": given["client_id"],
        "client_secret": given["client_secret"],
    }
    token = httpx.post(f"{given['domain']}/services/oauth2/token", data=login).json()
    headers = {"Authorization": f"Bearer {token['access_token']}", "Accept-Encoding": "gzip"}
    with httpx.Client(base_url=token["instance_url"] + "/services/data/v67.0", headers=headers, timeout=300) as http:
        fields = http.get("/sobjects/Lead/describe").json()["fields"]
        types = {
            f["name"]: SQL_TYPES.get(f["type"], "VARCHAR") for f in fields if f["type"] not in ("address", "location")
        }
        query = f"SELECT {', '.join(types)} FROM Lead"
        job = http.post("/jobs/query", json={"operation": "query", "query": query}).json()["id"]
        while http.get(f"/jobs/query/{job}").json()["state"] != "JobComplete":
            time.sleep(0.2)
        with tempfile.TemporaryDirectory() as folder:
            locator, number = None, 0
            while locator != "null":
                parameters = {"maxRecords": "25000"} | ({"locator": locator} if locator else {})
                page = http.get(f"/jobs/query/{job}/results", params=parameters)
                (Path(folder) / f"{number:04d}.csv.gz").write_bytes(gzip.compress(page.content, 1))
                locator, number = page.headers["Sforce-Locator"], number + 1
            columns = ", ".join(f"'{name}': '{type_}'" for name, type_ in types.items())
            with duckdb.connect(database) as connection:
                connection.execute("SET preserve_insertion_order = false")
                connection.execute(
                    f"CREATE TABLE lead AS SELECT * FROM read_csv('{folder}/*.csv.gz', header = true, quote = '\"', "
                    f"escape = '\"', new_line = '\\n', columns = {{{columns}}})"
                ).fetchall()


if __name__ == "__main__":
    main(*sys.argv[1:])
