"""The example for cron, started as cron starts it: by the line of the crontab, in an almost empty environment."""

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.surroundings import EXAMPLES, ROOT, TABLES, logins, use_up_quota
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, loaded, source_uri

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("flock") is None, reason="the example needs flock, of util-linux"),
]


class Cron:
    """A folder with the example, and what cron does with it."""

    def __init__(self, folder: Path, org: SimulatedOrg) -> None:
        self.folder = folder
        self.org = org
        shutil.copytree(EXAMPLES / "cron", folder)
        self.secrets = folder / "salesforce.env"
        self.known(source_uri(org))

    def known(self, source: str) -> None:
        """Fill in the file of secrets as its example says."""
        lines = (self.folder / "salesforce.env.example").read_text()
        settings = {"SOURCE_URI": source, "ALERT": "{ echo code $1; cat; } >told"}
        for name, value in settings.items():
            [old] = [line for line in lines.splitlines() if line.startswith(f"{name}=")]
            lines = lines.replace(old, f"{name}={shlex.quote(value)}")
        self.secrets.write_text(lines)
        self.secrets.chmod(0o600)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the line's command, with the settings of the crontab; only its two folders are others here."""
        lines = [line for line in (self.folder / "crontab").read_text().splitlines() if not line.startswith("#")]
        settings = dict(line.split("=", 1) for line in lines[:-1])
        assert settings["PATH"].startswith("/opt/ingestr/bin:")
        known = settings | {"FOLDER": str(self.folder), "HOME": str(self.folder / "home"), "LOGNAME": "etl"}
        known["PATH"] = known["PATH"].replace("/opt/ingestr/bin", str(Path(sys.executable).parent))
        # This checkout, which need not be what the environment has installed.
        known["PYTHONPATH"] = str(ROOT / "src")
        *times, command = lines[-1].split(maxsplit=5)
        assert len(times) == 5
        return subprocess.run(
            [settings["SHELL"], "-c", command], env=known, cwd="/", capture_output=True, text=True, check=False
        )

    @property
    def log(self) -> str:
        """What the only log file says."""
        [file] = (self.folder / "log").iterdir()
        assert file.stat().st_mode & 0o077 == 0
        return file.read_text()

    @property
    def told(self) -> str:
        """What ALERT was told."""
        file = self.folder / "told"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def cron(org: SimulatedOrg, tmp_path: Path) -> Cron:
    """The example beside an org."""
    return Cron(tmp_path / "salesforce data", org)


def test_a_run_copies_the_tables_and_prints_nothing(cron: Cron) -> None:
    """What cron would mail is empty; the log says what was done, and holds no secret."""
    done = cron.run()
    assert (done.returncode, done.stdout, done.stderr, cron.told) == (0, "", "", ""), cron.log
    for table, name in TABLES.items():
        assert_same(loaded(cron.folder / "salesforce.db", f"crm.{table}"), expected(cron.org, name, deleted=True))
    assert "3 tables: 3 done" in cron.log
    assert cron.org.client_secret not in cron.log


def test_a_failure_is_told_and_is_the_exit_code(cron: Cron) -> None:
    """A refused login ends with 3 after one try, and a used-up quota with 6; ALERT gets the code and the log's end."""
    cron.known(source_uri(cron.org, client_secret="wrong-secret"))
    assert cron.run().returncode == 3, cron.log
    assert logins(cron.org) == 1
    assert cron.told.startswith("code 3\n")
    assert "failed with exit code 3" in cron.told
    assert "wrong-secret" not in cron.log
    cron.known(source_uri(cron.org))
    use_up_quota(cron.org)
    assert cron.run().returncode == 6
    assert cron.told.startswith("code 6\n")
    assert cron.run().returncode == 0


def test_secrets_that_others_may_read_are_refused(cron: Cron) -> None:
    """Nothing is sent then, and without ALERT cron has something to mail."""
    cron.secrets.chmod(0o640)
    done = cron.run()
    assert done.returncode == 2
    assert "chmod 600" in done.stdout
    assert cron.org.requests == []


def test_a_run_leaves_the_one_before_it_alone(cron: Cron) -> None:
    """While somebody holds the lock nothing is read, and after six hours that is a failure."""
    lock = cron.folder / "lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cron.run().returncode == 0
        assert "still going on" in cron.log
        assert cron.told == ""
        long_ago = lock.stat().st_mtime - 7 * 3600
        os.utime(lock, (long_ago, long_ago))
        assert cron.run().returncode == 75
        assert "six hours" in cron.told
        assert cron.org.requests == []
    assert cron.run().returncode == 0
