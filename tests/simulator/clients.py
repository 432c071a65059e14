"""Clients that others wrote: installed once, each in a folder of its own beside the environment, and run from there."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ingestr.simulator import SimulatedOrg

ROOT = Path(__file__).resolve().parents[2] / ".venv" / "clients"
_LONGEST_INSTALL = 1_800
_LONGEST_RUN = 180
# What pip says when it cannot reach an index: one that it reaches has at least one version of what is asked here.
_PIP_OUT_OF_REACH = ("from versions: none", "MaxRetryError", "NewConnectionError", "ReadTimeoutError", "ProxyError")
_NPM_OUT_OF_REACH = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENOTCACHED",
    "ERR_SOCKET_TIMEOUT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT", "E403", "E407", "E502", "E503",
)  # fmt: skip


def python_client(name: str, version: str, *, pythons: Sequence[str] = ()) -> Path:
    """Install a release from PyPI, unless it is there, and return the folder of its programs.

    Args:
        name: name of the release on PyPI.
        version: its version.
        pythons: the versions of Python that it can be installed for; any where there are none.
    """

    def install(folder: Path) -> None:
        python = _python(f"{name} {version}", pythons)
        _do([python, "-m", "venv", str(folder)])
        pip = [str(folder / _PROGRAMS / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        with tempfile.TemporaryDirectory() as nowhere:
            asked = [*pip, "download", "--no-deps", "--retries=1", "--timeout=20", f"--dest={nowhere}"]
            _reach("PyPI", [*asked, f"{name}=={version}"], _PIP_OUT_OF_REACH)
        _do([*pip, "install", "--quiet", "--no-compile", f"{name}=={version}"])

    return _installed(name, version, f"{_PROGRAMS}/python", install) / _PROGRAMS


def node_client(name: str, version: str) -> tuple[str, Path]:
    """Install a package from npm, unless it is there, and return node and the folder of its packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"{name} needs node and npm, and {'npm' if node else 'node'} is not on the PATH")

    def install(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as empty:
            # What npm remembers would answer in the registry's place.
            quick = [f"--cache={empty}", "--fetch-retries=0", "--fetch-timeout=20000"]
            _reach("npm", [npm, "view", f"{name}@{version}", "version", *quick], _NPM_OUT_OF_REACH)
        options = [f"--prefix={folder}", "--no-audit", "--no-fund", "--ignore-scripts"]
        _do([npm, "install", *options, f"{name}@{version}"])

    modules = "node_modules"
    return node, _installed(name, version, f"{modules}/{name}/package.json", install) / modules


def run(command: Sequence[str], org: SimulatedOrg, home: Path, **known: str) -> str:
    """Run a client that can reach the org and nothing else, and return what it printed."""
    done = attempt(command, org, home, **known)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def attempt(command: Sequence[str], org: SimulatedOrg, home: Path, **known: str) -> subprocess.CompletedProcess[str]:
    """Run a client that can reach the org and nothing else."""
    proxy, authority = org.proxy_url or "", org.ca_file or ""
    reach = {
        "HTTPS_PROXY": proxy,
        "HTTP_PROXY": proxy,
        "REQUESTS_CA_BUNDLE": authority,
        "SSL_CERT_FILE": authority,
        "NODE_EXTRA_CA_CERTS": authority,
    }
    clear = {name: value for name, value in _environment().items() if not name.lower().endswith("_proxy")}
    environment = {**clear, **reach, "HOME": str(home), **known}
    return _run(command, environment, _LONGEST_RUN, home)


_PROGRAMS = "Scripts" if os.name == "nt" else "bin"


def _installed(name: str, version: str, proof: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of a client; whoever comes first installs it while the others wait."""
    folder = ROOT / f"{name}-{version}"
    finished = folder / ".installed"
    ROOT.mkdir(parents=True, exist_ok=True)
    with _lock(ROOT / f"{name}-{version}.lock"):
        # Without the mark an install was broken off; without the proof it stands on a Python that is gone.
        if not (finished.exists() and (folder / proof).exists()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            finished.touch()
    return folder


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Keep other processes out; unlike a folder, the lock of an SQLite file goes with a process that is killed."""
    with closing(sqlite3.connect(file, timeout=_LONGEST_INSTALL, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def _python(what: str, versions: Sequence[str]) -> str:
    """Return this Python, or, where it is none of those versions, one from the PATH that is."""
    if not versions or f"{sys.version_info.major}.{sys.version_info.minor}" in versions:
        return sys.executable
    for version in versions:
        found = shutil.which(f"python{version}")
        if found is not None and not _run([found, "-m", "venv", "--help"], _environment(), 60).returncode:
            return found
    pytest.skip(f"{what} has no packages for this Python, and there is no Python {' or '.join(versions)} on the PATH")


def _reach(registry: str, command: Sequence[str], out_of_reach: Sequence[str]) -> None:
    """Skip the test where a registry does not answer; any other refusal is a failure."""
    asked = _run(command, _environment(), 300)
    said = asked.stdout + asked.stderr
    signs = [each for each in out_of_reach if each in said]
    if asked.returncode and signs:
        pytest.skip(f"{registry} is out of reach, says {Path(command[0]).name}: {', '.join(signs)}")
    assert asked.returncode == 0, said


def _do(command: Sequence[str]) -> None:
    done = _run(command, _environment(), _LONGEST_INSTALL)
    assert done.returncode == 0, done.stdout + done.stderr


def _environment() -> dict[str, str]:
    """This process's environment without what leads Python and Node elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "NODE_PATH", "NODE_OPTIONS", "VIRTUAL_ENV", "__PYVENV"))
    }


def _run(
    command: Sequence[str], environment: Mapping[str, str], seconds: int, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
