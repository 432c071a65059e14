"""A table that somebody else made, or hung things on: what is theirs is kept, or named before a row is read."""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestr.errors import ConfigurationError
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, ingest, loaded

TYPES = [
    {
        "number_of_employees": "INTEGER",
        "annual_revenue": "DECIMAL(28,4)",
        "is_deleted": "TINYINT",
        "created_date": "TIMESTAMP",
        "system_modstamp": "TIMESTAMP_S",
        "_ingestr_loaded_at": "TIMESTAMP",
    },
    {
        "number_of_employees": "DECIMAL(18,0)",
        "is_deleted": "VARCHAR",
        "created_date": "TIMESTAMP_NS",
        "system_modstamp": "TIMESTAMP",
        "last_modified_date": "TIMESTAMP",
        "_ingestr_loaded_at": "TIMESTAMP_NS",
    },
    {
        "number_of_employees": "VARCHAR",
        "annual_revenue": "VARCHAR",
        "created_date": "VARCHAR",
        "last_modified_date": "TIMESTAMP_MS",
    },
    {"number_of_employees": "DOUBLE", "created_date": "TIMESTAMP_S", "owner_id": "VARCHAR"},
]


def sql(database: Path, text: str) -> list[Any]:
    """Run statements as the table's owner would."""
    with duckdb.connect(str(database)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(text).fetchall()


def kinds_of(database: Path) -> dict[str, str]:
    """The types of the table's columns as DuckDB declares them."""
    where = "schema_name = 'public' AND table_name = 't'"
    return dict(sql(database, f"SELECT column_name, data_type FROM duckdb_columns() WHERE {where}"))


def change_some(org: SimulatedOrg, name: str = "Account") -> None:
    """An hour later some rows have changed, one is new and one is gone."""
    org.clock.advance(3600)
    ids = org.table(name).column("Id").to_pylist()
    org.update(name, ids[:4], {"Phone": "555"})
    org.insert(name, [{"Name": "new"} if name == "Account" else {"LastName": "new"}])
    org.delete(name, ids[5:6])
    org.clock.advance(60)


def live_ids(database: Path) -> list[str]:
    """Ids of the rows that are not marked as deleted, whatever type the mark has."""
    return [row[0] for row in sql(database, "SELECT id FROM public.t WHERE NOT is_deleted::BOOLEAN ORDER BY id")]


@pytest.mark.parametrize("kinds", TYPES, ids=range(len(TYPES)))
def test_types_of_others_are_kept(org: SimulatedOrg, database: Path, kinds: dict[str, str]) -> None:
    """A column whose type ingestr did not make keeps it while every value fits, in merges as in the first load."""
    columns = ", ".join(f"{column} {kind}" for column, kind in kinds.items())
    sql(database, f"CREATE SCHEMA public; CREATE TABLE public.t(id VARCHAR, name VARCHAR, {columns})")
    ingest(org, "account", database)
    change_some(org)
    result = ingest(org, "account", database)
    assert kinds_of(database).items() >= kinds.items()
    assert (result.rows_inserted, result.rows_updated) == (1, 5)
    assert result.rows_in_source == result.rows_in_destination
    assert live_ids(database) == sorted(org.table("Account").column("Id").to_pylist())
    again = ingest(org, "account", database)
    assert (again.rows_inserted, again.rows_updated) == (0, 0)
    casts = "number_of_employees::BIGINT, created_date::TIMESTAMP, system_modstamp::TIMESTAMP, annual_revenue::DOUBLE"
    names = ("NumberOfEmployees", "CreatedDate", "SystemModstamp", "AnnualRevenue")
    truth = org.table("Account", deleted=True).sort_by("Id").select(names).to_pylist()
    naive = [tuple(v.replace(tzinfo=None) if isinstance(v, datetime) else v for v in row.values()) for row in truth]
    assert sql(database, f"SELECT {casts} FROM public.t ORDER BY id") == naive


@pytest.mark.parametrize("contract", ["evolve", "freeze", "discard_row", "discard_value"])
def test_types_of_others_are_kept_under_every_contract(org: SimulatedOrg, database: Path, contract: str) -> None:
    """A contract decides about what does not fit; what fits comes."""
    ingest(org, "account", database)
    kinds = {"annual_revenue": "DECIMAL(18,2)", "created_date": "TIMESTAMP", "number_of_employees": "INTEGER"}
    for column, kind in kinds.items():
        sql(database, f"ALTER TABLE public.t ALTER {column} TYPE {kind}")
    before = sql(database, f"SELECT id, {', '.join(kinds)} FROM public.t ORDER BY id")
    change_some(org)
    result = ingest(org, "account", database, schema_contract=contract)
    assert (result.rows_inserted, result.rows_updated, result.rows_quarantined) == (1, 5, 0)
    assert kinds_of(database).items() >= kinds.items()
    after = sql(database, f"SELECT id, {', '.join(kinds)} FROM public.t ORDER BY id")
    assert set(before) <= set(after)


def test_an_enumeration_is_kept_while_it_knows_every_value(org: SimulatedOrg, database: Path) -> None:
    """A picklist may go into an ENUM; a value that the ENUM does not know is named, and nothing is written."""
    ingest(org, "account", database)
    values = sql(database, "SELECT DISTINCT industry FROM public.t WHERE industry IS NOT NULL")
    names = ", ".join(f"'{value}'" for (value,) in values)
    sql(database, f"ALTER TABLE public.t ALTER industry TYPE ENUM({names})")
    change_some(org)
    assert ingest(org, "account", database).rows_updated == 5
    before = loaded(database)
    org.clock.advance(3600)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:1], {"Industry": "Alchemy"})
    org.clock.advance(60)
    with pytest.raises(ConfigurationError, match=r"public\.t\.industry is ENUM.*'Alchemy'") as caught:
        ingest(org, "account", database)
    assert "--sql-exclude-columns industry" in str(caught.value.hint)
    assert loaded(database).equals(before)
    result = ingest(org, "account", database, schema_contract="discard_value")
    assert any("1 values of industry" in note for note in result.notes)


