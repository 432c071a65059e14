"""Options: what people write becomes values, contradictions are refused before any call."""

import inspect
from datetime import UTC, date, datetime
from typing import Any

import pytest
import typer

import ingestr
from ingestr import cli
from ingestr.errors import ConfigurationError
from ingestr.options import IngestOptions, make_options, parse_instant


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


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", "", "31.01.2023", "1500-01-01", "4001-01-01"])
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
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], message: str) -> None:
    """What cannot be meant is refused with exit code 2."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        options(**given)
    assert caught.value.exit_code == 2


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
