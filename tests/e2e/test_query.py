"""A query of the user's as a table: its columns, types and rows, by each API and on each engine."""

import json
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

import ingestr
from ingestr.errors import ConfigurationError, IngestrError, RequestRefusedError, UnknownNameError
from ingestr.simulator import Fault, SimulatedOrg
from support import JSON_HEADERS, Database, bulk, content, ingest, kinds, source_uri, uri_of

APIS = ["REST", "Bulk 2.0"]


def read(org: SimulatedOrg, query: str, **options: Any) -> pa.Table:
    """The rows of a query."""
    with ingestr.read(source_uri(org), f"query:{query}", **options) as stream:
        return stream.reader().read_all()


def settle(org: SimulatedOrg, api: str) -> None:
    """Let a query be served by this API: filtered ones are tried by REST first."""
    if api == "Bulk 2.0":
        org.page_rows = 7
        body = json.dumps([{"errorCode": "OPERATION_TOO_LARGE", "message": "too large"}])
        path = r"/query(All)?\?q=SELECT\+Id%2C"
        org.faults.add(Fault(method="GET", path=path, times=None, status=400, headers=JSON_HEADERS, body=body))


def by_id(org: SimulatedOrg, name: str) -> dict[str, dict[str, Any]]:
    """The object's live rows."""
    return {row["Id"]: row for row in org.table(name, deleted=False).to_pylist()}


@pytest.mark.parametrize("api", APIS)
def test_parents_fields_are_columns(org: SimulatedOrg, either: Database, api: str) -> None:
    """Fields along a path come with the row, of the type that the parent's object declares, by either API."""
    settle(org, api)
    text = (
        "query:select Id, Amount, account.name, Account.Owner.Username, Account.AnnualRevenue, Account.CreatedDate, "
        "Account.IsDeleted, Opportunity.StageName FROM Opportunity WHERE Amount > 1000"
    )
    result = ingest(org, text, either)
    accounts, users = by_id(org, "Account"), by_id(org, "User")
    wanted = []
    for row in by_id(org, "Opportunity").values():
        if row["Amount"] is None or row["Amount"] <= 1000:
            continue
        account = accounts.get(row["AccountId"] or "", {})
        wanted.append(
            (row["Id"], row["Amount"], account.get("Name"), users.get(account.get("OwnerId") or "", {}).get("Username"))
        )
    assert result.read_by == api
    assert result.rows_read == len(wanted) > 20
    assert sorted(content(either, "SELECT id, amount, account_name, account_owner_username FROM public.t")) == sorted(
        wanted
    )
    found = kinds(either)
    assert found["account_annual_revenue"].startswith("DOUBLE")
    assert found["account_created_date"] == found["_ingestr_loaded_at"]
    assert found["account_is_deleted"] == "BOOLEAN"
    assert found["stage_name"] == found["id"]
    assert "query of Opportunity WHERE Amount > 1000" in result.source_object


def test_a_parent_that_may_be_of_several_objects(org: SimulatedOrg) -> None:
    """Owner, Who and What show what their objects have in common."""
    rows = read(org, "SELECT Id, OwnerId, Owner.Name, Who.Type, What.Id FROM Task WHERE WhoId != null")
    users = by_id(org, "User")
    assert rows.column_names == ["id", "owner_id", "owner_name", "who_type", "what_id"]
    assert rows.num_rows > 10
    for row in rows.to_pylist():
        assert row["owner_name"] == users[row["owner_id"]]["Name"]
        assert row["who_type"] in ("Lead", "Contact")
    with pytest.raises(UnknownNameError, match="AnnualRevenue"):
        read(org, "SELECT Id, What.AnnualRevenue FROM Task")


