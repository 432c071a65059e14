"""Knows the ways to get an object into a database and how each is started; not what is measured, nor how often."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote, urlencode

from clients import PROGRAMS, UnavailableError, do, environment, installed, make_environment, python_client, reaching
from measure import HERE, Org

OLD_INGESTR, SIMPLE_SALESFORCE, PANDAS = "0.14.155", "1.12.10", "3.1.1"
DLT, REQUESTS, ADBC = "1.31.0", "2.34.2", "1.13.0"
# Packages that the old release pins refuse Python 3.13.
_OLD_PYTHONS = ("3.12", "3.11")
_TEXT_TYPES = frozenset(
    {"id", "reference", "string", "textarea", "picklist", "multipicklist", "combobox", "email", "phone", "url"}
)


@dataclass(frozen=True)
class Way:
    """A way to load an object.

    Attributes:
        title: what it is, for people.
        most_cells: rows times fields that it can bear.
        once_above: rows times fields above which it is run once only; it would take longer than all others together.
        prepared: whether the org has its pages ready, so that a first turn warms them.
    """

    title: str
    most_cells: float = float("inf")
    once_above: float = float("inf")
    prepared: bool = True


WAYS = {
    "ours": Way("ingestr ingest"),
    "floor": Way("floor: curl and read_csv"),
    "script": Way("script: simple-salesforce, pandas", most_cells=60e6, once_above=30e6),
    "dlt": Way("dlt, Arrow", most_cells=600e6, once_above=60e6),
    "old": Way(f"ingestr {OLD_INGESTR}", most_cells=12e6, once_above=1e6, prepared=False),
    "postgres": Way("ingestr ingest into PostgreSQL"),
    "adbc": Way("the batches of ingestr.read pushed with ADBC"),
}


@dataclass(frozen=True)
class Command:
    """How to load a table into `data.db` of the folder that it is run in, and what the table is called there."""

    words: Sequence[str]
    environment: Mapping[str, str]
    table: str = "public.t"


def ours(org: Org, table: str, *options: str, uri: str = "duckdb:///data.db", dest_table: str = "public.t") -> Command:
    """Return the command that copies a table, or several, with this ingestr."""
    source = ["--source-uri", _source_uri(org), "--source-table", table]
    target = ["--dest-uri", uri, "--dest-table", dest_table]
    return Command([f"{own_programs()}/ingestr", "ingest", *source, *target, *options], environment())


def one_by_one(org: Org, tables: Sequence[str], schema: str) -> Command:
    """Return the command that runs a command for each table, one after the other."""
    loop = 'for table; do "$PROGRAM" ingest --source-table "$table" --dest-table "$SCHEMA.$table"; done'
    ends = {"SOURCE_URI": _source_uri(org), "DESTINATION_URI": "duckdb:///data.db"}
    known = {**environment(), **ends, "PROGRAM": f"{own_programs()}/ingestr", "SCHEMA": schema}
    return Command(["sh", "-ec", loop, "sh", *tables], known)


def pushed(org: Org, table: str, uri: str) -> Command:
    """Return the command that pushes the same record batches with ADBC, in one transaction."""
    script = str(HERE / "scripts" / "adbc_push.py")
    return Command([f"{own_programs()}/python", script, _source_uri(org), table, uri], environment())


def _source_uri(org: Org) -> str:
    login = urlencode({"access_token": org.door["access_token"], "domain": org.door["url"]}, quote_via=quote)
    return f"salesforce://?{login}"


def command(way: str, org: Org, table: str, object_name: str, folder: Path) -> Command:
    """Return the command of a way; raises UnavailableError where its client cannot be installed."""
    if way == "ours":
        return ours(org, table)
    if way == "old":
        return _old(org, table, object_name, folder)
    scripts = {"floor": "floor.py", "script": "by_hand.py", "dlt": "dlt_arrow.py"}
    fields = org.ask("fields", name=object_name)
    # The query that the org has ready, if it has one: the same pages for all.
    known = org.ask("query", name=object_name)
    if not known:
        known = {"operation": "query", "query": f"SELECT {', '.join(name for name, _ in fields)} FROM {object_name}"}
    kinds = dict(fields)
    names = known["query"].removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
    asked = {**org.door, **known, "object": object_name, "fields": [(name, kinds[name]) for name in names]}
    (folder / "asked.json").write_text(json.dumps(asked))
    words = [python(way), str(HERE / "scripts" / scripts[way]), "asked.json", "data.db"]
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false", "REQUESTS_CA_BUNDLE": org.door["authority"]}
    return Command(words, {**environment(), **quiet}, "public.t" if way == "dlt" else "main.t")


@cache
def python(way: str) -> str:
    """Return the Python that a way's script runs with; engine and Arrow are of our own versions."""
    engine = f"duckdb=={version('duckdb')}"
    if way == "script":
        beside = (f"pandas=={PANDAS}", engine)
        return str(python_client("simple-salesforce", SIMPLE_SALESFORCE, beside=beside) / "python")
    if way == "dlt":
        parts = (engine, f"pyarrow=={version('pyarrow')}", f"requests=={REQUESTS}")
        return str(python_client("dlt[duckdb]", DLT, beside=parts) / "python")
    return sys.executable


@cache
def own_programs() -> str:
    """Return the folder of this tree's program beside what it needs, and ADBC; what else there is may be imported.

    The variable BENCHMARK_PROGRAMS names another one, where what is measured does not matter.
    """
    if named := os.environ.get("BENCHMARK_PROGRAMS"):
        return named
    names = ("duckdb", "httpx", "isal", "pgpq", "psycopg", "psycopg-binary", "pyarrow", "sqlglot", "typer")
    needs = [f"{name}=={version(name)}" for name in names] + [f"adbc-driver-postgresql=={ADBC}"]

    def install(folder: Path) -> None:
        do([*make_environment(folder, sys.executable), "install", "--quiet", f"--editable={HERE.parent}", *needs])

    label = "-".join(["ingestr-itself", *(each.replace("==", "-") for each in needs)])
    return str(installed(label, f"{PROGRAMS}/ingestr", install) / PROGRAMS)


@cache
def old_program() -> str:
    """Return the program of the old release."""
    return str(python_client("ingestr", OLD_INGESTR, pythons=_OLD_PYTHONS) / "ingestr")


def available(way: str) -> bool:
    """Whether a way's client is there; installs it."""
    try:
        old_program() if way == "old" else python(way)
    except UnavailableError as error:
        print(f"without {WAYS[way].title}: {error}", file=sys.stderr)
        return False
    return True


def _old(org: Org, table: str, object_name: str, folder: Path) -> Command:
    """The old release guesses types from first values: one text that looks like a time makes all others times."""
    from ingestr.core.naming import SchemaNaming, assign_names  # noqa: PLC0415

    texts = [name for name, kind in org.ask("fields", name=object_name) if kind in _TEXT_TYPES and name != "Id"]
    hints = ",".join(f"{column}:text" for column in assign_names(texts, {}, SchemaNaming("default")).values())
    door = org.door
    login = {"username": door["username"], "password": door["password"], "token": door["security_token"]}
    source = ["--source-uri", "salesforce://?" + urlencode({**login, "domain": "login"}), "--source-table", table]
    target = ["--dest-uri", "duckdb:///data.db", "--dest-table", "public.t"]
    words = [old_program(), "ingest", *source, *target, "--columns", hints, "--yes", "--progress", "log"]
    quiet = {"DISABLE_TELEMETRY": "true", "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(folder)}
    return Command(words, {**reaching(door["proxy"], door["authority"]), **quiet})
