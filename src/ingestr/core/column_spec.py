"""What a user writes behind ``--columns``: ``name:type``, ``name:type:source`` or ``name::source``. Knows no data."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingestr.errors import ConfigurationError
from ingestr.flags import Flag

# Words of the user → the type, in the SQL that sqlglot spells for every engine.
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("bool", "boolean"), "BOOLEAN"),
    **dict.fromkeys(("tinyint", "int8"), "TINYINT"),
    **dict.fromkeys(("smallint", "int16"), "SMALLINT"),
    **dict.fromkeys(("int", "integer", "int32"), "INT"),
    **dict.fromkeys(("bigint", "int64", "long"), "BIGINT"),
    **dict.fromkeys(("float", "real", "float32", "float4"), "FLOAT"),
    **dict.fromkeys(("double", "float64", "float8"), "DOUBLE"),
    **dict.fromkeys(("decimal", "numeric"), "DECIMAL"),
    **dict.fromkeys(("string", "text", "varchar"), "TEXT"),
    "date": "DATE",
    "time": "TIME",
    **dict.fromkeys(("timestamp", "timestamptz", "datetime"), "TIMESTAMPTZ"),
    "timestamp_ntz": "TIMESTAMP",
    "json": "JSON",
    "jsonb": "JSONB",
    "uuid": "UUID",
}
# No field that is read holds bytes, and text is none.
_BYTES = ("binary", "bytes", "blob")
_TYPE = re.compile(r"\s*([a-z_0-9]+)\s*(?:\(\s*(\d{1,9})\s*(?:,\s*(\d{1,9})\s*)?\))?\s*", re.IGNORECASE | re.ASCII)
_BETWEEN = re.compile(r",(?![^()]*\))")
_MOST_DIGITS = 38


@dataclass(frozen=True)
class ColumnSpec:
    """One column as it was asked for.

    Args:
        name: what the user calls the column; its new name where ``source`` is given.
        type: its SQL type; None where it is the field's own.
        source: the field that it holds; None where the name tells.
        length: the most characters of ``varchar(n)``, or None.
    """

    name: str
    type: str | None
    source: str | None
    length: int | None = None


def parse_columns(texts: Iterable[str]) -> tuple[ColumnSpec, ...]:
    """Columns from what the user wrote; several may stand in one text with commas between them.

    Raises:
        ConfigurationError: a column without a name, or a type that there is not.
    """
    parts = [part for text in texts for part in _BETWEEN.split(text)]
    return tuple(_parse(part) for part in parts if part.strip())


def _parse(text: str) -> ColumnSpec:
    parts = [part.strip() for part in text.split(":")]
    name, type_, source = [*parts, "", ""][:3]
    if len(parts) > 3 or not name or (not type_ and not source):
        raise ConfigurationError(f"{Flag.COLUMNS} {text.strip()!r} is not name:type, name:type:source or name::source")
    if not type_:
        return ColumnSpec(name, None, source)
    found = _TYPE.fullmatch(type_)
    word = found[1].lower() if found else ""
    if word in _BYTES:
        raise ConfigurationError(
            f"{Flag.COLUMNS} {name}:{word}: no field that is read holds bytes", hint="text holds every value of a field"
        )
    if found is None or word not in _WORDS:
        raise ConfigurationError(f"{Flag.COLUMNS} {name} has no type {type_!r}", hint=f"one of: {', '.join(_WORDS)}")
    numbers = tuple(int(number) for number in found.groups()[1:] if number is not None)
    kind, length = _with_numbers(name, word, numbers)
    return ColumnSpec(name, kind, source or None, length)


def _with_numbers(name: str, word: str, numbers: tuple[int, ...]) -> tuple[str, int | None]:
    """The type with what stands in its brackets, and its length."""
    kind = _WORDS[word]
    if kind == "DECIMAL":
        digits, scale = [*numbers, 0][:2] if numbers else (0, 0)
        if not 1 <= digits <= _MOST_DIGITS or scale > digits:
            raise ConfigurationError(
                f"{Flag.COLUMNS} {name}:{word} needs its digits: from 1 to {_MOST_DIGITS}, and how many of them stand "
                "behind the point",
                hint=f"{name}:{word}(18,2), say",
            )
        return f"DECIMAL({digits}, {scale})", None
    if numbers and (word != "varchar" or len(numbers) > 1 or numbers[0] < 1):
        raise ConfigurationError(
            f"{Flag.COLUMNS} {name}:{word} takes nothing in brackets like these",
            hint="decimal(18,2) and varchar(255) do",
        )
    return (f"VARCHAR({numbers[0]})", numbers[0]) if numbers else (kind, None)
