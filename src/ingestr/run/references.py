"""References between the tables of a session: columns that hold keys of other tables, and keys that are missing there.

A reference is checked where all tables that it may lead to are among those of the session, and hold all rows. Knows no
platform and no engine, and changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp

from ingestr.core.naming import is_query
from ingestr.core.sql import absent_from, column, moment
from ingestr.destinations.base import Destination, Role, TableRef, Target, TargetColumn
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.state import COLUMNS, STATE, read_names, read_state
from ingestr.result import Orphans
from ingestr.run.columns import roles_of
from ingestr.run.load import live_rows
from ingestr.sources.base import Source
from ingestr.strategies.base import Traits
from ingestr.strategies.fit import as_moment

_KEY, _ROWS, _KEYS = "_ingestr_key", "_ingestr_rows", "_ingestr_keys"
_EXAMPLES = 3


@dataclass(frozen=True)
class CopiedTable:
    """A table of the session that has been copied.

    Args:
        source_table: what the source was asked for.
        ref: where it lies.
        traits: of the way in which it was written.
        settled: a row that last changed before this moment, by the source's clock, refers to nothing that was created,
            or came to light, while the session ran.
    """

    source_table: str
    ref: TableRef
    traits: Traits
    settled: datetime


@dataclass(frozen=True)
class Reference:
    """A column whose values are keys of other tables.

    Args:
        child: the table that refers, with the roles of its columns.
        column: the column.
        table: the same, as it was copied.
        parents: the tables that its values lead to, each with the role of its key.
        names: what the source was asked for to get these.
    """

    child: Target
    column: TargetColumn
    table: CopiedTable
    parents: tuple[Target, ...]
    names: tuple[str, ...]

    def _dangling(self, *conditions: exp.Expr) -> exp.Select:
        """A query for the keys that live rows hold and that no parent has, as often as they are held."""
        keys = [key for parent in self.parents if (key := parent.of(Role.KEY)) is not None]
        alike = all(key.kind == self.column.kind for key in keys)

        def value(there: TargetColumn) -> exp.Expr:
            plain = column(there.name)
            return plain if alike else exp.cast(plain, "TEXT")

        current = self.table.traits.current
        alive = [live_rows(self.child), *([column(current).eq(exp.true())] if current else [])]
        held = exp.select(value(self.column).as_(_KEY)).from_(self.child.ref.to_table())
        held = held.where(*alive, exp.not_(column(self.column.name).is_(exp.null())), *conditions)
        # Rows that are marked as deleted are there, too.
        known = [
            exp.select(value(key).as_(_KEY)).from_(parent.ref.to_table())
            for parent, key in zip(self.parents, keys, strict=True)
        ]
        there = known[0] if len(known) == 1 else exp.union(*known, distinct=False)
        return exp.select(column(_KEY, "h")).from_(held.subquery("h")).where(absent_from([column(_KEY, "h")], there))

    def count(self) -> exp.Select:
        """A query for one row with the numbers of rows that refer to nothing, and of different keys."""
        different = exp.Count(this=exp.Distinct(expressions=[column(_KEY)]))
        dangling = self._dangling().subquery("d")
        return exp.select(exp.Count(this=exp.Star()).as_(_ROWS), different.as_(_KEYS)).from_(dangling)

    def examples(self) -> exp.Select:
        """A query for the first of these keys."""
        return _first(_EXAMPLES, self._dangling())

    def unsettled(self, most: int) -> exp.Select:
        """A query for the first of these keys in rows that may refer to what came while the session ran."""
        changed = self.child.of(Role.CHANGED)
        if changed is None:
            return _first(0, self._dangling())
        return _first(most, self._dangling(as_moment(changed, column(changed.name)) >= moment(self.table.settled)))


def _first(most: int, dangling: exp.Select) -> exp.Select:
    keys = exp.select(column(_KEY)).distinct().from_(dangling.subquery("d"))
    return keys.order_by(column(_KEY)).limit(most)


@dataclass(frozen=True)
class _Known:
    table: CopiedTable
    target: Target
    # Column → names of the tables that its values lead to, at the source.
    refers: dict[str, tuple[str, ...]]


def find_references(source: Source, destination: Destination, tables: Sequence[CopiedTable]) -> list[Reference]:
    """The references between tables that can be checked: those whose values and keys are there as they are.

    Args:
        source: says which fields refer to what.
        destination: holds the tables.
        tables: all tables of the session that have been copied.
    """
    source.prepare([each.source_table for each in tables])
    children: list[_Known] = []
    parents: dict[str, _Known] = {}
    for each in tables:
        stream = source.stream(each.source_table)
        ledger = Ledger(destination, each.ref, (STATE, COLUMNS))
        if ledger.target is None:
            continue
        kept = read_names(ledger, stream.source_object).fields
        clear = {field: name.column for field, name in kept.items() if name.was_read and name.mask is None}
        roles = roles_of(stream, stream.primary_key, None, clear)
        target = Target(ledger.target.ref, ledger.target.columns, roles=roles)
        refers = {clear[field.name]: field.references for field in stream.fields if field.name in clear}
        known = _Known(each, target, refers)
        children.append(known)
        state = read_state(ledger)
        whole = state is not None and state.covered_from is None and not is_query(each.source_table)
        if whole and target.of(Role.KEY) is not None:
            parents[stream.source_object] = known
    return [found for child in children for found in _references_of(child, parents)]


def _references_of(child: _Known, parents: dict[str, _Known]) -> Iterable[Reference]:
    for name, leads_to in child.refers.items():
        there = child.target.find(name)
        if there is not None and leads_to and all(each in parents for each in leads_to):
            found = [parents[each] for each in leads_to]
            yield Reference(
                child.target,
                there,
                child.table,
                tuple(each.target for each in found),
                tuple(each.table.source_table for each in found),
            )


def find_orphans(destination: Destination, references: Sequence[Reference]) -> list[tuple[Reference, Orphans]]:
    """The references with values that no parent has as a key."""
    counts = [row for [row] in destination.query(*(each.count() for each in references))] if references else []
    broken = [(each, row) for each, row in zip(references, counts, strict=True) if row[_ROWS]]
    examples = destination.query(*(each.examples() for each, _ in broken)) if broken else []
    return [
        (
            each,
            Orphans(
                str(each.child.ref),
                each.column.name,
                tuple(str(parent.ref) for parent in each.parents),
                int(row[_ROWS]),
                int(row[_KEYS]),
                tuple(str(found[_KEY]) for found in some),
            ),
        )
        for (each, row), some in zip(broken, examples, strict=True)
    ]


def find_missing(destination: Destination, references: Sequence[Reference], most: int) -> set[tuple[str, str]]:
    """Keys that parents lack, in rows that may refer to what came while the session ran.

    Args:
        destination: holds the tables.
        references: those that are broken.
        most: so many keys of each.

    Returns:
        What the source is asked for to get a parent, and a key, which may belong to another parent of the reference.
    """
    answers = destination.query(*(each.unsettled(most) for each in references)) if references else []
    return {
        (name, str(row[_KEY]))
        for each, rows in zip(references, answers, strict=True)
        for row in rows
        for name in each.names
    }
