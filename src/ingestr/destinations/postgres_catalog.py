"""What PostgreSQL's catalog says of tables: their columns, and what somebody has hung on them, in one query."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlglot import exp

from ingestr.destinations.base import TableRef, Target, TargetColumn
from ingestr.destinations.postgres_sql import KEY_INDEX
from ingestr.errors import DestinationError
from ingestr.flags import Flag

# Of a type as the catalog spells it (pg_type.typname): what it is in Arrow.
_ARROW = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "bytea": pa.binary(),
    "interval": pa.month_day_nano_interval(),
}
# The types of the standard, whose spelling sqlglot knows with their parameters.
_STANDARD = re.compile(
    r"(boolean|smallint|integer|bigint|real|double precision|text|date|uuid|jsonb|bytea|interval"
    r"|(numeric|character varying|character)(\(\d+(,\d+)?\))?"
    r"|(timestamp|time)(\(\d+\))? with(out)? time zone)"
)
_NUMERIC = re.compile(r"numeric\((?P<precision>\d+),(?P<scale>\d+)\)")
# A page with a row that changed is read where an index would do; at ten rows a page, each hundredth makes that a tenth.
_MOST_OUTDATED = 0.01
_FEW = 1_000
_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a type",
}

_DEPENDS = """
SELECT CASE WHEN r.ev_class <> t.oid THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)
            ELSE pg_describe_object(d.classid, d.objid, 0) END AS thing, d.refobjsubid AS attnum
FROM pg_depend d LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE (d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
       OR d.refclassid = 'pg_type'::regclass AND d.refobjid = t.reltype)
  AND d.deptype <> 'i' AND (d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_statistic_ext'::regclass,
                     'pg_publication_rel'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
       OR d.classid = 'pg_trigger'::regclass
          AND EXISTS (SELECT FROM pg_trigger g WHERE g.oid = d.objid AND NOT g.tgisinternal)
       OR d.classid = 'pg_class'::regclass
          AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.oid <> t.oid
                      AND c.relkind IN ('r', 'p', 'f')))
"""
_PROPERTIES = """
SELECT unnest(array_remove(ARRAY[
  CASE WHEN t.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
       THEN 'owner ' || pg_get_userbyid(t.relowner) END,
  CASE WHEN t.relrowsecurity THEN 'row security' END,
  CASE WHEN t.reloptions IS NOT NULL THEN 'storage parameters' END,
  CASE WHEN t.reltablespace <> 0 THEN 'tablespace' END,
  CASE WHEN t.relreplident <> 'd' THEN 'replica identity' END,
  CASE WHEN t.relpersistence = 'u' THEN 'UNLOGGED' END,
  CASE WHEN t.relkind = 'p' THEN 'partitions' END,
  CASE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = t.oid) THEN 'place below another table' END
], NULL))
UNION ALL
SELECT DISTINCT 'privileges of ' || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END
FROM (SELECT (aclexplode(t.relacl)).grantee UNION
      SELECT (aclexplode(a.attacl)).grantee FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0) g
WHERE grantee <> t.relowner
"""
_COLUMNS = """
SELECT json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), b.typname, b.typtype, b.typelem <> 0
      AND b.typcategory = 'A', EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
      WHERE o.opcdefault AND m.amname = 'btree' AND (o.opcintype = b.oid
      OR b.typtype IN ('e', 'r', 'm', 'c') OR b.typcategory IN ('A', 'S'))), NOT (a.attnotnull OR y.typnotnull),
      pg_get_expr(f.adbin, f.adrelid), a.attgenerated <> '' OR a.attidentity = 'a', a.attidentity = 'd',
      col_description(a.attrelid, a.attnum), a.attnum) ORDER BY a.attnum)
FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
DESCRIBE = f"""
SELECT n.nspname, t.relname, t.relkind::text, obj_description(t.oid, 'pg_class'),
  ({_COLUMNS}),
  (SELECT json_object_agg(c.relname, pg_get_indexdef(i.indexrelid)) FROM pg_index i
   JOIN pg_class c ON c.oid = i.indexrelid
   WHERE i.indrelid = t.oid AND NOT starts_with(c.relname, '{KEY_INDEX}')
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)),
  (SELECT json_agg(pg_get_constraintdef(k.oid)) FROM pg_constraint k
   WHERE k.conrelid = t.oid AND k.contype IN ('p', 'u', 'c', 'f', 'x')),
  (SELECT json_agg(DISTINCT k.conrelid::regclass::text) FROM pg_constraint k
   WHERE k.confrelid = t.oid AND k.contype = 'f'),
  (SELECT json_agg(json_build_array(h.thing, h.attnum)) FROM ({_DEPENDS}) h),
  (SELECT json_agg(p.thing) FROM ({_PROPERTIES}) AS p (thing)),
  EXISTS (SELECT FROM pg_inherits WHERE inhparent = t.oid) AND t.relkind <> 'p', pg_has_role(t.relowner, 'USAGE'),
  EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE i.indrelid = t.oid AND starts_with(c.relname, '{KEY_INDEX}')),
  t.reltuples, pg_stat_get_dead_tuples(t.oid)
FROM unnest({{}}::text[], {{}}::text[]) AS w (nspname, relname)
JOIN pg_namespace n ON n.nspname = w.nspname JOIN pg_class t ON t.relnamespace = n.oid AND t.relname = w.relname
"""  # noqa: S608 - no value of a user


