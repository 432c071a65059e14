"""What a user may ask of one run, checked before any network call."""

import os
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


def parse_instant(text: str | date | None, *, option: str, end: bool = False) -> datetime | None:
    """Read ``2023-01-31``, ``2023-01-31T15:00:00`` or ``2023-01-31 15:00:00`` with optional fraction and offset.

    Without an offset it is UTC. Salesforce keeps whole seconds and both ends of an interval are inclusive, so a
    start is rounded up to a second, an end down; a date alone means the whole day: its first second as a start, its
    last as an end.

    Raises:
        ConfigurationError: the text is no date, or lies outside the years 1700 to 4000 that Salesforce knows.
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
        if not (self.source_table or "").strip():
            raise ConfigurationError("--source-table is missing or empty", hint="account, say, or custom:<API name>")
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


_ENUMS: dict[str, type[StrEnum]] = {
    "schema_naming": SchemaNaming,
    "progress": ProgressMode,
    "deletes": Deletes,
    "schema_contract": SchemaContract,
}
_Options = TypeVar("_Options", bound="ReadOptions")


def make_options(kind: type[_Options], **given: Any) -> _Options:
    """Options from what a person wrote: texts become instants, enums, secrets and tuples.

    Raises:
        ConfigurationError: a value that is not what its option takes.
    """
    for name in ("source_uri", "dest_uri"):
        if name in given:
            if not isinstance(given[name], str) or not given[name]:
                variable = {"source_uri": "SOURCE_URI", "dest_uri": "DESTINATION_URI"}[name]
                raise ConfigurationError(
                    f"--{name.replace('_', '-')} is missing", hint=f"or set {variable}; see: ingestr example-uris"
                )
            given[name] = Secret(given[name])
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
                    f"--{name.replace('_', '-')} does not know {given[name]!r}", hint=f"one of: {known}"
                ) from None
    for name in ("sql_exclude_columns", "primary_key"):
        if name in given:
            value = given[name] or ()
            names = [value] if isinstance(value, str) else value
            given[name] = tuple(part.strip() for text in names for part in text.split(",") if part.strip())
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def _parse_budget(text: str) -> ApiBudget:
    try:
        return ApiBudget.parse(text)
    except ValueError:
        raise ConfigurationError(
            f"--api-budget {text!r} is neither a share nor a number of calls",
            hint="80% stops when the org has used 80% of its daily calls, 5000 after so many calls of this run",
        ) from None
