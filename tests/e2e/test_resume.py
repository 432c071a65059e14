"""A run that was broken off is gone on with: nothing is fetched twice, and the table is as right as after any other."""

import json
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import DestinationError, IngestrError, QuotaError, SourceUnavailableError
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.salesforce.read.resume_token import ResumeToken
from ingestr.sources.salesforce.read.spool import MARK, RawPage, Spool
from support import JSON_HEADERS, assert_same, claim_huge, expected, ingest, loaded, query, table_names

PAGE = 10


@pytest.fixture
def bulk_org(org: SimulatedOrg) -> SimulatedOrg:
    """An org whose leads and accounts are read by Bulk in several pages."""
    org.page_rows = PAGE
    org.grow("Account", 60)
    for name in ("Lead", "Account"):
        claim_huge(org, name, times=None)
    return org


def break_off(org: SimulatedOrg, table: str, database: Path, *, pages: int = 3, **options: Any) -> IngestrError:
    """A run that ends after some pages, because Salesforce is down from then on."""
    fault = Fault(method="GET", path="/results", skip=pages, times=None, status=503, headers=JSON_HEADERS, body="[]")
    org.faults.add(fault)
    with pytest.raises(SourceUnavailableError) as caught:
        ingest(org, table, database, extract_parallelism=1, **options)
    org.faults.clear()
    claim_huge(org, table.capitalize(), times=None)
    return caught.value


def fetched(org: SimulatedOrg) -> int:
    """Result pages that were fetched with success."""
    return len([r for r in org.requests if r.path.endswith("/results") and r.status == 200])


def spooled(folder: Path) -> list[Path]:
    """Files that are left of pages."""
    return [file for file in folder.rglob("*") if file.is_file() and file.name != MARK]


@pytest.mark.parametrize("pages", ["resultPages", "locators"])
def test_each_page_is_fetched_once(bulk_org: SimulatedOrg, database: Path, tmp_path: Path, pages: str) -> None:
    """Complete pages wait in the folder; the next run takes them, fetches the others of the job, and cleans up."""
    bulk_org.result_pages_supported = pages == "resultPages"
    folder = tmp_path / "pages"
    break_off(bulk_org, "lead", database, pipelines_dir=str(folder), page_size=PAGE)
    assert len(spooled(folder)) == 3
    assert (folder / "pages").stat().st_mode & 0o077 == 0 or all(
        each.stat().st_mode & 0o077 == 0 for each in (folder / "pages").iterdir()
    )
    assert table_names(database) == ["_ingestr.reads"]
    result = ingest(bulk_org, "lead", database, pipelines_dir=str(folder), page_size=PAGE)
    assert result.resumed
    assert bulk_org.jobs_created == 1
    assert fetched(bulk_org) == -(-bulk_org.count("Lead") // PAGE)
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))
    assert bulk_org.live_jobs == []
    assert spooled(folder) == []
    assert table_names(database) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]