@pytest.mark.parametrize("kind", ["INTEGER[]", "BLOB", "STRUCT(a INTEGER)", "INTERVAL", "MAP(VARCHAR, INTEGER)"])
def test_types_that_hold_no_value_are_refused_first(org: SimulatedOrg, database: Path, kind: str) -> None:
    """A type to which nothing can be cast is named before Salesforce is asked for rows."""
    sql(database, f"CREATE SCHEMA public; CREATE TABLE public.t(id VARCHAR, phone {kind})")
    org.requests.clear()
    with pytest.raises(ConfigurationError, match=r"public\.t\.phone is") as caught:
        ingest(org, "account", database)
    assert "--sql-exclude-columns Phone" in str(caught.value.hint)
    assert not [r for r in org.requests if "query" in r.path]
    assert kinds_of(database)["phone"] == kind


def test_text_that_looks_like_numbers_keeps_its_zeros(org: SimulatedOrg, database: Path) -> None:
    """A number column takes text only as long as the way back gives the same text."""
    ids = org.table("Account").column("Id").to_pylist()
    org.update("Account", ids, {"Phone": "42"})
    sql(database, "CREATE SCHEMA public; CREATE TABLE public.t(id VARCHAR, phone BIGINT)")
    ingest(org, "account", database, sql_exclude_columns=["Fax"], deletes="ignore")
    assert kinds_of(database)["phone"] == "BIGINT"
    org.clock.advance(3600)
    org.update("Account", ids[:1], {"Phone": "042"})
    org.clock.advance(60)
    with pytest.raises(ConfigurationError, match="'042'"):
        ingest(org, "account", database, deletes="ignore")


# What somebody may hang on a table, and the question whether it is still there: those that go together.
THINGS: list[dict[str, str]] = [
    {
        "COMMENT ON TABLE public.t IS 'mine'; COMMENT ON COLUMN public.t.phone IS 'a number'; "
        "CREATE VIEW public.v AS FROM public.t": "FROM (SELECT comment FROM duckdb_tables() UNION ALL SELECT comment "
        "FROM duckdb_columns() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal) WHERE comment <> ''"
    },
    {
        "CREATE INDEX phones ON public.t(phone); CREATE UNIQUE INDEX ids ON public.t(id); "
        "CREATE INDEX lower_ids ON public.t(lower(id))": "SELECT index_name FROM duckdb_indexes() ORDER BY ALL",
        "COMMENT ON COLUMN public.t.fax IS 'old'": "SELECT comment FROM duckdb_columns() WHERE comment <> ''",
    },
    {
        "ALTER TABLE public.t ADD PRIMARY KEY (id); ALTER TABLE public.t ALTER system_modstamp SET NOT NULL": "SELECT "
        "constraint_type, constraint_column_names FROM duckdb_constraints() WHERE table_name = 't' ORDER BY ALL"
    },
    {
        "ALTER TABLE public.t ADD COLUMN region TEXT DEFAULT 'EMEA'; ALTER TABLE public.t ALTER region SET NOT NULL; "
        "ALTER TABLE public.t ADD COLUMN note VARCHAR": "SELECT column_name, column_default, is_nullable FROM "
        "duckdb_columns() WHERE column_name IN ('region', 'note') ORDER BY ALL"
    },
]


