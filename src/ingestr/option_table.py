"""Every option of ``ingest``, once: the command line, Python, the environment and the documentation follow this table.

Knows what an option is called, takes and means; not what a run does with it. An option that other versions of ingestr
know has its row too: honoured, accepted because it cannot matter here, or refused with the reason. None is ignored in
silence: a run that asks for a mask must never load a value in clear.
"""

from dataclasses import dataclass
from enum import StrEnum

from ingestr.core.strategy import Deletes, Numbers, Refresh, SchemaContract, WriteStrategy


class ProgressMode(StrEnum):
    """How a run talks; ``interactive`` falls back to ``log`` where there is no terminal."""

    INTERACTIVE = "interactive"
    LOG = "log"
    JSON = "json"


class Kind(StrEnum):
    """What an option takes; ``list`` options can be repeated, and commas separate."""

    URI = "URI"
    TEXT = "text"
    LIST = "list"
    COUNT = "whole number"
    FLAG = "flag"
    CHOICE = "choice"
    INSTANT = "moment"
    DURATION = "duration"
    BUDGET = "budget"
    SECRET = "secret"  # noqa: S105 - a kind of options


class Status(StrEnum):
    """What becomes of an option that is given."""

    HONOURED = "honoured"
    ACCEPTED = "accepted"
    REFUSED = "refused"


Value = str | int | bool | None


