"""The roles of a source: what the pipeline asks of it, whatever the platform."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from ingestr.core.cursor import Window
from ingestr.core.schema import TableSchema
from ingestr.core.strategy import WriteStrategy
from ingestr.core.stream import RecordStream
from ingestr.errors import IncompleteReadError


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot be had as declared.

    Args:
        key: the row's primary key, if it is known.
        field: the field whose value does not fit, or None where the source cannot give the row at all.
        value: the value as it came, its beginning at least.
        reason: what is wrong.
    """

    key: str | None
    field: str | None
    value: str | None
    reason: str


@dataclass(frozen=True)
class ReadProgress:
    """How far a read is, as far as the source tells.

    Args:
        phase: what the source is doing, for people: ``Bulk job 750… is InProgress``.
        rows: rows that the source has made ready so far; None where it does not tell.
        total: rows that will flow in all; None where nobody knows yet.
    """

    phase: str
    rows: int | None = None
    total: int | None = None


@dataclass
class Checkpoint:
    """What makes a read one that a later run can take up where a killed one left it.

    Args:
        token: the source's own word for a read that was broken off, or None before there is one.
        folder: where the source may keep what it has until ``Stream.discard``.
        remember: keeps the token for the next run.
    """

    token: str | None
    folder: Path
    remember: Callable[[str], None]

    def begin(self, token: str) -> None:
        """There is something to take up from now on."""
        self.token = token
        self.remember(token)


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
        live_at: only rows that were live at this moment: created before it, and not deleted, as far as the source still
            tells what was deleted since; archived ones are live.
        created_before: only rows that were created before this moment, where the source can tell.
        keys: only rows of these primary keys.
        reject: told of rows that do not fit the declared types; None makes them errors.
        checkpoint: makes the read one that can be taken up later; None makes it leave nothing behind.
        private: nothing of the rows may lie in a file, not even for a while.
        report: told how far the read is, before the first row and whenever the source says more.
    """

    fields: tuple[str, ...]
    window: Window | None = None
    limit: int | None = None
    include_deleted: bool = False
    page_size: int = 25_000
    parallelism: int = 5
    widened: dict[str, pa.DataType] = field(default_factory=dict)
    live_at: datetime | None = None
    created_before: datetime | None = None
    keys: tuple[str, ...] | None = None
    reject: Callable[[RejectedRow], None] | None = None
    checkpoint: Checkpoint | None = None
    private: bool = False
    report: Callable[[ReadProgress], None] = lambda progress: None


@dataclass(frozen=True)
class ReadPlan:
    """How a read would be done, settled before the first row.

    Args:
        api: the way that the rows would come.
        reason: why, for people.
        query: what the platform would be asked, in its own language.
        rows: rows expected; None where the platform does not tell.
        calls: API calls that these cost, with what prepares and cleans up; None where nobody can tell.
        bytes: about how many come over the network, packed as they are there; None where the rows are not known.
        seconds: about how long the rows take to come and to be written; None where the rows are not known.
        measured: whether bytes and seconds are those of a former load, for as many rows; else they are assumed.
        otherwise: what would happen instead where the estimate is wrong; empty where nothing would.
    """

    api: str
    reason: str
    query: str = ""
    rows: int | None = None
    calls: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    measured: bool = False
    otherwise: str = ""

    def __str__(self) -> str:
        return f"{self.api}: {self.reason}"


class Partition(Protocol):
    """One piece of a read: small, picklable, without secrets, and readable by any machine with ``Source.read``.

    Reading it again gives the same rows, as far as the source keeps them: a piece that holds still is exact, one that
    is asked anew gives its rows as they are then. Two of one read share no row.
    """

    @property
    def rows(self) -> int | None:
        """Rows that it held when it was made; None where only reading tells."""

    @property
    def origin(self) -> str:
        """What it is, for people."""


@dataclass(frozen=True)
class PartitionGroup:
    """Partitions that are counted together.

    Args:
        origin: what they are parts of, for people.
        partitions: in any order.
        rows: rows that they must come to; None where each proves by itself that it is complete.
    """

    origin: str
    partitions: tuple[Partition, ...]
    rows: int | None = None


@dataclass(frozen=True)
class PartitionedRead:
    """A read that is ready to be done piece by piece, in any order, by any number of machines; picklable.

    Args:
        groups: all its partitions.
    """

    groups: tuple[PartitionGroup, ...]

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All of them, in the order of their groups."""
        return tuple(each for group in self.groups for each in group.partitions)

    def check(self, counts: Sequence[int]) -> None:
        """Compare what was read with what was promised.

        Args:
            counts: rows read of each partition, those that were set aside included, in the order of ``partitions``.

        Raises:
            IncompleteReadError: a group has other rows than it must have.
        """
        if len(counts) != len(self.partitions):
            raise ValueError(f"{len(counts)} counts for {len(self.partitions)} partitions")
        left = iter(counts)
        for group in self.groups:
            read = sum(islice(left, len(group.partitions)))
            if group.rows is not None and read != group.rows:
                raise IncompleteReadError(
                    f"{group.origin} promised {group.rows} rows and its partitions gave {read}", hint="read it again"
                )


