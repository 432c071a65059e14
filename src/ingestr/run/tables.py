"""Which tables a session is about: by name, by pattern, and without those that are excluded. Knows no platform."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ingestr.core.naming import snake_case
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.flags import Flag
from ingestr.options import bare_table
from ingestr.sources.base import Source, SourceTable
from ingestr.table_list import is_pattern


@dataclass(frozen=True)
class ChosenTable:
    """A table that is to be copied.

    Args:
        source_table: what the source is asked for.
        name: what stands in the place of ``{table}``.
        rows: about how many rows it has, if that is known.
        by_pattern: whether a pattern chose it, so that it may be left out where it cannot be read.
        asked: the name or pattern by which it was asked for.
    """

    source_table: str
    name: str
    rows: int | None = None
    by_pattern: bool = False
    asked: str = ""


@dataclass(frozen=True)
class LeftOutTable:
    """A table that a pattern means and that cannot be read as a whole.

    Args:
        source_table: what the source calls it.
        reason: why not, for people.
    """

    source_table: str
    reason: str


def choose_tables(
    source: Source, wanted: Sequence[str], excluded: Sequence[str]
) -> tuple[list[ChosenTable], list[LeftOutTable]]:
    """The tables that names and patterns mean, each once, in the order in which they were asked for.

    Args:
        source: what there is; its list is asked for only if there is a pattern.
        wanted: names and patterns.
        excluded: names and patterns of those that are not meant.

    Raises:
        UnknownNameError: a pattern, or an exclusion, that means nothing.
        ConfigurationError: all of them are excluded.
    """
    patterns = [each for each in wanted if is_pattern(each)]
    offered = list(source.tables()) if patterns else []
    exclusions = _Exclusions(excluded)
    named = [
        each
        for each in wanted
        if each not in patterns and not exclusions.hold((each, bare_table(each), snake_case(bare_table(each))))
    ]
    found = [table for each in patterns for table in _meant(each, offered) if not exclusions.hold(_names(table))]
    exclusions.check(offered)
    readable = [table.table for table in found if not table.reason]
    if not named and not readable:
        raise ConfigurationError(
            "no table is left to copy",
            hint=f"what {Flag.SOURCE_TABLE} names cannot be read, or {Flag.EXCLUDE_TABLE} takes all of it",
        )
    chosen: dict[str, ChosenTable] = {}
    # Two names of one object are one table: the one that was written out goes before the one that a pattern means.
    for table in source.prepare(list(dict.fromkeys([*named, *readable]))):
        names = _names(table)
        asked = table.table if table.table in named else next(each for each in patterns if _means(each, names))
        chosen.setdefault(
            table.source_object, ChosenTable(table.table, table.name, table.rows, asked != table.table, asked)
        )
    left_out = {table.table: LeftOutTable(table.table, table.reason) for table in found if table.reason}
    return list(chosen.values()), list(left_out.values())


class _Exclusions:
    """Names and patterns of what is not meant, each of which must mean something."""

    def __init__(self, excluded: Sequence[str]) -> None:
        self._excluded = excluded
        self._used: set[str] = set()

    def hold(self, names: Sequence[str]) -> bool:
        """Whether a table of these names is excluded."""
        found = {each for each in self._excluded if _means(each, names)}
        self._used.update(found)
        return bool(found)

    def check(self, offered: Sequence[SourceTable]) -> None:
        """Refuse those that have excluded nothing."""
        for each in self._excluded:
            if each not in self._used:
                known = [name for table in offered for name in _names(table)]
                raise UnknownNameError("table to exclude", each, known, where="the tables that are copied")


def _meant(pattern: str, offered: Sequence[SourceTable]) -> list[SourceTable]:
    """The tables that a pattern means, one at least."""
    found = [table for table in offered if _means(pattern, _names(table))]
    if not found:
        known = [name for table in offered for name in _names(table)]
        raise UnknownNameError("pattern of tables", pattern, known, where="this org")
    return found


def _names(table: SourceTable) -> tuple[str, ...]:
    return table.table, table.name, table.source_object


def _means(pattern: str, names: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in names)
