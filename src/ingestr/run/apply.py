"""Staged rows become the table, in the way of a strategy, and the numbers of rows are checked. Knows no engine."""

from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.run.context import Run, Written
from ingestr.strategies.base import Load, Strategy, counting, drop, evolve, refuse_repeated_keys


def apply(one: Run, load: Load, staged: int, strategy: Strategy) -> Written:
    """Write the staged rows to the target; returns what became of them.

    Args:
        one: the run.
        load: from where, to where.
        staged: how many rows were read.
        strategy: how.

    Raises:
        ConfigurationError: the target holds several rows of a key that should tell its rows apart, or rows that the
            user's condition keeps from being changed.
        DestinationError: the target does not have as many rows as the load makes.
        MassDeletionError: an unusual share of the target's rows would go.
    """
    destination, traits = one.destination, strategy.TRAITS
    one.progress.phase(f"writing {one.target}")
    if load.becomes or (load.fit is not None and (load.fit.added or load.fit.widened)):
        one.alter()
    if not staged and not load.becomes and not (traits.windowed or (load.whole and traits.current is not None)):
        destination.execute([*evolve(load), drop(load.staging)])
        return Written()
    rows = counting(one.target)
    standing = [] if load.becomes else [rows]
    [census], *counted_before = destination.execute([*strategy.prepare(load), strategy.census(load), *standing])
    inserted, deleted = int(census["inserted"]), int(census.get("deleted", 0))
    if deleted:
        one.guard.take(deleted, "would go, as they are not among the rows read")
    if census.get("repeated"):
        refuse_repeated_keys(destination, load.ref, load.primary_key)
    if outside := census.get("outside"):
        raise ConfigurationError(
            f"{counted(int(outside), 'row')} of {one.target} with a key of the rows read lie outside of "
            "--incremental-predicate, and would stand there twice; nothing was written",
            hint="widen the condition, or leave it out",
        )
    before = sum(int(row["n"]) for [row] in counted_before)
    [[row]] = destination.execute([*strategy.plan(load), rows])
    after, grown = int(row["n"]), int(census.get("grown", inserted))
    if after != before + grown:
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
