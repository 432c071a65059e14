"""How staged rows become the table: each way is a module here and a line of ``STRATEGIES``."""

from collections.abc import Mapping

from ingestr.core.strategy import WriteStrategy
from ingestr.strategies import append, delete_insert, merge, replace, scd2, truncate_insert
from ingestr.strategies.base import Strategy

_EVERY: tuple[Strategy, ...] = (
    replace,
    append,
    merge,
    delete_insert,
    truncate_insert,
    scd2,
)
STRATEGIES: Mapping[WriteStrategy, Strategy] = {each.TRAITS.name: each for each in _EVERY}
