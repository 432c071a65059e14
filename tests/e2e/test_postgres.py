"""PostgreSQL as a user has it: tables with things of others on them, roles with settings and without permissions."""

import re
from typing import Any

import pytest

from databases import PostgresDatabase
from e2e.test_docs import ROOT, blocks
from ingestr.errors import ConfigurationError, DestinationError
from ingestr.simulator import SimulatedOrg
from support import assert_same, expected, ingest, loaded, source_uri, table_names, uri_of

# What somebody may hang on a table, and the question whether it is still there and works.
THINGS: dict[str, tuple[str, str]] = {
    "views": (
        (
            "CREATE VIEW public.v AS SELECT id, name FROM public.t; "
            "CREATE MATERIALIZED VIEW public.m AS SELECT id FROM public.t"
        ),
        "SELECT count(*), (SELECT count(*) FROM pg_matviews) FROM public.v WHERE name = 'later'",
    ),
    "privileges": (
        "GRANT SELECT ON public.t TO reader; GRANT UPDATE (phone) ON public.t TO writer",
        (
            "SELECT has_table_privilege('reader', 'public.t', 'SELECT'), "
            "has_column_privilege('writer', 'public.t', 'phone', 'UPDATE')"
        ),
    ),
    "keys": (
        (
            "CREATE UNIQUE INDEX lower_ids ON public.t (lower(id)); ALTER TABLE public.t ADD PRIMARY KEY (id); "
            "CREATE TABLE public.kind (name text PRIMARY KEY); INSERT INTO public.kind VALUES ('x'); "
            "ALTER TABLE public.t ADD COLUMN kind text DEFAULT 'x' REFERENCES public.kind"
        ),
        (
            "SELECT array_agg(conname ORDER BY conname), (SELECT array_agg(indexname ORDER BY indexname) FROM "
            "pg_indexes WHERE tablename = 't' AND NOT starts_with(indexname, '_ingestr')), "
            "(SELECT count(*) FROM public.t WHERE kind = 'x') > 50 "
            "FROM pg_constraint WHERE conrelid = 'public.t'::regclass AND contype <> 'n'"
        ),
    ),
    "referring keys": (
        (
            "ALTER TABLE public.t ADD PRIMARY KEY (id); "
            "CREATE TABLE public.child AS SELECT id FROM public.t WHERE name <> 'gone'; "
            "ALTER TABLE public.child ADD FOREIGN KEY (id) REFERENCES public.t ON DELETE CASCADE"
        ),
        "SELECT count(*) FROM public.child JOIN public.t USING (id)",
    ),
    "triggers": (
        (
            "CREATE TABLE public.seen (n int); CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN INSERT INTO public.seen VALUES (1); RETURN NULL; END$$; "
            "CREATE TRIGGER noted AFTER INSERT ON public.t FOR EACH STATEMENT EXECUTE FUNCTION public.note()"
        ),
        "SELECT tgname, (SELECT count(*) > 0 FROM public.seen) FROM pg_trigger WHERE tgrelid = 'public.t'::regclass",
    ),
    "policies": (
        "CREATE POLICY visible ON public.t USING (name <> 'secret'); ALTER TABLE public.t ENABLE ROW LEVEL SECURITY",
        "SELECT polname, relrowsecurity FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relname = 't'",
    ),
    "others": (
        (
            "CREATE STATISTICS public.s ON name, phone FROM public.t; CREATE PUBLICATION p FOR TABLE public.t; "
            "ALTER TABLE public.t SET (fillfactor = 70); ALTER TABLE public.t REPLICA IDENTITY FULL; "
            "COMMENT ON TABLE public.t IS 'mine'; COMMENT ON COLUMN public.t.phone IS 'a number'; "
            "ALTER TABLE public.t OWNER TO owner"
        ),
        (
            "SELECT reloptions, relreplident, obj_description(c.oid), col_description(c.oid, (SELECT attnum FROM "
            "pg_attribute WHERE attrelid = c.oid AND attname = 'phone')), pg_get_userbyid(relowner), "
            "(SELECT count(*) FROM pg_statistic_ext), (SELECT count(*) FROM pg_publication_rel) "
            "FROM pg_class c WHERE c.oid = 'public.t'::regclass"
        ),
    ),
}


