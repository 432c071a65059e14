"""Options as messages name them: a mark in the text, which whoever shows an error spells as its reader writes options.

Knows their names alone. The command line writes ``--full-refresh``, Python ``full_refresh``, and where a value came
from a variable, the message names that.
"""

from collections.abc import Mapping
from enum import Enum

# Neither stands in a text that is fit to be shown.
_OPENING, _CLOSING = "\x01", "\x02"


class Flag(Enum):
    """Every option of the table, by its name; in a text it is a mark."""

    SOURCE_URI = "source_uri"
    SOURCE_TABLE = "source_table"
    EXCLUDE_TABLE = "exclude_table"
    TABLES_IN_FLIGHT = "tables_in_flight"
    CONSISTENT = "consistent"
    DEST_URI = "dest_uri"
    DEST_TABLE = "dest_table"
    FULL_REFRESH = "full_refresh"
    INTERVAL_START = "interval_start"
    INTERVAL_END = "interval_end"
    LAG = "lag"
    INCREMENTAL_KEY = "incremental_key"
    INCREMENTAL_STRATEGY = "incremental_strategy"
    INCREMENTAL_PREDICATE = "incremental_predicate"
    PRIMARY_KEY = "primary_key"
    SQL_EXCLUDE_COLUMNS = "sql_exclude_columns"
    COLUMNS = "columns"
    NO_INFERENCE = "no_inference"
    NUMBERS = "numbers"
    MASK = "mask"
    MASK_KEY = "mask_key"
    TRIM_WHITESPACE = "trim_whitespace"
    SQL_LIMIT = "sql_limit"
    PAGE_SIZE = "page_size"
    EXTRACT_PARALLELISM = "extract_parallelism"
    SCHEMA_NAMING = "schema_naming"
    NO_LOAD_TIMESTAMP = "no_load_timestamp"
    DELETES = "deletes"
    REFRESH_FORMULAS = "refresh_formulas"
    WITH_METADATA = "with_metadata"
    SCHEMA_CONTRACT = "schema_contract"
    QUARANTINE_LIMIT = "quarantine_limit"
    ALLOW_MASS_DELETE = "allow_mass_delete"
    API_BUDGET = "api_budget"
    STAGING_DATASET = "staging_dataset"
    PIPELINES_DIR = "pipelines_dir"
    PROGRESS = "progress"
    DRY_RUN = "dry_run"
    DEBUG = "debug"
    YES = "yes"
    LOADER_FILE_SIZE = "loader_file_size"
    LOADER_FILE_FORMAT = "loader_file_format"
    SQL_BACKEND = "sql_backend"
    SQL_REFLECTION_LEVEL = "sql_reflection_level"
    YIELD_LIMIT = "yield_limit"
    DISABLE_PRESTAGING = "disable_prestaging"
    BATCH_SIZE = "batch_size"
    NO_RUN_ID = "no_run_id"
    QUERY_ANNOTATIONS = "query_annotations"
    PARTITION_BY = "partition_by"
    CLUSTER_BY = "cluster_by"
    STAGING_BUCKET = "staging_bucket"
    EXTRACT_PARTITION_BY = "extract_partition_by"
    EXTRACT_PARTITION_INTERVAL = "extract_partition_interval"
    STREAM = "stream"
    FLUSH_INTERVAL = "flush_interval"
    FLUSH_RECORDS = "flush_records"
    METRICS_ADDR = "metrics_addr"
    REJECT_MODE = "reject_mode"
    WRITE_NULLS = "write_nulls"

    @property
    def on_command_line(self) -> str:
        """``--full-refresh``."""
        return f"--{self.value.replace('_', '-')}"

    def __str__(self) -> str:
        return f"{_OPENING}{self.value}{_CLOSING}"

    def __format__(self, spec: str) -> str:
        return str(self)


Parts = tuple[str | Flag, ...]
_NAMES = frozenset(each.value for each in Flag)


def parts_of(text: str) -> Parts:
    """The text with its marks taken out of it, as options between texts."""
    first, *rest = text.split(_OPENING)
    found: list[str | Flag] = [first]
    for each in rest:
        name, _, after = each.partition(_CLOSING)
        # What a server sends may look like a mark, and is none.
        found += [Flag(name), after] if name in _NAMES else [_OPENING + each]
    return tuple(found)


def spelled(parts: Parts, names: Mapping[str, str]) -> str:
    """The text with each option as ``names`` calls it, by its flag; as a flag where it is not among these."""
    return "".join(
        names.get(part.on_command_line, part.on_command_line) if isinstance(part, Flag) else part for part in parts
    )
