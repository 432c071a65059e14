"""Clients that others wrote, unmodified and at versions that are pinned, over TLS through the CONNECT proxy."""

import csv
import io
import json
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pyarrow as pa
import pytest

from ingestr.core.naming import SchemaNaming, assign_names
from ingestr.simulator import SimulatedOrg
from simulator.clients import attempt, node_client, python_client, run
from support import query

SIMPLE_SALESFORCE = "1.12.10"
# The last release that runs on Node.js 18 and 20.
JSFORCE = "3.10.16"
OLD_INGESTR = "0.14.155"
# Packages that it pins refuse Python 3.13.
OLD_PYTHONS = ("3.12", "3.11")

CONTACT = [
    "Id",
    "Name",
    "FirstName",
    "Salutation",
    "AccountId",
    "Email",
    "Phone",
    "MailingLatitude",
    "MailingCity",
    "Birthdate",
    "Description",
    "IsEmailBounced",
    "CreatedDate",
    "SystemModstamp",
    "LastActivityDate",
]
OPPORTUNITY = [
    "Id",
    "Name",
    "AccountId",
    "Amount",
    "Probability",
    "ExpectedRevenue",
    "CloseDate",
    "IsWon",
    "StageName",
    "PushCount",
    "FiscalYear",
    "LastStageChangeDate",
    "SystemModstamp",
]


@pytest.fixture
def behind_proxy() -> Iterator[SimulatedOrg]:
    """An org that says it is acme.my.salesforce.com, with more contacts than a page of REST holds."""
    with SimulatedOrg(rows=2_500, seed=2, proxy=True) as org:
        assert org.count("Contact") > org.rest_rows
        yield org
        assert org.internal_errors == []


def from_json(value: Any, kind: pa.DataType) -> Any:
    """What a value in JSON says; only times are text there."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        is_epoch = isinstance(value, int)
        return datetime.fromtimestamp(value / 1000, UTC) if is_epoch else datetime.fromisoformat(value)
    return date.fromisoformat(value) if pa.types.is_date(kind) else value


def from_csv(value: str, kind: pa.DataType) -> Any:
    """What a value in CSV says; everything is text there, and an empty one is null."""
    if value and pa.types.is_boolean(kind):
        return {"true": True, "false": False}[value]
    if value and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        return float(value)
    return from_json(value or None, kind)


def assert_rows(records: Sequence[Mapping[str, Any]], truth: pa.Table, read: Any) -> None:
    """The records are exactly the rows of the truth, each once, with all its values."""
    kinds = {field.name: field.type for field in truth.schema}
    have = {record["Id"]: {name: read(record[name], kind) for name, kind in kinds.items()} for record in records}
    want = {row["Id"]: row for row in truth.to_pylist()}
    assert (len(records), len(have)) == (len(want), len(want))
    assert have.keys() == want.keys()
    wrong = [(have[key], want[key]) for key in want if have[key] != want[key]]
    assert not wrong, f"{len(wrong)} rows differ, the first: {wrong[0]}"


def test_every_salesforce_host_leads_to_the_org(behind_proxy: SimulatedOrg) -> None:
    """Login host and instance are the same org, with certificates of the throw-away authority."""
    trusted = ssl.create_default_context(cafile=behind_proxy.ca_file)
    with httpx.Client(proxy=behind_proxy.proxy_url, verify=trusted, trust_env=False) as client:
        for host in ("login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com"):
            assert client.get(f"https://{host}/services/data/").json()[-1]["version"] == "67.0"
        with pytest.raises(httpx.ProxyError):
            client.get("https://example.com/")


def test_the_proxy_tunnels_and_nothing_else(behind_proxy: SimulatedOrg) -> None:
    """A plain request is refused."""
    host, _, port = (behind_proxy.proxy_url or "").removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"GET http://example.com/ HTTP/1.1\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 405")


READ_WITH_SIMPLE_SALESFORCE = """
import json, os
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

