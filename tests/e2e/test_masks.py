"""Masks and trimming, end to end: what arrives, what stays right between runs, and what is seen nowhere."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import ConfigurationError, DecodeError, IngestrError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.read import body, spool
from support import JSON_HEADERS, bulk, command, ingest, loaded, query, source_uri, table_names

HOUR = 3600
KEY = "0123456789abcdef-secret"
MASKS = [
    "name:hash",
    "Phone:phone",
    "website:uuid",
    "billing_street:redact",
    "annual_revenue:noise",
    "number_of_employees:range:100",
    "description:hmac:another-secret",
    "billing_city:random",
]


def sha256(text: str | None) -> str | None:
    """The hash of a text, as anybody can make it."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def column(database: Path, name: str) -> list[Any]:
    """A column's values in the order of the key."""
    values: list[Any] = loaded(database).column(name).to_pylist()
    return values


def files_with(folder: Path, texts: list[str]) -> list[str]:
    """Files below a folder in which one of the texts stands."""
    wanted = [text.encode() for text in texts]
    read = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return [name for name, content in read.items() if any(text in content for text in wanted)]


@pytest.mark.parametrize("api", ["REST", "Bulk 2.0"])
def test_a_second_run_changes_nothing(org: SimulatedOrg, database: Path, api: str) -> None:
    """A merge finds its rows again, and none of them differs: what is random in a mask is the same in every run."""
    if api == "Bulk 2.0":
        bulk(org, "Account")
    first = ingest(org, "account", database, mask=MASKS)
    assert first.read_by == api
    truth = org.table("Account", deleted=True).sort_by("Id")
    assert column(database, "name") == [sha256(name) for name in truth.column("Name").to_pylist()]
    before = loaded(database)
    kinds = {name: str(before.schema.field(name).type) for name in ("annual_revenue", "number_of_employees")}
    assert kinds == {"annual_revenue": "double", "number_of_employees": "string"}
    assert column(database, "annual_revenue") != truth.column("AnnualRevenue").to_pylist()
    # All rows are read again, as after a change of each.
    second = ingest(org, "account", database, mask=MASKS, interval_start="1900-01-01")
    assert (second.rows_read, second.rows_inserted, second.rows_updated) == (before.num_rows, 0, 0)
    assert second.rows_unchanged == before.num_rows
    assert loaded(database).equals(before)


@pytest.mark.parametrize("api", ["REST", "Bulk 2.0"])
@pytest.mark.parametrize(
    ("table", "field", "others"),
    [("account", "Name", "parent_id,master_record_id"), ("contact", "LastName", "name,reports_to_id,master_record_id")],
)
def test_no_file_shows_a_value(
    org: SimulatedOrg, tmp_path: Path, table: str, field: str, others: str, api: str
) -> None:
    """Database, log of the database, pages and temporary files hold nothing that is masked; nor does what is said."""
    name = table.capitalize()
    org.add_field(name, "Poison__c", "double", values=["topsecret-no-number", *["1.0"] * 14], wire="string")
    if api == "Bulk 2.0":
        bulk(org, name)
    for run in range(2):
        done = command(
            "ingest", "--source-uri", source_uri(org), "--source-table", table, "--dest-uri", "duckdb:///sf.db",
            "--mask", f"{field}:hash,poison__c:round", "--mask", "id:uuid", "--mask", "phone:hmac:S3CRET-KEY",
            "--pipelines-dir", "pages", "--debug", "--progress", "log",
            # The same values stand in these.
            "--sql-exclude-columns", others,
            cwd=tmp_path, TMPDIR=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (tmp_path / f"said-{run}").write_text(done.stdout + done.stderr)
    truth = org.table(name, deleted=True)
    names = {
        value for value in truth.column(field).to_pylist() if value and len(value) > 6 and not set(value) & set(",;\n")
    }
    phones = {value for value in truth.column("Phone").to_pylist() if value and value.startswith("+")}
    keys = set(truth.column("Id").to_pylist())
    assert min(len(names), len(phones)) > 5
    assert files_with(tmp_path, [*names, *phones, *keys, "topsecret", "S3CRET-KEY"]) == []
    quarantined = query(tmp_path / "sf.db", "SELECT * FROM _ingestr.quarantine").to_pylist()
    assert quarantined
    assert all(row["value"] is None and row["row_id"] not in keys for row in quarantined)


def test_too_many_rows_that_cannot_be_read_show_no_value(org: SimulatedOrg, database: Path) -> None:
    """The error names the field and what is wrong, and not the value of a column that is masked."""
    org.add_field("Account", "Poison__c", "double", values=["topsecret-no-number"], wire="string")
    with pytest.raises(DecodeError, match=r"Poison__c of row \w+ cannot be had: not a value of double") as caught:
        ingest(org, "account", database, mask=["poison__c:round"], quarantine_limit=0)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["uuid", "hash", "md5", "hmac:some-key"])
