"""Labels and help texts as comments of tables and columns: made, kept, followed, and never in anybody's way."""

from typing import Any

import pytest

from databases import PostgresDatabase
from ingestr.simulator import SimulatedOrg
from support import Database, content, execute, ingest, query

HOUR = 3600
NASTY = 'It\'s "quoted" \\ back; 100% $1 {x}\r\n\tnext\x00line \x1b[31mred\x07 \u202e é🦆 ' + "long " * 90


def comments(database: Database, table: str = "t") -> dict[str | None, str]:
    """The comments of a table of ``public``: its own under None, those of its columns under their names."""
    if isinstance(database, PostgresDatabase):
        rows = database.execute(
            "SELECT attname::text, description FROM pg_description d LEFT JOIN pg_attribute a ON attrelid = objoid "
            f"AND attnum = objsubid AND objsubid > 0 WHERE objoid = 'public.{table}'::regclass "
            "AND classoid = 'pg_class'::regclass"
        )
    else:
        rows = content(
            database,
            f"SELECT NULL, comment FROM duckdb_tables() WHERE table_name = '{table}' UNION ALL SELECT column_name, "
            f"comment FROM duckdb_columns() WHERE table_name = '{table}' AND schema_name = 'public'",
        )
    return {name: text for name, text in rows if text is not None}


def later(org: SimulatedOrg, name: str = "Account") -> None:
    """An hour passes, in which some rows change."""
    org.clock.advance(HOUR)
    org.update(name, org.table(name).column("Id").to_pylist()[:3], {"Phone": "555"})
    org.clock.advance(60)


@pytest.mark.parametrize("table", ["account", "lead"])
def test_labels_and_help_texts_become_comments(org: SimulatedOrg, either: Database, table: str) -> None:
    """The table bears the object's label, each column its field's label and help text; columns of ours bear none."""
    name = table.capitalize()
    org.add_field(name, "Tier__c", "string", ["a"], label="Service tier", help="Gold, or less.")
    ingest(org, table, either)
    found = comments(either)
    assert found[None] == name
    assert found["tier__c"] == "Service tier: Gold, or less."
    assert found["system_modstamp"] == "System Modstamp"
    assert "_ingestr_loaded_at" not in found
    assert len(found) == len(query(either, "SELECT * FROM public.t").column_names)


@pytest.mark.parametrize("options", [{}, {"full_refresh": True}], ids=["", "full"])
@pytest.mark.parametrize("table", ["account", "lead"])
def test_what_people_write_stays(org: SimulatedOrg, either: Database, table: str, options: dict[str, Any]) -> None:
    """A comment of the user's is kept, and one that the user took away stays away, whatever the label becomes."""
    name = table.capitalize()
    ingest(org, table, either)
    execute(
        either,
        "COMMENT ON TABLE public.t IS 'mine'; COMMENT ON COLUMN public.t.phone IS 'a number'; "
        "COMMENT ON COLUMN public.t.fax IS NULL",
    )
    org.retype_field(name, "Phone", "phone", label="Telephone")
    org.relabel(name, "Customer")
    later(org, name)
    ingest(org, table, either, **options)
    later(org, name)
    ingest(org, table, either, **options)
    found = comments(either)
    assert (found[None], found["phone"], found.get("fax")) == ("mine", "a number", None)
    assert found["name"] == "Name"


@pytest.mark.parametrize("table", ["account", "lead"])
def test_a_comment_of_ours_follows_its_label(org: SimulatedOrg, either: Database, table: str) -> None:
    """A field or an object that is renamed has its new name at the next run, even where no row has changed."""
    name = table.capitalize()
    ingest(org, table, either)
    org.retype_field(name, "Phone", "phone", label="Telephone", help="With country code")
    org.relabel(name, "Customer")
    org.clock.advance(60)
    ingest(org, table, either)
    found = comments(either)
    assert (found[None], found["phone"]) == ("Customer", "Telephone: With country code")
    org.hide_field(name, "Phone")
    org.clock.advance(60)
    ingest(org, table, either)
    if table == "account":
        assert comments(either)["phone"] == "Telephone: With country code"
    org.hide_field(name, "Phone", hidden=False)
    org.retype_field(name, "Phone", "phone", label="Phone", help=None)
    org.clock.advance(60)
    ingest(org, table, either)
    assert comments(either)["phone"] == "Phone"


def test_a_new_column_gets_its_comment(org: SimulatedOrg, either: Database) -> None:
    """Also one whose field was there before, and whose column somebody has dropped meanwhile."""
    ingest(org, "account", either)
    org.add_field("Account", "Tier__c", "string", ["a"], label="Service tier")
    later(org)
    ingest(org, "account", either)
    assert comments(either)["tier__c"] == "Service tier"
    execute(either, "ALTER TABLE public.t DROP COLUMN tier__c")
    later(org)
    ingest(org, "account", either)
    assert comments(either)["tier__c"] == "Service tier"
    execute(either, "DROP TABLE public.t")
    ingest(org, "account", either)
    assert (comments(either)[None], comments(either)["tier__c"]) == ("Account", "Service tier")