@dataclass(frozen=True)
class Usage:
    """Calls to the platform's API: made by us in this run, and used of the allowance by everybody.

    Args:
        calls: made by us.
        used: of the allowance, by everybody; None where the platform does not tell.
        limit: the allowance.
        received: bytes of the answers to ours, packed as they came.
    """

    calls: int
    used: int | None
    limit: int | None
    received: int = 0


@dataclass(frozen=True)
class SourceTable:
    """A table that a source offers, as far as that is known without asking for its columns.

    Args:
        table: what it is asked for by, with ``Source.stream``.
        source_object: the platform's own name of it.
        name: in snake_case, as a table of a destination may be called.
        label: what people call it on the platform.
        rows: about how many rows it has; None where the platform does not tell.
        reason: why it cannot be read as a whole; empty where it may.
    """

    table: str
    source_object: str
    name: str
    label: str = ""
    rows: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Choice:
    """One value of a field that has a list of them.

    Args:
        value: as it is stored.
        label: as people see it.
        active: whether it can still be chosen.
        default: whether it is chosen where nobody chooses.
    """

    value: str
    label: str
    active: bool = True
    default: bool = False


@dataclass(frozen=True)
class TableFacts:
    """What a source knows of a table, for people.

    Args:
        label: what people call one of its rows; empty where nobody has named it.
        plural: what they call several.
        key_prefix: what the keys of its rows begin with; empty where they do not tell their table.
        custom: whether the users of the platform have made it.
    """

    label: str = ""
    plural: str = ""
    key_prefix: str = ""
    custom: bool = False


@dataclass(frozen=True)
class SourceField:
    """What a source knows of a field, for people.

    Args:
        name: its name on the platform.
        type: the platform's type.
        column: the Arrow type of its values; None of a field that is not read.
        label: what people call it.
        help: what people are told of it.
        choices: the values that it may have, where it has a list of them.
        references: the tables that its values lead to.
        calculated: whether its values change without the row's timestamp moving.
        note: why it is not read, if it is not.
        length: the most characters of a text; 0 of what has no such bound.
        precision: digits of a number; 0 where they are not declared.
        scale: digits behind its point.
        nullable: whether it may be empty.
        custom: whether the users of the platform have made it.
        formula: how its values are worked out, where the platform tells.
        relationship: the name under which the platform's queries go on to the table that it leads to.
    """

    name: str
    type: str
    column: str | None
    label: str = ""
    help: str = ""
    choices: tuple[Choice, ...] = ()
    references: tuple[str, ...] = ()
    calculated: bool = False
    note: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    nullable: bool = True
    custom: bool = False
    formula: str = ""
    relationship: str = ""


