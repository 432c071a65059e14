"""What every strategy works on, and the statements that they share."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from sqlglot import exp

from ingestr.core.schema import TableSchema
from ingestr.core.sql import Statements, column, identifier, matches, sql_type
from ingestr.core.strategy import WriteStrategy
from ingestr.core.wording import counted
from ingestr.destinations.base import Destination, TableRef, Target
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag
from ingestr.strategies.fit import Fit, cast

# How many rows have a key; no column of the user's is called so.
_ROWS = "_ingestr_rows"


@dataclass(frozen=True)
class Load:
    """Staged rows and the table they are for.

    Args:
        ref: the table that readers see.
        staging: the table that holds the rows just read.
        staged: the columns of the staging table.
        target: the table as it stands, or None where there is none or it is to be made anew.
        fit: how the staged rows fit the target's columns; None without a target.
        primary_key: columns that identify a row; may be empty.
        cursor: the column whose highest value wins among rows of one key, or None.
        unchanging: columns that alone never make a row count as changed (the load timestamp).
        lost: columns that the source has no values for any more: null in every row that is written.
        deleted: the staged column that marks deleted rows, or None.
        changed: the staged column with the time of a row's last change, or None.
        stamp: a column whose value differs whenever the row has changed, or None; the same value proves nothing.
        comments: what people noted about the table that this load makes anew.
        rewrite: whether the staged rows become the whole table, whatever the strategy does otherwise.
        fresh: columns whose values the target's rows lack, so that a difference there is no change of the row.
        incremental_key: the column that windows are over, or None.
        bounds: first and last moment of the incremental key that the user named, both inclusive, as far as these
            rows were read; None where there is none.
        whole: whether the staged rows are all that the source holds.
        apart: a query for keys of rows that could not be read: the target's versions of them stay. None for no such.
        moment: the source's clock when the run began.
        loaded_at: the load timestamp; None where the rows bear none.
        predicate: which rows of the target a merge may change, over the target's columns; None for all.
        indexed: columns that the index by the primary key of a table made anew holds beside it: those by which later
            runs count its rows. None where it gets no index.
    """

    ref: TableRef
    staging: TableRef
    staged: TableSchema
    target: Target | None
    fit: Fit | None
    primary_key: tuple[str, ...]
    cursor: str | None = None
    unchanging: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    deleted: str | None = None
    changed: str | None = None
    stamp: str | None = None
    comments: Target | None = None
    rewrite: bool = False
    fresh: tuple[str, ...] = ()
    incremental_key: str | None = None
    bounds: tuple[datetime | None, datetime | None] = (None, None)
    whole: bool = False
    apart: exp.Query | None = None
    moment: datetime | None = None
    loaded_at: datetime | None = None
    predicate: exp.Expr | None = None
    indexed: tuple[str, ...] | None = None

    def matching(self, target: str, staged: str) -> exp.Expr:
        """A row of the target, under an alias, is that of a staged row, and may be changed."""
        found = matches(self.primary_key, target, staged)
        return found if self.predicate is None else exp.and_(found, self.changeable(target), copy=False)

    def changeable(self, alias: str | None = None) -> exp.Expr:
        """A row of the target, under an alias, may be changed."""
        if self.predicate is None:
            return exp.true()
        return exp.paren(
            self.predicate.transform(
                lambda node: column(node.name, alias) if isinstance(node, exp.Column) and alias else node
            ),
            copy=False,
        )

    @property
    def becomes(self) -> bool:
        """Whether the staged rows become the whole table."""
        return self.rewrite or self.target is None

    @property
    def compared(self) -> list[str]:
        """The staged columns that tell whether a row has changed: without keys, and what the target's rows lack."""
        added = self.fit.added if self.fit is not None else ()
        skipped = {*self.primary_key, *self.unchanging, *self.fresh, *(each.name for each in added)}
        lowered = {name.lower() for name in skipped}
        return [name for name in self.staged.names if name.lower() not in lowered]

    def beside(self, name: str) -> TableRef:
        """A table of the strategy's own for the time of the load."""
        return TableRef(self.staging.schema, f"{self.staging.name}_{name}")


@dataclass(frozen=True)
class Traits:
    """What a run has to know of a strategy.

    Args:
        name: what the user calls it.
        whole: the rows read become the whole table, so that everything is read, or all of the interval.
        keyed: it needs a primary key.
        windowed: it needs an incremental key.
        deleted_rows: rows in the recycle bin are read too, marked as such.
        only_adds: rows that are there are neither changed nor removed.
        compared: both sides are compared in the end, and what differs is healed.
        keeps_table: the table stays, whether something hangs on it or not.
        current: the column that is true in the one row of each key that stands for what is there now, where the table
            keeps earlier ones beside it; None elsewhere.
        own_columns: columns that it adds.
    """

    name: WriteStrategy
    whole: bool = False
    keyed: bool = False
    windowed: bool = False
    deleted_rows: bool = False
    only_adds: bool = False
    compared: bool = False
    keeps_table: bool = False
    current: str | None = None
    own_columns: TableSchema = field(default_factory=lambda: TableSchema(()))

    @property
    def has_versions(self) -> bool:
        """Whether a key may have several rows, each a version of one record."""
        return self.only_adds or self.current is not None