def test_it_is_said_that_pages_are_kept(
    bulk_org: SimulatedOrg, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is woken by a failed run learns that its work is not lost."""
    break_off(bulk_org, "lead", database)
    assert "3 complete pages of Lead are kept: the next run goes on from there" in caplog.text


@pytest.mark.parametrize("table", ["lead", "account"])
def test_what_changed_meanwhile_comes_too(bulk_org: SimulatedOrg, database: Path, table: str) -> None:
    """A job is as old as the broken-off run: the run that goes on also reads what was changed and deleted since."""
    name = table.capitalize()
    break_off(bulk_org, table, database)
    bulk_org.clock.advance(3 * 3600)
    ids = bulk_org.table(name).column("Id").to_pylist()
    bulk_org.update(name, ids[:2], {"Phone": "555"})
    bulk_org.delete(name, ids[2:4])
    bulk_org.delete(name, ids[4:6])
    bulk_org.purge(name, ids[4:6])
    bulk_org.insert(name, [{"LastName": "New", "Name": "New", "Company": "New"} if name == "Lead" else {"Name": "New"}])
    bulk_org.clock.advance(60)
    result = ingest(bulk_org, table, database)
    assert result.resumed
    rows = query(database, "SELECT * EXCLUDE (_ingestr_loaded_at) FROM public.t WHERE NOT is_deleted ORDER BY id")
    assert_same(rows, expected(bulk_org, name, deleted=False))
    if name == "Lead":
        assert loaded(database).num_rows == rows.num_rows
    assert bulk_org.live_jobs == []
    bulk_org.clock.advance(60)
    assert not ingest(bulk_org, table, database).resumed


def test_a_window_is_gone_on_with_and_closed(bulk_org: SimulatedOrg, database: Path) -> None:
    """An incremental run that was broken off is resumed within its own window, then reads on to now."""
    ingest(bulk_org, "account", database)
    bulk_org.clock.advance(3600)
    bulk_org.grow("Account", 120)
    ids = bulk_org.table("Account").column("Id").to_pylist()
    bulk_org.update("Account", ids, {"Phone": "1"})
    bulk_org.clock.advance(60)
    totals = '{"totalSize":5000000,"done":true,"records":[]}'
    bulk_org.faults.add(
        Fault(path=r"/queryAll.*SELECT\+Id.*SystemModstamp\+%3E", status=200, headers=JSON_HEADERS, body=totals)
    )
    break_off(bulk_org, "account", database)
    bulk_org.clock.advance(3600)
    bulk_org.update("Account", ids[:3], {"Phone": "2"})
    bulk_org.clock.advance(60)
    result = ingest(bulk_org, "account", database)
    assert result.resumed
    assert result.rows_in_source == result.rows_in_destination
    assert_same(loaded(database), expected(bulk_org, "Account", deleted=True))


@pytest.mark.parametrize("what", ["options", "schema", "version", "job"])
def test_what_does_not_match_is_not_used(bulk_org: SimulatedOrg, database: Path, tmp_path: Path, what: str) -> None:
    """Other options, other fields, another API version, or a job that is gone: a new job, and no litter of the old."""
    folder = tmp_path / "pages"
    break_off(bulk_org, "lead", database, pipelines_dir=str(folder))
    [old] = bulk_org.live_jobs
    options: dict[str, Any] = {"pipelines_dir": str(folder)}
    if what == "options":
        options["sql_exclude_columns"] = ["description"]
    elif what == "schema":
        bulk_org.add_field("Lead", "Fresh__c", "double", values=[1.5])
    elif what == "version":
        bulk_org.api_version = "66.0"
    else:
        bulk_org.faults.add(Fault(method="GET", path=f"{old}$", vanish=True))
    bulk_org.clock.advance(60)
    result = ingest(bulk_org, "lead", database, **options)
    assert not result.resumed
    assert bulk_org.jobs_created == 2
    assert bulk_org.live_jobs == []
    assert spooled(folder) == []
    truth = expected(bulk_org, "Lead", deleted=False)
    assert_same(loaded(database), truth.drop_columns(["description"]) if what == "options" else truth)


def test_a_page_that_a_crash_damaged_is_fetched_again(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """What is read back is checked like what comes from the network."""
    folder = tmp_path / "pages"
    break_off(bulk_org, "lead", database, pipelines_dir=str(folder))
    whole, cut, empty = spooled(folder)
    cut.write_bytes(cut.read_bytes()[:-20])
    empty.write_bytes(b"")
    assert whole.stat().st_size > 0
    assert ingest(bulk_org, "lead", database, pipelines_dir=str(folder)).resumed
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))
    assert fetched(bulk_org) == -(-bulk_org.count("Lead") // PAGE) + 2


def test_pages_that_are_gone_are_fetched_from_the_job(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """The next run may be on another machine: the job's id is in the destination, and its pages are at Salesforce."""
    break_off(bulk_org, "lead", database, pipelines_dir=str(tmp_path / "here"))
    result = ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path / "there"))
    assert result.resumed
    assert bulk_org.jobs_created == 1
    assert_same(loaded(database), expected(bulk_org, "Lead", deleted=False))


