"""Knows how the platform writes a value of each type, in JSON and in CSV, as SQL; must not know HTTP or SOQL.

Everything here works on whole columns: a million rows are written without a step per row in Python.
"""

from __future__ import annotations

from ingestr.simulator.model import FLOAT_TYPES

# Java's Double.toString: plain from 1.0E-3 up to 1.0E7, else one digit, a point and an exponent.
MACROS = (
    """CREATE MACRO java_mantissa(digits) AS
        substr(digits, 1, 1) || '.' || CASE WHEN length(digits) > 1 THEN substr(digits, 2) ELSE '0' END""",
    """CREATE MACRO java_exponent_form(text) AS (
        CASE WHEN strpos(text, 'e') > 0 THEN
            (split_part(text, 'e', 1) || CASE WHEN strpos(split_part(text, 'e', 1), '.') > 0 THEN '' ELSE '.0' END)
            || 'E' || CAST(CAST(replace(split_part(text, 'e', 2), '+', '') AS INTEGER) AS VARCHAR)
        WHEN text LIKE '0.%' THEN
            java_mantissa(ltrim(split_part(text, '.', 2), '0'))
            || 'E-'
            || CAST(length(split_part(text, '.', 2)) - length(ltrim(split_part(text, '.', 2), '0')) + 1 AS VARCHAR)
        ELSE java_mantissa(rtrim(replace(text, '.', ''), '0'))
            || 'E' || CAST(length(split_part(text, '.', 1)) - 1 AS VARCHAR) END)""",
    """CREATE MACRO java_double(d) AS (
        CASE WHEN d = 0 OR (abs(d) >= 0.001 AND abs(d) < 10000000) THEN CAST(d AS VARCHAR)
        WHEN isnan(d) THEN 'NaN' WHEN isinf(d) THEN CASE WHEN d > 0 THEN 'Infinity' ELSE '-Infinity' END
        ELSE (CASE WHEN d < 0 THEN '-' ELSE '' END) || java_exponent_form(CAST(abs(d) AS VARCHAR)) END)""",
)
_PLAIN = frozenset({"boolean", "int", "long", "date"})


def text_sql(kind: str, column: str, *, bulk: bool) -> str:
    """Return SQL for the text of a value of that type; null stays null.

    Args:
        kind: the field's type.
        column: SQL of the value.
        bulk: Bulk API's form of a datetime (`Z`) instead of REST's (`+0000`).
    """
    if kind in FLOAT_TYPES:
        return f"java_double({column})"
    if kind in _PLAIN:
        return f"CAST({column} AS VARCHAR)"
    if kind == "datetime":
        return f"replace(substr(CAST({column} AS VARCHAR), 1, 19), ' ', 'T') || '{'.000Z' if bulk else '.000+0000'}'"
    if kind == "time":
        return f"strftime(DATE '2000-01-01' + {column}, '%H:%M:%S.%g') || 'Z'"
    return column


def is_json_literal(kind: str) -> bool:
    """Whether JSON shows the text of such a value without quotes."""
    return kind in FLOAT_TYPES or kind in {"boolean", "int", "long"}
