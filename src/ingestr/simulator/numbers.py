"""Knows how a whole number is read from what a client wrote; must not know what it is for."""

from __future__ import annotations

import re

# As many digits as 64 bits hold: Python itself refuses numbers of thousands, and isdigit takes superscripts for digits.
_DIGITS = re.compile("[0-9]{1,18}")


def whole(text: str) -> int | None:
    """Return the number that a text of at most 18 digits is, or None."""
    return int(text) if _DIGITS.fullmatch(text) else None
