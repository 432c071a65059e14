"""--with-metadata: what Salesforce tells of objects, fields and picklists, in tables of their own."""

from pathlib import Path
from typing import Any

import pytest

import ingestr
from databases import PostgresDatabase
from ingestr.errors import DestinationError
from ingestr.ledger.metadata import FIELDS, METADATA
from ingestr.options import IngestOptions, make_options
from ingestr.progress import SilentProgress
from ingestr.run import pipeline
from ingestr.simulator import SimulatedOrg
from support import Database, FastClock, command, content, execute, ingest, query, source_uri, table_names, uri_of

NAMES = {f"_ingestr.{each.name}" for each in METADATA}
HELP = 'It\'s "quoted"\nand\x00long: ' + "x" * 500


def rows(database: Database, table: str, where: str = "true") -> list[dict[str, Any]]:
    """Rows of a table of metadata, in their order."""
    order = "table_name" if table == "objects" else "table_name, field, position"
    found = query(database, f"SELECT * FROM _ingestr.{table} WHERE {where} ORDER BY {order}")
    kept: list[dict[str, Any]] = found.drop_columns(["loaded_at"]).to_pylist()
    return kept


def moments(database: Database) -> list[Any]:
    """When the rows of each table were written."""
    asked = (f"SELECT DISTINCT loaded_at FROM _ingestr.{each.name} ORDER BY 1" for each in METADATA)
    return [content(database, sql) for sql in asked]


def test_what_is_told_of_an_object(org: SimulatedOrg, either: Database) -> None:
    """Each row names the table and the column that it is about; what Salesforce does not tell is null."""
    org.add_field("Opportunity", "Level__c", "picklist", ["1"], picklist=("1", "2"), picklist_labels=("One", "Two"))
    org.add_field("Opportunity", "Sum__c", "currency", [1.5], precision=12, scale=3, label="The sum", help=HELP)
    org.add_field("Opportunity", "Doc__c", "base64")
    result = ingest(org, "opportunity", either, with_metadata=True, sql_exclude_columns=["description"])
    assert not [note for note in result.notes if "metadata" in note]
    about = {"table_schema": "public", "table_name": "t", "source_object": "Opportunity"}
    [found] = rows(either, "objects")
    assert len(found.pop("fingerprint")) == 64
    assert found == {
        **about,
        "label": "Opportunity",
        "plural_label": "Opportunitys",
        "key_prefix": "006",
        "is_custom": False,
    }
    fields = {each["field"]: each for each in rows(either, "fields")}
    nothing = dict.fromkeys(("length", "formula", "reference_to", "relationship_name"))
    assert fields["Sum__c"] == {
        **about,
        **nothing,
        "field": "Sum__c",
        "column_name": "sum__c",
        "position": len(fields) - 1,
        "label": "The sum",
        "help_text": HELP.replace("\x00", "\ufffd"),
        "field_type": "currency",
        "precision": 12,
        "scale": 3,
        "is_nullable": True,
        "is_custom": True,
        "is_calculated": False,
    }
    account = fields["AccountId"]
    assert (account["length"], account["reference_to"], account["relationship_name"]) == (18, "Account", "Account")
    assert (fields["Id"]["is_nullable"], fields["Id"]["position"]) == (False, 1)
    # What is not read has no column here.
    assert (fields["Doc__c"]["column_name"], fields["Description"]["column_name"]) == (None, None)
    values = rows(either, "picklist_values", "column_name = 'level__c'")
    told = [(each["position"], each["value"], each["label"], each["is_active"], each["is_default"]) for each in values]
    assert told == [(1, "1", "One", True, False), (2, "2", "Two", True, False)]
    [(labels,)] = content(
        either,
        "SELECT count(v.label) FROM public.t o LEFT JOIN _ingestr.picklist_values v ON v.table_schema = 'public' "
        "AND v.table_name = 't' AND v.column_name = 'stage_name' AND v.value = o.stage_name",
    )
    assert labels == content(either, "SELECT count(stage_name) FROM public.t")[0][0] > 0


