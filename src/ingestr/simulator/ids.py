"""Knows how a record Id is built and checked, in Python and as SQL; must not know which objects exist.

An Id is 3 characters of key prefix, 2 of instance, 1 reserved and 9 of sequence, all base 62; the 18-character form
adds one checksum character for each group of five, which says which of the five are upper-case letters.
"""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
INSTANCE = "gK"
# Steps between neighbours keep the last digits busy, so that Ids of a small table differ in letters of both cases.
FIRST_SEQUENCE, SEQUENCE_STEP = 1_003, 61


def checksum(id15: str) -> str:
    """Return the three characters that make a 15-character Id safe where case is lost."""
    groups = (id15[start : start + 5] for start in (0, 5, 10))
    return "".join(
        CHECK_ALPHABET[sum(1 << place for place, char in enumerate(group) if "A" <= char <= "Z")] for group in groups
    )


def to_18(text: str) -> str | None:
    """Return the 18-character form of an Id, or None when `text` is no Id."""
    if len(text) not in {15, 18} or any(char not in ALPHABET for char in text):
        return None
    full = text[:15] + checksum(text[:15])
    return full if len(text) == 15 or text == full else None


def key_prefix(prefix: str) -> str:
    """Return the three characters that Ids begin with, also for objects whose describe shows none."""
    return prefix if len(prefix) == 3 else "017"


def record_id(prefix: str, row: int) -> str:
    """Return the Id of the row of that number in the object with that key prefix."""
    sequence = FIRST_SEQUENCE + row * SEQUENCE_STEP
    prefix = key_prefix(prefix)
    digits = ""
    for _ in range(9):
        sequence, digit = divmod(sequence, 62)
        digits = ALPHABET[digit] + digits
    id15 = prefix + INSTANCE + "0" + digits
    return id15 + checksum(id15)


def id_tail(row: int) -> str:
    """Return what the Ids of that row have in common in every object: ten characters and two of the checksum."""
    whole = record_id("000", row)
    return whole[5:15] + whole[16:]


def record_id_sql(prefix: str, row: str) -> str:
    """Return SQL for `record_id`, where `row` is an SQL expression of a row number."""
    return join_tail_sql(prefix, f"record_id_tail(CAST({row} AS BIGINT))")


def join_tail_sql(prefix: str, tail: str) -> str:
    """Return SQL for an Id, where `tail` is SQL for what `id_tail` returns."""
    head = key_prefix(prefix) + INSTANCE
    check = checksum(head + "0" * 10)[0]
    return f"'{head}' || substr({tail}, 1, 10) || '{check}' || substr({tail}, 11, 2)"


def _macro() -> str:
    sequence = f"({FIRST_SEQUENCE} + n * {SEQUENCE_STEP})"
    digits = [f"({sequence} // {62**place} % 62)" for place in range(8, -1, -1)]
    text = " || ".join(f"substr('{ALPHABET}', CAST({digit} AS INTEGER) + 1, 1)" for digit in digits)
    checks = []
    for group in (["0", *digits[:4]], digits[4:]):
        bits = " + ".join(
            f"CASE WHEN {digit} BETWEEN 10 AND 35 THEN {1 << place} ELSE 0 END" for place, digit in enumerate(group)
        )
        checks.append(f"substr('{CHECK_ALPHABET}', {bits} + 1, 1)")
    return f"CREATE MACRO record_id_tail(n) AS '0' || {text} || {checks[0]} || {checks[1]}"


MACROS = (_macro(),)
