"""What a user may ask of one run, checked before any network call."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from ingestr.core.budget import ApiBudget
from ingestr.core.naming import SchemaNaming
from ingestr.core.secret import Secret
from ingestr.core.strategy import Deletes, SchemaContract
from ingestr.errors import ConfigurationError


class ProgressMode(StrEnum):
    """How a run talks; ``interactive`` falls back to ``log`` where there is no terminal."""

    INTERACTIVE = "interactive"
    LOG = "log"
    JSON = "json"


_INSTANT = re.compile(r"\d{4}-\d\d-\d\d([T ].+)?", re.ASCII)
_SOURCE_TABLE = re.compile(r"\s*(custom:)?\s*(\w*)\s*", re.IGNORECASE | re.ASCII)


def default_table(source_table: str) -> str:
    """The table's name at the destination where the user gives none: the source table's, without ``custom:``."""
    found = _SOURCE_TABLE.fullmatch(source_table)
    return found[2] if found else source_table


def parse_instant(text: str | date | None, *, option: str, end: bool = False) -> datetime | None:
    """Read ``2023-01-31``, ``2023-01-31T15:00:00`` or ``2023-01-31 15:00:00`` with optional fraction and offset.

    Without an offset it is UTC. Salesforce keeps whole seconds and both ends of an interval are inclusive, so a
    start is rounded up to a second, an end down; a date alone means the whole day: its first second as a start, its
    last as an end.

    Raises:
        ConfigurationError: it is no date, or lies outside the years 1700 to 4000 that Salesforce knows.
    """
    if text is None:
        return None
    whole_day = False
    try:
        if isinstance(text, datetime):
            moment = text
        elif isinstance(text, date):
            moment, whole_day = datetime(text.year, text.month, text.day), True
        else:
            # fromisoformat takes weeks and days of the year too, whose ends nobody would know.
            if not isinstance(text, str) or not _INSTANT.fullmatch(text.strip()):
                raise ValueError(text)
            moment = datetime.fromisoformat(text.strip())
            whole_day = len(text.strip()) <= len("2023-01-31")
    except ValueError:
        raise ConfigurationError(
            f"{option} is not a date: {text!r}", hint="write 2023-01-31, 2023-01-31T15:00:00 or 2023-01-31T15:00:00Z"
        ) from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if not 1700 <= moment.year <= 4000:
            raise OverflowError
        if whole_day and end:
            return moment + timedelta(days=1, seconds=-1)
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + timedelta(seconds=0 if end else 1)
    except OverflowError:
        raise ConfigurationError(f"{option} lies outside the years 1700 to 4000: {text!s}") from None
    return moment


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The part of the options that says what to read; ``read()`` takes these alone."""

    source_uri: Secret
    source_table: str
    interval_start: datetime | None = None
    interval_end: datetime | None = None
    incremental_key: str | None = None
    sql_exclude_columns: tuple[str, ...] = ()
    sql_limit: int | None = None
    page_size: int = 25_000
    extract_parallelism: int = 5
    schema_naming: SchemaNaming = SchemaNaming.DEFAULT
    api_budget: ApiBudget | None = None

    def __post_init__(self) -> None:
        self._check_source_table()
        for name, least in (("sql_limit", 1), ("page_size", 1), ("extract_parallelism", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        if self.interval_start and self.interval_end and self.interval_start > self.interval_end:
            raise ConfigurationError(
                f"--interval-start {self.interval_start:%Y-%m-%dT%H:%M:%SZ} is after "
                f"--interval-end {self.interval_end:%Y-%m-%dT%H:%M:%SZ}",
                hint="swap them; both ends are inclusive",
            )

    def _check_source_table(self) -> None:
        if not (self.source_table or "").strip():
            raise ConfigurationError("--source-table is missing or empty", hint="account, say, or custom:<API name>")
        found = _SOURCE_TABLE.fullmatch(self.source_table)
        if found is None:
            raise ConfigurationError(
                f"--source-table {self.source_table!r} cannot be an object's API name",
                hint="names hold letters, digits and _: account, say, or custom:My__Object__c",
            )
        if not found[2]:
            raise ConfigurationError(
                "--source-table custom: lacks the object's API name", hint="e.g. custom:My__Community_Group__c"
            )

    @property
    def has_interval(self) -> bool:
        """Whether the user named a range to read."""
        return self.interval_start is not None or self.interval_end is not None


@dataclass(frozen=True, kw_only=True)
class IngestOptions(ReadOptions):
    """Everything that one run of ``ingest`` may be told."""

    dest_uri: Secret
    dest_table: str | None = None
    primary_key: tuple[str, ...] = ()
    full_refresh: bool = False
    no_load_timestamp: bool = False
    deletes: Deletes = Deletes.SOFT
    refresh_formulas: bool = False
    schema_contract: SchemaContract = SchemaContract.EVOLVE
    quarantine_limit: int = 100
    allow_mass_delete: bool = False
    pipelines_dir: str | None = None
    progress: ProgressMode = ProgressMode.INTERACTIVE
    debug: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quarantine_limit < 0:
            raise ConfigurationError(f"--quarantine-limit must be at least 0, not {self.quarantine_limit}")
        if self.full_refresh and self.has_interval:
            raise ConfigurationError(
                "--full-refresh together with an interval would drop every row outside the interval",
                hint="leave out one of them",
            )
        if self.full_refresh and self.sql_limit is not None:
            raise ConfigurationError(
                "--full-refresh together with --sql-limit would drop all other rows", hint="leave out one of them"
            )

    @property
    def spool_folder(self) -> Path:
        """Where complete pages wait until they are committed: the folder named, or the user's cache."""
        if self.pipelines_dir:
            return Path(self.pipelines_dir).expanduser() / "pages"
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ingestr" / "pages"


_URIS = {"source_uri": "SOURCE_URI", "dest_uri": "DESTINATION_URI"}
_ENUMS: dict[str, type[StrEnum]] = {
    "schema_naming": SchemaNaming,
    "progress": ProgressMode,
    "deletes": Deletes,
    "schema_contract": SchemaContract,
}
_COUNTS = ("sql_limit", "page_size", "extract_parallelism", "quarantine_limit")
_FLAGS = ("full_refresh", "allow_mass_delete", "no_load_timestamp", "refresh_formulas", "debug")
_TEXTS = ("source_table", "dest_table", "incremental_key", "pipelines_dir")
_LISTS = ("sql_exclude_columns", "primary_key")
_Options = TypeVar("_Options", bound="ReadOptions")


def make_options(kind: type[_Options], **given: Any) -> _Options:
    """Options from what a person wrote: texts become instants, enums, secrets and tuples.

    Raises:
        ConfigurationError: a value that is not what its option takes.
    """
    _check_kinds(given)
    given |= {name: _uri(name, given[name]) for name in _URIS if name in given}
    given["interval_start"] = parse_instant(given.get("interval_start"), option="--interval-start")
    given["interval_end"] = parse_instant(given.get("interval_end"), option="--interval-end", end=True)
    if given.get("api_budget") is not None:
        given["api_budget"] = _parse_budget(str(given["api_budget"]))
    for name, enum in _ENUMS.items():
        if name in given:
            try:
                given[name] = enum(given[name])
            except ValueError:
                known = ", ".join(enum)
                raise ConfigurationError(
                    f"{_flag(name)} does not know {given[name]!r}", hint=f"one of: {known}"
                ) from None
    for name in _LISTS:
        if name in given:
            value = given[name] or ()
            names = [value] if isinstance(value, str) else value
            given[name] = tuple(part.strip() for text in names for part in text.split(",") if part.strip())
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _uri(name: str, value: object) -> Secret:
    if not value:
        raise ConfigurationError(f"{_flag(name)} is missing", hint=f"or set {_URIS[name]}; see: ingestr example-uris")
    if not isinstance(value, str):
        raise ConfigurationError(f"{_flag(name)} must be a text, not {type(value).__name__}")
    return Secret(value)


def _check_kinds(given: Mapping[str, Any]) -> None:
    """Refuse what is of another kind than its option, and a URI where none belongs, as it holds secrets."""
    for name, value in given.items():
        if name in _URIS or value is None:
            continue
        parts = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(part, str) and "://" in part for part in parts):
            raise ConfigurationError(
                f"{_flag(name)} holds a URI", hint="URIs belong to --source-uri and --dest-uri; the rest takes names"
            )
        if name in _COUNTS and (not isinstance(value, int) or isinstance(value, bool)):
            wanted = "a whole number"
        elif name in _FLAGS and not isinstance(value, bool):
            wanted = "true or false"
        elif name in _TEXTS and not isinstance(value, str):
            wanted = "a text"
        elif name in _LISTS and not all(isinstance(part, str) for part in parts):
            wanted = "a list of names"
        else:
            continue
        raise ConfigurationError(f"{_flag(name)} must be {wanted}, not {value!r}")


def _parse_budget(text: str) -> ApiBudget:
    try:
        return ApiBudget.parse(text)
    except ValueError:
        raise ConfigurationError(
            f"--api-budget {text!r} is neither a share nor a number of calls",
            hint="80% stops when the org has used 80% of its daily calls, 5000 after so many calls of this run",
        ) from None
