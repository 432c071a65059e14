"""How the columns of a plan meet those of a table: what is known before a row is read, and what is settled after."""

from dataclasses import replace

import pyarrow as pa

from ingestr.core.schema import TableSchema, common_type
from ingestr.core.strategy import SchemaContract
from ingestr.core.transforms import target_schema
from ingestr.destinations.base import Target
from ingestr.run.columns import Columns
from ingestr.run.reading import Reading
from ingestr.strategies.fit import Fit, fit, fit_new


def fit_to(
    target: Target | None,
    schema: TableSchema,
    reading: Reading,
    columns: Columns,
    contract: SchemaContract,
    *,
    inserts: bool = True,
) -> Fit | None:
    """How rows of a schema get into the target; raises ConfigurationError where they do not. None: just as they are."""
    if target is None:
        return fit_new(schema, columns.declared)
    keys = tuple(columns.names[key] for key in reading.primary_key)
    return fit(
        target, schema, made=columns.made, contract=contract, keys=keys, inserts=inserts, declared=columns.declared
    )


def declared_schema(target: Target, reading: Reading, columns: Columns, *, stamped: bool) -> TableSchema:
    """The staged columns as far as they are known before a row is read."""
    wider = already_wider(target, reading, columns)
    fields = TableSchema(tuple(replace(each, type=wider.get(each.name, each.type)) for each in reading.fields))
    return target_schema(fields, columns.names, load_timestamp=stamped, treatment=columns.treatment)


def already_wider(target: Target | None, reading: Reading, columns: Columns) -> dict[str, pa.DataType]:
    """Fields whose column has a wider type: an earlier run found that they need it, or somebody made it so.

    Integer fields may hold fractions, and decimals more digits than they are declared with.
    """
    wide: dict[str, pa.DataType] = {}
    for each in reading.fields:
        there = target.find(columns.names.get(each.name)) if target is not None else None
        if there is None or there.name.lower() in columns.declared.kinds:
            continue
        fractions = each.type == pa.int64() and there.type == pa.float64()
        digits = pa.types.is_decimal(each.type) and pa.types.is_decimal(there.type)
        if fractions or digits:
            wide[each.name] = common_type(each.type, there.type)
    return wide
