"""Rows of the target within a range of the incremental key go, and the staged rows come.

The range is what the user named, as far as it was read, and reaches in any case over all staged rows. A run may read
more than the interval, so that no gap arises in what the table covers: rows are then read again that lie outside of it.
"""

from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.sql import Statements, absent_from, among, column, moment
from ingestr.core.strategy import WriteStrategy
from ingestr.strategies import replace
from ingestr.strategies.base import Load, Traits, create_from, drop, evolve, insert_into, staged_rows
from ingestr.strategies.fit import as_moment

TRAITS = Traits(WriteStrategy.DELETE_INSERT, windowed=True, deleted_rows=True)


def prepare(load: Load) -> Statements:
    """Evolve the target, and collect the keys of the rows that go."""
    if load.becomes:
        return replace.prepare(load)
    keys: list[exp.Expr] = [column(name) for name in load.primary_key]
    keys = keys or [exp.convert(1).as_("n")]
    going = exp.select(*keys).from_(load.ref.to_table()).where(_goes(load), copy=False)
    return [*evolve(load), create_from(load.beside("going"), going)]


def census(load: Load) -> exp.Query:
    """One row as ``Strategy.census`` describes it; after ``prepare``."""
    if load.becomes:
        return replace.census(load)
    staged, going = _count(load.staging.to_table()), _count(load.beside("going").to_table())
    grown = exp.Sub(this=staged.copy(), expression=going.copy())
    if not load.primary_key:
        lost: exp.Expr = exp.Case().when(going.copy() > staged.copy(), exp.Neg(this=exp.paren(grown.copy()))).else_(0)
        numbers: dict[str, exp.Expr] = {
            "inserted": staged,
            "updated": exp.convert(0),
            "deleted": lost,
            "earlier": exp.convert(0),
        }
    else:
        keys_staged = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table())
        keys_going = exp.select(*map(column, load.primary_key)).from_(load.beside("going").to_table())
        again = _count(load.staging.to_table(), among(load.primary_key, keys_going.copy()))
        # Rows without a key value in one place are compared as if they were new.
        lost = _count(
            load.beside("going").to_table(),
            absent_from([column(name) for name in load.primary_key], keys_staged.copy()),
        )
        stays = _count(load.ref.to_table(), among(load.primary_key, keys_staged.copy()))
        leaving = _count(load.beside("going").to_table(), among(load.primary_key, keys_staged.copy()))
        numbers = {
            "inserted": exp.Sub(this=staged.copy(), expression=again.copy()),
            "updated": again,
            "deleted": lost,
            "earlier": exp.Sub(this=stays, expression=leaving),
        }
    numbers |= {"unchanged": exp.convert(0), "grown": grown}
    return exp.select(*(number.as_(name) for name, number in numbers.items()))


def plan(load: Load) -> Statements:
    """Remove the range, and add the staged rows; after ``prepare``."""
    if load.becomes:
        return replace.plan(load)
    return [
        exp.delete(load.ref.to_table(), where=_goes(load)),
        insert_into(load.ref, load.staged.names, staged_rows(load)),
        drop(load.beside("going")),
        drop(load.staging),
    ]


def _count(table: exp.Table, where: exp.Expr | None = None) -> exp.Subquery:
    counted = exp.select(exp.Count(this=exp.Star())).from_(table)
    return (counted if where is None else counted.where(where, copy=False)).subquery()


def _goes(load: Load) -> exp.Expr:
    """Whether a row of the target lies in the range; rows without a value of the key go where such come."""
    there = load.target.find(load.incremental_key) if load.target is not None else None
    if there is None:
        return exp.false()
    value = as_moment(there, column(there.name))
    staged = exp.select(value.copy().as_("moment")).from_(staged_rows(load).subquery("s")).subquery("m")
    start, end = load.bounds
    inside = exp.and_(
        value.copy() >= _bound(exp.Min, staged, _first_of_day(load, start)),
        value.copy() <= _bound(exp.Max, staged, end),
    )
    without = exp.select(exp.convert(1)).from_(staged.copy()).where(exp.column("moment").is_(exp.null()))
    goes = exp.or_(inside, exp.and_(value.copy().is_(exp.null()), exp.Exists(this=without)))
    if load.apart is not None and len(load.primary_key) == 1:
        goes = exp.and_(goes, exp.not_(column(load.primary_key[0]).isin(query=load.apart)))
    return goes


def _bound(of: type[exp.Min | exp.Max], staged: exp.Subquery, given: datetime | None) -> exp.Expr:
    """The moment that the user named, or the first or last one staged where that lies beyond it."""
    furthest = exp.select(of(this=exp.column("moment"))).from_(staged.copy()).subquery()
    if given is None:
        return furthest
    beyond = furthest < moment(given) if of is exp.Min else furthest > moment(given)
    return exp.Case().when(beyond, furthest.copy()).else_(moment(given))


def _first_of_day(load: Load, start: datetime | None) -> datetime | None:
    """Of a date, the whole day is read in which an interval begins."""
    types = {each.name: each.type for each in load.staged.columns}
    if start is None or types.get(load.incremental_key or "") != pa.date32():
        return start
    return start.replace(hour=0, minute=0, second=0, microsecond=0)
