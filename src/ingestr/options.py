"""What a user may ask of one run, checked before any network call."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from ingestr.core.budget import ApiBudget
from ingestr.core.column_spec import ColumnSpec, parse_columns
from ingestr.core.cursor import LOOKBACK
from ingestr.core.mask_spec import MaskSpec, parse_masks
from ingestr.core.naming import SchemaNaming, is_query
from ingestr.core.secret import Secret
from ingestr.core.strategy import Deletes, Numbers, Refresh, SchemaContract, WriteStrategy
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.option_table import BY_NAME, Kind, Option, ProgressMode, Status

_SHORTEST_KEY = 16
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d([T ].+)?", re.ASCII)
_SOURCE_TABLE = re.compile(r"\s*(custom:)?\s*(\w*)\s*", re.IGNORECASE | re.ASCII)


def bare_table(source_table: str) -> str:
    """The table's name without ``custom:``: what it is called at the destination where the user gives no name."""
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
            # fromisoformat takes weeks and days of the year too, whose ends nobody would know, and no small z.
            if not isinstance(text, str) or not _INSTANT.fullmatch(written := text.strip().upper()):
                raise ValueError(text)
            moment = datetime.fromisoformat(written)
            whole_day = len(written) <= len("2023-01-31")
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
    schema_naming: SchemaNaming = SchemaNaming.AUTO
    numbers: Numbers = Numbers.DOUBLE
    mask: tuple[MaskSpec, ...] = ()
    mask_key: Secret | None = None
    trim_whitespace: bool = False
    api_budget: ApiBudget | None = None

    def __post_init__(self) -> None:
        self._check_source_table()
        self._check_mask_key()
        for each in fields(self):
            option, value = BY_NAME.get(each.name), getattr(self, each.name)
            if option is not None and option.kind is Kind.COUNT and value is not None and value < option.least:
                raise ConfigurationError(f"{Flag(option.name)} must be at least {option.least}, not {value}")
        if self.interval_start and self.interval_end and self.interval_start > self.interval_end:
            raise ConfigurationError(
                f"{Flag.INTERVAL_START} {self.interval_start:%Y-%m-%dT%H:%M:%SZ} is after "
                f"{Flag.INTERVAL_END} {self.interval_end:%Y-%m-%dT%H:%M:%SZ}",
                hint="swap them; both ends are inclusive",
            )

    def _check_mask_key(self) -> None:
        if self.mask_key is not None and len(self.mask_key.reveal()) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"{Flag.MASK_KEY} is shorter than {_SHORTEST_KEY} characters, so that it could be guessed",
                hint="openssl rand -hex 32 makes a good one; without it a random key is kept in the database",
            )

    def _check_source_table(self) -> None:
        if not (self.source_table or "").strip():
            raise ConfigurationError(
                f"{Flag.SOURCE_TABLE} is missing or empty", hint="account, say, or custom:<API name>"
            )
        if is_query(self.source_table):
            return
        found = _SOURCE_TABLE.fullmatch(self.source_table)
        if found is None:
            raise ConfigurationError(
                f"{Flag.SOURCE_TABLE} {self.source_table!r} cannot be an object's API name",
                hint="names hold letters, digits and _: account, say, or custom:My__Object__c; for several tables "
                "there "
                "is ingestr.ingest_tables",
            )
        if not found[2]:
            raise ConfigurationError(
                f"{Flag.SOURCE_TABLE} custom: lacks the object's API name", hint="e.g. custom:My__Community_Group__c"
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
    incremental_strategy: WriteStrategy | None = None
    incremental_predicate: str | None = None
    full_refresh: bool = False
    no_load_timestamp: bool = False
    lag: timedelta = LOOKBACK
    deletes: Deletes = Deletes.SOFT
    refresh_formulas: Refresh = Refresh.AUTO
    with_metadata: bool = False
    schema_contract: SchemaContract = SchemaContract.EVOLVE
    columns: tuple[ColumnSpec, ...] = ()
    no_inference: bool = False
    quarantine_limit: int = 100
    allow_mass_delete: bool = False
    staging_dataset: str | None = None
    pipelines_dir: str | None = None
    progress: ProgressMode = ProgressMode.INTERACTIVE
    dry_run: bool = False
    debug: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.full_refresh and self.has_interval:
            raise ConfigurationError(
                f"{Flag.FULL_REFRESH} together with an interval would drop every row outside the interval",
                hint="leave out one of them",
            )
        if self.full_refresh and self.sql_limit is not None:
            raise ConfigurationError(
                f"{Flag.FULL_REFRESH} together with {Flag.SQL_LIMIT} would drop all other rows",
                hint="leave out one of them",
            )
        if is_query(self.source_table) and not self.dest_table:
            raise ConfigurationError(
                f"{Flag.DEST_TABLE} is missing, and a query has no name that the table could have",
                hint=f"name it: {Flag.DEST_TABLE} raw.accounts_with_owners, say",
            )
        self._check_strategy()
        if self.no_inference and not self.columns:
            raise ConfigurationError(
                f"{Flag.NO_INFERENCE} reads only what {Flag.COLUMNS} names, and that names nothing",
                hint=f"add {Flag.COLUMNS} name:type, or leave out {Flag.NO_INFERENCE}",
            )
        staging = self.staging_dataset
        if staging is not None and (not staging.strip() or "." in staging or staging.strip().lower() == "_ingestr"):
            raise ConfigurationError(
                f"{Flag.STAGING_DATASET} {staging!r} is not the name of a schema that rows can wait in",
                hint="write the name of one schema, without a dot; _ingestr is kept for ingestr's own tables",
            )
        if self.pipelines_dir is not None:
            _expand(self.pipelines_dir)

    def _check_strategy(self) -> None:
        """What contradicts the strategy, as far as that is known without looking at the table."""
        strategy = self.incremental_strategy
        if strategy in (WriteStrategy.APPEND, WriteStrategy.SCD2) and self.deletes is Deletes.HARD:
            raise ConfigurationError(
                f"{Flag.DELETES} hard removes rows, and {Flag.INCREMENTAL_STRATEGY} {strategy} keeps every version",
                hint="leave out one of them",
            )
        if strategy is WriteStrategy.APPEND and self.refresh_formulas is Refresh.ALWAYS:
            raise ConfigurationError(
                f"{Flag.REFRESH_FORMULAS} always changes rows that are there, and {Flag.INCREMENTAL_STRATEGY} append "
                "only adds rows",
                hint="leave out one of them",
            )
        if strategy is WriteStrategy.DELETE_INSERT and self.sql_limit is not None:
            raise ConfigurationError(
                f"{Flag.INCREMENTAL_STRATEGY} delete+insert together with {Flag.SQL_LIMIT} would remove rows that are "
                "not read",
                hint=f"leave out one of them; {Flag.INTERVAL_START} and {Flag.INTERVAL_END} bound what is read",
            )

    @property
    def spool_folder(self) -> Path:
        """Where complete pages wait until they are committed: the folder named, or the user's cache.

        Without a home, or with another user's (a service, a container, sudo), it is the folder of temporary files: each
        read makes a folder of its own there, whose name nobody can guess and which nobody else may look into.
        """
        if self.pipelines_dir:
            return _expand(self.pipelines_dir) / "pages"
        try:
            # The XDG specification: "all paths must be absolute", and one that is not is to be ignored.
            named = Path(os.environ.get("XDG_CACHE_HOME", ""))
            cache = named if named.is_absolute() else Path("~/.cache").expanduser()
        except RuntimeError:
            cache = Path()
        if cache.is_absolute() and _is_within_reach(folder := cache / "ingestr" / "pages"):
            return folder
        return Path(_temporary())


def _expand(folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"{Flag.PIPELINES_DIR} {folder!r} begins with a home that nobody has here", hint="write the whole path"
        ) from None


def _is_within_reach(folder: Path) -> bool:
    """Whether this user may go there, be the folder made already or not."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return True


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        # No folder can be written to. Pages are not kept then, and the run says so when it has some.
        return os.devnull


_VARIABLES = {"source_uri": "SOURCE_URI", "dest_uri": "DESTINATION_URI", "source_table": "SOURCE_TABLE"}
_ENUMS: dict[str, type[StrEnum]] = {
    "schema_naming": SchemaNaming,
    "progress": ProgressMode,
    "deletes": Deletes,
    "refresh_formulas": Refresh,
    "schema_contract": SchemaContract,
    "incremental_strategy": WriteStrategy,
    "numbers": Numbers,
}
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}
_PARSERS: dict[str, Callable[[Iterable[str]], tuple[Any, ...]]] = {"mask": parse_masks, "columns": parse_columns}
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_DURATION = re.compile(r"(\d{1,7})\s*([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_LAG = timedelta(days=90)
_BUDGET = re.compile(r"\s*\d+(\s*|(\.\d+)?\s*%\s*)", re.ASCII)
_Options = TypeVar("_Options", bound="ReadOptions")


def from_text(option: Option, text: str) -> Any:
    """What a word of the command line or of a variable is for an option; raises ConfigurationError."""
    word = text.strip()
    if (option.kind is Kind.FLAG or option.words) and word.lower() in _BOOLEANS:
        return _BOOLEANS[word.lower()]
    if option.kind is Kind.COUNT and option.status is Status.HONOURED and _WHOLE_NUMBER.fullmatch(word):
        return int(word)
    return text


def make_options(kind: type[_Options], *, notes: Iterable[str] = (), **given: Any) -> _Options:
    """Options from what a person wrote: texts become instants, enums, secrets and tuples.

    Args:
        kind: the part of the options that is wanted.
        notes: what the run should say besides what is found here.
        given: values by the names of the table; None is not given.

    Raises:
        ConfigurationError: a value that is not what its option takes, or an option that is refused.
    """
    told = list(notes)
    given = {name: _in_words(BY_NAME[name], value) for name, value in given.items()}
    for name, value in given.items():
        told += _check(BY_NAME[name], value)
    _check_required(kind, given)
    for name in ("source_uri", "dest_uri", "mask_key"):
        if given.get(name) is not None:
            given[name] = Secret(given[name])
    given["interval_start"] = parse_instant(given.get("interval_start"), option=f"{Flag.INTERVAL_START}")
    given["interval_end"] = parse_instant(given.get("interval_end"), option=f"{Flag.INTERVAL_END}", end=True)
    if given.get("full_refresh") and (given["interval_start"] or given["interval_end"]):
        told.append("--full-refresh reads everything: the interval is ignored")
        given["interval_start"] = given["interval_end"] = None
    given |= {name: _typed(name, value) for name, value in given.items()}
    given["notes"] = tuple(told)
    return kind(**{f.name: given[f.name] for f in fields(kind) if given.get(f.name) is not None})


def _in_words(option: Option, value: Any) -> Any:
    """What true and false stand for, of a choice that takes them."""
    return option.words[value] if option.words and isinstance(value, bool) else value


def _typed(name: str, value: Any) -> Any:
    """What an option's words stand for."""
    if name in _VALUES and value is not None:
        return _VALUES[name](value)
    if name in _ENUMS and value is not None:
        plain = name == "incremental_strategy" and value == "none"
        return None if plain else _ENUMS[name]("default" if value == "snake_case" else value)
    if name in _PARSERS:
        return _PARSERS[name]([value] if isinstance(value, str) else value or ())
    if BY_NAME[name].kind is Kind.LIST and name != "source_table":
        names = [value] if isinstance(value, str) else value or ()
        return tuple(part.strip() for text in names for part in text.split(",") if part.strip())
    return value


def _check_required(kind: type[ReadOptions], given: Mapping[str, Any]) -> None:
    """Name everything that is missing at once."""
    required = [name for name in _VARIABLES if name in {f.name for f in fields(kind)}]
    missing = [f"{Flag(name)}" for name in required if not given.get(name)]
    if missing:
        variables = ", ".join(_VARIABLES[name] for name in required if not given.get(name))
        raise ConfigurationError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint=f"or set {variables}; see: ingestr example-uris",
        )