class Stream(Protocol):
    """One table of a source."""

    @property
    def platform(self) -> str:
        """What people call the platform."""

    @property
    def source_object(self) -> str:
        """The platform's own name of the table."""

    @property
    def facts(self) -> TableFacts:
        """What the platform knows of the table, for people."""

    @property
    def fields(self) -> Sequence[SourceField]:
        """All fields of the table, those that are not read among them."""

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

    @property
    def usage(self) -> Usage:
        """API calls for this table alone so far, and the allowance."""

    def check_cursor(self, name: str) -> str:
        """The field to use as the cursor for a name the user gave; raises ConfigurationError where it cannot be one."""

    def server_now(self) -> datetime:
        """The platform's clock, in UTC at whole seconds."""

    @property
    def decimals(self) -> Mapping[str, pa.DataType]:
        """Fields of numbers that are read as doubles, each with the decimal type that the source declares for it."""

    def declare(self, types: Mapping[str, pa.DataType]) -> None:
        """Let fields have these types from now on, in ``schema`` and in what is read."""

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

    def anticipate(self, request: ReadRequest, at: datetime, changed: Window | None, since: datetime) -> None:
        """Learn in one call, where that can be done, what is going to be asked for next.

        That is whether ``read`` has a row of the request, ``count_live(at, changed)``, and
        ``deleted_since(since, at)``. Each is used once, and what could not be learned is asked for then.
        """

    def count_live(self, at: datetime, changed: Window | None = None) -> int | None:
        """Rows that were live at this moment, as ``ReadRequest.live_at`` means it; None where the source cannot tell.

        ``changed`` counts only those of a window.
        """

    def deleted_since(self, start: datetime, end: datetime) -> list[str]:
        """Keys of rows deleted between two moments, as far as the source can tell."""

    def plan(self, request: ReadRequest, rows: int | None = None) -> ReadPlan:
        """How ``read`` would answer the request now; asks for no row.

        Args:
            request: what is to be read.
            rows: about how many rows there are, where that is known: a call less, which is one at the most.
        """

    def read(self, request: ReadRequest) -> RecordStream:
        """Rows of the requested fields; complete, or an error."""

    def partitions(self, request: ReadRequest) -> PartitionedRead:
        """What ``read`` would read, unread: prepared at the source, which keeps it until ``Source.discard``.

        It is more than ``plan`` can tell, as some sources know their pieces only when they have made them. The
        request's checkpoint is left aside.
        """

    def can_resume(self, token: str) -> bool:
        """Whether a read that was broken off can still be taken up by a request with this token."""

    def kept_pages(self, token: str, folder: Path) -> int:
        """How many complete pages a read with this token has left in the folder."""

    def discard(self, token: str, folder: Path) -> None:
        """Remove what a read with a checkpoint has left, here and at the source; that failing is no failure."""


class Source(Protocol):
    """A platform that holds tables."""

    def tables(self) -> Sequence[SourceTable]:
        """All tables that the login sees, those that cannot be read among them, in the platform's order."""

    def prepare(self, tables: Sequence[str]) -> Sequence[SourceTable]:
        """Ask for what ``stream`` will want to know of these tables, in as few calls as the platform allows.

        Returns:
            What is known of each; of one that ``stream`` will not know, only its name.
        """

    def server_now(self) -> datetime:
        """The platform's clock, in UTC at whole seconds."""

    def stream(self, table: str) -> Stream:
        """The table of this name; raises UnknownNameError with the nearest names."""

    def read(self, partition: Partition, reject: Callable[[RejectedRow], None] | None = None) -> RecordStream:
        """The rows of one partition; complete, or an error.

        Args:
            partition: made by this source or, with the same connection, by another process.
            reject: told of rows that do not fit the declared types; None makes them errors.

        Raises:
            ConfigurationError: it belongs to another org.
            RequestRefusedError: the source keeps it no more.
            IncompleteReadError: it holds other rows than it must have.
        """

    def discard(self, read: PartitionedRead) -> None:
        """Remove what a partitioned read has made at the source; that failing is no failure."""

    def stop(self) -> None:
        """End all requests that are under way, in whichever thread: they fail, and so does every later one."""

    @property
    def version(self) -> str:
        """Which API of the platform is spoken, for people."""

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
