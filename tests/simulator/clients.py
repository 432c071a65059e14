"""Clients that others wrote, run so that they reach the org and nothing else; a test skips where one cannot be had."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import clients

from ingestr.simulator import SimulatedOrg

_LONGEST_RUN = 180
_NPM_OUT_OF_REACH = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENOTCACHED",
    "ERR_SOCKET_TIMEOUT", "SELF_SIGNED_CERT_IN_CHAIN", "UNABLE_TO_GET_ISSUER_CERT", "E403", "E407", "E502", "E503",
)  # fmt: skip


def python_client(name: str, version: str, *, pythons: Sequence[str] = ()) -> Path:
    """Install a release from PyPI, unless it is there, and return the folder of its programs."""
    try:
        return clients.python_client(name, version, pythons=pythons)
    except clients.UnavailableError as error:
        pytest.skip(str(error))


def node_client(name: str, version: str) -> tuple[str, Path]:
    """Install a package from npm, unless it is there, and return node and the folder of its packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(f"{name} needs node and npm, and {'npm' if node else 'node'} is not on the PATH")

    def install(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as empty:
            # What npm remembers would answer in the registry's place.
            quick = [f"--cache={empty}", "--fetch-retries=0", "--fetch-timeout=20000"]
            clients.reach("npm", [npm, "view", f"{name}@{version}", "version", *quick], _NPM_OUT_OF_REACH)
        options = [f"--prefix={folder}", "--no-audit", "--no-fund", "--ignore-scripts"]
        clients.do([npm, "install", *options, f"{name}@{version}"])

    modules = "node_modules"
    try:
        return node, clients.installed(f"{name}-{version}", f"{modules}/{name}/package.json", install) / modules
    except clients.UnavailableError as error:
        pytest.skip(str(error))


def run(command: Sequence[str], org: SimulatedOrg, home: Path, **known: str) -> str:
    """Run a client that can reach the org and nothing else, and return what it printed."""
    done = attempt(command, org, home, **known)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def attempt(command: Sequence[str], org: SimulatedOrg, home: Path, **known: str) -> subprocess.CompletedProcess[str]:
    """Run a client that can reach the org and nothing else."""
    variables = {**clients.reaching(org.proxy_url or "", org.ca_file or ""), "HOME": str(home), **known}
    return clients.run(command, variables, _LONGEST_RUN, home)
