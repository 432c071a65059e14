"""Which field goes to which column of a target, now and ever. Knows no engine's dialect and no platform."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ingestr.core.naming import NameRule, SchemaNaming, assign_names, column_name
from ingestr.core.transforms import AS_THEY_COME, LOADED_AT, Treatment
from ingestr.destinations.base import Role, Target
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.ledger.state import KeptField, KeptNames
from ingestr.sources.base import Stream
from ingestr.strategies.fit import NOTHING_DECLARED, Declared


@dataclass(frozen=True)
class Columns:
    """The columns of one target, settled for one run.

    Args:
        names: field → column, of the fields that this run reads.
        kept: what is kept of all fields that ever had a column here.
        made: for columns that ingestr made, the Arrow type with which their field was last read, by lower-case name.
        naming: the rule that the names follow.
        roles: the column of each role, of the fields that are read, once that is settled.
        fresh: fields whose values the rows lack that did not change: not read last time, or of another type since.
        lost: columns whose field the source shows no longer: their values in rows that change are unknown.
        treatment: what becomes of values on their way.
        declared: types that the user gives columns.
    """

    names: dict[str, str]
    kept: dict[str, KeptField]
    made: Mapping[str, str]
    naming: SchemaNaming
    roles: Mapping[Role, str]
    fresh: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    treatment: Treatment = AS_THEY_COME
    declared: Declared = NOTHING_DECLARED

    def without(self, fields: Collection[str]) -> "Columns":
        """The same where some fields are not read."""
        kept = {
            field: replace(each, was_read=each.was_read and field not in fields) for field, each in self.kept.items()
        }
        names = {field: name for field, name in self.names.items() if field not in fields}
        return replace(self, names=names, kept=kept, fresh=tuple(field for field in self.fresh if field not in fields))


@dataclass(frozen=True)
class FieldNow:
    """A field as this run would write it: the Arrow type of its values, and how they are masked."""

    type: str
    mask: str | None


def choose_columns(
    before: KeptNames,
    current: Target | None,
    visible: Mapping[str, FieldNow],
    wanted: Iterable[str],
    rule: NameRule,
    *,
    rewrite: bool,
    note: Callable[[str], None],
) -> Columns:
    """Names once given stay, new fields get new ones, and what appeared, changed or vanished is found.

    Args:
        before: the names given to the object's fields in this target so far.
        current: the table as it stands, or None.
        visible: every field of the object that the user can see now.
        wanted: the fields to be read.
        rule: how new names are made.
        rewrite: whether the target is replaced as a whole.
        note: told what the user should know.

    Raises:
        ConfigurationError: the columns were named by another rule, or masked in another way.
    """
    kept, naming = before.fields, rule.naming
    if before.naming not in (None, naming):
        if current is not None and not rewrite:
            raise ConfigurationError(
                f"{current.ref} has {before.naming} column names; {naming} would add each column again",
                hint=f"use the same naming, or start again with {Flag.FULL_REFRESH}",
            )
        kept = {}
    made = {each.column.lower(): each.type for each in kept.values()}
    types = {field: now.type for field, now in visible.items()}
    kept = _respelled(kept, types)
    # All visible fields take part, so that what is excluded today cannot change a name tomorrow.
    given = {field: each.column for field, each in kept.items()} | dict(rule.renamed)
    names = assign_names(types, given, naming, [LOADED_AT], rule.longest)
    _say_what_is_renamed({field: names[field] for field in types if field not in given}, rule, note)
    read = {field: names[field] for field in wanted}
    masks = {field: each.mask for field, each in kept.items()}
    masks |= {field: visible[field].mask for field in read}
    every = {field: KeptField(names[field], type_, field in read, masks.get(field)) for field, type_ in types.items()}
    every = kept | every
    if current is None or rewrite or not kept:
        gone = [field for field in kept if field not in types]
        return Columns(read, _unread(every, gone), made=made, naming=naming, roles={})
    _check_masks(kept, read, masks, current)
    return _compare(Columns(read, every, made=made, naming=naming, roles={}), kept, types, current, note)


def _say_what_is_renamed(new: Mapping[str, str], rule: NameRule, note: Callable[[str], None]) -> None:
    """New columns that could not have the name that their field asks for."""
    for field, name in new.items():
        if name != (asked := column_name(field, rule.naming)):
            why = "too long" if rule.longest is not None and len(asked.encode()) > rule.longest else "taken"
            note(f"the column name {asked} is {why}: {field} is written to {name}")


def _check_masks(
    kept: Mapping[str, KeptField], read: Mapping[str, str], masks: Mapping[str, str | None], current: Target
) -> None:
    """A column whose rows are masked in two ways is of no use, and one with rows in clear shows what it should not."""
    for field, name in read.items():
        before = kept.get(field)
        if before is not None and current.find(before.column) is not None and before.mask != masks[field]:
            raise ConfigurationError(
                f"{name} of {current.ref} is {_masked(before.mask)}, and is to be {_masked(masks[field])} now: "
                "its rows would be of both kinds",
                hint=f"use the same {Flag.MASK} and the same key as before, or start again with {Flag.FULL_REFRESH}",
            )


def _masked(mask: str | None) -> str:
    return "not masked" if mask is None else f"masked by {mask}"


def _compare(
    columns: Columns,
    kept: dict[str, KeptField],
    types: Mapping[str, str],
    current: Target,
    note: Callable[[str], None],
) -> Columns:
    """The same with what is fresh and what is lost since the last run."""
    gone = [field for field in kept if field not in types]
    for field in gone:
        if kept[field].was_read:
            note(
                f"{field} is gone from the source, or hidden from this user: {kept[field].column} stays, "
                "without new values"
            )
    fresh = []
    for field, name in columns.names.items():
        before = kept.get(field)
        if before is not None and before.was_read and before.type != types[field]:
            note(f"the type of {field} changed from {before.type} to {types[field]}")
        if before is None or not before.was_read or before.type != types[field] or current.find(name) is None:
            fresh.append(field)
    lost = tuple(kept[field].column for field in gone if current.find(kept[field].column) is not None)
    return replace(columns, kept=_unread(columns.kept, gone), fresh=tuple(fresh), lost=lost)


def _respelled(kept: dict[str, KeptField], types: Iterable[str]) -> dict[str, KeptField]:
    """API names differ by more than case: a field whose spelling changed is the same field, with the same column."""
    now = {name.lower(): name for name in types}
    return {now.get(field.lower(), field): each for field, each in kept.items()}


def _unread(every: dict[str, KeptField], fields: Iterable[str]) -> dict[str, KeptField]:
    return every | {field: replace(every[field], was_read=False) for field in fields}


def roles_of(
    stream: Stream, primary_key: tuple[str, ...], cursor_field: str | None, names: Mapping[str, str]
) -> dict[Role, str]:
    """The column of each role, of the fields that have one.

    Args:
        stream: knows which field tells what.
        primary_key: the fields that tell rows apart.
        cursor_field: the field that windows are over, or None.
        names: field → column.
    """
    fields = {
        Role.KEY: primary_key[0] if primary_key else None,
        Role.CREATED: stream.created_field,
        Role.CHANGED: stream.changed_field,
        Role.DELETED: stream.deleted_field,
        Role.CURSOR: cursor_field,
    }
    return {role: names[field] for role, field in fields.items() if field is not None and field in names}


def settle_naming(
    wanted: SchemaNaming, before: KeptNames, current: Target | None, fields: Iterable[str]
) -> SchemaNaming:
    """The rule for names: ``auto`` is that of the target, by what is kept of it or by its columns, else snake_case."""
    if wanted is not SchemaNaming.AUTO:
        return wanted
    if before.naming in (SchemaNaming.DEFAULT, SchemaNaming.DIRECT):
        return SchemaNaming(before.naming)
    columns = {column.name for column in current.columns} if current is not None else set()
    alike = {
        naming: sum(column_name(field, naming) in columns for field in fields)
        for naming in (SchemaNaming.DEFAULT, SchemaNaming.DIRECT)
    }
    return SchemaNaming.DIRECT if alike[SchemaNaming.DIRECT] > alike[SchemaNaming.DEFAULT] else SchemaNaming.DEFAULT
