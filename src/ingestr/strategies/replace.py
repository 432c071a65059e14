"""The target becomes exactly what was read.

A table that ingestr made is swapped for the staging table. A table on which somebody has hung things of their own
(indexes, constraints, defaults, columns) stays, and its contents are replaced.
"""

from sqlglot import exp

from ingestr.core.sql import Statements
from ingestr.core.strategy import WriteStrategy
from ingestr.strategies.base import (
    Load,
    Traits,
    alter,
    comments_on,
    create_from,
    drop,
    evolve,
    insert_into,
    staged_rows,
)

TRAITS = Traits(WriteStrategy.REPLACE, whole=True)


def prepare(load: Load) -> Statements:
    """Give a table that stays the columns that the rows need."""
    return evolve(load)


def plan(load: Load) -> Statements:
    """Put the staged rows in the target's place; readers see the old table until the commit."""
    if load.target is not None:
        return [
            exp.delete(load.ref.to_table()),
            insert_into(load.ref, load.staged.names, staged_rows(load)),
            drop(load.staging),
        ]
    if load.staging.schema == load.ref.schema:
        rename = exp.AlterRename(this=exp.table_(load.ref.name, quoted=True))
        swap: Statements = [drop(load.ref), alter(load.staging, rename)]
    else:
        swap = [
            drop(load.ref),
            create_from(load.ref, exp.select("*").from_(load.staging.to_table())),
            drop(load.staging),
        ]
    return [*swap, *comments_on(load)]


def census(load: Load) -> exp.Query:
    """One row that says how many staged rows will be ``inserted``, ``updated`` and stay ``unchanged``."""
    return exp.select(
        exp.Count(this=exp.Star()).as_("inserted"), exp.convert(0).as_("updated"), exp.convert(0).as_("unchanged")
    ).from_(load.staging.to_table())
