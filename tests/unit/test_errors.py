"""Errors travel: between processes, into copies, and in front of people."""

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pyarrow as pa
import pytest

import ingestr
from ingestr.core.schema import ColumnWidenedError
from ingestr.errors import (
    IngestrError,
    JobFailedError,
    RequestRefusedError,
    UnknownNameError,
)

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
