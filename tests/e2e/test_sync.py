"""A file of tables: read, checked as a whole, carried out, and written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingestr.errors import ConfigurationError
from ingestr.simulator import SimulatedOrg
from ingestr.sync_file import SyncFile
from support import content, query, source_uri, table_names

HEAD = 'source = "${SOURCE}"\ndestination = "duckdb:///x.db"\n'
VARIABLES = {"SOURCE": "salesforce://?access_token=00Dx&domain=acme.my", "WHERE": "raw"}

ORG = """
source = "${SOURCE_URI}"
destination = "${DESTINATION_URI}"
dest_table = "raw.{table}"
exclude = "*_history"

[options]
no_load_timestamp = true

[tables]
account = {}
"opportunity*" = { sql_exclude_columns = ["created_by_id"] }

[tables.contact]
mask = ["email:redact"]

[tables.deals]
query = "SELECT Id, Account.Name FROM Opportunity"
"""


def read(tmp_path: Path, text: str) -> SyncFile:
    """The file of a text."""
    path = tmp_path / "ingestr.toml"
    path.write_text(text)
    return SyncFile(path, VARIABLES)


def sync(org: SimulatedOrg, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    variables = {**os.environ, "SOURCE_URI": source_uri(org), "DESTINATION_URI": "duckdb:///sf.db"}
    command = [sys.executable, "-m", "ingestr", "sync", *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_options_of_all_and_of_some(tmp_path: Path) -> None:
    """A table's own options go before those of all; variables are filled in, and dates may be TOML's own."""
    options = read(
        tmp_path,
        HEAD
        + 'dest_table = "${WHERE}.{table}"\n[options]\ndeletes = "hard"\ninterval_start = 2024-01-31\n[tables]\n'
        + 'account = {}\n"opportunity*" = { deletes = "ignore", dest_table = "o.{table}" }\n'
        + "[tables.deals]\nquery = \"SELECT Id FROM Opportunity WHERE Name = '$$1'\"\n",
    ).options(dry_run=True)
    assert options.tables == ("account", "opportunity*", "query:SELECT Id FROM Opportunity WHERE Name = '$1'")
    account = options.of("account", "account", "account")
    assert (account.dest_table, str(account.deletes), account.dry_run) == ("raw.account", "hard", True)
    assert str(account.interval_start) == "2024-01-31 00:00:00+00:00"
    line_item = options.of("opportunity_line_item", "opportunity_line_item", "opportunity*")
    assert (line_item.dest_table, str(line_item.deletes)) == ("o.opportunity_line_item", "ignore")
    assert options.queries[options.tables[2]] == "deals"
    assert account.source_uri.reveal() == VARIABLES["SOURCE"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source = x", r"is no TOML: .*line 1"),
        (HEAD, "it names no table"),
        (HEAD + "[tables]\n", "it names no table"),
        (HEAD + "tabels = {}\n[tables]\naccount = {}", "line 3: unknown key tabels"),
        (HEAD + "[options]\ndelets = 'soft'\n[tables]\naccount = {}", "line 4: unknown key options.delets"),
        (
            HEAD + "[tables]\naccount = {}\nlead = { primary_keys = ['id'] }",
            "line 5: unknown key tables.lead.primary_keys",
        ),
        (
            HEAD + "[tables]\naccount = {}\n[tables.lead]\napi_budget = '5'",
            "line 6: unknown key tables.lead.api_budget",
        ),
        (HEAD + "[tables]\nlead = 5", "line 4: tables.lead is no group"),
        (HEAD + "[tables.lead]\ndeletes = 'perhaps'", "line 3: deletes does not know 'perhaps'"),
        (HEAD + "[options]\ndeletes = 'perhaps'\n[tables]\nlead = {}", "deletes does not know 'perhaps'"),
        (HEAD + "[tables]\nlead = { mask = ['email:nix'] }", "line 4: mask does not know the algorithm 'nix'"),
        (HEAD + "[tables]\nlead = { full_refresh = true, sql_limit = 5 }", "full_refresh together with sql_limit"),
        (HEAD + "dest_table = 'raw.all'\n[tables]\nlead = {}", "dest_table raw.all is one table"),
        (HEAD + "[tables]\n'lead*' = { dest_table = 'raw.leads' }", "means several tables, and its dest_table is one"),
        (HEAD + "[tables]\n'lead*' = { query = 'SELECT Id FROM Lead' }", "a query has one name"),
        (HEAD + "[tables]\nlead = { mask = '${NOT_SET}' }", "line 4: the variable NOT_SET is not set"),
        (HEAD + "tables_in_flight = 0\n[tables]\nlead = {}", "tables_in_flight must be a whole number"),
        ("source = 'salesforce://'\n[tables]\nlead = {}", "destination is missing"),
    ],
)
def test_a_mistake_is_found_before_a_call(tmp_path: Path, text: str, says: str) -> None:
    """The error names the file, the line and the key, as the file spells it."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        read(tmp_path, text).options()
    assert "ingestr.toml" in str(caught.value)
    assert "--" not in f"{caught.value}{caught.value.hint}"


def test_a_near_miss_is_suggested(tmp_path: Path) -> None:
    """A key that is not known comes with the nearest that are."""
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, HEAD + "[options]\ndelets = 'soft'\n[tables]\naccount = {}").options()
    assert caught.value.hint == "did you mean deletes?"


def test_what_a_file_says_is_copied(org: SimulatedOrg, tmp_path: Path) -> None:
    """Tables, options of their own, and a query, in one session; and again."""
    (tmp_path / "ingestr.toml").write_text(ORG)
    for _ in range(2):
        done = sync(org, tmp_path)
        assert done.returncode == 0, done.stderr
        org.clock.advance(60)
    database = tmp_path / "sf.db"
    names = {name for name in table_names(database) if name.startswith("raw.")}
    assert {"raw.account", "raw.contact", "raw.deals", "raw.opportunity", "raw.opportunity_line_item"} <= names
    assert "raw.opportunity_history" not in names
    assert "created_by_id" not in query(database, "FROM raw.opportunity LIMIT 1").column_names
    assert "_ingestr_loaded_at" not in query(database, "FROM raw.account LIMIT 1").column_names
    assert "account_name" in query(database, "FROM raw.deals LIMIT 1").column_names
    assert content(database, "SELECT count(DISTINCT email) FROM raw.contact") == [(1,)]


def test_a_file_is_written_for_an_org(org: SimulatedOrg, tmp_path: Path) -> None:
    """It holds the tables that can be read, no secret, and works as it is; one that is there stays."""
    done = sync(org, tmp_path, "--init", "--source-table", "account,lead*,*Event")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "ingestr.toml").read_text()
    assert "account = {}\n" in written
    assert "# AccountChangeEvent cannot be read: " in written
    assert org.client_secret not in written
    again = sync(org, tmp_path, "--init")
    assert again.returncode == 2
    assert "left as it is" in again.stderr
    planned = sync(org, tmp_path, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "nothing was written" in planned.stdout
    assert not (tmp_path / "sf.db").exists()
    assert sync(org, tmp_path).returncode == 0
    assert "raw.lead" in table_names(tmp_path / "sf.db")


def test_without_a_file(org: SimulatedOrg, tmp_path: Path) -> None:
    """The error says how to get one."""
    done = sync(org, tmp_path)
    assert done.returncode == 2
    assert "there is no ingestr.toml" in done.stderr
    assert "--init writes one" in done.stderr
    assert sync(org, tmp_path, "--source-table", "account").returncode == 2
