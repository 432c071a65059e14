"""The target becomes exactly what was read."""

from sqlglot import exp

from ingestr.strategies.base import Load, Statements, swap


def prepare(load: Load) -> Statements:
    """Nothing is to be done before rows are counted."""
    del load
    return []


def plan(load: Load) -> Statements:
    """Swap staging in; readers see the old table until the commit and the new one after it."""
    return swap(load)


def census(load: Load) -> exp.Query:
    """One row that says how many staged rows will be ``inserted``, ``updated`` and stay ``unchanged``."""
    return exp.select(
        exp.Count(this=exp.Star()).as_("inserted"), exp.convert(0).as_("updated"), exp.convert(0).as_("unchanged")
    ).from_(load.staging.to_table())