@pytest.mark.parametrize("options", [{}, {"full_refresh": True}], ids=["", "full"])
@pytest.mark.parametrize("table", ["account", "contact"])
@pytest.mark.parametrize("things", THINGS, ids=["comments", "indexes", "constraints", "columns"])
def test_what_somebody_hung_on_a_table_stays(
    org: SimulatedOrg, database: Path, table: str, things: dict[str, str], options: dict[str, Any]
) -> None:
    """Indexes, keys, constraints, defaults, columns, views and comments survive every way of writing."""
    name = table.capitalize()
    ingest(org, table, database)
    for statements in things:
        sql(database, statements)
    before = [sql(database, question) for question in things.values()]
    assert all(before)
    change_some(org, name)
    ingest(org, table, database, **options)
    assert [sql(database, question) for question in things.values()] == before
    truth = expected(org, name, deleted=table == "account")
    rows = loaded(database)
    assert rows.num_rows == truth.num_rows
    assert_same(rows.select(truth.column_names), truth)


def test_a_default_holds_for_new_rows(org: SimulatedOrg, database: Path) -> None:
    """Rows that Salesforce adds get the table's own default; rows that change keep what stands there."""
    ingest(org, "account", database)
    sql(database, "ALTER TABLE public.t ADD COLUMN region VARCHAR DEFAULT 'EMEA'; UPDATE public.t SET region = 'APAC'")
    change_some(org)
    ingest(org, "account", database)
    assert sorted(sql(database, "SELECT region, count(*) FROM public.t GROUP BY ALL")) == [("APAC", 60), ("EMEA", 1)]


@pytest.mark.parametrize("table", ["account", "contact"])
def test_computed_columns_are_left_to_the_database(org: SimulatedOrg, database: Path, table: str) -> None:
    """A generated column is never written; one that bears a field's name is refused by name."""
    sql(
        database,
        "CREATE SCHEMA public; CREATE TABLE public.t(id VARCHAR, phone VARCHAR, "
        "upper_phone VARCHAR GENERATED ALWAYS AS (upper(phone)))",
    )
    ingest(org, table, database)
    change_some(org, table.capitalize())
    ingest(org, table, database)
    assert sql(database, "SELECT count(*) FROM public.t WHERE phone = '555' AND upper_phone = '555'") == [(4,)]
    sql(database, "CREATE TABLE public.u(id VARCHAR, phone VARCHAR GENERATED ALWAYS AS (upper(id)))")
    with pytest.raises(ConfigurationError, match=r"public\.u\.phone is computed by the database"):
        ingest(org, table, database, dest_table="public.u")


def test_columns_that_must_not_be_null_are_named(org: SimulatedOrg, database: Path) -> None:
    """A NOT NULL column that Salesforce has no value for stops the run before a row is read."""
    sql(database, "CREATE SCHEMA public; CREATE TABLE public.t(id VARCHAR, _dlt_id VARCHAR NOT NULL)")
    org.requests.clear()
    with pytest.raises(ConfigurationError, match="_dlt_id") as caught:
        ingest(org, "contact", database)
    assert "DEFAULT" in str(caught.value.hint)
    assert not [r for r in org.requests if "query" in r.path]
    result = ingest(org, "contact", database, full_refresh=True)
    assert any("made anew, without" in note and "_dlt_id" in note for note in result.notes)


def test_nulls_for_a_column_that_must_not_be_null_are_named(org: SimulatedOrg, database: Path) -> None:
    """A field that is null goes nowhere where the table says NOT NULL."""
    ids = org.table("Account").column("Id").to_pylist()
    org.update("Account", ids, {"Fax": "1"})
    ingest(org, "account", database, deletes="hard")
    sql(database, "ALTER TABLE public.t ALTER fax SET NOT NULL")
    org.clock.advance(3600)
    org.update("Account", ids[:1], {"Fax": None})
    org.clock.advance(60)
    with pytest.raises(ConfigurationError, match=r"public\.t\.fax is TEXT NOT NULL, and 1 value"):
        ingest(org, "account", database, deletes="hard")


def test_rows_that_foreign_keys_point_at_are_updated(org: SimulatedOrg, database: Path) -> None:
    """No row goes to which another table refers: a merge changes it where it is, and so does a replace."""
    ingest(org, "account", database)
    sql(
        database,
        "ALTER TABLE public.t ADD PRIMARY KEY (id); CREATE TABLE public.child(t_id VARCHAR REFERENCES public.t(id)); "
        "INSERT INTO public.child SELECT id FROM public.t",
    )
    change_some(org)
    assert ingest(org, "account", database).rows_updated == 5
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    change_some(org)
    ingest(org, "account", database, full_refresh=True)
    assert_same(loaded(database), expected(org, "Account", deleted=True))
    assert sql(database, "SELECT count(*) FROM public.child JOIN public.t ON id = t_id") == [(60,)]