def test_groups(org: SimulatedOrg, either: Database) -> None:
    """Aggregates have their own types, and the names that they are given or that Salesforce gives them."""
    text = (
        "query:SELECT StageName, Account.Name, COUNT(Id) n, SUM(Amount) total, MAX(CloseDate), "
        "CALENDAR_YEAR(CloseDate) FROM Opportunity GROUP BY StageName, Account.Name, CALENDAR_YEAR(CloseDate)"
    )
    result = ingest(org, text, either)
    accounts = by_id(org, "Account")
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in by_id(org, "Opportunity").values():
        closed: date = row["CloseDate"]
        name = accounts.get(row["AccountId"] or "", {}).get("Name")
        groups.setdefault((row["StageName"], name, closed.year), []).append(closed)
    found = content(either, "SELECT stage_name, account_name, expr1, n, expr0 FROM public.t")
    assert {row[:3]: row[3:] for row in found} == {key: (len(days), max(days)) for key, days in groups.items()}
    assert (result.read_by, result.rows_read) == ("REST", len(groups))
    assert [kinds(either)[name].split()[0] for name in ("n", "total", "expr0")] == ["BIGINT", "DOUBLE", "DATE"]
    assert any("cannot be merged or counted" in note for note in result.notes)
    assert ingest(org, text, either).rows_read == len(groups)


def test_only_rest_serves_some_queries(org: SimulatedOrg) -> None:
    """Groups, functions and OFFSET are asked for by REST, though there be many rows."""
    bulk(org, "Account")
    for text in (
        "SELECT Industry, COUNT(Id) FROM Account GROUP BY Industry",
        "SELECT Id, toLabel(Industry) FROM Account",
        "SELECT Id FROM Account ORDER BY Id OFFSET 5",
    ):
        with ingestr.read(source_uri(org), f"query:{text}") as stream:
            assert stream.origin == "REST"
            assert sum(batch.num_rows for batch in stream) > 0


@pytest.mark.parametrize("api", APIS)
def test_the_first_rows_in_an_order(org: SimulatedOrg, api: str) -> None:
    """ORDER BY with LIMIT says which rows there are, for Bulk too; --sql-limit makes them fewer."""
    settle(org, api)
    stamps = sorted((row["CreatedDate"] for row in by_id(org, "Account").values()), reverse=True)
    text = "SELECT Id, CreatedDate FROM Account ORDER BY CreatedDate DESC NULLS LAST, Id LIMIT 20"
    with ingestr.read(source_uri(org), f"query:{text}") as stream:
        assert stream.origin == api
        rows = stream.reader().read_all()
    assert sorted(rows.column("created_date").to_pylist(), reverse=True) == stamps[:20]
    if api == "REST":
        assert read(org, text, sql_limit=3).num_rows == 3


def test_all_fields_of_a_kind(org: SimulatedOrg) -> None:
    """FIELDS is written out, so that it has no bound of 200 rows."""
    org.insert("Account", [{"Name": f"account {number}"} for number in range(200)])
    everything = read(org, "SELECT FIELDS(ALL) FROM Account")
    with ingestr.read(source_uri(org), "account") as stream:
        assert everything.column_names == stream.schema.names
    assert everything.num_rows == len(by_id(org, "Account")) > 200
    org.add_field("Account", "Own__c", "string", values=["x"])
    assert read(org, "SELECT Id, FIELDS(CUSTOM) FROM Account").column_names[-1] == "own__c"
    assert "own__c" not in read(org, "SELECT FIELDS(STANDARD) FROM Account").column_names


def test_labels_and_formatted_numbers(org: SimulatedOrg) -> None:
    """A function of a value is called like its field, or by its alias."""
    rows = read(org, "SELECT Id, toLabel(Owner.Name), FORMAT(AnnualRevenue) shown, AnnualRevenue FROM Account")
    assert rows.column_names == ["id", "owner_name", "shown", "annual_revenue"]
    assert rows.schema.field("shown").type == pa.string()
    assert rows.schema.field("annual_revenue").type == pa.float64()


MERGED = (
    "query:SELECT Id, Name, Owner.Name, Industry, IsDeleted, SystemModstamp, CreatedDate FROM Account "
    "WHERE AnnualRevenue > 500000 OR Industry = 'Energy'"
)


