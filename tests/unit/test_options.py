"""Options: what people write becomes values, contradictions are refused before any call."""

import inspect
from datetime import UTC, date, datetime
from typing import Any

import pytest
import typer

import ingestr
from ingestr import cli
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.options import IngestOptions, default_table, make_options, parse_instant


def options(**given: Any) -> IngestOptions:
    """Options with the required ones filled in."""
    return make_options(
        IngestOptions,
        **{"source_uri": "salesforce://", "source_table": "account", "dest_uri": "duckdb:///x.db", **given},
    )


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-31T15:00:00",
        "2023-01-31T15:00:00Z",
        "2023-01-31T15:00:00+00:00",
        "2023-01-31T15:00:00+0000",
        "2023-01-31 15:00:00",
        "2023-01-31T16:00:00.000+01:00",
    ],
)
def test_documented_instants(text: str) -> None:
    """Every documented spelling is the same moment."""
    assert parse_instant(text, option="--interval-start") == datetime(2023, 1, 31, 15, tzinfo=UTC)


def test_a_date_is_its_whole_day() -> None:
    """Both ends of an interval are inclusive: a date starts with its first second and ends with its last."""
    for day in ("2023-01-31", date(2023, 1, 31)):
        assert parse_instant(day, option="o") == datetime(2023, 1, 31, tzinfo=UTC)
        assert parse_instant(day, option="o", end=True) == datetime(2023, 1, 31, 23, 59, 59, tzinfo=UTC)


def test_fractions_keep_the_interval_inclusive() -> None:
    """Salesforce keeps whole seconds: a start is rounded up and an end down."""
    assert parse_instant("2023-01-31T15:00:00.5", option="o") == datetime(2023, 1, 31, 15, 0, 1, tzinfo=UTC)
    assert parse_instant("2023-01-31T15:00:00.5", option="o", end=True) == datetime(2023, 1, 31, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2023-13-01",
        "",
        "31.01.2023",
        "2023-W05",
        "2023-W05-1",
        "2023-031",
        "20230131",
        "1500-01-01",
        "4001-01-01",
    ],
)
def test_what_is_no_date_is_said(text: str) -> None:
    """A text that is no date names its option and shows how to write one."""
    with pytest.raises(ConfigurationError, match="--interval-start"):
        options(interval_start=text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"interval_start": "2023-02-01", "interval_end": "2023-01-01"}, "is after"),
        ({"full_refresh": True, "interval_start": "2023-02-01"}, "would drop"),
        ({"full_refresh": True, "sql_limit": 5}, "would drop"),
        ({"sql_limit": 0}, "at least 1"),
        ({"page_size": 0}, "at least 1"),
        ({"extract_parallelism": -1}, "at least 1"),
        ({"schema_naming": "shouting"}, "does not know"),
        ({"progress": "dance"}, "does not know"),
        ({"source_table": " "}, "empty"),
        ({"source_uri": ""}, "missing"),
        ({"source_uri": 5}, "must be a text"),
        ({"source_table": "custom:"}, "lacks the object's API name"),
        ({"source_table": "a.b.c"}, "--source-table 'a.b.c'"),
        ({"source_table": 5}, "must be a text"),
        ({"source_table": "salesforce://x"}, "holds a URI"),
        ({"primary_key": ["id", "salesforce://x"]}, "holds a URI"),
        ({"sql_limit": "5"}, "must be a whole number, not '5'"),
        ({"sql_limit": True}, "must be a whole number, not True"),
        ({"page_size": 1.5}, "must be a whole number"),
        ({"interval_start": 5}, "is not a date: 5"),
        ({"interval_end": True}, "is not a date: True"),
        ({"full_refresh": "yes"}, "must be true or false"),
        ({"sql_exclude_columns": 5}, "must be a list of names"),
        ({"primary_key": [5]}, "must be a list of names"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    """What cannot be meant is refused with exit code 2."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        options(**given)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("account", "account"), ("custom:My__Object__c", "My__Object__c"), ("CUSTOM: Account ", "Account"),
        ("Custom:x", "x"), (" lead ", "lead"),
    ],
)  # fmt: skip
def test_the_default_table_is_the_objects_name(table: str, name: str) -> None:
    """Without --dest-table the table is called like the source table, without the prefix however it is written."""
    assert default_table(table) == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source_uri": ""}, "^source_uri is missing$"),
        ({"sql_limit": 0}, "^sql_limit must be at least 1"),
        ({"full_refresh": True, "sql_limit": 5}, "^full_refresh together with sql_limit would"),
        ({"sql_limit": "5"}, "^sql_limit must be a whole number"),
    ],
)
def test_python_is_told_its_own_names(given: dict[str, Any], message: str) -> None:
    """Errors of the Python interface name parameters as Python spells them."""
    named = {"source_uri": "salesforce://", "source_table": "account", "dest_uri": "duckdb:///x.db", **given}
    with pytest.raises(ConfigurationError, match=message):
        ingestr.ingest(**named)


def test_hosts_with_two_hyphens_are_no_parameters() -> None:
    """The name of a sandbox stays what it is."""
    uri = "salesforce://?access_token=x&domain=http://acme--debug.sandbox.my"
    with pytest.raises(ConfigurationError, match="http://acme--debug") as caught:
        ingestr.read(uri, "account")
    assert "https://acme--debug.sandbox.my.salesforce.com" in str(caught.value.hint)


def test_names_are_compared_without_their_prefix() -> None:
    """What every name begins with makes none alike; the hint shows it all the same."""
    known = ["Account", "Xyzzy__c", *(f"Other{i}__c" for i in range(30))]
    assert UnknownNameError("table", "custom:xyzy__c", known, prefix="custom:").hint == "did you mean custom:Xyzzy__c?"
    assert UnknownNameError("table", "custom:qqq", known, prefix="custom:", otherwise="look").hint == "look"


def test_lists_may_be_repeated_or_separated_by_commas() -> None:
    """A repeatable option takes a text, a list, and commas in either."""
    assert options(primary_key="id").primary_key == ("id",)
    assert options(sql_exclude_columns=["a,b", "c"]).sql_exclude_columns == ("a", "b", "c")


def _cli_defaults() -> dict[str, Any]:
    command: Any = typer.main.get_command(cli.app)
    parameters = command.commands["ingest"].params
    return {p.name: p.default for p in parameters if p.name != "help" and not p.hidden}


def test_python_and_command_line_agree() -> None:
    """`ingestr.ingest` has the names and defaults of `ingestr ingest`, and reads a documented variable for each."""
    python = {name: p.default for name, p in inspect.signature(ingestr.ingest).parameters.items()}
    command = _cli_defaults()
    assert list(python) == list(command) or set(python) == set(command)
    empty: tuple[Any, ...] = (None, (), [], inspect.Parameter.empty, False, "")
    for name, default in python.items():
        assert default == command[name] or (default in empty and command[name] in empty), name


def test_every_flag_has_its_environment_variable() -> None:
    """Each flag can be given as INGESTR_ and its name; URIs have the names that ingestr documents too."""
    command: Any = typer.main.get_command(cli.app)
    for parameter in command.commands["ingest"].params:
        if parameter.name == "help" or parameter.hidden:
            continue
        names = [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar)
        assert f"INGESTR_{parameter.name.upper()}" in names
    by_name = {p.name: p for p in command.commands["ingest"].params}
    assert "SOURCE_URI" in by_name["source_uri"].envvar
    assert "DESTINATION_URI" in by_name["dest_uri"].envvar
    assert "INGESTR_DESTINATION_URI" in by_name["dest_uri"].envvar
