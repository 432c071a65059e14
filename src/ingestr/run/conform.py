"""Makes staged rows fit a table's columns, or says which value does not; knows no platform and no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from ingestr.core.schema import TableSchema
from ingestr.core.sql import column
from ingestr.core.strategy import SchemaContract
from ingestr.destinations.base import Destination, TableRef
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger.quarantine import Quarantine
from ingestr.strategies.base import Load, count_rows, create_from, drop
from ingestr.strategies.fit import misfit

_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Conformed:
    """A load that fits the target's columns, and what that cost.

    Args:
        load: staged rows whose columns are all columns of the target.
        rows: rows that were set aside.
        values: number of values that were left out, by column.
    """

    load: Load
    rows: int
    values: dict[str, int]


def conform(destination: Destination, load: Load, contract: SchemaContract, quarantine: Quarantine) -> Conformed:
    """Let only values through that the target's columns hold as they are.

    Args:
        destination: holds the staged rows.
        load: the staged rows, and how they fit.
        contract: ``discard_row`` and ``discard_value`` leave out what does not fit; under the others it is an error.
        quarantine: where rows go that are left out.

    Raises:
        ConfigurationError: a value does not fit, and nothing may be left out.
    """
    if load.fit is None or not (load.fit.checked or load.fit.absent):
        return Conformed(load, 0, {})
    types = {each.name.lower(): each.type for each in load.staged.columns}
    declared = load.fit.declared
    misfits = {
        each.name: misfit(each, types[each.name.lower()], declared.lengths.get(each.name.lower()))
        for each in load.fit.checked
    }
    # The mark of deleted rows is read to tell which they are, and is no value that the table would lack.
    lacking = [name for name in load.fit.absent if name != load.deleted]
    misfits |= {name: exp.not_(column(name).is_(exp.null())) for name in lacking}
    numbers = _count(destination, load, misfits) if misfits else {}
    bad = {name: number for name, number in numbers.items() if number}
    if not bad and not load.fit.absent:
        return Conformed(load, 0, {})
    required = [each.name for each in load.fit.checked if not each.nullable and each.name in bad]
    aside = {name: number for name, number in bad.items() if name.lower() in declared.names}
    if contract in (SchemaContract.EVOLVE, SchemaContract.FREEZE):
        if others := {name: number for name, number in bad.items() if name not in aside}:
            _refuse(destination, load, misfits, others)
    else:
        aside = bad if contract is SchemaContract.DISCARD_ROW else {}
    if required and contract is SchemaContract.DISCARD_VALUE:
        _refuse(destination, load, misfits, {name: bad[name] for name in required})
    rows = _set_aside(destination, load, misfits, aside, quarantine) if aside else 0
    if rows and contract is not SchemaContract.DISCARD_ROW:
        quarantine.check(rows, f"do not fit the types that {Flag.COLUMNS} gives {', '.join(sorted(aside))}")
    by_value = contract is SchemaContract.DISCARD_VALUE
    apart = [misfits[name] for name in aside] if rows else []
    return Conformed(_fitting(destination, load, misfits if by_value else {}, apart), rows, bad if by_value else {})


def _fitting(destination: Destination, load: Load, left_out: Mapping[str, exp.Expr], apart: Sequence[exp.Expr]) -> Load:
    """The load from a staging table that holds what fits.

    Args:
        destination: holds the staged rows.
        load: the rows as they were staged.
        left_out: column → the condition for its values that are left out.
        apart: conditions for rows that were set aside.
    """
    absent = {name.lower() for name in load.fit.absent} if load.fit is not None else set()
    columns = tuple(each for each in load.staged.columns if each.name.lower() not in absent)
    conditions = {name.lower(): condition for name, condition in left_out.items()}
    fitting = exp.select(*(_fitted(each.name, conditions.get(each.name.lower())) for each in columns))
    fitting = fitting.from_(load.staging.to_table())
    if apart:
        # Null is no misfit: the condition is false then, not unknown.
        any_misfit = exp.func("COALESCE", exp.or_(*(each.copy() for each in apart)), exp.false())
        fitting = fitting.where(exp.not_(any_misfit))
    clean = TableRef(load.staging.schema, load.staging.name + "_fit")
    destination.execute([create_from(clean, fitting, lasting=load.target is None), drop(load.staging)])
    deleted = load.deleted if load.deleted is not None and load.deleted.lower() not in absent else None
    return replace(load, staging=clean, staged=TableSchema(columns), deleted=deleted)


def _count(destination: Destination, load: Load, misfits: dict[str, exp.Expr]) -> dict[str, int]:
    """How many staged rows each column is a misfit of."""
    names = list(misfits)
    sums = [
        exp.func("COALESCE", exp.Sum(this=exp.Case().when(misfits[name].copy(), 1).else_(0)), exp.convert(0)).as_(
            f"n{i}"
        )
        for i, name in enumerate(names)
    ]
    [[row]] = destination.query(exp.select(*sums).from_(load.staging.to_table()))
    return {name: int(row[f"n{i}"]) for i, name in enumerate(names)}


def _refuse(destination: Destination, load: Load, misfits: dict[str, exp.Expr], bad: dict[str, int]) -> None:
    """Name the first column whose values do not fit, with an example."""
    name, number = next(iter(bad.items()))
    there = load.target.find(name) if load.target is not None else None
    value = exp.cast(column(name), "TEXT").as_("value")
    [[example]] = destination.query(
        exp.select(value).from_(load.staging.to_table()).where(misfits[name].copy()).limit(1)
    )
    kind = there.kind.sql() if there is not None else ""
    what = "null" if example["value"] is None else repr(str(example["value"])[:_LONGEST_SHOWN])
    needs = " NOT NULL" if there is not None and not there.nullable else ""
    raise ConfigurationError(
        f"{load.ref}.{name} is {kind}{needs}, and {number} values do not fit it, {what} for one",
        hint=f"change the column's type, leave the field out with {Flag.SQL_EXCLUDE_COLUMNS} {name}, leave such values "
        "out "
        f"with {Flag.SCHEMA_CONTRACT} discard_value, or start again with {Flag.FULL_REFRESH}",
    )


def _set_aside(
    destination: Destination, load: Load, misfits: dict[str, exp.Expr], bad: dict[str, int], quarantine: Quarantine
) -> int:
    """Rows with a misfit go to quarantine; returns how many rows these are."""
    absent = set() if load.fit is None else set(load.fit.absent)
    key = load.primary_key[0] if load.primary_key else None
    for name in bad:
        reason = "the table has no such column" if name in absent else "its column does not hold it"
        destination.execute(quarantine.keep(load.staging, key, name, reason, misfits[name].copy()))
    any_misfit = exp.or_(*(misfits[name].copy() for name in bad))
    return count_rows(destination, load.staging, any_misfit)


def _fitted(name: str, condition: exp.Expr | None) -> exp.Expr:
    """The staged value; null where it is a misfit."""
    if condition is None:
        return column(name)
    return exp.Case().when(condition.copy(), exp.null()).else_(column(name)).as_(name, quoted=True)
