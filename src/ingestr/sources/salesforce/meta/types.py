"""Salesforce's field types as Arrow types. The types come from describe, never from the values."""

from dataclasses import dataclass, field

import pyarrow as pa

from ingestr.core.schema import MOST_DIGITS, TIMESTAMP
from ingestr.sources.base import Choice

ARROW_TYPES: dict[str, pa.DataType] = {
    "id": pa.string(),
    "reference": pa.string(),
    "masterrecord": pa.string(),
    "string": pa.string(),
    "textarea": pa.string(),
    "picklist": pa.string(),
    "multipicklist": pa.string(),
    "combobox": pa.string(),
    "email": pa.string(),
    "phone": pa.string(),
    "url": pa.string(),
    "encryptedstring": pa.string(),
    "anyType": pa.string(),
    "datacategorygroupreference": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int64(),
    "long": pa.int64(),
    "double": pa.float64(),
    "currency": pa.float64(),
    "percent": pa.float64(),
    "date": pa.date32(),
    "datetime": TIMESTAMP,
    "time": pa.time64("us"),
}

# Types whose values neither API gives as a column, and what the reader should know.
LEFT_OUT = {
    "address": None,  # its components are columns of their own
    "location": None,
    "base64": "binary content is not copied",
    "json": "JSON values cannot be read as a column",
    "complexvalue": "nested metadata cannot be read as a column",
    "byte": "binary content is not copied",
}
# Of a number in Salesforce.
_USUAL_DIGITS = 18
JUNCTION_LIST = "urn:JunctionIdListNames"


@dataclass(frozen=True)
class Field:
    """One field of a describe, as far as reading it needs.

    Args:
        name: its API name; for a field of a parent, the path that leads to it.
        type: Salesforce's type.
        soap_type: the type in SOAP.
        filterable: whether conditions may name it.
        sortable: whether rows may be ordered by it.
        nillable: whether it may be empty.
        calculated: whether its value changes without the row's timestamp moving.
        compound: the field of several values that it is a part of, or empty.
        relationship: the name under which a path goes on to the parent; empty where there is none.
        references: the objects that the parent may be of.
        label: what people call it.
        help: what people are told of it.
        choices: the values of a picklist.
        precision: digits of a number.
        scale: digits behind its point.
        length: the most characters of a text.
        custom: whether somebody added it to the object.
        formula: the text of a formula; empty of a roll-up, and where the user may not see it.
    """

    name: str
    type: str
    soap_type: str = ""
    filterable: bool = False
    sortable: bool = False
    nillable: bool = True
    calculated: bool = False
    compound: str = ""
    relationship: str = ""
    references: tuple[str, ...] = ()
    # What is told for people makes no other field.
    label: str = field(default="", compare=False)
    help: str = field(default="", compare=False)
    choices: tuple[Choice, ...] = field(default=(), compare=False)
    precision: int = 0
    scale: int = 0
    length: int = field(default=0, compare=False)
    custom: bool = field(default=False, compare=False)
    formula: str = field(default="", compare=False)

    @property
    def readable(self) -> bool:
        """Whether the field can be a column."""
        return self.type not in LEFT_OUT and self.soap_type != JUNCTION_LIST

    @property
    def note(self) -> str | None:
        """Why the field is left out, if that is worth saying: what a compound holds stands in its components."""
        if self.soap_type == JUNCTION_LIST:
            return "lists of related Ids cannot be read as a column"
        return LEFT_OUT.get(self.type)

    @property
    def arrow_type(self) -> pa.DataType:
        """The column's type; a type that a later API version may bring is read as text."""
        return ARROW_TYPES.get(self.type, pa.string())

    @property
    def decimal_type(self) -> pa.DataType | None:
        """The decimal that holds the digits that describe declares; None of what is no number with a fraction.

        Formulas may be declared without digits, and values may have more of them than that: the reader then asks for a
        wider type.
        """
        if self.arrow_type != pa.float64():
            return None
        scale = min(max(self.scale, 0), MOST_DIGITS)
        return pa.decimal128(min(max(self.precision or _USUAL_DIGITS, scale, 1), MOST_DIGITS), scale)
