"""Clients that others wrote: each release is installed once, in a folder of its own beside the environment.

Benchmarks measure them, tests of the simulated org let them read. Must not know what they are used for.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / ".venv" / "clients"
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
_LONGEST_INSTALL = 1_800
_LONGEST_ANSWER = 300
# What pip says when it cannot reach an index: one that it reaches has at least one version of what is asked here.
_PIP_OUT_OF_REACH = ("from versions: none", "MaxRetryError", "NewConnectionError", "ReadTimeoutError", "ProxyError")


class UnavailableError(Exception):
    """A client cannot be had on this machine, for no fault of ours."""


def python_client(name: str, version: str, *, pythons: Sequence[str] = (), beside: Sequence[str] = ()) -> Path:
    """Install a release from PyPI, unless it is there, and return the folder of its programs.

    Args:
        name: name of the release on PyPI, with an extra in brackets if need be.
        version: its version.
        pythons: the versions of Python that it can be installed for; any where there are none.
        beside: requirements of what else is used with it.

    Raises:
        UnavailableError: there is no such Python, or PyPI is out of reach.
    """
    asked = [f"{name}=={version}", *beside]

    def install(folder: Path) -> None:
        python = _python(f"{name} {version}", pythons)
        pip = make_environment(folder, python)
        with tempfile.TemporaryDirectory() as nowhere:
            download = [*pip, "download", "--no-deps", "--retries=1", "--timeout=20", f"--dest={nowhere}"]
            reach("PyPI", [*download, asked[0]], _PIP_OUT_OF_REACH)
        do([*pip, "install", "--quiet", "--no-compile", *asked])

    label = "-".join(each.replace("==", "-").replace("[", "-").replace("]", "") for each in asked)
    return installed(label, f"{PROGRAMS}/python", install) / PROGRAMS


def make_environment(folder: Path, python: str) -> list[str]:
    """Make an environment for a Python in an empty folder, and return the words that start its pip."""
    do([python, "-m", "venv", str(folder)])
    return [str(folder / PROGRAMS / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def installed(label: str, proof: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of a client; whoever comes first installs it while the others wait.

    Args:
        label: name of the folder.
        proof: a file in the folder without which the install is none.
        install: fills the folder.
    """
    folder = ROOT / label
    finished = folder / ".installed"
    ROOT.mkdir(parents=True, exist_ok=True)
    with _lock(ROOT / f"{label}.lock"):
        # Without the mark an install was broken off; without the proof it stands on a Python that is gone.
        if not (finished.exists() and (folder / proof).exists()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            finished.touch()
    return folder


def reach(registry: str, command: Sequence[str], out_of_reach: Sequence[str]) -> None:
    """Ask a registry for something that it has.

    Raises:
        UnavailableError: it does not answer; the words that tell are `out_of_reach`.
        RuntimeError: any other refusal.
    """
    try:
        asked = run(command, environment(), _LONGEST_ANSWER)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{registry} did not answer within {_LONGEST_ANSWER} s") from None
    said = asked.stdout + asked.stderr
    signs = [each for each in out_of_reach if each in said]
    if asked.returncode and signs:
        raise UnavailableError(f"{registry} is out of reach, says {Path(command[0]).name}: {', '.join(signs)}")
    if asked.returncode:
        raise RuntimeError(said)


def do(command: Sequence[str]) -> None:
    """Run a step of an install; RuntimeError where it fails."""
    done = run(command, environment(), _LONGEST_INSTALL)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def environment() -> dict[str, str]:
    """Return this process's environment without what leads Python and Node elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "NODE_PATH", "NODE_OPTIONS", "VIRTUAL_ENV", "__PYVENV"))
    }


def reaching(proxy: str, authority: str) -> dict[str, str]:
    """Return an environment in which a client reaches the org behind the proxy and nothing else."""
    clear = {name: value for name, value in environment().items() if not name.lower().endswith("_proxy")}
    trust = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), authority)
    return {**clear, **trust, "HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}


def run(
    command: Sequence[str], variables: Mapping[str, str], seconds: int, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, or for so many seconds, and keep what it says."""
    return subprocess.run(
        command,
        env=variables,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )


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
        if found is not None and not run([found, "-m", "venv", "--help"], environment(), 60).returncode:
            return found
    raise UnavailableError(
        f"{what} has no packages for this Python, and there is no Python {' or '.join(versions)} on the PATH"
    )
