"""Which rows Salesforce says were deleted: the getDeleted resource and its limits."""

import logging
from datetime import datetime, timedelta

from ingestr.errors import RequestRefusedError
from ingestr.sources.salesforce.http.checks import id_in
from ingestr.sources.salesforce.http.client import SalesforceClient

log = logging.getLogger("ingestr.salesforce")

# Salesforce keeps the log for 15 days, trims it earlier in busy orgs, and wants more than a minute between the ends.
_REACH = timedelta(days=15) - timedelta(hours=1)
_LEAST = timedelta(minutes=2)


def deleted_request(
    client: SalesforceClient, object_name: str, start: datetime, end: datetime
) -> tuple[str, dict[str, str]] | None:
    """Path and parameters of the log between two moments; None where it does not reach back to ``start``."""
    if start < end - _REACH:
        log.debug("%s: the log of deletions does not reach back to %s", object_name, start)
        return None
    first = min(start, end - _LEAST)
    params = {"start": f"{first:%Y-%m-%dT%H:%M:%S}+00:00", "end": f"{end:%Y-%m-%dT%H:%M:%S}+00:00"}
    return client.path(f"sobjects/{object_name}/deleted/"), params


def deleted_ids(client: SalesforceClient, object_name: str, start: datetime, end: datetime) -> list[str]:
    """Ids of rows deleted between two moments.

    A list, not a proof: hard deletes that the log no longer holds are missing. Who needs certainty compares counts.

    Returns:
        Ids of 18 characters; empty where the log does not reach back to ``start``.
    """
    request = deleted_request(client, object_name, start, end)
    if request is None:
        return []
    path, params = request
    try:
        body = client.get_json(path, f"asking for deleted rows of {object_name}", params)
    except RequestRefusedError as error:
        log.debug("%s", error)
        return []
    if body.get("deletedRecords") is None:
        return []
    return [id_in(row, "id") for row in body.answers("deletedRecords")]
