"""Staged rows take the place of the target's rows of the same primary key, or are added.

Rows whose timestamp differs have changed, and only those whose timestamp is the same are compared value by value:
engines that store columns read two of them instead of all. Changed rows are deleted and inserted, which such engines do
far faster than updates that are spread over the whole table.
"""

from sqlglot import exp

from ingestr.core.schema import normal_type
from ingestr.destinations.base import TableRef
from ingestr.strategies import replace
from ingestr.strategies.base import (
    Load,
    Statements,
    column,
    drop,
    evolve,
    evolved,
    identifier,
    matches,
    sql_type,
)

_NEW = "_ingestr_is_new"


def prepare(load: Load) -> Statements:
    """Evolve the target, and collect the staged rows that are new or changed, whole as they will stand there."""
    if load.current is None:
        return replace.prepare(load)
    unknown = column(load.primary_key[0], "t").is_(exp.null())
    reasons: list[exp.Expr] = [unknown, _differs(load, "t", "s")]
    if load.stamp is not None:
        other = exp.NullSafeNEQ(this=column(load.stamp, "t"), expression=column(load.stamp, "s"))
        reasons = [unknown, other, _among(load.primary_key, "s", _same_stamp_other_values(load, load.stamp))]
    kept = [column(name, "t").as_(name, quoted=True) for name in _kept_columns(load)]
    columns = [column(name, "s").as_(name, quoted=True) for name in load.staged.names]
    rows = (
        exp.select(*columns, *kept, unknown.copy().as_(_NEW))
        .from_(_cast_staging(load, "s"))
        .join(load.target.to_table("t"), on=matches(load.primary_key, "t", "s"), join_type="left")
        .where(exp.or_(*reasons, copy=False), copy=False)
    )
    create = exp.Create(this=_changed(load).to_table(), kind="TABLE", expression=rows)
    return [*evolve(load), create, *_keep_history(load)]


def census(load: Load) -> exp.Query:
    """One row: how many staged rows are ``inserted``, ``updated`` and stay ``unchanged``; after ``prepare``."""
    if load.current is None:
        return replace.census(load)

    def count(table: TableRef, condition: exp.Expr) -> exp.Expr:
        return exp.select(exp.Count(this=exp.Star())).from_(table.to_table()).where(condition).subquery()

    changed, new = _changed(load), exp.column(_NEW)
    staged, all_changed = count(load.staging, exp.true()), count(changed, exp.true())
    return exp.select(
        count(changed, new).as_("inserted"),
        count(changed, exp.not_(new.copy())).as_("updated"),
        exp.Sub(this=staged, expression=all_changed).as_("unchanged"),
    )


def plan(load: Load) -> Statements:
    """Put the collected rows in the place of those that they change; after ``prepare``."""
    if load.current is None:
        return replace.plan(load)
    changed = _changed(load)
    names = [*load.staged.names, *_kept_columns(load)]
    old = exp.select(*(column(name) for name in load.primary_key)).from_(changed.to_table())
    old = old.where(exp.not_(exp.column(_NEW)))
    rows = exp.select(*(column(name) for name in names)).from_(changed.to_table())
    return [
        exp.delete(load.target.to_table(), where=_among(load.primary_key, None, old)),
        exp.insert(rows, load.target.to_table(), columns=[identifier(name) for name in names]),
        drop(changed),
        drop(load.staging),
    ]


def fill(load: Load) -> Statements:
    """Give rows that are there the staged values; rows that are not there are not added."""
    names = [name for name in load.staged.names if name not in load.primary_key]
    updates = [exp.EQ(this=exp.Column(this=identifier(name)), expression=column(name, "s")) for name in names]
    update = exp.Update(expressions=updates)
    merge = exp.Merge(
        this=load.target.to_table("t"),
        using=_cast_staging(load, "s"),
        on=matches(load.primary_key, "t", "s"),
        whens=exp.Whens(expressions=[exp.When(matched=True, condition=_differs(load, "t", "s"), then=update)]),
    )
    return [*evolve(load), merge, drop(load.staging)]


