"""About what a read downloads and how long it takes, where nobody has measured it: assumptions, from describe alone."""

from collections.abc import Iterable
from dataclasses import replace
from math import isqrt

from ingestr.sources.base import ReadPlan
from ingestr.sources.salesforce.meta.types import Field
from ingestr.sources.salesforce.read.planner import Api

# Characters of a value, as the APIs write it; a text has a few words, and some more the more it may have.
_CHARACTERS = {
    **dict.fromkeys(("id", "reference"), 18),
    **dict.fromkeys(("boolean", "int", "percent"), 5),
    **dict.fromkeys(("double", "currency", "date"), 10),
    **dict.fromkeys(("long", "time"), 13),
    "datetime": 28,
}
_FEW_WORDS, _NO_LENGTH = 12, 255
# What part of the fields that may be empty are not.
_FILLED = 0.5
# In JSON each value bears its name and each row its address; all of that packs well.
_JSON_VALUE, _JSON_ROW = 6, 100
_PACKED = {Api.BULK: 0.25, Api.REST: 0.12}
# Seconds until a call is answered, and until a job is done; characters that are made, sent, read and written a second.
_CALL, _JOB = 0.3, 10.0
_CHARACTERS_A_SECOND = 5_000_000


def estimated(plan: ReadPlan, fields: Iterable[Field]) -> ReadPlan:
    """The same with bytes and seconds, where its rows and calls are known.

    Args:
        plan: how the rows would be read.
        fields: the fields that would be.
    """
    if plan.rows is None or plan.calls is None:
        return plan
    api = Api(plan.api)
    row = sum(_characters(field) + (len(field.name) + _JSON_VALUE if api is Api.REST else 1) for field in fields)
    characters = plan.rows * (row + (_JSON_ROW if api is Api.REST else 0))
    seconds = plan.calls * _CALL + characters / _CHARACTERS_A_SECOND + (_JOB if api is Api.BULK else 0)
    return replace(plan, bytes=round(characters * _PACKED[api]), seconds=seconds)


def _characters(field: Field) -> float:
    """Of one value, on average."""
    length = field.length or _NO_LENGTH
    characters = _CHARACTERS.get(field.type) or min(length, _FEW_WORDS + isqrt(length))
    return characters * (_FILLED if field.nillable else 1)
