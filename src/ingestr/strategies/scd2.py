"""Every version of a row stays, with the time from which and until which it held.

The versions of one key follow each other: each begins where the one before ends, or later where the row was gone in
between, and at most one is current. A version begins at the row's own timestamp where that lies after the beginning of
the version before, else at the source's clock of the run that saw it: a second change within one second, a formula, or
a row that this login sees again.
"""

from dataclasses import replace as replace_fields

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema
from ingestr.core.sql import Statements, column, identifier, matches, moment, sql_type
from ingestr.core.strategy import WriteStrategy
from ingestr.destinations.base import TableRef
from ingestr.strategies import replace
from ingestr.strategies.base import Load, Traits, create_from, drop, evolve, insert_into, staged_rows
from ingestr.strategies.fit import VERSION_COLUMNS, as_moment, cast

FROM, TO, CURRENT = VERSION_COLUMNS
_COLUMNS = TableSchema((Column(FROM, TIMESTAMP), Column(TO, TIMESTAMP), Column(CURRENT, pa.bool_())))
TRAITS = Traits(WriteStrategy.SCD2, keyed=True, deleted_rows=True, current=CURRENT, own_columns=_COLUMNS)

# Of a step: when the new version begins, when the current one began (null where there is none), and whether the row is
# gone.
_BEGINS, _BEGAN, _GONE = "_ingestr_begins", "_ingestr_began", "_ingestr_gone"
_ENDS = "_ingestr_ends"


def prepare(load: Load) -> Statements:
    """Evolve the target, and collect the rows that changed and the versions that end."""
    if load.becomes:
        first = exp.select(
            *(column(name) for name in load.staged.names),
            exp.func("COALESCE", _staged_moment(load, None), _now(load)).as_(FROM, quoted=True),
            exp.cast(exp.null(), sql_type(TIMESTAMP)).as_(TO, quoted=True),
            exp.true().as_(CURRENT, quoted=True),
        )
        first = first.from_(load.staging.to_table()).where(exp.not_(_is_gone(load, None)))
        versions = create_from(load.beside("versions"), first, lasting=load.target is None)
        return [versions, drop(load.staging), *replace.prepare(_first(load))]
    statements = [*evolve(load), create_from(_steps(load), _changes(load))]
    return [*statements, create_from(_ended(load), _endings(load))]


def census(load: Load) -> exp.Query:
    """One row as ``Strategy.census`` describes it; after ``prepare``."""
    if load.becomes:
        return replace.census(_first(load))

    def count(table: TableRef, *conditions: exp.Expr) -> exp.Expr:
        return exp.select(exp.Count(this=exp.Star())).from_(table.to_table()).where(*conditions).subquery()

    new, gone = exp.column(_BEGAN).is_(exp.null()), exp.column(_GONE)
    steps, stays = _steps(load), exp.not_(gone)
    opened, ended = count(steps, stays), count(_ended(load))
    changed = count(steps, stays.copy(), exp.not_(new.copy()))
    return exp.select(
        count(steps, stays.copy(), new).as_("inserted"),
        changed.as_("updated"),
        exp.Sub(this=count(load.staging), expression=count(steps)).as_("unchanged"),
        exp.Sub(this=ended, expression=changed.copy()).as_("deleted"),
        opened.as_("grown"),
    )


def plan(load: Load) -> Statements:
    """End versions, and begin others; after ``prepare``."""
    if load.becomes:
        return replace.plan(_first(load))
    values: dict[str, exp.Expr] = {TO: column(_ENDS, "e"), CURRENT: exp.false()}
    stamped = load.target.find(load.unchanging[0]) if load.target is not None and load.unchanging else None
    if load.loaded_at is not None and stamped is not None:
        values[stamped.name] = cast(moment(load.loaded_at), TIMESTAMP, stamped.kind)
    sets = [exp.EQ(this=exp.Column(this=identifier(name)), expression=value) for name, value in values.items()]
    those = exp.and_(matches(load.primary_key, "t", "e"), _is_current("t"))
    end = exp.Update(this=load.ref.to_table("t"), expressions=sets, where=exp.Where(this=those))
    end.set("from_", exp.From(this=_ended(load).to_table("e")))
    names = load.staged.names
    rows = exp.select(*(column(name) for name in names), exp.column(_BEGINS), exp.null(), exp.true())
    rows = rows.from_(_steps(load).to_table()).where(exp.not_(exp.column(_GONE)))
    begin = insert_into(load.ref, [*names, FROM, TO, CURRENT], rows)
    return [end, begin, drop(_steps(load)), drop(_ended(load)), drop(load.staging)]


def _first(load: Load) -> Load:
    """The load of the first versions, whose columns are those of versions."""
    fit = load.fit
    if fit is not None and load.target is not None:
        missing = tuple(each for each in _COLUMNS.columns if load.target.find(each.name) is None)
        kinds = {**fit.kinds, **{each.name: sql_type(each.type) for each in _COLUMNS.columns}}
        fit = replace_fields(fit, added=(*fit.added, *missing), kinds=kinds)
    staged = TableSchema((*load.staged.columns, *_COLUMNS.columns))
    return replace_fields(load, staging=load.beside("versions"), staged=staged, fit=fit)