@pytest.fixture(autouse=True, scope="module")
def roles(postgres_server: Any) -> None:
    """Roles that the tests of this module give privileges to."""
    with postgres_server.connect() as connection:
        for name in ("reader", "writer", "owner"):
            connection.execute(f"DROP ROLE IF EXISTS {name}")
            connection.execute(f"CREATE ROLE {name} LOGIN")


def change_some(org: SimulatedOrg, name: str) -> None:
    """An hour later some rows have changed, one is new and one is gone."""
    org.clock.advance(3600)
    ids = org.table(name).column("Id").to_pylist()
    field = "Name" if name == "Account" else "LastName"
    org.update(name, ids[:4], {"Phone": "555"})
    org.insert(name, [{field: "later", "Company": "x"} if name == "Lead" else {field: "later"}])
    org.delete(name, ids[5:6])
    org.clock.advance(60)


@pytest.mark.parametrize("things", THINGS)
@pytest.mark.parametrize("table", ["lead", "account"])
def test_what_hangs_on_a_table_stays(org: SimulatedOrg, postgres: PostgresDatabase, table: str, things: str) -> None:
    """A merge, a replace and a full refresh leave everything where it is, and working."""
    name = table.capitalize()
    ingest(org, table, postgres)
    make, ask = THINGS[things]
    postgres.execute(make)
    for full in (False, True):
        change_some(org, name)
        ingest(org, table, postgres, full_refresh=full)
    truth = expected(org, name, deleted=table == "account")
    assert_same(loaded(postgres).select(truth.column_names), truth)
    [answer] = postgres.execute(ask)
    wanted: dict[str, tuple[Any, ...]] = {
        "views": (2, 1),
        "privileges": (True, True),
        "keys": (["t_kind_fkey", "t_pkey"], ["lower_ids", "t_pkey"], True),
        "referring keys": (60 if table == "account" else 57,),
        "triggers": ("noted", True),
        "policies": ("visible", True),
        "others": (["fillfactor=70"], "f", "mine", "a number", "owner", 1, 1),
    }
    assert answer == wanted[things]


