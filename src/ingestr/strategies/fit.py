"""How staged rows fit the columns of a table as it stands; the one place that decides it, for whoever writes.

Types that ingestr made follow the source: they are widened when a field's type changes. Types that somebody else made
are kept: each staged value must be the same after a cast to them and back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP, Column, TableSchema, common_type, normal_type
from ingestr.core.sql import column, sql_type
from ingestr.core.strategy import SchemaContract
from ingestr.core.transforms import LOADED_AT
from ingestr.destinations.base import Target, TargetColumn
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag

_TEXT = sql_type(pa.string())
_UTC = exp.Literal.string("UTC")
# Columns that versions of a record bear, made by the strategy that keeps them.
VERSION_COLUMNS = ("_scd_valid_from", "_scd_valid_to", "_scd_is_current")
_OWN = (LOADED_AT, *VERSION_COLUMNS)
_START_AGAIN = f"choose another {Flag.DEST_TABLE}, or start again with {Flag.FULL_REFRESH}"


@dataclass(frozen=True)
class Declared:
    """Types that the user gives columns, by lower-case name.

    Args:
        kinds: the type as the engine spells it, of columns whose values come with another.
        lengths: the most characters of a text, which not every engine keeps by itself.
    """

    kinds: Mapping[str, exp.DataType] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> frozenset[str]:
        """The columns whose values are looked at."""
        return frozenset({*self.kinds, *self.lengths})


NOTHING_DECLARED = Declared()


@dataclass(frozen=True)
class Fit:
    """What a load does to the columns of its target, and which of its values it must look at.

    Args:
        added: columns that the target gets.
        widened: columns of ours that get a wider type.
        kinds: SQL type of every column to be written, by its lower-case name, once the target has been changed.
        checked: columns of the target that may not hold every staged value, or no nulls.
        absent: staged columns that the target has not, and does not get.
        declared: types that the user gives columns; a row with a value that does not fit one is set aside.
    """

    added: tuple[Column, ...]
    widened: tuple[Column, ...]
    kinds: Mapping[str, exp.DataType]
    checked: tuple[TargetColumn, ...]
    absent: tuple[str, ...]
    declared: Declared = NOTHING_DECLARED


def fit(
    target: Target,
    staged: TableSchema,
    *,
    made: Mapping[str, str],
    contract: SchemaContract,
    keys: Iterable[str] = (),
    inserts: bool = True,
    declared: Declared = NOTHING_DECLARED,
) -> Fit:
    """Settle how rows of a schema get into a table that exists.

    Args:
        target: the table.
        staged: the columns of the rows.
        made: for columns that ingestr made, the Arrow type with which their field was last read, by lower-case name.
        contract: whether the target's columns may change.
        keys: columns that rows are found by; their types must be equal.
        inserts: whether new rows may come, for which every column needs a value.
        declared: types that the user gives columns.

    Raises:
        ConfigurationError: names the column that is in the way, and what helps.
    """
    key_names = {key.lower() for key in keys}
    changing = contract in (SchemaContract.EVOLVE, SchemaContract.FREEZE)
    added: list[Column] = []
    widened: list[Column] = []
    checked: list[TargetColumn] = []
    absent: list[str] = []
    kinds: dict[str, exp.DataType] = {}
    for each in staged.columns:
        name, there = each.name.lower(), target.find(each.name)
        if target.tells_case:
            _refuse_other_case(target, each)
        if there is None and not changing and each.name != LOADED_AT:
            absent.append(each.name)
        elif there is None:
            added.append(each)
            kinds[name] = declared.kinds.get(name, sql_type(each.type))
            if name in declared.names:
                checked.append(_declared_column(each, kinds[name]))
        elif name in declared.kinds:
            _check_kind(target, there, declared.kinds[name])
            kinds[name] = there.kind
            checked.append(there)
        elif wide := _wider(target, there, each, made.get(name) if changing else None, is_key=name in key_names):
            widened.append(Column(there.name, wide, each.field))
            kinds[name] = sql_type(wide)
        else:
            kinds[name] = there.kind
            if not there.nullable or name in declared.lengths or there.kind not in (sql_type(each.type), _TEXT):
                checked.append(there)
    result = Fit(tuple(added), tuple(widened), kinds, tuple(checked), tuple(absent), declared)
    _refuse_changes(target, result, contract)
    if inserts:
        _refuse_required(target, staged)
    return result


def fit_new(staged: TableSchema, declared: Declared) -> Fit | None:
    """How rows get into a table that they make; None where every column has the type of its values."""
    if not declared.names:
        return None
    kinds = {each.name.lower(): declared.kinds.get(each.name.lower(), sql_type(each.type)) for each in staged.columns}
    checked = [
        _declared_column(each, kinds[each.name.lower()])
        for each in staged.columns
        if each.name.lower() in declared.names
    ]
    return Fit((), (), kinds, tuple(checked), (), declared)


def _declared_column(staged: Column, kind: exp.DataType) -> TargetColumn:
    types = {"DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us"), "TIMESTAMPTZ": TIMESTAMP}
    return TargetColumn(staged.name, types.get(kind.this.value, pa.string()), kind)


def _check_kind(target: Target, there: TargetColumn, wanted: exp.DataType) -> None:
    if there.generated or there.kind != wanted:
        what = "is computed by the database" if there.generated else f"is {there.kind.sql()}"
        raise ConfigurationError(
            f"{target.ref}.{there.name} {what}, and {Flag.COLUMNS} wants {wanted.sql()}",
            hint=f"change the column's type, leave it out of {Flag.COLUMNS}, or start again with {Flag.FULL_REFRESH}",
        )


def _wider(
    target: Target, there: TargetColumn, incoming: Column, made: str | None, *, is_key: bool
) -> pa.DataType | None:
    """The type that a column of ours must get; None where the column stays as it is."""
    if there.generated:
        raise ConfigurationError(
            f"{target.ref}.{there.name} is computed by the database, and a field of the source has that column name",
            hint=f"rename the column, or leave the field out with {Flag.SQL_EXCLUDE_COLUMNS} {there.name}",
        )
    if there.kind == sql_type(incoming.type):
        return None
    if is_key:
        spelled = there.kind.sql() if pa.types.is_dictionary(there.type) else there.type
        raise ConfigurationError(
            f"{target.ref}.{there.name} is {spelled}, and the key that is merged by is {incoming.type}",
            hint=_START_AGAIN,
        )
    if is_ours(there, made):
        wide = common_type(there.type, incoming.type)
        return None if sql_type(wide) == there.kind else wide
    nested = pa.types.is_nested(there.type) and not pa.types.is_dictionary(there.type)
    if nested or pa.types.is_binary(there.type) or pa.types.is_interval(there.type) or pa.types.is_null(there.type):
        raise ConfigurationError(
            f"{target.ref}.{there.name} is {there.kind.sql()}, which holds no value of type {incoming.type}",
            hint=f"leave the field out with {Flag.SQL_EXCLUDE_COLUMNS} {incoming.field or there.name}, or "
            f"{_START_AGAIN}",
        )
    return None


def things_of_others(
    target: Target, staged: TableSchema, made: Mapping[str, str], declared: Declared = NOTHING_DECLARED
) -> list[str]:
    """What somebody has hung on a table or changed in it, in words: what it would lose if it were made anew."""
    things = [f"the index {name}" for name in target.indexes]
    things += [*target.constraints, *(f"the foreign key of {name}" for name in target.referenced_by), *target.others]
    wanted = {each.name.lower(): each for each in staged.columns}
    for there in target.columns:
        name = there.name.lower()
        if there.generated:
            things.append(f"the computed column {there.name}")
        elif name not in wanted and name not in made and name not in _OWN:
            things.append(f"the column {there.name}")
        elif name in wanted and not (
            there.kind in (sql_type(wanted[name].type), declared.kinds.get(name)) or is_ours(there, made.get(name))
        ):
            things.append(f"the type of {there.name}, {there.kind.sql()}")
        if there.default is not None and not there.generated:
            things.append(f"the DEFAULT of {there.name}")
        if not there.nullable:
            things.append(f"the NOT NULL of {there.name}")
    return things


def is_ours(there: TargetColumn, made: str | None) -> bool:
    """Whether the column still has the type that ingestr gave it."""
    # An integer field that was found to hold fractions has a double column.
    widened = made == str(pa.int64()) and there.kind == sql_type(pa.float64())
    # And a decimal one that was found to hold more digits has a wider one.
    widened = widened or (made is not None and made.startswith("decimal") and pa.types.is_decimal(there.type))
    return widened or (made == str(normal_type(there.type)) and there.kind == sql_type(there.type))


def _refuse_changes(target: Target, result: Fit, contract: SchemaContract) -> None:
    new = [each.name for each in result.added if each.name != LOADED_AT]
    wider = [f"{each.name} ({each.type})" for each in result.widened]
    if contract is SchemaContract.FREEZE and (new or wider):
        what = [f"{kind}: {', '.join(names)}" for kind, names in (("new columns", new), ("wider", wider)) if names]
        raise ConfigurationError(
            f"{Flag.SCHEMA_CONTRACT} freeze keeps {target.ref} as it is, and the source now has {'; '.join(what)}",
            hint=f"evolve changes the table, discard_value goes on without them, {Flag.SQL_EXCLUDE_COLUMNS} leaves "
            "them out",
        )
    pinned = {
        there.name: there.pinned_by for each in result.widened if (there := target.find(each.name)) and there.pinned_by
    }
    if pinned:
        things = dict.fromkeys(thing for things in pinned.values() for thing in things)
        wider = [f"{each.name} ({each.type})" for each in result.widened if each.name in pinned]
        raise ConfigurationError(
            f"the type of {', '.join(wider)} of {target.ref} must change, and the database does not change the types "
            f"of columns on which others depend: {', '.join(things)}",
            hint="drop what is named, run again, and make it anew",
        )


def _refuse_other_case(target: Target, staged: Column) -> None:
    """Columns whose names differ in case only: nobody could say which of them a field is written to."""
    alike = (each.name for each in target.columns if each.name.lower() == staged.name.lower())
    if other := [name for name in alike if name != staged.name]:
        raise ConfigurationError(
            f"{target.ref} has a column {other[0]!r}, which differs from {staged.name!r} in case only",
            hint=f"rename the column, or leave the field out with {Flag.SQL_EXCLUDE_COLUMNS} "
            f"{staged.field or staged.name}",
        )


def _refuse_required(target: Target, staged: TableSchema) -> None:
    """Columns that new rows cannot do without, and for which the source has no values."""
    written = {name.lower() for name in staged.names}
    required = [
        each.name
        for each in target.columns
        if not (each.nullable or each.generated or each.default is not None or each.name.lower() in written)
    ]
    if required:
        raise ConfigurationError(
            f"{target.ref} has columns that must not be null and that the source has no values for: "
            + ", ".join(required),
            hint=f"give them a DEFAULT or drop their NOT NULL, or {_START_AGAIN}",
        )


def cast(value: exp.Expr, from_: pa.DataType, to: exp.DataType, *, lenient: bool = False) -> exp.Expr:
    """A value of an Arrow type as a SQL type; where the types differ in their time zone, that zone is UTC.

    Args:
        value: the value.
        from_: its type.
        to: the type wanted.
        lenient: null where the value cannot be cast.
    """
    if sql_type(from_) == to:
        return value
    how = exp.TryCast if lenient else exp.Cast
    naive = exp.DataType.build("TIMESTAMP")
    if normal_type(from_) == TIMESTAMP and to.this not in _WITH_ZONE and to != _TEXT:
        value = exp.AtTimeZone(this=value, zone=_UTC.copy())
        return value if to == naive else how(this=value, to=to.copy())
    if from_ == pa.date32() and to.this in _WITH_ZONE:
        return exp.AtTimeZone(this=exp.Cast(this=value, to=naive), zone=_UTC.copy())
    return how(this=value, to=to.copy())


_SPELLED_ANEW = ("UUID", "JSON", "JSONB", "FLOAT")
_WITH_ZONE = (exp.DataType.Type.TIMESTAMPTZ,)


def as_moment(there: TargetColumn, value: exp.Expr) -> exp.Expr:
    """A column's value as a timestamp with zone, whatever its type; null where it is none."""
    if there.kind.this in _WITH_ZONE:
        return value
    if pa.types.is_timestamp(there.type) or pa.types.is_date(there.type):
        naive = exp.Cast(this=value, to=exp.DataType.build("TIMESTAMP"))
        return exp.AtTimeZone(this=naive, zone=_UTC.copy())
    return exp.TryCast(this=value, to=sql_type(TIMESTAMP))