def _steps(load: Load) -> TableRef:
    return load.beside("steps")


def _ended(load: Load) -> TableRef:
    return load.beside("ended")


def _now(load: Load) -> exp.Expr:
    assert load.moment is not None  # noqa: S101 - every run knows the source's clock
    return moment(load.moment)


def _is_current(table: str) -> exp.Expr:
    return column(CURRENT, table).eq(exp.true())


def _is_gone(load: Load, table: str | None) -> exp.Expr:
    if load.deleted is None or load.deleted not in load.staged.names:
        return exp.false()
    return exp.func("COALESCE", exp.cast(column(load.deleted, table), "BOOLEAN"), exp.false())


def _staged_moment(load: Load, table: str | None) -> exp.Expr:
    """A staged row's own timestamp; null where it has none."""
    stamp = load.changed
    if stamp is None or stamp not in load.staged.names:
        return exp.cast(exp.null(), sql_type(TIMESTAMP))
    there = load.target.find(stamp) if load.target is not None and table is not None else None
    return as_moment(there, column(stamp, table)) if there is not None else column(stamp, table)


def _changes(load: Load) -> exp.Select:
    """The staged rows that begin or end a version, each with when it does."""
    own, key = _staged_moment(load, "s"), column(load.primary_key[0], "t")
    known = exp.not_(key.is_(exp.null()))
    floor = exp.func("COALESCE", column(FROM, "t"), column("ended", "l"))
    begins = exp.Case().when(floor.copy().is_(exp.null()), exp.func("COALESCE", own.copy(), _now(load)))
    begins = begins.when(own.copy() > floor.copy(), own.copy()).else_(_after(load, floor))
    differs = [
        exp.NullSafeNEQ(this=column(name, "t"), expression=column(name, "s"))
        for name in load.compared
        if name != load.deleted
    ]
    gone = _is_gone(load, "s")
    changed = exp.and_(known, exp.or_(gone.copy(), *differs, copy=False), exp.not_(_is_older(load)), copy=False)
    new = exp.and_(exp.not_(known.copy()), exp.not_(gone.copy()))
    keys = [column(name) for name in load.primary_key]
    last = exp.select(*keys, exp.Max(this=column(TO)).as_("ended")).from_(load.ref.to_table()).group_by(*keys)
    rows = exp.select(
        *(column(name, "s").as_(name, quoted=True) for name in load.staged.names),
        begins.as_(_BEGINS),
        column(FROM, "t").as_(_BEGAN),
        gone.copy().as_(_GONE),
    ).from_(staged_rows(load).subquery("s"))
    current = exp.and_(matches(load.primary_key, "t", "s"), _is_current("t"))
    rows = rows.join(load.ref.to_table("t"), on=current, join_type="left")
    rows = rows.join(last.subquery("l"), on=matches(load.primary_key, "l", "s"), join_type="left")
    return rows.where(exp.or_(new, changed, copy=False), copy=False)


def _is_older(load: Load) -> exp.Expr:
    """Whether a staged row is an older version than the current one: it says nothing new."""
    there = load.target.find(load.stamp) if load.target is not None else None
    if there is None or there.name.lower() not in {name.lower() for name in load.staged.names}:
        return exp.false()
    older = as_moment(there, column(there.name, "s")) < as_moment(there, column(there.name, "t"))
    return exp.func("COALESCE", older, exp.false())


def _after(load: Load, floor: exp.Expr) -> exp.Expr:
    """The source's clock, or the next moment where it has not moved since: no version is empty."""
    next_moment = exp.Add(
        this=floor.copy(), expression=exp.Interval(this=exp.Literal.string("1"), unit=exp.var("MICROSECOND"))
    )
    return exp.Case().when(_now(load) > floor.copy(), _now(load)).else_(next_moment)


def _endings(load: Load) -> exp.Query:
    """Keys of the current versions that end, with when they do."""
    keys = [column(name) for name in load.primary_key]
    known = exp.not_(exp.column(_BEGAN).is_(exp.null()))
    ended: exp.Query = exp.select(*keys, exp.column(_BEGINS).as_(_ENDS)).from_(_steps(load).to_table()).where(known)
    if not load.whole:
        return ended
    staged = exp.select(exp.convert(1)).from_(load.staging.to_table("s")).where(matches(load.primary_key, "t", "s"))
    unseen = exp.and_(_is_current("t"), exp.not_(exp.Exists(this=staged)))
    if load.apart is not None and len(load.primary_key) == 1:
        unseen = exp.and_(unseen, exp.not_(column(load.primary_key[0], "t").isin(query=load.apart)))
    vanished = exp.select(*(column(name, "t") for name in load.primary_key), _after(load, column(FROM, "t")).as_(_ENDS))
    vanished = vanished.from_(load.ref.to_table("t")).where(unseen, copy=False)
    return exp.union(ended, vanished, distinct=False)