def test_a_table_without_things_is_swapped(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Readers have the old rows until the commit, and no dead rows are left; one with things stays the table it is."""
    ask = "SELECT 'public.t'::regclass::oid::bigint"
    ingest(org, "lead", postgres)
    first = postgres.execute(ask)
    postgres.execute("COMMENT ON COLUMN public.t.phone IS 'a number'")
    ingest(org, "lead", postgres)
    second = postgres.execute(ask)
    assert second != first
    assert postgres.execute("SELECT count(*) FROM pg_description WHERE description = 'a number'") == [(1,)]
    postgres.execute("CREATE VIEW public.v AS SELECT id FROM public.t")
    ingest(org, "lead", postgres)
    assert postgres.execute(ask) == second
    assert table_names(postgres) == ["_ingestr.columns", "_ingestr.loads", "_ingestr.state", "public.t"]
    # What becomes the target survives a crash of the server.
    assert postgres.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 'u'") == [(0,)]


def test_a_type_that_must_change_under_a_view_names_it(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """No row is read: the view that shows the column is in the way; an index is none, nor a view of other columns."""
    org.add_field("Account", "Num__c", "int", [1, 2])
    ingest(org, "account", postgres)
    postgres.execute("CREATE VIEW public.v AS SELECT num__c FROM public.t; CREATE INDEX nums ON public.t (num__c); "
                     "CREATE VIEW public.w AS SELECT id FROM public.t")  # fmt: skip
    org.retype_field("Account", "Num__c", "string")
    change_some(org, "Account")
    org.requests.clear()
    with pytest.raises(ConfigurationError, match=r"type of num__c .*depend: the view public\.v") as caught:
        ingest(org, "account", postgres)
    assert "drop what is named" in str(caught.value.hint)
    assert not [request for request in org.requests if "query" in request.path]
    postgres.execute("DROP VIEW public.v")
    ingest(org, "account", postgres)
    assert_same(loaded(postgres), expected(org, "Account", deleted=True))
    assert postgres.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'nums'") == [(1,)]


KINDS = {
    "phone": "character varying(40)",
    "name": "label",
    "industry": "mood",
    "annual_revenue": "numeric(28,4)",
    "number_of_employees": "integer",
    "created_date": "timestamp without time zone",
    "system_modstamp": "timestamp(3) with time zone",
    "last_modified_date": "text",
    "is_deleted": "text",
    "_ingestr_loaded_at": "timestamp without time zone",
}


def test_types_of_others_are_kept(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Lengths, precisions, domains, enumerations and times without zone stay, in merges as in the first load."""
    industries = set(org.table("Account", deleted=True).column("Industry").to_pylist()) - {None}
    names = ", ".join("'" + str(each).replace("'", "''") + "'" for each in sorted(industries))
    columns = ", ".join(f"{name} {kind}" for name, kind in KINDS.items())
    postgres.execute(
        f"CREATE TYPE public.mood AS ENUM ({names}); CREATE DOMAIN public.label AS text CHECK (value <> 'bad'); "
        f"CREATE TABLE public.t (id text, {columns}, row bigint GENERATED BY DEFAULT AS IDENTITY, "
        "upper_phone text GENERATED ALWAYS AS (upper(phone)) STORED, number bigint GENERATED ALWAYS AS IDENTITY)"
    )
    ingest(org, "account", postgres)
    change_some(org, "Account")
    result = ingest(org, "account", postgres)
    assert (result.rows_inserted, result.rows_updated) == (1, 5)
    again = ingest(org, "account", postgres)
    assert (again.rows_inserted, again.rows_updated) == (0, 0)
    kinds = dict(
        postgres.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'public.t'::regclass AND attnum > 0"
        )
    )
    assert kinds.items() >= KINDS.items()
    assert postgres.execute(
        "SELECT count(*), count(*) FILTER (WHERE row IS NULL OR number IS NULL) FROM public.t WHERE upper_phone = '555'"
    ) == [(4, 0)]
    casts = "id, phone, name::text, industry::text, number_of_employees::bigint, is_deleted::bool"
    rows = postgres.query(f"SELECT {casts}, created_date::timestamptz FROM public.t ORDER BY id")
    truth = expected(org, "Account", deleted=True).select(rows.column_names)
    assert_same(rows, truth)
    # A number of the standard's has no negative zero.
    revenues = postgres.query("SELECT annual_revenue::float8 FROM public.t ORDER BY id").column(0).to_pylist()
    assert revenues == expected(org, "Account", deleted=True).column("annual_revenue").to_pylist()
    org.update("Account", org.table("Account").column("Id").to_pylist()[:1], {"Name": "bad"})
    org.clock.advance(60)
    with pytest.raises(ConfigurationError, match=r"public\.t\.name is public\.label.*'bad' for one"):
        ingest(org, "account", postgres)
    ingest(org, "account", postgres, schema_contract="discard_row")
    assert postgres.execute("SELECT value FROM _ingestr.quarantine") == [("bad",)]


@pytest.mark.parametrize("kind", ["json", "xml", "point", "text[]", "bytea", "interval", "public.pair"])
def test_types_that_hold_no_value_are_refused_first(org: SimulatedOrg, postgres: PostgresDatabase, kind: str) -> None:
    """A type that cannot be compared with what comes is named before a row is read."""
    postgres.execute(f"CREATE TYPE public.pair AS (a int, b int); CREATE TABLE public.t (id text, phone {kind})")
    org.requests.clear()
    with pytest.raises(ConfigurationError, match=r"public\.t\.phone is"):
        ingest(org, "account", postgres)
    assert not [request for request in org.requests if "query" in request.path]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("CREATE VIEW public.t AS SELECT 1 AS id", "is a view"),
        ("CREATE MATERIALIZED VIEW public.t AS SELECT 1 AS id", "is a materialized view"),
        ("CREATE SEQUENCE public.t", "is a sequence"),
        ("CREATE TABLE public.t (id text); CREATE TABLE public.heir () INHERITS (public.t)", "other tables inherit"),
        ('CREATE TABLE public."T" (id text)', "differs from 't' in case only"),
        ('CREATE TABLE public.t (id text, "Phone" text)', "'Phone', which differs from 'phone' in case only"),
        ("CREATE TABLE public.t (id text, mine text NOT NULL)", "must not be null"),
    ],
)
def test_what_is_no_target_is_refused_first(
    org: SimulatedOrg, postgres: PostgresDatabase, make: str, words: str
) -> None:
    """Before a row is read."""
    postgres.execute(make)
    org.requests.clear()
    with pytest.raises((ConfigurationError, DestinationError), match=words):
        ingest(org, "account", postgres)
    assert not [request for request in org.requests if "query" in request.path]


