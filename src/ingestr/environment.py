"""Options from variables: ``INGESTR_`` and the option's name. Knows no command line and no run.

Names without the prefix belong to others, but for those of the two URIs and the two tables. A variable of ours that
nobody knows is an error, as ``INGESTR_MSAK`` would otherwise load in clear what should have been masked.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ingestr.errors import ConfigurationError
from ingestr.option_table import ACCEPTED_PREFIXES, ACCEPTED_VARIABLES, OPTIONS, Option
from ingestr.options import from_text

_PREFIX = "INGESTR_"
# The width of a terminal, as shells export it, is no list of columns.
_WIDTH = re.compile(r"\d+", re.ASCII)


@dataclass(frozen=True)
class Environment:
    """What the variables say.

    Args:
        values: by the names of the table, for options that were not given otherwise.
        variables: flag → the variable that its value came from.
        warnings: variables that other versions of ingestr would have read.
    """

    values: Mapping[str, Any]
    variables: Mapping[str, str]
    warnings: tuple[str, ...]


def read_environment(environ: Mapping[str, str], given: Collection[str]) -> Environment:
    """The options that variables give; a variable that is empty is not set.

    Args:
        environ: the process's variables.
        given: options that were given otherwise, and win.

    Raises:
        ConfigurationError: an ``INGESTR_`` variable that is not known.
    """
    present = {name: value for name, value in environ.items() if value}
    _check_known(present)
    values: dict[str, Any] = {}
    variables: dict[str, str] = {}
    warnings = []
    for option in OPTIONS:
        name = next((name for name in option.environment if name in present), None)
        if option.name in given:
            continue
        if name is not None:
            values[option.name] = from_text(option, present[name])
            variables[option.flag] = name
        elif _is_meant(option, present):
            warnings.append(f"the variable {option.bare} is not read: {_PREFIX}{option.bare} is the name for it")
    return Environment(values, variables, tuple(warnings))


def _is_meant(option: Option, present: Mapping[str, str]) -> bool:
    """Whether a variable without the prefix is set that other versions of ingestr would have read."""
    if option.ours or option.bare not in present:
        return False
    return not (option.name == "columns" and _WIDTH.fullmatch(present[option.bare]))


def _check_known(present: Mapping[str, str]) -> None:
    known = {name for option in OPTIONS for name in option.environment if name.startswith(_PREFIX)}
    known.update(ACCEPTED_VARIABLES)
    for name in sorted(present):
        if not name.startswith(_PREFIX) or name in known or name.startswith(ACCEPTED_PREFIXES):
            continue
        stems = {each.removeprefix(_PREFIX): each for each in known}
        near = get_close_matches(name.removeprefix(_PREFIX).upper(), stems, n=3, cutoff=0.6)
        raise ConfigurationError(
            f"unknown variable {name}",
            hint="did you mean " + ", ".join(stems[stem] for stem in near) + "?"
            if near
            else "names that begin with INGESTR_ are options; unset it, or see: ingestr ingest --help",
        )
