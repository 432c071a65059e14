"""The roles of a source: what the pipeline asks of it, whatever the platform."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from ingestr.core.cursor import Window
from ingestr.core.schema import TableSchema
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream


@dataclass(frozen=True)
class ReadRequest:
    """One read of a stream.

    Args:
        fields: source field names, in the order of the columns wanted.
        window: rows to read, or None for all.
        limit: at most this many rows, or None.
        include_deleted: whether rows in the recycle bin come too, marked as deleted.
        page_size: rows a page, where the source lets us choose.
        parallelism: pages in flight at once.
        widened: fields whose values need a wider type than declared.
        live_before: only rows that were created before this moment and are not deleted; archived ones are live.
        keys: only rows of these primary keys.
    """

    fields: tuple[str, ...]
    window: Window | None = None
    limit: int | None = None
    include_deleted: bool = False
    page_size: int = 25_000
    parallelism: int = 5
    widened: dict[str, pa.DataType] = field(default_factory=dict)
    live_before: datetime | None = None
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Usage:
    """Calls to the platform's API: made by us in this run, and used of the allowance by everybody."""

    calls: int
    used: int | None
    limit: int | None


class Stream(Protocol):
    """One table of a source."""

    @property
    def source_object(self) -> str:
        """The platform's own name of the table."""

    @property
    def schema(self) -> TableSchema:
        """Every readable column under its source name."""

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Fields that identify a row."""

    @property
    def strategy(self) -> WriteStrategy:
        """How the table is written unless the user says otherwise."""

    @property
    def cursor_field(self) -> str | None:
        """The field that incremental reads use unless the user names another."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about this table: fields left out, say."""

    def check_cursor(self, name: str) -> str:
        """The field to use as the cursor for a name the user gave; raises ConfigurationError where it cannot be one."""

    def server_now(self) -> datetime:
        """The platform's clock, in UTC at whole seconds."""

    @property
    def calculated_fields(self) -> tuple[str, ...]:
        """Fields whose values change without the row's timestamp moving."""

    @property
    def deleted_field(self) -> str | None:
        """The field that marks deleted rows, if there is one."""

    @property
    def created_field(self) -> str | None:
        """The field with the time at which a row came to be, if it can be filtered by."""

    @property
    def changed_field(self) -> str | None:
        """The field with the time of a row's last change, deletion included, if there is one."""

    def count_live(self, before: datetime) -> int | None:
        """Rows that are not deleted and were created before this moment; None where the source cannot tell."""

    def deleted_since(self, start: datetime, end: datetime) -> list[str]:
        """Keys of rows deleted between two moments, as far as the source can tell."""

    def read(self, request: ReadRequest) -> RecordStream:
        """Rows of the requested fields; complete, or an error."""


class Source(Protocol):
    """A platform that holds tables."""

    def stream(self, table: str) -> Stream:
        """The table of this name; raises UnknownNameError with the nearest names."""

    @property
    def identity(self) -> str | None:
        """What tells this org from another, where the login says it."""

    @property
    def usage(self) -> Usage:
        """API calls so far."""

    @property
    def notes(self) -> list[str]:
        """What the user should know about this connection."""

    def close(self) -> None:
        """Release connections."""