@pytest.mark.parametrize("bin_log", [True, False])
def test_a_masked_key_still_finds_its_rows(org: SimulatedOrg, database: Path, algorithm: str, bin_log: bool) -> None:
    """Changes, deletions of every kind and rows that the table lacks come right, as with a key in clear."""
    mask = [f"id:{algorithm}"]
    ingest(org, "account", database, mask=mask)
    ids = org.table("Account").column("Id").to_pylist()
    org.clock.advance(HOUR)
    org.update("Account", ids[:2], {"Phone": "changed"})
    org.delete("Account", ids[2:5])
    org.purge("Account", ids[2:4])
    if not bin_log:
        text = '[{"errorCode":"INVALID_REPLICATION_DATE","message":"startDate before org replication enabled date"}]'
        org.faults.add(Fault(path="/deleted", status=400, headers=JSON_HEADERS, body=text))
    org.clock.advance(60)
    result = ingest(org, "account", database, mask=mask)
    assert result.rows_in_source == result.rows_in_destination == org.count("Account")
    assert result.rows_inserted == 0
    live = query(database, "SELECT id, phone FROM public.t WHERE NOT is_deleted").to_pylist()
    assert len(live) == len({row["id"] for row in live}) == org.count("Account")
    assert sum(row["phone"] == "changed" for row in live) == 2
    assert not {row["id"] for row in live} & set(ids)


def test_rows_that_the_table_lacks_are_read_again(org: SimulatedOrg, database: Path) -> None:
    """Nobody can ask for rows by a masked key: all are read, and those that were there are not changed."""
    ingest(org, "account", database, mask=["id:uuid"])
    before = loaded(database)
    with_gap = (
        query(database, "SELECT id FROM public.t WHERE NOT is_deleted ORDER BY id LIMIT 3").column("id").to_pylist()
    )
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM public.t WHERE id IN (SELECT unnest(?))", [with_gap])
    org.clock.advance(60)
    result = ingest(org, "account", database, mask=["id:uuid"])
    assert result.rows_inserted == 3
    assert loaded(database).equals(before)


def test_tables_can_be_joined_by_masked_keys(org: SimulatedOrg, database: Path) -> None:
    """The same value becomes the same UUID in every table of a database: its key is the database's."""
    ingest(org, "account", database, mask=["id:uuid"], dest_table="public.a")
    ingest(org, "contact", database, mask=["account_id:uuid"], dest_table="public.c")
    joined = query(database, "SELECT count(*) AS n FROM public.c JOIN public.a ON c.account_id = a.id")
    accounts = set(org.table("Account", deleted=True).column("Id").to_pylist())
    wanted = [each for each in org.table("Contact").column("AccountId").to_pylist() if each in accounts]
    assert joined.to_pylist() == [{"n": len(wanted)}]
    assert len(wanted) > 10
    assert query(database, "SELECT * FROM _ingestr.mask_key").num_rows == 1


