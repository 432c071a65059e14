"""What to read of a stream: settled between what it offers and what the user wants. Knows no destination."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ingestr.core.cursor import Window
from ingestr.core.naming import Names, SchemaNaming, assign_names, only_one
from ingestr.core.schema import Column
from ingestr.core.strategy import WriteStrategy
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.options import ReadOptions
from ingestr.sources.base import ReadRequest, Stream
from ingestr.strategies import STRATEGIES
from ingestr.strategies.base import Traits


class FieldNames:
    """What the user's names of fields stand for in one table.

    Args:
        stream: what there is.
        given: field → column name of the target, of the fields whose columns have a name.
        naming: the rule for other names.
    """

    def __init__(self, stream: Stream, given: Mapping[str, str], naming: SchemaNaming) -> None:
        self.columns = assign_names(stream.schema.names, given, naming)
        self.given, self.naming = given, naming
        self._stream = stream
        self._names = Names(self.columns, given)

    def with_columns(self, given: Mapping[str, str]) -> "FieldNames":
        """The same where more fields, or others, have a column of a given name."""
        return FieldNames(self._stream, {**self.given, **given}, self.naming)

    def meant_by(self, name: str) -> list[str]:
        """The fields that a name stands for."""
        return self._names.meant_by(name)

    def find(self, name: str, kind: str) -> str:
        """The field that a name stands for; raises ConfigurationError where it is none or several."""
        return only_one(kind, name, self.meant_by(name), self.columns.values(), self._stream.source_object)


@dataclass(frozen=True)
class Reading:
    """What is read of a stream, but for the window.

    Args:
        fields: the stream's columns to read, under their source names.
        primary_key: fields that identify a row.
        cursor_field: the field that windows are over, or None.
        include_deleted: whether deleted rows come too, marked as such.
        limit: at most this many rows, or None.
        page_size: rows a page, where the source lets us choose.
        parallelism: pages in flight at once.
        created_before: only rows that were created before this moment; None for all.
    """

    fields: tuple[Column, ...]
    primary_key: tuple[str, ...]
    cursor_field: str | None
    include_deleted: bool
    limit: int | None
    page_size: int
    parallelism: int
    created_before: datetime | None = None

    def reads(self, field: str) -> bool:
        """Whether a field is among those that are read."""
        return any(each.name == field for each in self.fields)

    def request(self, window: Window | None, *, private: bool) -> ReadRequest:
        """What the source is asked for.

        Args:
            window: rows to read, or None for all.
            private: nothing of the rows may lie in a file, not even for a while.
        """
        return ReadRequest(
            fields=tuple(each.name for each in self.fields),
            window=window,
            limit=self.limit,
            include_deleted=self.include_deleted,
            page_size=self.page_size,
            parallelism=self.parallelism,
            created_before=self.created_before,
            private=private,
        )


def select(
    stream: Stream,
    options: ReadOptions,
    names: FieldNames,
    primary_key: tuple[str, ...] = (),
    wanted: WriteStrategy | None = None,
) -> tuple[Reading, WriteStrategy]:
    """What is read and how it is written, after checking everything the user named.

    Args:
        stream: what there is.
        options: what the user wants.
        names: what the user's names stand for.
        primary_key: the columns that the user named as such.
        wanted: the strategy that the user named, if any.

    Raises:
        ConfigurationError: a name that is none, or a strategy that lacks what it needs.
    """
    excluded = {names.find(name, "column to exclude") for name in options.sql_exclude_columns}
    keys = tuple(names.find(name, "primary key") for name in primary_key) or stream.primary_key
    cursor = _cursor(stream, options, names)
    strategy = wanted or (WriteStrategy.MERGE if options.incremental_key else stream.strategy)
    traits = STRATEGIES[strategy].TRAITS
    _check_needs(stream, options.source_table, traits, keys, cursor)
    for needed in (*keys, *([cursor] if cursor else [])):
        if needed in excluded:
            raise ConfigurationError(
                f"{Flag.SQL_EXCLUDE_COLUMNS} leaves out {names.columns[needed]}, which is a key of this load",
                hint="keys have to be read",
            )
    columns = tuple(column for column in stream.schema.columns if column.name not in excluded)
    # Deleted rows whose mark is not read would look alive.
    read = {column.name for column in columns}
    include_deleted = traits.deleted_rows and (stream.deleted_field is None or stream.deleted_field in read)
    if traits.only_adds and cursor is None:
        # Each run adds all rows that there are: those that are gone are none of them.
        include_deleted = False
    reading = Reading(
        columns,
        keys,
        cursor,
        include_deleted,
        limit=options.sql_limit,
        page_size=options.page_size,
        parallelism=options.extract_parallelism,
    )
    return reading, strategy


def _cursor(stream: Stream, options: ReadOptions, names: FieldNames) -> str | None:
    """The field that windows are over: the one that the user names, or the stream's own."""
    if not options.incremental_key:
        return stream.cursor_field
    # The target's own column names are known here alone; whatever else the name may be, the stream knows.
    known = names.meant_by(options.incremental_key)
    return stream.check_cursor(known[0] if len(known) == 1 else options.incremental_key)


def _check_needs(stream: Stream, source_table: str, traits: Traits, keys: tuple[str, ...], cursor: str | None) -> None:
    """Refuse a strategy that lacks a key."""
    if traits.keyed and not keys:
        raise ConfigurationError(
            f"{stream.source_object} has no Id, and {traits.name} needs a primary key",
            hint=f"name one: {Flag.PRIMARY_KEY}",
        )
    if traits.windowed and cursor is None:
        raise ConfigurationError(
            f"{source_table} has no incremental key of its own, and {traits.name} needs one",
            hint=f"name one: {Flag.INCREMENTAL_KEY} created_date, say",
        )


def named_interval(options: ReadOptions, cursor_field: str) -> Window | None:
    """The window for the interval that the user named, if any."""
    if not options.has_interval:
        return None
    return Window(cursor_field, options.interval_start, options.interval_end, end_inclusive=True)
