"""What becomes of the columns' values in one run: settled, or refused, before the first row. Knows no platform."""

from collections.abc import Callable

from ingestr.core.mask_spec import FIT_FOR_KEYS, KEYED, Algorithm, MaskSpec
from ingestr.core.masking import Mask, masked_type
from ingestr.core.schema import Column
from ingestr.core.secret import Secret
from ingestr.core.transforms import Treatment
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.options import ReadOptions
from ingestr.run.reading import FieldNames, Reading
from ingestr.sources.base import Stream
from ingestr.strategies.base import Traits


def settle_treatment(
    stream: Stream,
    options: ReadOptions,
    names: FieldNames,
    reading: Reading,
    traits: Traits,
    key: Callable[[], Secret],
) -> Treatment:
    """Trimming and masks by source field.

    Args:
        stream: what there is.
        options: what the user wants.
        names: what the user's names stand for.
        reading: what is read.
        traits: of the strategy.
        key: gives the key of the masks that need one; called only if there is such a mask.

    Raises:
        ConfigurationError: a column that there is not, a mask that makes nothing of the column's type, or one of a
            column whose values the load needs as they are.
    """
    specs: dict[str, MaskSpec] = {}
    for spec in options.mask:
        name = names.find(spec.column, "column to mask")
        if name in specs:
            raise ConfigurationError(f"{Flag.MASK} names {names.columns[name]} twice", hint="leave out one of them")
        _check_role(stream, reading, traits, name, spec)
        specs[name] = spec
    columns = {column.name: column for column in (*stream.schema.columns, *reading.fields)}
    for name, spec in specs.items():
        masked_type(spec, columns[name].type)
    kept = key() if any(spec.algorithm in KEYED for spec in specs.values()) else None
    return Treatment(options.trim_whitespace, {name: _mask(columns[name], spec, kept) for name, spec in specs.items()})


def _mask(column: Column, spec: MaskSpec, key: Secret | None) -> Mask:
    return Mask(spec, column.type, key if spec.algorithm in KEYED else None)


def needed_fields(stream: Stream, reading: Reading, traits: Traits) -> dict[str, str]:
    """Fields whose values the load looks at, each with what it tells by them; keys are not among them."""
    roles = [
        (reading.cursor_field, "which rows to read"),
        (stream.changed_field, "which of two versions of a row is newer"),
        (stream.deleted_field, "which rows are deleted"),
    ]
    if not traits.whole:
        roles.append((stream.created_field, "which rows were there at a moment"))
    return {name: role for name, role in reversed(roles) if name is not None}


def _check_role(stream: Stream, reading: Reading, traits: Traits, name: str, spec: MaskSpec) -> None:
    """Refuse a mask of what the load needs as it is."""
    role = needed_fields(stream, reading, traits).get(name)
    if role is not None:
        raise ConfigurationError(
            f"{Flag.MASK} {spec.column}:{spec.algorithm}: the load tells by {name} {role}",
            hint="leave the mask out; such a column says when a row was changed, not whom it is about",
        )
    replaced = traits.whole
    if spec.algorithm is Algorithm.SEQUENTIAL and not replaced:
        raise ConfigurationError(
            f"{Flag.MASK} {spec.column}:sequential: {stream.source_object} is written by {traits.name}, and each run "
            "would count anew",
            hint=f"uuid gives each value a name that stays: {Flag.MASK} {spec.column}:uuid",
        )
    fit = FIT_FOR_KEYS | ({Algorithm.SEQUENTIAL} if replaced else set())
    if name in reading.primary_key and spec.algorithm not in fit:
        raise ConfigurationError(
            f"{Flag.MASK} {spec.column}:{spec.algorithm}: {name} tells the rows apart, and so masked it would not",
            hint="hash, hmac and uuid do",
        )
