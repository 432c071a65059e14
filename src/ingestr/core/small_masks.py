"""What a mask makes of one value, where Arrow has no function for it. Knows no column and no option."""

import hashlib
import hmac
import math
from decimal import Context, Decimal
from typing import TypeVar

_Number = TypeVar("_Number", int, float, Decimal)

_INT64 = (1 << 63) - 1
# More digits than any decimal column has.
_EXACT = Context(prec=100)
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SPELLED = bytes(_LETTERS[i % len(_LETTERS)] for i in range(256))
# Digits of the subscriber's number: seven in North America, and nowhere many more.
_LOCAL, _PREFIX, _LONG_PREFIX = 7, 3, 4
_CARD = 4


def phone(text: str) -> str:
    """The country and area code of a number, at most four digits of it, and how it is written."""
    digits = sum(each.isdecimal() for each in text)
    most = _LONG_PREFIX if text.lstrip().startswith("+") or digits == _LOCAL + _LONG_PREFIX else _PREFIX
    shown = max(0, min(digits - _LOCAL, most))
    made = []
    for each in text:
        if each.isdecimal() and shown > 0:
            shown -= 1
            made.append(each)
        else:
            # Letters are a part of numbers that are meant to be remembered, or say whose number it is.
            made.append("*" if each.isalnum() else each)
    return "".join(made)


def card(text: str) -> str:
    """The last four digits, and how the number is written; nothing of a text that has no more characters."""
    count = sum(each.isalnum() for each in text)
    hidden = count - _CARD if count > _CARD else count
    made = []
    for each in text:
        if each.isalnum():
            made.append(each if hidden <= 0 and each.isdecimal() else "*")
            hidden -= 1
        else:
            made.append(each)
    return "".join(made)


def keyed_uuid(key: bytes, value: bytes) -> str:
    """A UUID that is the same for the same value and key; 122 of its bits tell values apart."""
    text = hmac.digest(key, value, "sha256").hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def keyed_text(key: bytes, text: str) -> str:
    """Letters and digits, as many as the text has characters."""
    return hashlib.shake_256(key + text.encode()).digest(len(text)).translate(_SPELLED).decode()


def keyed_number(key: bytes, number: _Number) -> _Number:
    """A number of as many digits before the point, of the same sign."""
    share = _share(key, number)
    if isinstance(number, int):
        least, end = _decade(abs(number))
        whole = min(least + int(share * (end - least)), _INT64)
        return whole if number >= 0 else -whole
    if not math.isfinite(number):
        return number
    least, end = _decade(int(abs(number)))
    try:
        return type(number)(math.copysign(round(least + share * (end - least), 2), number))
    except OverflowError:
        return number * 0


def _decade(number: int) -> tuple[int, int]:
    digits = len(str(number))
    return (0 if digits == 1 else 10 ** (digits - 1)), 10**digits


def keyed_noise(key: bytes, number: _Number, fraction: float) -> _Number:
    """The number, moved by up to this fraction of itself to either side."""
    move = (2 * _share(key, number) - 1) * fraction
    if isinstance(number, int):
        # Steps of a billionth, so that large numbers are not moved by way of doubles.
        return max(-_INT64, min(_INT64, number + round(number * round(move * 10**9) / 10**9)))
    if isinstance(number, Decimal):
        return _EXACT.quantize(_EXACT.add(number, _EXACT.multiply(number, Decimal(move))), number)
    moved = number * (1 + move)
    return moved if math.isfinite(moved) else number * (1 - abs(move))


def _share(key: bytes, number: object) -> float:
    """From 0 up to 1, by the number and the key."""
    return int.from_bytes(hmac.digest(key, str(number).encode(), "sha256")[:6], "little") / (1 << 48)


def rounded(number: _Number, step: int) -> _Number:
    """The nearest multiple of ``step``; of two that are equally near, the greater."""
    if isinstance(number, int):
        below = number // step * step
        return below + step if 2 * (number - below) >= step and below + step <= _INT64 else max(below, -_INT64)
    if isinstance(number, Decimal):
        under = math.floor(number) // step * step
        above = 2 * _EXACT.subtract(number, Decimal(under)) >= step
        return _EXACT.quantize(Decimal(under + step if above else under), number)
    return math.floor(number / step + 0.5) * float(step) if math.isfinite(number) else number


def range_of(number: float | Decimal, step: int) -> str:
    """``40000-50000`` for what is 40000 or more, and less than 50000."""
    if not math.isfinite(number):
        return "no number"
    below = math.floor(number) // step * step
    return f"{below}-{below + step}"
