"""A file that says what is copied: both ends, the tables, and options for all of them or for some.

It is checked as a whole before a call is made. Secrets stay out of it: ``${VARIABLE}`` stands for a variable's value.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ingestr.core.naming import QUERY_PREFIX
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.option_table import OPTIONS, Status
from ingestr.options import IngestOptions, make_options
from ingestr.table_list import PLACEHOLDER, SessionOptions, check_consistent, is_pattern, make_session_options

USUAL_NAME = "ingestr.toml"
# Keys of the file, with the options that they stand for.
_KEYS = {
    "source": "source_uri",
    "destination": "dest_uri",
    "dest_table": "dest_table",
    "exclude": "exclude_table",
    "tables_in_flight": "tables_in_flight",
    "consistent": "consistent",
}
_SECTIONS = ("options", "tables")
_ENDS = frozenset({*_KEYS.values(), "source_table"})
# What belongs to the run as a whole, or to the command line.
_OF_THE_RUN = frozenset({"api_budget", "progress", "debug", "pipelines_dir"})
_NOT_HERE = frozenset({"dry_run", "yes"})
_FOR_ALL = tuple(o.name for o in OPTIONS if o.status is Status.HONOURED and o.name not in _ENDS | _NOT_HERE)
_FOR_ONE = (*(name for name in _FOR_ALL if name not in _OF_THE_RUN), "dest_table", "query")
_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class SyncFile:
    """One file, read and checked.

    Args:
        path: where it lies.
        environ: the variables that it may name.

    Raises:
        ConfigurationError: it cannot be read, or something in it is not known; the message says in which line.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        try:
            self._text = path.read_text(encoding="utf-8")
            self._content = tomllib.loads(self._text)
        except FileNotFoundError:
            raise ConfigurationError(f"there is no {path}", hint="ingestr sync --init writes one") from None
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{path} is no TOML: {error}", hint='texts stand in quotes: source = "${SOURCE_URI}"'
            ) from None

    def options(self, *, notes: Iterable[str] = (), **changed: Any) -> SessionOptions:
        """The session that the file describes.

        Args:
            notes: what the run should say besides.
            changed: options of the command line, which go before the file's.
        """
        content = self._content
        self._check_known(content, (*_KEYS, *_SECTIONS))
        common, tables = self._section(content, "options"), self._section(content, "tables")
        self._check_known(common, _FOR_ALL, "options")
        if not tables:
            raise self._error("it names no table", "tables", hint="[tables], and below it a line a table: account = {}")
        given = {option: self._value(content[key], key) for key, option in _KEYS.items() if key in content}
        given |= {name: self._value(value, "options", name) for name, value in common.items()}
        given |= changed
        entries = {entry: self._entry(entry, value) for entry, value in tables.items()}
        queries = {QUERY_PREFIX + own.pop("query"): entry for entry, own in entries.items() if "query" in own}
        asked = {entry: text for text, entry in queries.items()}
        overrides = {asked.get(entry, entry): own for entry, own in entries.items()}
        with_names = {**given, "dest_table": given.get("dest_table") or PLACEHOLDER}
        try:
            named = [entry for entry in entries if entry not in asked]
            options = make_session_options(notes=notes, **{**with_names, "source_table": named or ["account"]})
        except ConfigurationError as error:
            raise self._named(error) from None
        for entry, own in overrides.items():
            self._check_entry({**options.given, **own}, queries.get(entry, entry))
        return replace(options, tables=tuple(overrides), overrides=overrides, queries=queries)

    def _entry(self, entry: str, value: object) -> dict[str, Any]:
        """The options of one name or pattern."""
        if not isinstance(value, dict):
            raise self._error(f"tables.{entry} is no group of options", "tables", entry, hint=f"write {entry} = {{}}")
        self._check_known(value, _FOR_ONE, "tables", entry)
        own = {name: self._value(each, "tables", entry, name) for name, each in value.items()}
        if is_pattern(entry):
            if "query" in own:
                raise self._error(f"tables.{entry} is a pattern, and a query has one name", "tables", entry, "query")
            if PLACEHOLDER not in own.get("dest_table", PLACEHOLDER):
                raise self._error(
                    f"tables.{entry} means several tables, and its dest_table is one",
                    *("tables", entry, "dest_table"),
                    hint=f"write {PLACEHOLDER} where the name of each goes",
                )
        return own

    def _check_entry(self, given: Mapping[str, Any], entry: str) -> None:
        """Check the options of an entry, as far as that can be done without a call."""
        own = {name: value for name, value in given.items() if name not in ("exclude_table", "tables_in_flight")}
        try:
            options = make_options(IngestOptions, **{**own, "source_table": "account"})
            if own.get("consistent"):
                check_consistent(options)
        except ConfigurationError as error:
            raise self._named(error, "tables", entry) from None

    def _section(self, content: Mapping[str, Any], name: str) -> dict[str, Any]:
        section = content.get(name, {})
        if not isinstance(section, dict):
            raise self._error(f"{name} is no section", name, hint=f"write [{name}] in a line of its own")
        return section

    def _check_known(self, found: Mapping[str, Any], known: Collection[str], *path: str) -> None:
        for name in found:
            if name not in known:
                near = get_close_matches(name, known, n=3, cutoff=0.6)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
                where = ".".join([*path, name])
                raise self._error(f"unknown key {where}", *path, name, hint=hint)

    def _value(self, value: object, *path: str) -> Any:
        """A value with its variables filled in; dates as TOML has them are texts here."""
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: self._variable(found[1], path) if found[1] else "$", value)
        if isinstance(value, list):
            return [self._value(each, *path) for each in value]
        if isinstance(value, dict):
            raise self._error(f"{'.'.join(path)} takes no group of keys", *path)
        return value if isinstance(value, bool | int) else str(value)

    def _variable(self, name: str, path: tuple[str, ...]) -> str:
        if not self._environ.get(name):
            raise self._error(f"the variable {name} is not set", *path, hint=f"export {name}=…, or write the value")
        return self._environ[name]

    def _named(self, error: ConfigurationError, *path: str) -> ConfigurationError:
        """The same error, which calls options as the file does and says where they stand."""
        keys = {option: key for key, option in _KEYS.items()}
        error.spell({flag.on_command_line: keys.get(flag.value, flag.value) for flag in Flag})
        return self._error(str(error), *path, hint=error.hint)

    def _error(self, what: str, *path: str, hint: str | None = None) -> ConfigurationError:
        line = self._line(path)
        return ConfigurationError(f"{self._path}{f', line {line}' if line else ''}: {what}", hint=hint)

    def _line(self, path: tuple[str, ...]) -> int | None:
        """The line in which a key stands, as far as that can be told."""
        section: list[str] = []
        best = None
        for number, line in enumerate(self._text.splitlines(), 1):
            if header := re.match(r"\s*\[([^\[\]]+)\]", line):
                section = [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", header[1])]
                if section == list(path):
                    return number
            elif key := re.match(r"\s*(\"[^\"]*\"|'[^']*'|[\w-]+)\s*=", line):
                found = [*section, key[1].strip("\"'")]
                if found == list(path):
                    return number
                if path[: len(found)] == tuple(found):
                    best = number
        return best


def write_sync_file(path: Path, tables: Iterable[str], given: Mapping[str, Any], left_out: Mapping[str, str]) -> str:
    """Write a file for some tables; one that is there is left as it is.

    Args:
        path: where.
        tables: names and patterns.
        given: ``dest_table``, if one was given.
        left_out: tables that cannot be read, each with its reason, which stand there as comments.

    Returns:
        The text.

    Raises:
        ConfigurationError: the file is there, or cannot be written.
    """
    dest_table = given.get("dest_table") or f"raw.{PLACEHOLDER}"
    lines = [
        "# What is copied, and where to: ingestr sync. Variables keep secrets out of this file.",
        'source = "${SOURCE_URI}"',
        'destination = "${DESTINATION_URI}"',
        f"dest_table = {json.dumps(dest_table)}",
        "tables_in_flight = 4",
        "",
        "# Options of every table, as they are called in Python.",
        "[options]",
        "",
        "# A line a table or pattern, with options of its own in the braces.",
        "[tables]",
        *(f"{_key(table)} = {{}}" for table in tables),
        *(f"# {_key(table)} cannot be read: {reason}" for table, reason in left_out.items()),
    ]
    text = "\n".join(lines) + "\n"
    try:
        with path.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} is there already, and is left as it is", hint="--config names another"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    return text


def _key(table: str) -> str:
    return table if re.fullmatch(r"[A-Za-z0-9_-]+", table) else json.dumps(table)