@pytest.mark.parametrize("table", ["lead", "account"])
@pytest.mark.parametrize(
    "make",
    [
        (
            "CREATE TABLE public.t (id text, name text) PARTITION BY HASH (id); CREATE TABLE public.t0 PARTITION OF "
            "public.t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE public.t1 PARTITION OF public.t FOR "
            "VALUES WITH (MODULUS 2, REMAINDER 1)"
        ),
        "CREATE TABLE public.above (id text); CREATE TABLE public.t () INHERITS (public.above)",
        "CREATE UNLOGGED TABLE public.t (id text)",
    ],
    ids=["partitioned", "heir", "unlogged"],
)
def test_tables_of_every_kind(org: SimulatedOrg, postgres: PostgresDatabase, table: str, make: str) -> None:
    """Partitioned, inheriting and unlogged tables are written to, and stay what they are."""
    postgres.execute(make)
    ask = "SELECT relkind::text, relpersistence::text, oid::bigint FROM pg_class WHERE relname = 't'"
    before = postgres.execute(ask)
    ingest(org, table, postgres)
    change_some(org, table.capitalize())
    ingest(org, table, postgres)
    assert postgres.execute(ask) == before
    truth = expected(org, table.capitalize(), deleted=table == "account")
    assert_same(loaded(postgres).select(truth.column_names), truth)