def test_formulas_are_told(org: SimulatedOrg, either: Database) -> None:
    """Their text, where Salesforce tells it; digits are those of numbers alone."""
    org.add_field("Account", "Whole__c", "int", [1], digits=7)
    org.add_field("Account", "Twice__c", "double", traits=frozenset({"formula"}))
    ingest(org, "account", either, with_metadata=True)
    [twice] = rows(either, "fields", "field = 'Twice__c'")
    assert (twice["is_calculated"], twice["formula"]) == (True, "Double__c * 2")
    [whole] = rows(either, "fields", "field = 'Whole__c'")
    assert (whole["precision"], whole["scale"]) == (7, 0)
    ingest(org, "custom:My__Community_Group__c", either, dest_table="public.u", with_metadata=True)
    assert {each["precision"] for each in rows(either, "fields", "field_type = 'multipicklist'")} <= {None}
    [found] = rows(either, "objects", "table_name = 'u'")
    assert found["is_custom"] is True


def test_what_has_not_changed_is_not_written(org: SimulatedOrg, either: Database) -> None:
    """Rows that change in Salesforce are none of its business; a label that does is."""
    ingest(org, "account", either, with_metadata=True)
    before = moments(either)
    org.clock.advance(60)
    org.update("Account", org.table("Account").column("Id").to_pylist()[:3], {"Phone": "555"})
    org.clock.advance(60)
    assert ingest(org, "account", either, with_metadata=True).rows_updated == 3
    ingest(org, "account", either)
    ingest(org, "account", either, with_metadata=True)
    assert moments(either) == before
    org.retype_field("Account", "Phone", "phone", label="Telephone")
    ingest(org, "account", either)
    assert moments(either) == before
    ingest(org, "account", either, with_metadata=True)
    after = moments(either)
    assert [len(each) for each in after] == [1, 1, 1]
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert rows(either, "fields", "field = 'Phone'")[0]["label"] == "Telephone"


def test_only_what_is_told_now_is_kept(org: SimulatedOrg, either: Database) -> None:
    """A field that is gone, and a value that nobody may choose any more, have no row; another table's rows stay."""
    org.add_field("Account", "Level__c", "picklist", ["1"], picklist=("1", "2"))
    ingest(org, "account", either, with_metadata=True)
    ingest(org, "contact", either, dest_table="public.other", with_metadata=True)
    others = [rows(either, each.name, "table_name = 'other'") for each in METADATA]
    org.retype_field("Account", "Level__c", "picklist", picklist=("2", "3"))
    org.drop_field("Account", "Fax")
    ingest(org, "account", either, with_metadata=True)
    values = rows(either, "picklist_values", "table_name = 't' AND field = 'Level__c'")
    assert [each["value"] for each in values] == ["2", "3"]
    assert rows(either, "fields", "table_name = 't' AND field = 'Fax'") == []
    assert [rows(either, each.name, "table_name = 'other'") for each in METADATA] == others


@pytest.mark.parametrize("table", ["lead", "account"])
def test_a_full_refresh_keeps_one_set_of_rows(org: SimulatedOrg, either: Database, table: str) -> None:
    """A table that is made anew is the same table here; another object's rows take the place of the first one's."""
    for _ in range(2):
        ingest(org, table, either, with_metadata=True, full_refresh=True)
    assert len(rows(either, "fields")) == len(rows(either, "fields", "table_name = 't'")) > 20
    assert len({each["field"] for each in rows(either, "fields")}) == len(rows(either, "fields"))
    ingest(org, "contact", either, with_metadata=True, full_refresh=True)
    assert {each["source_object"] for name in NAMES for each in rows(either, name.split(".")[1])} == {"Contact"}


def test_tables_that_somebody_dropped_are_made_again(org: SimulatedOrg, either: Database) -> None:
    """Unless all three are there, what is kept says nothing; and a table of another form is refused by name."""
    ingest(org, "account", either, with_metadata=True)
    before = rows(either, "fields")
    execute(either, "DROP TABLE _ingestr.fields")
    ingest(org, "account", either, with_metadata=True)
    assert rows(either, "fields") == before
    execute(either, "DROP TABLE _ingestr.fields; CREATE TABLE _ingestr.fields (id int)")
    org.retype_field("Account", "Phone", "phone", label="Telephone")
    with pytest.raises(DestinationError, match=r"_ingestr\.fields is not as ingestr made it"):
        ingest(org, "account", either, with_metadata=True)
    ingest(org, "account", either)


def test_without_the_option_there_are_no_such_tables(org: SimulatedOrg, either: Database) -> None:
    """Neither by one table nor by several."""
    ingest(org, "account", either)
    ingestr.ingest_tables(source_uri(org), "lead,contact", uri_of(either), "raw.{table}")
    assert not NAMES & set(table_names(either))


