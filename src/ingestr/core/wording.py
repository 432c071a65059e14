"""Words for people: numbers with their nouns, and texts that a terminal shows as they are. Knows nothing else."""

import unicodedata


def counted(number: int, noun: str) -> str:
    """``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock_time(seconds: float) -> str:
    """``0:07``, ``12:03``, ``3:00:59``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


# Characters that turn the direction of what follows, so that a text reads as another one.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text with what would steer a terminal written as an escape; line breaks and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    return character in _TURNING or (unicodedata.category(character) in ("Cc", "Zl", "Zp") and character not in "\n\t")


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"
