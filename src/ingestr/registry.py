"""Which URI scheme belongs to which class: the only place that names concrete sources and destinations.

Classes are named as text and imported when asked for, so that a missing driver concerns only who needs it.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ingestr.core.budget import ApiBudget
from ingestr.core.clock import Clock
from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError
from ingestr.uri import parse_uri

if TYPE_CHECKING:
    # What they import is heavy, and the names of the schemes need none of it.
    from ingestr.destinations.base import Destination
    from ingestr.sources.base import Source


@dataclass(frozen=True)
class Entry:
    """Where a class lives, an example of its URI, and the extra of the package that installs its driver, if any."""

    location: str
    examples: tuple[str, ...]
    extra: str | None = None


SOURCES = {
    "salesforce": Entry(
        "ingestr.sources.salesforce:SalesforceSource",
        (
            "salesforce://?access_token=<token>&domain=<domain>",
            "salesforce://?username=<username>&password=<password>&token=<security token>&domain=<domain>",
            "salesforce://?client_id=<consumer key>&client_secret=<consumer secret>&domain=<domain>",
            "salesforce://?client_id=<consumer key>&username=<username>&private_key_path=<file>&domain=<domain>",
            "salesforce://?client_id=<consumer key>&refresh_token=<token>&refresh_token_path=<file>&domain=<domain>",
            "salesforce://?sf_cli=<alias or username>",
        ),
    ),
}
_POSTGRES = Entry(
    "ingestr.destinations.postgres:PostgresDestination",
    (
        "postgresql://user:password@host:5432/database?sslmode=require",
        "postgresql:///database?host=/var/run/postgresql",
    ),
    extra="postgres",
)
DESTINATIONS = {
    "duckdb": Entry(
        "ingestr.destinations.duckdb:DuckDBDestination", ("duckdb:///relative.db", "duckdb:////absolute/path.db")
    ),
    "postgresql": _POSTGRES,
    "postgres": replace(_POSTGRES, examples=()),
}


def _load(entries: dict[str, Entry], scheme: str, role: str) -> Any:
    if scheme not in entries:
        raise ConfigurationError(
            f"no {role} is known for {scheme}://", hint="known: " + ", ".join(f"{name}://" for name in sorted(entries))
        )
    module, _, name = entries[scheme].location.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        if (extra := entries[scheme].extra) is None:
            raise
        raise ConfigurationError(
            f"{scheme}:// needs a driver that is not installed: {error}", hint=f"pip install 'ingestr[{extra}]'"
        ) from None


def open_source(uri: Secret, clock: Clock, budget: ApiBudget | None = None) -> "Source":
    """The source that a URI names; connects to nothing yet.

    Args:
        uri: as the user wrote it.
        clock: time and waiting.
        budget: a bound on API calls, if there is one.
    """
    parsed = parse_uri(uri.reveal(), role="source")
    kind = _load(SOURCES, parsed.scheme, "source")
    source: Source = kind(parsed.authority, parsed.path, parsed.parameters, clock, budget)
    return source


def open_destination(uri: Secret, *, in_process: bool) -> "Destination":
    """The destination that a URI names; connects to nothing yet.

    Args:
        uri: as the user wrote it.
        in_process: whether the caller lives on after the run, so that a database in memory makes sense.
    """
    parsed = parse_uri(uri.reveal(), role="destination")
    kind = _load(DESTINATIONS, parsed.scheme, "destination")
    destination: Destination = kind(parsed.authority, parsed.path, parsed.parameters, in_process=in_process)
    return destination