@dataclass(frozen=True)
class Upkeep:
    """What tells when a table with an index of ours is due for a VACUUM.

    Args:
        rows: the rows of the table, as the server estimates them.
        outdated: rows that have been changed or removed since the last VACUUM.
    """

    rows: float
    outdated: int

    def is_due(self, outdated: int) -> bool:
        """Whether so many more rows have made it due."""
        return outdated > 0 and self.outdated + outdated >= max(_FEW, _MOST_OUTDATED * self.rows)


def upkeep_of(rows: Iterable[Sequence[Any]], ref: TableRef) -> Upkeep | None:
    """The upkeep of a table among the rows of ``DESCRIBE``; None where it is not there or has no index of ours."""
    for schema, name, *_, has_index, estimated, outdated in rows:
        if (schema, name) == (ref.schema, ref.name) and has_index:
            return Upkeep(estimated, outdated)
    return None


def target_of(ref: TableRef, row: Sequence[Any]) -> Target:
    """A row of ``DESCRIBE`` as the table that it tells of.

    Raises:
        DestinationError: what bears the name is no table that rows can be written to.
    """
    _, _, kind, comment, columns, indexes, constraints, references, depends, properties, has_heirs, owned, *_ = row
    if kind in _KINDS:
        raise DestinationError(f"{ref} is {_KINDS[kind]}, not a table", hint=f"choose another {Flag.DEST_TABLE}")
    if has_heirs:
        raise DestinationError(
            f"other tables inherit from {ref}, and their rows would be taken for its own",
            hint=f"choose another {Flag.DEST_TABLE}",
        )
    things: list[tuple[str, int]] = [(f"the {thing}", number) for thing, number in depends or ()]
    others = [thing for thing, _ in things] + [f"the {thing}" for thing in properties or ()]
    return Target(
        ref,
        tuple(_column(each, things) for each in columns or ()),
        indexes=indexes or {},
        constraints=tuple(constraints or ()),
        referenced_by=tuple(references or ()),
        comment=comment,
        others=tuple(dict.fromkeys(others)),
        tells_case=True,
        commentable=owned,
    )


def _column(values: Sequence[Any], things: Iterable[tuple[str, int]]) -> TargetColumn:
    name, declared, type_name, type_kind, is_array, comparable, *properties, number = values
    nullable, default, computed, counts, noted = properties
    return TargetColumn(
        name,
        _arrow(declared, type_name, type_kind, is_array=is_array, comparable=comparable),
        kind_of(declared),
        nullable,
        default="IDENTITY" if counts else default,
        generated=computed,
        comment=noted,
        pinned_by=tuple(thing for thing, at in things if at == number),
    )


def _arrow(declared: str, name: str, kind: str, *, is_array: bool, comparable: bool) -> pa.DataType:
    """What a type is in Arrow: text for all that is written as text; null for what cannot be compared."""
    if is_array:
        return pa.list_(pa.string())
    if kind == "c":
        return pa.struct([])
    if kind == "e":
        return pa.dictionary(pa.int32(), pa.string())
    if name == "numeric":
        parameters = _NUMERIC.fullmatch(declared)
        if parameters is None:
            return pa.decimal128(38, 9)
        precision, scale = int(parameters["precision"]), int(parameters["scale"])
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(min(precision, 76), scale)
    return _ARROW.get(name, pa.string() if comparable else pa.null())


def kind_of(declared: str) -> exp.DataType:
    """A type as ``format_type`` spells it, as an expression; spelled as ours where it is one that ingestr makes."""
    if _STANDARD.fullmatch(declared):
        return exp.DataType.build(declared, dialect="postgres")
    return exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=declared)


def described(rows: Iterable[Sequence[Any]], refs: Iterable[TableRef]) -> Mapping[TableRef, Target]:
    """The tables that are there, of those asked for."""
    by_name = {(row[0], row[1]): row for row in rows}
    return {ref: target_of(ref, by_name[ref.schema, ref.name]) for ref in refs if (ref.schema, ref.name) in by_name}
