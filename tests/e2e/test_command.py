"""The command line as a user meets it: output, exit codes, secrets, Ctrl-C and kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

import ingestr
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, assert_same, claim_huge, command, expected, loaded, query, source_uri, table_names


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


def test_examples_import_no_driver(tmp_path: Path) -> None:
    """example-uris prints text: it loads nothing heavy either."""
    heavy = "('duckdb', 'pyarrow', 'httpx', 'sqlglot')"
    code = f"import sys; import ingestr.registry; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["ingest", "--nonsense"], "no such option: --nonsense", "ingestr ingest --help"),
        (["ingest", "--source-uri"], "option '--source-uri' requires an argument", "ingestr ingest --help"),
        (["ingset"], "no such command 'ingset'", "ingestr --help"),
        (["salesforce://S3CRET"], "a URI stands where none is taken", "ingestr --help"),
        (["example-uris", "S3CRET"], "1 argument without an option before it", "ingestr example-uris --help"),
        (["simulate", "--port", "many"], "invalid value for '--port'", "ingestr simulate --help"),
    ],
)
def test_a_mistyped_command_is_one_line_and_a_hint(tmp_path: Path, words: list[str], error: str, hint: str) -> None:
    """What the parser refuses looks like every other error, and repeats no argument that may be a secret."""
    done = command(*words, cwd=tmp_path)
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {error}")
    assert second == f"hint: {hint}"
    assert (done.returncode, done.stdout) == (2, "")
    assert "S3CRET" not in done.stderr


def test_one_row_is_one_row(shared_org: SimulatedOrg, database: Path) -> None:
    """Numbers and their nouns agree."""
    done = command(*arguments(shared_org, database), "--sql-limit", "1", cwd=database.parent)
    assert "public.t: 1 row of Account read by REST" in done.stdout


def test_debug_shows_where_an_error_came_from(shared_org: SimulatedOrg, database: Path) -> None:
    """With --debug an expected error has its traceback, under a line that says so."""
    done = command(*arguments(shared_org, database, "acount"), "--debug", cwd=database.parent)
    assert re.search(r"^[\d-]{10} [\d:,]{12} where the error came from:\nTraceback", done.stderr, re.MULTILINE)
    assert not re.search(r"^[\d-]{10} [\d:,]{12} *$", done.stderr, re.MULTILINE)
    assert done.stderr.splitlines()[-2].startswith("error: unknown table 'acount'")


def test_an_error_is_one_line(org: SimulatedOrg, database: Path) -> None:
    """Line breaks in Salesforce's texts do not break the line of an error."""
    body = json.dumps([{"errorCode": "MALFORMED_QUERY", "message": "\nSELECT Id\n       ^\r\nERROR at Row:1"}])
    org.faults.add(Fault(method="GET", path="/query", times=None, status=400, headers=JSON_HEADERS, body=body))
    done = command(*arguments(org, database, "contact"), cwd=database.parent)
    assert done.returncode == 4
    lines = [line for line in done.stderr.splitlines() if "SELECT" in line or "ERROR" in line]
    assert lines == ["error: reading Contact: MALFORMED_QUERY: SELECT Id ^ ERROR at Row:1"]


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
    assert events[0] == {"event": "start", "source_table": "account", "dest_table": "public.t"}
    assert {"phase", "log", "progress"} <= {event["event"] for event in events}
    *_, result, end = events
    count = shared_org.count("Account", deleted=True)
    assert result["event"] == "result"
    assert result["rows_read"] == count
    assert result["api_calls"] == 4
    assert result["rows_in_source"] == result["rows_in_destination"] == shared_org.count("Account")
    assert (end["event"], end["status"], end["error"], end["exit_code"]) == ("end", "success", None, 0)
    assert (end["rows"], end["batches"] > 0, end["duration_sec"] > 0) == (count, True, True)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--progress", "json", "--nonsense"], 2, "no such option: --nonsense"),
        (["--progress=json", "--page-size", "0"], 2, "--page-size must be at least 1, not 0"),
        (["--progress", "json", "--sql-exclude-columns", "nix"], 2, "unknown column to exclude 'nix'"),
    ],
)
def test_json_progress_ends_after_every_error(
    shared_org: SimulatedOrg, database: Path, words: list[str], code: int, error: str
) -> None:
    """Whatever goes wrong, the last line is the one end, and says what."""
    done = command(*arguments(shared_org, database), *words, cwd=database.parent)
    assert done.returncode == code, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event for event in events if event["event"] == "end"] == events[-1:]
    assert (events[-1]["status"], events[-1]["rows"], events[-1]["exit_code"]) == ("failed", 0, code)
    assert events[-1]["error"].startswith(error)
    assert f"error: {error}" in done.stderr


@pytest.mark.parametrize("name", ["INGESTR_MASK", "INGESTR_MSAK"])
def test_a_variable_that_asks_for_a_mask_loads_nothing_in_clear(org: SimulatedOrg, database: Path, name: str) -> None:
    """What cannot be masked as asked for is refused before any call, however the variable is spelled."""
    done = command(*arguments(org, database), cwd=database.parent, **{name: "phone:hashed"})
    assert done.returncode == 2
    assert name in done.stderr
    assert org.requests == []
    assert not database.exists()


