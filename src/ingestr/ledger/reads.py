"""Reads that were broken off: what the destination keeps of one, and when the next run can take it up.

A run is resumed only when it asks for the same rows: options, columns, and where its window starts. What a resumed read
brings is as old as its window's end, so the run goes on with what changed since.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from ingestr.core.schema import TIMESTAMP
from ingestr.core.sql import Statements
from ingestr.destinations.base import Destination
from ingestr.errors import (
    ConfigurationError,
    DecodeError,
    IncompleteReadError,
    IngestrError,
    JobFailedError,
    RequestRefusedError,
)
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.table import SystemTable
from ingestr.sources.base import Checkpoint, ReadRequest, Stream

log = logging.getLogger("ingestr")

_TEXT = pa.string()
READS = SystemTable(
    "reads",
    {
        "source_object": _TEXT,
        "fingerprint": _TEXT,
        "window_end": TIMESTAMP,
        "token": _TEXT,
        "committed": pa.bool_(),
        "begun_at": TIMESTAMP,
    },
)
# After these the same rows would fail again.
_HOPELESS = (IncompleteReadError, JobFailedError, DecodeError, RequestRefusedError, ConfigurationError)


def fingerprint(stream: Stream, identity: str | None, request: ReadRequest, *, interval: bool) -> str:
    """What two runs have in common that read the same rows, whatever the time at which they start."""
    window = request.window
    types = {column.name: str(column.type) for column in stream.schema.columns}
    asked = {
        "object": stream.source_object,
        "org": identity,
        "fields": [(name, types[name]) for name in request.fields],
        "window": [window.field, str(window.start), str(window.end) if interval else None] if window else None,
        "limit": request.limit,
        "deleted": request.include_deleted,
        "page_size": request.page_size,
    }
    if request.created_before is not None:
        # Without that, the rows may include later ones.
        asked["bounded"] = True
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class _Kept:
    fingerprint: str
    window_end: datetime
    token: str
    committed: bool

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Self | None:
        """What a row says; None where it is not of the kind that we write: the file may have been anywhere."""
        if any(row[name] is None for name in ("fingerprint", "window_end", "token", "committed")):
            return None
        return cls(row["fingerprint"], row["window_end"], row["token"], row["committed"])


class Resumption:
    """The broken-off read of one target, if there is one, and the read of this run.

    Args:
        destination: keeps the token.
        ledger: where it is kept.
        stream: the source's side.
        folder: where pages wait.
        began: when this run began.
    """

    def __init__(self, destination: Destination, ledger: Ledger, stream: Stream, folder: Path, began: datetime) -> None:
        self._destination = destination
        self._ledger = ledger
        self._stream = stream
        self._folder = folder
        self._began = began
        self._token: str | None = None

    def peek(self, wanted: str) -> datetime | None:
        """The end of the window of a read that ``find`` would take up; changes nothing."""
        rows = self._ledger.rows(READS) if self._ledger.is_sound(READS) else []
        kept = _Kept.parse(rows[0]) if len(rows) == 1 else None
        return kept.window_end if kept is not None and self._is_of_use(kept, wanted) else None

    def find(self, wanted: str) -> datetime | None:
        """The end of the window of a read that can be taken up; whatever else was left behind is removed."""
        self._ledger.make_way(READS)
        rows = self._ledger.rows(READS)
        if not rows:
            return None
        kept = _Kept.parse(rows[0]) if len(rows) == 1 else None
        if kept is not None:
            self._token = kept.token
            if self._is_of_use(kept, wanted):
                return kept.window_end
        log.debug("what the last run left of %s cannot be used", self._ledger.ref)
        self._discard()
        self._forget()
        return None

    def _is_of_use(self, kept: _Kept, wanted: str) -> bool:
        return not kept.committed and kept.fingerprint == wanted and self._stream.can_resume(kept.token)

    def checkpoint(self, wanted: str, upper: datetime) -> Checkpoint:
        """What the source needs to leave a read that can be taken up, or to take one up."""

        def remember(token: str) -> None:
            self._token = token
            self._destination.execute(self._keep(_Kept(wanted, upper, token, committed=False)))
            self._destination.commit()

        return Checkpoint(self._token, self._folder, remember)

    def commit(self) -> Statements:
        """Statements for the load's transaction: with it, what was kept is of no use any more."""
        if self._token is None:
            return []
        return self._keep(_Kept("", self._began, self._token, committed=True))

    def _keep(self, kept: _Kept) -> Statements:
        row = {**asdict(kept), "source_object": self._stream.source_object, "begun_at": self._began}
        return self._ledger.replace(READS, [row])

    def finish(self) -> None:
        """Remove what was kept, at the source and here."""
        if self._token is not None:
            self._discard()
            self._forget()

    def _discard(self) -> None:
        if self._token is not None:
            self._stream.discard(self._token, self._folder)
            self._token = None

    def _forget(self) -> None:
        self._destination.execute([self._ledger.delete(READS)])
        self._ledger.drop_if_empty(READS)
        self._destination.commit()

    def break_off(self, error: BaseException) -> int:
        """After a failure: keep complete pages for the next run where that is any use; returns how many are kept.

        The destination must have been rolled back.
        """
        if self._token is None:
            return 0
        pages = 0 if isinstance(error, _HOPELESS) else self._stream.kept_pages(self._token, self._folder)
        if pages == 0:
            try:
                self.finish()
            except IngestrError as failure:
                log.debug("%s", failure)
        return pages