@dataclass(frozen=True, kw_only=True)
class Option:
    """One row of the table.

    Args:
        name: its name in Python; the flag is ``--`` and the same with hyphens.
        kind: what it takes.
        help: what it does, for people.
        metavar: what stands for its value.
        default: its value where none is given.
        default_text: what the default is, where that is no value.
        choices: the words that it takes.
        words: of a choice that is taken like a flag too, what false and true stand for; the flag alone is true.
        least: the smallest number that it takes.
        short: a flag of one letter.
        stem: its variable without ``INGESTR_``; the name in capitals if empty.
        variables: further names of variables that are read.
        status: what becomes of it.
        reason: why it is refused; of one that is accepted, what the user is told.
        hint: what to do instead.
        ours: no other version of ingestr has it.
        command_only: Python has a function of its own for it.
        many: it is about several tables.
    """

    name: str
    kind: Kind
    help: str
    metavar: str = ""
    default: Value = None
    default_text: str = ""
    choices: tuple[str, ...] = ()
    words: tuple[str, str] | None = None
    least: int = 1
    short: str = ""
    stem: str = ""
    variables: tuple[str, ...] = ()
    status: Status = Status.HONOURED
    reason: str = ""
    hint: str = ""
    ours: bool = False
    command_only: bool = False
    many: bool = False

    @property
    def flag(self) -> str:
        """``--source-uri``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def bare(self) -> str:
        """``SOURCE_URI``: the stem of the variable."""
        return self.stem or self.name.upper()

    @property
    def environment(self) -> tuple[str, ...]:
        """The variables that it is read from, the first that is set."""
        return (f"INGESTR_{self.bare}", *self.variables)

    @property
    def explained(self) -> str:
        """The help with the default."""
        default = self.default_text or ("" if self.default in (None, False) else f"{self.default}")
        return f"{self.help} [default: {default}]" if default else self.help


_HONOURED = (
    Option(
        name="source_uri",
        kind=Kind.URI,
        metavar="URI",
        variables=("SOURCE_URI",),
        help="salesforce://?… (required)",
    ),
    Option(
        name="source_table",
        kind=Kind.LIST,
        metavar="TABLE",
        variables=("SOURCE_TABLE",),
        help="account, custom:<API name>, any object, or query:<SOQL>; several, or a pattern such as *__c (required)",
    ),
    Option(
        name="exclude_table",
        kind=Kind.LIST,
        metavar="TABLE",
        help="Names and patterns of tables that are not meant; repeatable.",
        ours=True,
        many=True,
    ),
    Option(
        name="tables_in_flight",
        kind=Kind.COUNT,
        metavar="N",
        default=4,
        help="Tables copied at once, where there are several.",
        ours=True,
        many=True,
    ),
    Option(
        name="consistent",
        kind=Kind.FLAG,
        default=False,
        help="All tables end at one moment, and the references between them are checked.",
        ours=True,
        many=True,
    ),
    Option(
        name="dest_uri",
        kind=Kind.URI,
        metavar="URI",
        stem="DESTINATION_URI",
        variables=("INGESTR_DEST_URI", "DESTINATION_URI"),
        help="duckdb:///file.db (required)",
    ),
    Option(
        name="dest_table",
        kind=Kind.TEXT,
        metavar="TABLE",
        stem="DESTINATION_TABLE",
        variables=("INGESTR_DEST_TABLE", "DESTINATION_TABLE"),
        default_text="the source table",
        help="schema.table, or catalog.schema.table; of several tables raw.{table}, say.",
    ),
    Option(name="full_refresh", kind=Kind.FLAG, default=False, help="Read everything, replace the table."),
    Option(name="interval_start", kind=Kind.INSTANT, metavar="TIME", help="First moment to read, inclusive."),
    Option(name="interval_end", kind=Kind.INSTANT, metavar="TIME", help="Last moment to read, inclusive."),
    Option(
        name="lag",
        kind=Kind.DURATION,
        metavar="TIME",
        default="10m",
        help="How long after the time that they carry rows may show: windows overlap by so much. 90s, 10m, 2h or 1d.",
        ours=True,
    ),
    Option(
        name="incremental_key",
        kind=Kind.TEXT,
        metavar="COLUMN",
        default_text="the table's",
        help="Date or datetime column to merge by.",
    ),
    Option(
        name="incremental_strategy",
        kind=Kind.CHOICE,
        metavar="STRATEGY",
        choices=("none", *WriteStrategy),
        default_text="none, the table's own",
        help="replace, append, merge, delete+insert, truncate+insert or scd2.",
    ),
    Option(
        name="incremental_predicate",
        kind=Kind.TEXT,
        metavar="SQL",
        help="Which rows of the target a merge may change: a condition on its columns.",
    ),
    Option(
        name="primary_key",
        kind=Kind.LIST,
        metavar="COLUMN",
        default_text="the Id",
        help="Columns that identify a row; repeatable.",
    ),
    Option(
        name="sql_exclude_columns",
        kind=Kind.LIST,
        metavar="COLUMN",
        help="Columns not even to download; repeatable.",
    ),
    Option(
        name="columns",
        kind=Kind.LIST,
        metavar="COLUMN",
        help="name:type, name:type:source or name::source gives a column another type or name; repeatable.",
    ),
    Option(
        name="no_inference",
        kind=Kind.FLAG,
        default=False,
        help="Read only the columns that --columns names, and what the load needs.",
    ),
    Option(
        name="numbers",
        kind=Kind.CHOICE,
        metavar="TYPE",
        choices=tuple(Numbers),
        default=Numbers.DOUBLE,
        help="Type of currency, percent and double: double, or decimal with the digits that Salesforce declares.",
        ours=True,
    ),
    Option(
        name="mask",
        kind=Kind.LIST,
        metavar="MASK",
        help="column:algorithm or column:algorithm:parameter makes values unreadable; repeatable.",
    ),
    Option(
        name="mask_key",
        kind=Kind.SECRET,
        metavar="KEY",
        default_text="a random one, kept in the database",
        help="Key of the masks uuid, random, noise and date_shift.",
        ours=True,
    ),
    Option(
        name="trim_whitespace",
        kind=Kind.FLAG,
        default=False,
        help="Texts without white space at their ends; null where nothing is left.",
    ),
    Option(name="sql_limit", kind=Kind.COUNT, metavar="ROWS", help="At most this many rows."),
    Option(
        name="page_size",
        kind=Kind.COUNT,
        metavar="ROWS",
        default=25_000,
        help="Rows a page: REST takes 200 to 2,000 of it, Bulk all.",
    ),
    Option(name="extract_parallelism", kind=Kind.COUNT, metavar="PAGES", default=5, help="Pages in flight at once."),
    Option(
        name="schema_naming",
        kind=Kind.CHOICE,
        metavar="NAMING",
        default="auto",
        choices=("auto", "default", "snake_case", "direct"),
        help="Column names: auto (as the table has them, else snake_case), default or snake_case, direct.",
    ),
    Option(name="no_load_timestamp", kind=Kind.FLAG, default=False, help="Add no _ingestr_loaded_at."),
    Option(
        name="deletes",
        kind=Kind.CHOICE,
        metavar="WAY",
        default="soft",
        choices=tuple(Deletes),
        help="soft marks deleted rows, hard removes, ignore leaves them.",
        ours=True,
    ),
    Option(
        name="refresh_formulas",
        kind=Kind.CHOICE,
        metavar="WHEN",
        default="auto",
        choices=tuple(Refresh),
        words=(Refresh.NEVER, Refresh.ALWAYS),
        help="Read formulas of all rows again: auto once a day, always, never; alone it means always.",
        ours=True,
    ),
    Option(
        name="with_metadata",
        kind=Kind.FLAG,
        default=False,
        help="Keep labels, help texts and picklist values in _ingestr.objects, fields and picklist_values.",
        ours=True,
    ),
    Option(
        name="schema_contract",
        kind=Kind.CHOICE,
        metavar="CONTRACT",
        default="evolve",
        choices=tuple(SchemaContract),
        help="For a table that exists: evolve changes its columns, freeze refuses; discard_row, discard_value.",
    ),
    Option(
        name="quarantine_limit",
        kind=Kind.COUNT,
        metavar="ROWS",
        default=100,
        least=0,
        help="Rows that cannot be read and may be set aside.",
        ours=True,
    ),
    Option(
        name="allow_mass_delete",
        kind=Kind.FLAG,
        default=False,
        help="Go on although an unusual share of the rows would be marked, removed or replaced by nothing.",
        ours=True,
    ),
    Option(
        name="api_budget",
        kind=Kind.BUDGET,
        metavar="BUDGET",
        help="80% stops when the org has used so much of its daily calls, 5000 after so many of this run.",
        ours=True,
    ),
    Option(
        name="staging_dataset",
        kind=Kind.TEXT,
        metavar="SCHEMA",
        default_text="the table's",
        help="Schema in which rows wait until they are all there.",
    ),
    Option(
        name="pipelines_dir",
        kind=Kind.TEXT,
        metavar="FOLDER",
        default_text="the user's cache",
        help="Where pages wait for the commit.",
    ),
    Option(
        name="progress",
        kind=Kind.CHOICE,
        metavar="MODE",
        default="interactive",
        choices=tuple(ProgressMode),
        help="interactive, log or json.",
    ),
    Option(
        name="dry_run",
        kind=Kind.FLAG,
        default=False,
        help="Only say what would be done, as ingestr plan does.",
        ours=True,
        command_only=True,
    ),
    Option(name="debug", kind=Kind.FLAG, default=False, help="Say what is sent, and why."),
)


def _accepted(name: str, help_text: str, *, kind: Kind = Kind.TEXT, told: bool = False) -> Option:
    flag = f"--{name.replace('_', '-')}"
    return Option(
        name=name,
        kind=kind,
        help=help_text,
        metavar="" if kind is Kind.FLAG else "VALUE",
        default=False if kind is Kind.FLAG else None,
        status=Status.ACCEPTED,
        reason=f"{flag} does nothing for this destination" if told else "",
    )


_ACCEPTED = (
    Option(
        name="yes",
        kind=Kind.FLAG,
        short="-y",
        default=False,
        stem="SKIP_CONFIRMATION",
        variables=("INGESTR_YES",),
        status=Status.ACCEPTED,
        help="Accepted for old scripts; nothing is asked.",
    ),
    _accepted("loader_file_size", "No files are written on the way."),
    _accepted("loader_file_format", "No files are written on the way."),
    _accepted("sql_backend", "The source is no SQL database."),
    _accepted("sql_reflection_level", "The source is no SQL database."),
    _accepted("yield_limit", "The source is no SQL database."),
    _accepted("disable_prestaging", "Rows go into the staging table without a stop.", kind=Kind.FLAG),
    _accepted("batch_size", "Rows are written in one statement."),
    _accepted("no_run_id", "No column for a run's id is added.", kind=Kind.FLAG),
    _accepted("query_annotations", "Comments on SQL queries."),
    _accepted("partition_by", "Partitions of a warehouse's table.", told=True),
    _accepted("cluster_by", "Clustering of a warehouse's table.", told=True),
    _accepted("staging_bucket", "A bucket that a warehouse loads from.", told=True),
    _accepted("extract_partition_by", "Partitions of a query to a SQL source.", told=True),
    _accepted("extract_partition_interval", "Partitions of a query to a SQL source.", told=True),
)


def _refused(
    name: str, help_text: str, reason: str, hint: str = "", *, kind: Kind = Kind.TEXT, default: Value = None
) -> Option:
    return Option(
        name=name,
        kind=kind,
        help=help_text,
        metavar="" if kind is Kind.FLAG else "VALUE",
        default=False if kind is Kind.FLAG else default,
        status=Status.REFUSED,
        reason=reason,
        hint=hint,
    )


_TABLE = "event streams are not a source here: a run copies a table and ends"
_WRITES = "nothing is written to Salesforce"
_REFUSED = (
    _refused("stream", "Event streams.", _TABLE, "run the command again and again", kind=Kind.FLAG),
    _refused("flush_interval", "Event streams.", _TABLE),
    _refused("flush_records", "Event streams.", _TABLE),
    _refused("metrics_addr", "Event streams.", _TABLE, "--progress json says how far a run is"),
    _refused("reject_mode", "Writing to Salesforce.", _WRITES, "--quarantine-limit bounds rows that cannot be read"),
    _refused("write_nulls", "Writing to Salesforce.", _WRITES, kind=Kind.FLAG),
)

OPTIONS = (*_HONOURED, *_ACCEPTED, *_REFUSED)
BY_NAME = {option.name: option for option in OPTIONS}

# Variables that mean something to other versions or to what starts them, and nothing here.
ACCEPTED_VARIABLES = ("INGESTR_DISABLE_TELEMETRY", "INGESTR_BINARY_PATH", "INGESTR_QUIET_PROGRESS")
ACCEPTED_PREFIXES = ("INGESTR_DUCKDB_",)
