"""What the org has, asked for once a session: the list of its objects, their describes and their sizes."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from ingestr.errors import AccessError, RequestRefusedError
from ingestr.sources.salesforce.http.checks import rows_in, text_in
from ingestr.sources.salesforce.http.client import SalesforceClient
from ingestr.sources.salesforce.http.shapes import Answer

log = logging.getLogger("ingestr.salesforce")

# Of one request to composite/batch, which counts as one call ("Batch Resource" in the REST API Developer Guide).
_MOST_TOGETHER = 25


@dataclass(frozen=True)
class ListedObject:
    """An object of the org's list.

    Args:
        name: its API name.
        label: what people call it.
        queryable: whether an API can query it.
        retired: whether it is of a package that withdrew it.
    """

    name: str
    label: str
    queryable: bool
    retired: bool

    @property
    def is_offered(self) -> bool:
        """Whether somebody who looks for an object is told of this one."""
        return self.queryable and not self.retired


class Catalog:
    """The org's objects as far as this user sees them, for any number of threads.

    Args:
        client: the org.
    """

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client
        self._lock = Lock()
        self._objects: dict[str, ListedObject] | None = None
        self._described: dict[str, Answer] = {}

    def objects(self) -> dict[str, ListedObject]:
        """All objects by API name, in Salesforce's order."""
        with self._lock:
            if self._objects is None:
                body = self._client.get_json(self._client.path("sobjects/"), "listing the org's objects")
                listed = [_listed(item) for item in body.answers("sobjects")]
                self._objects = {each.name: each for each in listed}
            return self._objects

    def describe(self, api_name: str) -> Answer:
        """The describe of an object: one of those asked for together, which is used once, or a new one.

        Raises:
            RequestRefusedError: there is no such object for this user.
        """
        found = self._described.pop(api_name.lower(), None)
        return found or self._client.get_json(
            self._client.path(f"sobjects/{api_name}/describe"), f"describing {api_name}"
        )

    def describe_together(self, names: Iterable[str]) -> None:
        """Ask for the describes of many objects in few calls; those that fail are asked for alone when wanted."""
        wanted = [name for name in dict.fromkeys(names) if re.fullmatch(r"\w+", name) and not self._knows(name)]
        for start in range(0, len(wanted), _MOST_TOGETHER):
            some = wanted[start : start + _MOST_TOGETHER]
            if len(some) > 1 and not self._take(some):
                return

    def _knows(self, name: str) -> bool:
        return name.lower() in self._described

    def _take(self, names: list[str]) -> bool:
        """Whether the org serves several describes in one call."""
        doing = f"describing {len(names)} objects"
        version = f"v{self._client.version}"
        requests = [{"method": "GET", "url": f"{version}/sobjects/{name}/describe"} for name in names]
        body = {"batchRequests": requests, "haltOnError": False}
        try:
            answer = self._client.send_json("POST", self._client.path("composite/batch"), doing, body, repeatable=True)
        except (RequestRefusedError, AccessError) as error:
            log.debug("%s: each is asked for alone", error)
            return False
        # There may be fewer answers than requests: each is known by the name that it bears.
        for each in answer.parts("results"):
            result = each.get("result")
            if each.get("statusCode") == 200 and isinstance(result, dict) and isinstance(result.get("name"), str):
                self._described[result["name"].lower()] = Answer(result, f"describing {result['name']}")
        return True

    def measure(self) -> None:
        """Ask for the sizes of all objects at once, so that nobody asks for one of them; once is enough."""
        if self._client.sizes is not None:
            return
        try:
            body = self._client.get_json(self._client.path("limits/recordCount"), "asking for the sizes of all objects")
        except (RequestRefusedError, AccessError) as error:
            log.debug("%s", error)
            return
        sizes = {text_in(item, "name").lower(): rows_in(item, "count") for item in body.answers("sObjects")}
        self._client.sizes = {name: rows for name, rows in sizes.items() if rows is not None}

    def size(self, api_name: str) -> int | None:
        """About how many rows an object has, once they were measured; None where Salesforce keeps no count."""
        return (self._client.sizes or {}).get(api_name.lower())


def _listed(item: Answer) -> ListedObject:
    return ListedObject(
        text_in(item, "name"), text_in(item, "label", ""), bool(item.get("queryable")), item.flag("deprecatedAndHidden")
    )
