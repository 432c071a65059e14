"""The example for a container: the image is built from the Dockerfile and run as the compose file says, by Podman.

No registry need be in reach. What the Dockerfile starts from, `debian:trixie-slim`, is made of Debian's packages, and
trusts whom this machine trusts, as an index of packages may have a certificate of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import clients

from examples.surroundings import EXAMPLES, ROOT, TABLES, ends, use_up_quota
from ingestr.simulator import SimulatedOrg
from simulator.clients import python_client
from support import assert_same, expected, loaded

_PROGRAMS = ("podman", "runc", "debootstrap")
_MISSING = [name for name in _PROGRAMS if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING) or os.geteuid() != 0, reason=f"needs root, and Debian's {', '.join(_PROGRAMS)}"),
]
BASE = "docker.io/library/debian:trixie-slim"
# What debootstrap says where Debian's archive is out of reach, and where a system cannot be made in a folder.
_NO_BASE = ("Failed getting release file", "Couldn't download", "Connecting to", "mknod", "noexec or nodev", "unshare:")
COMPOSE = "1.6.0"
# Limits and control groups are as they are, as a sandbox lets nobody raise them; nothing is shared with another Podman.
CONTAINERS = """
[containers]
default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
netns = "host"
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
tmp_dir = "{folder}/tmp"
lock_type = "file"
events_logger = "none"
runtime = "runc"
"""


def base_archive() -> Path:
    """Debian's smallest system as an archive, made once."""

    def install(folder: Path) -> None:
        tree = folder / "tree"
        # What it mounts in the tree is gone with it, however it ends.
        make = ["unshare", "--mount", "debootstrap", "--variant=minbase", "trixie", str(tree)]
        clients.reach("Debian's archive", make, _NO_BASE)
        trusted = Path("/usr/local/share/ca-certificates")
        if trusted.is_dir():
            shutil.copytree(trusted, tree / trusted.relative_to("/"), dirs_exist_ok=True)
        clients.do(["tar", "-C", str(tree), "-cf", str(folder / "base.tar"), "."])
        shutil.rmtree(tree)

    try:
        return clients.installed("debian-trixie", "base.tar", install) / "base.tar"
    except clients.UnavailableError as error:
        pytest.skip(str(error))


class Podman:
    """Podman with images, containers and volumes in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "containers.conf").write_text(CONTAINERS.format(folder=folder))
        storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        (folder / "storage.conf").write_text(storage)

    def attempt(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command that uses it."""
        known = {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }
        return clients.run([str(word) for word in words], {**clients.environment(), **known}, 900, cwd)

    def __call__(self, *words: str | Path) -> str:
        """Run a command of Podman that must succeed, and return what it printed."""
        done = self.attempt("podman", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Podman with the image, built from a folder like the root of the project after `make build`."""
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        context = folder / "context"
        shutil.copytree(EXAMPLES, context / "examples")
        wheel = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(context / "dist"), str(ROOT)]
        subprocess.run([sys.executable, *wheel], check=True, capture_output=True)
        podman = Podman(folder)
        try:
            podman("import", base_archive(), BASE)
            tried = podman.attempt("podman", "run", "--rm", BASE, "true")
            if tried.returncode:
                # Sandboxes differ in what they let root do.
                pytest.skip(f"this machine runs no container: {tried.stderr.strip()[-500:]}")
            podman("build", "--pull=never", "-f", context / "examples/container/Dockerfile", "-t", "ingestr", context)
            yield podman
        finally:
            podman.attempt("podman", "rmi", "--all", "--force")


class Project:
    """A folder with the compose file and its tables, and the volume of its runs."""

    def __init__(self, podman: Podman, folder: Path, org: SimulatedOrg) -> None:
        self.podman = podman
        self.folder = folder
        shutil.copytree(EXAMPLES / "container", folder)
        self.known(org)
        # The org listens on this machine alone.
        (folder / "here.yaml").write_text("services: {ingestr: {network_mode: host}}\n")
        self.program = python_client("podman-compose", COMPOSE) / "podman-compose"

    def known(self, org: SimulatedOrg, **changes: str) -> None:
        """Fill in the file of secrets."""
        both = ends(org, Path("/data/salesforce.db"), **changes)
        (self.folder / "salesforce.env").write_text("".join(f"{name}={value}\n" for name, value in both.items()))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the service once."""
        files = ["-f", "compose.yaml", "-f", "here.yaml"]
        return self.podman.attempt(
            self.program, "--in-pod", "0", *files, "run", "--rm", "-T", "ingestr", *words, cwd=self.folder
        )

    @property
    def data(self) -> Path:
        """What is in the volume."""
        return Path(self.podman("volume", "inspect", "-f", "{{.Mountpoint}}", f"{self.folder.name}_data").strip())


@pytest.fixture
def project(podman: Podman, org: SimulatedOrg, tmp_path: Path) -> Iterator[Project]:
    """The compose file beside an org."""
    made = Project(podman, tmp_path / tmp_path.name.replace("_", ""), org)
    yield made
    podman("volume", "rm", "--force", f"{made.folder.name}_data")


def test_the_image_holds_what_is_needed_and_no_more(podman: Podman) -> None:
    """Another user than root, no pip, the system's certificates, and nothing that can be written but the volume."""
    assert podman("run", "--rm", "ingestr", "--version").startswith("ingestr ")
    look = """
import os, ssl, sys, importlib.util
print(os.getuid(), importlib.util.find_spec("pip"), len(ssl.create_default_context().get_ca_certs()) > 100)
print(os.access("/data", os.W_OK), os.access("/opt/ingestr", os.W_OK), os.path.exists("/home/ingestr"))
"""
    found = podman("run", "--rm", "--entrypoint", "/opt/ingestr/bin/python", "ingestr", "-c", look)
    assert found.split() == ["10001", "None", "True", "True", "False", "False"]
    history = podman("history", "--no-trunc", "ingestr") + podman("inspect", "ingestr")
    assert "SOURCE_URI" not in history


def test_a_run_fills_the_database_in_the_volume(project: Project, org: SimulatedOrg) -> None:
    """As the compose file says: read-only, without capabilities, by the tables of the file."""
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 tables: 3 done" in done.stdout
    assert org.client_secret not in done.stdout + done.stderr
    for table, name in TABLES.items():
        assert_same(loaded(project.data / "salesforce.db", f"crm.{table}"), expected(org, name, deleted=True))


def test_the_exit_code_comes_through(project: Project, org: SimulatedOrg) -> None:
    """A refused login is 3 outside the container too."""
    project.known(org, client_secret="wrong-secret")
    assert project.run().returncode == 3
    assert project.run("check").returncode == 3


def test_a_new_container_goes_on_with_the_pages_of_the_last(project: Project, org: SimulatedOrg) -> None:
    """Pages wait in the volume, so that a run which the quota ended has not read in vain."""
    org.grow("Account", 12_000)
    org.page_rows = 2_000
    use_up_quota(org, path="/results", skip=2)
    assert project.run().returncode == 6
    assert list((project.data / "cache" / "ingestr" / "pages").rglob("*.page"))
    jobs = org.jobs_created
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert org.jobs_created == jobs
    assert_same(loaded(project.data / "salesforce.db", "crm.account"), expected(org, "Account", deleted=True))
