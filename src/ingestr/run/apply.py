"""Staged rows become the table, in the way of a strategy, and the numbers of rows are checked. Knows no engine."""

from collections.abc import Mapping
from typing import Any

from ingestr.core.wording import counted
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.flags import Flag
from ingestr.run.execution import Execution, Written
from ingestr.strategies.base import Load, Strategy, counting, drop, evolve, refuse_repeated_keys


def apply(execution: Execution, load: Load, staged: int, strategy: Strategy) -> Written:
    """Write the staged rows to the target; returns what became of them.

    Args:
        execution: of the plan that this is a part of.
        load: from where, to where.
        staged: how many rows were read.
        strategy: how.

    Raises:
        ConfigurationError: rows of the target share a key, or may not be changed by the user's condition.
        DestinationError: the target does not have as many rows as the load makes.
        MassDeletionError: an unusual share of the target's rows would go.
    """
    destination, traits = execution.destination, strategy.TRAITS
    execution.progress.phase(f"writing {load.ref}")
    if load.becomes or (load.fit is not None and (load.fit.added or load.fit.widened)):
        execution.alter()
    removes = traits.windowed or (load.whole and traits.current is not None)
    if not staged and not load.becomes and not removes:
        destination.execute([*evolve(load), drop(load.staging)])
        return Written()
    rows = counting(load.ref)
    standing = [] if load.becomes else [rows]
    [census], *counted_before = destination.execute([*strategy.prepare(load), strategy.census(load), *standing])
    _check_census(execution, load, census)
    inserted, deleted = int(census["inserted"]), int(census.get("deleted", 0))
    before = sum(int(row["n"]) for [row] in counted_before)
    [[row]] = destination.execute([*strategy.plan(load), rows])
    after, grown = int(row["n"]), int(census.get("grown", inserted))
    if after != before + grown:
        raise DestinationError(
            f"{load.ref} has {after} rows where {before + grown} were expected",
            hint="nothing was committed; please report it",
        )
    if earlier := int(census.get("earlier", 0)):
        execution.note(
            f"{counted(earlier, 'row')} of {load.ref} with a key of the rows read lie outside of what was read by "
            f"{load.incremental_key}, and stay beside them"
        )
    return Written(
        inserted=inserted, updated=int(census["updated"]), unchanged=int(census["unchanged"]), deleted=deleted
    )


def _check_census(execution: Execution, load: Load, census: Mapping[str, Any]) -> None:
    """Stop where the numbers of ``Strategy.census`` tell that the load would do harm."""
    if deleted := int(census.get("deleted", 0)):
        execution.guard.take(deleted, "would go, as they are not among the rows read")
    if census.get("repeated"):
        refuse_repeated_keys(execution.destination, load.ref, load.primary_key)
    if outside := census.get("outside"):
        raise ConfigurationError(
            f"{counted(int(outside), 'row')} of {load.ref} with a key of the rows read lie outside of "
            f"{Flag.INCREMENTAL_PREDICATE}, and would stand there twice; nothing was written",
            hint="widen the condition, or leave it out",
        )
