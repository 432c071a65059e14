"""The key of the masks that need one: the user's, or a random one that the destination keeps for all its tables."""

from datetime import datetime

import pyarrow as pa

from ingestr.core.masking import new_key
from ingestr.core.schema import TIMESTAMP
from ingestr.core.secret import Secret
from ingestr.destinations.base import Destination
from ingestr.ledger.table import SystemTable

# The same value becomes the same UUID in every table, so that tables can still be joined: the one row is about no table
# but its own.
_KEYS = SystemTable("mask_key", {"mask_key": pa.string(), "made_at": TIMESTAMP})


def keep_key(destination: Destination, now: datetime) -> Secret:
    """The key that the destination keeps; it is made, and committed at once, where there is none."""
    rows = [row for row in _KEYS.rows(destination, _KEYS.ref) if row["mask_key"]]
    if rows:
        return Secret(rows[0]["mask_key"])
    key = new_key()
    destination.execute(_KEYS.replace(_KEYS.ref, [{"mask_key": key.reveal(), "made_at": now}]))
    destination.commit()
    return key
