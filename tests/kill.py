"""Runs that are killed: a process that has everything imported forks one child a run, which dies at a chosen instant.

The instants are the log records of ingestr: each call, page, statement and commit is one.
"""

import gc
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from support import Database

_NEVER = 10**9
_NEEDED = (
    "duckdb",
    "httpcore",
    "pandas",
    "pgpq",
    "psycopg",
    "pyarrow.csv",
    "sqlglot.dialects.duckdb",
    "sqlglot.dialects.postgres",
    "sqlglot.generators.duckdb",
    "sqlglot.generators.postgres",
    "sqlglot.parsers.duckdb",
    "sqlglot.parsers.postgres",
    "ingestr.destinations.duckdb",
    "ingestr.destinations.postgres",
    "ingestr.run.pipeline",
    "ingestr.sources.salesforce",
    "support",
)


class Killer:
    """Forks runs that die at the n-th log record; use it in a ``with`` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")

    def run(self, database: "Database", instant: int = _NEVER, **options: Any) -> bool:
        """Run; returns whether it was killed before its end. An error of the run is one of the test."""
        from support import uri_of

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"instant": instant, "options": {**options, "dest_uri": uri_of(database)}}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["error"] is None, answer["error"]
        return bool(answer["killed"])


class _Executioner(logging.Handler):
    def __init__(self, instant: int) -> None:
        super().__init__()
        self._left = instant

    def emit(self, record: logging.LogRecord) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _child(job: dict[str, Any]) -> None:
    from ingestr.options import IngestOptions, make_options
    from ingestr.progress import SilentProgress
    from ingestr.run import pipeline
    from support import FastClock

    logger = logging.getLogger("ingestr")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(_Executioner(job["instant"]))
    options = make_options(IngestOptions, **job["options"])
    pipeline.run(options, clock=FastClock(), progress=SilentProgress(), in_process=False)


def _serve() -> None:
    # What a run needs is imported once; no thread is started before the fork.
    for name in _NEEDED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _child(job)
            except BaseException as failure:
                os.write(writer, f"{type(failure).__name__}: {failure}"[:4_000].encode())
                os._exit(1)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            error = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"killed": os.WIFSIGNALED(status), "error": error or None}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    _serve()