def _check(option: Option, value: Any) -> list[str]:
    """Refuse what is of another kind than its option, what holds a URI where none belongs, and what is not there yet.

    Returns:
        What the user is told about an option that does nothing.
    """
    given = value is not None and value is not False
    if option.status is Status.REFUSED and given and value != option.default:
        raise ConfigurationError(f"{Flag(option.name)} is refused: {option.reason}", hint=option.hint or None)
    if value is None:
        return []
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [part for part in parts if isinstance(part, str)]
    may_hold = option.kind is Kind.URI or (option.name == "source_table" and is_query(str(value)))
    if option.status is Status.HONOURED and not may_hold and any("://" in text for text in texts):
        # It may be a URI in the wrong place, and then it holds secrets.
        raise ConfigurationError(
            f"{Flag(option.name)} holds a URI",
            hint=f"URIs belong to {Flag.SOURCE_URI} and {Flag.DEST_URI}; the rest takes names",
        )
    if any(_is_no_text(text, path=option.name == "pipelines_dir") for text in texts):
        raise ConfigurationError(
            f"{Flag(option.name)} holds bytes that are no text", hint="write it in UTF-8, in a locale of UTF-8"
        )
    if wanted := _wanted(option, value, parts):
        raise ConfigurationError(
            f"{Flag(option.name)} must be {wanted}, not "
            + (type(value).__name__ if _is_secret(option) else repr(value))
        )
    if option.choices and value not in option.choices:
        raise ConfigurationError(
            f"{Flag(option.name)} does not know {value!r}", hint=f"one of: {', '.join(option.choices)}"
        )
    return [option.reason] if option.status is Status.ACCEPTED and option.reason and given else []


