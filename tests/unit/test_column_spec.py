"""What a user may write behind ``--columns``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.core.column_spec import ColumnSpec, parse_columns
from ingestr.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("a:text", [ColumnSpec("a", "TEXT", None)]),
        (
            "a:DECIMAL(18,2),b:numeric( 5 )",
            [ColumnSpec("a", "DECIMAL(18, 2)", None), ColumnSpec("b", "DECIMAL(5, 0)", None)],
        ),
        (" a : varchar(20) : My_Field__c ", [ColumnSpec("a", "VARCHAR(20)", "My_Field__c", 20)]),
        ("a::B", [ColumnSpec("a", None, "B")]),
        ("a:timestamp, ,b:timestamp_ntz,", [ColumnSpec("a", "TIMESTAMPTZ", None), ColumnSpec("b", "TIMESTAMP", None)]),
        ("a:Long,b:float4", [ColumnSpec("a", "BIGINT", None), ColumnSpec("b", "FLOAT", None)]),
    ],
)
def test_columns_are_understood(text: str, specs: list[ColumnSpec]) -> None:
    """Several in one text, in any case, with white space; a comma within brackets belongs to the type."""
    assert list(parse_columns([text])) == specs


@pytest.mark.parametrize(
    "text",
    ["a", "a:", ":text", "::B", "a:b:c:d", "a:decimal", "a:decimal(0,0)", "a:decimal(5,6)", "a:decimal(39,1)",
     "a:int(5)", "a:varchar(0)", "a:varchar(5,2)", "a:txt", "a:blob", "a:decimal(1,2,3)", "a:decimal(x)", "a:text)"],
)  # fmt: skip
def test_what_is_no_column_is_refused(text: str) -> None:
    """The error names the column or what was written."""
    with pytest.raises(ConfigurationError, match="--columns"):
        parse_columns([text])


@given(st.text(max_size=30))
def test_any_text_is_a_column_or_an_error(text: str) -> None:
    """Nothing else comes of it."""
    try:
        specs = parse_columns([text])
    except ConfigurationError:
        return
    assert all(spec.name and (spec.type or spec.source) for spec in specs)
