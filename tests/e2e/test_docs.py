"""Every command in the documentation works."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import ingestr
from ingestr.simulator import SimulatedOrg

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


# Each of these runs dozens of commands.
LONG_PAGES = ("command-line.md", "salesforce.md", "simulator.md")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.name in LONG_PAGES else [], id=page.name)
        for page in PAGES
        if blocks(page, "sh")
    ],
)
def test_shell_blocks_run(shared_org: SimulatedOrg, tmp_path: Path, page: Path, request: pytest.FixtureRequest) -> None:
    """The shell blocks of a page, run one after the other as a reader would, all succeed."""
    script = "set -eu\n" + "\n".join(blocks(page, "sh"))
    token, key = shared_org.access_token(), tmp_path / "app.pem"
    key.write_text(shared_org.private_key)
    domain = quote(shared_org.url, safe="")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ACCESS_TOKEN": quote(token, safe=""),
        "CLIENT_ID": shared_org.client_id,
        "CLIENT_SECRET": shared_org.client_secret,
        "DOMAIN": domain,
        "USERNAME": quote(shared_org.username, safe=""),
        "KEY_FILE": str(key),
        "REFRESH_TOKEN": shared_org.refresh_token(),
        # A page may rely on what an earlier one exported.
        "SOURCE_URI": f"salesforce://?client_id={shared_org.client_id}&client_secret={shared_org.client_secret}&domain={domain}",
    }
    if "POSTGRES_URI" in script:
        environment["POSTGRES_URI"] = request.getfixturevalue("postgres").uri
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    copied = script.count("ingestr ingest") + len(
        re.findall(r"^ingestr sync(?!.*--(?:init|dry-run))", script, re.MULTILINE)
    )
    assert done.stdout.count("API calls: ") == copied


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(
    shared_org: SimulatedOrg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: Path
) -> None:
    """The Python blocks of a page run as they stand."""
    monkeypatch.chdir(tmp_path)
    uri = f"salesforce://?client_id={shared_org.client_id}&client_secret={shared_org.client_secret}"
    known: dict[str, Any] = {"source_uri": f"{uri}&domain={quote(shared_org.url, safe='')}"}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), known)
    if page.name == "README.md":
        assert isinstance(known["result"], ingestr.IngestResult)
        with known["accounts"] as accounts:
            assert isinstance(accounts, ingestr.RecordStream)


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link names a file that exists."""
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_fault_names_its_test() -> None:
    """Each row of the tables of failures names a test that exists, or says why the case does not arise."""
    tests = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    rows = [row for row in (ROOT / "docs" / "failures.md").read_text().splitlines() if row.startswith("| ")]
    cases = [row for row in rows if not set(row) <= set("|- ") and not row.startswith(("| fault", "| | case"))]
    assert len(cases) > 100
    for row in cases:
        named = re.findall(r"`(test_\w+)`", row)
        assert named or "does not arise" in row, row
        assert set(named) <= tests, row
