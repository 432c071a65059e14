"""The key of the masks that need one: the user's, or a random one that the destination keeps for all its tables."""

from datetime import datetime

import pyarrow as pa

from ingestr.core.masking import new_key
from ingestr.core.schema import TIMESTAMP
from ingestr.core.secret import Secret
from ingestr.destinations.base import Destination
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.table import SystemTable

# The same value becomes the same UUID in every table, so that tables can still be joined.
MASK_KEY = SystemTable("mask_key", {"mask_key": pa.string(), "made_at": TIMESTAMP}, shared=True)


def keep_key(destination: Destination, ledger: Ledger, now: datetime, *, write: bool) -> Secret:
    """The key that the destination keeps; where there is none it is made, and if ``write`` committed at once."""
    rows = [row for row in ledger.rows(MASK_KEY) if row["mask_key"]]
    if rows:
        return Secret(rows[0]["mask_key"])
    key = new_key()
    if write:
        destination.execute(ledger.replace(MASK_KEY, [{"mask_key": key.reveal(), "made_at": now}]))
        destination.commit()
    return key
