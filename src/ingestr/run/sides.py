"""A target beside the source, as both were at one moment: which rows count, and Ids to compare. Knows no engine."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import pyarrow as pa
from sqlglot import exp

from ingestr.core.cursor import Window
from ingestr.core.masking import Mask
from ingestr.core.schema import Column, TableSchema
from ingestr.core.sql import column, moment
from ingestr.core.stream import RecordStream
from ingestr.destinations.base import Destination, Role, TableRef, Target, TargetColumn
from ingestr.ledger.quarantine import Quarantine
from ingestr.run.load import live_rows
from ingestr.strategies.base import count_rows, drop
from ingestr.strategies.fit import as_moment

T = TypeVar("T")


@dataclass(frozen=True)
class Sides:
    """The target as it stood beside the source.

    Args:
        destination: holds it.
        target: as it stands, with the roles of its columns.
        quarantine: rows that it lacks because they could not be read.
        at: the moment, by the source's clock.
        covered: the changes that it holds, where it does not hold everything.
        current: the column that is true in the one row of each key that counts; None where all do.
        key_mask: what becomes of keys on their way into the target.
        ids: where keys of the source lie while they are compared.
    """

    destination: Destination
    target: Target
    quarantine: Quarantine
    at: datetime
    covered: Window | None
    ids: TableRef
    current: str | None = None
    key_mask: Mask | None = None

    @property
    def key(self) -> str:
        """The column that tells the rows apart."""
        return self.target.roles[Role.KEY]

    def live(self) -> exp.Expr:
        """The rows of the target that were live then: those deleted since still were."""
        target, at = self.target, moment(self.at)
        created, changed, cursor = target.of(Role.CREATED), target.of(Role.CHANGED), target.of(Role.CURSOR)
        conditions: list[exp.Expr] = [exp.true()]
        if created:
            conditions.append(_moment_of(created) < at)
        if target.of(Role.DELETED):
            there = live_rows(target)
            conditions.append(exp.or_(there, _moment_of(changed) >= at) if changed else there)
        if self.covered is not None and self.covered.start is not None and cursor is not None:
            conditions.append(_moment_of(cursor) >= moment(self.covered.start))
        if self.current is not None:
            conditions.append(column(self.current).eq(exp.true()))
        return exp.and_(*conditions)

    def known(self) -> exp.Select:
        """A query for the keys of those rows."""
        return exp.select(column(self.key)).from_(self.target.ref.to_table()).where(self.live())

    def count_target(self) -> int:
        """Live rows of the target."""
        return count_rows(self.destination, self.target.ref, self.live())

    def count_lacking(self) -> int:
        """Rows that the target lacks because they are in quarantine."""
        ids = self.quarantine.ids()
        if ids is None:
            return 0
        lacking = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(ids.subquery("q"))
        lacking = lacking.where(exp.not_(column("row_id", "q").isin(query=self.known())))
        [[row]] = self.destination.query(lacking)
        return int(row["n"])

    def with_staged(self, stream: RecordStream, use: Callable[[exp.Table], T]) -> T:
        """Load keys, and what else the stream tells of each, into a table of its own, use it, and drop it.

        The first column is the key, and is called ``id`` there.
        """
        key, *others = stream.schema.columns
        renamed, mask = TableSchema((Column("id", pa.string(), key.field), *others)), self.key_mask

        def with_key(batch: pa.RecordBatch) -> pa.RecordBatch:
            keys, *rest = batch.columns
            return pa.RecordBatch.from_arrays([keys if mask is None else mask.apply(keys), *rest], schema=renamed.arrow)

        self.destination.load(
            RecordStream(renamed, map(with_key, stream), on_close=stream.close), self.ids, lasting=False
        )
        result = use(self.ids.to_table())
        self.destination.execute([drop(self.ids)])
        return result


def _moment_of(there: TargetColumn) -> exp.Expr:
    return as_moment(there, column(there.name))