def test_a_key_of_the_users_own_is_not_kept(org: SimulatedOrg, tmp_path: Path) -> None:
    """With --mask-key the database holds no key, and two databases hold the same values."""
    found = []
    for name in ("a.db", "b.db"):
        ingest(org, "contact", tmp_path / name, mask=["id:uuid", "birthdate:date_shift"], mask_key=KEY)
        assert "_ingestr.mask_key" not in table_names(tmp_path / name)
        found.append(loaded(tmp_path / name))
    assert found[0].equals(found[1])
    assert files_with(tmp_path, [KEY]) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"mask": ["phone:hash"]}, {}),
        ({}, {"mask": ["phone:hash"]}),
        ({"mask": ["phone:hash"]}, {"mask": ["phone:md5"]}),
        ({"mask": ["phone:partial:2"]}, {"mask": ["phone:partial:3"]}),
        ({"mask": ["phone:hmac:one"]}, {"mask": ["phone:hmac:two"]}),
        ({"mask": ["phone:uuid"]}, {"mask": ["phone:uuid"], "mask_key": KEY}),
    ],
)
def test_a_column_is_never_masked_in_two_ways(
    org: SimulatedOrg, database: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """A merge under another mask or key is refused before a row is read; starting again is the way to change it."""
    ingest(org, "account", database, **before)
    there = loaded(database)
    with pytest.raises(ConfigurationError, match=r"^phone of public.t is .*masked.* would be of both kinds") as caught:
        ingest(org, "account", database, **after)
    assert caught.value.hint is not None
    assert "--full-refresh" in caught.value.hint
    assert loaded(database).equals(there)
    ingest(org, "account", database, full_refresh=True, **after)
    assert ingest(org, "account", database, **after).rows_updated == 0


def test_a_column_that_was_left_out_keeps_its_mask(org: SimulatedOrg, database: Path) -> None:
    """A run that does not read a column leaves it, and how it is masked is still known to the next."""
    ingest(org, "account", database, mask=["phone:hash"])
    ingest(org, "account", database, sql_exclude_columns=["phone"])
    with pytest.raises(ConfigurationError, match="masked by hash"):
        ingest(org, "account", database)
    ingest(org, "account", database, mask=["phone:hash"])


def test_a_table_that_is_replaced_takes_any_mask(org: SimulatedOrg, database: Path) -> None:
    """All its rows are of one read, and sequential numbers are those of that read."""
    ingest(org, "contact", database, mask=["last_name:stars"])
    ingest(org, "contact", database, mask=["last_name:sequential", "id:sequential"])
    assert column(database, "id") == list(range(1, org.count("Contact") + 1))
    names = org.table("Contact").column("LastName").to_pylist()
    assert set(column(database, "last_name")) == set(range(1, len(set(names)) + 1))


REFUSED = [
    ("fone:hash", "phone"),
    ("system_modstamp:year_only", "the load tells by SystemModstamp which"),
    ("last_modified_date:year_only", None),
    ("is_deleted:hash", "the load tells by IsDeleted which rows are deleted"),
    ("created_date:date_shift", "the load tells by CreatedDate which rows were there"),
    ("id:partial", "Id tells the rows apart"),
    ("id:sequential", "each run would count anew"),
    ("name:sequential", "each run would count anew"),
    ("name:round", "is for whole numbers and numbers, and the column is string"),
    ("annual_revenue:email", "is for texts and whole numbers, and the column is double"),
]


@pytest.mark.parametrize(("mask", "message"), REFUSED)
def test_what_cannot_be_masked_is_said_before_a_row_is_read(
    org: SimulatedOrg, database: Path, mask: str, message: str | None
) -> None:
    """No column is loaded in clear because its mask was not understood."""
    if message is None:
        ingest(org, "account", database, mask=[mask])
        return
    with pytest.raises(ConfigurationError) as caught:
        ingest(org, "account", database, mask=[mask])
    assert message in f"{caught.value} {caught.value.hint}"
    assert not [each for each in org.requests if "query" in each.path]
    assert table_names(database) == []


def test_a_column_has_one_mask(org: SimulatedOrg, database: Path) -> None:
    """Under whatever names it is called."""
    with pytest.raises(ConfigurationError, match="names phone twice"):
        ingest(org, "account", database, mask=["phone:hash", "Phone:stars"])


def test_the_key_of_a_load_is_not_masked_away(org: SimulatedOrg, database: Path) -> None:
    """An incremental key is compared with moments of Salesforce, and has to be read as it is."""
    with pytest.raises(ConfigurationError, match="LastModifiedDate which rows to read"):
        ingest(org, "contact", database, incremental_key="last_modified_date", mask=["last_modified_date:year_only"])


def test_masks_leave_no_pages(org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """A masked run that breaks off leaves nothing, takes up no run in clear, and removes the pages of one."""
    bulk(org, "Lead")
    folder = tmp_path / "pages"
    options: dict[str, Any] = {"page_size": 15, "pipelines_dir": str(folder), "extract_parallelism": 1}
    for mask in ([], ["phone:hash"], []):
        fault = Fault(method="GET", path="/results", skip=2, times=None, status=503, headers=JSON_HEADERS, body="[]")
        org.faults.add(fault)
        with pytest.raises(IngestrError):
            ingest(org, "lead", database, mask=mask, **options)
        org.faults.clear()
        bulk(org, "Lead")
        assert bool([file for file in folder.rglob("*") if file.is_file()]) == (not mask)
    result = ingest(org, "lead", database, mask=["phone:hash"], **options)
    assert not result.resumed
    assert "a run that breaks off starts again" in " ".join(result.notes)
    assert not [file for file in folder.rglob("*") if file.is_file()]


def test_large_pages_stay_in_memory(org: SimulatedOrg, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a file without a name holds a page in clear."""
    monkeypatch.setattr(body, "LARGE_BODY", 500)
    monkeypatch.setattr(spool, "LARGE_BODY", 500)
    bulk(org, "Lead")
    # Whoever wants a temporary file gets none.
    monkeypatch.setattr(tempfile, "tempdir", str(database / "nowhere"))
    result = ingest(org, "lead", database, mask=["phone:hash"], pipelines_dir=str(database.parent / "pages"))
    assert result.rows_read == org.count("Lead")
    assert not (database.parent / "pages").exists()


def test_keys_that_are_compared_stay_in_memory(
    org: SimulatedOrg, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the key is masked, the Ids that both sides are compared by lie in no file either."""
    ingest(org, "account", database, mask=["id:uuid"])
    before = loaded(database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("DELETE FROM public.t WHERE id IN (SELECT id FROM public.t WHERE NOT is_deleted LIMIT 3)")
    org.clock.advance(60)
    monkeypatch.setattr(body, "LARGE_BODY", 50)
    monkeypatch.setattr(tempfile, "tempdir", str(database / "nowhere"))
    # REST cannot serve the Ids, so that they come by Bulk.
    slow = '[{"errorCode":"QUERY_TIMEOUT","message":"Your query request was running for too long."}]'
    path = r"query\S*SELECT[+ ]*Id[+ ]FROM"
    org.faults.add(Fault(method="GET", path=path, times=1, status=400, headers=JSON_HEADERS, body=slow))
    created = org.jobs_created
    assert ingest(org, "account", database, mask=["id:uuid"]).rows_inserted == 3
    assert org.jobs_created == created + 1
    assert loaded(database).equals(before)


def test_texts_are_trimmed_before_they_are_masked(org: SimulatedOrg, database: Path) -> None:
    """White space at the ends of texts goes, in all columns of text; what is left is masked."""
    ids = org.table("Account").column("Id").to_pylist()
    org.clock.advance(HOUR)
    org.update("Account", ids[:1], {"Name": "  Acme\t", "Phone": " \u00a0 ", "BillingCity": " Oslo\n"})
    org.clock.advance(60)
    ingest(org, "account", database, trim_whitespace=True, mask=["name:hash"])
    where = f"SELECT name, phone, billing_city FROM public.t WHERE id = '{ids[0]}'"
    assert query(database, where).to_pylist() == [{"name": sha256("Acme"), "phone": None, "billing_city": "Oslo"}]
    again = ingest(org, "account", database, trim_whitespace=True, mask=["name:hash"], interval_start="1900-01-01")
    assert again.rows_updated == 0


def test_a_new_field_is_masked_in_all_rows(org: SimulatedOrg, database: Path) -> None:
    """The history of a field that came is read under its mask."""
    ingest(org, "account", database)
    org.add_field("Account", "Secret__c", "string", values=["one", "two"])
    ingest(org, "account", database, mask=["secret__c:hash"])
    wanted = [sha256(each) for each in org.table("Account", deleted=True).sort_by("Id").column("Secret__c").to_pylist()]
    assert column(database, "secret__c") == wanted
