"""Runs whole processes and asks the operating system what they took; talks to the org that serves them.

Must not import a large library: what a process occupied before it became another program counts as its peak, so the
harness has to be smaller than whatever it measures.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    """What one run took: CPU seconds of the process and its children, and the peak of the largest of them.

    `api_calls` and `org_cpu` are the org's: how often it was asked, and its own CPU seconds.
    """

    cpu: float
    wall: float
    peak_mb: float
    api_calls: int = 0
    org_cpu: float = 0.0

    def rounded(self) -> dict[str, float]:
        """Return the numbers as they are kept."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
    """Run a command to its end; leave the benchmark where it fails."""
    with tempfile.TemporaryFile() as talk:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=talk
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            talk.seek(0)
            sys.exit(f"{' '.join(command[:3])} … failed:\n{talk.read().decode(errors='replace')[-4_000:]}")
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / unit)


def count_rows(database: Path, table: str) -> int:
    """Return how many rows a table of a DuckDB file has."""
    counted = f"SELECT count(*) FROM {table}"
    read = f"import duckdb; print(duckdb.connect({str(database)!r}).execute({counted!r}).fetchone()[0])"
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return int(done.stdout)


class Org:
    """The org in its own process, with an object of so many rows, or so many objects with as many in all.

    Attributes:
        door: addresses and credentials, as `org.py` prints them.
    """

    def __init__(self, object_name: str, rows: int, objects: int = 0) -> None:
        command = [sys.executable, str(HERE / "org.py"), "--object", object_name, "--rows", str(rows)]
        command += ["--objects", str(objects)] if objects else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.door: dict[str, str] = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def ask(self, operation: str, **given: Any) -> Any:
        """Have the org do something and return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"operation": operation, **given}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def measured(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Cost:
        """Run a command, and add what it cost the org."""
        before = self.ask("usage")
        cost = run(command, environment, folder)
        after = self.ask("usage")
        if after["errors"] > before["errors"]:
            sys.exit("the simulated org has made a mistake of its own")
        return replace(
            cost, api_calls=int(after["api_calls"] - before["api_calls"]), org_cpu=after["cpu"] - before["cpu"]
        )

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("the org's process has ended")
        return json.loads(line)