def _is_secret(option: Option) -> bool:
    """Whether values of this kind may hold secrets, so that no message may repeat one."""
    return option.kind in (Kind.URI, Kind.SECRET) or option.name == "mask"


def _wanted(option: Option, value: Any, parts: Iterable[Any]) -> str:
    """What the option takes, if the value is not that."""
    kind = option.kind
    if kind is Kind.COUNT:
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if kind is Kind.FLAG:
        return "" if isinstance(value, bool) else "true or false"
    if kind is Kind.LIST:
        lists = "a text or a list of texts" if option.name == "source_table" else "a list of names"
        return "" if all(isinstance(part, str) for part in parts) else lists
    # These may be other things than texts in Python, and say themselves what they are not.
    free = (Kind.INSTANT, Kind.BUDGET, Kind.DURATION)
    return "" if kind in free or isinstance(value, str) else "a text"


def _is_no_text(text: str, *, path: bool) -> bool:
    """Bytes of an argument or variable that are not UTF-8 come as surrogates; only paths may hold them."""
    return "\0" in text or (not path and any("\ud800" <= character <= "\udfff" for character in text))


def _parse_lag(value: str | timedelta) -> timedelta:
    """Read ``90s``, ``10m``, ``2h`` or ``1d``."""
    found = _DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    lag = timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else value
    if not isinstance(lag, timedelta) or not timedelta() <= lag <= _LONGEST_LAG:
        raise ConfigurationError(
            f"{Flag.LAG} {value!s} is no length of time from 0s to {_LONGEST_LAG.days}d",
            hint="write 90s, 10m, 2h or 1d",
        )
    return lag


def _parse_budget(value: str | int) -> ApiBudget:
    text = str(value)
    try:
        if not _BUDGET.fullmatch(text):
            raise ValueError(text)
        return ApiBudget.parse(text)
    except ValueError:
        raise ConfigurationError(
            f"{Flag.API_BUDGET} {text!r} is neither a share nor a number of calls",
            hint="80% stops when the org has used 80% of its daily calls, 5000 after so many calls of this run",
        ) from None


# Options whose words have a form of their own.
_VALUES: dict[str, Callable[[Any], Any]] = {"api_budget": _parse_budget, "lag": _parse_lag}
