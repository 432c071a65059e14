"""Staged rows update the target's rows of the same primary key, or are added."""

from sqlglot import exp

from ingestr.core.schema import normal_type
from ingestr.strategies import replace
from ingestr.strategies.base import Load, Statements, column, drop, evolve, evolved, identifier, matches, sql_type


def plan(load: Load) -> Statements:
    """Evolve the target, then one MERGE that leaves rows alone whose values are the same."""
    if load.current is None:
        return replace.plan(load)
    names = load.staged.names
    updates = _updates(names)
    updates += [exp.EQ(this=exp.Column(this=identifier(name)), expression=exp.null()) for name in load.lost]
    insert = exp.Insert(
        this=exp.Tuple(expressions=[exp.Column(this=identifier(name)) for name in names]),
        expression=exp.Tuple(expressions=[column(name, "s") for name in names]),
    )
    whens = [
        exp.When(matched=True, condition=_differs(load), then=exp.Update(expressions=updates)),
        exp.When(matched=False, then=insert),
    ]
    return [*evolve(load), _merge(load, whens), drop(load.staging)]


def keep_history(load: Load) -> Statements:
    """Give staged rows that are deleted the target's values where they have none.

    Salesforce may empty the fields of a row that it deletes: what was known of the row is worth more than null.
    """
    existing = {field.name.lower() for field in load.current or ()}
    names = [
        name
        for name in load.staged.names
        if name.lower() in existing and name not in (*load.primary_key, *load.unchanging, load.deleted)
    ]
    if load.deleted is None or load.deleted.lower() not in existing or not names:
        return []
    values = [
        exp.EQ(
            this=exp.Column(this=identifier(name)),
            expression=exp.func(
                "COALESCE", column(name, "s"), exp.TryCast(this=column(name, "t"), to=sql_type(staged.type))
            ),
        )
        for name, staged in zip(load.staged.names, load.staged.columns, strict=True)
        if name in names
    ]
    same = exp.and_(matches(load.primary_key, "t", "s"), column(load.deleted, "s").eq(exp.true()))
    update = exp.Update(this=load.staging.to_table("s"), expressions=values, where=exp.Where(this=same))
    update.set("from_", exp.From(this=load.target.to_table("t")))
    return [update]


def fill(load: Load) -> Statements:
    """Give rows that are there the staged values; rows that are not there are not added."""
    names = [name for name in load.staged.names if name not in load.primary_key]
    when = exp.When(matched=True, condition=_differs(load), then=exp.Update(expressions=_updates(names)))
    return [*evolve(load), _merge(load, [when]), drop(load.staging)]


def _updates(names: list[str]) -> list[exp.Expr]:
    return [exp.EQ(this=exp.Column(this=identifier(name)), expression=column(name, "s")) for name in names]


def _merge(load: Load, whens: list[exp.When]) -> exp.Expr:
    return exp.Merge(
        this=load.target.to_table("t"),
        using=_cast_staging(load),
        on=matches(load.primary_key, "t", "s"),
        whens=exp.Whens(expressions=whens),
    )


def census(load: Load) -> exp.Query:
    """One row that says how many staged rows will be ``inserted``, ``updated`` and stay ``unchanged``.

    Asked before ``plan`` runs; columns that the target still lacks count as a change where the staged value is set.
    """
    if load.current is None:
        return replace.census(load)
    new = column(load.primary_key[0], "t").is_(exp.null())
    known = exp.not_(new.copy())
    differs = _differs(load, only_existing=True)

    def count(condition: exp.Expr) -> exp.Expr:
        return exp.func("COALESCE", exp.Sum(this=exp.Case().when(condition, "1").else_("0")), exp.convert(0))

    return (
        exp.select(
            count(new).as_("inserted"),
            count(exp.and_(known, differs)).as_("updated"),
            count(exp.and_(known.copy(), exp.not_(differs.copy()))).as_("unchanged"),
        )
        .from_(_cast_staging(load))
        .join(load.target.to_table("t"), on=matches(load.primary_key, "t", "s"), join_type="left")
    )


def _differs(load: Load, *, only_existing: bool = False) -> exp.Expr:
    existing = {field.name.lower() for field in load.current or ()}
    skipped = {name.lower() for name in (*load.primary_key, *load.unchanging)}
    changes: list[exp.Expr] = []
    for name in load.staged.names:
        if name.lower() in skipped:
            continue
        if only_existing and name.lower() not in existing:
            changes.append(exp.not_(column(name, "s").is_(exp.null())))
        else:
            changes.append(exp.NullSafeNEQ(this=column(name, "t"), expression=column(name, "s")))
    return exp.or_(*changes, copy=False) if changes else exp.false()


def _cast_staging(load: Load) -> exp.Subquery:
    target = {field.name.lower(): field.type for field in evolved(load)}
    columns: list[exp.Expr] = []
    for staged in load.staged.columns:
        wanted = normal_type(target[staged.name.lower()])
        plain = column(staged.name)
        columns.append(
            plain if wanted == staged.type else exp.cast(plain, sql_type(wanted)).as_(staged.name, quoted=True)
        )
    return exp.select(*columns).from_(load.staging.to_table()).subquery("s")
