"""Makes values unreadable: what each algorithm makes of each Arrow type is decided by one table.

Null stays null. What needs a key takes what is random in it from HMAC over the value: the same value becomes the same
in every run, so that merges find their rows, and nobody without the key can find a value by trying all that there are.
"""

import hashlib
import hmac
import secrets
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.lib import StringBuilder

from ingestr.core.mask_spec import KEYED, Algorithm, MaskSpec
from ingestr.core.secret import Secret
from ingestr.core.small_masks import card, keyed_noise, keyed_number, keyed_text, keyed_uuid, phone, range_of, rounded
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag

_TEXT, _WHOLE = pa.string(), pa.int64()
_STARS = "(?s)."
# The part before the last @, of two characters or more, and a domain that holds nothing else.
_EMAIL, _SHORT_EMAIL = r"(?s)^(.).+@([\pL\pN.-]+)$", r"(?s)^.?@([\pL\pN.-]+)$"
_EPOCH_DAYS = range(-719_162, 2_932_897)
_DAY = 86_400_000_000

# Kinds of types, and what an algorithm makes of each: a type, the same type (None), or nothing where it has no entry.
_ANY = ("text", "whole", "real", "decimal", "boolean", "date", "moment", "time", "binary")
_CHARACTERS = dict.fromkeys(("text", "whole"), _TEXT)
_NUMBERS: dict[str, pa.DataType | None] = {"whole": _WHOLE, "real": None, "decimal": None}
_DAYS = ("date", "moment")
_RESULTS: Mapping[Algorithm, Mapping[str, pa.DataType | None]] = {
    **dict.fromkeys(
        (
            Algorithm.HASH,
            Algorithm.MD5,
            Algorithm.HMAC,
            Algorithm.REDACT,
            Algorithm.FIXED,
            Algorithm.UUID,
        ),
        dict.fromkeys(_ANY, _TEXT),
    ),
    # Bytes may be no characters.
    Algorithm.STARS: dict.fromkeys(_ANY[:-1], _TEXT),
    **dict.fromkeys(
        (
            Algorithm.EMAIL,
            Algorithm.PHONE,
            Algorithm.CREDIT_CARD,
            Algorithm.SSN,
            Algorithm.PARTIAL,
            Algorithm.FIRST_LETTER,
        ),
        _CHARACTERS,
    ),
    Algorithm.RANDOM: {"text": _TEXT, "whole": _WHOLE, "real": None},
    Algorithm.SEQUENTIAL: dict.fromkeys(_ANY, _WHOLE),
    Algorithm.ROUND: _NUMBERS,
    Algorithm.RANGE: dict.fromkeys(("whole", "real", "decimal"), _TEXT),
    Algorithm.NOISE: _NUMBERS,
    Algorithm.DATE_SHIFT: dict.fromkeys(_DAYS),
    Algorithm.YEAR_ONLY: dict.fromkeys(_DAYS, _WHOLE),
    Algorithm.MONTH_YEAR: dict.fromkeys(_DAYS, _TEXT),
}
_WANTED = {
    "text": "texts",
    "whole": "whole numbers",
    "real": "numbers",
    "boolean": "booleans",
    "date": "dates",
    "moment": "datetimes",
    "time": "times",
}


def masked_type(spec: MaskSpec, type_: pa.DataType) -> pa.DataType:
    """The type of a column of this type once it is masked; the same for every row, and known before the first.

    Raises:
        ConfigurationError: the algorithm makes nothing of such values.
    """
    results = _RESULTS[spec.algorithm]
    kind = _kind(type_)
    if kind not in results:
        wanted = " and ".join(_WANTED[each] for each in results if each in _WANTED)
        raise ConfigurationError(
            f"{Flag.MASK} {spec.column}:{spec.algorithm} is for {wanted}, and the column is {type_}",
            hint="hash, redact, fixed and uuid take values of every type",
        )
    result = results[kind]
    if result is None and kind == "decimal":
        # What is rounded up may have one digit more.
        return pa.decimal128(38, type_.scale)
    return type_ if result is None else result


def _kind(type_: pa.DataType) -> str:
    checks: dict[str, Callable[[pa.DataType], bool]] = {
        "text": pa.types.is_string,
        "whole": pa.types.is_integer,
        "real": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "boolean": pa.types.is_boolean,
        "date": pa.types.is_date,
        "moment": pa.types.is_timestamp,
        "time": pa.types.is_time,
        "binary": pa.types.is_binary,
    }
    return next((kind for kind, is_one in checks.items() if is_one(type_)), "")


def new_key() -> Secret:
    """A random key for the masks that need one."""
    return Secret(secrets.token_hex(32))


