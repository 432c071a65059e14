"""From the parts of a URI to the parameters of libpq, which also reads PGPASSWORD, ~/.pgpass and its like by itself."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from psycopg import pq

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError, UnknownNameError

_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?")
# What holds for a connection unless the URI says otherwise: a server that is out of reach is noticed in time.
_DEFAULTS = {
    "connect_timeout": "30",
    "fallback_application_name": "ingestr",
    "keepalives_idle": "60",
    "keepalives_interval": "15",
    "keepalives_count": "4",
    "tcp_user_timeout": "120000",
}
_EXAMPLE = "postgresql://user:password@host:5432/database"


def connection_parameters(authority: str, path: str, parameters: Mapping[str, Secret]) -> dict[str, str]:
    """The parameters of libpq, decoded.

    Args:
        authority: ``user:password@host:port``, each of which may be missing; several hosts are split by commas.
        path: ``/database``, decoded.
        parameters: what stands after the ``?``: any parameter of libpq by its name.

    Raises:
        ConfigurationError: a port that is no number, a parameter that libpq does not know, or one that is given twice.
    """
    known = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    named: dict[str, str] = {}
    user_info, _, hosts = authority.rpartition("@")
    user, _, password = user_info.partition(":")
    found = {"user": unquote(user), "password": unquote(password), "dbname": path.removeprefix("/")}
    found |= _hosts(hosts)
    for name, value in parameters.items():
        # Other tools write ssl=true, and so does libpq.
        spelled, text = ("sslmode", "require") if (name, value.reveal()) == ("ssl", "true") else (name, value.reveal())
        if spelled not in known:
            raise UnknownNameError(
                "parameter", name, known, where="the destination URI", otherwise=f"{_EXAMPLE}?sslmode=require is one"
            )
        if found.get(spelled):
            raise ConfigurationError(f"the destination URI gives {spelled} twice", hint=f"write {_EXAMPLE}")
        named[spelled] = text
    return _DEFAULTS | {name: value for name, value in found.items() if value} | named


def _hosts(text: str) -> dict[str, str]:
    hosts, ports = [], []
    for each in text.split(","):
        match = _HOST.fullmatch(each)
        if match is None:
            raise ConfigurationError(
                "the host or the port in the destination URI cannot be read",
                hint=f"write {_EXAMPLE}, an IPv6 address in brackets, and special characters of the password encoded: "
                "@ as %40, : as %3A, / as %2F",
            )
        hosts.append(unquote(match["host"].strip("[]")))
        ports.append(match["port"] or "")
    return {"host": ",".join(hosts).strip(","), "port": ",".join(ports) if any(ports) else ""}
