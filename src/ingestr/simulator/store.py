# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows where the rows are kept (one DuckDB table per object) and how the schema changes; not HTTP or SOQL."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
import pyarrow as pa

from ingestr.simulator import ids, rendering, seed
from ingestr.simulator.catalogue import load_objects
from ingestr.simulator.clock import Clock
from ingestr.simulator.model import Field, SObject, new_field, require_type

ARROW_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIME": pa.time64("us"),
    "BLOB": pa.binary(),
}
# Planning the SELECT that seeds an object takes longer than running it, and tests start the same org again and again.
_shared: dict[tuple[int, datetime, int, str], pa.Table] = {}
_MOST_SHARED_ROWS = 1_000
ARCHIVING_OBJECTS = frozenset({"Task", "Event"})


def quote(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Store:
    """The org's objects and rows. Any thread may read through a cursor of its own; changes go one at a time."""

    def __init__(self, rows: int, seed_number: int, end: datetime, clock: Clock) -> None:
        self.clock = clock
        self.folder = Path(tempfile.mkdtemp(prefix="ingestr-simulator-"))
        self._root = duckdb.connect(":memory:", config={"temp_directory": str(self.folder / "spill")})
        self.lock = RLock()
        self.objects = load_objects()
        self.version = 0
        self.modified: dict[str, datetime] = dict.fromkeys(self.objects, end)
        self.next_row = {name: seed.row_count(name, rows) for name in self.objects}
        self._plan = seed.SeedPlan(seed_number, end, dict(self.next_row), self.objects)
        for macro in (*ids.MACROS, *rendering.MACROS, *seed.MACROS):
            self._root.execute(macro)
        self._root.execute("CREATE TABLE deleted_log (object VARCHAR, id VARCHAR, deleted TIMESTAMP)")
        self._rows = rows
        self._made: set[str] = set()
        self._variables: set[str] = set()

    def ensure(self, owner: SObject) -> SObject:
        """Make an object's table when it is first needed: an org that starts at once has made none."""
        if owner.name in self._made:
            return owner
        with self.lock:
            if owner.name not in self._made:
                table = quote(owner.name)
                if self.next_row[owner.name] == 0:
                    self._root.execute(f"CREATE TABLE {table} ({_column_list(owner)})")
                else:
                    self._root.register("_seeded", self._seeded(owner))
                    self._root.execute(f"CREATE TABLE {table} AS SELECT * FROM _seeded")
                    self._root.unregister("_seeded")
                if owner.keeps_deleted:
                    self._root.execute(
                        f'INSERT INTO deleted_log SELECT ?, "Id", "SystemModstamp" FROM {table} WHERE "IsDeleted"',
                        [owner.name],
                    )
                self._made.add(owner.name)
        return owner

    def _seeded(self, owner: SObject) -> pa.Table:
        """Return an object's first rows; orgs of one process that are seeded alike share them."""
        count = self.next_row[owner.name]
        key = (self._plan.seed, self._plan.end, self._rows, owner.name)
        known = _shared.get(key)
        if known is None:
            select = self._plan.select(owner, 0, count)
            self._set_variables()
            known = self._root.sql(select).to_arrow_table()
            if count <= _MOST_SHARED_ROWS:
                _shared[key] = known
        return known

    def _set_variables(self) -> None:
        new = {name: literal for name, literal in self._plan.variables.items() if name not in self._variables}
        if new:
            self._root.execute("; ".join(f"SET VARIABLE {name} = {literal}" for name, literal in new.items()))
            self._variables.update(new)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection for one thread's use."""
        return self._root.cursor()

    def close(self) -> None:
        """Give everything back."""
        self._root.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def find(self, name: str) -> SObject | None:
        """Return the object of that name, in whatever case it is written."""
        exact = self.objects.get(name)
        if exact is not None:
            return exact
        wanted = name.lower()
        return next((each for key, each in self.objects.items() if key.lower() == wanted), None)

    def need(self, name: str) -> SObject:
        """Return the object of exactly that name.

        Raises:
            KeyError: there is none.
        """
        if name not in self.objects:
            raise KeyError(f"the org has no object {name!r}")
        return self.ensure(self.objects[name])

    def alive(self, owner: SObject, alias: str = "") -> str:
        """Return the SQL condition of the rows that `query` sees and only `queryAll` adds to."""
        place = f"{alias}." if alias else ""
        conditions = []
        if owner.has("IsDeleted"):
            conditions.append(f'NOT {place}"IsDeleted"')
        if owner.name in ARCHIVING_OBJECTS:
            conditions.append(f'NOT {place}"IsArchived"')
        return " AND ".join(conditions) or "TRUE"

    def table(self, name: str, *, deleted: bool = False) -> pa.Table:
        """Return an object's rows in Id order, typed, without compound and base64 fields."""
        owner = self.need(name)
        shown = [each for each in owner.visible() if each.sql_type not in {None, "BLOB"}]
        where = "TRUE" if deleted else self.alive(owner)
        columns = ", ".join(quote(each.name) for each in shown)
        with self.cursor() as cursor:
            found = cursor.sql(f'SELECT {columns} FROM {quote(name)} WHERE {where} ORDER BY "Id"').to_arrow_table()
        schema = pa.schema([(each.name, _truth_type(each)) for each in shown])
        return found.cast(schema)

    def count(self, name: str, *, deleted: bool = False) -> int:
        """Return how many rows an object has."""
        owner = self.need(name)
        return int(self.scalar(f"SELECT count(*) FROM {quote(name)} WHERE {'TRUE' if deleted else self.alive(owner)}"))

    def scalar(self, sql: str, parameters: list[Any] | None = None) -> Any:
        """Return the one value of a query."""
        with self.cursor() as cursor:
            row = cursor.execute(sql, parameters or []).fetchone()
        return None if row is None else row[0]

    def changed(self, name: str | None = None) -> None:
        """Note that rows changed, or, when an object is named, that its describe did."""
        self.version += 1
        if name is not None:
            self.modified[name] = self.clock.now()

    def grow(self, name: str, rows: int) -> None:
        """Add seeded rows until `query` sees `rows` of them."""
        with self.lock:
            owner = self.need(name)
            missing = rows - self.count(name)
            if missing <= 0:
                return
            select = self._plan.select(owner, self.next_row[name], missing, deleted=False)
            columns = ", ".join(["_row", *(quote(each.name) for each in owner.stored())])
            self._set_variables()
            self._root.execute(f"INSERT INTO {quote(name)} ({columns}) {select}")
            self.next_row[name] += missing
            self.changed()

    def add_object(self, owner: SObject) -> None:
        """Add an empty object."""
        with self.lock:
            if self.find(owner.name) is not None:
                raise ValueError(f"the org has an object {owner.name} already")
            if any(owner.prefix == each.prefix for each in self.objects.values()):
                raise ValueError(f"the Ids of another object begin with {owner.prefix} already")
            with self.cursor() as cursor:
                cursor.execute(f"CREATE TABLE {quote(owner.name)} ({_column_list(owner)})")
            self.objects[owner.name] = owner
            self._made.add(owner.name)
            self.next_row[owner.name] = 0
            self.changed(owner.name)

    def add_field(self, name: str, field: str, kind: str, values: list[Any] | None, facts: dict[str, Any]) -> None:
        """Add a field; `values`, if given, go round and round over the rows in Id order."""
        with self.lock:
            owner = self.need(name)
            if owner.taken(field):
                raise ValueError(f"{name} has a field {field} already")
            new = new_field(field, kind, facts.items())
            if values and new.sql_type is not None:
                # Before anything is changed: a value that does not fit is told of here.
                self.scalar(f"SELECT count(CAST(v AS {new.sql_type})) FROM (SELECT unnest(?) AS v)", [values])
            owner.put(new)
            if new.sql_type is not None:
                default = "DEFAULT FALSE" if new.sql_type == "BOOLEAN" else ""
                with self.cursor() as cursor:
                    cursor.execute(f"ALTER TABLE {quote(name)} ADD COLUMN {quote(field)} {new.sql_type} {default}")
                    if values:
                        numbers = 'SELECT "Id" AS numbered_id, row_number() OVER (ORDER BY "Id") - 1 AS n'
                        turn = f"({numbers} FROM {quote(name)}) numbered"
                        cast = f"CAST(list_extract(?, CAST(n % {len(values)} + 1 AS BIGINT)) AS {new.sql_type})"
                        cursor.execute(
                            f'UPDATE {quote(name)} SET {quote(field)} = {cast} FROM {turn} WHERE "Id" = numbered_id',
                            [values],
                        )
            self.changed(name)

    def drop_field(self, name: str, field: str) -> None:
        """Take a field away, with its values."""
        with self.lock:
            owner = self.need(name)
            stored = owner.fields[field].sql_type is not None
            owner.remove(field)
            if stored:
                with self.cursor() as cursor:
                    cursor.execute(f"ALTER TABLE {quote(name)} DROP COLUMN {quote(field)}")
            self.changed(name)

    def relabel(self, name: str, label: str) -> None:
        """Change what people call an object."""
        with self.lock:
            self.need(name).label = label
            self.changed(name)

    def change_field(self, name: str, field: str, facts: dict[str, Any]) -> None:
        """Change facts of a field, and the type of its column if need be; a value that does not fit becomes null."""
        with self.lock:
            owner = self.need(name)
            before = owner.fields[field].sql_type
            require_type(facts.get("wire") or facts.get("type") or owner.fields[field].type)
            owner.change(field, **facts)
            after = owner.fields[field].sql_type
            if before != after and after is not None:
                column = quote(field)
                with self.cursor() as cursor:
                    cursor.execute(f"ALTER TABLE {quote(name)} ADD COLUMN IF NOT EXISTS {column} {after}")
                    cursor.execute(
                        f"ALTER TABLE {quote(name)} ALTER {column} TYPE {after} USING TRY_CAST({column} AS {after})"
                    )
            self.changed(name)


def _column_list(owner: SObject) -> str:
    return ", ".join(["_row BIGINT", *(f"{quote(each.name)} {each.sql_type}" for each in owner.stored())])


def _truth_type(each: Field) -> pa.DataType:
    return pa.timestamp("us", tz="UTC") if each.sql_type == "TIMESTAMP" else ARROW_TYPES[each.sql_type or "VARCHAR"]
