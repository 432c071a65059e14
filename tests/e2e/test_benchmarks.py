"""The benchmark of a whole org, in small form: what it measures is loaded whole, and costs few calls."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def test_the_org_has_as_many_rows_as_asked() -> None:
    """Its objects are of very different sizes and have so many rows together; most of them are small."""
    org = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "org.py"), "--objects", "20", "--rows", "20000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said, _ = org.communicate('{"operation": "parts"}\n', timeout=120)
    sizes = list(json.loads(said.splitlines()[1]).values())
    assert (len(sizes), sum(sizes)) == (20, 20_000)
    assert sizes[0] == max(sizes)
    assert sorted(sizes)[:19] == sizes[1:]
    assert (sizes[1], max(sizes[1:])) == (10, 1_513)
    assert org.returncode == 0


@pytest.mark.slow
def test_a_whole_org_is_measured(tmp_path: Path) -> None:
    """One command, the same again, and a command a table: all rows arrive, by few calls for each table."""
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--cases", "org", "--rows", "3000", "--repeat", "1"]
    surroundings = {**os.environ, "BENCHMARK_PROGRAMS": str(Path(sys.executable).parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    calls = {
        label: int(number) for label, number in re.findall(r"  (.+), turn 1: .+ MB, (\d+) calls, org", done.stderr)
    }
    assert calls.keys() == {"one command", "one command again, nothing changed", "one command a table"}
    assert 0 < calls["one command again, nothing changed"] <= calls["one command"] < calls["one command a table"]
    assert "Ratios are to *one command a table*." in done.stdout
