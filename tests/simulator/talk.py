"""A bare HTTP client for the simulated org: what a reader of the API's documents would write in an afternoon."""

import csv
import io
import ssl
from typing import Any

import httpx

from ingestr.simulator import SimulatedOrg

VERSION = "66.0"
# Making one takes longer than a call does, and none of these calls needs it.
CONTEXT = ssl.create_default_context()
# Seconds for an answer on a machine that is busy with other things; what waits for ever takes longer.
PATIENCE = 60
PATIENTLY: dict[str, Any] = {"verify": CONTEXT, "timeout": PATIENCE}


class Talk:
    """Calls of one session."""

    def __init__(self, org: SimulatedOrg, client: httpx.Client) -> None:
        self.org = org
        self.client = client
        self.headers = {"Authorization": f"Bearer {org.access_token()}"}
        self.base = f"/services/data/v{VERSION}"

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """GET a resource of the version."""
        return self.client.get(self.base + path, params=parameters or None, headers=self.headers)

    def query(self, soql: str, resource: str = "query") -> list[dict[str, Any]]:
        """Return all records of a query."""
        answer = self.get(f"/{resource}", q=soql)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        records: list[dict[str, Any]] = body["records"]
        while not body["done"]:
            body = self.client.get(body["nextRecordsUrl"], headers=self.headers).json()
            records += body["records"]
        return records

    def error(self, soql: str) -> tuple[int, str, str]:
        """Return status, code and message of a query that fails."""
        answer = self.get("/query", q=soql)
        body = answer.json()
        assert isinstance(body, list), body
        return answer.status_code, body[0]["errorCode"], body[0]["message"]

    def create_job(self, soql: str, operation: str = "query", **options: str) -> httpx.Response:
        """POST a query job."""
        body = {"operation": operation, "query": soql, **options}
        return self.client.post(f"{self.base}/jobs/query", json=body, headers=self.headers)

    def finished_job(self, soql: str, operation: str = "query", **options: str) -> str:
        """Return the id of a job that is complete."""
        job: str = self.create_job(soql, operation, **options).json()["id"]
        for _ in range(20):
            state = self.get(f"/jobs/query/{job}").json()["state"]
            if state == "JobComplete":
                return job
        raise AssertionError(f"the job is {state}")

    def bulk(self, soql: str, operation: str = "query", **options: str) -> list[dict[str, str]]:
        """Return all rows of a Bulk query, page after page by its locators."""
        job = self.finished_job(soql, operation, **options)
        rows: list[dict[str, str]] = []
        locator = ""
        while locator != "null":
            parameters = {"maxRecords": 250, **({"locator": locator} if locator else {})}
            page = self.get(f"/jobs/query/{job}/results", **parameters)
            assert page.status_code == 200, page.text
            found = list(csv.DictReader(io.StringIO(page.content.decode(), newline="")))
            assert len(found) == int(page.headers["Sforce-NumberOfRecords"])
            rows += found
            locator = page.headers["Sforce-Locator"]
        return rows

    def fields(self, name: str) -> dict[str, dict[str, Any]]:
        """Return describe's fields by name."""
        return {field["name"]: field for field in self.get(f"/sobjects/{name}/describe").json()["fields"]}

    def plain_fields(self, name: str) -> list[str]:
        """Return the fields that Bulk can select."""
        return [
            key for key, field in self.fields(name).items() if field["type"] not in {"address", "location", "base64"}
        ]