def matches(row: dict[str, Any]) -> bool:
    """Whether a row is one of that query."""
    return row["Industry"] == "Energy" or (row["AnnualRevenue"] or 0) > 500_000


def in_table(database: Database) -> set[str]:
    """Ids of the table's live rows."""
    return {row[0] for row in content(database, "SELECT id FROM public.t WHERE NOT is_deleted")}


@pytest.mark.parametrize("api", APIS)
def test_changes_are_merged(org: SimulatedOrg, either: Database, api: str) -> None:
    """With its key selected a query is merged: rows that change, come, go, or cease to match, and both sides agree."""
    settle(org, api)

    def matching() -> set[str]:
        return {row["Id"] for row in by_id(org, "Account").values() if matches(row)}

    def run() -> ingestr.IngestResult:
        org.clock.advance(3600)
        return ingest(org, MERGED, either, incremental_key="SystemModstamp")

    first = run()
    assert first.rows_in_source == first.rows_in_destination == len(matching()) > 10
    ids = sorted(matching())
    others = sorted(set(by_id(org, "Account")) - matching())
    org.update("Account", ids[:1], {"Name": "renamed"})
    org.update("Account", ids[1:2], {"Industry": "Retail", "AnnualRevenue": None})
    org.update("Account", others[:1], {"Industry": "Energy"})
    org.delete("Account", ids[2:3])
    org.insert("Account", [{"Name": "new", "Industry": "Energy"}])
    second = run()
    assert second.rows_in_source == second.rows_in_destination
    assert second.rows_read < 10
    assert in_table(either) == matching()
    assert content(either, f"SELECT name FROM public.t WHERE id = '{ids[0]}'") == [("renamed",)]
    assert run().rows_updated == 0


def test_a_column_that_is_added_to_the_query_is_filled(org: SimulatedOrg, either: Database) -> None:
    """What is selected may grow: rows that do not change get the new column's values too."""
    ingest(org, MERGED, either, incremental_key="SystemModstamp")
    org.clock.advance(3600)
    ingest(org, MERGED.replace("Name,", "Name, Owner.Username,", 1), either, incremental_key="SystemModstamp")
    [[missing]] = content(either, "SELECT count(*) FROM public.t WHERE owner_username IS NULL")
    assert missing == 0


def test_parents_that_change_are_read_again_with_the_formulas(org: SimulatedOrg, either: Database) -> None:
    """A parent's change does not move the row's timestamp: --refresh-formulas reads such fields of all rows."""
    ingest(org, MERGED, either, incremental_key="SystemModstamp")
    [[owner]] = content(either, "SELECT owner_name FROM public.t WHERE owner_name IS NOT NULL LIMIT 1")
    users = [row["Id"] for row in by_id(org, "User").values() if row["Name"] == owner]
    org.clock.advance(3600)
    org.update("User", users, {"Name": "Renamed"})
    ingest(org, MERGED, either, incremental_key="SystemModstamp", refresh_formulas=True)
    [[old]] = content(
        either, f"SELECT count(*) FROM public.t WHERE owner_name = '{owner.replace(chr(39), chr(39) * 2)}'"
    )
    assert old == 0


def test_a_merge_keeps_to_its_query(org: SimulatedOrg, either: Database) -> None:
    """Rows of another query do not belong into the table."""
    ingest(org, MERGED, either, incremental_key="SystemModstamp")
    with pytest.raises(ConfigurationError, match="holds query of Account WHERE"):
        ingest(org, MERGED.replace("Energy", "Retail"), either, incremental_key="SystemModstamp")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("SELECT Id FROM Account LIMIT 5", "LIMIT and OFFSET choose other rows"),
        ("SELECT Industry, MAX(SystemModstamp) FROM Account GROUP BY Industry", "its rows are groups"),
        ("SELECT Id, Name FROM Account", "is not among what the query selects"),
    ],
)
def test_what_cannot_be_merged_says_so(org: SimulatedOrg, either: Database, text: str, wrong: str) -> None:
    """The error tells why, before a row is read."""
    with pytest.raises(ConfigurationError, match=wrong):
        ingest(org, f"query:{text}", either, incremental_key="SystemModstamp")