def test_a_table_of_earlier_versions_gets_comments(org: SimulatedOrg, either: Database) -> None:
    """At the next run, where there is none; what is kept of its columns was made without a place for them."""
    ingest(org, "account", either)
    for column in comments(either):
        place = "TABLE public.t" if column is None else f"COLUMN public.t.{column}"
        execute(either, f"COMMENT ON {place} IS {'NULL' if column != 'phone' else repr('mine')}")
    execute(either, "ALTER TABLE _ingestr.columns DROP COLUMN comment")
    execute(either, "ALTER TABLE _ingestr.columns DROP COLUMN table_comment")
    later(org)
    ingest(org, "account", either)
    found = comments(either)
    assert (found[None], found["phone"], found["fax"]) == ("Account", "mine", "Fax")


def test_another_object_brings_its_own_comments(org: SimulatedOrg, either: Database) -> None:
    """A table that is made anew for another object does not go on with the labels of the one before."""
    org.retype_field("Account", "Name", "string", label="Account name")
    org.retype_field("Contact", "Name", "string", label="Full name")
    ingest(org, "account", either, incremental_strategy="replace")
    execute(either, "COMMENT ON COLUMN public.t.phone IS 'mine'")
    ingest(org, "contact", either, incremental_strategy="replace")
    found = comments(either)
    assert (found[None], found["name"], found["phone"]) == ("Contact", "Full name", "mine")


def test_nothing_is_written_again(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """A run that has no new label to tell writes no comment, with or without changed rows."""
    ingest(org, "account", postgres)
    ask = "SELECT xmin::text FROM pg_description WHERE objoid = 'public.t'::regclass ORDER BY 1"
    before = postgres.execute(ask)
    assert before
    execute(postgres, "COMMENT ON COLUMN public.t.fax IS NULL")
    before = postgres.execute(ask)
    later(org)
    assert ingest(org, "account", postgres).rows_updated == 3
    ingest(org, "account", postgres)
    assert postgres.execute(ask) == before


def test_any_text_may_be_a_comment(org: SimulatedOrg, either: Database) -> None:
    """Quotes and signs of SQL are text, white space is one space, and what would steer a terminal is spelled out."""
    org.add_field("Account", "Odd__c", "string", ["a"], label="O'Hara\\\"s", help=NASTY)
    ingest(org, "account", either)
    later(org)
    ingest(org, "account", either, full_refresh=True)
    found = comments(either)["odd__c"]
    told = 'O\'Hara\\"s: It\'s "quoted" \\ back; 100% $1 {x} next\ufffdline \\x1b[31mred\\x07 \\u202e é🦆 long'
    assert found.startswith(told)
    assert found.endswith("long long")
    assert found.isprintable()


def test_a_role_that_may_not_comment(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """The load goes on, and says once that only the owner may; when the role may, the next new label is written."""
    postgres.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN; DROP ROLE IF EXISTS host; CREATE ROLE host")
    try:
        ingest(org, "account", postgres)
        postgres.execute(
            "COMMENT ON COLUMN public.t.phone IS NULL; ALTER TABLE public.t OWNER TO host; "
            "GRANT USAGE ON SCHEMA _ingestr TO guest; GRANT ALL ON ALL TABLES IN SCHEMA _ingestr TO guest; "
            "GRANT ALL ON SCHEMA public TO guest; GRANT ALL ON public.t TO guest"
        )
        org.retype_field("Account", "Phone", "phone", label="Telephone")
        later(org)
        uri = postgres.server.uri(postgres.name, "guest")
        first = ingest(org, "account", postgres, dest_uri=uri)
        assert first.rows_updated == 3
        [note] = [note for note in first.notes if "comments" in note]
        assert "only its owner" in note
        assert not [note for note in ingest(org, "account", postgres, dest_uri=uri).notes if "comments" in note]
        assert "phone" not in comments(postgres)
        postgres.execute("GRANT host TO guest")
        org.retype_field("Account", "Phone", "phone", label="Phone number")
        org.clock.advance(60)
        ingest(org, "account", postgres, dest_uri=uri)
        assert comments(postgres)["phone"] == "Phone number"
    finally:
        postgres.execute("REASSIGN OWNED BY host TO postgres; DROP OWNED BY guest; DROP ROLE guest; DROP ROLE host")


def test_masked_and_renamed_columns_have_their_labels(org: SimulatedOrg, either: Database) -> None:
    """A comment tells of the field, not of its values."""
    ingest(org, "contact", either, mask="email:hash", columns="mail::Email")
    assert comments(either)["mail"] == "Email"


def test_a_query_has_the_labels_of_its_fields(org: SimulatedOrg, either: Database) -> None:
    """Nobody has named the table, nor what is counted."""
    org.retype_field("Account", "Name", "string", label="Account name")
    ingest(org, "query:SELECT Id, Account.Name FROM Contact", either)
    found = comments(either)
    assert None not in found
    assert found["account_name"] == "Account name"


def test_a_table_with_many_columns(org: SimulatedOrg, either: Database) -> None:
    """Wide tables and comments upon comments are no trouble to either engine."""
    for number in range(150):
        org.add_field("Account", f"F{number}__c", "string", ["a"], label=f"Field {number}")
    ingest(org, "account", either, full_refresh=True)
    ingest(org, "account", either, full_refresh=True)
    assert comments(either)["f149__c"] == "Field 149"
