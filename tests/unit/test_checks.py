"""What an answer says of rows, Ids and addresses leads nowhere unchecked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.errors import SourceError
from ingestr.sources.salesforce.http.checks import address, id_in, is_id, is_version, locator, rows_in, rows_of_header
from ingestr.sources.salesforce.http.shapes import Answer

SINGLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SINGLE, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@pytest.mark.parametrize(
    ("value", "rows"),
    [(0, 0), (7, 7), ("2500", 2500), (12.0, 12), (-1, None), ("-1", None), (None, None), (-5, None)],
)
def test_numbers_of_rows(value: Any, rows: int | None) -> None:
    """Pages of rows hold numbers as texts; what is below zero is not known."""
    assert rows_in(Answer({"n": value}, "counting"), "n") == rows
    assert rows_in(Answer({}, "counting"), "n") is None


@pytest.mark.parametrize(
    "value", ["many", "", " 1", "1.5", 1.5, True, [], {}, 1e400, float("nan"), "9" * 5_000, "²", "1e3"]
)
def test_what_is_no_number_of_rows(value: Any) -> None:
    """Anything else is an answer of another shape."""
    with pytest.raises(SourceError, match="no number of rows"):
        rows_in(Answer({"n": value}, "counting"), "n")


@given(JSON)
def test_no_value_is_a_bug(value: Any) -> None:
    """Whatever stands in an answer is taken, or is the answer's fault."""
    answer = Answer({"x": value}, "doing")
    for check in (lambda: rows_in(answer, "x"), lambda: id_in(answer, "x"), lambda: address(value, "doing")):
        try:
            check()
        except SourceError as error:
            assert "not what Salesforce's API gives" in str(error)
    assert is_id(value) in (True, False)
    assert is_version(value) in (True, False)


@pytest.mark.parametrize("text", ["001000000000001", "001000000000001AAA", "750gK00000000J8QAI"])
def test_ids(text: str) -> None:
    """15 characters, or 18 with the checksum."""
    assert is_id(text)


@pytest.mark.parametrize(
    "text", ["", "750", "001000000000001AA", "../00000000001", "00100000000000é", "001000000000001\n", 5]
)
def test_what_is_no_id(text: object) -> None:
    """Another length, other characters."""
    assert not is_id(text)


def test_addresses() -> None:
    """Paths of the API, with whatever their queries hold."""
    for good in (
        "/services/data/v67.0/query/01g-2000",
        "/services/data/v67.0/jobs/query/750/results?locator=a..b&x=%2F",
    ):
        assert address(good, "reading") == good


@pytest.mark.parametrize(("text", "place"), [("", None), ("null", None), ("MTAw", "MTAw"), ("a+b/c==", "a+b/c==")])
def test_locators(text: str, place: str | None) -> None:
    """The word null, and nothing, stand for the end."""
    assert locator(text, "reading") == place


@pytest.mark.parametrize(
    ("text", "rows"), [("25000", 25_000), ("0", 0), ("", None), ("²", None), ("-1", None), ("9" * 99, None)]
)
def test_rows_of_a_page(text: str, rows: int | None) -> None:
    """A header that tells no number tells nothing."""
    assert rows_of_header(text) == rows
