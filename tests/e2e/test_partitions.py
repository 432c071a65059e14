"""A read in partitions: values that any process can read, again and again, with nothing but the connection's URI."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pyarrow as pa
import pytest

from ingestr.core.secret import Secret
from ingestr.core.strategy import WriteStrategy
from ingestr.errors import ConfigurationError, IncompleteReadError, IngestrError, RequestRefusedError
from ingestr.registry import open_source
from ingestr.simulator import Fault, SimulatedOrg
from ingestr.sources.base import Partition, PartitionedRead, ReadRequest, RejectedRow, Source
from ingestr.sources.salesforce.meta.objects import NAMED_TABLES
from ingestr.sources.salesforce.read import body
from ingestr.sources.salesforce.read.partitions import PagePartition, QueryPartition
from support import JSON_HEADERS, FastClock, assert_same, claim_huge, source_uri

PAGE = 80
TOO_LONG = json.dumps([{"errorCode": "QUERY_TIMEOUT", "message": "Your query request was running for too long."}])
COMPLICATED = json.dumps([{"errorCode": "QUERY_TOO_COMPLICATED", "message": "Too many fields."}])

# What an executor does: it has the URI in its environment, and a pickled partition.
READER = """
import os, pickle, sys
import pyarrow as pa
from ingestr.core.clock import SystemClock
from ingestr.core.secret import Secret
from ingestr.registry import open_source

source = open_source(Secret(os.environ["SOURCE_URI"]), SystemClock())
tables = []
for partition in pickle.loads(sys.stdin.buffer.read()):
    with source.read(partition) as rows:
        tables.append(rows.reader().read_all())
source.close()
sys.stdout.buffer.write(pickle.dumps(tables))
"""


@pytest.fixture
def org() -> Iterator[SimulatedOrg]:
    """An org of several result pages an object."""
    with SimulatedOrg(rows=300, seed=11) as made:
        made.page_rows = PAGE
        yield made
        assert made.internal_errors == []


@pytest.fixture(scope="module")
def settled_org() -> Iterator[SimulatedOrg]:
    """The same for tests that leave it as it is."""
    with SimulatedOrg(rows=300, seed=11) as made:
        made.page_rows = PAGE
        yield made


Opened = Callable[..., Source]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Makes connections, each of its own, that are closed in the end."""
    made: list[Source] = []

    def connect(org: SimulatedOrg, login: str = "client") -> Source:
        made.append(open_source(Secret(source_uri(org, login)), FastClock()))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def planned(source: Source, table: str, **asked: Any) -> PartitionedRead:
    """The partitions of a table with all its columns; what is merged is read with the recycle bin."""
    stream = source.stream(table)
    deleted = stream.strategy is WriteStrategy.MERGE
    request = {"fields": tuple(stream.schema.names), "include_deleted": deleted, "page_size": PAGE, **asked}
    return stream.partitions(ReadRequest(**request))


def read(source: Source, partition: Partition) -> pa.Table:
    """All rows of a partition."""
    with source.read(partition) as rows:
        return rows.reader().read_all()


def together(tables: list[pa.Table]) -> pa.Table:
    """The rows of several partitions in the order of their Ids."""
    return pa.concat_tables(tables).sort_by("Id")


@pytest.mark.parametrize("table", [name for name in NAMED_TABLES if not name.endswith("_history")])
@pytest.mark.parametrize("way", ["REST", "Bulk 2.0"])
def test_the_partitions_are_the_table(settled_org: SimulatedOrg, opened: Opened, table: str, way: str) -> None:
    """By either API, partitions together are all rows, as many as promised; the job stays until the read is over."""
    org, source, name = settled_org, opened(settled_org), NAMED_TABLES[table].object_name
    if way != "REST":
        claim_huge(org, name)
    one = planned(source, table)
    kind = QueryPartition if way == "REST" else PagePartition
    assert one.partitions
    assert all(isinstance(each, kind) for each in one.partitions)
    tables = [read(opened(org), pickle.loads(pickle.dumps(each))) for each in one.partitions]
    truth = org.table(name, deleted=NAMED_TABLES[table].strategy is WriteStrategy.MERGE).sort_by("Id")
    counts = [each.num_rows for each in tables]
    one.check(counts)
    assert [group.rows for group in one.groups] == [truth.num_rows if way != "REST" else None]
    if way != "REST":
        with pytest.raises(
            IncompleteReadError, match=f"promised {sum(counts)} rows and its partitions gave {sum(counts) - 1}"
        ):
            one.check([counts[0] - 1, *counts[1:]])
    assert_same(together(tables), truth)
    assert len(org.live_jobs) == (way != "REST")
    opened(org).discard(pickle.loads(pickle.dumps(one)))
    assert org.live_jobs == []


