"""The command line as a user meets it: output, exit codes, secrets, Ctrl-C and kill."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

import ingestr
from ingestr.simulator import Fault, SimulatedOrg
from support import assert_same, claim_huge, command, expected, loaded, query, source_uri, table_names


def arguments(org: SimulatedOrg, database: Path, table: str = "account", login: str = "client") -> list[str]:
    """A whole ingest command."""
    return [
        "ingest", "--source-uri", source_uri(org, login), "--source-table", table,
        "--dest-uri", f"duckdb:////{str(database).lstrip('/')}", "--dest-table", "public.t",
    ]  # fmt: skip


def test_version_help_and_examples(tmp_path: Path) -> None:
    """The small commands answer on stdout with exit 0."""
    assert command("--version", cwd=tmp_path).stdout == f"ingestr {ingestr.__version__}\n"
    shown = command("ingest", "--help", cwd=tmp_path).stdout
    for flag in (
        "--source-uri",
        "--dest-table",
        "--full-refresh",
        "--interval-start",
        "--sql-limit",
        "--schema-naming",
        "--yes",
    ):
        assert flag in shown
    examples = command("example-uris", cwd=tmp_path)
    assert "salesforce://?access_token=" in examples.stdout
    assert "duckdb:///" in examples.stdout
    assert examples.returncode == 0


def test_help_imports_no_driver(tmp_path: Path) -> None:
    """--help is quick because it loads nothing heavy."""
    heavy = "('duckdb', 'pyarrow', 'httpx', 'sqlglot', 'lark')"
    code = f"import sys; from ingestr.cli import app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_prints_its_result(shared_org: SimulatedOrg, database: Path) -> None:
    """stdout holds the result alone, stderr the talk."""
    done = command(*arguments(shared_org, database), cwd=database.parent)
    assert done.returncode == 0, done.stderr
    count = shared_org.count("Account", deleted=True)
    assert (
        f"public.t: {count} rows of Account read by REST, {count} inserted, 0 updated, 0 unchanged; live rows: "
        in done.stdout
    )
    assert "API calls: 4" in done.stdout
    assert "reading Account" in done.stderr
    assert_same(loaded(database), expected(shared_org, "Account", deleted=True))


def test_json_progress_is_json_lines(shared_org: SimulatedOrg, database: Path) -> None:
    """--progress json gives one JSON object a line, the result last."""
    done = command(*arguments(shared_org, database), "--progress", "json", cwd=database.parent)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "phase"
    assert events[-1]["event"] == "result"
    assert events[-1]["rows_read"] == shared_org.count("Account", deleted=True)
    assert events[-1]["api_calls"] == 4
    assert events[-1]["rows_in_source"] == events[-1]["rows_in_destination"] == shared_org.count("Account")


def test_everything_can_come_from_the_environment(shared_org: SimulatedOrg, database: Path) -> None:
    """No secret needs to stand on the command line."""
    done = command(
        "ingest",
        cwd=database.parent,
        SOURCE_URI=source_uri(shared_org),
        INGESTR_SOURCE_TABLE="user_role",
        DESTINATION_URI="duckdb:///sf.db",
        INGESTR_DEST_TABLE="public.t",
        INGESTR_NO_LOAD_TIMESTAMP="true",
        INGESTR_PROGRESS="log",
    )
    assert done.returncode == 0, done.stderr
    assert "_ingestr_loaded_at" not in loaded(database).column_names


def test_the_load_timestamp_is_one_value_a_run(shared_org: SimulatedOrg, database: Path) -> None:
    """Every row of a run carries the moment the run began."""
    command(*arguments(shared_org, database), cwd=database.parent)
    stamps = query(database, "SELECT DISTINCT _ingestr_loaded_at AS s FROM public.t").column("s")
    assert len(stamps) == 1
    assert str(stamps.type) in ("timestamp[us, tz=UTC]", "timestamp[us, tz=Etc/UTC]")


BAD_INPUT = [
    (["--source-uri", "salesforce://?access_token=S3CRET"], 2, "no domain"),
    (["--source-uri", "salesforce://?username=S3CRET&domain=login"], 2, "lacks password"),
    (["--source-uri", "salesforce://?access_token=S3CRET&domain=login&x=1"], 2, "unknown parameter"),
    (["--source-uri", "oracle://S3CRET"], 2, "no source is known"),
    (["--source-table", "acount"], 2, "account"),
    (["--incremental-key", "phone"], 2, "of type phone"),
    (["--interval-start", "soon"], 2, "not a date"),
    (["--interval-start", "2024-02-01", "--interval-end", "2024-01-01"], 2, "is after"),
    (["--full-refresh", "--interval-start", "2024-02-01"], 2, "would drop"),
    (["--dest-uri", "duckdb:///no/such/folder/sf.db"], 5, "does not exist"),
    (["--dest-uri", "duckdb:///:memory:"], 2, "gone when the command ends"),
    (["--page-size", "0"], 2, "at least 1"),
    (["--page-size", "many"], 2, "--page-size"),
    (["--nonsense"], 2, "nonsense"),
    (["--progress", "dance"], 2, "dance"),
]


@pytest.mark.parametrize(("extra", "code", "words"), BAD_INPUT, ids=[" ".join(e) for e, _, _ in BAD_INPUT])
@pytest.mark.parametrize("debug", [False])
def test_bad_input_gets_a_clear_line_and_a_hint(
    shared_org: SimulatedOrg, database: Path, extra: list[str], code: int, words: str, debug: bool
) -> None:
    """One line, a hint, the right exit code, no traceback, no secret, nothing half-written."""
    base = arguments(shared_org, database)
    overridden = {flag for flag in extra if flag.startswith("--")}
    kept = [part for i in range(1, len(base), 2) if base[i] not in overridden for part in base[i : i + 2]]
    done = command("ingest", *kept, *extra, *(["--debug"] if debug else []), cwd=database.parent)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stdout == ""
    for secret in ("S3CRET", shared_org.client_secret, quote(shared_org.client_secret, safe="")):
        assert secret not in done.stderr
    if not debug:
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1 or "Error" in done.stderr


@pytest.mark.parametrize("login", ["client", "token", "password"])
def test_debug_shows_no_secret(org: SimulatedOrg, database: Path, login: str) -> None:
    """--debug says what is sent and why the API was chosen, without a password, secret or token in it."""
    uri = source_uri(org, login)
    base = arguments(org, database, login=login)
    base[2] = uri
    done = command(*base, "--debug", cwd=database.parent)
    assert done.returncode == 0, done.stderr
    assert "reading Account by REST: " in done.stderr
    secrets = [org.password, org.security_token, org.client_secret]
    secrets += re.findall(r"access_token=([^&]*)", uri)
    assert secrets
    for secret in secrets:
        assert secret not in done.stderr + done.stdout
    assert "00D" + "" not in re.sub(r"Account/|00D\w{12}\b(?!!)", "", done.stderr) or "!" not in done.stderr


def start_slow(org: SimulatedOrg, database: Path) -> "subprocess.Popen[str]":
    """A run that hangs on its third result page."""
    org.page_rows = 10
    claim_huge(org, "Lead", times=None)
    org.faults.add(Fault(method="GET", path=r"/results", skip=2, times=1, delay=20))
    return start(org, database, until="/results$")


def start(org: SimulatedOrg, database: Path, *, until: str) -> "subprocess.Popen[str]":
    """A run of which the org has seen a request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ingestr", *arguments(org, database, "lead")],
        cwd=database.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not [r for r in org.requests if re.search(until, r.path)]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_target_as_it_was(org: SimulatedOrg, database: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle: exit 130 within moments, the old table; the next run goes on, and leaves no job."""
    assert command(*arguments(org, database, "lead"), cwd=database.parent).returncode == 0
    before = loaded(database)
    process = start_slow(org, database)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
    assert re.search(r"complete pages of Lead are kept: the next run goes on from there", err)
    assert loaded(database).equals(before)
    [job] = org.live_jobs
    org.faults.clear()
    asked = len(org.requests)
    done = command(*arguments(org, database, "lead"), cwd=database.parent)
    assert done.returncode == 0, done.stderr
    assert "going on with the run that was broken off" in done.stderr
    fetched = {(r.path, r.query) for r in org.requests if r.path.endswith(f"{job}/results")}
    again = {(r.path, r.query) for r in org.requests[asked:] if r.path.endswith("/results")}
    assert 0 < len(again) < len(fetched)
    assert org.live_jobs == []
    assert_same(loaded(database), expected(org, "Lead", deleted=False))


def test_an_interrupt_before_the_first_page_leaves_no_job(org: SimulatedOrg, database: Path) -> None:
    """Where nothing was downloaded there is nothing to keep: the job is aborted and removed."""
    claim_huge(org, "Lead", times=None)
    org.job_polls = 1_000
    process = start(org, database, until=r"/jobs/query/")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "kept" not in err
    assert org.live_jobs == []
    assert table_names(database) == []


def test_a_killed_run_is_followed_by_a_good_one(org: SimulatedOrg, database: Path) -> None:
    """kill -9 in the middle leaves the old table; the next run is right, and leaves no litter."""
    assert command(*arguments(org, database, "lead"), cwd=database.parent).returncode == 0
    before = loaded(database)
    process = start_slow(org, database)
    process.kill()
    process.communicate()
    assert loaded(database).equals(before)
    org.faults.clear()
    org.insert("Lead", [{"LastName": "After", "Company": "the crash"}])
    done = command(*arguments(org, database, "lead"), cwd=database.parent)
    assert done.returncode == 0, done.stderr
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert table_names(database) == ["_ingestr.columns", "_ingestr.state", "public.t"]
    assert [file.name for file in database.parent.iterdir()] == ["sf.db"]
