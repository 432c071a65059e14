"""Copies Salesforce objects into a database, and proves that nothing is missing.

The public names load what they need when they are first used: importing ``ingestr`` imports no driver.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestr.api import IngestResult, Preview, RecordStream, SessionResult, ingest, ingest_tables, plan, read
    from ingestr.errors import IngestrError

__version__ = "0.1.0"
__all__ = [
    "IngestResult",
    "IngestrError",
    "Preview",
    "RecordStream",
    "SessionResult",
    "__version__",
    "ingest",
    "ingest_tables",
    "plan",
    "read",
]


def __getattr__(name: str) -> Any:
    if name == "IngestrError":
        from ingestr import errors  # noqa: PLC0415

        return errors.IngestrError
    if name in __all__:
        from ingestr import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module 'ingestr' has no attribute {name!r}")
