# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows how rows change and what the platform does to a row by itself; must not know HTTP or SOQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from ingestr.simulator.ids import record_id
from ingestr.simulator.model import SObject
from ingestr.simulator.store import Store, quote

_NOT_SETTABLE = frozenset({"Id"})
AMONG = '"Id" IN (SELECT unnest(?))'


class Changes:
    """Inserts, updates, deletes; `user_id` is who does it."""

    def __init__(self, store: Store, user_id: str) -> None:
        self._store = store
        self._user_id = user_id

    def insert(self, name: str, rows: Sequence[Mapping[str, Any]], system_modstamp: datetime | None) -> list[str]:
        """Add rows and return their Ids. What is not given is empty, or what the platform fills in."""
        with self._store.lock:
            owner = self._store.need(name)
            stamp = to_second(system_modstamp or self._store.clock.now())
            first = self._store.next_row[name]
            self._store.next_row[name] += len(rows)
            full = [self._filled(owner, row, first + place, stamp) for place, row in enumerate(rows)]
            if full:
                # A list for each column: one statement, whatever the number of rows.
                types = {"_row": "BIGINT", **{each.name: each.sql_type for each in owner.stored()}}
                columns = ", ".join(quote(column) for column in types)
                values = ", ".join(f"unnest(CAST(? AS {kind}[]))" for kind in types.values())
                with self._store.cursor() as cursor:
                    lists = [[row[column] for row in full] for column in types]
                    cursor.execute(f"INSERT INTO {quote(name)} ({columns}) SELECT {values}", lists)
            self._store.changed()
            return [row["Id"] for row in full]

    def _filled(self, owner: SObject, row: Mapping[str, Any], number: int, stamp: datetime) -> dict[str, Any]:
        full: dict[str, Any] = {each.name: False if each.sql_type == "BOOLEAN" else None for each in owner.stored()}
        full["_row"] = number
        defaults = {
            "Id": record_id(owner.prefix, number),
            "CreatedDate": stamp,
            "LastModifiedDate": stamp,
            "SystemModstamp": stamp,
            "CreatedById": self._user_id,
            "LastModifiedById": self._user_id,
            "OwnerId": self._user_id,
        }
        full.update({key: value for key, value in defaults.items() if key in full})
        for each in owner.stored():
            if "auto" in each.traits:
                full[each.name] = f"{each.name[:1]}-{number + 1:06d}"
        full.update(self._checked(owner, row))
        _compose_name(owner, full, row)
        return full

    def _checked(self, owner: SObject, values: Mapping[str, Any]) -> dict[str, Any]:
        checked = {}
        for key, value in values.items():
            if key not in owner.fields or owner.fields[key].sql_type is None or key in _NOT_SETTABLE:
                raise ValueError(f"{owner.name}.{key} cannot be set")
            checked[key] = _stored(value, owner.fields[key].sql_type or "")
        return checked

    def update(
        self, name: str, ids: Sequence[str], values: Mapping[str, Any], system_modstamp: datetime | None, *, touch: bool
    ) -> int:
        """Set values in rows and return how many; with `touch` off the timestamps stay, as for a formula."""
        with self._store.lock:
            owner = self._store.need(name)
            changed = self._checked(owner, values)
            if touch:
                stamp = to_second(system_modstamp or self._store.clock.now())
                automatic = {"SystemModstamp": stamp, "LastModifiedDate": stamp, "LastModifiedById": self._user_id}
                changed = {**{key: value for key, value in automatic.items() if owner.has(key)}, **changed}
            count = self._set(name, ids, changed)
            if {"FirstName", "LastName"} & changed.keys() and "Name" not in changed and owner.components("Name"):
                self._run(
                    f'UPDATE {quote(name)} SET "Name" = concat_ws(chr(32), "FirstName", "LastName") WHERE {AMONG}',
                    [list(ids)],
                )
            self._store.changed()
            return count

    def _set(self, name: str, ids: Sequence[str], values: Mapping[str, Any]) -> int:
        if not values:
            return 0
        assignments = ", ".join(f"{quote(key)} = ?" for key in values)
        return self._run(f"UPDATE {quote(name)} SET {assignments} WHERE {AMONG}", [*values.values(), list(ids)])

    def _run(self, sql: str, parameters: list[Any]) -> int:
        with self._store.cursor() as cursor:
            row = cursor.execute(sql, parameters).fetchone()
        return 0 if row is None else int(row[0])

    def delete(
        self, name: str, ids: Sequence[str], system_modstamp: datetime | None, *, with_parent: bool = False
    ) -> int:
        """Delete rows: into the recycle bin where the object has one or its parent goes there, else for good."""
        with self._store.lock:
            owner = self._store.need(name)
            stamp = to_second(system_modstamp or self._store.clock.now())
            self._log(name, ids, stamp)
            if owner.keeps_deleted or (with_parent and owner.has("IsDeleted")):
                automatic = {
                    "IsDeleted": True,
                    "SystemModstamp": stamp,
                    "LastModifiedDate": stamp,
                    "LastModifiedById": self._user_id,
                }
                count = self._set(name, ids, {key: value for key, value in automatic.items() if owner.has(key)})
            else:
                count = self._run(f"DELETE FROM {quote(name)} WHERE {AMONG}", [list(ids)])
            self._store.changed()
            return count

    def _log(self, name: str, ids: Sequence[str], stamp: datetime) -> None:
        self._run(
            f'INSERT INTO deleted_log SELECT ?, "Id", ? FROM {quote(name)} WHERE {AMONG}',
            [name, stamp, list(ids)],
        )

    def undelete(self, name: str, ids: Sequence[str]) -> int:
        """Take rows out of the recycle bin."""
        with self._store.lock:
            owner = self._store.need(name)
            if not owner.keeps_deleted:
                raise ValueError(f"{name} has no recycle bin")
            stamp = to_second(self._store.clock.now())
            values: dict[str, Any] = {"IsDeleted": False, "SystemModstamp": stamp, "LastModifiedDate": stamp}
            if owner.has("MasterRecordId"):
                values["MasterRecordId"] = None
            count = self._set(name, ids, {key: value for key, value in values.items() if owner.has(key)})
            self._run("DELETE FROM deleted_log WHERE object = ? AND id IN (SELECT unnest(?))", [name, list(ids)])
            self._store.changed()
            return count

    def purge(self, name: str, ids: Sequence[str]) -> int:
        """Take rows away so that not even queryAll sees them; only the delete log may still know."""
        with self._store.lock:
            owner = self._store.need(name)
            stamp = to_second(self._store.clock.now())
            if not owner.has("IsDeleted"):
                self._log(name, ids, stamp)
            else:
                self._run(
                    f'INSERT INTO deleted_log SELECT ?, "Id", ? FROM {quote(name)} WHERE {AMONG} AND NOT "IsDeleted"',
                    [name, stamp, list(ids)],
                )
            count = self._run(f"DELETE FROM {quote(name)} WHERE {AMONG}", [list(ids)])
            self._forget_history(name, ids)
            self._store.changed()
            return count

    def _forget_history(self, name: str, ids: Sequence[str]) -> None:
        """Take away what was written about rows that are gone for good."""
        for each in list(self._store.objects.values()):
            parent = f"{name}Id"
            if each.satellite == ("History", name) and each.has(parent):
                table = quote(self._store.ensure(each).name)
                self._run(f"DELETE FROM {table} WHERE {quote(parent)} IN (SELECT unnest(?))", [list(ids)])


def _compose_name(owner: SObject, full: dict[str, Any], given: Mapping[str, Any]) -> None:
    if "Name" in full and "Name" not in given and owner.components("Name"):
        full["Name"] = " ".join(part for part in (full.get("FirstName"), full.get("LastName")) if part) or None


def to_second(moment: datetime) -> datetime:
    """Return a time as the platform keeps it: UTC, to the whole second."""
    plain = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    return plain.replace(microsecond=0)


def _stored(value: Any, sql_type: str) -> Any:
    """Return a value as it is kept: nothing for empty text, times as times even when given as text."""
    if value is None or value == "":
        return None
    if sql_type == "TIMESTAMP":
        return to_second(datetime.fromisoformat(value) if isinstance(value, str) else value)
    if isinstance(value, str) and sql_type == "DATE":
        return date.fromisoformat(value)
    if isinstance(value, str) and sql_type == "TIME":
        return time.fromisoformat(value.removesuffix("Z"))
    if isinstance(value, str) and sql_type == "BLOB":
        return value.encode()
    return float(value) if sql_type == "DOUBLE" else value
