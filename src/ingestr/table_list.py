"""What a user may ask of a session of many tables: which of them, where to, and how many at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingestr.core.naming import is_query, snake_case
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.options import IngestOptions, bare_table, make_options

PLACEHOLDER = "{table}"
_OWN = ("exclude_table", "tables_in_flight", "consistent")
# Stands for the tables while the other options are checked.
_ANY_TABLE = "account"
_USUAL_IN_FLIGHT = 4


def is_pattern(text: str) -> bool:
    """Whether a source table is a pattern, as file names have them, rather than a name."""
    return any(character in text for character in "*?[") and not is_query(text)


def split_tables(value: str | Iterable[str] | None) -> tuple[str, ...]:
    """Source tables as they were written: repeated, or with commas between them; a query is one, commas and all."""
    texts = [value] if isinstance(value, str) else list(value or ())
    parts = [part for text in texts for part in ([text] if is_query(text) else text.split(","))]
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def names_many(given: Mapping[str, Any]) -> bool:
    """Whether options are about many tables: several, a pattern, or what only such a session takes."""
    tables = split_tables(given.get("source_table"))
    return len(tables) > 1 or any(map(is_pattern, tables)) or any(given.get(name) for name in _OWN)


def make_ingest_options(*, notes: Iterable[str] = (), **given: Any) -> "IngestOptions | SessionOptions":
    """Options of a run of one table, or of a session of several, from what a person wrote.

    Raises:
        ConfigurationError: a value that is not what its option takes.
    """
    if names_many(given):
        tables = split_tables(given.get("source_table"))
        if given.get("consistent") and len(tables) == 1 and not is_pattern(tables[0]):
            raise ConfigurationError(
                f"{Flag.CONSISTENT} is about several tables, and {Flag.SOURCE_TABLE} names one: {tables[0][:60]}",
                hint="name the others too, with commas, or leave it out",
            )
        return make_session_options(notes=notes, **given)
    given = {name: value for name, value in given.items() if name not in _OWN}
    table = next(iter(split_tables(given.get("source_table"))), None)
    if table is not None and PLACEHOLDER in str(given.get("dest_table") or ""):
        given["dest_table"] = given["dest_table"].replace(PLACEHOLDER, snake_case(bare_table(table)))
    return make_options(IngestOptions, notes=notes, **{**given, "source_table": table})


@dataclass(frozen=True)
class SessionOptions:
    """Everything that a session of many tables may be told.

    Args:
        tables: names and patterns.
        excluded: names and patterns of those that are not meant.
        in_flight: so many tables at once.
        common: the options of every table, checked; its tables are not meant.
        given: what these were made of.
        overrides: options of their own, by the name or pattern that means the tables.
        queries: what queries are called, by their texts.
        consistent: whether all tables end at one moment.
    """

    tables: tuple[str, ...]
    excluded: tuple[str, ...]
    in_flight: int
    common: IngestOptions
    given: Mapping[str, Any]
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    consistent: bool = False

    def of(self, source_table: str, name: str, asked: str) -> IngestOptions:
        """The options of one table.

        Args:
            source_table: what the source is asked for.
            name: what takes the place of ``{table}``.
            asked: the name or pattern that means it.
        """
        given = {**self.given, **self.overrides.get(asked, {}), "source_table": source_table}
        place = str(given.get("dest_table") or PLACEHOLDER)
        return make_options(IngestOptions, **{**given, "dest_table": place.replace(PLACEHOLDER, name)})

    @property
    def dest_table(self) -> str:
        """The destination's tables, with ``{table}`` for the name of each."""
        return str(self.given.get("dest_table") or PLACEHOLDER)


def make_session_options(*, notes: Iterable[str] = (), **given: Any) -> SessionOptions:
    """Options of a session from what a person wrote, checked before any call.

    Raises:
        ConfigurationError: a value that is not what its option takes, or one that makes no sense for many tables.
    """
    tables, excluded = split_tables(given.get("source_table")), split_tables(given.pop("exclude_table", None))
    in_flight = given.pop("tables_in_flight", None)
    in_flight = _USUAL_IN_FLIGHT if in_flight is None else in_flight
    if not isinstance(in_flight, int) or isinstance(in_flight, bool) or in_flight < 1:
        raise ConfigurationError(
            f"{Flag.TABLES_IN_FLIGHT} must be a whole number from 1 on, not {in_flight!r}", hint="4 is the default"
        )
    dest_table = given.get("dest_table")
    if dest_table and PLACEHOLDER not in dest_table:
        raise ConfigurationError(
            f"{Flag.DEST_TABLE} {dest_table} is one table, and {Flag.SOURCE_TABLE} names several",
            hint=f"write {PLACEHOLDER} where the name of each goes: raw.{PLACEHOLDER}",
        )
    if query := next(filter(is_query, tables), None):
        raise ConfigurationError(
            f"a query among several tables has no name: {query[:60]}", hint="copy it by a command of its own"
        )
    common = make_options(IngestOptions, notes=notes, **{**given, "source_table": _ANY_TABLE if tables else None})
    consistent = bool(given.get("consistent"))
    if consistent:
        check_consistent(common)
    return SessionOptions(tables, excluded, in_flight, common, given, consistent=consistent)


def check_consistent(options: IngestOptions) -> None:
    """Refuse what keeps a table from ending where the others of its session end.

    Raises:
        ConfigurationError: only some of its rows would be read.
    """
    if options.has_interval:
        raise ConfigurationError(
            f"{Flag.CONSISTENT} together with an interval contradicts itself: all tables end at the moment at which "
            "the session begins",
            hint=f"leave out {Flag.INTERVAL_START} and {Flag.INTERVAL_END}, or {Flag.CONSISTENT}",
        )
    if options.sql_limit is not None:
        raise ConfigurationError(
            f"{Flag.CONSISTENT} together with {Flag.SQL_LIMIT} would load rows without those that they refer to",
            hint="leave out one of them",
        )
