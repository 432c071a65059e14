"""What a target that exists does with new fields and with values that its columns do not hold. Knows no platform."""

from dataclasses import dataclass, replace

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import AddColumn, Column, TableSchema, WidenColumn, diff, normal_type
from ingestr.core.strategy import SchemaContract
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Destination, TableRef
from ingestr.errors import ConfigurationError
from ingestr.quarantine import Quarantine
from ingestr.strategies.base import Load, column, count_rows, drop, sql_type


def check_frozen(target: TableRef, current: pa.Schema, incoming: TableSchema) -> None:
    """Refuse a run whose rows would change the columns of the target.

    Raises:
        ConfigurationError: names what is new or of another type.
    """
    changes = [change for change in diff(current, incoming) if change.name != LOADED_AT]
    new = [change.name for change in changes if isinstance(change, AddColumn)]
    wider = [f"{change.name} ({change.type})" for change in changes if isinstance(change, WidenColumn)]
    if changes:
        what = [f"{kind}: {', '.join(names)}" for kind, names in (("new columns", new), ("wider", wider)) if names]
        raise ConfigurationError(
            f"--schema-contract freeze keeps {target} as it is, and Salesforce now has {'; '.join(what)}",
            hint="evolve changes the table, discard_value goes on without them, --sql-exclude-columns leaves them out",
        )


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


def conform(
    destination: Destination, load: Load, current: pa.Schema, contract: SchemaContract, quarantine: Quarantine
) -> Conformed:
    """Make the staged rows fit the target's columns, by leaving out rows or values that do not.

    Args:
        destination: holds the staged rows.
        load: the staged rows.
        current: the target's columns, which stay as they are.
        contract: ``discard_row`` or ``discard_value``; nothing happens under the others.
        quarantine: where rows go that are left out.
    """
    changes = [change for change in diff(current, load.staged) if change.name != LOADED_AT]
    if contract not in (SchemaContract.DISCARD_ROW, SchemaContract.DISCARD_VALUE) or not changes:
        return Conformed(load, 0, {})
    by_row = contract is SchemaContract.DISCARD_ROW
    types = {field.name.lower(): normal_type(field.type) for field in current}
    misfits = {change.name: _misfit(change, load.staged, types) for change in changes}
    any_misfit = exp.or_(*(bad.copy() for bad in misfits.values()))
    values = {name: count_rows(destination, load.staging, bad) for name, bad in misfits.items()}
    rows = count_rows(destination, load.staging, any_misfit) if by_row else 0

    columns = tuple(
        Column(each.name, types.get(each.name.lower(), each.type), each.field)
        for each in load.staged.columns
        if each.name.lower() in types or each.name == LOADED_AT
    )
    fitting = exp.select(*(_fitted(each, None if by_row else misfits.get(each.name)) for each in columns))
    fitting = fitting.from_(load.staging.to_table())
    if by_row:
        for name in [name for name, number in values.items() if number]:
            reason = "the table has no such column" if name.lower() not in types else "its column does not hold it"
            destination.execute(quarantine.keep(load.staging, load.primary_key[0], name, reason, misfits[name].copy()))
        fitting = fitting.where(exp.not_(exp.paren(any_misfit.copy())))
    clean = TableRef(load.staging.schema, load.staging.name + "_fit")
    destination.execute([exp.Create(this=clean.to_table(), kind="TABLE", expression=fitting), drop(load.staging)])
    return Conformed(replace(load, staging=clean, staged=TableSchema(columns)), rows, {} if by_row else values)


def _fitted(target: Column, misfit: exp.Expr | None) -> exp.Expr:
    """The staged value as the target's type; null where it is a misfit."""
    value: exp.Expr = exp.cast(column(target.name), sql_type(target.type))
    if misfit is not None:
        value = exp.Case().when(exp.not_(exp.paren(misfit.copy())), value)
    return value.as_(target.name, quoted=True)


def _misfit(change: AddColumn | WidenColumn, staged: TableSchema, types: dict[str, pa.DataType]) -> exp.Expr:
    """True for staged values that the target's column does not hold as they are."""
    value = column(change.name)
    there = exp.not_(value.is_(exp.null()))
    if isinstance(change, AddColumn):
        return there
    narrow = types[change.name.lower()]
    incoming = next(c.type for c in staged.columns if c.name.lower() == change.name.lower())
    cast = exp.TryCast(this=value.copy(), to=sql_type(narrow))
    if incoming == pa.string():
        return exp.and_(there, cast.is_(exp.null()))
    # A cast that rounds loses something: the way back tells.
    back = exp.cast(cast, sql_type(incoming))
    return exp.and_(there, exp.NullSafeNEQ(this=back, expression=value.copy()))
