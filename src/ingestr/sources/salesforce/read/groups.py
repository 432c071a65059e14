"""Groups of fields: what Salesforce refuses to select at once is selected in several queries, joined by the Id.

A query may be too long for a URL, too complicated (many formulas), or name two fields that Salesforce takes for one (a
package's and the org's own of the same name). Which fields do not go together is learned from its refusals.
"""

import logging
import re
from collections.abc import Callable, Sequence

from ingestr.errors import IngestrError, JobFailedError, RequestRefusedError, SourceError
from ingestr.flags import Flag

log = logging.getLogger("ingestr.salesforce")

_TOO_COMPLICATED = "QUERY_TOO_COMPLICATED"
# The code says MALFORMED_QUERY or INVALID_FIELD, which have other meanings too.
_DUPLICATE = re.compile(r"duplicate field selected:?\s*([\w.]*)", re.IGNORECASE)


def is_too_wide(error: IngestrError) -> bool:
    """Whether Salesforce would serve the query with fewer fields."""
    if isinstance(error, RequestRefusedError):
        return error.code == _TOO_COMPLICATED or _TOO_COMPLICATED in str(error) or _duplicate(error) is not None
    return isinstance(error, JobFailedError) and (_TOO_COMPLICATED in error.reason or _duplicate(error) is not None)


def _duplicate(error: IngestrError) -> str | None:
    found = _DUPLICATE.search(error.reason if isinstance(error, JobFailedError) else str(error))
    return found[1] if found else None


class FieldGroups:
    """The fields of one read, in as few groups as Salesforce is known to serve.

    Args:
        fields: all that are wanted.
        shared: what every group holds once there are several: the Id, and the system timestamp where there is one.
        fits: whether the query for some fields fits a URL.
        known: the groups of fields that are not shared, where another read of the same has learned them.

    Raises:
        SourceError: the fields are too many for one query, and there is no Id to put groups together by.
    """

    def __init__(
        self,
        fields: Sequence[str],
        shared: Sequence[str],
        fits: Callable[[Sequence[str]], bool],
        known: Sequence[Sequence[str]] = (),
    ) -> None:
        self._fields = tuple(fields)
        self._shared = tuple(shared)
        self._fits = fits
        self._own = [list(group) for group in known]
        if not self._own and not fits(self._fields):
            self._check_joinable("the field list is too long for one URL")
            self._own = self._fitting([name for name in self._fields if name not in self._shared])

    def __len__(self) -> int:
        return max(len(self._own), 1)

    def __getitem__(self, place: int) -> tuple[str, ...]:
        if not self._own and place == 0:
            return self._fields
        return (*self._shared, *self._own[place])

    @property
    def known(self) -> tuple[tuple[str, ...], ...]:
        """What was learned: the groups of fields that are not shared; none while all go together."""
        return tuple(tuple(group) for group in self._own)

    def split(self, place: int, error: IngestrError) -> None:
        """Make what Salesforce refused at this place smaller.

        Raises:
            SourceError: it holds a single field, or there is no Id to join by; the message says which field.
        """
        if not self._own:
            self._check_joinable(str(error))
            shared = set(self._shared)
            self._own = [[name for name in self._fields if name not in shared]]
        refused = self._own[place]
        if len(refused) < 2:
            field = refused[0] if refused else self._shared[0]
            raise SourceError(
                f"{error}; even when {field} is asked for alone",
                hint=f"leave it out: {Flag.SQL_EXCLUDE_COLUMNS} {field}",
            ) from error
        named = _duplicate(error)
        one_of_two = named and next((name for name in refused if _same_but_for_namespace(name, named)), None)
        if one_of_two:
            refused.remove(one_of_two)
            self._put_after(place, one_of_two)
        else:
            half = len(refused) // 2
            self._own[place : place + 1] = [refused[:half], refused[half:]]
        # A group is also asked for by a list of Ids, which leaves less room in the URL than the whole query had.
        self._own = [part for group in self._own for part in self._fitting(group)]
        log.debug("%s: %d fields are read in %d groups", error, len(self._fields), len(self._own))

    def _put_after(self, place: int, field: str) -> None:
        # Only ever into a later group, so that moving a field around has an end.
        for group in self._own[place + 1 :]:
            if self._fits([*self._shared, *group, field]):
                group.append(field)
                return
        self._own.append([field])

    def _fitting(self, fields: list[str]) -> list[list[str]]:
        groups, start = [], 0
        if self._fits([*self._shared, *fields]):
            return [fields]
        while start < len(fields):
            size = self._most(fields, start)
            groups.append(fields[start : start + size])
            start += size
        return groups

    def _most(self, fields: list[str], start: int) -> int:
        """How many fields from here on fit; at least one, so that it is Salesforce that refuses it."""

        def fit(size: int) -> bool:
            return self._fits([*self._shared, *fields[start : start + size]])

        low, high = 1, 2
        while start + low < len(fields) and fit(high):
            low, high = high, high * 2
        if start + low >= len(fields):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fit(middle) else (low, middle)
        return low

    def _check_joinable(self, what: str) -> None:
        if "Id" not in self._shared:
            raise SourceError(
                f"{what}, and the object has no Id to read it in parts by",
                hint=f"leave fields out: {Flag.SQL_EXCLUDE_COLUMNS}",
            )


def _same_but_for_namespace(name: str, named: str) -> bool:
    return f"__{name}".lower().endswith(f"__{named}".lower())
