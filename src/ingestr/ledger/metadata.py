"""What a source tells of the tables that were copied: objects, their fields and the values of their picklists.

They lie in ``_ingestr`` and not beside the data, where a table of the user's might bear such a name. Each row names the
table and the column that it is about, by which it is joined.
"""

import pyarrow as pa

from ingestr.core.schema import TIMESTAMP
from ingestr.ledger.table import SystemTable

_TEXT, _NUMBER, _FLAG = pa.string(), pa.int64(), pa.bool_()
OBJECTS = SystemTable(
    "objects",
    {
        "source_object": _TEXT,
        "label": _TEXT,
        "plural_label": _TEXT,
        "key_prefix": _TEXT,
        "is_custom": _FLAG,
        # What tells whether any row about the target, in any of the three tables, would be another one now.
        "fingerprint": _TEXT,
        "loaded_at": TIMESTAMP,
    },
)
FIELDS = SystemTable(
    "fields",
    {
        "source_object": _TEXT,
        "field": _TEXT,
        "column_name": _TEXT,
        "position": _NUMBER,
        "label": _TEXT,
        "help_text": _TEXT,
        "field_type": _TEXT,
        "length": _NUMBER,
        "precision": _NUMBER,
        "scale": _NUMBER,
        "is_nullable": _FLAG,
        "is_custom": _FLAG,
        "is_calculated": _FLAG,
        "formula": _TEXT,
        "reference_to": _TEXT,
        "relationship_name": _TEXT,
        "loaded_at": TIMESTAMP,
    },
    most=1,
)
PICKLIST_VALUES = SystemTable(
    "picklist_values",
    {
        "source_object": _TEXT,
        "field": _TEXT,
        "column_name": _TEXT,
        "position": _NUMBER,
        "value": _TEXT,
        "label": _TEXT,
        "is_active": _FLAG,
        "is_default": _FLAG,
        "loaded_at": TIMESTAMP,
    },
    most=1,
)
METADATA = (OBJECTS, FIELDS, PICKLIST_VALUES)