def test_a_type_that_must_change_under_an_index_names_it(org: SimulatedOrg, database: Path) -> None:
    """DuckDB changes no type of a table with an index: the index is named with the statement that makes it."""
    org.add_field("Account", "Num__c", "int", [1, 2])
    ingest(org, "account", database)
    sql(database, "CREATE INDEX names ON public.t(name)")
    org.retype_field("Account", "Num__c", "string")
    change_some(org)
    with pytest.raises(ConfigurationError, match=r"the index names \(CREATE INDEX") as caught:
        ingest(org, "account", database)
    assert "drop" in str(caught.value.hint)
    sql(database, "DROP INDEX public.names")
    ingest(org, "account", database)
    assert_same(loaded(database), expected(org, "Account", deleted=True))


@pytest.mark.parametrize("contract", ["discard_row", "discard_value"])
def test_a_contract_that_discards_never_adds_a_column(org: SimulatedOrg, database: Path, contract: str) -> None:
    """Neither for the rows of the window nor for the history of a new field."""
    ingest(org, "account", database)
    columns = loaded(database).column_names
    org.add_field("Account", "Brand_New__c", "double", values=[None, 1.5])
    change_some(org)
    ingest(org, "account", database, schema_contract=contract)
    assert loaded(database).column_names == columns
    change_some(org)
    ingest(org, "account", database, schema_contract=contract, refresh_formulas=True)
    assert loaded(database).column_names == columns


@pytest.mark.parametrize("contract", ["discard_row", "discard_value"])
@pytest.mark.parametrize(
    ("deletes", "missing"),
    [
        ("soft", "created_date"),
        ("soft", "is_deleted"),
        ("hard", "is_deleted"),
        ("hard", "created_date"),
        ("ignore", "is_deleted"),
        ("soft", "system_modstamp"),
    ],
)
def test_a_contract_holds_for_tables_without_columns_of_ours(
    org: SimulatedOrg, database: Path, contract: str, deletes: str, missing: str
) -> None:
    """A table that lacks the columns by which rows are told deleted or created is written as far as that goes."""
    ingest(org, "account", database, deletes="hard" if deletes == "hard" else "soft")
    sql(database, f"ALTER TABLE public.t DROP COLUMN {missing}")
    change_some(org)
    if contract == "discard_row" and missing != "is_deleted":
        # Every live row that is read has a value there.
        result = ingest(org, "account", database, schema_contract=contract, deletes=deletes)
        assert result.rows_quarantined > 0
        assert (result.rows_inserted, result.rows_updated) == (0, 0)
        return
    ingest(org, "account", database, schema_contract=contract, deletes=deletes)
    assert missing not in loaded(database).column_names
    truth = {row["Id"]: row["Phone"] for row in org.table("Account").to_pylist()}
    rows = dict(sql(database, "SELECT id, phone FROM public.t"))
    assert {key: rows[key] for key in truth} == truth
    if deletes == "hard":
        assert rows == truth


def test_settings_of_the_caller_are_left_alone(org: SimulatedOrg, database: Path) -> None:
    """A connection of the caller to the same file keeps its settings to the byte, during and after a run."""
    with duckdb.connect(str(database)) as mine:
        mine.execute("SET memory_limit = '1.49GiB'; SET threads = 3; SET preserve_insertion_order = true")
        names = ("memory_limit", "threads", "preserve_insertion_order", "max_vacuum_tasks", "TimeZone")

        def settings() -> list[Any]:
            return [mine.execute(f"SELECT current_setting('{name}')").fetchall() for name in names]

        before = settings()
        for _ in range(3):
            ingest(org, "user_role", database)
            assert settings() == before


@pytest.mark.parametrize("schema", ["sf", "temp", "system", "main", "memory", "_ingestr_", "select", "public.x"])
def test_any_name_of_a_schema(org: SimulatedOrg, database: Path, schema: str) -> None:
    """A schema may be called like the file's catalog, or like one that DuckDB keeps for itself."""
    if "." in schema:
        with pytest.raises(ConfigurationError, match="names the catalog 'public'"):
            ingest(org, "user_role", database, dest_table=f"{schema}.role")
        return
    for table in ("role", "sf", "temp"):
        for _ in range(2):
            ingest(org, "user_role", database, dest_table=f"{schema}.{table}")
        assert loaded(database, f'sf."{schema}"."{table}"').num_rows == org.count("UserRole")
    ingest(org, "user_role", database, dest_table=f"sf.{schema}.role")
    ingest(org, "account", database, dest_table=f"{schema}.account")
    change_some(org)
    ingest(org, "account", database, dest_table=f"{schema}.account")
    assert_same(loaded(database, f'sf."{schema}".account'), expected(org, "Account", deleted=True))
