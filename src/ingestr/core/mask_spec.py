"""What a user writes behind ``--mask``: ``column:algorithm[:parameter]``. Knows no data and no table.

It imports no Arrow, as options are read before anything heavy is.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag


class Algorithm(StrEnum):
    """How a value is made unreadable; ``sha256`` is another word for ``hash``."""

    HASH = "hash"
    MD5 = "md5"
    HMAC = "hmac"
    EMAIL = "email"
    PHONE = "phone"
    CREDIT_CARD = "credit_card"
    SSN = "ssn"
    REDACT = "redact"
    STARS = "stars"
    FIXED = "fixed"
    RANDOM = "random"
    PARTIAL = "partial"
    FIRST_LETTER = "first_letter"
    UUID = "uuid"
    SEQUENTIAL = "sequential"
    ROUND = "round"
    RANGE = "range"
    NOISE = "noise"
    DATE_SHIFT = "date_shift"
    YEAR_ONLY = "year_only"
    MONTH_YEAR = "month_year"


# What each needs a key for: the same value becomes the same in every run, and nobody without the key can try values.
KEYED = frozenset({Algorithm.RANDOM, Algorithm.UUID, Algorithm.NOISE, Algorithm.DATE_SHIFT})
# Different values stay different, and the same value stays the same: rows can still be found by them.
FIT_FOR_KEYS = frozenset({Algorithm.HASH, Algorithm.MD5, Algorithm.HMAC, Algorithm.UUID})
_DEFAULTS = {
    Algorithm.FIXED: "MASKED",
    Algorithm.PARTIAL: "2",
    Algorithm.ROUND: "10",
    Algorithm.RANGE: "100",
    Algorithm.NOISE: "0.1",
    Algorithm.DATE_SHIFT: "30",
}
_COUNTS = {
    Algorithm.PARTIAL: 1_000,
    Algorithm.ROUND: 10**15,
    Algorithm.RANGE: 10**15,
    # A hundred years: dates of Salesforce stay dates.
    Algorithm.DATE_SHIFT: 36_500,
}
_COUNT = re.compile(r"[0-9]{1,18}")
_WORDS = {**{each.value: each for each in Algorithm}, "sha256": Algorithm.HASH}
# A comma begins another mask where one follows; any other belongs to the text or the key before it.
_BETWEEN = re.compile(r",(?=\s*[^\s:,]+\s*:\s*(?:" + "|".join(_WORDS) + r")\s*(?:[:,]|$))", re.IGNORECASE)


@dataclass(frozen=True)
class MaskSpec:
    """One mask as it was asked for.

    Args:
        column: the column as the user calls it.
        algorithm: what becomes of its values.
        parameter: the parameter, or its default; empty where the algorithm takes none. The key of ``hmac`` is a secret.
    """

    column: str
    algorithm: Algorithm
    parameter: Secret

    @property
    def number(self) -> int:
        """The parameter of those that take a whole number."""
        return int(self.parameter.reveal())

    @property
    def fraction(self) -> float:
        """The parameter of ``noise``."""
        return float(self.parameter.reveal())


def parse_masks(texts: Iterable[str]) -> tuple[MaskSpec, ...]:
    """Masks from what the user wrote; several may stand in one text with commas between them.

    Raises:
        ConfigurationError: a mask without column or algorithm, an algorithm that there is not, or a parameter that it
            does not take. No message repeats a parameter, which may be a key.
    """
    return tuple(_parse(part) for text in texts for part in _BETWEEN.split(text))


def _parse(text: str) -> MaskSpec:
    column, *rest = text.split(":", 2)
    column, word = column.strip(), rest[0].strip().lower() if rest else ""
    if not column or not word:
        what = f"{column!r} names no algorithm" if column else "a mask names no column"
        raise ConfigurationError(
            f"{Flag.MASK}: {what}, and nothing is loaded that should be masked",
            hint=f"write column:algorithm or column:algorithm:parameter: {Flag.MASK} email:hash, say",
        )
    algorithm = _WORDS.get(word)
    if algorithm is None:
        raise ConfigurationError(
            f"{Flag.MASK} does not know the algorithm {word[:40]!r} for {column}", hint=f"one of: {', '.join(_WORDS)}"
        )
    given = rest[1] if len(rest) > 1 else None
    if reason := _wrong_parameter(algorithm, given):
        raise ConfigurationError(f"{Flag.MASK} {column}:{word} {reason}")
    public = algorithm is not Algorithm.HMAC
    return MaskSpec(column, algorithm, Secret(given or _DEFAULTS.get(algorithm, ""), public=public))


def _wrong_parameter(algorithm: Algorithm, given: str | None) -> str:
    """What is wrong with a parameter, if anything."""
    if algorithm is Algorithm.HMAC:
        return "" if given else "needs a key: hmac:<key>"
    if given is None or algorithm is Algorithm.FIXED:
        return ""
    most = _COUNTS.get(algorithm)
    if most is not None:
        fits = _COUNT.fullmatch(given) and 1 <= int(given) <= most
        return "" if fits else f"takes a whole number from 1 to {most}"
    if algorithm is Algorithm.NOISE:
        return "" if _is_fraction(given) else "takes a fraction above 0 and up to 1, 0.1 for ten percent"
    return "takes no parameter"


def _is_fraction(text: str) -> bool:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    return number.is_finite() and Decimal("0.000001") <= number <= 1
