"""Every staged row is added; the target's rows are neither changed nor removed.

Where windows overlap, a row is read again that is there already: it is a version that was seen, and is not added twice.
The incremental key and all other values tell; two changes within a second are two versions.
"""

from sqlglot import exp

from ingestr.core.sql import Statements, column
from ingestr.core.strategy import WriteStrategy
from ingestr.strategies import replace
from ingestr.strategies.base import Load, Traits, create_from, drop, evolve, insert_into, staged_rows

TRAITS = Traits(WriteStrategy.APPEND, deleted_rows=True, only_adds=True)


def prepare(load: Load) -> Statements:
    """Evolve the target, and collect the versions that it does not hold yet."""
    if load.becomes:
        return replace.prepare(load)
    return [*evolve(load), create_from(load.beside("versions"), _new_versions(load))]


def _new_versions(load: Load) -> exp.Select:
    columns = [column(name, "s") for name in load.staged.names]
    rows = exp.select(*columns).from_(staged_rows(load).subquery("s"))
    if load.incremental_key is None or load.incremental_key not in load.compared:
        return rows
    names = [*load.primary_key, *load.compared]
    same: list[exp.Expr] = [exp.NullSafeEQ(this=column(name, "t"), expression=column(name, "s")) for name in names]
    # This follows from the others, and is what every engine can join by: nulls are equal there.
    texts = [exp.func("COALESCE", exp.cast(column(names[0], table), "TEXT"), exp.convert("")) for table in "ts"]
    same.append(exp.EQ(this=texts[0], expression=texts[1]))
    there = exp.select(exp.convert(1)).from_(load.ref.to_table("t")).where(exp.and_(*same, copy=False), copy=False)
    return rows.where(exp.not_(exp.Exists(this=there)), copy=False)


def census(load: Load) -> exp.Query:
    """One row: how many staged rows are ``inserted``, and how many versions are there already; after ``prepare``."""
    if load.becomes:
        return replace.census(load)
    new = exp.select(exp.Count(this=exp.Star())).from_(load.beside("versions").to_table()).subquery()
    staged = exp.select(exp.Count(this=exp.Star())).from_(load.staging.to_table()).subquery()
    return exp.select(
        new.as_("inserted"), exp.convert(0).as_("updated"), exp.Sub(this=staged, expression=new.copy()).as_("unchanged")
    )


def plan(load: Load) -> Statements:
    """Add the collected versions; after ``prepare``."""
    if load.becomes:
        return replace.plan(load)
    versions, names = load.beside("versions"), load.staged.names
    rows = exp.select(*(column(name) for name in names)).from_(versions.to_table())
    return [insert_into(load.ref, names, rows), drop(versions), drop(load.staging)]
