"""SOQL against a model: random conditions find the rows that plain Python finds in the org's own table."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.talk import Talk

Row = dict[str, Any]
Condition = tuple[str, Callable[[Row], bool]]

TEXTS = (
    "Acme",
    "NA",
    "null",
    "=1+1",
    "back\\slash \\n \\",
    'said "yes", then "no"',
    "O'Brien",
    "007",
    "  leading",
    "Hot",
)
NUMBERS = (-1.0, 0.0, 0.1, 12345678.0, 500000.0, 9e15)
MOMENTS = (
    datetime(2023, 8, 1, tzinfo=UTC),
    datetime(2024, 9, 1, 12, 30, tzinfo=UTC),
    datetime(2025, 5, 31, 23, tzinfo=UTC),
)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text_is(field: str, value: str, *, negative: bool) -> Condition:
    def test(row: Row) -> bool:
        same = row[field] is not None and row[field].lower() == value.lower()
        return same != negative

    return f"{field} {'!=' if negative else '='} {_quoted(value)}", test


def _text_like(field: str, part: str) -> Condition:
    pattern = re.compile(f".*{re.escape(part.lower())}.*", re.DOTALL)
    escaped = _quoted(part).replace("%", "\\%").replace("_", "\\_")
    soql = f"{field} LIKE '%{escaped[1:-1]}%'"
    return soql, lambda row: row[field] is not None and pattern.fullmatch(row[field].lower()) is not None


def _number(field: str, operator: str, value: float) -> Condition:
    return f"{field} {operator} {value!r}", lambda row: row[field] is not None and COMPARE[operator](row[field], value)


def _moment(field: str, operator: str, value: datetime) -> Condition:
    soql = f"{field} {operator} {value:%Y-%m-%dT%H:%M:%SZ}"
    return soql, lambda row: COMPARE[operator](row[field], value)


def _null(field: str, *, negative: bool) -> Condition:
    return f"{field} {'!=' if negative else '='} null", lambda row: (row[field] is None) != negative


def _among(field: str, values: list[str], *, negative: bool) -> Condition:
    lowered = {value.lower() for value in values}
    soql = f"{field} {'NOT ' if negative else ''}IN ({', '.join(map(_quoted, values))})"
    return soql, lambda row: (row[field] is not None and row[field].lower() in lowered) != negative


def _joined(word: str, parts: list[Condition]) -> Condition:
    gathered = all if word == "AND" else any
    return "(" + f" {word} ".join(soql for soql, _ in parts) + ")", lambda row: gathered(test(row) for _, test in parts)


def _negated(part: Condition) -> Condition:
    return f"(NOT {part[0]})", lambda row: not part[1](row)


texts, fields = st.sampled_from(TEXTS), st.sampled_from(("Name", "Rating", "Fax", "Site"))
leaves = st.one_of(
    st.builds(_text_is, fields, texts, negative=st.booleans()),
    st.builds(_text_like, fields, st.sampled_from(("a", "1", "%", "_", "\\", "'", "n\n"))),
    st.builds(_number, st.just("AnnualRevenue"), st.sampled_from(sorted(COMPARE)), st.sampled_from(NUMBERS)),
    st.builds(_moment, st.just("SystemModstamp"), st.sampled_from(sorted(COMPARE)), st.sampled_from(MOMENTS)),
    st.builds(_null, fields, negative=st.booleans()),
    st.builds(_among, fields, st.lists(texts, min_size=1, max_size=4), negative=st.booleans()),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(_joined, st.sampled_from(("AND", "OR")), st.lists(inner, min_size=2, max_size=3)),
        st.builds(_negated, inner),
    ),
    max_leaves=6,
)


class Model:
    """The rows of an org's accounts, read once."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def rows(self, talk: Talk) -> list[Row]:
        """Return the rows."""
        self._rows = self._rows or talk.org.table("Account").to_pylist()
        return self._rows


@pytest.fixture(scope="module")
def model() -> Model:
    """What plain Python knows."""
    return Model()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=conditions)
def test_conditions_agree_with_the_model(talk: Talk, model: Model, condition: Condition) -> None:
    """Two truth values, text without case, null neither equal nor less."""
    soql, test = condition
    found = {record["Id"] for record in talk.query(f"SELECT Id FROM Account WHERE {soql}")}
    assert found == {row["Id"] for row in model.rows(talk) if test(row)}, soql
