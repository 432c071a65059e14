# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows what happens to several records at once: merge, lead conversion, archiving, cascades; not HTTP or SOQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ingestr.simulator.changes import Changes, to_second
from ingestr.simulator.store import ARCHIVING_OBJECTS, Store, quote

MERGEABLE = frozenset({"Account", "Contact", "Lead", "Case"})
# Whose rows go when a row goes: child object and its reference.
_CASCADES = {
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId"), ("Asset", "AccountId")),
    "Campaign": (("CampaignMember", "CampaignId"), ("CampaignMemberStatus", "CampaignId")),
    "Contact": (("CampaignMember", "ContactId"), ("OpportunityContactRole", "ContactId")),
    "Lead": (("CampaignMember", "LeadId"),),
    "Opportunity": (
        ("OpportunityContactRole", "OpportunityId"),
        ("OpportunityLineItem", "OpportunityId"),
        ("Quote", "OpportunityId"),
    ),
    "Product2": (("PricebookEntry", "Product2Id"),),
}


class Events:
    """The org's greater events, made of plain changes."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    def merge(self, name: str, winner: str, losers: Sequence[str]) -> None:
        """Merge records: losers are deleted and name their winner, their children get a new parent and timestamp."""
        if name not in MERGEABLE:
            raise ValueError(f"{name} cannot be merged; {', '.join(sorted(MERGEABLE))} can")
        if winner in losers:
            raise ValueError("a record cannot be merged into itself")
        with self._store.lock:
            for key in (winner, *losers):
                self._row(name, key)
            for child in list(self._store.objects.values()):
                for each in child.fields.values():
                    if name in each.reference_to and each.createable:
                        self._store.ensure(child)
                        ids = self._ids(child.name, each.name, losers)
                        # A child of its own kind may be one of those that are merged.
                        ids = [key for key in ids if child.name != name or key not in {winner, *losers}]
                        if ids:
                            self._changes.update(child.name, ids, {each.name: winner}, None, touch=True)
            self._changes.delete(name, losers, None)
            self._changes.update(name, losers, {"MasterRecordId": winner}, None, touch=True)
            self._changes.update(name, [winner], {}, None, touch=True)

    def _ids(self, child: str, reference: str, parents: Sequence[str]) -> list[str]:
        with self._store.cursor() as cursor:
            sql = f'SELECT "Id" FROM {quote(child)} WHERE {quote(reference)} IN (SELECT unnest(?))'
            return [row[0] for row in cursor.execute(sql, [list(parents)]).fetchall()]

    def convert_lead(self, lead: str, *, opportunity: bool = True) -> dict[str, str | None]:
        """Convert a lead into an account, a contact and perhaps an opportunity, and return their Ids."""
        with self._store.lock:
            row = self._row("Lead", lead)
            if row["IsConverted"]:
                raise ValueError(f"{lead} is converted already")
            now = self._store.clock.now()
            [account] = self._changes.insert("Account", [{"Name": row["Company"] or "Unknown"}], None)
            person = {
                "FirstName": row["FirstName"],
                "LastName": row["LastName"],
                "Email": row["Email"],
                "AccountId": account,
            }
            [contact] = self._changes.insert("Contact", [person], None)
            made: str | None = None
            if opportunity:
                deal = {
                    "Name": f"{row['Company']}-",
                    "AccountId": account,
                    "StageName": "Prospecting",
                    "CloseDate": now.date(),
                }
                [made] = self._changes.insert("Opportunity", [deal], None)
            values = {
                "IsConverted": True,
                "Status": "Closed - Converted",
                "ConvertedDate": now.date(),
                "ConvertedAccountId": account,
                "ConvertedContactId": contact,
                "ConvertedOpportunityId": made,
            }
            self._changes.update("Lead", [lead], values, None, touch=True)
            return {"AccountId": account, "ContactId": contact, "OpportunityId": made}

    def _row(self, name: str, key: str) -> dict[str, Any]:
        self._store.need(name)
        with self._store.cursor() as cursor:
            found = cursor.execute(f'SELECT * FROM {quote(name)} WHERE "Id" = ?', [key])
            names = [column[0] for column in found.description or []]
            row = found.fetchone()
        if row is None:
            raise ValueError(f"{name} has no row {key}")
        return dict(zip(names, row, strict=True))

    def archive(self, name: str, ids: Sequence[str]) -> int:
        """Archive activities: only queryAll sees them from now on, and no timestamp moves."""
        if name not in ARCHIVING_OBJECTS:
            raise ValueError(f"{name} is not archived; {', '.join(sorted(ARCHIVING_OBJECTS))} are")
        return self._changes.update(name, ids, {"IsArchived": True}, None, touch=False)

    def delete_with_children(
        self, name: str, ids: Sequence[str], system_modstamp: datetime | None = None, *, with_parent: bool = False
    ) -> int:
        """Delete rows and the rows that cannot be without them; those go into the bin with their parent."""
        with self._store.lock:
            for child, reference in _CASCADES.get(name, ()):
                if child in self._store.objects:
                    self._store.need(child)
                    below = self._ids(child, reference, ids)
                    if below:
                        self.delete_with_children(child, below, system_modstamp, with_parent=True)
            return self._changes.delete(name, ids, system_modstamp, with_parent=with_parent)

    def empty_bin(self, before: datetime | None = None) -> int:
        """Purge what was deleted before that time, or everything deleted; say how many rows it was."""
        emptied = 0
        with self._store.lock:
            for owner in list(self._store.objects.values()):
                if owner.has("IsDeleted") and owner.has("SystemModstamp"):
                    self._store.ensure(owner)
                    limit = to_second(before) if before is not None else datetime.max
                    sql = f'SELECT "Id" FROM {quote(owner.name)} WHERE "IsDeleted" AND "SystemModstamp" < ?'
                    with self._store.cursor() as cursor:
                        ids = [row[0] for row in cursor.execute(sql, [limit]).fetchall()]
                    if ids:
                        emptied += self._changes.purge(owner.name, ids)
        return emptied
