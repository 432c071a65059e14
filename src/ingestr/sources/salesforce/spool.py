"""Keeps complete result pages in a folder until the load is committed, so that a killed run need not fetch them again.

Pages lie as they came, compressed, one file each; a file appears under its name when it is whole. What is read back is
checked like a page from the network: a file that a crash damaged costs a download, nothing else.
"""

import hashlib
import json
import logging
import mmap
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("ingestr.salesforce")

# A compressed body of more bytes is not kept in memory.
LARGE_BODY = 16 << 20
# Salesforce keeps results for seven days: older pages belong to jobs that are gone.
_LONGEST_LIFE = 8 * 24 * 3600.0


@dataclass(frozen=True)
class RawPage:
    """A page as it came: the body, still compressed if it was, and what its headers promised.

    Args:
        url: what was asked for.
        body: the bytes on the wire, or a file of them that looks like them.
        encoding: ``gzip``, or empty.
        rows: rows by the header ``Sforce-NumberOfRecords``, if it was there.
        locator: where the next page begins, or None after the last.
    """

    url: str
    body: bytes | mmap.mmap | memoryview
    encoding: str
    rows: int | None
    locator: str | None


class Spool:
    """The pages of one job, in a folder that only this user can read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._usable = True

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.page"))

    def find(self, url: str) -> RawPage | None:
        """The page of this address, if it was kept."""
        try:
            with self._file(url).open("rb") as file:
                head = json.loads(file.readline())
                start, size = file.tell(), file.seek(0, os.SEEK_END)
                if size - start > LARGE_BODY:
                    return RawPage(
                        url, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:], **head
                    )
                file.seek(start)
                return RawPage(url, file.read(), **head)
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, page: RawPage) -> None:
        """Write a page; a disk that is full costs the safety net, not the run."""
        if not self._usable:
            return
        head = {"encoding": page.encoding, "rows": page.rows, "locator": page.locator}
        file = self._file(page.url)
        unfinished = file.with_suffix(f".{threading.get_ident()}.part")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with unfinished.open("wb") as out:
                out.write(json.dumps(head).encode() + b"\n")
                out.write(page.body)
            unfinished.rename(file)
        except OSError as error:
            self._usable = False
            log.warning("pages cannot be kept in %s (%s): a killed run will fetch them again", self.folder, error)
            self.discard()

    def forget(self, url: str) -> None:
        """Remove a page that turned out to be broken."""
        self._file(url).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all pages, and the folders above that are empty then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()

    def _file(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.page"


def remove_old_pages(root: Path) -> None:
    """Remove the pages of jobs that Salesforce has forgotten."""
    for folder in root.glob("*") if root.is_dir() else ():
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LONGEST_LIFE:
                shutil.rmtree(folder, ignore_errors=True)
