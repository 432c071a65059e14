"""Staged rows take the place of the target's rows of the same primary key, or are added.

Rows whose timestamp differs have changed, and only those whose timestamp is the same are compared value by value:
engines that store columns read two of them instead of all. Changed rows are deleted and inserted, which such engines do
far faster than updates that are spread over the whole table; rows that foreign keys point at are updated.
"""

from sqlglot import exp

from ingestr.core.sql import Statements, among, column, identifier, matches
from ingestr.core.strategy import WriteStrategy
from ingestr.destinations.base import TableRef, TargetColumn
from ingestr.strategies import replace
from ingestr.strategies.base import Load, Traits, create_from, drop, evolve, insert_into, staged_rows, update_from

TRAITS = Traits(WriteStrategy.MERGE, keyed=True, deleted_rows=True, compared=True)
_NEW = "_ingestr_is_new"


def prepare(load: Load) -> Statements:
    """Evolve the target, and collect the staged rows that are new or changed, whole as they will stand there."""
    if load.becomes or load.target is None:
        return replace.prepare(load)
    unknown = column(load.primary_key[0], "t").is_(exp.null())
    reasons: list[exp.Expr] = [unknown, _differs(load, "t", "s")]
    if load.stamp is not None:
        other = exp.NullSafeNEQ(this=column(load.stamp, "t"), expression=column(load.stamp, "s"))
        reasons = [unknown, other, among(load.primary_key, _same_stamp_other_values(load, load.stamp), "s")]
    kept = [column(each.name, "t").as_(each.name, quoted=True) for each in _kept_columns(load)]
    columns = [column(name, "s").as_(name, quoted=True) for name in load.staged.names]
    rows = (
        exp.select(*columns, *kept, unknown.copy().as_(_NEW))
        .from_(staged_rows(load).subquery("s"))
        .join(load.ref.to_table("t"), on=load.matching("t", "s"), join_type="left")
        .where(exp.or_(*reasons, copy=False), copy=False)
    )
    return [*evolve(load), create_from(_changed(load), rows), *_keep_history(load)]


def census(load: Load) -> exp.Query:
    """One row as ``Strategy.census`` describes it; after ``prepare``."""
    if load.becomes or load.target is None:
        return replace.census(load)

    def count(table: TableRef, condition: exp.Expr) -> exp.Expr:
        return exp.select(exp.Count(this=exp.Star())).from_(table.to_table()).where(condition).subquery()

    changed, new = _changed(load), exp.column(_NEW)
    staged, all_changed = count(load.staging, exp.true()), count(changed, exp.true())
    known = exp.select(*map(column, load.primary_key)).from_(changed.to_table()).where(exp.not_(new.copy())).distinct()
    keys = exp.select(exp.Count(this=exp.Star())).from_(known.subquery("k"))
    # The table itself is asked: of two rows of one key, only one may differ from the staged row.
    there = count(load.ref, exp.and_(among(load.primary_key, known.copy()), load.changeable(), copy=False))
    numbers = {
        "inserted": count(changed, new),
        "updated": count(changed, exp.not_(new.copy())),
        "unchanged": exp.Sub(this=staged, expression=all_changed),
        "repeated": exp.Sub(this=there, expression=keys.subquery()),
    }
    if load.predicate is not None:
        staged_keys = exp.select(*map(column, load.primary_key)).from_(load.staging.to_table())
        barred = exp.not_(exp.func("COALESCE", load.changeable(), exp.false()))
        numbers["outside"] = count(load.ref, exp.and_(among(load.primary_key, staged_keys), barred, copy=False))
    return exp.select(*(number.as_(name) for name, number in numbers.items()))


def plan(load: Load) -> Statements:
    """Put the collected rows in the place of those that they change; after ``prepare``."""
    if load.becomes or load.target is None:
        return replace.plan(load)
    new, old = exp.column(_NEW), exp.not_(exp.column(_NEW))
    kept = [each.name for each in _kept_columns(load)]
    if load.target.referenced_by:
        statements: Statements = [update_from(load, _rows(load, load.staged.names, old))]
        statements.append(insert_into(load.ref, load.staged.names, _rows(load, load.staged.names, new)))
    else:
        replaced = _rows(load, load.primary_key, old)
        those = exp.and_(among(load.primary_key, replaced), load.changeable(), copy=False)
        statements = [exp.delete(load.ref.to_table(), where=those)]
        whole = [*load.staged.names, *kept]
        if kept:
            # New rows leave out what the source does not know of: there the table's own DEFAULT holds.
            statements.append(insert_into(load.ref, whole, _rows(load, whole, old.copy())))
            statements.append(insert_into(load.ref, load.staged.names, _rows(load, load.staged.names, new)))
        else:
            statements.append(insert_into(load.ref, whole, _rows(load, whole)))
    return [*statements, drop(_changed(load)), drop(load.staging)]


