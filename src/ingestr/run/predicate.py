"""The condition that a user adds to a merge: parsed, and about the target's own columns alone."""

from sqlglot import exp
from sqlglot.errors import SqlglotError

from ingestr.core.sql import column
from ingestr.destinations.base import Target
from ingestr.errors import ConfigurationError, UnknownNameError
from ingestr.flags import Flag

_FLAG = f"{Flag.INCREMENTAL_PREDICATE}"
_EXAMPLE = f"{Flag.INCREMENTAL_PREDICATE} \"created_date >= '2024-01-01'\", say"
# A row of the target is judged alone, by what stands in it.
_FOREIGN = (
    exp.Query,
    exp.Subquery,
    exp.Window,
    exp.AggFunc,
    exp.Placeholder,
    exp.Parameter,
    exp.Star,
    exp.DDL,
    exp.DML,
)


def parse_predicate(text: str, dialect: str, target: Target | None) -> exp.Expr:
    """The condition as an expression over the target's columns, without a table's name before them.

    Args:
        text: SQL in the words of the destination.
        dialect: the destination's, as sqlglot calls it.
        target: the table as it stands; None where there is none, so that its columns are not known.

    Raises:
        ConfigurationError: it is no condition, or about something else.
    """
    try:
        condition = exp.condition(text, dialect=dialect)
    except SqlglotError:
        raise ConfigurationError(f"{_FLAG} {text!r} is not a condition in SQL", hint=_EXAMPLE) from None
    if (other := condition.find(*_FOREIGN)) is not None:
        raise ConfigurationError(
            f"{_FLAG} may only speak of the columns of one row of the target, and has {other.sql(dialect)!r}",
            hint=_EXAMPLE,
        )
    if condition.find(exp.Column) is None:
        raise ConfigurationError(f"{_FLAG} {text!r} names no column of the target", hint=_EXAMPLE)
    return condition.transform(lambda node: _own(node, target) if isinstance(node, exp.Column) else node)


def _own(named: exp.Column, target: Target | None) -> exp.Column:
    """A column of the target as the table spells it."""
    own = target is not None and named.table.lower() in ("target", target.ref.name.lower())
    if named.table and not own:
        raise ConfigurationError(
            f"{_FLAG} names {named.sql()!r}, and may only speak of columns of the target",
            hint="write the column's name alone",
        )
    if target is None:
        return named
    there = target.find(named.name)
    if there is None:
        known = [each.name for each in target.columns]
        raise UnknownNameError("column", named.name, known, where=f"{_FLAG} and {target.ref}")
    return column(there.name)