def test_a_folder_that_cannot_be_written_costs_nothing_else(
    bulk_org: SimulatedOrg, database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk takes away the safety net, said once; the run goes on."""
    (tmp_path / "file").write_text("in the way")
    result = ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path / "file"))
    assert result.rows_read == bulk_org.count("Lead")
    assert caplog.text.count("pages cannot be kept") == 1


def test_a_wider_type_needs_no_second_job(bulk_org: SimulatedOrg, database: Path) -> None:
    """Fractions in an integer field: the same pages are decoded again."""
    bulk_org.add_field("Lead", "Count__c", "int", values=[1, 2.5, None], wire="double")
    result = ingest(bulk_org, "lead", database, extract_parallelism=1)
    assert bulk_org.jobs_created == 1
    assert fetched(bulk_org) == -(-bulk_org.count("Lead") // PAGE)
    assert result.rows_read == bulk_org.count("Lead")
    assert set(loaded(database).column("count__c").to_pylist()) == {1.0, 2.5, None}


def test_the_quota_keeps_progress(bulk_org: SimulatedOrg, database: Path) -> None:
    """When the org's calls are used up in the middle: exit 6, and the next day's run goes on."""
    bulk_org.api_limit = 9
    with pytest.raises(QuotaError) as caught:
        ingest(bulk_org, "lead", database, extract_parallelism=1)
    assert caught.value.exit_code == 6
    assert fetched(bulk_org) > 0
    bulk_org.api_limit = 100_000
    result = ingest(bulk_org, "lead", database)
    assert result.resumed
    assert bulk_org.jobs_created == 1
    assert fetched(bulk_org) == -(-bulk_org.count("Lead") // PAGE)


def test_a_failing_destination_keeps_progress(bulk_org: SimulatedOrg, database: Path) -> None:
    """A view in the way of the target is removed, and what was downloaded is used."""
    break_off(bulk_org, "lead", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA public; CREATE VIEW public.t AS SELECT 1 AS x")
    with pytest.raises(DestinationError, match="is a view"):
        ingest(bulk_org, "lead", database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("DROP VIEW public.t")
    assert ingest(bulk_org, "lead", database).resumed


def test_an_object_without_a_timestamp_says_how_old_its_rows_are(bulk_org: SimulatedOrg, database: Path) -> None:
    """Where nothing tells later changes, the user learns the moment that the rows are of."""
    break_off(bulk_org, "lead", database, sql_exclude_columns=["is_deleted"])
    result = ingest(bulk_org, "lead", database, sql_exclude_columns=["is_deleted"])
    assert any("is as of" in note for note in result.notes)


def make_pages(root: Path, days_old: float, *, mark: bool = True, name: str | None = None) -> Path:
    """A folder of pages as a run of some days ago left it."""
    folder = root / (name or uuid.uuid4().hex)
    if mark:
        assert Spool(folder).prepare()
    else:
        folder.mkdir(parents=True, mode=0o700)
    for file in ("x.page", "y.12.part"):
        (folder / file).write_text("a page")
    moment = time.time() - days_old * 24 * 3600
    for each in (*folder.iterdir(), folder):
        os.utime(each, (moment, moment))
    return folder


def test_old_pages_of_other_tables_are_removed(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """Salesforce keeps results for seven days: what is older serves nobody."""
    root = tmp_path / "folder" / "pages"
    old, young = make_pages(root, 9), make_pages(root, 1)
    ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path / "folder"))
    assert (old.exists(), young.exists()) == (False, True)


def test_pages_that_a_run_still_writes_stay(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """A folder is as old as its newest file."""
    folder = make_pages(tmp_path / "pages", 9)
    (folder / "z.page").write_text("new")
    moment = time.time() - 9 * 24 * 3600
    os.utime(folder, (moment, moment))
    ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path))
    assert len(spooled(folder)) == 3


def test_what_bears_no_mark_of_ours_stays(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """Folders of others, links, and files of others in a folder of ours are neither removed nor followed."""
    root, elsewhere = tmp_path / "pages", tmp_path / "elsewhere"
    others = [make_pages(root, 30, mark=False), make_pages(root, 30, mark=False, name="api")]
    ours_elsewhere = make_pages(elsewhere, 30)
    (root / ours_elsewhere.name).symlink_to(ours_elsewhere, target_is_directory=True)
    mixed = make_pages(root, 30)
    (mixed / "notes.txt").write_text("mine")
    (mixed / "link.page").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("x")
    (root / "file").write_text("x")
    writable = make_pages(root, 30)
    writable.chmod(0o777)
    ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path))
    assert all(len(spooled(each)) == 2 for each in (*others, ours_elsewhere, writable))
    assert sorted(each.name for each in mixed.iterdir()) == [MARK, "link.page", "notes.txt"]
    assert (tmp_path / "precious").read_text() == "x"
    assert (root / "file").exists()


def test_a_folder_of_somebody_else_is_not_used(
    bulk_org: SimulatedOrg, database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages are neither taken from nor kept in a folder that others can write to; the run goes on without it."""
    folder = tmp_path / "pages"
    break_off(bulk_org, "lead", database, pipelines_dir=str(folder))
    [pages] = list((folder / "pages").iterdir())
    pages.chmod(0o777)
    before = fetched(bulk_org)
    assert ingest(bulk_org, "lead", database, pipelines_dir=str(folder)).resumed
    assert fetched(bulk_org) - before == -(-bulk_org.count("Lead") // PAGE)
    assert len(spooled(pages)) == 3
    assert caplog.text.count("pages cannot be kept") == 1


@pytest.mark.parametrize("mark", [None, ""])
def test_a_folder_whose_maker_died_is_used(
    bulk_org: SimulatedOrg, database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, mark: str | None
) -> None:
    """A run was killed before its folder had a mark, or while it wrote it: the next one uses it, and tidies up."""
    break_off(bulk_org, "lead", database, pipelines_dir=str(tmp_path))
    [pages] = list((tmp_path / "pages").iterdir())
    for file in pages.iterdir():
        file.unlink()
    if mark is not None:
        (pages / MARK).write_text(mark)
    break_off(bulk_org, "lead", database, pipelines_dir=str(tmp_path), pages=1)
    assert len(spooled(pages)) == 1
    assert ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path)).resumed
    assert list((tmp_path / "pages").iterdir()) == []
    assert "pages cannot be kept" not in caplog.text