class Strategy(Protocol):
    """How staged rows become the table: ``prepare``, then ``census``, then ``plan``, in one transaction."""

    TRAITS: Traits

    def prepare(self, load: Load) -> Statements:
        """Statements that leave the rows of the target as they are, but may change its columns."""

    def census(self, load: Load) -> exp.Query:
        """One row with numbers of rows.

        ``inserted``, ``updated`` and ``unchanged`` say what becomes of the staged rows. Where a strategy has use for
        them, ``deleted`` is how many live rows the target loses, ``grown`` how many rows it gains (``inserted`` where
        it is not told), ``earlier`` how many rows of staged keys stay beside the staged ones, ``repeated`` how many
        rows too many the target has of keys that should tell its rows apart, and ``outside`` how many rows of staged
        keys it has that may not be changed.
        """

    def plan(self, load: Load) -> Statements:
        """Statements that write to the target and drop the staging table."""


def drop(table: TableRef) -> exp.Expr:
    """DROP TABLE IF EXISTS."""
    return exp.Drop(tables=[table.to_table()], kind="TABLE", exists=True)


def create_schema(name: str) -> exp.Expr:
    """CREATE SCHEMA IF NOT EXISTS."""
    return exp.Create(this=exp.Table(db=identifier(name)), kind="SCHEMA", exists=True)


def alter(table: TableRef, action: exp.Expr) -> exp.Expr:
    """ALTER TABLE with one action."""
    return exp.Alter(this=table.to_table(), kind="TABLE", actions=[action])


def create_from(table: TableRef, rows: exp.Query, *, lasting: bool = False) -> exp.Expr:
    """CREATE TABLE … AS SELECT ….

    Args:
        table: the new table.
        rows: what it holds.
        lasting: whether it may become the target; one that is dropped before the commit need not survive a crash.
    """
    create = exp.Create(this=table.to_table(), kind="TABLE", expression=rows)
    if not lasting:
        create.set("properties", exp.Properties(expressions=[exp.UnloggedProperty()]))
    return create


def index_on(load: Load, table: TableRef) -> Statements:
    """CREATE INDEX on a table that becomes the target, for later runs; nothing where the load wants none.

    It is not unique, as strategies that keep versions may go on with the table. Its name is left to the engine.
    """
    if load.indexed is None or not load.primary_key:
        return []
    parameters = exp.IndexParameters(
        columns=[column(name) for name in load.primary_key], include=[identifier(name) for name in load.indexed]
    )
    return [exp.Create(this=exp.Index(table=table.to_table(), params=parameters), kind="INDEX")]


def evolve(load: Load) -> Statements:
    """Give the target the columns and types that the staged rows need."""
    if load.fit is None:
        return []
    new = [exp.ColumnDef(this=identifier(each.name), kind=load.fit.kinds[each.name.lower()]) for each in load.fit.added]
    wider = [exp.AlterColumn(this=identifier(each.name), dtype=sql_type(each.type)) for each in load.fit.widened]
    return [alter(load.ref, action) for action in (*new, *wider)]


def staged_rows(load: Load) -> exp.Select:
    """The staged rows under the types of the target's columns."""
    columns: list[exp.Expr] = []
    for each in load.staged.columns:
        plain = column(each.name)
        kinds = load.fit.kinds if load.fit is not None else {}
        kind = kinds.get(each.name.lower(), sql_type(each.type))
        value = cast(plain, each.type, kind)
        columns.append(plain if value is plain else value.as_(each.name, quoted=True))
    return exp.select(*columns).from_(load.staging.to_table())


def comments_on(load: Load) -> Statements:
    """Statements that say again what people had noted about the table and its columns."""
    noted = load.comments
    if noted is None:
        return []
    statements: Statements = []
    if noted.comment is not None:
        statements.append(comment_on(load.ref, None, noted.comment))
    written = {name.lower(): name for name in load.staged.names}
    for each in noted.columns:
        if each.comment is not None and each.name.lower() in written:
            statements.append(comment_on(load.ref, written[each.name.lower()], each.comment))
    return statements


def comment_on(table: TableRef, name: str | None, text: str) -> exp.Expr:
    """COMMENT ON a column of a table, or the table itself where the name is None."""
    literal = exp.Literal.string(text)
    if name is None:
        return exp.Comment(this=table.to_table(), kind="TABLE", expression=literal)
    place = exp.Column(this=identifier(name), table=identifier(table.name), db=identifier(table.schema))
    return exp.Comment(this=place, kind="COLUMN", expression=literal)


def count_rows(destination: Destination, table: TableRef, where: exp.Expr | None = None) -> int:
    """Rows of a table, or those of them for which a condition is true."""
    [[row]] = destination.query(counting(table, where))
    return int(row["n"])


