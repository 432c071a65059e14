"""What PostgreSQL's errors mean for the person who runs the command. Knows SQLSTATEs, no statement and no table."""

import re
from collections.abc import Iterable

import psycopg
from psycopg import errors

from ingestr.errors import DestinationError
from ingestr.flags import Flag

_NOTHING = "nothing was written"
# SQLSTATE, or its class of two letters, with what to do about it.
_HINTS = {
    "42501": "GRANT the role what it lacks: CREATE on the database or the schema to make tables, SELECT, INSERT, "
    "UPDATE and DELETE on a table that is there, its ownership to change its columns, and the same for "
    "the schema _ingestr",
    "55P03": "another session holds a lock on the table (SELECT * FROM pg_stat_activity shows it): end it, or wait "  # noqa: S608 - a hint
    f"longer: ?options=-c%20lock_timeout%3D1h in {Flag.DEST_URI}",
    "57014": "somebody, or a timeout of the server, ended the statement; run again",
    "57P01": f"the server ended the connection; {_NOTHING}: run again when it is up",
    "57P03": "the server is starting or stopping: run again when it is up",
    "53100": f"the server's disk is full; {_NOTHING}: make room and run again",
    "53300": "the server takes no more connections: close some, or raise max_connections",
    "53": f"the server has run out of a resource; {_NOTHING}",
    "25006": "the server takes no changes (a standby, or default_transaction_read_only): name the primary in "
    f"{Flag.DEST_URI}",
    "54011": "a table has at most 1,600 columns, dropped ones included: leave fields out with "
    f"{Flag.SQL_EXCLUDE_COLUMNS}",
    "54000": "a row must fit a page of 8,160 bytes, as far as its values cannot be stored apart: leave fields out with "
    f"{Flag.SQL_EXCLUDE_COLUMNS}",
    "40P01": f"another session waited for this one; {_NOTHING}: run again",
    "40001": f"another session changed the same rows; {_NOTHING}: run again",
    "2BP01": "drop what depends on it, run again, and make it anew",
    "3D000": f"make it with CREATE DATABASE, or name another one in {Flag.DEST_URI}",
    "28": f"check user and password in {Flag.DEST_URI}, PGPASSWORD or ~/.pgpass, and the server's pg_hba.conf",
    "23": f"{_NOTHING}; drop the constraint, or set right what it is about in Salesforce",
}
_CONTEXT = re.compile(r", line \d+, column (?P<rest>.+)", re.DOTALL)


def translated(
    error: psycopg.Error, doing: str, *, broken: bool = False, columns: Iterable[str] = ()
) -> DestinationError:
    """The error in words of ours, with what to do.

    Args:
        error: as the driver raised it.
        doing: what ingestr did: ``loading public.t``.
        broken: whether the connection is gone.
        columns: of the table that was being loaded.
    """
    state, text = error.sqlstate or "", first_line(error)
    if broken and state != "57P01":
        unsure = ": nobody can tell whether the rows were committed" if doing == "committing" else ""
        return DestinationError(
            f"the connection to PostgreSQL was lost while {doing}{unsure}: {text}",
            hint="run again: the next run goes on from what was committed",
        )
    if isinstance(error, errors.CharacterNotInRepertoire):
        found = _CONTEXT.search(error.diag.context or "")
        # What follows the name is not always there, and a name may hold whatever might end it.
        named = [name for name in columns if found and found["rest"].startswith(name)]
        where = max(named, key=len, default="a column")
        return DestinationError(
            f"a text of {where} holds a NUL character, which PostgreSQL cannot store; {_NOTHING}",
            hint=f"set the text right in Salesforce, or leave the field out with {Flag.SQL_EXCLUDE_COLUMNS} {where}",
        )
    if state.startswith("23"):
        text = f"a constraint of the table refuses the rows: {text}"
    return DestinationError(f"PostgreSQL failed {doing}: {text}", hint=_HINTS.get(state) or _HINTS.get(state[:2]))


def first_line(error: psycopg.Error) -> str:
    """What the server said, with its details, or what the driver did."""
    told = [part for part in (error.diag.message_primary, error.diag.message_detail) if part]
    return ": ".join(told) or str(error).strip().partition("\n")[0]
