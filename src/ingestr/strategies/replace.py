"""The target becomes exactly what was read.

A table that ingestr made is swapped for the staging table. A table on which somebody has hung things of their own
(indexes, constraints, defaults, columns, views, privileges) stays, and its contents are replaced.
"""

from sqlglot import exp

from ingestr.core.sql import Statements, absent_from, column
from ingestr.core.strategy import WriteStrategy
from ingestr.strategies.base import (
    Load,
    Traits,
    alter,
    comments_on,
    create_from,
    drop,
    evolve,
    index_on,
    insert_into,
    staged_rows,
    update_from,
)

TRAITS = Traits(WriteStrategy.REPLACE, whole=True)


def prepare(load: Load) -> Statements:
    """Give a table that stays the columns that the rows need."""
    return evolve(load)


def plan(load: Load) -> Statements:
    """Put the staged rows in the target's place; readers see the old table until the commit."""
    if load.target is not None and load.target.referenced_by and load.primary_key:
        return _keyed(load)
    if load.target is not None:
        return [
            exp.delete(load.ref.to_table()),
            insert_into(load.ref, load.staged.names, staged_rows(load)),
            drop(load.staging),
        ]
    if load.fit is not None:
        # The user gives columns other types than their values come with.
        rows = create_from(load.ref, staged_rows(load), lasting=True)
        return [drop(load.ref), rows, *index_on(load, load.ref), drop(load.staging), *comments_on(load)]
    if load.staging.schema == load.ref.schema:
        rename = exp.AlterRename(this=exp.table_(load.ref.name, quoted=True))
        # Readers wait from the moment at which the old table goes: the index is there before.
        swap: Statements = [*index_on(load, load.staging), drop(load.ref), alter(load.staging, rename)]
    else:
        swap = [
            drop(load.ref),
            create_from(load.ref, exp.select("*").from_(load.staging.to_table()), lasting=True),
            *index_on(load, load.ref),
            drop(load.staging),
        ]
    return [*swap, *comments_on(load)]


def _keyed(load: Load) -> Statements:
    """Rows that foreign keys may point at stay where their key does: they are updated."""
    keys = [column(name) for name in load.primary_key]
    staged, there = exp.select(*keys).from_(load.staging.to_table()), exp.select(*keys).from_(load.ref.to_table())
    new = exp.select("*").from_(staged_rows(load).subquery("n"))
    return [
        exp.delete(load.ref.to_table(), where=absent_from(keys, staged)),
        update_from(load, staged_rows(load)),
        insert_into(load.ref, load.staged.names, new.where(absent_from(keys, there))),
        drop(load.staging),
    ]


def census(load: Load) -> exp.Query:
    """One row that says how many staged rows will be ``inserted``, ``updated`` and stay ``unchanged``."""
    return exp.select(
        exp.Count(this=exp.Star()).as_("inserted"), exp.convert(0).as_("updated"), exp.convert(0).as_("unchanged")
    ).from_(load.staging.to_table())