@pytest.mark.parametrize("name", [MARK, "link.page", "notes.txt"])
def test_a_folder_with_anything_of_others_gets_no_mark(tmp_path: Path, name: str) -> None:
    """A folder that bears a name of ours, but holds something, was made by somebody else."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir(mode=0o700)
    (tmp_path / "precious").write_text("")
    (folder / name).symlink_to(tmp_path / "precious")
    spool = Spool(folder)
    spool.keep(RawPage("one", b"1", "", 1, None))
    spool.discard()
    assert [each.name for each in folder.iterdir()] == [name]
    assert (tmp_path / "precious").read_text() == ""


def test_a_folder_that_vanishes_meanwhile_is_made_anew(tmp_path: Path) -> None:
    """Somebody empties the cache while a run downloads: the pages that follow are kept again."""
    spool = Spool(tmp_path / uuid.uuid4().hex)
    spool.keep(RawPage("one", b"1", "", 1, None))
    shutil.rmtree(spool.folder)
    assert spool.find("one") is None
    spool.keep(RawPage("two", b"2", "", 1, "next"))
    assert spool.find("two") == RawPage("two", b"2", "", 1, "next")
    assert len(spool) == 1
    spool.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "head",
    [
        b"", b"no JSON", b"[]", b"5", b"{}", b'{"encoding": "gzip", "rows": 1}', b"[" * 30_000,
        b'{"encoding": "br", "rows": 1, "locator": null}', b'{"encoding": [], "rows": 1, "locator": null}',
        b'{"encoding": "", "rows": "1", "locator": null}', b'{"encoding": "", "rows": true, "locator": null}',
        b'{"encoding": "", "rows": 1, "locator": 5}', b'{"encoding": "", "rows": 1, "locator": "a\\nb"}',
        b'{"encoding": "", "rows": 1, "locator": null, "url": "x"}',
    ],
)  # fmt: skip
def test_the_head_of_a_page_is_checked(tmp_path: Path, head: bytes) -> None:
    """What does not say what we would have written is no page, or loses what is strange in it."""
    spool = Spool(tmp_path / uuid.uuid4().hex)
    spool.keep(RawPage("one", b"1", "", 1, None))
    [file] = spooled(spool.folder)
    file.write_bytes(head + b"\n1")
    assert spool.find("one") in (None, RawPage("one", b"1", "", 1, None))


def write_token(database: Path, token: object, columns: dict[str, str] | None = None) -> None:
    """Put a row about ``public.t`` into the table of reads that were broken off, whatever it says."""
    types = {
        "table_schema": "VARCHAR", "table_name": "VARCHAR", "source_object": "VARCHAR", "fingerprint": "VARCHAR",
        "window_end": "TIMESTAMPTZ", "token": "VARCHAR", "committed": "BOOLEAN", "begun_at": "TIMESTAMPTZ",
        **(columns or {}),
    }  # fmt: skip
    row = {"table_schema": "public", "table_name": "t", "source_object": "Lead", "token": token, "committed": False}
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"CREATE TABLE _ingestr.reads ({', '.join(f'{n} {t}' for n, t in types.items())})")
        connection.execute(
            f"INSERT INTO _ingestr.reads ({', '.join(row)}, window_end, fingerprint) "
            f"VALUES ({', '.join('?' * len(row))}, {'now()' if 'TIME' in types['window_end'] else 7}, 'x')",
            list(row.values()),
        )


def token_of(**changes: object) -> str:
    """A token that would be good, but for the changes."""
    good = {"job_id": "750000000000001AAA", "version": "67.0", "pages": "0" * 32}
    return json.dumps({**good, **changes})


BAD_TOKENS = {
    "no JSON": "not json", "empty": "", "a list": "[]", "a number": "5", "nothing in it": "{}", "deep": "[" * 50_000,
    "more than we know": token_of(new=1), "a job of another form": token_of(job_id="7"),
    "a job that leads elsewhere": token_of(job_id="../../sobjects/Account/001000000000001AAA"),
    "a job with a line break": token_of(job_id="750000000000001AAA\n"), "no job": token_of(job_id=None),
    "no version": token_of(version=67), "a version that leads elsewhere": token_of(version="../67.0"),
    "a folder above": token_of(pages=".."), "a folder below": token_of(pages="a/b"), "no folder": token_of(pages=""),
    "an absolute folder": token_of(pages="/etc"), "no text at all": None,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_token_is_checked_like_any_input(kind: str) -> None:
    """Whatever leads elsewhere, or says other things than we would have written, is no token."""
    assert ResumeToken.parse(token_of()) == ResumeToken("750000000000001AAA", "67.0", "0" * 32)
    assert ResumeToken.parse(BAD_TOKENS[kind] or "") is None


@pytest.mark.parametrize("kind", ["no JSON", "a job that leads elsewhere", "a folder below", "no text at all"])
def test_a_token_that_is_none_of_ours_means_starting_again(
    bulk_org: SimulatedOrg, database: Path, tmp_path: Path, kind: str
) -> None:
    """Damaged, foreign or of a newer version: nothing that it names is touched, and the row is replaced."""
    ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path))
    precious = make_pages(tmp_path / "pages", 0, mark=False, name="a") / "b"
    precious.mkdir()
    write_token(database, BAD_TOKENS[kind])
    bulk_org.clock.advance(60)
    bulk_org.requests.clear()
    result = ingest(bulk_org, "lead", database, pipelines_dir=str(tmp_path))
    assert not result.resumed
    assert precious.exists()
    assert not [r for r in bulk_org.requests if r.method == "DELETE" and "/jobs/query/" not in r.path]
    assert table_names(database) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]


@pytest.mark.parametrize(
    "columns",
    [{"window_end": "INTEGER"}, {"committed": "VARCHAR"}, {"token": "BLOB"}, {"window_end": "TIMESTAMP"}],
)
def test_a_table_of_reads_of_another_form_is_made_anew(
    bulk_org: SimulatedOrg, database: Path, columns: dict[str, str]
) -> None:
    """Another version of ingestr, or somebody else, made it: the run starts again, with a table of ours."""
    ingest(bulk_org, "lead", database)
    write_token(database, token_of().encode() if "token" in columns else token_of(), columns)
    bulk_org.clock.advance(60)
    assert not ingest(bulk_org, "lead", database).resumed
    assert table_names(database) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]


@pytest.mark.parametrize("moment", ["'infinity'", "NULL", "'290000-01-01 00:00:00+00'"])
def test_a_time_that_is_none_means_starting_again(bulk_org: SimulatedOrg, database: Path, moment: str) -> None:
    """A time that nobody can calculate with, or none."""
    ingest(bulk_org, "lead", database)
    write_token(database, token_of())
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"UPDATE _ingestr.reads SET window_end = {moment}")
    bulk_org.clock.advance(60)
    assert not ingest(bulk_org, "lead", database).resumed


def test_the_job_of_another_object_is_left_alone(bulk_org: SimulatedOrg, database: Path, tmp_path: Path) -> None:
    """A row that names somebody else's job, in the right form: it is neither read nor deleted."""
    break_off(bulk_org, "account", tmp_path / "other.db")
    [foreign] = bulk_org.live_jobs
    ingest(bulk_org, "lead", database)
    write_token(database, token_of(job_id=foreign))
    bulk_org.clock.advance(60)
    assert not ingest(bulk_org, "lead", database).resumed
    assert foreign in bulk_org.live_jobs