known = dict(username=os.environ["ORG_USER"], password=os.environ["ORG_PASSWORD"])
client = Salesforce(security_token=os.environ["ORG_TOKEN"], **known)
try:
    Salesforce(security_token="wrong", **known)
except SalesforceAuthenticationFailed as error:
    refused = error.code
soql = {name: f"SELECT {fields} FROM {name}" for name, fields in json.loads(os.environ["FIELDS"]).items()}
first = client.query(soql["Contact"])
pages = [first["records"]]
while not first["done"]:
    first = client.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    pages.append(first["records"])
print(json.dumps({
    "refused": refused,
    "instance": client.sf_instance,
    "describe": [each["name"] for each in client.Contact.describe()["fields"]],
    "pages": pages,
    "rest": {name: client.query_all(text)["records"] for name, text in soql.items()},
    "everything": client.query_all(soql["Contact"], include_deleted=True)["records"],
    "bulk2": {name: list(getattr(client.bulk2, name).query(text, 1000, wait=1)) for name, text in soql.items()},
    "bulk2_everything": list(client.bulk2.Contact.query_all(soql["Contact"], wait=1)),
    "bulk1": {name: getattr(client.bulk, name).query(text, wait=1) for name, text in soql.items()},
}))
"""


@pytest.mark.slow
def test_simple_salesforce_reads_the_right_rows(behind_proxy: SimulatedOrg, tmp_path: Path) -> None:
    """Password login, REST over pages, Bulk 2.0 by locators and Bulk 1.0 bring every row with its values."""
    python = python_client("simple-salesforce", SIMPLE_SALESFORCE) / "python"
    fields = {"Contact": CONTACT, "Opportunity": OPPORTUNITY}
    known = {
        "ORG_USER": behind_proxy.username,
        "ORG_PASSWORD": behind_proxy.password,
        "ORG_TOKEN": behind_proxy.security_token,
        "FIELDS": json.dumps({name: ", ".join(each) for name, each in fields.items()}),
    }
    command = [str(python), "-c", READ_WITH_SIMPLE_SALESFORCE]
    found = json.loads(run(command, behind_proxy, tmp_path, **known))

    def rows_of(pages: list[str]) -> list[dict[str, str]]:
        return [row for page in pages for row in csv.DictReader(io.StringIO(page, newline=""))]

    contacts = behind_proxy.table("Contact").select(CONTACT)
    everything = behind_proxy.table("Contact", deleted=True).select(CONTACT)
    assert everything.num_rows > contacts.num_rows
    assert (found["refused"], found["instance"]) == ("INVALID_LOGIN", "acme.my.salesforce.com")
    assert set(behind_proxy.table("Contact").column_names) <= set(found["describe"])
    assert [len(page) for page in found["pages"]] == [2_000, contacts.num_rows - 2_000]
    assert_rows([record for page in found["pages"] for record in page], contacts, from_json)
    assert_rows(found["everything"], everything, from_json)
    assert_rows(rows_of(found["bulk2_everything"]), everything, from_csv)
    for name, each in fields.items():
        truth = behind_proxy.table(name).select(each)
        assert_rows(found["rest"][name], truth, from_json)
        assert len(found["bulk2"][name]) == -(-truth.num_rows // 1_000)
        assert_rows(rows_of(found["bulk2"][name]), truth, from_csv)
        assert_rows(found["bulk1"][name], truth, from_json)


READ_WITH_JSFORCE = """
const jsforce = require('jsforce');
const {ORG_USER, ORG_PASSWORD, CLIENT_ID, CLIENT_SECRET, INSTANCE, HTTPS_PROXY, FIELDS} = process.env;
const httpProxy = HTTPS_PROXY;
(async () => {
  const conn = new jsforce.Connection({httpProxy, version: '62.0'});
  const found = {user: (await conn.login(ORG_USER, ORG_PASSWORD)).id, instance: conn.instanceUrl};
  found.describe = (await conn.describe('Contact')).fields.map((field) => field.name);
  found.first = (await conn.query('SELECT Id FROM Contact')).records.length;
  conn.bulk.pollInterval = 50;
  for (const [name, fields] of Object.entries(JSON.parse(FIELDS))) {
    const soql = `SELECT ${fields} FROM ${name}`;
    const rest = await conn.query(soql, {autoFetch: true, maxFetch: 1e6});
    const bulk2 = await (await conn.bulk2.query(soql, {pollInterval: 50})).toArray();
    const bulk1 = await (await conn.bulk.query(soql)).toArray();
    found[name] = {rest: rest.records, bulk2, bulk1};
  }
  const everything = await conn.bulk2.query(`SELECT Id FROM Contact`, {pollInterval: 50, scanAll: true});
  found.everything = (await everything.toArray()).map((row) => row.Id);
  const oauth2 = {loginUrl: INSTANCE, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, httpProxy};
  const app = new jsforce.Connection({oauth2, httpProxy});
  await app.authorize({grant_type: 'client_credentials'});
  found.app = (await app.query('SELECT COUNT() FROM Contact')).totalSize;
  const wrong = new jsforce.Connection({httpProxy, version: '62.0'});
  found.refused = await wrong.login(ORG_USER, 'wrong').catch((error) => error.message);
  process.stdout.write(JSON.stringify(found));
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.mark.slow
def test_jsforce_reads_the_right_rows(behind_proxy: SimulatedOrg, tmp_path: Path) -> None:
    """SOAP login, client credentials, REST with autoFetch and both Bulk APIs bring every row with its values."""
    node, packages = node_client("jsforce", JSFORCE)
    fields = {"Contact": CONTACT, "Opportunity": OPPORTUNITY}
    known = {
        "NODE_PATH": str(packages),
        "INSTANCE": behind_proxy.url,
        "ORG_USER": behind_proxy.username,
        "ORG_PASSWORD": behind_proxy.password + behind_proxy.security_token,
        "CLIENT_ID": behind_proxy.client_id,
        "CLIENT_SECRET": behind_proxy.client_secret,
        "FIELDS": json.dumps({name: ", ".join(each) for name, each in fields.items()}),
    }
    found = json.loads(run([node, "-e", READ_WITH_JSFORCE], behind_proxy, tmp_path, **known))
    assert (found["user"], found["instance"]) == (behind_proxy.user_id, behind_proxy.url)
    assert found["refused"].startswith("INVALID_LOGIN: Invalid username, password, security token")
    assert found["first"] == 2_000
    assert set(behind_proxy.table("Contact").column_names) <= set(found["describe"])
    assert found["app"] == behind_proxy.count("Contact")
    everything = behind_proxy.table("Contact", deleted=True).column("Id").to_pylist()
    assert sorted(found["everything"]) == sorted(everything)
    for name, each in fields.items():
        truth = behind_proxy.table(name).select(each)
        assert_rows(found[name]["rest"], truth, from_json)
        assert_rows(found[name]["bulk2"], truth, from_csv)
        assert_rows(found[name]["bulk1"], truth, from_csv)


def named(fields: Sequence[str]) -> Mapping[str, str]:
    """The column of each field."""
    return assign_names(fields, {}, SchemaNaming("default"))


class OldRelease:
    """The last release of ingestr that was written in Python, and a database file that it loads."""

    def __init__(self, org: SimulatedOrg, folder: Path) -> None:
        self.program = python_client("ingestr", OLD_INGESTR, pythons=OLD_PYTHONS) / "ingestr"
        self.org = org
        self.folder = folder
        self.database = folder / "x.db"

    def command(self, table: str, *options: str) -> list[str]:
        """The command that copies a table into `public.t`."""
        login = {
            "username": self.org.username,
            "password": self.org.password,
            "token": self.org.security_token,
            "domain": "login",
        }
        source = ["--source-uri", "salesforce://?" + urlencode(login), "--source-table", table]
        target = ["--dest-uri", f"duckdb:///{self.database}", "--dest-table", "public.t"]
        return [str(self.program), "ingest", *source, *target, "--yes", "--progress", "log", *options]

    @property
    def quiet(self) -> dict[str, str]:
        """Settings that keep it from calling home."""
        return {"DISABLE_TELEMETRY": "true", "RUNTIME__DLTHUB_TELEMETRY": "false"}

    def load(self, table: str, name: str, *options: str) -> None:
        """Copy a table, and say which columns are text.

        It guesses types from first values: one text that looks like a time makes all others times, which they are not.
        """
        texts = [field.name for field in self.org.table(name).schema if pa.types.is_string(field.type)]
        hints = ",".join(f"{column}:text" for field, column in named(texts).items() if field != "Id")
        run(self.command(table, "--columns", hints, *options), self.org, self.folder, **self.quiet)

    def rows(self, fields: Sequence[str]) -> list[dict[str, Any]]:
        """What is in the table, under the fields' own names."""
        columns = ", ".join(f'"{column}" AS "{field}"' for field, column in named(fields).items())
        loaded: list[dict[str, Any]] = query(self.database, f"SELECT {columns} FROM public.t").to_pylist()
        return loaded


@pytest.fixture
def old_release(behind_proxy: SimulatedOrg, tmp_path: Path) -> OldRelease:
    """The old release beside an org."""
    return OldRelease(behind_proxy, tmp_path)


def from_old_release(value: Any, kind: pa.DataType) -> Any:
    """What a value in a loaded table says; dates are text there."""
    return date.fromisoformat(value) if value is not None and pa.types.is_date(kind) else value


ACCOUNT = [
    "Id",
    "Name",
    "IsDeleted",
    "BillingCity",
    "Fax",
    "AnnualRevenue",
    "NumberOfEmployees",
    "CreatedDate",
    "SystemModstamp",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "name", "fields", "options"),
    [
        ("contact", "Contact", CONTACT, ()),
        ("account", "Account", ACCOUNT, ("--primary-key", "Id")),
        ("opportunity", "Opportunity", OPPORTUNITY, ("--primary-key", "Id")),
        ("custom:Lead", "Lead", ["Id", "Name", "Company", "IsConverted", "CreatedDate"], ()),
    ],
)
def test_the_old_release_loads_the_right_rows(
    old_release: OldRelease, table: str, name: str, fields: list[str], options: tuple[str, ...]
) -> None:
    """By password login and Bulk 1.0's queryAll it loads every row, also the deleted, with its values."""
    old_release.load(table, name, *options)
    truth = old_release.org.table(name, deleted=True).select(fields)
    assert_rows(old_release.rows(fields), truth, from_old_release)


@pytest.mark.slow
def test_the_old_release_merges_what_changed(old_release: OldRelease) -> None:
    """Its second run asks for accounts after the last it saw, by a time with six decimals, and merges them by Id."""
    org, options = old_release.org, ("--primary-key", "Id")
    old_release.load("account", "Account", *options)
    changed = org.table("Account").column("Id").to_pylist()[:3]
    org.update("Account", changed, {"Name": "New name"})
    org.insert("Account", [{"Name": "New account"}])
    old_release.load("account", "Account", *options)
    assert [sum(batch.rows for batch in job.batches.values()) for job in org.classic_jobs.values()] == [2_500, 4]
    fields = ["Id", "Name", "SystemModstamp"]
    assert_rows(old_release.rows(fields), org.table("Account", deleted=True).select(fields), from_old_release)


@pytest.mark.slow
def test_the_old_release_looks_for_a_key_that_no_org_has(old_release: OldRelease) -> None:
    """Left to itself it ends in an error of its own on tables that it merges: it wants `id`, and records have `Id`."""
    command = old_release.command("account")
    done = attempt(command, old_release.org, old_release.folder, **old_release.quiet)
    assert done.returncode != 0
    assert "Primary key column `id` was not found in extracted data item" in done.stderr
