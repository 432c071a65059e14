"""The table of options: complete, and the same on the command line, in Python and on the documentation's page."""

import inspect
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

import ingestr
from ingestr import cli
from ingestr.option_table import BY_NAME, OPTIONS, Kind, Option, Status
from ingestr.options import IngestOptions, ReadOptions

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"

# What other versions of ingestr document, with what becomes of it here, and the variable where it is called otherwise.
DOCUMENTED = {
    "honoured": """
        --source-uri --dest-uri=DESTINATION_URI --source-table --dest-table=DESTINATION_TABLE
        --incremental-key --incremental-strategy --incremental-predicate
        --interval-start --interval-end --primary-key --full-refresh --sql-exclude-columns --sql-limit
        --schema-naming --schema-contract --no-load-timestamp --progress --extract-parallelism --page-size
        --pipelines-dir --debug --staging-dataset --mask --trim-whitespace
        --columns --no-inference""",
    "accepted": """
        --yes=SKIP_CONFIRMATION --loader-file-size --loader-file-format --sql-backend --sql-reflection-level
        --yield-limit --disable-prestaging --batch-size --no-run-id --query-annotations --partition-by --cluster-by
        --staging-bucket --extract-partition-by --extract-partition-interval""",
    "refused": """
        --stream --flush-interval --flush-records --metrics-addr --reject-mode --write-nulls""",
}
# And what only this one has.
OURS = """
    --dry-run --deletes --refresh-formulas --quarantine-limit --allow-mass-delete --api-budget --mask-key --numbers
    --exclude-table --tables-in-flight --lag --with-metadata --consistent"""


def documented() -> list[tuple[str, str, str]]:
    """Flag, stem and status of each documented option."""
    rows = []
    for status, flags in DOCUMENTED.items():
        for each in flags.split():
            flag, _, stem = each.partition("=")
            rows.append((flag, stem or flag.removeprefix("--").replace("-", "_").upper(), status))
    return rows


def test_every_documented_option_has_a_row() -> None:
    """Flag, variable and fate are those that are documented, and nothing is in the table that is not."""
    assert {(o.flag, o.bare, str(o.status)) for o in OPTIONS if not o.ours} == set(documented())
    assert {o.flag for o in OPTIONS if o.ours} == set(OURS.split())
    assert len(BY_NAME) == len(OPTIONS)
    for option in OPTIONS:
        assert option.reason or option.status is not Status.REFUSED, option
        assert bool(option.metavar) == (option.kind is not Kind.FLAG), option


def test_a_variable_belongs_to_one_option() -> None:
    """No name is read for two options, and each option is read from INGESTR_ and its own name."""
    names = [name for option in OPTIONS for name in option.environment]
    assert len(set(names)) == len(names)
    assert all(f"INGESTR_{o.name.upper()}" in o.environment for o in OPTIONS)
    bare = {name for name in names if not name.startswith("INGESTR_")}
    assert bare == {"SOURCE_URI", "SOURCE_TABLE", "DESTINATION_URI", "DESTINATION_TABLE"}


def python(function: Any) -> dict[str, Any]:
    """Parameters of a function with their defaults."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def test_python_has_the_names_and_defaults_of_the_table() -> None:
    """`ingestr.ingest` takes what the table says, with the same defaults; so does `ingestr.read` of its part."""
    honoured = [o for o in OPTIONS if o.status is Status.HONOURED or o.name == "yes"]
    known = [o for o in honoured if not o.command_only and not o.many]
    assert set(python(ingestr.ingest)) == {o.name for o in known}
    empty: tuple[Any, ...] = (None, (), inspect.Parameter.empty)
    for function in (ingestr.ingest, ingestr.read):
        for name, default in python(function).items():
            assert default == BY_NAME[name].default or (default in empty and BY_NAME[name].default is None), name
    read = {f.name for f in fields(ReadOptions)} - {"api_budget"}
    assert set(python(ingestr.read)) == read


def test_options_have_the_defaults_of_the_table() -> None:
    """What is not given is what the table says."""
    for field in fields(IngestOptions):
        if field.name in BY_NAME and field.default is not MISSING:
            default: Any = BY_NAME[field.name].default
            default = timedelta(minutes=10) if default == "10m" else default
            assert field.default == default or (field.default == () and default is None), field.name


def parsed(*words: str) -> tuple[dict[str, Any], set[str]]:
    """What the parser makes of a command line: values given, and flags set to false."""
    command: Any = typer.main.get_command(cli.app)
    context = command.commands["ingest"].make_context("ingest", list(words))
    given = {name: value for name, value in context.params.items() if value not in (None, (), [])}
    lists = {name: list(value) for name, value in given.items() if isinstance(value, tuple)}
    return given | lists, context.meta["ingestr.unset"]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda o: o.name)
def test_the_command_line_takes_every_option(option: Option) -> None:
    """Each row is a flag of the command; lists can be repeated, and flags take a word where one is given."""
    if option.kind is Kind.FLAG:
        assert parsed(option.flag) == parsed(f"{option.flag}=true") == ({option.name: True}, set())
        assert parsed(f"{option.flag}=false") == ({}, {option.name})
    elif option.words:
        for word in (*option.choices, "true", "no"):
            assert parsed(option.flag, word) == parsed(f"{option.flag}={word}") == ({option.name: word}, set())
        assert parsed(option.flag) == ({option.name: option.words[True]}, set())
        assert parsed(option.flag, "--debug") == ({option.name: option.words[True], "debug": True}, set())
    elif option.kind is Kind.LIST:
        assert parsed(option.flag, "a", f"{option.flag}=b,c") == ({option.name: ["a", "b,c"]}, set())
    else:
        assert parsed(option.flag, "-5") == parsed(f"{option.flag}=-5") == ({option.name: "-5"}, set())
    if option.short:
        assert parsed(option.short) == parsed(option.flag)


def test_a_flag_takes_no_other_word() -> None:
    """What is neither true nor false is a mistake in the command line."""
    with pytest.raises(Exception, match="--full-refresh takes true or false"):
        parsed("--full-refresh=maybe")


def row(option: Option) -> str:
    """The line of the documentation about an option."""
    flags = ", ".join(f"`{flag}`" for flag in (option.flag, option.short) if flag)
    variables = ", ".join(f"`{name}`" for name in option.environment)
    text = option.reason if option.status is Status.REFUSED else option.explained
    kind = [str(option.kind)] if option.status is Status.HONOURED else []
    return f"| {' | '.join([flags, variables, *kind, text.replace('<', chr(92) + '<')])} |"


def test_the_page_is_the_table() -> None:
    """The documentation has a line for every option, in the table's order, and no other."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(("| `--", "| `-"))]
    assert lines == [row(option) for status in Status for option in OPTIONS if option.status is status]
