"""The contents of the target go and the staged rows come; the table and everything that hangs on it stays."""

from ingestr.core.strategy import WriteStrategy
from ingestr.strategies import replace
from ingestr.strategies.base import Traits

TRAITS = Traits(WriteStrategy.TRUNCATE_INSERT, whole=True, keeps_table=True)

# A table that stays, be it for this or for what hangs on it, is always written in the same way.
prepare = replace.prepare
census = replace.census
plan = replace.plan
