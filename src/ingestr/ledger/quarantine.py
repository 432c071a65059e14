"""Rows that cannot be had as declared: kept apart with what is wrong, so that the others can be loaded."""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from ingestr.core.schema import TIMESTAMP
from ingestr.core.sql import Statements, column
from ingestr.destinations.base import Destination, TableRef
from ingestr.errors import DecodeError
from ingestr.flags import Flag
from ingestr.ledger.ledger import Ledger
from ingestr.ledger.table import SystemTable, about
from ingestr.sources.base import RejectedRow

_TEXT = pa.string()
TABLE = SystemTable(
    "quarantine",
    {
        "source_object": _TEXT,
        "row_id": _TEXT,
        "field": _TEXT,
        "value": _TEXT,
        "reason": _TEXT,
        "run_id": _TEXT,
        "quarantined_at": TIMESTAMP,
    },
    most=1,
)


def _what(row: RejectedRow) -> str:
    if row.field is None:
        return row.reason
    # A value that is masked is not known here.
    value = "cannot be had" if row.value is None else f"is {row.value!r}"
    return f"{row.field} of row {row.key} {value}: {row.reason}"


class Quarantine:
    """What one run sets aside for one target.

    Args:
        destination: holds the target.
        ledger: where they are kept, and for which table.
        common: what is noted with each of them: ``source_object``, ``run_id``, ``quarantined_at``.
        limit: how many rows may be set aside before the run is an error.
    """

    def __init__(self, destination: Destination, ledger: Ledger, common: Mapping[str, object], limit: int) -> None:
        self._destination = destination
        self._ledger = ledger
        self._common = common
        self._limit = limit
        self._rows: dict[tuple[str | None, str | None], RejectedRow] = {}
        # Whether rows of the target lie in quarantine, as far as is known: of this run or of an earlier one.
        self._before = bool(ledger.rows(TABLE))
        self._kept = self._before

    def add(self, row: RejectedRow) -> None:
        """Set a row aside.

        Raises:
            DecodeError: it is one more than the user allows.
        """
        self._rows[row.key, row.field] = row
        if len({key for key, _ in self._rows}) > self._limit:
            what = _what(row)
            more = f"; that makes more than {self._limit} rows that cannot be read" if self._limit else ""
            fields = ",".join(sorted({field for _, field in self._rows if field}))
            hint = f"{Flag.QUARANTINE_LIMIT} {10 * self._limit or 100} sets more rows aside"
            if fields:
                hint += f"; {Flag.SQL_EXCLUDE_COLUMNS} {fields} does without"
            raise DecodeError(what + more, hint=hint)

    def check(self, rows: int, what: str) -> None:
        """Refuse to set so many rows aside; ``what`` says what is wrong with them.

        Raises:
            DecodeError: they are more than the user allows.
        """
        if rows > self._limit:
            raise DecodeError(
                f"{rows} rows {what}, and {Flag.QUARANTINE_LIMIT} is {self._limit}",
                hint=f"choose types that hold the values, or {Flag.QUARANTINE_LIMIT} {10 * rows}",
            )

    def forget(self) -> None:
        """Nothing of what was read stays: the read begins again."""
        self._rows.clear()
        self._kept = self._before

    def write(self, whole: TableRef | None, key: str, *, rewrite: bool = False) -> None:
        """Keep what was set aside since the last call.

        Args:
            whole: rows that were read with all their columns, and so are out of quarantine.
            key: their column that holds the row's Id.
            rewrite: whether the target is replaced, so that what earlier runs set aside means nothing any more.
        """
        statements: Statements = []
        if self._kept and rewrite:
            statements.append(self._ledger.delete(TABLE))
        elif self._kept and whole is not None:
            ids_of_whole = exp.select(column(key)).from_(whole.to_table())
            statements.append(self._ledger.delete(TABLE, column("row_id").isin(query=ids_of_whole)))
        if self._rows:
            ids = [exp.convert(key) for key in sorted({key for key, _ in self._rows if key is not None})]
            if self._kept and ids:
                statements.append(self._ledger.delete(TABLE, column("row_id").isin(*ids)))
            rows = [
                {"row_id": row.key, "field": row.field, "value": row.value, "reason": row.reason, **self._common}
                for row in self._rows.values()
            ]
            statements += [*self._ledger.ensure(TABLE), *self._ledger.insert(TABLE, rows)]
            self._kept = True
        self._rows.clear()
        if statements:
            self._destination.execute(statements)

    def keep(self, staged: TableRef, key: str | None, field: str, reason: str, condition: exp.Expr) -> Statements:
        """Statements that set aside staged rows of which ``condition`` is true, for the value in a column of theirs."""
        row: dict[str, exp.Expr] = {
            "table_schema": exp.convert(self._ledger.ref.schema),
            "table_name": exp.convert(self._ledger.ref.name),
            "row_id": exp.cast(exp.null() if key is None else column(key), "TEXT"),
            "field": exp.convert(field),
            "value": exp.cast(column(field), "TEXT"),
            "reason": exp.convert(reason),
        }
        row |= {
            name: exp.cast(exp.convert(str(value)), "TIMESTAMPTZ" if isinstance(value, datetime) else "TEXT")
            for name, value in self._common.items()
        }
        rows = exp.select(*row.values()).from_(staged.to_table()).where(condition)
        self._kept = True
        return [
            *self._ledger.ensure(TABLE),
            exp.insert(rows, TABLE.ref.to_table(), columns=[exp.to_identifier(n) for n in row]),
        ]

    def ids(self) -> exp.Select | None:
        """A query for the Ids of the rows in quarantine; None where there are none."""
        if not self._kept:
            return None
        known = exp.not_(column("row_id").is_(exp.null()))
        return exp.select(column("row_id")).distinct().from_(TABLE.ref.to_table()).where(about(self._ledger.ref), known)

    def keep_only(self, ids: exp.Query) -> Statements:
        """Statements that release rows which are not among those that the source still has."""
        if not self._kept:
            return []
        return [self._ledger.delete(TABLE, exp.not_(column("row_id").isin(query=ids)))]

    def count(self) -> int:
        """How many rows of the target are in quarantine."""
        ids = self.ids()
        if ids is None:
            return 0
        counted = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(ids.subquery("q"))
        [[row]] = self._destination.query(counted)
        return int(row["n"])
