"""All tables, through REST and through Bulk: every row, every column, every value as the org holds it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import PostgresDatabase, new_database
from ingestr.simulator import SimulatedOrg
from ingestr.sources.salesforce.meta.objects import NAMED_TABLES
from servers import Server
from support import Database, assert_same, claim_huge, expected, ingest, loaded

CUSTOM = "custom:My__Community_Group__c"
DOCUMENTED = [
    "user", "user_role", "opportunity", "opportunity_line_item", "opportunity_contact_role", "account", "contact",
    "lead", "campaign", "campaign_member", "product", "pricebook", "pricebook_entry", "task", "event",
]  # fmt: skip
MERGED = {
    "opportunity",
    "opportunity_line_item",
    "opportunity_contact_role",
    "account",
    "campaign_member",
    "task",
    "event",
}


def object_of(table: str) -> str:
    """The object behind a table name."""
    return NAMED_TABLES[table].object_name if table in NAMED_TABLES else table.removeprefix("custom:")


def test_the_documented_names_are_all_there() -> None:
    """The fifteen tables have the documented strategies and keys."""
    assert set(DOCUMENTED) <= set(NAMED_TABLES)
    assert {name for name in DOCUMENTED if NAMED_TABLES[name].strategy == "merge"} == MERGED
    assert {NAMED_TABLES[name].cursor_field for name in MERGED} == {"SystemModstamp"}


@pytest.mark.parametrize("table", [*DOCUMENTED, CUSTOM])
@pytest.mark.parametrize("way", ["REST", "Bulk 2.0", "Bulk 2.0 by locator"])
def test_every_value_through_every_api(bulk_org: SimulatedOrg, database: Path, table: str, way: str) -> None:
    """A table is the same whichever API served it: what the org holds, value by value and type by type."""
    check_every_value(bulk_org, database, table, way)


@pytest.mark.parametrize("table", [*DOCUMENTED, CUSTOM])
@pytest.mark.parametrize("way", ["REST", "Bulk 2.0"])
def test_every_value_in_postgresql(
    bulk_org: SimulatedOrg, one_postgres: PostgresDatabase, table: str, way: str
) -> None:
    """The same table in PostgreSQL: the same columns, types and values."""
    one_postgres.execute("DROP TABLE IF EXISTS public.t; DROP SCHEMA IF EXISTS _ingestr CASCADE")
    check_every_value(bulk_org, one_postgres, table, way)


def check_every_value(bulk_org: SimulatedOrg, database: Database, table: str, way: str) -> None:
    """Load a table, and compare it with what the org holds."""
    name = object_of(table)
    if way != "REST":
        claim_huge(bulk_org, name)
    bulk_org.result_pages_supported = way == "Bulk 2.0"
    result = ingest(bulk_org, table, database, page_size=70)
    truth = expected(bulk_org, name, deleted=table in MERGED)
    assert way.startswith(result.read_by)
    assert result.rows_read == truth.num_rows > 0
    assert result.strategy == ("merge" if table in MERGED else "replace")
    assert_same(loaded(database), truth)
    assert bulk_org.live_jobs == []


@pytest.fixture(scope="module")
def one_postgres(postgres_server: Server) -> Iterator[PostgresDatabase]:
    """A database for all tests of this module."""
    with new_database(postgres_server) as database:
        yield database


@pytest.fixture(scope="module")
def bulk_org() -> Iterator[SimulatedOrg]:
    """An org of several result pages an object."""
    with SimulatedOrg(rows=300, seed=11) as org:
        org.page_rows = 80
        yield org


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("case_status", "CaseStatus"),
        ("CaseStatus", "CaseStatus"),
        ("record_type", "RecordType"),
        ("Account", "Account"),
    ],
)
def test_any_object_by_its_name(shared_org: SimulatedOrg, database: Path, asked: str, name: str) -> None:
    """Objects without a documented name are found by API name or snake_case."""
    result = ingest(shared_org, asked, database)
    assert result.source_object == name
    assert loaded(database).num_rows == shared_org.count(name, deleted=result.strategy == "merge")


def test_an_object_that_bulk_refuses_comes_by_rest(org: SimulatedOrg, database: Path) -> None:
    """When the job is refused at its creation, REST reads the table from the start."""
    claim_huge(org, "Contact")
    org.bulk_refuses = {*org.bulk_refuses, "Contact"}
    result = ingest(org, "contact", database)
    assert result.read_by == "REST"
    assert_same(loaded(database), expected(org, "Contact", deleted=False))


@pytest.mark.parametrize("way", ["REST", "Bulk 2.0"])
def test_an_empty_object_gives_an_empty_table(tmp_path: Path, way: str) -> None:
    """No rows is a result: the table exists with all its columns."""
    with SimulatedOrg(rows=0, seed=3) as org:
        if way != "REST":
            claim_huge(org, "Lead")
        result = ingest(org, "lead", tmp_path / "sf.db")
        assert (result.read_by, result.rows_read) == (way, 0)
        assert_same(loaded(tmp_path / "sf.db"), expected(org, "Lead", deleted=False))


def test_collisions_and_reserved_words_keep_their_columns(shared_org: SimulatedOrg, database: Path) -> None:
    """Fields that meet on one snake_case name both arrive, and SQL words are names like others."""
    result = ingest(shared_org, CUSTOM, database)
    names = loaded(database).column_names
    assert len([name for name in names if name.startswith("foo_bar__c")]) == 2
    assert {"select__c", "order__c", "group__c"} <= set(names)
    assert any("foo_bar__c" in note for note in result.notes)


def test_direct_naming_keeps_salesforces_spelling(shared_org: SimulatedOrg, database: Path) -> None:
    """--schema-naming direct gives API names."""
    ingest(shared_org, "account", database, schema_naming="direct")
    assert_same(loaded(database, key="Id"), expected(shared_org, "Account", deleted=True, naming="direct"))


def test_excluded_columns_are_not_even_downloaded(org: SimulatedOrg, database: Path) -> None:
    """--sql-exclude-columns takes column or API names, and no query mentions them."""
    ingest(org, "account", database, sql_exclude_columns=["description", "AnnualRevenue"])
    names = loaded(database).column_names
    assert "description" not in names
    assert "annual_revenue" not in names
    assert "phone" in names
    assert not any("Description" in request.query for request in org.requests)


def test_a_limit_is_a_limit(shared_org: SimulatedOrg, database: Path) -> None:
    """--sql-limit reads that many rows, and remembers no progress: the next run reads all."""
    assert ingest(shared_org, "account", database, sql_limit=5).rows_read == 5
    assert loaded(database).num_rows == 5
    ingest(shared_org, "account", database)
    assert loaded(database).num_rows == shared_org.count("Account", deleted=True)


def test_a_field_list_too_long_for_a_url(org: SimulatedOrg, database: Path) -> None:
    """Hundreds of long field names go by Bulk, and where Bulk refuses by several REST queries put together by Id."""
    for number in range(450):
        org.add_field("Contact", f"A_Rather_Long_Field_Name_{number:03d}__c", "string", length=255)
    ids = org.table("Contact").column("Id").to_pylist()
    org.update("Contact", ids[:3], {"A_Rather_Long_Field_Name_449__c": "last"})
    for way in ("Bulk 2.0", "REST"):
        result = ingest(org, "contact", database)
        assert result.read_by == way
        assert_same(loaded(database), expected(org, "Contact", deleted=False))
        org.bulk_refuses = {*org.bulk_refuses, "Contact"}
    assert max(len(r.path) + len(r.query) for r in org.requests) < 16_384
