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

# Of one call ("Composite" in the REST API Developer Guide).
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
        return self._client.get_json(self._describe_path(api_name), f"describing {api_name}")

    def describe_together(self, names: Iterable[str]) -> None:
        """Ask for the describes of many objects in few calls; those that fail are asked for alone when wanted."""
        paths = [self._describe_path(name) for name in dict.fromkeys(names) if re.fullmatch(r"\w+", name)]
        wanted = [path for path in paths if not self._client.has_early(path)]
        for start in range(0, len(wanted), _MOST_TOGETHER):
            some = wanted[start : start + _MOST_TOGETHER]
            if len(some) > 1 and not self._client.ask_together(
                [(path, None) for path in some], f"describing {len(some)} objects"
            ):
                return

    def _describe_path(self, api_name: str) -> str:
        return self._client.path(f"sobjects/{api_name}/describe")

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