def counting(table: TableRef, where: exp.Expr | None = None) -> exp.Select:
    """One row: ``n``, the rows of a table, or those of them for which a condition is true."""
    counted = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(table.to_table())
    return counted if where is None else counted.where(where)


def refuse_repeated_keys(destination: Destination, table: TableRef, key: Sequence[str]) -> None:
    """Say so where rows of a table are not told apart by its key: somebody has appended versions to it.

    Raises:
        ConfigurationError: they are not.
    """
    keys = [column(name) for name in key]
    repeated = exp.select(*keys).from_(table.to_table()).group_by(*keys).having(exp.Count(this=exp.Star()) > 1)
    found = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(repeated.subquery("r"))
    [[row]] = destination.query(found)
    if number := int(row["n"]):
        raise ConfigurationError(
            f"{counted(number, 'key')} of {table} ({', '.join(key)}) have several rows, so that nobody can tell which "
            "of them is meant; nothing was written",
            hint=f"go on with {Flag.INCREMENTAL_STRATEGY} append, or start again with {Flag.FULL_REFRESH}",
        )


def key_census(load: Load) -> exp.Query:
    """One row: staged ``rows``, rows with a null in the primary key, and distinct keys."""
    keys = [column(name) for name in load.primary_key]
    any_null = exp.or_(*(key.copy().is_(exp.null()) for key in keys))
    grouped = exp.select(*keys, exp.Count(this=exp.Star()).as_(_ROWS)).from_(load.staging.to_table()).group_by(*keys)

    def total(number: exp.Expr) -> exp.Expr:
        return exp.cast(exp.func("COALESCE", exp.Sum(this=number), exp.convert(0)), "BIGINT")

    number = exp.column(_ROWS)
    return exp.select(
        total(number).as_("rows"),
        total(exp.Case().when(any_null, number.copy())).as_("null_keys"),
        exp.Count(this=exp.Star()).as_("distinct_keys"),
    ).from_(grouped.subquery("k"))


def same_version_twice(load: Load, stamp: str) -> exp.Query:
    """One row: ``n``, the number of keys of which staged rows with one and the same timestamp hold different values.

    Rows of one key whose timestamps differ are versions of one record, which an unordered query may give twice.
    """
    keys = [column(name) for name in load.primary_key]
    all_columns = [column(name) for name in load.staged.names]
    repeated = exp.select(*keys).from_(load.staging.to_table()).group_by(*keys).having(exp.Count(this=exp.Star()) > 1)
    key = exp.Tuple(expressions=keys) if len(keys) > 1 else keys[0]
    rows = exp.select(*all_columns).distinct().from_(load.staging.to_table())
    rows = rows.where(exp.In(this=key, query=repeated.subquery()))
    no_stamp = column(stamp).is_(exp.null())
    versions = (
        exp.select(*keys)
        .from_(rows.subquery("r"))
        .group_by(*keys, column(stamp))
        .having(exp.or_(exp.Count(this=exp.Star()) > 1, no_stamp))
    )
    return exp.select(exp.Count(this=exp.Star()).as_("n")).from_(versions.subquery("v"))


def deduplicate(load: Load) -> tuple[Load, Statements]:
    """Keep one staged row a key, the one with the newest cursor value; returns the load over what remains."""
    clean = replace(load, staging=TableRef(load.staging.schema, load.staging.name + "_distinct"))
    newest = [column(load.cursor).desc(nulls_first=False)] if load.cursor else [column(load.primary_key[0]).asc()]
    rank = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name) for name in load.primary_key],
        order=exp.Order(expressions=newest),
    )
    columns = [column(name) for name in load.staged.names]
    ranked = exp.select(*columns, rank.as_("_rank")).from_(load.staging.to_table()).subquery("r")
    rows = exp.select(*columns).from_(ranked).where(exp.column("_rank").eq(1))
    return clean, [create_from(clean.staging, rows, lasting=load.target is None), drop(load.staging)]


def without_repeats(load: Load) -> tuple[Load, Statements]:
    """Keep one of staged rows that are the same in every column; returns the load over what remains."""
    clean = replace(load, staging=load.beside("distinct"))
    rows = exp.select(*(column(name) for name in load.staged.names)).distinct().from_(load.staging.to_table())
    return clean, [create_from(clean.staging, rows, lasting=load.target is None), drop(load.staging)]


def update_from(load: Load, rows: exp.Query) -> exp.Expr:
    """UPDATE of the target's rows that have the key of one of these, with all staged columns."""
    names = [name for name in load.staged.names if name not in load.primary_key]
    values = [exp.EQ(this=exp.Column(this=identifier(name)), expression=column(name, "s")) for name in names]
    update = exp.Update(this=load.ref.to_table("t"), expressions=values, where=exp.Where(this=load.matching("t", "s")))
    update.set("from_", exp.From(this=rows.subquery("s")))
    return update


def insert_into(table: TableRef, names: Sequence[str], rows: exp.Query) -> exp.Expr:
    """INSERT INTO … (names) SELECT …."""
    return exp.insert(rows, table.to_table(), columns=[identifier(name) for name in names])
