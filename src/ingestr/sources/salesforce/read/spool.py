"""Keeps complete result pages in a folder until the load is committed, so that a killed run need not fetch them again.

Pages lie as they came, compressed, one file each; a file appears under its name when it is whole. What is read back is
checked like a page from the network: a file that a crash damaged costs a download, nothing else.
"""

import errno
import hashlib
import json
import logging
import mmap
import os
import re
import stat
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from ingestr.errors import SourceError
from ingestr.sources.salesforce.http.checks import locator, text_in
from ingestr.sources.salesforce.http.shapes import Answer

log = logging.getLogger("ingestr.salesforce")

# A compressed body of more bytes is not kept in memory.
LARGE_BODY = 16 << 20
# Salesforce keeps results for seven days: older pages belong to jobs that are gone.
_LONGEST_LIFE = 8 * 24 * 3600.0
# The file that tells a folder of ours from any other, and what it says: the form of the files beside it.
MARK, _MARK_TEXT = ".ingestr-pages", "1\n"
_FOLDER_NAME = re.compile(r"[0-9a-f]{32}")
_OUR_FILES = (".page", ".part")
_LONGEST_HEAD = 20_000
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


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
    """The pages of one job, in a folder that only this user can write to and that bears our mark.

    Args:
        folder: a folder of a name that ``new_folder_name`` gave.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._usable = True
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(1 for file in _files(self.folder) if file.suffix == ".page") if _is_ours(self.folder) else 0

    def prepare(self) -> bool:
        """Make the folder if it is not there; whether it can be used. Why it cannot is said once."""
        if not self._usable:
            return False
        with self._lock:
            try:
                self._make()
                if not _is_ours(self.folder):
                    raise FileExistsError(errno.EEXIST, "it is not a folder of ingestr's own")
            except (OSError, ValueError) as error:
                self._give_up(error)
            return self._usable

    def _make(self) -> None:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        # An empty folder is what we have just made, or what a run that died had no time to mark.
        if not any(each.name != MARK for each in self.folder.iterdir()) and _may_be_ours(self.folder):
            with suppress(FileExistsError):
                (self.folder / MARK).touch(mode=0o600, exist_ok=False)
            if _mark_of(self.folder) == "":
                (self.folder / MARK).write_text(_MARK_TEXT)

    def find(self, url: str) -> RawPage | None:
        """The page of this address, if it was kept."""
        try:
            # A page is what we wrote ourselves, not what a link leads to.
            with os.fdopen(os.open(self._file(url), os.O_RDONLY | _NO_LINKS), "rb") as file:
                if not _is_ours(self.folder):
                    return None
                head = _head(file.readline(_LONGEST_HEAD))
                start, size = file.tell(), file.seek(0, os.SEEK_END)
                if size - start > LARGE_BODY:
                    return RawPage(
                        url, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:], **head
                    )
                file.seek(start)
                return RawPage(url, file.read(), **head)
        except (OSError, ValueError, TypeError, KeyError, RecursionError, SourceError):
            return None

    def keep(self, page: RawPage) -> None:
        """Write a page; a disk that is full costs the safety net, not the run."""
        if not self.prepare():
            return
        head = {"encoding": page.encoding, "rows": page.rows, "locator": page.locator}
        file = self._file(page.url)
        unfinished = file.with_suffix(f".{threading.get_ident()}.part")
        try:
            with unfinished.open("wb") as out:
                out.write(json.dumps(head).encode() + b"\n")
                out.write(page.body)
            unfinished.rename(file)
        except OSError as error:
            self._give_up(error)
            self.discard()

    def _give_up(self, error: Exception) -> None:
        if self._usable:
            log.warning("pages cannot be kept in %s (%s): a killed run will fetch them again", self.folder, error)
        self._usable = False

    def forget(self, url: str) -> None:
        """Remove a page that turned out to be broken."""
        if _is_ours(self.folder):
            with suppress(OSError):
                self._file(url).unlink()

    def discard(self) -> None:
        """Remove all pages, and the folder if nothing else is in it."""
        if _is_ours(self.folder):
            _remove(self.folder)

    def _file(self, url: str) -> Path:
        return self.folder / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.page"


def _head(line: bytes) -> dict[str, Any]:
    """What a page's headers promised, as it stands before the body; raises where it is not what ``keep`` writes."""
    head = Answer(json.loads(line), "reading a page that was kept")
    if head["encoding"] not in ("", "gzip") or type(head["rows"]) not in (int, NoneType):
        raise ValueError(head)
    where = head["locator"]
    return {
        "encoding": head["encoding"],
        "rows": head["rows"],
        "locator": None if where is None else locator(text_in(head, "locator"), head.doing),
    }


def new_folder_name() -> str:
    """A name that no other read has for its folder of pages."""
    return uuid.uuid4().hex


def is_folder_name(text: object) -> bool:
    """Whether ``new_folder_name`` may have given this name: the plain name of a child, and never a path."""
    return isinstance(text, str) and _FOLDER_NAME.fullmatch(text) is not None


def _is_ours(folder: Path) -> bool:
    """Whether we made this folder: it bears our mark beside our name.

    Another version of ingestr, whose pages may be of another form, looks after its own folders. The mark of a run that
    died while it wrote it is empty, and no page lies beside it.
    """
    return _may_be_ours(folder) and _mark_of(folder) in (_MARK_TEXT, "")


def _may_be_ours(folder: Path) -> bool:
    """Whether a folder bears a name of ours, is this user's, and nobody else can write to it."""
    try:
        own = folder.lstat()
    except (OSError, ValueError):
        return False
    mine = not hasattr(os, "getuid") or own.st_uid == os.getuid()
    closed = os.name == "nt" or not own.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_folder_name(folder.name) and stat.S_ISDIR(own.st_mode) and mine and closed


def _mark_of(folder: Path) -> str | None:
    """What the mark in a folder says; None where there is none, or where it is no file of its own."""
    try:
        mark = folder / MARK
        return mark.read_text() if stat.S_ISREG(mark.lstat().st_mode) else None
    except (OSError, ValueError):
        return None


def _files(folder: Path) -> list[Path]:
    """Files of ours in a folder of ours: pages, and what is left of unfinished ones; links are followed nowhere."""
    try:
        found = [each for each in folder.iterdir() if each.suffix in _OUR_FILES]
        return [each for each in found if stat.S_ISREG(each.lstat().st_mode)]
    except OSError:
        return []


def _remove(folder: Path) -> None:
    with suppress(OSError):
        for file in _files(folder):
            file.unlink()
        # Whatever somebody else has put there stays, and so does the folder.
        if [each.name for each in folder.iterdir()] == [MARK]:
            (folder / MARK).unlink()
            folder.rmdir()


def remove_old_pages(root: Path) -> None:
    """Remove the pages of jobs that Salesforce has forgotten; only folders that bear our mark are looked at."""
    with suppress(OSError, ValueError):
        for folder in list(root.iterdir()):
            if _is_ours(folder):
                with suppress(OSError):
                    # A page that was written lately belongs to a run that is still going on.
                    newest = max(each.lstat().st_mtime for each in (folder / MARK, *_files(folder)))
                    if time.time() - newest > _LONGEST_LIFE:
                        _remove(folder)
