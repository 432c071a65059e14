"""Errors travel: between processes, into copies, and in front of people."""

import copy
import importlib
import pickle
import pkgutil
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pytest

import ingestr
from ingestr.core.schema import ColumnWidenedError
from ingestr.errors import (
    ConfigurationError,
    IngestrError,
    JobFailedError,
    RequestRefusedError,
    UnknownNameError,
)
from ingestr.flags import Flag
from ingestr.option_table import OPTIONS

# Where options are defined, parsed, or shown.
NAMING_FLAGS = {"option_table.py", "flags.py", "terminal.py", "__main__.py", "cli.py", "api.py", "environment.py"}

# Errors with parameters of their own; all others take a message and a hint.
MADE: dict[type[IngestrError], Callable[[], IngestrError]] = {
    RequestRefusedError: lambda: RequestRefusedError("no", code="INVALID_FIELD", status=400, hint="leave it out"),
    UnknownNameError: lambda: UnknownNameError("table", "acount", ["account", "contact"], where="this org"),
    JobFailedError: lambda: JobFailedError("it failed", reason="too large", hint="run again"),
    ColumnWidenedError: lambda: ColumnWidenedError("Total__c", pa.float64()),
}


def kinds(kind: type[IngestrError] = IngestrError) -> Iterator[type[IngestrError]]:
    """The class and all that are derived from it, in every module of the package."""
    if kind is IngestrError:
        for module in pkgutil.walk_packages(ingestr.__path__, "ingestr."):
            if not module.name.startswith(("ingestr.simulator", "ingestr.__main__")):
                importlib.import_module(module.name)
    yield kind
    for child in kind.__subclasses__():
        yield from kinds(child)


def made(kind: type[IngestrError]) -> IngestrError:
    """An error of the class, with what a user of it could have added."""
    error = MADE.get(kind, lambda: kind("what happened", hint="what to do"))()
    error.add_note("seen by the scheduler")
    return error


WAYS: dict[str, Callable[[IngestrError], IngestrError]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # type: ignore[misc]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_every_error_can_be_pickled_and_copied(way: str) -> None:
    """Type, text, hint, attributes and notes arrive; no class of the package is left out."""
    every = list(kinds())
    assert len(every) >= 15
    for kind in every:
        error = made(kind)
        again = WAYS[way](error)
        assert type(again) is kind
        assert (again.args, str(again), vars(again)) == (error.args, str(error), vars(error))
        assert again.exit_code == error.exit_code


def refuse() -> None:
    """Fail as a request does."""
    raise RequestRefusedError("no such field", code="INVALID_FIELD", status=400)


def test_an_error_comes_back_from_another_process() -> None:
    """A pool of processes hands the error on, rather than to break or to wait for ever."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        with pytest.raises(RequestRefusedError) as caught:
            pool.submit(refuse).result(timeout=60)
        assert caught.value.code == "INVALID_FIELD"


def test_what_servers_write_is_made_visible() -> None:
    """Control characters, changes of direction and halves of surrogate pairs become escapes, line breaks a space."""
    text = "a\x1b]0;title\x07\x08\x9b31m\u202eb\u2066\u200b\ud800\r\n\tc\u2028d"
    error = JobFailedError(text, hint=text, reason=text)
    refused = RequestRefusedError(text, code=text, status=400)
    for said in (str(error), error.hint or "", error.reason, refused.code):
        assert said.isprintable()
        assert said.endswith("c d")
        assert "\\x1b]0;title\\x07" in said
    assert str(IngestrError("Müller GmbH, 日本, 😀  two spaces")) == "Müller GmbH, 日本, 😀  two spaces"


def test_options_are_called_as_the_reader_calls_them() -> None:
    """An error carries the options that it is about: each frontend spells them, again and again, without searching."""
    error = ConfigurationError(f"{Flag.SQL_LIMIT} is 0, not --sql-limit-ish", hint=f"leave {Flag.SQL_LIMIT} out")
    assert (str(error), error.hint) == ("--sql-limit is 0, not --sql-limit-ish", "leave --sql-limit out")
    for travelled in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        travelled.spell({"--sql-limit": "sql_limit"})
        assert (str(travelled), travelled.hint) == ("sql_limit is 0, not --sql-limit-ish", "leave sql_limit out")
        travelled.spell({})
        assert str(travelled).startswith("--sql-limit is")
    error.advise(f"try {Flag.PAGE_SIZE}")
    assert error.hint == "try --page-size"


def test_what_a_server_says_is_no_option() -> None:
    """Characters that mark an option in our texts mark none in others', and are shown as what they are."""
    error = IngestrError("Salesforce says \x01full_refresh\x02, \x01nothing\x02 and \x01")
    error.spell({"--full-refresh": "full_refresh"})
    assert "\x01" not in str(error)
    assert "nothing" in str(error)


def test_every_option_has_its_flag() -> None:
    """Messages can name each option of the table, and no other."""
    assert [each.value for each in Flag] == [option.name for option in OPTIONS]
    assert [each.on_command_line for each in Flag] == [option.flag for option in OPTIONS]
    flags = re.compile("|".join(rf"{re.escape(option.flag)}(?![\w-])" for option in OPTIONS))
    # Texts that are no errors, and what the table itself says.
    others = (
        "note(",
        "append(",
        "return ",
        "deletions are not seen",
        "schema-contract {contract}",
        "instead)",
        "option=",
    )
    for module in Path(ingestr.__file__).parent.rglob("*.py"):
        if module.parts[-2] == "simulator" or module.name in NAMING_FLAGS:
            continue
        for line in module.read_text().splitlines():
            stripped = line.strip()
            if flags.search(line) and '"' in line and not stripped.startswith(('"""', "#")):
                assert any(other in line for other in others) or "``" in line, f"{module.name}: {stripped}"
