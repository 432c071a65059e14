"""`ingestr simulate` and `make demo` as a user meets them: ports, packages that are missing, and their end."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ingestr.simulator import SimulatedOrg
from support import command, source_uri, table_names

ROOT = Path(__file__).parents[2]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """A port that another program has is a matter of the command line: exit 2, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("simulate", "--port", str(port), "--rows", "0", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        f"error: port {port} of 127.0.0.1: Address already in use",
        "hint: choose another --port; 0 picks a free one",
    ]


@pytest.mark.parametrize(
    ("module", "flags", "extra"),
    [
        ("trustme", ["--tls"], "simulator-tls"),
        ("trustme", ["--proxy"], "simulator-tls"),
        ("lark", [], "simulator"),
        ("uvicorn", ["--tls"], "simulator"),
    ],
)
def test_a_package_that_is_missing(tmp_path: Path, module: str, flags: list[str], extra: str) -> None:
    """Who lacks a package is told the extra that brings it: exit 2."""
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('no', name={module!r})\n")
    done = command("simulate", "--port", "0", "--rows", "0", *flags, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert module in done.stderr
    assert f"pip install 'ingestr[{extra}]'" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_simulated_org(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C ends the simulated org with one word, and no error."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ingestr", "simulate", "--port", "0", "--rows", "0"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "client credentials" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, rest = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "stopped\n"), rest


@pytest.mark.slow
def test_the_demo_takes_nothing_of_the_users_own(shared_org: SimulatedOrg, tmp_path: Path) -> None:
    """The demo finds a port by itself, reads the simulated org whatever the environment says, and starts anew."""
    (tmp_path / "sf.db").write_text("mine")
    asked = len(shared_org.requests)
    environment = {
        **os.environ,
        "BIN": str(Path(sys.executable).parent),
        "INGESTR_SOURCE_URI": source_uri(shared_org),
        "DESTINATION_URI": "duckdb:///mine.db",
        "INGESTR_SQL_LIMIT": "1",
        "INGESTR_DEST_TABLE": "public.mine",
        "PORT": "1",
    }
    done = subprocess.run(
        ["sh", str(ROOT / "scripts" / "demo.sh")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(shared_org.requests) == asked
    assert re.search(r"listens at http://127\.0\.0\.1:\d+; SOURCE_URI and DESTINATION_URI are set\.", done.stdout)
    assert re.search(r"public\.account +[\d,]+ rows read, [1-9][\d,]* inserted; ", done.stdout)
    assert re.search(r"[\d,]+ tables: [\d,]+ done, [\d,]+ left out; ", done.stdout)
    assert re.search(r"public\.account: 0 rows of Account read by REST, 0 inserted, 0 updated", done.stdout)
    assert {"public.account", "public.lead", "public.my__community_group__c"} < set(table_names(tmp_path / "sf.db"))
    files = {file.name for file in tmp_path.iterdir()}
    [kept] = files - {"sf.db"}
    assert (tmp_path / kept).read_text() == "mine"