def _changed(load: Load) -> TableRef:
    return TableRef(load.staging.schema, f"{load.staging.name}_changed")


def _kept_columns(load: Load) -> list[str]:
    """The target's columns that are neither staged nor lost: rows that change keep their values."""
    gone = {name.lower() for name in (*load.staged.names, *load.lost)}
    return [field.name for field in load.current or () if field.name.lower() not in gone]


def _same_stamp_other_values(load: Load, stamp: str) -> exp.Query:
    """Keys of staged rows whose timestamp is the target's, but not every value: two changes within a second."""
    same = exp.and_(matches(load.primary_key, "o", "n"), column(stamp, "o").eq(column(stamp, "n")))
    return (
        exp.select(*(column(name, "n") for name in load.primary_key))
        .from_(_cast_staging(load, "n"))
        .join(load.target.to_table("o"), on=same)
        .where(_differs(load, "o", "n"), copy=False)
    )


def _keep_history(load: Load) -> Statements:
    """Give rows that are deleted the target's values where they have none.

    Salesforce may empty the fields of a row that it deletes: what was known of the row is worth more than null.
    """
    types = {field.name.lower(): field.type for field in evolved(load)}
    names = [name for name in _compared(load) if name != load.deleted]
    if load.deleted is None or load.deleted not in load.staged.names or not names:
        return []
    values = [
        exp.EQ(
            this=exp.Column(this=identifier(name)),
            expression=exp.func(
                "COALESCE", column(name, "s"), exp.cast(column(name, "t"), sql_type(types[name.lower()]))
            ),
        )
        for name in names
    ]
    known = exp.and_(
        matches(load.primary_key, "t", "s"), column(load.deleted, "s").eq(exp.true()), exp.not_(exp.column(_NEW, "s"))
    )
    update = exp.Update(this=_changed(load).to_table("s"), expressions=values, where=exp.Where(this=known))
    update.set("from_", exp.From(this=load.target.to_table("t")))
    return [update]


def _compared(load: Load) -> list[str]:
    skipped = {name.lower() for name in (*load.primary_key, *load.unchanging)}
    return [name for name in load.staged.names if name.lower() not in skipped]


def _differs(load: Load, old: str, new: str) -> exp.Expr:
    """Whether a value differs; what a deleted row lacks is no difference, as the target keeps it."""
    changes: list[exp.Expr] = []
    for name in _compared(load):
        change: exp.Expr = exp.NullSafeNEQ(this=column(name, old), expression=column(name, new))
        if load.deleted is not None and load.deleted in load.staged.names and name != load.deleted:
            emptied = exp.and_(column(load.deleted, new).eq(exp.true()), column(name, new).is_(exp.null()), copy=False)
            change = exp.and_(change, exp.not_(emptied, copy=False), copy=False)
        changes.append(change)
    return exp.or_(*changes, copy=False) if changes else exp.false()


def _among(keys: tuple[str, ...], table: str | None, query: exp.Query) -> exp.Expr:
    """The key is one of the query's rows."""
    key = exp.Tuple(expressions=[column(name, table) for name in keys]) if len(keys) > 1 else column(keys[0], table)
    return exp.In(this=key, query=query.subquery())


def _cast_staging(load: Load, alias: str) -> exp.Subquery:
    target = {field.name.lower(): field.type for field in evolved(load)}
    columns: list[exp.Expr] = []
    for staged in load.staged.columns:
        wanted = normal_type(target[staged.name.lower()])
        plain = column(staged.name)
        columns.append(
            plain if wanted == staged.type else exp.cast(plain, sql_type(wanted)).as_(staged.name, quoted=True)
        )
    return exp.select(*columns).from_(load.staging.to_table()).subquery(alias)