def test_long_names_never_meet(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Fields and tables that agree in the first 63 bytes stay apart; a name of the user's is refused if too long."""
    long = "A_Rather_Long_Name_Of_A_Field_That_Says_Whatever_It_Holds_And_More"
    for end in ("One__c", "Two__c"):
        org.add_field("Contact", f"{long}_{end}", "string", [end])
    result = ingest(org, "contact", postgres)
    names = [name for name in loaded(postgres).column_names if name.startswith("a_rather")]
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
    assert any("too long" in note for note in result.notes)
    ingest(org, "contact", postgres)
    assert sorted(loaded(postgres).column(name)[0].as_py() for name in names) == ["One__c", "Two__c"]
    table = "t" * 63
    for _ in range(2):
        ingest(org, "account", postgres, dest_table=f"public.{table}")
    assert loaded(postgres, f"public.{table}").num_rows == org.count("Account", deleted=True)
    with pytest.raises(ConfigurationError, match="64 bytes"):
        ingest(org, "account", postgres, dest_table=f"public.{table}t")


def test_settings_of_a_role_do_not_matter(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Another time zone, spelling of dates, search path, or timeouts change no value and end no load."""
    settings = {
        "TimeZone": "America/New_York",
        "DateStyle": "German",
        "search_path": "elsewhere",
        "standard_conforming_strings": "off",
        "statement_timeout": "100ms",
        "idle_in_transaction_session_timeout": "100ms",
        "default_transaction_isolation": "serializable",
        "bytea_output": "escape",
        "quote_all_identifiers": "on",
    }
    postgres.execute(
        "DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN SUPERUSER; "
        + "; ".join(f"ALTER ROLE odd SET {name} = '{value}'" for name, value in settings.items())
    )
    org.update("Account", org.table("Account").column("Id").to_pylist()[:1], {"Name": "it's a \\ or two \\\\"})
    uri = postgres.server.uri(postgres.name, "odd")
    for _ in range(2):
        ingest(org, "account", postgres, dest_uri=uri)
        change_some(org, "Account")
    ingest(org, "account", postgres, dest_uri=uri)
    assert_same(loaded(postgres), expected(org, "Account", deleted=True))


def test_a_role_needs_no_more_than_it_uses(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """What a role lacks is said with the GRANT that helps; who may write to a table that is there needs no more."""
    uri = postgres.server.uri(postgres.name, "writer")
    with pytest.raises(DestinationError, match="permission denied for") as caught:
        ingest(org, "account", postgres, dest_uri=uri)
    assert "GRANT" in str(caught.value.hint)
    postgres.execute("GRANT CREATE, USAGE ON SCHEMA public TO writer; CREATE SCHEMA _ingestr AUTHORIZATION writer")
    for table in ("account", "lead"):
        for _ in range(2):
            ingest(org, table, postgres, dest_uri=uri, dest_table=f"public.{table}")
    postgres.execute(
        "ALTER TABLE public.account OWNER TO owner; GRANT SELECT, INSERT, UPDATE, DELETE ON account TO writer"
    )
    change_some(org, "Account")
    ingest(org, "account", postgres, dest_uri=uri, dest_table="public.account")
    assert_same(loaded(postgres, "public.account"), expected(org, "Account", deleted=True))
    postgres.execute("REVOKE DELETE ON account FROM writer")
    change_some(org, "Account")
    with pytest.raises(DestinationError, match="permission denied for table account"):
        ingest(org, "account", postgres, dest_uri=uri, dest_table="public.account")
    postgres.execute("REVOKE ALL ON SCHEMA public FROM writer; DROP OWNED BY writer CASCADE")


def test_rows_that_a_policy_hides_are_an_error(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """A role that sees a part of the rows would take the others for missing."""
    ingest(org, "account", postgres)
    postgres.execute(
        "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY; CREATE POLICY visible ON public.t USING (name < 'b'); "
        "GRANT ALL ON public.t TO writer; GRANT ALL ON SCHEMA public, _ingestr TO writer; "
        "GRANT ALL ON ALL TABLES IN SCHEMA _ingestr TO writer"
    )
    change_some(org, "Account")
    with pytest.raises(DestinationError, match="row-level security"):
        ingest(org, "account", postgres, dest_uri=postgres.server.uri(postgres.name, "writer"))
    postgres.execute("DROP OWNED BY writer CASCADE")


def test_a_constraint_that_refuses_rows_is_named(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Nothing is written, and the constraint stands in the error."""
    ingest(org, "account", postgres)
    before = loaded(postgres)
    postgres.execute("ALTER TABLE public.t ADD CONSTRAINT short_names CHECK (name <> 'later')")
    change_some(org, "Account")
    with pytest.raises(DestinationError, match=r"constraint of the table refuses the rows: .*short_names"):
        ingest(org, "account", postgres)
    assert loaded(postgres).equals(before)


def test_the_command_writes_to_postgresql(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """From the command line, with the catalog that is the database's own, and from Python."""
    import ingestr

    result = ingestr.ingest(source_uri(org), "account", uri_of(postgres), f"{postgres.name}.sales.account")
    assert result.dest_table == "sales.account"
    with pytest.raises(ConfigurationError, match="names the catalog 'other'"):
        ingestr.ingest(source_uri(org), "account", uri_of(postgres), "other.sales.account")


def test_what_the_role_needs_is_what_the_page_says(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """A role with the privileges of the documentation's page loads a table, and loads it again."""
    [block] = blocks(ROOT / "docs" / "postgres.md", "sql")
    postgres.execute("DROP ROLE IF EXISTS loader; CREATE SCHEMA sales")
    postgres.execute(block.replace("crm", postgres.name))
    for table in ("account", "lead", "account", "lead"):
        ingest(org, table, postgres, dest_uri=postgres.server.uri(postgres.name, "loader"), dest_table=f"sales.{table}")
    assert loaded(postgres, "sales.account").num_rows == org.count("Account", deleted=True)
    postgres.execute("DROP OWNED BY loader CASCADE")


def test_a_small_merge_makes_few_round_trips(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Statements go together: after the login, the server is asked at most twelve times."""
    ingest(org, "account", postgres)
    org.clock.advance(3600)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:4], {"Phone": "555"})
    org.clock.advance(60)
    postgres.execute(f"ALTER DATABASE {postgres.name} SET log_statement = 'all'")
    log = postgres.server.folder / "log"
    before = log.stat().st_size
    assert ingest(org, "account", postgres).rows_updated == 4
    # The server notes each message of a client once, however many statements are in it.
    noted = log.read_bytes()[before:].decode().splitlines()
    asked = [line for line in noted if re.search(r" LOG: +(statement|execute)", line)]
    assert 3 < len(asked) <= 12, "\n".join(line[:200] for line in asked)


def key_indexes(database: PostgresDatabase, table: str = "t") -> list[tuple[str, int]]:
    """The indexes of ours on a table, each with how often it was used."""
    return [
        (str(name), int(used))
        for name, used in database.execute(
            "SELECT i.relname, pg_stat_get_numscans(i.oid) FROM pg_class t JOIN pg_index x ON x.indrelid = t.oid "
            f"JOIN pg_class i ON i.oid = x.indexrelid WHERE t.relname = '{table}' "
            "AND starts_with(i.relname, '_ingestr_')"
        )
    ]


def test_a_merged_table_has_an_index_by_its_key(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """It is made with the table, once, and again with the table; others that people make stay beside it."""
    ingest(org, "account", postgres)
    [(first, _)] = key_indexes(postgres)
    org.clock.advance(60)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:3], {"Name": "changed"})
    org.clock.advance(60)
    assert ingest(org, "account", postgres).rows_updated == 3
    assert [name for name, _ in key_indexes(postgres)] == [first]
    result = ingest(org, "account", postgres, full_refresh=True)
    [(second, _)] = key_indexes(postgres)
    assert second != first
    assert not any("index" in note for note in result.notes)
    postgres.execute("CREATE INDEX mine ON public.t (name)")
    ingest(org, "account", postgres, full_refresh=True)
    assert [name for name, _ in key_indexes(postgres)] == [second]
    assert postgres.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'mine'") == [(1,)]


@pytest.mark.parametrize("strategy", ["replace", "append"])
def test_tables_without_a_key_have_no_index(org: SimulatedOrg, postgres: PostgresDatabase, strategy: str) -> None:
    """Nobody looks for a row of them."""
    ingest(org, "account", postgres, incremental_strategy=strategy)
    assert key_indexes(postgres) == []


def test_a_table_of_somebody_elses_gets_no_index(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """What people made is theirs to index."""
    postgres.execute("CREATE TABLE public.t (id text, name text)")
    ingest(org, "account", postgres)
    assert key_indexes(postgres) == []


def test_an_index_follows_its_columns(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """Columns of other names, types that widen, and versions do not stand in its way."""
    ingest(org, "account", postgres, columns="record_id::Id,changed::SystemModstamp", incremental_strategy="scd2")
    assert len(key_indexes(postgres)) == 1
    org.clock.advance(60)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:3], {"Name": "changed"})
    org.clock.advance(60)
    again = ingest(
        org, "account", postgres, columns="record_id::Id,changed::SystemModstamp", incremental_strategy="scd2"
    )
    assert again.rows_updated == 3
    [[versions]] = postgres.execute("SELECT count(*) FROM public.t GROUP BY record_id ORDER BY 1 DESC LIMIT 1")
    assert versions == 2


def test_a_key_that_is_too_long_for_an_index(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """The table is loaded without one: the server's bound is none of the rows'."""
    values = [f"{place} " + "".join(map(str, range(place, place + 3_000))) for place in range(100)]
    org.add_field("Account", "Long__c", "textarea", values=values)
    ingest(org, "account", postgres, primary_key="Long__c")
    assert key_indexes(postgres) == []


def test_a_small_merge_looks_rows_up(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """The server finds the rows that change, and counts the others, by the index instead of reading the table."""
    with SimulatedOrg(rows=20_000, seed=5) as large:
        ingest(large, "account", postgres)
        [(_, before)] = key_indexes(postgres)
        large.clock.advance(60)
        large.update("Account", large.table("Account").column("Id").to_pylist()[:10], {"Name": "changed"})
        large.clock.advance(60)
        assert ingest(large, "account", postgres).rows_updated == 10
        [(_, after)] = key_indexes(postgres)
        assert after > before + 10


def test_a_table_that_changed_much_is_vacuumed(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """When many rows are outdated the index would look at their pages: after the commit they are cleared away."""
    with SimulatedOrg(rows=4_000, seed=5) as large:
        ingest(large, "account", postgres)
        large.clock.advance(60)
        large.update("Account", large.table("Account").column("Id").to_pylist()[:1_500], {"Name": "changed"})
        large.clock.advance(60)
        assert ingest(large, "account", postgres).rows_updated == 1_500
        # The server itself may be at it just then.
        [[vacuumed]] = postgres.execute(
            "SELECT vacuum_count + autovacuum_count FROM pg_stat_user_tables WHERE relname = 't'"
        )
        assert vacuumed >= 1