@dataclass(frozen=True)
class Mask:
    """What becomes of one column's values.

    Args:
        spec: the mask as it was asked for.
        source: the type of the values before.
        key: of the masks that need one; None for the others.
    """

    spec: MaskSpec
    source: pa.DataType
    key: Secret | None = None
    _numbers: dict[Any, int] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def type(self) -> pa.DataType:
        """The type of the values after."""
        return masked_type(self.spec, self.source)

    @cached_property
    def kept(self) -> str:
        """What tells this mask from another, without a secret: of a key, a few characters of a keyed hash."""
        algorithm, parameter = self.spec.algorithm, self.spec.parameter.reveal()
        if algorithm is Algorithm.HMAC:
            return f"{algorithm} with the key {_fingerprint(parameter.encode())}"
        text = f"{algorithm}:{parameter}" if parameter else str(algorithm)
        return f"{text} with the key {_fingerprint(self._key)}" if algorithm in KEYED else text

    @cached_property
    def _key(self) -> bytes:
        """The key of this algorithm alone: what one shows tells nothing of another's."""
        if self.key is None:
            raise ConfigurationError(f"the mask {self.spec.algorithm} of {self.spec.column} needs a key")
        return hmac.digest(self.key.reveal().encode(), str(self.spec.algorithm).encode(), "sha256")

    def apply(self, values: pa.Array) -> pa.Array:
        """The values, masked: as many, in the same order, of ``type``."""
        masked: pa.Array = _MASKS[self.spec.algorithm](self, values)
        return masked

    def apply_to_text(self, value: str | None) -> str | None:
        """One value of a column of text, masked, as text."""
        masked = self.apply(_texts([value]))[0].as_py()
        return None if masked is None else str(masked)


def _fingerprint(key: bytes) -> str:
    return hmac.digest(key, b"which key", "sha256").hex()[:8]


