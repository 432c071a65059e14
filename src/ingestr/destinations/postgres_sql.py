"""SQL expressions as PostgreSQL takes them: names that fit, and casts that give null where a value cannot be cast."""

import hashlib
import secrets

from sqlglot import exp

from ingestr.core.sql import identifier

LONGEST_NAME = 63
_HASHED = 8
# The indexes that ingestr makes, by which they are known; no two have one name, also where somebody renames a table.
KEY_INDEX = "_ingestr_key_"
_NEVER_FAILS = (exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR, exp.DataType.Type.CHAR)


def short(name: str) -> str:
    """A name of a table as PostgreSQL can hold it; a long one of ours ends with a hash, so that no two of them meet."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    kept = name.encode()[: LONGEST_NAME - _HASHED - 1].decode(errors="ignore")
    return f"{kept}_{hashlib.sha256(name.encode()).hexdigest()[:_HASHED]}"


class Rendering:
    """Statements of one session as text.

    PostgreSQL knows no TRY_CAST, and ``pg_input_is_valid`` only from version 16 on: a function of the session takes
    its place, one for each type.
    """

    def __init__(self) -> None:
        self._made: set[str] = set()

    def forget(self) -> None:
        """The functions that were made are gone, as their transaction was rolled back."""
        self._made.clear()

    def statements(self, statement: exp.Expr) -> list[str]:
        """The statement as text, after those that it needs and before those that it should be followed by."""
        named = statement.copy()
        for table in named.find_all(exp.Table):
            if isinstance(table.this, exp.Identifier):
                table.this.set("this", short(table.name))
        for rename in named.find_all(exp.AlterRename):
            rename.this.this.set("this", short(rename.this.name))
        before: list[str] = []
        for lenient in [*named.find_all(exp.TryCast)]:
            function, make = _function(lenient.to)
            if make is None:
                lenient.replace(exp.Cast(this=lenient.this, to=lenient.to))
                continue
            lenient.replace(exp.Anonymous(this=function, expressions=[lenient.this]))
            if function not in self._made:
                self._made.add(function)
                before.append(make)
        if isinstance(named, exp.Create) and isinstance(named.this, exp.Index):
            return _index(named)
        text = named.sql("postgres", copy=False)
        made = isinstance(named, exp.Create) and named.find(exp.UnloggedProperty) and named.expression
        return [*before, text, *([analyze(named.this)] if made else [])]


def analyze(table: exp.Table, columns: str = "") -> str:
    """ANALYZE of a table that this session has filled, so that the server joins with what is in it."""
    name = table.copy()
    name.this.set("this", short(table.name))
    return f"ANALYZE {name.sql('postgres')}{columns}"


def _index(create: exp.Create) -> list[str]:
    """The statements that make an index by a key; a key with values that are too long for one gets none."""
    index = create.this
    index.set("this", identifier(f"{KEY_INDEX}{secrets.token_hex(_HASHED // 2)}"))
    body = f"BEGIN {create.sql('postgres')}; EXCEPTION WHEN program_limit_exceeded THEN NULL; END"
    keys = ", ".join(key.sql("postgres") for key in index.args["params"].args["columns"])
    return [f"DO {exp.Literal.string(body).sql('postgres')}", analyze(index.args["table"], f" ({keys})")]


def _function(to: exp.DataType) -> tuple[str, str | None]:
    """The name of the function that casts to a type, and the statement that makes it; none where no cast fails."""
    if to.this in _NEVER_FAILS:
        return "", None
    kind = to.sql("postgres")
    name = f"pg_temp.ingestr_try_{hashlib.sha256(kind.encode()).hexdigest()[:_HASHED]}"
    return name, (
        f"CREATE OR REPLACE FUNCTION {name}(given anyelement) RETURNS {kind} LANGUAGE plpgsql STABLE STRICT AS "
        f"$ingestr$BEGIN RETURN CAST(given AS {kind}); EXCEPTION WHEN OTHERS THEN RETURN NULL; END$ingestr$"
    )