def test_a_plan_writes_nothing(org: SimulatedOrg, either: Database) -> None:
    """It is settled, and said, and that is all."""
    ingest(org, "account", either)
    before = table_names(either)
    given: dict[str, Any] = {"source_uri": source_uri(org), "source_table": "account", "dest_uri": uri_of(either)}
    options = make_options(IngestOptions, **given, dest_table="public.t", with_metadata=True)
    pipeline.plan(options, clock=FastClock(), progress=SilentProgress(), in_process=True)
    assert table_names(either) == before


def test_a_load_that_fails_changes_no_metadata(org: SimulatedOrg, either: Database) -> None:
    """They are written in the load's own transaction."""
    ingest(org, "account", either, with_metadata=True)
    before = [rows(either, each.name) for each in METADATA]
    org.retype_field("Account", "Phone", "phone", label="Telephone")
    org.clock.advance(60)
    org.delete("Account", org.table("Account").column("Id").to_pylist()[:50])
    org.clock.advance(60)
    with pytest.raises(ingestr.IngestrError):
        ingest(org, "account", either, with_metadata=True)
    assert [rows(either, each.name) for each in METADATA] == before


def test_several_tables_side_by_side(org: SimulatedOrg, either: Database) -> None:
    """Each writes its own rows, at the first run and where all have changed; none waits for, or fails by, another."""
    tables = ["account", "contact", "lead", "opportunity", "campaign", "task", "user", "product"]
    objects = ("Account", "Contact", "Lead", "Opportunity", "Campaign", "Task", "User", "Product2")
    for number in range(2):
        for name in objects:
            org.add_field(name, f"Level{number}__c", "picklist", ["1"], picklist=tuple(map(str, range(300))))
        result = ingestr.ingest_tables(
            source_uri(org), tables, uri_of(either), "raw.{table}", tables_in_flight=6, with_metadata=True
        )
        assert result.exit_code == 0, [str(each.error) for each in result.tables if each.error]
        assert [each["table_name"] for each in rows(either, "objects")] == sorted(tables)
        values = rows(either, "picklist_values", f"field = 'Level{number}__c'")
        assert len(values) == 300 * len(tables)
    before = moments(either)
    ingestr.ingest_tables(source_uri(org), tables, uri_of(either), "raw.{table}", with_metadata=True)
    assert moments(either) == before


def test_thousands_of_values(org: SimulatedOrg, either: Database) -> None:
    """They go by the bulk path, each once and in its place."""
    values = tuple(f"value {number}" for number in range(25_000))
    org.add_field("Account", "Many__c", "picklist", ["value 7"], picklist=values)
    ingest(org, "account", either, with_metadata=True)
    found = content(
        either,
        "SELECT value FROM _ingestr.picklist_values WHERE field = 'Many__c' ORDER BY position",
    )
    assert [value for (value,) in found] == list(values)


def test_what_is_kept_already_costs_no_round_trip(org: SimulatedOrg, postgres: PostgresDatabase) -> None:
    """A merge of a few rows asks the server as often with the option as without."""
    asked: list[int] = []
    for wanted in (True, False, True):
        org.clock.advance(3600)
        org.update("Account", org.table("Account").column("Id").to_pylist()[:4], {"Phone": f"{len(asked)}"})
        org.clock.advance(60)
        postgres.execute(f"ALTER DATABASE {postgres.name} SET log_statement = 'all'")
        log = postgres.server.folder / "log"
        before = log.stat().st_size
        ingest(org, "account", postgres, with_metadata=wanted)
        noted = log.read_bytes()[before:].decode().splitlines()
        asked.append(len([line for line in noted if " LOG: " in line and ("statement" in line or "execute" in line)]))
    assert asked[2] == asked[1] <= 12


def test_a_file_of_tables_takes_it(org: SimulatedOrg, tmp_path: Path) -> None:
    """For all tables, or for one of them."""
    (tmp_path / "ingestr.toml").write_text(
        'source = "${SOURCE_URI}"\ndestination = "duckdb:///sf.db"\n[tables]\naccount = { with_metadata = true }\n'
        "lead = {}\n"
    )
    done = command("sync", cwd=tmp_path, SOURCE_URI=source_uri(org))
    assert done.returncode == 0, done.stderr
    assert [each["table_name"] for each in rows(tmp_path / "sf.db", "objects")] == ["account"]
    assert len(FIELDS.schema.names) == len(query(tmp_path / "sf.db", "SELECT * FROM _ingestr.fields").column_names)
