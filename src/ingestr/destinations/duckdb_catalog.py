"""What DuckDB's catalog says of a table: its columns, and what somebody has hung on it."""

from collections.abc import Callable

import duckdb
import pyarrow as pa
from sqlglot import exp

from ingestr.core.sql import sql_type
from ingestr.destinations.base import TableRef, Target, TargetColumn
from ingestr.errors import DestinationError
from ingestr.flags import Flag

# How DuckDB declares the types that ingestr makes.
_OUR_TYPES = frozenset({"VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE", "DATE", "TIME", "TIMESTAMP WITH TIME ZONE"})

_SCHEMA = "database_name = current_database() AND lower(schema_name) = lower($1)"
_TABLE = f"{_SCHEMA} AND lower(table_name) = lower($2)"
# The views of information_schema over these take three times as long.
_FOUND = (
    f"SELECT comment, NULL FROM duckdb_tables() WHERE {_TABLE} UNION ALL "  # noqa: S608 - no value of a user
    f"SELECT NULL, view_name FROM duckdb_views() WHERE {_SCHEMA} AND lower(view_name) = lower($2)"
)
_COLUMNS = (
    "SELECT column_name, data_type, is_nullable, column_default, is_generated, comment "  # noqa: S608
    f"FROM duckdb_columns() WHERE {_TABLE} ORDER BY column_index"
)
_HUNG = (
    f"SELECT 'index', index_name, sql FROM duckdb_indexes() WHERE {_TABLE} AND sql IS NOT NULL UNION ALL "  # noqa: S608
    "SELECT 'constraint', constraint_text, NULL FROM duckdb_constraints() "
    f"WHERE {_TABLE} AND constraint_type <> 'NOT NULL' UNION ALL "
    "SELECT DISTINCT 'reference', schema_name || '.' || table_name, NULL FROM duckdb_constraints() "
    f"WHERE {_SCHEMA} AND lower(referenced_table) = lower($2)"
)


def describe_table(
    connection: duckdb.DuckDBPyConnection, table: TableRef, schema_of: Callable[[exp.Query], pa.Schema]
) -> Target | None:
    """The table as it stands, or None where there is no such table.

    Args:
        connection: to the database of the table.
        table: the table.
        schema_of: the Arrow schema of a query's result.

    Raises:
        DestinationError: there is a view of this name.
    """
    name = [table.schema, table.name]
    found = connection.execute(_FOUND, name).fetchall()
    if not found:
        return None
    comment, view = found[0]
    if view is not None:
        raise DestinationError(f"{table} is a view, not a table", hint=f"choose another {Flag.DEST_TABLE}")
    columns = connection.execute(_COLUMNS, name).fetchall()
    hung = connection.execute(_HUNG, name).fetchall()
    schema = schema_of(exp.select(exp.Star()).from_(table.to_table()).limit(0))
    indexes = {text: statement for kind, text, statement in hung if kind == "index"}
    constraints = tuple(text for kind, text, _ in hung if kind == "constraint")
    referenced_by = tuple(text for kind, text, _ in hung if kind == "reference")
    # DuckDB changes no type of a table that has one of these, whichever column it is about.
    pinned_by = (
        *(f"the index {name} ({sql})" for name, sql in indexes.items()),
        *constraints,
        *(f"the foreign key of {name}" for name in referenced_by),
    )
    arrow = {name: schema.field(name).type for name, *_ in columns}
    return Target(
        table,
        tuple(
            TargetColumn(
                name, arrow[name], _kind(declared, arrow[name]), nullable, default, generated, noted, pinned_by
            )
            for name, declared, nullable, default, generated, noted in columns
        ),
        indexes=indexes,
        constraints=constraints,
        referenced_by=referenced_by,
        comment=comment,
    )


def _kind(declared: str, type_: pa.DataType) -> exp.DataType:
    """A declared type as an expression; spelled as ours where it is one that ingestr makes."""
    if declared in _OUR_TYPES:
        return sql_type(type_)
    return exp.DataType.build(declared, dialect="duckdb", udt=True)
