"""What surrounds the process: streams that are closed, full or read by nobody, terminals, and signals at any moment."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, loaded, query, source_uri

RUN = '"$PYTHON" -m ingestr ingest --source-table account --dest-uri duckdb:///sf.db --dest-table public.t'


def shell(script: str, org: SimulatedOrg, database: Path) -> subprocess.CompletedProcess[str]:
    """A bash script with a source URI in its environment, and a pipe's first failure as its exit code."""
    environment = {**os.environ, "PYTHON": sys.executable, "SOURCE_URI": source_uri(org, "password")}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        cwd=database.parent, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"{RUN} >/dev/full", "the load is done, but its result cannot be printed: No space left"),
        (f"{RUN} | true", "the load is done, but its result cannot be printed: Broken pipe"),
        (f"{RUN} --progress json | head -1", "progress cannot be printed any more, and the run goes on"),
        (f"{RUN} --progress json >/dev/full", "progress cannot be printed any more, and the run goes on"),
        (f"{RUN} >&-", "Summer '27"),
        (f"{RUN} 2>&-", ""),
        (f"{RUN} 2>/dev/full", ""),
        (f"{RUN} --debug 2>/dev/full", ""),
        (f"{RUN} <&- >&- 2>&-", ""),
    ],
)
def test_a_load_needs_nobody_to_listen(shared_org: SimulatedOrg, database: Path, script: str, words: str) -> None:
    """A load whose talk or result cannot be written is done all the same: exit 0, and a warning if one can be read."""
    done = shell(script, shared_org, database)
    assert done.returncode == 0, done.stderr
    assert words in done.stderr
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert_same(loaded(database), expected(shared_org, "Account", deleted=True))


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_an_error_that_nobody_reads_keeps_its_exit_code(shared_org: SimulatedOrg, database: Path, closing: str) -> None:
    """The exit code says what happened where stderr cannot."""
    assert shell(f"{RUN} --progress dance {closing}", shared_org, database).returncode == 2


@pytest.mark.parametrize("words", ["--help", "--version", "example-uris", "ingest --help"])
def test_output_that_cannot_be_written_is_said(shared_org: SimulatedOrg, database: Path, words: str) -> None:
    """A command whose output is all it does ends with exit 1 when that is lost, and blames no bug."""
    full = shell(f'"$PYTHON" -m ingestr {words} >/dev/full', shared_org, database)
    assert (full.returncode, full.stderr) == (1, "error: the output cannot be written: No space left on device\n")
    assert shell(f'"$PYTHON" -m ingestr {words} >&-', shared_org, database).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_lacks_is_escaped(shared_org: SimulatedOrg, database: Path, encoding: str) -> None:
    """A load is done although its result cannot be spelled; escapes stand for what the encoding lacks."""
    done = shell(f"export PYTHONIOENCODING={encoding}; {RUN}_\u987e", shared_org, database)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("public.t_\\u987e: ")
    assert "writing public.t_\\u987e" in done.stderr
    assert query(database, 'SELECT count(*) AS n FROM public."t_\u987e"')["n"][0].as_py() > 0


def test_the_help_is_readable_in_any_encoding(shared_org: SimulatedOrg, database: Path) -> None:
    """Where the encoding is an old one the small commands say all that they have to say."""
    locale = "export LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 PYTHONIOENCODING=latin-1"
    done = shell(f'{locale}; "$PYTHON" -m ingestr ingest --help; "$PYTHON" -m ingestr ingest', shared_org, database)
    assert (done.returncode, "--source-uri URI" in done.stdout) == (2, True)
    assert "\\u2026" in done.stdout
    assert done.stderr.startswith("error: --dest-uri, --source-table are missing\n")


def on_a_terminal(org: SimulatedOrg, database: Path, *extra: str) -> tuple["subprocess.Popen[bytes]", int]:
    """A run whose stderr is a terminal, and the terminal's other end."""
    ours, theirs = os.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "ingestr", "ingest", "--source-table", "account", "--dest-uri", "duckdb:///sf.db",
         "--dest-table", "public.t", *extra],
        cwd=database.parent, stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "SOURCE_URI": source_uri(org, "password"), "TERM": "xterm", "COLUMNS": "250"},
    )  # fmt: skip
    os.close(theirs)
    return run, ours


def all_of(terminal: int) -> str:
    """What was written to a terminal until nobody had it open any more."""
    pieces = []
    try:
        while piece := os.read(terminal, 65_536):
            pieces.append(piece)
    except OSError:
        pass
    os.close(terminal)
    return b"".join(pieces).decode()


@pytest.mark.parametrize("extra", [[], ["--debug"]])
def test_log_lines_do_not_run_into_the_live_line(shared_org: SimulatedOrg, database: Path, extra: list[str]) -> None:
    """On a terminal each line of the log stands above the live line, which is erased for it."""
    run, terminal = on_a_terminal(shared_org, database, *extra)
    shown = all_of(terminal)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 0, shown
    assert b"rows of Account" in out
    assert "starting" in shown
    lines = re.findall(r"(.{4})(warning: the login|[\d-]{10} [\d:,]{12} logged in)", shown, re.DOTALL)
    assert len(lines) == len(extra) + 1, shown
    for before, text in lines:
        assert before.endswith(("\x1b[2K", "\r", "\n")), (before, text)


def test_a_terminal_that_goes_away_does_not_end_the_load(shared_org: SimulatedOrg, database: Path) -> None:
    """Whoever leaves a run behind on a terminal that is closed finds the table loaded."""
    run, terminal = on_a_terminal(shared_org, database)
    os.read(terminal, 1)
    os.close(terminal)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 0
    assert b"rows of Account" in out
    assert_same(loaded(database), expected(shared_org, "Account", deleted=True))


@pytest.mark.parametrize("module", ["typer", "duckdb", "pyarrow"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_modules_load_ends_quietly(
    shared_org: SimulatedOrg, database: Path, module: str, number: signal.Signals
) -> None:
    """Ctrl-C and a terminal that is closed in the first moments: exit 130, one line, no traceback."""
    folder = database.parent / "modules"
    folder.mkdir()
    (folder / f"{module}.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    done = shell(f'export PYTHONPATH="{folder}:$PYTHONPATH"; {RUN}', shared_org, database)
    assert (done.returncode, done.stdout) == (130, "")
    # The driver is loaded when the run has begun.
    also = "(asking .*\n)?error: interrupted; the destination is as it was\n"
    assert re.fullmatch(also if module == "duckdb" else "error: interrupted\n", done.stderr)
