# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows how rows that were asked for become text: a result is run once and its pages are cut from it.

Must not know HTTP, jobs or locators.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, count
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Any
from weakref import finalize

import pyarrow as pa
import pyarrow.csv
from isal import igzip

from ingestr.simulator.rendering import is_json_literal, text_sql
from ingestr.simulator.soql.translator import Column, Plan
from ingestr.simulator.store import Store, quote

_BATCH_ROWS = 8_192
_WRITERS = 2
_SHUFFLED_UP_TO = 200_000
_NATIVE = re.compile(r"true|false|-?(0|[1-9]\d{0,17})|-?\d+\.\d+(E-?\d+)?")
_numbers = count()


class Rows:
    """Rows rendered as text, kept in a compressed file that pages are cut from."""

    def __init__(self, store: Store, sql: str, parameters: list[Any]) -> None:
        self._path = Path(store.folder) / f"result-{next(_numbers)}.arrow"
        with store.cursor() as cursor:
            reader = cursor.sql(sql, params=parameters or None).to_arrow_reader(_BATCH_ROWS)
            packed = pa.ipc.IpcWriteOptions(compression="lz4")
            sizes = []
            with (
                pa.OSFile(str(self._path), "wb") as sink,
                pa.ipc.new_file(sink, reader.schema, options=packed) as writer,
            ):
                for batch in reader:
                    writer.write_batch(batch)
                    sizes.append(batch.num_rows)
        self._source = pa.memory_map(str(self._path))
        self._starts = list(accumulate(sizes, initial=0))
        self.count: int = self._starts[-1]

    def slice(self, start: int, rows: int) -> pa.Table:
        """Return the rows from `start` on; only the batches that hold them are unpacked."""
        # A reader for each slice: several threads may cut pages at once.
        reader = pa.ipc.open_file(self._source)
        end = min(start + rows, self.count)
        if start >= end:
            return reader.schema.empty_table()
        first = bisect_right(self._starts, start) - 1
        batches = [reader.get_batch(place) for place in range(first, bisect_right(self._starts, end - 1))]
        return pa.Table.from_batches(batches).slice(start - self._starts[first], end - start)

    def discard(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


class CsvResult:
    """The result of a Bulk query: CSV pages, each made once and kept compressed in a file without a name."""

    def __init__(self, store: Store, plan: Plan, delimiter: str, line_ending: str) -> None:
        columns = [
            f"coalesce({text_sql(each.kind, each.sql, bulk=True)}, '') AS c{place}"
            for place, each in enumerate(plan.columns)
        ]
        few = store.scalar(f"SELECT count(*) FROM {quote(plan.owner.name)}") <= _SHUFFLED_UP_TO
        # Nobody may rely on an order that was not asked for. Large tables lie shuffled in the store already.
        shuffled = f"ORDER BY {plan.root}._row * 7919 % 100003" if few else ""
        self._rows = Rows(store, plan.sql(columns, shuffled), plan.parameters)
        self.count = self._rows.count
        self._delimiter = delimiter
        self._line_ending = line_ending
        header = delimiter.join('"' + each.label.replace('"', '""') + '"' for each in plan.columns)
        self._header = (header + line_ending).encode()
        self._pages: dict[tuple[int, int], tuple[int, int]] = {}
        self._spool = TemporaryFile(dir=store.folder)  # noqa: SIM115 — open for as long as somebody holds the result
        finalize(self, self._spool.close)
        self._spooled = 0
        self._lock = Lock()

    def page(self, start: int, rows: int) -> tuple[bytes, int]:
        """Return a page as compressed CSV with its header row, and how many rows it has."""
        taken = max(0, min(rows, self.count - start))
        key = (start, taken)
        packed = self._kept(key)
        if packed is None:
            packed = igzip.compress(self._csv(start, taken), 1)
            self._keep(key, packed)
        return packed, taken

    def _kept(self, key: tuple[int, int]) -> bytes | None:
        with self._lock:
            if key not in self._pages:
                return None
            place, length = self._pages[key]
            self._spool.seek(place)
            return self._spool.read(length)

    def _keep(self, key: tuple[int, int], packed: bytes) -> None:
        with self._lock:
            self._spool.seek(self._spooled)
            self._spool.write(packed)
            self._pages[key] = (self._spooled, len(packed))
            self._spooled += len(packed)

    def prepare(self, rows: int) -> None:
        """Make all pages of that size."""
        # Writing and compressing happen outside the interpreter's lock.
        with ThreadPoolExecutor(_WRITERS) as pool:
            for made in [pool.submit(self.page, start, rows) for start in range(0, self.count, rows)]:
                made.result()

    def _csv(self, start: int, rows: int) -> bytes:
        sink = pa.BufferOutputStream()
        sink.write(self._header)
        options = pyarrow.csv.WriteOptions(
            include_header=False,
            delimiter=self._delimiter,
            quoting_style="all_valid",
            batch_size=4096,
            **({} if self._line_ending == "\n" else {"eol": self._line_ending}),
        )
        pyarrow.csv.write_csv(self._rows.slice(start, rows), sink, options)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    def discard(self) -> None:
        """Give the space back."""
        with self._lock:
            self._pages.clear()
        self._rows.discard()


class JsonResult:
    """The result of a REST query: records as JSON text, page by page; `keep` is SQL of one more value for each row."""

    def __init__(
        self, store: Store, plan: Plan, base: str, keep: str | None = None, *, epoch_times: bool = False
    ) -> None:
        self._base = base
        self._plan = plan
        columns = [
            f"epoch_ms({each.sql})::VARCHAR AS c{place}"
            if epoch_times and each.kind == "datetime"
            else f"{_json_sql(each, base)} AS c{place}"
            for place, each in enumerate(plan.columns)
        ]
        # Bulk 1.0 writes a time in JSON as a number of milliseconds.
        self._epoch_times = epoch_times
        self._ids: dict[tuple[str, ...], int] = {}
        if not plan.aggregate:
            for path, alias in {(): plan.root, **{path: parent.alias for path, parent in plan.parents.items()}}.items():
                self._ids[path] = len(columns)
                columns.append(f'{alias}."Id" AS c{len(columns)}')
                if path and plan.parents[path].owner is None:
                    columns.append(f'{alias}."Type" AS c{len(columns)}')
        self._keep = len(columns)
        if keep is not None:
            columns.append(f"{keep} AS c{len(columns)}")
        order = "" if plan.aggregate else f'ORDER BY {plan.root}."Id"'
        self._rows = Rows(store, plan.sql(columns, order), plan.parameters)
        self.count = self._rows.count

    def ids(self, start: int, rows: int) -> list[str]:
        """Return the Ids of a page's records."""
        return self._rows.slice(start, rows).column(self._ids[()]).to_pylist()  # type: ignore[no-any-return]

    def kept(self) -> list[Any]:
        """Return the extra value that was kept for each row."""
        return self._rows.slice(0, self.count).column(self._keep).to_pylist()  # type: ignore[no-any-return]

    def records(self, start: int, rows: int, extra: list[str] | None = None) -> list[str]:
        """Return records as JSON text; `extra` is more members for each."""
        columns = [column.to_pylist() for column in self._rows.slice(start, rows).columns]
        if not columns or not columns[0]:
            return []
        return self._objects(columns, (), list(enumerate(self._plan.columns)), extra)

    def _objects(
        self,
        columns: list[list[Any]],
        path: tuple[str, ...],
        wanted: list[tuple[int, Column]],
        extra: list[str] | None = None,
    ) -> list[str]:
        """Return one JSON object per row for the columns under a path."""
        parts = [self._attributes(columns, path)]
        done: set[str] = set()
        for place, column in wanted:
            name = column.path[len(path)]
            if len(column.path) == len(path) + 1:
                kind = "long" if self._epoch_times and column.kind == "datetime" else column.kind
                parts.append(_members(name, kind, columns[place]))
            elif name not in done:
                done.add(name)
                below = [
                    (at, each) for at, each in wanted if len(each.path) > len(path) + 1 and each.path[len(path)] == name
                ]
                inner = self._objects(columns, (*path, name), below)
                identity = columns[self._ids[(*path, name)]]
                parts.append(
                    [
                        f'"{name}":{each}' if there is not None else f'"{name}":null'
                        for each, there in zip(inner, identity, strict=True)
                    ]
                )
        if extra is not None:
            parts.append(extra)
        return ["{" + ",".join(row) + "}" for row in zip(*parts, strict=True)]

    def _attributes(self, columns: list[list[Any]], path: tuple[str, ...]) -> list[str]:
        if self._plan.aggregate:
            return ['"attributes":{"type":"AggregateResult"}'] * len(columns[0])
        place = self._ids[path]
        owner = self._plan.owner if not path else self._plan.parents[path].owner
        if owner is not None:
            head = f'"attributes":{{"type":"{owner.name}","url":"{self._base}/sobjects/{owner.name}/'
            return [f'{head}{each}"}}' for each in columns[place]]
        pairs = zip(columns[place], columns[place + 1], strict=True)
        return [f'"attributes":{{"type":"Name","url":"{self._base}/sobjects/{kind}/{each}"}}' for each, kind in pairs]

    def discard(self) -> None:
        """Give the space back."""
        self._rows.discard()


def _members(name: str, kind: str, values: list[Any]) -> list[str]:
    head = json.dumps(name) + ":"
    nothing = head + "null"
    if is_json_literal(kind) or kind in {"address", "location"}:
        return [nothing if value is None else head + value for value in values]
    encode: Callable[[Any], str] = _text
    if kind == "anyType":
        encode = _native
    return [nothing if value is None else head + encode(value) for value in values]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _native(value: str) -> str:
    """Return the JSON of a value whose type is its own: text that reads as a number or truth value is one."""
    return value if _NATIVE.fullmatch(value) else _text(value)


def _json_sql(column: Column, base: str) -> str:
    if column.kind == "base64":
        name = "" if column.owner is None else column.owner.name
        field = column.path[-1]
        address = f"'{base}/sobjects/{name}/' || {column.alias}.\"Id\" || '/{field}'"
        return f"CASE WHEN {column.sql} IS NOT NULL THEN {address} END"
    if column.kind in {"address", "location"} and column.owner is not None and column.field is not None:
        return _compound_sql(column)
    return text_sql(column.kind, column.sql, bulk=False)


def _compound_sql(column: Column) -> str:
    """Return SQL for the JSON text of an address or a location, null when all its components are."""
    if column.owner is None or column.field is None:
        raise ValueError(column.label)
    parts = []
    stem = (
        column.field.name.removesuffix("__c") + "__"
        if column.field.custom
        else column.field.name.removesuffix("Address")
    )
    for each in column.owner.components(column.field.name):
        key = each.name.removesuffix("__s").removeprefix(stem)
        value = f'{column.alias}."{each.name}"'
        shown = f"java_double({value})" if each.type == "double" else f"CAST(to_json({value}) AS VARCHAR)"
        parts.append((key[:1].lower() + key[1:], value, shown))
    if not parts:
        return "CAST(NULL AS VARCHAR)"
    members = " || ',' || ".join(f"'\"{key}\":' || coalesce({shown}, 'null')" for key, _, shown in sorted(parts))
    there = " OR ".join(f"{value} IS NOT NULL" for _, value, _ in parts)
    return f"CASE WHEN {there} THEN '{{' || {members} || '}}' END"