def by_pages(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Result pages that Salesforce lists."""
    claim_huge(org, "Lead")
    return planned(source, "lead")


def by_locators(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Result pages that follow one another."""
    org.result_pages_supported = False
    claim_huge(org, "Lead")
    return planned(source, "lead")


def by_ranges(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Ranges of Ids, as the whole takes Salesforce too long."""
    org.query_timeout_rows = 100
    return planned(source, "lead")


def by_ranges_and_jobs(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Ranges of Ids that are jobs, as the field list is too long for a URL."""
    for number in range(450):
        org.add_field("Lead", f"A_Rather_Long_Field_Name_{number:03d}__c", "string", length=255)
    return by_ranges(org, source)


def by_groups(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """A query whose fields are asked for in groups."""
    org.faults.add(refusing_more_than(20))
    return planned(source, "lead")


def by_keys(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Rows of some Ids, more than one query takes."""
    return planned(source, "lead", keys=tuple(sorted(org.table("Lead").column("Id").to_pylist())[:250]))


def by_ranges_of_a_query(org: SimulatedOrg, source: Source) -> PartitionedRead:
    """Ranges of Ids among the rows of a user's query."""
    org.query_timeout_rows = 100
    return planned(source, "query:SELECT FIELDS(ALL) FROM Lead l WHERE l.Name != 'Nobody' OR l.Name = null")


def refusing_more_than(fields: int) -> Fault:
    """Queries for more fields are too complicated for ever."""
    path = r"\?q=SELECT." + r"\w+%2C." * fields
    return Fault(path=path, times=None, status=400, headers=JSON_HEADERS, body=COMPLICATED)


@pytest.mark.parametrize(
    "cut", [by_pages, by_locators, by_ranges, by_ranges_and_jobs, by_groups, by_keys, by_ranges_of_a_query]
)
def test_every_kind_is_read_twice_in_another_process(org: SimulatedOrg, opened: Opened, cut: Any) -> None:
    """The rows are the same each time, and with the URI in the environment nothing else is needed."""
    one = cut(org, opened(org))
    pickled = pickle.dumps([*one.partitions, *one.partitions])
    done = subprocess.run(
        [sys.executable, "-c", READER],
        input=pickled,
        env={**os.environ, "SOURCE_URI": source_uri(org)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    tables = pickle.loads(done.stdout)
    once, again = tables[: len(one.partitions)], tables[len(one.partitions) :]
    assert once == again
    assert all(part.rows in {None, rows.num_rows} for part, rows in zip(one.partitions, once, strict=True))
    truth = org.table("Lead").sort_by("Id")
    assert_same(together(once), truth.slice(0, 250) if cut is by_keys else truth)
    opened(org).discard(one)
    assert org.live_jobs == []


def test_how_a_table_is_cut(org: SimulatedOrg, opened: Opened) -> None:
    """What Salesforce refuses whole becomes ranges of Ids; fields that it refuses together are told to all."""
    ranges = by_ranges(org, opened(org)).partitions
    assert len(ranges) > 2
    assert all("Id " in part.origin for part in ranges)
    org.query_timeout_rows = None
    [part] = by_groups(org, opened(org)).partitions
    assert isinstance(part, QueryPartition)
    assert len(part.groups) > 1
    org.requests.clear()
    read(opened(org), part)
    assert next(r for r in org.requests if "SELECT" in r.query).status == 200


@pytest.mark.parametrize("cut", [by_pages, by_ranges, by_groups])
def test_a_partition_holds_no_secret(org: SimulatedOrg, opened: Opened, cut: Any) -> None:
    """Neither the login nor the session travels with it, nor does it stand in its texts."""
    one = cut(org, opened(org, "token"))
    pickled = pickle.dumps(one) + repr(one).encode() + " ".join(part.origin for part in one.partitions).encode()
    for login in ("client", "token", "password"):
        for name, [secret] in parse_qs(source_uri(org, login).partition("?")[2]).items():
            assert name == "domain" or secret.encode() not in pickled
    assert len(pickle.dumps(one.partitions[0])) < 20_000


def test_a_partition_of_another_org_is_refused(org: SimulatedOrg, opened: Opened) -> None:
    """Ids of jobs are not unique beyond one org, and its rows are none of another's."""
    [part] = planned(opened(org), "contact").partitions
    with (
        SimulatedOrg(rows=5, seed=12) as other,
        pytest.raises(ConfigurationError, match="this login is for the org") as caught,
    ):
        opened(other).read(part)
    assert "source URI" in str(caught.value.hint)


def test_a_partition_whose_job_is_gone(org: SimulatedOrg, opened: Opened) -> None:
    """After seven days, or when somebody has deleted the job, the error says so; a deletion repeated is no failure."""
    source = opened(org)
    one = by_pages(org, source)
    source.discard(one)
    with pytest.raises(RequestRefusedError, match=r"Bulk job 750\w+ is gone") as caught:
        read(source, one.partitions[1])
    assert "kept for 7 days" in str(caught.value.hint)
    source.discard(one)


def test_a_page_that_changed(org: SimulatedOrg, opened: Opened) -> None:
    """A page with other rows than when the read was planned is fetched again, and then an error."""
    source = opened(org)
    one = by_locators(org, source)
    first = one.partitions[0]
    assert first.rows == PAGE
    assert isinstance(first, PagePartition)
    with pytest.raises(IncompleteReadError, match="80 rows where there were, when the read was planned, 79"):
        read(source, replace(first, rows=PAGE - 1))
    assert len([r for r in org.requests if r.path.endswith("/results")]) == len(one.partitions) + 4


def test_a_broken_page_is_fetched_again(org: SimulatedOrg, opened: Opened) -> None:
    """What a page is proved by is the same wherever it is read."""
    source = opened(org)
    one = by_pages(org, source)
    org.faults.add(Fault(path="/results", truncate=400, clean_cut=True))
    assert read(source, one.partitions[0]).num_rows == PAGE
    org.faults.add(Fault(path="/results", times=None, record_count_delta=1))
    with pytest.raises(IncompleteReadError, match="where its header says 81"):
        read(source, one.partitions[0])


def test_a_task_that_breaks_off_is_repeated(org: SimulatedOrg, opened: Opened) -> None:
    """Whoever closes a partition early leaves nothing behind, and may read it again."""
    source = opened(org)
    one = by_pages(org, source)
    for part in one.partitions:
        with source.read(part) as rows:
            next(iter(rows))
    one.check([read(source, part).num_rows for part in one.partitions])
    assert [group.rows for group in one.groups] == [org.count("Lead")]


@pytest.mark.parametrize("page", ["first", "second"])
def test_what_turns_out_too_large_is_cut_where_it_is_read(org: SimulatedOrg, opened: Opened, page: str) -> None:
    """A query that was served when it was planned may take too long later: its reader cuts it, and cleans up."""
    source = opened(org)
    org.rest_rows = 200
    [part] = planned(source, "lead", page_size=200).partitions
    path = r"/query\?.*ORDER\+BY\+Id$" if page == "first" else "/query/01g"
    org.faults.add(Fault(path=path, status=400, headers=JSON_HEADERS, body=TOO_LONG))
    if page == "first":
        org.query_timeout_rows = 100
    assert_same(together([read(opened(org), part)]), org.table("Lead").sort_by("Id"))
    assert org.live_jobs == []


def test_rows_that_do_not_fit_are_told(org: SimulatedOrg, opened: Opened) -> None:
    """The reader of a partition hears of them, or fails."""
    source = opened(org)
    claim_huge(org, "Lead")
    stream = source.stream("lead")
    one = stream.partitions(ReadRequest(("Id", "Company"), widened={"Company": pa.date32()}))
    with pytest.raises(IngestrError, match="Company"):
        read(source, one.partitions[0])
    aside: list[RejectedRow] = []
    with source.read(one.partitions[0], aside.append) as rows:
        assert rows.reader().read_all().num_rows + len({row.key for row in aside}) == PAGE
    assert {row.field for row in aside} == {"Company"}


def test_what_is_private_lies_in_no_file(
    org: SimulatedOrg, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large page goes through a file of the machine that reads it, unless the read is one that leaves no trace."""
    monkeypatch.setattr(body, "LARGE_BODY", 500)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere" / "a file"))
    (tmp_path / "nowhere").touch()
    source = opened(org)
    claim_huge(org, "Lead", times=None)
    with pytest.raises(IngestrError, match="cannot be kept in a file"):
        read(source, planned(source, "lead").partitions[0])
    part = planned(source, "lead", private=True).partitions[0]
    assert read(source, pickle.loads(pickle.dumps(part))).num_rows == PAGE


@pytest.mark.parametrize("where", ["resultPages", r"/results", "state"])
def test_a_plan_that_fails_leaves_no_job(org: SimulatedOrg, opened: Opened, where: str) -> None:
    """Whether the job fails, its pages cannot be listed, or their headers cannot be had."""
    claim_huge(org, "Lead")
    if where == "state":
        org.faults.add(Fault(path="/jobs/query/", job_state="Failed", error_message="deep inside"))
    else:
        org.result_pages_supported = where == "resultPages"
        org.faults.add(Fault(path=where, times=None, status=500, headers=JSON_HEADERS, body="[]"))
    with pytest.raises(IngestrError):
        planned(opened(org), "lead")
    assert org.live_jobs == []


def test_locators_that_lead_in_a_circle_are_left(org: SimulatedOrg, opened: Opened) -> None:
    """A plan has an end, too."""
    claim_huge(org, "Lead")
    org.result_pages_supported = False
    org.faults.add(Fault(path="/results", times=None, headers={"Sforce-Locator": "MQ"}))
    with pytest.raises(IncompleteReadError, match="was read before"):
        planned(opened(org), "lead")
    assert org.live_jobs == []


def test_a_partition_of_another_source_is_a_mistake(settled_org: SimulatedOrg, opened: Opened) -> None:
    """Whatever else is given is no partition."""
    with pytest.raises(TypeError, match="no partition of Salesforce: str"):
        opened(settled_org).read("750")  # type: ignore[arg-type]
