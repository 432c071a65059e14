"""Each strategy on real databases, against a small model in plain Python, over any sequence of loads."""

from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestr.destinations.base import Destination
from ingestr.strategies import STRATEGIES, append, delete_insert, replace, scd2, truncate_insert
from ingestr.strategies.base import Strategy, deduplicate, without_repeats
from staged import Row, at, content, empty, stage, write
from support import EXAMPLES

ROWS = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 2), st.integers(0, 20)), max_size=8)
LOADS = st.lists(ROWS, min_size=1, max_size=5)
CHECKED = settings(
    max_examples=max(20, EXAMPLES // 2),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    database=None,
)


def one_a_second(rows: list[Row]) -> list[Row]:
    """Of rows of one key and one second, one: which of two is newer is nobody's promise."""
    return list({(key, second): (key, n, second) for key, n, second in rows}.values())


def newest(rows: list[Row]) -> dict[str, Row]:
    """The newest row of each key."""
    return {row[0]: row for row in sorted(one_a_second(rows), key=lambda row: row[2])}


def test_every_strategy_has_its_line() -> None:
    """The registry knows each by the name that users write."""
    assert list(STRATEGIES) == ["replace", "append", "merge", "delete+insert", "truncate+insert", "scd2"]


@pytest.mark.parametrize("strategy", [replace, truncate_insert])
@CHECKED
@given(LOADS)
def test_the_whole_table_is_what_was_read_last(
    database: Destination, strategy: Strategy, loads: list[list[Row]]
) -> None:
    """Nothing of an earlier load stays."""
    empty(database)
    for rows in loads:
        write(database, strategy, stage(database, rows, rewrite=True))
        assert content(database, "id", "n", "stamp") == sorted(((k, n, at(s)) for k, n, s in rows), key=repr)


@CHECKED
@given(LOADS)
def test_append_is_the_set_of_versions_seen(database: Destination, loads: list[list[Row]]) -> None:
    """A version is added once, however often windows overlap; another value within the same second is another one."""
    empty(database)
    model: set[Row] = set()
    for rows in loads:
        load, statements = without_repeats(stage(database, rows))
        database.execute(statements)
        census = write(database, append, load)
        assert census["inserted"] == len(set(rows) - model)
        assert census["unchanged"] == len(set(rows) & model)
        model |= set(rows)
        assert content(database, "id", "n", "stamp") == sorted(((k, n, at(s)) for k, n, s in model), key=repr)


@CHECKED
@given(LOADS)
def test_append_without_a_cursor_adds_every_row(database: Destination, loads: list[list[Row]]) -> None:
    """Nobody can tell versions without an incremental key: every run adds what it read."""
    empty(database)
    model: list[Row] = []
    for rows in loads:
        write(database, append, stage(database, rows, incremental_key=None))
        model += rows
        assert content(database, "id", "n", "stamp") == sorted(((k, n, at(s)) for k, n, s in model), key=repr)


BOUNDS = st.tuples(st.none() | st.integers(0, 20), st.none() | st.integers(0, 20))


@CHECKED
@given(st.lists(st.tuples(ROWS, BOUNDS), min_size=1, max_size=5), st.booleans())
def test_delete_insert_replaces_a_range(
    database: Destination, loads: list[tuple[list[Row], tuple[int | None, int | None]]], keyed: bool
) -> None:
    """Rows from the first to the last moment go, and the staged ones come; without a bound nothing is done."""
    empty(database)
    model: list[Row] = []
    for turn, (read, (start, end)) in enumerate(loads):
        rows = one_a_second(read)
        load = stage(database, rows, primary_key=("id",) if keyed else ())
        if keyed:
            load, statements = deduplicate(load)
            database.execute(statements)
            rows = list(newest(rows).values())
        seconds = [second for _, _, second in rows]
        low = min([*seconds, *([] if start is None else [start])], default=None)
        high = max([*seconds, *([] if end is None else [end])], default=None)
        named = (None if start is None else at(start), None if end is None else at(end))
        census = write(database, delete_insert, replace_fields(load, bounds=named))
        if turn:
            going = [row for row in model if low is not None and high is not None and low <= row[2] <= high]
            model = [row for row in model if row not in going]
            if keyed:
                keys = {key for key, _, _ in rows}
                assert census["deleted"] == len([row for row in going if row[0] not in keys])
                assert census["earlier"] == len([row for row in model if row[0] in keys])
        model += rows
        assert content(database, "id", "n", "stamp") == sorted(((k, n, at(s)) for k, n, s in model), key=repr)


@dataclass
class Version:
    """A version of a record, as the model holds it."""

    n: int | None
    stamp: int
    begins: Any
    ends: Any = None


@dataclass
class Versions:
    """What scd2 has to keep, by key."""

    of: dict[str, list[Version]] = field(default_factory=dict)

    def see(self, rows: dict[str, Row], deleted: frozenset[str], now: Any, *, whole: bool) -> None:
        """Take the newest row of each key."""
        for key, (_, n, second) in rows.items():
            versions = self.of.setdefault(key, [])
            current = versions[-1] if versions and versions[-1].ends is None else None
            floor = (current.begins if current else versions[-1].ends) if versions else None
            begins = at(second) if floor is None or at(second) > floor else after(now, floor)
            if current is None:
                if key not in deleted:
                    versions.append(Version(n, second, begins))
            elif second >= current.stamp and (key in deleted or (n, second) != (current.n, current.stamp)):
                current.ends = begins
                if key not in deleted:
                    versions.append(Version(n, second, begins))
        for key, versions in self.of.items():
            if whole and key not in rows and versions and versions[-1].ends is None:
                versions[-1].ends = after(now, versions[-1].begins)


def after(now: Any, floor: Any) -> Any:
    """The clock, or the next moment where it has not moved."""
    return now if now > floor else floor + timedelta(microseconds=1)


VISITS = st.tuples(ROWS, st.frozensets(st.sampled_from("abcde"), max_size=2), st.booleans(), st.integers(0, 5))


@CHECKED
@given(st.lists(VISITS, min_size=1, max_size=6))
def test_scd2_keeps_versions_that_follow_each_other(
    database: Destination, visits: list[tuple[list[Row], frozenset[str], bool, int]]
) -> None:
    """Changed, late, deleted, vanished and returning rows: no two versions overlap, and one at most is current."""
    empty(database)
    model, clock = Versions(), 21
    for turn, (some, deleted, whole, seconds) in enumerate(visits):
        clock += seconds
        rows = newest(one_a_second(some))
        load = stage(database, list(rows.values()), deleted, whole=whole, moment=at(clock))
        counted = {key: [replace_fields(each) for each in versions] for key, versions in model.of.items()}
        census = write(database, scd2, load)
        model.see(rows, deleted, at(clock), whole=whole)
        expected = [
            (key, each.n, at(each.stamp), each.begins, each.ends, each.ends is None)
            for key, versions in model.of.items()
            for each in versions
        ]
        names = ("id", "n", "stamp", "_scd_valid_from", "_scd_valid_to", "_scd_is_current")
        assert content(database, *names) == sorted(expected, key=repr)
        for versions in model.of.values():
            assert all(each.ends is None or each.begins < each.ends for each in versions)
            assert all(a.ends is not None and a.ends <= b.begins for a, b in pairwise(versions))
        if turn:
            assert census["inserted"] + census["updated"] == sum(
                len(versions) - len(counted.get(key, [])) for key, versions in model.of.items()
            )
            write(database, scd2, stage(database, list(rows.values()), deleted, whole=whole, moment=at(clock + 1)))
            assert content(database, *names) == sorted(expected, key=repr), "the same rows again change something"