def _rows(load: Load, names: list[str] | tuple[str, ...], where: exp.Expr | None = None) -> exp.Select:
    rows = exp.select(*(column(name) for name in names)).from_(_changed(load).to_table())
    return rows if where is None else rows.where(where)


def fill(load: Load, current: str | None = None) -> Statements:
    """Give rows that are there the staged values; rows that are not there are not added.

    One of the statements is a query for ``n``, the rows that get another value.

    Args:
        load: the staged values, with their keys.
        current: the column that is true in the one row of a key that gets them; None for all rows.
    """
    on = matches(load.primary_key, "t", "s")
    if current is not None:
        on = exp.and_(on, column(current, "t").eq(exp.true()))
    names = [name for name in load.staged.names if name not in load.primary_key]
    updates = [exp.EQ(this=exp.Column(this=identifier(name)), expression=column(name, "s")) for name in names]
    other = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(load.ref.to_table("t"))
    other = other.join(staged_rows(load).subquery("s"), on=on.copy()).where(_differs(load, "t", "s"))
    merge = exp.Merge(
        this=load.ref.to_table("t"),
        using=staged_rows(load).subquery("s"),
        on=on,
        whens=exp.Whens(
            expressions=[
                exp.When(matched=True, condition=_differs(load, "t", "s"), then=exp.Update(expressions=updates))
            ]
        ),
    )
    return [*evolve(load), other, merge, drop(load.staging)]


def _changed(load: Load) -> TableRef:
    return load.beside("changed")


def _kept_columns(load: Load) -> list[TargetColumn]:
    """The target's columns that are neither staged nor lost nor computed: rows that change keep their values."""
    gone = {name.lower() for name in (*load.staged.names, *load.lost)}
    columns = load.target.columns if load.target is not None else ()
    return [each for each in columns if each.name.lower() not in gone and not each.generated]


def _same_stamp_other_values(load: Load, stamp: str) -> exp.Query:
    """Keys of staged rows whose timestamp is the target's, but not every value: two changes within a second."""
    same = exp.and_(load.matching("o", "n"), column(stamp, "o").eq(column(stamp, "n")))
    return (
        exp.select(*(column(name, "n") for name in load.primary_key))
        .from_(staged_rows(load).subquery("n"))
        .join(load.ref.to_table("o"), on=same)
        .where(_differs(load, "o", "n"), copy=False)
    )


def _keep_history(load: Load) -> Statements:
    """Give rows that are deleted the target's values where they have none.

    A source may empty the fields of a row that it deletes: what was known of the row is worth more than null.
    """
    names = [name for name in _compared(load) if name != load.deleted]
    if load.deleted is None or not names:
        return []
    values = [
        exp.EQ(
            this=exp.Column(this=identifier(name)),
            expression=exp.func("COALESCE", column(name, "s"), column(name, "t")),
        )
        for name in names
    ]
    known = exp.and_(
        matches(load.primary_key, "t", "s"), _is_deleted(load, load.deleted, "s"), exp.not_(exp.column(_NEW, "s"))
    )
    update = exp.Update(this=_changed(load).to_table("s"), expressions=values, where=exp.Where(this=known))
    update.set("from_", exp.From(this=load.ref.to_table("t")))
    return [update]


def _is_deleted(load: Load, name: str, table: str) -> exp.Expr:
    """Whether a staged row is marked, in a column that may have the type of somebody else's table."""
    return exp.cast(column(name, table), "BOOLEAN").eq(exp.true())


def _compared(load: Load) -> list[str]:
    skipped = {name.lower() for name in (*load.primary_key, *load.unchanging)}
    return [name for name in load.staged.names if name.lower() not in skipped]


def _differs(load: Load, old: str, new: str) -> exp.Expr:
    """Whether a value differs; what a deleted row lacks is no difference, as the target keeps it."""
    changes: list[exp.Expr] = []
    for name in _compared(load):
        change: exp.Expr = exp.NullSafeNEQ(this=column(name, old), expression=column(name, new))
        if load.deleted is not None and name != load.deleted:
            emptied = exp.and_(_is_deleted(load, load.deleted, new), column(name, new).is_(exp.null()), copy=False)
            change = exp.and_(change, exp.not_(emptied, copy=False), copy=False)
        changes.append(change)
    return exp.or_(*changes, copy=False) if changes else exp.false()