def test_what_a_scheduler_passes_is_taken(shared_org: SimulatedOrg, database: Path) -> None:
    """Intervals beside --full-refresh, flags with words, options that do nothing here, variables of others: exit 0."""
    done = command(
        *arguments(shared_org, database), "--full-refresh=true", "--interval-start", "2024-01-01 00:00:00+0000",
        "--interval-end=2024-02-01T00:00:00.000Z", "--yes", "--debug=false", "--progress", "log", "--batch-size", "1",
        "--staging-bucket", "gs://bucket", "--incremental-strategy", "none", "--schema-naming", "snake_case",
        cwd=database.parent, INGESTR_DISABLE_TELEMETRY="true", INGESTR_DUCKDB_X="y", INGESTR_DEBUG="true", DEBUG="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("warning: "), "it is said before anything is done"
    assert "warning: --full-refresh reads everything: the interval is ignored\n" in done.stderr
    assert "warning: --staging-bucket does nothing for this destination\n" in done.stderr
    assert "SELECT" not in done.stderr
    assert_same(loaded(database), expected(shared_org, "Account", deleted=True))


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
    (["--full-refresh", "--sql-limit", "5"], 2, "would drop"),
    (["--mask", "phone"], 2, "names no algorithm"),
    (["--mask", "phone:hashed"], 2, "does not know the algorithm"),
    (["--mask", "fone:hash"], 2, "phone"),
    (["--mask-key", "short"], 2, "could be guessed"),
    (["--pipelines-dir", "~no-such-user"], 2, "--pipelines-dir"),
    (["--dest-uri", "duckdb:////dev/null/folder/sf.db"], 5, "is not a folder"),
    (["--dest-uri", "duckdb:///:memory:"], 2, "gone when the command ends"),
    (["--page-size", "0"], 2, "at least 1"),
    (["--page-size", "many"], 2, "--page-size"),
    (["--nonsense"], 2, "nonsense"),
    (["--progress", "dance"], 2, "dance"),
    (["--source-table", "custom:"], 2, "lacks the object's API name"),
    (["--source-table", "a.b.c"], 2, "--source-table 'a.b.c' cannot be an object's API name"),
    (["--source-table", "query:SELECT * FROM Account"], 2, "SOQL has no *"),
    (["--source-table", "AccountChangeEvent"], 2, "read Account itself"),
    (["--source-table", "AggregateResult"], 2, "grouped answers"),
    (["--source-table", "UserRecordAccess"], 4, "--sql-exclude-columns"),
    (["--source-table", "custom:xyzzy"], 2, "may lack the permission to see the object"),
    (["--source-table", "qqqqq"], 2, "may lack the permission to see the object"),
    (["--interval-start", "2023-W05"], 2, "is not a date"),
    (["--source-uri", "http://acme.my"], 2, "no source is known for http://"),
    (["--source-uri", "salesforce://?access_token=S3CRET&domain=http://acme.my"], 2, "https://acme.my.salesforce.com"),
    (["--source-uri", "access_token=S3CRET&domain=https://acme.my"], 2, "no scheme"),
    (["--source-uri", "salesforce://?access_token=a&S3CRET=b&domain=login"], 2, "1 unknown parameter\n"),
    (["--dest-table", "salesforce://?access_token=S3CRET&domain=login"], 2, "--dest-table holds a URI"),
    (["--page-size", "salesforce://S3CRET"], 2, "--page-size"),
    (["salesforce://S3CRET"], 2, "1 argument without an option before it"),
    (["S3CRET", "S3CRET"], 2, "2 arguments without an option before it"),
    (["--salesforce://S3CRET"], 2, "a URI stands where none is taken"),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "code", "words"), BAD_INPUT, ids=[" ".join(e) for e, _, _ in BAD_INPUT])
@pytest.mark.parametrize("debug", [False, True])
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
        assert len(re.findall(r"^error: ", done.stderr, re.MULTILINE)) == 1
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(("hint: ", "error: ")), done.stderr


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


def start_slow(org: SimulatedOrg, database: Path, *extra: str) -> "subprocess.Popen[str]":
    """A run that hangs on its third result page, and has kept another."""
    org.page_rows = 10
    claim_huge(org, "Lead", times=None)
    org.faults.add(Fault(method="GET", path=r"/results", skip=2, times=1, delay=3_600))
    known = kept_pages()
    process = start(org, database, *extra, until="/results$")
    wait_until(process, lambda: bool(kept_pages() - known))
    return process


def kept_pages() -> set[Path]:
    """The pages of broken-off runs."""
    return set(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.page"))


def wait_until(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
    """Wait while a run goes on until it is where it should be."""
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(org: SimulatedOrg, database: Path, *extra: str, until: str) -> "subprocess.Popen[str]":
    """A run of which the org has seen a request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ingestr", *arguments(org, database, "lead"), *extra],
        cwd=database.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(process, lambda: any(re.search(until, each.path) for each in list(org.requests)))
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_leaves_the_target_as_it_was(org: SimulatedOrg, database: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle: exit 130 within moments, the old table; the next run goes on, and leaves no job."""
    assert command(*arguments(org, database, "lead"), cwd=database.parent).returncode == 0
    before = loaded(database)
    process = start_slow(org, database, "--progress", "json")
    # Whatever passes signals on may send several.
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.01)
    # The page that hangs would take an hour.
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    events = [json.loads(line) for line in out.splitlines()]
    assert [event for event in events if event["event"] == "end"] == events[-1:]
    assert events[-1]["error"] == "interrupted; the destination is as it was"
    [kept] = [event["text"] for event in events if event["event"] == "note" and "kept" in event["text"]]
    assert re.search(r"complete pages of Lead are kept: the next run goes on from there", kept)
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
    # A run leaves the current second to the next one.
    org.clock.advance(5)
    done = command(*arguments(org, database, "lead"), cwd=database.parent)
    assert done.returncode == 0, done.stderr
    assert_same(loaded(database), expected(org, "Lead", deleted=False))
    assert table_names(database) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]
    assert [file.name for file in database.parent.iterdir()] == ["sf.db"]