def _as_text(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else pc.cast(values, _TEXT)


def _as_bytes(values: pa.Array) -> pa.Array:
    """What hashes are made of: the text of a value, in UTF-8."""
    return values if pa.types.is_binary(values.type) else pc.cast(_as_text(values), pa.binary())


def _texts(values: Iterable[str | None]) -> pa.Array:
    # Unlike pa.array, the builder does not import pandas where it is installed, which takes time.
    builder = StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def _wholes(values: Iterable[int]) -> pa.Array:
    data = array("q", values)
    return pa.Array.from_buffers(_WHOLE, len(data), [None, pa.py_buffer(data)])


def _each(values: pa.Array, masked: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """Mask each different value once."""
    encoded = pc.dictionary_encode(values)
    return pc.take(masked(encoded.dictionary.to_pylist()), encoded.indices)


def _hash(mask: Mask, values: pa.Array) -> pa.Array:
    make = hashlib.md5 if mask.spec.algorithm is Algorithm.MD5 else hashlib.sha256
    return _each(_as_bytes(values), lambda some: _texts(make(each).hexdigest() for each in some))


def _hmac(mask: Mask, values: pa.Array) -> pa.Array:
    key = mask.spec.parameter.reveal().encode()
    return _each(_as_bytes(values), lambda some: _texts(hmac.digest(key, each, "sha256").hex() for each in some))


def _uuid(mask: Mask, values: pa.Array) -> pa.Array:
    key = mask._key
    return _each(_as_bytes(values), lambda some: _texts(keyed_uuid(key, each) for each in some))


def _constant(mask: Mask, values: pa.Array) -> pa.Array:
    text = "REDACTED" if mask.spec.algorithm is Algorithm.REDACT else mask.spec.parameter.reveal()
    return pc.if_else(pc.is_valid(values), pa.scalar(text, _TEXT), pa.scalar(None, _TEXT))


def _stars(mask: Mask, values: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(_as_text(values), _STARS, "*")


def _partial(mask: Mask, values: pa.Array) -> pa.Array:
    """The first and last characters; all are hidden of a text that has no more than these."""
    text, shown = _as_text(values), mask.spec.number
    hidden = pc.replace_substring_regex(pc.utf8_slice_codeunits(text, shown, -shown), _STARS, "*")
    ends = pc.utf8_slice_codeunits(text, 0, shown), pc.utf8_slice_codeunits(text, -shown, None)
    parts = pc.binary_join_element_wise(ends[0], hidden, ends[1], "")
    return pc.if_else(pc.greater(pc.utf8_length(text), 2 * shown), parts, _stars(mask, text))


def _first_letter(mask: Mask, values: pa.Array) -> pa.Array:
    text = _as_text(values)
    hidden = pc.replace_substring_regex(pc.utf8_slice_codeunits(text, 1, None), _STARS, "*")
    parts = pc.binary_join_element_wise(pc.utf8_slice_codeunits(text, 0, 1), hidden, "")
    return pc.if_else(pc.greater(pc.utf8_length(text), 1), parts, _stars(mask, text))


def _email(mask: Mask, values: pa.Array) -> pa.Array:
    """``j***@example.com``; nothing is shown of a text that is no address, nor of a name of one letter."""
    text = _as_text(values)
    long = pc.replace_substring_regex(text, _EMAIL, r"\1***@\2")
    short = pc.replace_substring_regex(text, _SHORT_EMAIL, r"***@\1")
    other = pc.if_else(pc.match_substring_regex(text, _SHORT_EMAIL), short, "***")
    return pc.if_else(pc.match_substring_regex(text, _EMAIL), long, other)


def _phone(mask: Mask, values: pa.Array) -> pa.Array:
    return _each(_as_text(values), lambda some: _texts(map(phone, some)))


def _card(mask: Mask, values: pa.Array) -> pa.Array:
    return _each(_as_text(values), lambda some: _texts(map(card, some)))


def _random(mask: Mask, values: pa.Array) -> pa.Array:
    key = mask._key
    if pa.types.is_string(values.type):
        return _each(values, lambda some: _texts(keyed_text(key, each) for each in some))
    return _numbers_of(mask, values, lambda each: keyed_number(key, each))


def _noise(mask: Mask, values: pa.Array) -> pa.Array:
    key, fraction = mask._key, mask.spec.fraction
    return _numbers_of(mask, values, lambda each: keyed_noise(key, each, fraction))


def _round(mask: Mask, values: pa.Array) -> pa.Array:
    step = mask.spec.number
    return _numbers_of(mask, values, lambda each: rounded(each, step))


def _numbers_of(mask: Mask, values: pa.Array, make: Callable[[Any], Any]) -> pa.Array:
    if mask.type == _WHOLE:
        return _each(values, lambda some: _wholes(map(make, some)))
    return _each(values, lambda some: pa.array(list(map(make, some)), mask.type))


def _range(mask: Mask, values: pa.Array) -> pa.Array:
    step = mask.spec.number
    return _each(values, lambda some: _texts(range_of(each, step) for each in some))


def _sequential(mask: Mask, values: pa.Array) -> pa.Array:
    """The place at which a value was first seen, counted from 1."""
    numbers = mask._numbers
    return _each(_as_bytes(values), lambda some: _wholes([numbers.setdefault(each, len(numbers) + 1) for each in some]))


def _date_shift(mask: Mask, values: pa.Array) -> pa.Array:
    """Whole days, never none of them, to either side."""
    key, most = mask._key, mask.spec.number
    is_date = pa.types.is_date(values.type)
    plain = pc.cast(values.view(pa.int32() if is_date else _WHOLE), _WHOLE)
    unit = 1 if is_date else _per_day(values.type)

    def shifted(value: int) -> int:
        number = int.from_bytes(hmac.digest(key, b"%d" % value, "sha256")[:8], "little")
        days = 1 + number // 2 % most
        days = days if number % 2 else -days
        if value // unit + days not in _EPOCH_DAYS:
            days = -days
        return value + days * unit

    moved = _each(plain, lambda some: _wholes(map(shifted, some)))
    return (pc.cast(moved, pa.int32()) if is_date else moved).view(values.type)


def _per_day(type_: pa.DataType) -> int:
    return _DAY // {"s": 1_000_000, "ms": 1_000, "us": 1}[type_.unit]


def _year(mask: Mask, values: pa.Array) -> pa.Array:
    return pc.cast(pc.year(values), _WHOLE)


def _month(mask: Mask, values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(_as_text(values), 0, 7)


_MASKS: Mapping[Algorithm, Callable[[Mask, pa.Array], pa.Array]] = {
    Algorithm.HASH: _hash,
    Algorithm.MD5: _hash,
    Algorithm.HMAC: _hmac,
    Algorithm.UUID: _uuid,
    Algorithm.REDACT: _constant,
    Algorithm.FIXED: _constant,
    Algorithm.STARS: _stars,
    Algorithm.PARTIAL: _partial,
    Algorithm.FIRST_LETTER: _first_letter,
    Algorithm.EMAIL: _email,
    Algorithm.PHONE: _phone,
    Algorithm.CREDIT_CARD: _card,
    Algorithm.SSN: _card,
    Algorithm.RANDOM: _random,
    Algorithm.SEQUENTIAL: _sequential,
    Algorithm.ROUND: _round,
    Algorithm.RANGE: _range,
    Algorithm.NOISE: _noise,
    Algorithm.DATE_SHIFT: _date_shift,
    Algorithm.YEAR_ONLY: _year,
    Algorithm.MONTH_YEAR: _month,
}