@pytest.mark.parametrize(
    ("text", "kind", "wrong"),
    [
        ("SELECT Id FROM Acount", UnknownNameError, "Acount"),
        ("SELECT Id, Nmae FROM Account", UnknownNameError, "Nmae"),
        ("SELECT Id, Ownr.Name FROM Account", UnknownNameError, "Ownr"),
        ("SELECT Id, Owner.Profile.UserLicense.Nmae FROM Account", UnknownNameError, "Nmae|UserLicense"),
        ("SELECT Id, A.B.C.D.E.F.G FROM Account", ConfigurationError, "5"),
        ("SELECT Id, BillingAddress FROM Account", ConfigurationError, "BillingAddress cannot be a column"),
        ("SELECT Id, Name, name FROM Account", ConfigurationError, "selects name twice|selects Name twice"),
        ("SELECT Owner.Name, Parent.Name FROM Account GROUP BY Owner.Name, Parent.Name", ConfigurationError, "twice"),
        ("SELECT Id, Name n FROM Account", ConfigurationError, "in groups alone"),
        ("SELECT COUNT() FROM Account", ConfigurationError, "gives no rows"),
        ("SELECT Id, NOSUCH(Name) FROM Account", ConfigurationError, "NOSUCH"),
        ("SELECT FIELDS(SOME) FROM Account", ConfigurationError, "FIELDS"),
        ("SELECT Id FROM Account WHERE Bogus = 1", RequestRefusedError, "Bogus"),
        ("SELECT Id FROM Account WHERE Name ~ 'x'", RequestRefusedError, "MALFORMED_QUERY"),
    ],
)
def test_what_is_wrong_with_a_query(org: SimulatedOrg, text: str, kind: type[IngestrError], wrong: str) -> None:
    """Each mistake has an error that names it, and a hint."""
    with pytest.raises(kind, match=wrong) as caught:
        read(org, text)
    assert caught.value.hint


def test_a_query_needs_a_name_for_its_table(org: SimulatedOrg, either: Database) -> None:
    """No name is made up for it; addresses in its conditions are no URIs in the wrong place."""
    text = "query:SELECT Id FROM Account WHERE Website LIKE 'https://%'"
    with pytest.raises(ConfigurationError, match="--dest-table is missing"):
        ingest(org, text, either, dest_table=None)
    assert ingest(org, text, either).rows_read >= 0


def test_a_window_of_a_query(org: SimulatedOrg) -> None:
    """Intervals are conditions beside the query's own, which stays in brackets."""
    stamps = sorted(row["SystemModstamp"] for row in by_id(org, "Account").values() if matches(row))
    start = stamps[len(stamps) // 2].replace(microsecond=0)
    with ingestr.read(source_uri(org), MERGED, incremental_key="SystemModstamp", interval_start=start) as stream:
        rows = stream.reader().read_all().to_pylist()
    wanted = {row["Id"] for row in by_id(org, "Account").values() if matches(row) and row["SystemModstamp"] >= start}
    assert {row["id"] for row in rows if not row["is_deleted"]} == wanted
    assert 0 < len(wanted) < len(stamps)


def test_the_plan_of_a_query(org: SimulatedOrg, either: Database) -> None:
    """The plan shows the SOQL as it would be asked."""
    text = "query:SELECT Id, Owner.Name FROM Account a WHERE a.Industry = 'Energy' OR a.Name = 'x'"
    plan = ingestr.plan(source_uri(org), text, uri_of(either), "public.t")
    assert "SELECT Id, Owner.Name FROM Account a WHERE (a.Industry = 'Energy' OR a.Name = 'x')" in str(plan)
