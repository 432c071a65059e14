"""Where an example runs: an environment of its own with the libraries that it names, and no settings but its own."""

import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import clients

from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, source_uri

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TABLES = {"account": "Account", "contact": "Contact", "opportunity": "Opportunity"}
_LONGEST_RUN = 600
_OUT_OF_REACH = ("MaxRetryError", "NewConnectionError", "ReadTimeoutError", "ProxyError")


def programs_of(example: str) -> Path:
    """Install what an example and ingestr need, unless it is there, and return the folder of the programs."""
    file = EXAMPLES / example / "requirements.txt"
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [asked] = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]

    def install(folder: Path) -> None:
        pip = clients.make_environment(folder, sys.executable)
        with tempfile.TemporaryDirectory() as nowhere:
            download = [*pip, "download", "--no-deps", "--retries=1", "--timeout=20", f"--dest={nowhere}", asked]
            clients.reach("PyPI", download, _OUT_OF_REACH)
        clients.do([*pip, "install", "--quiet", "--no-compile", "-r", str(file), *needed])

    mark = hashlib.sha256(json.dumps([asked, needed]).encode()).hexdigest()[:12]
    try:
        return clients.installed(f"{example}-{mark}", f"{clients.PROGRAMS}/python", install) / clients.PROGRAMS
    except clients.UnavailableError as error:
        pytest.skip(str(error))


def attempt(command: Sequence[str | Path], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with these variables, this checkout's ingestr and no proxy."""
    clear = {
        name: value
        for name, value in clients.environment().items()
        if not name.lower().endswith("_proxy") and not name.startswith("INGESTR_")
    }
    known = {"HOME": str(folder), "PYTHONPATH": str(ROOT / "src"), **variables}
    return clients.run([str(word) for word in command], {**clear, **known}, _LONGEST_RUN, folder)


def ends(org: SimulatedOrg, database: Path, **changes: str) -> dict[str, str]:
    """Both ends of an example, as variables."""
    return {"SOURCE_URI": source_uri(org, **changes), "DESTINATION_URI": f"duckdb:///{database}"}


def logins(org: SimulatedOrg) -> int:
    """How often somebody tried to log in."""
    return sum(each.path.endswith("/oauth2/token") for each in org.requests)


def use_up_quota(org: SimulatedOrg, path: str = "/query", skip: int = 0) -> None:
    """One request is refused because the org's daily calls are used up; the next is served."""
    body = json.dumps([{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
    org.faults.add(Fault(method="GET", path=path, skip=skip, status=403, headers=JSON_HEADERS, body=body))
