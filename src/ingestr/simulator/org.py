"""Knows the simulated org as Python sees it: started, read, changed, stopped; not how requests are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from ingestr.simulator.app import make_app
from ingestr.simulator.control import make_object
from ingestr.simulator.origin import LocalPrograms
from ingestr.simulator.server import Server, listen
from ingestr.simulator.state import OrgState
from ingestr.simulator.tunnel import INSTANCE_HOST, SUFFIXES, Proxy, make_certificates


class SimulatedOrg(OrgState):
    """A Salesforce org on this machine, served over HTTP while the `with` block lasts.

    Args:
        rows: rows of the big objects; small objects have fewer, and 0 makes every object empty.
        seed: the same seed gives the same rows, Ids, credentials and tokens.
        port: port to listen on; 0 takes any that is free.
        start: where the seed data ends in time; every seeded timestamp lies before it.
        host: address to listen on.
        tls: serve HTTPS with a certificate of a throw-away authority, whose file is `ca_file`.
        proxy: with TLS, also open a CONNECT proxy at `proxy_url` that leads `*.salesforce.com` here.
    """

    def __init__(
        self,
        rows: int = 1_000,
        seed: int = 42,
        port: int = 0,
        start: datetime | None = None,
        host: str = "127.0.0.1",
        *,
        tls: bool = False,
        proxy: bool = False,
    ) -> None:
        super().__init__(rows, seed, start)
        try:
            self._socket = listen(host, port)
        except OSError:
            self.store.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        certificates = make_certificates(self.store.folder) if tls or proxy else None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if certificates is None else 'https'}://{shown}:{self.port}"
        self.ca_file = None if certificates is None else str(certificates.ca)
        self._proxy = Proxy(host, self.port, self.patience) if proxy else None
        self.proxy_url = None if self._proxy is None else self._proxy.url
        if proxy:
            # Behind the proxy the org is where every org is.
            self.url = f"https://{INSTANCE_HOST}"
        # Only a certificate and a proxy lead names of Salesforce here; without them such a name is a stranger's trick.
        suffixes = () if certificates is None else SUFFIXES
        self._server = Server(LocalPrograms(make_app(self), host, suffixes), self._socket, self.patience, certificates)

    def __enter__(self) -> Self:
        self._server.start()
        if self._proxy is not None:
            self._proxy.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and forget everything."""
        if self._proxy is not None:
            self._proxy.stop()
        self._server.stop()
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.store.close()

    def run(self) -> None:
        """Wait in the foreground until interrupted, while the org, once started, serves."""
        self._server.run()

    @property
    def username(self) -> str:
        """The user's name."""
        return self.credentials.username

    @property
    def password(self) -> str:
        """The user's password, without the security token."""
        return self.credentials.password

    @property
    def security_token(self) -> str:
        """The user's security token."""
        return self.credentials.security_token

    @property
    def client_id(self) -> str:
        """The connected app's consumer key."""
        return self.credentials.client_id

    @property
    def client_secret(self) -> str:
        """The connected app's consumer secret."""
        return self.credentials.client_secret

    @property
    def private_key(self) -> str:
        """The connected app's private key, in PEM form."""
        return self.signing_key.pem()

    def access_token(self) -> str:
        """Return the token of a new session."""
        return self.sessions.issue()

    def refresh_token(self) -> str:
        """Return a new refresh token."""
        return self.sessions.issue_refresh()

    def expire_sessions(self) -> None:
        """End every session: their tokens get 401 INVALID_SESSION_ID from now on."""
        self.sessions.expire()

    def table(self, name: str, *, deleted: bool = False) -> pa.Table:
        """Return what an object truly holds, by Id, in describe's column order, without compound and base64 fields.

        Args:
            name: API name of the object.
            deleted: also the deleted and archived rows, which queryAll sees.
        """
        return self.store.table(name, deleted=deleted)

    def count(self, name: str, *, deleted: bool = False) -> int:
        """Return how many rows an object holds."""
        return self.store.count(name, deleted=deleted)

    def insert(
        self, name: str, rows: Sequence[Mapping[str, Any]], system_modstamp: datetime | None = None
    ) -> list[str]:
        """Add rows and return their Ids; an older `system_modstamp` is a row that was committed late."""
        return self.changes.insert(name, rows, system_modstamp)

    def update(
        self,
        name: str,
        ids: Sequence[str],
        values: Mapping[str, Any],
        system_modstamp: datetime | None = None,
        *,
        touch: bool = True,
    ) -> int:
        """Set the same values in rows and return how many there were.

        Args:
            name: API name of the object.
            ids: which rows.
            values: new values by field.
            system_modstamp: when it happened; the org's clock by default.
            touch: whether the timestamps move; they do not when a formula or a roll-up changes.
        """
        return self.changes.update(name, ids, values, system_modstamp, touch=touch)

    def delete(
        self, name: str, ids: Sequence[str], system_modstamp: datetime | None = None, *, cascade: bool = False
    ) -> int:
        """Delete rows: softly where the object has a recycle bin, else for good; `cascade` takes their children too."""
        if cascade:
            return self.events.delete_with_children(name, ids, system_modstamp)
        return self.changes.delete(name, ids, system_modstamp)

    def undelete(self, name: str, ids: Sequence[str]) -> int:
        """Take rows out of the recycle bin."""
        return self.changes.undelete(name, ids)

    def empty_bin(self, before: datetime | None = None) -> int:
        """Purge every deleted row, or those deleted before a time, and return how many."""
        return self.events.empty_bin(before)

    def merge(self, name: str, winner: str, losers: Sequence[str]) -> None:
        """Merge records into a winner: losers are deleted and name it, their children get it as parent."""
        self.events.merge(name, winner, losers)

    def convert_lead(self, lead: str, *, opportunity: bool = True) -> dict[str, str | None]:
        """Convert a lead and return the Ids of what it became."""
        return self.events.convert_lead(lead, opportunity=opportunity)

    def archive(self, name: str, ids: Sequence[str]) -> int:
        """Archive tasks or events: only queryAll sees them then."""
        return self.events.archive(name, ids)

    def add_object(self, name: str, prefix: str, fields: Mapping[str, str]) -> None:
        """Add an empty custom object with fields of the given types besides the system's."""
        self.store.add_object(make_object(name, prefix, dict(fields)))

    def purge(self, name: str, ids: Sequence[str]) -> int:
        """Take rows away without a trace in queryAll."""
        return self.changes.purge(name, ids)

    def add_field(self, name: str, field: str, kind: str, values: Sequence[Any] | None = None, **facts: Any) -> None:
        """Add a field to an object; no timestamp moves.

        Args:
            name: API name of the object.
            field: API name of the field.
            kind: its type in describe, such as `string` or `currency`.
            values: values that go round and round over the rows in Id order.
            facts: length, precision, scale, digits, reference_to, picklist, picklist_labels, label, help, wire (the
                values' true type) and the like.
        """
        self.store.add_field(name, field, kind, None if values is None else list(values), facts)

    def drop_field(self, name: str, field: str) -> None:
        """Take a field away, with its values."""
        self.store.drop_field(name, field)

    def hide_field(self, name: str, field: str, *, hidden: bool = True) -> None:
        """Hide a field from the user, as field-level security does, or show it again."""
        self.store.change_field(name, field, {"hidden": hidden})

    def retype_field(self, name: str, field: str, kind: str, **facts: Any) -> None:
        """Give a field another type; values that do not fit become null."""
        self.store.change_field(name, field, {"type": kind, **facts})

    def relabel(self, name: str, label: str) -> None:
        """Call an object otherwise."""
        self.store.relabel(name, label)

    def grow(self, name: str, rows: int) -> None:
        """Add seeded rows until `query` sees that many."""
        self.store.grow(name, rows)
