"""What to read of a stream: settled between what it offers and what the user wants. Knows no destination."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from ingestr.core.cursor import Window
from ingestr.core.naming import Names, SchemaNaming, assign_names, only_one
from ingestr.core.schema import Column
from ingestr.core.strategy import WriteStrategy
from ingestr.errors import ConfigurationError
from ingestr.options import ReadOptions
from ingestr.sources.base import Checkpoint, ReadRequest, RejectedRow, Stream
from ingestr.strategies import STRATEGIES
from ingestr.strategies.base import Strategy, Traits


class FieldNames:
    """What the user's names of fields stand for in one table.

    Args:
        stream: what there is.
        given: field → column name of the target, where names were given before.
        naming: the rule for other names.
    """

    def __init__(self, stream: Stream, given: Mapping[str, str], naming: SchemaNaming) -> None:
        self.columns = assign_names(stream.schema.names, given, naming)
        self._names = Names(self.columns, given)
        self._where = stream.source_object

    def meant_by(self, name: str) -> list[str]:
        """The fields that a name stands for."""
        return self._names.meant_by(name)

    def find(self, name: str, kind: str) -> str:
        """The field that a name stands for; raises ConfigurationError where it is none or several."""
        return only_one(kind, name, self.meant_by(name), self.columns.values(), self._where)


@dataclass(frozen=True)
class Selection:
    """The settled choice.

    Args:
        columns: the stream's columns to read, under their source names.
        strategy: how the rows are written.
        cursor_field: the field that windows are over, or None.
        primary_key: fields that identify a row.
        include_deleted: whether deleted rows come too, marked as such.
    """

    columns: tuple[Column, ...]
    strategy: WriteStrategy
    cursor_field: str | None
    primary_key: tuple[str, ...]
    include_deleted: bool

    @property
    def way(self) -> Strategy:
        """What is done with the rows."""
        return STRATEGIES[self.strategy]

    @property
    def traits(self) -> Traits:
        """What is to be known of that."""
        return self.way.TRAITS


def select(
    stream: Stream,
    options: ReadOptions,
    primary_key: tuple[str, ...],
    given: Mapping[str, str] | None = None,
    wanted: WriteStrategy | None = None,
) -> Selection:
    """Columns, strategy and keys by source field names, after checking everything the user named.

    Args:
        stream: what there is.
        options: what the user wants.
        primary_key: the columns that the user named as such.
        given: field → column name of the target, where names were given before.
        wanted: the strategy that the user named, if any.

    Raises:
        ConfigurationError: a name that is none, or a strategy that lacks what it needs.
    """
    names = FieldNames(stream, given or {}, options.schema_naming)
    excluded = {names.find(name, "column to exclude") for name in options.sql_exclude_columns}
    keys = tuple(names.find(name, "primary key") for name in primary_key) or stream.primary_key
    cursor = stream.cursor_field
    if options.incremental_key:
        # The target's own column names are known here alone; whatever else the name may be, the stream knows.
        known = names.meant_by(options.incremental_key)
        cursor = stream.check_cursor(known[0] if len(known) == 1 else options.incremental_key)
    strategy = wanted or (WriteStrategy.MERGE if options.incremental_key else stream.strategy)
    traits = STRATEGIES[strategy].TRAITS
    _check_needs(stream, options.source_table, traits, keys, cursor)
    for needed in (*keys, *([cursor] if cursor else [])):
        if needed in excluded:
            raise ConfigurationError(
                f"--sql-exclude-columns leaves out {names.columns[needed]}, which is a key of this load",
                hint="keys have to be read",
            )
    columns = tuple(column for column in stream.schema.columns if column.name not in excluded)
    # Deleted rows whose mark is not read would look alive.
    read = {column.name for column in columns}
    include_deleted = traits.deleted_rows and (stream.deleted_field is None or stream.deleted_field in read)
    if traits.only_adds and cursor is None:
        # Each run adds all rows that there are: those that are gone are none of them.
        include_deleted = False
    return Selection(columns, strategy, cursor, keys, include_deleted)


def _check_needs(stream: Stream, source_table: str, traits: Traits, keys: tuple[str, ...], cursor: str | None) -> None:
    """Refuse a strategy that lacks a key."""
    if traits.keyed and not keys:
        raise ConfigurationError(
            f"{stream.source_object} has no Id, and {traits.name} needs a primary key",
            hint="name one: --primary-key",
        )
    if traits.windowed and cursor is None:
        raise ConfigurationError(
            f"{source_table} has no incremental key of its own, and {traits.name} needs one",
            hint="name one: --incremental-key created_date, say",
        )


def named_interval(options: ReadOptions, cursor_field: str) -> Window | None:
    """The window for the interval that the user named, if any."""
    if not options.has_interval:
        return None
    return Window(cursor_field, options.interval_start, options.interval_end, end_inclusive=True)


def make_request(
    options: ReadOptions,
    chosen: Selection,
    window: Window | None,
    widened: dict[str, pa.DataType],
    *,
    reject: Callable[[RejectedRow], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> ReadRequest:
    """The read of a selection; the last two as in ``ReadRequest``."""
    return ReadRequest(
        fields=tuple(column.name for column in chosen.columns),
        window=window,
        limit=options.sql_limit,
        include_deleted=chosen.include_deleted,
        page_size=options.page_size,
        parallelism=options.extract_parallelism,
        widened=widened,
        reject=reject,
        checkpoint=checkpoint,
    )
