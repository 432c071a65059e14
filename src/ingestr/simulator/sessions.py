"""Knows who may log in and which sessions are valid; must not know HTTP or how a login is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from threading import Lock

from ingestr.simulator.ids import checksum


@dataclass(slots=True)
class Credentials:
    """What opens the org, the same for the same seed."""

    username: str = "admin@acme.example"
    password: str = "correct horse & <battery>"  # noqa: S105 — a made-up org's; it must need escaping
    security_token: str = "SecurityToken0123456789"  # noqa: S105
    client_id: str = "3MVG9_ingestr.simulator.client"
    client_secret: str = "0123456789ABCDEF"  # noqa: S105


@dataclass(slots=True)
class Sessions:
    """Sessions and refresh tokens, numbered in the order in which they are given out."""

    seed: int
    _lock: Lock = field(default_factory=Lock)
    _given: int = 0
    _refreshes: int = 0
    _valid: set[str] = field(default_factory=set)
    _refresh: dict[str, bool] = field(default_factory=dict)

    @property
    def organization_id(self) -> str:
        """The org's 18-character Id."""
        digest = int(hashlib.sha256(f"org/{self.seed}".encode()).hexdigest(), 16) % 10**8
        id15 = f"00DgK00000{digest:05d}"[:15]
        return id15 + checksum(id15)

    def issue(self) -> str:
        """Return a new session's token."""
        with self._lock:
            secret = hashlib.sha256(f"session/{self.seed}/{self._given}".encode()).hexdigest()
            self._given += 1
            token = f"{self.organization_id[:15]}!AQ.{secret[:40]}_{secret[40:60]}"
            self._valid.add(token)
            return token

    def known(self, token: str) -> bool:
        """Whether the token's session lives."""
        with self._lock:
            return token in self._valid

    def expire(self) -> None:
        """End every session."""
        with self._lock:
            self._valid.clear()

    def revoke(self, token: str) -> bool:
        """End one session or refresh token; say whether there was one."""
        with self._lock:
            there = token in self._valid or token in self._refresh
            self._valid.discard(token)
            self._refresh.pop(token, None)
            return there

    def issue_refresh(self) -> str:
        """Return a new refresh token."""
        with self._lock:
            secret = hashlib.sha256(f"refresh/{self.seed}/{self._refreshes}".encode()).hexdigest()
            self._refreshes += 1
            token = f"5Aep861{secret[:40]}"
            self._refresh[token] = True
            return token

    def use_refresh(self, token: str, *, rotate: bool) -> bool:
        """Whether a refresh token is good; with rotation it is good once, and using it again spoils all of them."""
        with self._lock:
            good = self._refresh.get(token)
            if good is None:
                return False
            if not good:
                self._refresh = dict.fromkeys(self._refresh, False)
                return False
            self._refresh[token] = not rotate
            return True