def as_flag(there: TargetColumn, value: exp.Expr) -> exp.Expr:
    """A column's value as a boolean, whatever its type; false where it is null or none."""
    flag = value if there.type == pa.bool_() else exp.TryCast(this=value, to=sql_type(pa.bool_()))
    return exp.func("COALESCE", flag, exp.false())


def misfit(there: TargetColumn, staged: pa.DataType, length: int | None = None) -> exp.Expr:
    """True for staged values that the target's column does not hold as they are, and for nulls that it refuses.

    A text that is a UUID or JSON may be spelled in another way in the column, and a single-precision number is the
    nearest one.

    Args:
        there: the column.
        staged: the type of the staged values.
        length: the most characters that the column's values may have; None for any number.
    """
    value = column(there.name)
    conditions: list[exp.Expr] = []
    if there.kind != sql_type(staged):
        held = cast(value.copy(), staged, there.kind, lenient=True)
        # A cast that rounds or spells anew loses something: the way back tells.
        back = _back(held, there, staged)
        there_is = exp.not_(value.copy().is_(exp.null()))
        lost: exp.Expr = exp.NullSafeNEQ(this=back, expression=value.copy())
        if there.kind.this.value in _SPELLED_ANEW:
            lost = cast(value.copy(), staged, there.kind, lenient=True).is_(exp.null())
        conditions.append(exp.and_(there_is, lost))
    if length is not None:
        text = exp.cast(value.copy(), _TEXT.copy())
        longer = exp.GT(this=exp.Length(this=text), expression=exp.convert(length))
        conditions.append(exp.func("COALESCE", longer, exp.false()))
    if not there.nullable:
        conditions.append(value.copy().is_(exp.null()))
    return exp.or_(*conditions) if conditions else exp.false()


def _back(held: exp.Expr, there: TargetColumn, staged: pa.DataType) -> exp.Expr:
    if normal_type(staged) == TIMESTAMP:
        return as_moment(there, held)
    if pa.types.is_timestamp(there.type) and staged == pa.date32() and there.kind.this in _WITH_ZONE:
        held = exp.AtTimeZone(this=held, zone=_UTC.copy())
    return exp.TryCast(this=held, to=sql_type(staged))
