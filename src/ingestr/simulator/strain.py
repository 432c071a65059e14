"""Knows which queries are too much for the platform: too many rows in its time, or a row that it cannot write."""

from __future__ import annotations

from ingestr.simulator.errors import ApiError
from ingestr.simulator.soql.translator import Plan
from ingestr.simulator.state import OrgState

QUERY_TIMEOUT = "Your query request was running for too long."
NUMERIC_OVERFLOW = "Numeric Overflow"


def find_strain(org: OrgState, plan: Plan) -> ApiError | None:
    """Return what the query ends in when the platform tries it, or None where it is served."""
    if plan.aggregate or plan.count_only:
        return None
    most = org.query_timeout_rows
    if most is not None and plan.select.limit is None:
        rows = org.store.scalar(f"SELECT count(*) FROM ({plan.sql(['1'])})", plan.parameters)  # noqa: S608
        if rows > most:
            return ApiError(400, "QUERY_TIMEOUT", QUERY_TIMEOUT)
    if org.poisoned and [each.label for each in plan.columns] != ["Id"]:
        marks = ", ".join(f"'{each}'" for each in sorted(org.poisoned))
        ids = plan.sql([f'{plan.root}."Id" AS id'])
        if org.store.scalar(f"SELECT count(*) FROM ({ids}) WHERE id IN ({marks})", plan.parameters):  # noqa: S608
            return ApiError(500, "UNKNOWN_EXCEPTION", f"An unexpected error occurred: {NUMERIC_OVERFLOW}")
    return None
