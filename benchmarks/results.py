"""Keeps measurements in `results.json`: a record for each case and size, with machine and command."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from cases import Measured
from ways import DLT, OLD_INGESTR, PANDAS, SIMPLE_SALESFORCE

FILE = Path(__file__).parent / "results.json"
COLUMNS = ("cpu", "wall", "peak_mb", "api_calls", "org_cpu")
_OURS = ("ingestr", "duckdb", "pyarrow", "isal", "httpx", "uvicorn")


class Record(NamedTuple):
    """What was measured of one case at one size."""

    case: str
    rows: int
    conditions: dict[str, Any]
    runs: Measured

    def median(self, label: str, column: str) -> float | None:
        """Return the middle of a way's runs, or None where it did not run."""
        runs = self.runs.get(label)
        return median(each[column] for each in runs) if runs else None

    def ratio(self, label: str, other: str, column: str) -> float | None:
        """Return the middle of the ratios of two ways' runs of the same turn, or None where one did not run."""
        others = {each["turn"]: each[column] for each in self.runs.get(other, ())}
        found = [each[column] / others[each["turn"]] for each in self.runs.get(label, ()) if others.get(each["turn"])]
        return median(found) if found else None


def load() -> list[Record]:
    """Return what is kept, in the order in which it was measured first."""
    return [Record(**each) for each in json.loads(FILE.read_text())] if FILE.exists() else []


def keep(new: Record) -> None:
    """Put a record in the place of an older one of the same case and size."""
    kept = {(each.case, each.rows): each for each in load()}
    kept[new.case, new.rows] = new
    FILE.write_text(json.dumps([each._asdict() for each in kept.values()], indent=1) + "\n")


def conditions(command: str) -> dict[str, Any]:
    """Return where, with what and by which command something is measured."""
    return {
        "machine": _machine(),
        "cores": os.cpu_count(),
        "versions": _versions(),
        "commit": _said("git", "-C", str(FILE.parent), "rev-parse", "--short", "HEAD"),
        "command": command,
        # Whoever else was busy on the machine when the case began.
        "load_before": round(os.getloadavg()[0], 1),
    }


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.processor()
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GB of memory, {platform.system()} {platform.machine()}"


def _versions() -> Mapping[str, str]:
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in _OURS},
        "curl": _said("curl", "--version").partition(" (")[0].removeprefix("curl "),
        "simple-salesforce": SIMPLE_SALESFORCE,
        "pandas": PANDAS,
        "dlt": DLT,
        "ingestr (old)": OLD_INGESTR,
    }


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
