"""Variables: read under their documented names, never ignored where they were meant, and flags win."""

from typing import Any

import pytest

from ingestr.environment import read_environment
from ingestr.errors import ConfigurationError
from ingestr.option_table import OPTIONS, Kind, Option, Status
from ingestr.options import IngestOptions, make_options

NEEDED = {
    "SOURCE_URI": "salesforce://",
    "SOURCE_TABLE": "custom:X__c",
    "DESTINATION_URI": "duckdb:///x.db",
    "DESTINATION_TABLE": "raw.x",
}


def options(environ: dict[str, str], **given: Any) -> IngestOptions:
    """The options of a run with these variables, and the required ones."""
    found = read_environment({**NEEDED, **environ}, given)
    try:
        return make_options(IngestOptions, notes=found.warnings, **{**found.values, **given})
    except ConfigurationError as error:
        error.spell(found.variables)
        raise


def test_four_names_need_no_prefix() -> None:
    """The URIs and tables are read under the names that are documented."""
    read = options({})
    assert (read.source_uri.reveal(), read.source_table) == ("salesforce://", "custom:X__c")
    assert (read.dest_uri.reveal(), read.dest_table) == ("duckdb:///x.db", "raw.x")


@pytest.mark.parametrize(
    ("environ", "name", "value"),
    [
        ({"INGESTR_SOURCE_TABLE": "lead"}, "source_table", "lead"),
        ({"INGESTR_DESTINATION_TABLE": "a.b"}, "dest_table", "a.b"),
        ({"INGESTR_DEST_TABLE": "a.c"}, "dest_table", "a.c"),
        ({"INGESTR_DEST_TABLE": "", "DESTINATION_TABLE": "a.d"}, "dest_table", "a.d"),
        ({"INGESTR_FULL_REFRESH": "true"}, "full_refresh", True),
        ({"INGESTR_REFRESH_FORMULAS": "true"}, "refresh_formulas", "always"),
        ({"INGESTR_REFRESH_FORMULAS": "off"}, "refresh_formulas", "never"),
        ({"INGESTR_REFRESH_FORMULAS": "auto"}, "refresh_formulas", "auto"),
        ({"INGESTR_FULL_REFRESH": " T "}, "full_refresh", True),
        ({"INGESTR_FULL_REFRESH": "1"}, "full_refresh", True),
        ({"INGESTR_FULL_REFRESH": "False"}, "full_refresh", False),
        ({"INGESTR_FULL_REFRESH": ""}, "full_refresh", False),
        ({"INGESTR_PAGE_SIZE": "500 "}, "page_size", 500),
        ({"INGESTR_PRIMARY_KEY": "id, name"}, "primary_key", ("id", "name")),
        ({"INGESTR_SQL_EXCLUDE_COLUMNS": "a,b"}, "sql_exclude_columns", ("a", "b")),
        ({"INGESTR_SCHEMA_NAMING": "direct"}, "schema_naming", "direct"),
        ({"INGESTR_STAGING_DATASET": "wait"}, "staging_dataset", "wait"),
        ({"INGESTR_ALLOW_MASS_DELETE": "yes"}, "allow_mass_delete", True),
        ({"INGESTR_INCREMENTAL_STRATEGY": "none", "INGESTR_STREAM": "false"}, "notes", ()),
        ({"INGESTR_SKIP_CONFIRMATION": "1", "INGESTR_YES": "true", "INGESTR_BATCH_SIZE": "x"}, "notes", ()),
    ],
)
def test_a_variable_is_its_option(environ: dict[str, str], name: str, value: object) -> None:
    """INGESTR_ and the name give the option, by the rules of the command line; an empty one is not set."""
    assert getattr(options(environ), name) == value


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.status is Status.REFUSED], ids=lambda o: o.name)
@pytest.mark.parametrize("value", ["phone:hash", "true"])
def test_a_variable_that_asks_for_what_is_refused_is_refused(option: Option, value: str) -> None:
    """A mask in the environment can load nothing in clear, and the error names the variable."""
    with pytest.raises(ConfigurationError, match=f"^{option.environment[0]} is refused: "):
        options({option.environment[0]: value})


def test_a_flag_wins_over_its_variable() -> None:
    """What the command line gives is taken, whatever the variable holds."""
    assert options({"INGESTR_PAGE_SIZE": "many"}, page_size=7).page_size == 7
    assert not options({"INGESTR_FULL_REFRESH": "true"}, full_refresh=False).full_refresh


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"INGESTR_FULL_REFRESH": "maybe"}, "^INGESTR_FULL_REFRESH must be true or false, not 'maybe'$"),
        ({"INGESTR_PAGE_SIZE": "5_000"}, "^INGESTR_PAGE_SIZE must be a whole number, not '5_000'$"),
        ({"INGESTR_PAGE_SIZE": "9" * 30}, "^INGESTR_PAGE_SIZE must be a whole number"),
        ({"INGESTR_PAGE_SIZE": "0"}, "^INGESTR_PAGE_SIZE must be at least 1"),
        ({"INGESTR_INTERVAL_START": "soon"}, "^INGESTR_INTERVAL_START is not a date"),
        ({"INGESTR_PROGRESS": "dance"}, "^INGESTR_PROGRESS does not know 'dance'$"),
        ({"INGESTR_PIPELINES_DIR": "s3://key"}, "^INGESTR_PIPELINES_DIR holds a URI$"),
        ({"SOURCE_URI": ""}, "^--source-uri is missing$"),
    ],
)
def test_an_error_names_the_variable(environ: dict[str, str], message: str) -> None:
    """Values of variables are checked like those of flags."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        options(environ)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("INGESTR_MSAK", "did you mean INGESTR_MASK?"),
        ("INGESTR_FULL_REFRSH", "did you mean INGESTR_FULL_REFRESH?"),
        ("INGESTR_DESTINATION_URL", "INGESTR_DESTINATION_URI"),
        ("INGESTR_XYZZY", "ingestr ingest --help"),
    ],
)
def test_a_variable_that_nobody_knows_is_an_error(name: str, near: str) -> None:
    """A mistyped name is not ignored: the nearest names are said, and not the value."""
    with pytest.raises(ConfigurationError, match=f"^unknown variable {name}$") as caught:
        options({name: "S3CRET"})
    assert near in str(caught.value.hint)
    assert options({name: ""}).notes == ()


def test_names_of_other_versions_that_mean_nothing_here() -> None:
    """What starts ingestr may have set these."""
    names = ["DISABLE_TELEMETRY", "BINARY_PATH", "QUIET_PROGRESS", "DUCKDB_PATH", "DUCKDB_DRIVER_VERSION"]
    assert options({f"INGESTR_{name}": "x" for name in names}).notes == ()


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.bare not in NEEDED], ids=lambda o: o.name)
def test_a_name_without_the_prefix_is_not_read(option: Option) -> None:
    """DEBUG or MASK belong to others: a warning says which name is read, where another version would have read it."""
    told = options({option.bare: "true"})
    expected = f"the variable {option.bare} is not read: INGESTR_{option.bare} is the name for it"
    assert told.notes == (() if option.ours else (expected,))
    given: Any = {Kind.FLAG: False, Kind.LIST: None}.get(option.kind)
    assert read_environment({option.bare: "true"}, {option.name: given}).warnings == ()


def test_the_width_of_a_terminal_is_no_list_of_columns() -> None:
    """Shells export COLUMNS."""
    assert options({"COLUMNS": "120"}).notes == ()
    assert "INGESTR_COLUMNS" in options({"COLUMNS": "id:text"}).notes[0]
