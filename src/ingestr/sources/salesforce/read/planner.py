"""Chooses REST or Bulk 2.0 before the first row, and says why.

REST costs a call for every 2,000 rows; Bulk costs about six calls and some seconds whatever the size, and a call for
each large page.
"""

import logging
from enum import StrEnum

from ingestr.errors import AccessError, QuotaError, RequestRefusedError
from ingestr.sources.base import ReadPlan
from ingestr.sources.salesforce.http.checks import rows_in, text_in
from ingestr.sources.salesforce.http.client import SalesforceClient

log = logging.getLogger("ingestr.salesforce")

MOST_REST_ROWS = 10_000
# A job is made, looked at a few times, and deleted; its pages are listed five at a time.
_JOB_CALLS, _PAGES_LISTED = 5, 5


class Api(StrEnum):
    """The two ways to read rows."""

    REST = "REST"
    BULK = "Bulk 2.0"


def plan_read(
    client: SalesforceClient,
    object_name: str,
    *,
    filtered: bool,
    limit: int | None,
    fits_url: bool,
    size: int | None = None,
) -> ReadPlan:
    """Decide from what is known without reading a row.

    A REST plan is provisional: its first page tells the true number of rows, and ``too_many`` may still turn it down.
    """
    if not fits_url:
        return ReadPlan(Api.BULK, "the field list is too long for a URL")
    if limit is not None and limit <= MOST_REST_ROWS:
        return ReadPlan(Api.REST, f"at most {limit:,} rows are wanted")
    if filtered:
        return ReadPlan(Api.REST, "a window is usually small")
    rows = record_count(client, object_name) if size is None else size
    if rows is None:
        return ReadPlan(Api.REST, "Salesforce does not tell the number of rows beforehand")
    if rows > MOST_REST_ROWS:
        reason = f"about {rows:,} rows are more than the {MOST_REST_ROWS:,} worth asking REST for"
        return ReadPlan(Api.BULK, reason, rows=rows)
    return ReadPlan(Api.REST, f"about {rows:,} rows take few calls", rows=rows)


def too_many(promised: int | None) -> ReadPlan | None:
    """The Bulk plan that replaces a REST read of so many rows, or None where REST is right or nobody knows better."""
    if promised is None or promised <= MOST_REST_ROWS:
        return None
    return ReadPlan(
        Api.BULK, f"the query matches {promised:,} rows, more than the {MOST_REST_ROWS:,} worth asking REST for"
    )


def bulk_calls(rows: int | None, page_size: int) -> int | None:
    """Calls of a Bulk read: for the job, its pages and the lists of these; None where the rows are not known."""
    if rows is None:
        return None
    pages = max(1, -(-rows // page_size))
    return _JOB_CALLS + pages + -(-pages // _PAGES_LISTED)


def record_count(client: SalesforceClient, object_name: str) -> int | None:
    """Salesforce's cached, approximate number of rows; None where it keeps or tells none."""
    if client.sizes is not None:
        return client.sizes.get(object_name.lower())
    try:
        body = client.get_json(
            client.path("limits/recordCount"), f"asking for the size of {object_name}", {"sObjects": object_name}
        )
    except QuotaError:
        raise
    except (AccessError, RequestRefusedError) as error:
        log.debug("%s", error)
        return None
    counts = {text_in(item, "name").lower(): rows_in(item, "count") for item in body.answers("sObjects")}
    return counts.get(object_name.lower())
