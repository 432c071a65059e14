"""The wheel: it builds, holds everything, and works in an environment of its own."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import ingestr
from ingestr.simulator import SimulatedOrg
from support import source_uri

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_code_and_data(wheel: Path) -> None:
    """Every module and data file of the package is in the wheel, and nothing else."""
    assert wheel.name == f"ingestr-{ingestr.__version__}-py3-none-any.whl"
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("ingestr/")}
    package = ROOT / "src" / "ingestr"
    files = {
        f"ingestr/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == files
    assert "ingestr/py.typed" in inside


@pytest.mark.slow
def test_the_wheel_works_where_only_its_dependencies_are(wheel: Path, shared_org: SimulatedOrg, tmp_path: Path) -> None:
    """An empty environment, the wheel and its core dependencies give a working command."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    install = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if install.returncode and "No matching distribution" in install.stderr:
        pytest.skip(f"no package index is in reach: {install.stderr.strip().splitlines()[-1]}")
    assert install.returncode == 0, install.stderr
    done = subprocess.run(
        [
            python.parent / "ingestr", "ingest", "--source-uri", source_uri(shared_org), "--source-table", "account",
            "--dest-uri", "duckdb:///sf.db", "--dest-table", "public.account",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "rows of Account read by REST" in done.stdout
    asked = subprocess.run([python.parent / "ingestr", "simulate"], capture_output=True, text=True, check=False)
    assert asked.returncode == 2
    assert "ingestr[simulator]" in asked.stderr
