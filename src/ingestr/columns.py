"""Which field goes to which column of a target, now and ever. Knows no engine's dialect and no platform."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingestr import state as system
from ingestr.core.naming import SchemaNaming, assign_names, column_name
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Destination, TableRef
from ingestr.errors import ConfigurationError
from ingestr.sources.base import Stream
from ingestr.strategies.base import Statements


@dataclass(frozen=True)
class ColumnNames:
    """The columns of one target, settled for one run.

    Args:
        read: field → column, of the fields that this run reads.
        every: the same of all fields that ever had a column here.
        fresh: fields that are read now and were not read last time: rows that did not change since lack their values.
        lost: columns whose field Salesforce shows no longer: their values in rows that change are unknown.
    """

    read: dict[str, str]
    every: dict[str, str]
    fresh: tuple[str, ...]
    lost: tuple[str, ...]


def choose_columns(
    destination: Destination,
    target: TableRef,
    stream: Stream,
    wanted: Iterable[str],
    naming: SchemaNaming,
    *,
    rewrite: bool,
    note: Callable[[str], None],
) -> ColumnNames:
    """Names once given stay, new fields get new ones, and what appeared or vanished since the last run is found.

    Args:
        destination: holds the target, and the names given.
        target: where the rows go.
        stream: the object, with every field that the user can see now.
        wanted: the fields to be read.
        naming: the rule for new names.
        rewrite: whether the target is replaced as a whole.
        note: told what the user should know.

    Raises:
        ConfigurationError: the target's columns were named by another rule.
    """
    given, used, absent = system.read_names(destination, target, stream.source_object)
    exists = destination.columns(target) is not None
    if used is not None and used != naming:
        if exists and not rewrite:
            raise ConfigurationError(
                f"{target} has {used} column names; {naming} would add each column again",
                hint="use the same naming, or start again with --full-refresh",
            )
        given, absent = {}, frozenset()
    visible = stream.schema.names
    # All visible fields take part, so that what is excluded today cannot change a name tomorrow.
    names = assign_names(visible, given, naming, reserved=[LOADED_AT])
    for name in [field for field in visible if field not in given]:
        if names[name] != (asked := column_name(name, naming)):
            note(f"the column name {asked} is taken: {name} is written to {names[name]}")
    read = {field: names[field] for field in wanted}
    merged = exists and not rewrite
    gone = [field for field in given if field not in names] if merged else []
    for field in gone:
        if field not in absent:
            note(f"{field} is gone from Salesforce, or hidden from this user: {given[field]} stays, without new values")
    fresh = [field for field in read if field not in given or field in absent] if merged and given else []
    return ColumnNames(read, {**given, **names}, tuple(fresh), tuple(given[field] for field in gone))


def remember_columns(target: TableRef, stream: Stream, names: ColumnNames, naming: SchemaNaming) -> Statements:
    """Statements that keep the names, and which fields were read, for the next run."""
    return system.write_names(target, stream.source_object, names.every, set(names.read), str(naming))
