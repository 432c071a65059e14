"""Staged rows become the table, in the way of a strategy, and the numbers of rows are checked. Knows no engine."""

from sqlglot import exp

from ingestr.core.sql import column
from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.run.context import Run, Written
from ingestr.strategies.base import Load, Strategy, count_rows, drop, evolve


def apply(one: Run, load: Load, staged: int, strategy: Strategy) -> Written:
    """Write the staged rows to the target; returns what became of them.

    Args:
        one: the run.
        load: from where, to where.
        staged: how many rows were read.
        strategy: how.

    Raises:
        ConfigurationError: the target holds several rows of a key that should tell its rows apart.
        DestinationError: the target does not have as many rows as the load makes.
        MassDeletionError: an unusual share of the target's rows would go.
    """
    destination, traits = one.destination, strategy.TRAITS
    one.progress.phase(f"writing {one.target}")
    if not staged and not load.becomes and not (traits.windowed or (load.whole and traits.current is not None)):
        destination.execute([*evolve(load), drop(load.staging)])
        return Written()
    destination.execute(strategy.prepare(load))
    census = destination.query(strategy.census(load))[0]
    inserted, deleted = int(census["inserted"]), int(census.get("deleted", 0))
    if deleted:
        one.guard.take(deleted, "would go, as they are not among the rows read")
    before = 0 if load.becomes else count_rows(destination, one.target)
    destination.execute(strategy.plan(load))
    after, grown = count_rows(destination, one.target), int(census.get("grown", inserted))
    if after != before + grown:
        _refuse_repeated_keys(one, load, strategy)
        raise DestinationError(
            f"{one.target} has {after} rows where {before + grown} were expected",
            hint="nothing was committed; please report it",
        )
    if earlier := int(census.get("earlier", 0)):
        one.note(
            f"{counted(earlier, 'row')} of {one.target} with a key of the rows read lie outside of what was read by "
            f"{load.incremental_key}, and stay beside them"
        )
    return Written(
        inserted=inserted, updated=int(census["updated"]), unchanged=int(census["unchanged"]), deleted=deleted
    )


def _refuse_repeated_keys(one: Run, load: Load, strategy: Strategy) -> None:
    """Say so where the target's rows are not told apart by the key: somebody has appended versions to it."""
    if load.becomes or not strategy.TRAITS.keyed or strategy.TRAITS.current is not None:
        return
    keys = [column(name) for name in load.primary_key]
    repeated = exp.select(*keys).from_(load.ref.to_table()).group_by(*keys).having(exp.Count(this=exp.Star()) > 1)
    found = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(repeated.subquery("r"))
    if number := int(one.destination.query(found)[0]["n"]):
        raise ConfigurationError(
            f"{counted(number, 'key')} of {one.target} ({', '.join(load.primary_key)}) have several rows, so that "
            f"{strategy.TRAITS.name} cannot tell which one is meant; nothing was written",
            hint="go on with --incremental-strategy append, or start again with --full-refresh",
        )
