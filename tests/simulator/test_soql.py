"""SOQL: what it finds, and the platform's own errors for what it refuses."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestr.simulator import SimulatedOrg
from ingestr.simulator.ids import checksum, record_id, to_18
from ingestr.simulator.soql.dates import span
from simulator.talk import PATIENTLY, Talk


@pytest.fixture
def people(own_talk: Talk) -> Talk:
    """A few contacts whose values are known."""
    stamp = datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)
    rows: list[dict[str, object]] = [
        {"LastName": "O'Brien", "FirstName": "Ann", "Email": "a@x.example", "Birthdate": date(1980, 2, 3)},
        {"LastName": "100% sure", "FirstName": "bob", "Email": None, "Birthdate": date(1990, 2, 3)},
        {"LastName": "under_score", "FirstName": "Cy", "Email": "c@x.example", "Birthdate": None},
        {"LastName": "back\\slash", "FirstName": None, "Email": "d@x.example", "Birthdate": date(2000, 1, 1)},
    ]
    own_talk.org.insert("Contact", rows, system_modstamp=stamp)
    return own_talk


def _names(talk: Talk, where: str) -> list[str]:
    when = "SystemModstamp = 2026-01-31T10:20:30Z"
    return [
        record["LastName"]
        for record in talk.query(f"SELECT LastName FROM Contact WHERE {when} AND ({where}) ORDER BY Id")
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (r"LastName = 'O\'Brien'", ["O'Brien"]),
        ("lastname = 'o\\'BRIEN'", ["O'Brien"]),
        (r"LastName = 'back\\slash'", ["back\\slash"]),
        ("LastName LIKE '%under%'", ["under_score"]),
        (r"LastName LIKE '100\% %'", ["100% sure"]),
        (r"LastName LIKE '%r\_s%'", ["under_score"]),
        ("LastName LIKE 'under-score'", []),
        (r"LastName LIKE '%k\\s%'", ["back\\slash"]),
        ("FirstName IN ('ann', 'BOB')", ["O'Brien", "100% sure"]),
        ("FirstName NOT IN ('ann', 'BOB')", ["under_score", "back\\slash"]),
        ("FirstName != 'Ann'", ["100% sure", "under_score", "back\\slash"]),
        ("NOT FirstName = 'Ann'", ["100% sure", "under_score", "back\\slash"]),
        ("Email = null", ["100% sure"]),
        ("Email = ''", ["100% sure"]),
        ("Email != null AND FirstName = null", ["back\\slash"]),
        ("Birthdate < 1990-02-03", ["O'Brien"]),
        ("Birthdate >= 1990-02-03 AND Birthdate <= 2000-01-01", ["100% sure", "back\\slash"]),
        ("FirstName = 'Ann' OR (FirstName = 'Cy' AND Email != null)", ["O'Brien", "under_score"]),
        ("SystemModstamp >= 2026-01-31T11:20:30+01:00", ["O'Brien", "100% sure", "under_score", "back\\slash"]),
        ("SystemModstamp < 2026-01-31T10:20:30.900Z", []),
        ("Id != null AND IsDeleted = false AND LastName > 'p'", ["under_score"]),
        ("CALENDAR_YEAR(Birthdate) = 1980", ["O'Brien"]),
        ("AccountId = null AND LastName LIKE 'o%'", ["O'Brien"]),
        ("Account.Name = null AND LastName LIKE 'o%'", ["O'Brien"]),
    ],
)
def test_conditions_find_what_they_should(people: Talk, where: str, found: list[str]) -> None:
    """Text is compared without case; null is neither equal nor less, and not equal includes it."""
    assert _names(people, where) == found


def test_multi_select_picklists_are_searched_by_value(own_talk: Talk) -> None:
    """INCLUDES takes values, several of which must be there together when joined by a semicolon."""
    rows = [
        {"Multi_Picklist__c": value, "External_Id__c": f"q{place}"}
        for place, value in enumerate(["Red;Blue", "Red", None])
    ]
    own_talk.org.insert("My__Community_Group__c", rows)

    def found(condition: str) -> list[str]:
        where = f"External_Id__c LIKE 'q%' AND Multi_Picklist__c {condition}"
        soql = f"SELECT External_Id__c FROM My__Community_Group__c WHERE {where} ORDER BY External_Id__c"
        return [record["External_Id__c"] for record in own_talk.query(soql)]

    assert found("INCLUDES ('Red')") == ["q0", "q1"]
    assert found("INCLUDES ('Blue;Red', 'Green')") == ["q0"]
    assert found("EXCLUDES ('Blue')") == ["q1", "q2"]
    assert found("= 'Red;Blue'") == ["q0"]


def test_order_puts_nothing_first_unless_told(people: Talk) -> None:
    """NULLS FIRST is the default in both directions."""
    soql = "SELECT FirstName FROM Contact WHERE SystemModstamp = 2026-01-31T10:20:30Z ORDER BY FirstName"
    assert [record["FirstName"] for record in people.query(soql)] == [None, "Ann", "bob", "Cy"]
    assert [record["FirstName"] for record in people.query(soql + " DESC")] == [None, "Cy", "bob", "Ann"]
    assert [record["FirstName"] for record in people.query(soql + " DESC NULLS LAST")] == ["Cy", "bob", "Ann", None]
    assert [record["FirstName"] for record in people.query(soql + " LIMIT 2 OFFSET 1")] == ["Ann", "bob"]


def test_ids_are_compared_whole_and_may_be_short(talk: Talk) -> None:
    """15 characters find the row of 18; keyset paging goes by Id."""
    ids = talk.org.table("Account").column("Id").to_pylist()
    assert [record["Id"] for record in talk.query(f"SELECT Id FROM Account WHERE Id = '{ids[3][:15]}'")] == [ids[3]]
    assert [
        record["Id"] for record in talk.query(f"SELECT Id FROM Account WHERE Id > '{ids[3]}' ORDER BY Id LIMIT 2")
    ] == ids[4:6]


def test_aggregates_count_and_group(talk: Talk) -> None:
    """COUNT(), COUNT(field), MIN, MAX, SUM and GROUP BY with HAVING."""
    table = talk.org.table("Account")
    body = talk.get("/query", q="SELECT COUNT() FROM Account").json()
    assert body == {"totalSize": table.num_rows, "done": True, "records": []}
    filled = table.num_rows - table.column("Fax").null_count
    record = talk.query("SELECT COUNT(Fax), MAX(SystemModstamp) newest FROM Account")[0]
    assert record["attributes"] == {"type": "AggregateResult"}
    assert record["expr0"] == filled
    newest = max(table.column("SystemModstamp").to_pylist())
    assert record["newest"] == newest.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    groups = talk.query(
        "SELECT Rating, COUNT(Id) n FROM Account GROUP BY Rating HAVING COUNT(Id) > 1 ORDER BY COUNT(Id)"
    )
    assert sum(group["n"] for group in groups) == table.num_rows


def test_fields_functions_expand_within_their_limits(talk: Talk) -> None:
    """FIELDS(ALL) needs a limit of at most 200."""
    record = talk.query("SELECT FIELDS(ALL) FROM Account LIMIT 200")[0]
    assert len(record) == 59
    custom = talk.query("SELECT FIELDS(CUSTOM) FROM My__Community_Group__c LIMIT 1")[0]
    assert "Text__c" in custom
    assert "Name" not in custom
    message = "The SOQL FIELDS function must have a LIMIT of at most 200"
    assert talk.error("SELECT FIELDS(ALL) FROM Account") == (400, "MALFORMED_QUERY", message)
    code = talk.error("SELECT Id, FIELDS(ALL) FROM Account LIMIT 1")
    assert code[1] == "INVALID_FIELD"
    assert code[2].endswith("duplicate field selected: Id")


def test_parents_go_five_levels_up_and_can_be_several_objects(talk: Talk) -> None:
    """Account.Owner.Name; What and Who answer with a name and a type."""
    record = talk.query("SELECT Account.Owner.Name, AccountId FROM Contact WHERE AccountId != null LIMIT 1")[0]
    assert record["Account"]["Owner"]["Name"]
    types = {record["What"]["Type"] for record in talk.query("SELECT What.Type, What.Name FROM Task") if record["What"]}
    assert {"Account", "Opportunity"} <= types


def test_semi_joins(talk: Talk) -> None:
    """IN takes a query of one field."""
    records = talk.query("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Email != null)")
    contacts = talk.org.table("Contact").to_pylist()
    wanted = {row["AccountId"] for row in contacts if row["Email"] is not None}
    live = set(talk.org.table("Account").column("Id").to_pylist())
    assert {record["Id"] for record in records} == wanted & live


MALFORMED, FIELD, OPERATOR = "MALFORMED_QUERY", "INVALID_FIELD", "INVALID_QUERY_FILTER_OPERATOR"
REFUSED = [
    ("", MALFORMED, "SOQL statements cannot be empty or null"),
    ("SELECT Id FORM Account", MALFORMED, "unexpected token: 'FORM'"),
    ("SELECT Id FROM Account WHERE", MALFORMED, "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Account WHERE a = 1 AND b = 2 OR c = 3", MALFORMED, "unexpected token: 'OR'"),
    ("SELECT Id FROM Account WHERE Name = :x", MALFORMED, "Bind variables only allowed in Apex code"),
    ("SELECT Id FROM Account WHERE Name = 'a\\q'", MALFORMED, "'\\q' in string literal."),
    ("SELECT Id FROM Account WHERE Description = 'x'", FIELD, "'Description' can not be filtered in a query call"),
    ("SELECT Id FROM Account ORDER BY Description", FIELD, "'Description' can not be sorted in a query call"),
    ("SELECT Id FROM My__Community_Group__c ORDER BY Multi_Picklist__c", FIELD, "can not be sorted in a query call"),
    (
        "SELECT Id FROM Account WHERE CreatedDate > 2026-01-01",
        FIELD,
        "of type dateTime and should not be enclosed in quotes",
    ),
    ("SELECT Id FROM Account WHERE CreatedDate > '2026-01-01T00:00:00Z'", FIELD, "should not be enclosed in quotes"),
    (
        "SELECT Id FROM Contact WHERE Birthdate = 2026-01-01T00:00:00Z",
        FIELD,
        "type date and should not be enclosed in quotes",
    ),
    ("SELECT Id FROM Account WHERE Name = 5", FIELD, "must be of type string and should be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE IsDeleted = 'true'", FIELD, "of type boolean and should not be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE Id = 'abc'", OPERATOR, "invalid ID field: abc"),
    ("SELECT Id FROM Account WHERE Id LIKE '001%'", OPERATOR, "invalid operator on id field"),
    ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
    ("SELECT Name, COUNT(Id) FROM Account GROUP BY Type", MALFORMED, "Field must be grouped or aggregated: Name"),
    ("SELECT Nope.Name FROM Account", FIELD, "appropriate names."),
    ("SELECT Id FROM Account WHERE CreatedDate = SOMETIME", MALFORMED, "unexpected token: 'SOMETIME'"),
]


@pytest.mark.parametrize(("soql", "code", "ending"), REFUSED)
def test_what_soql_cannot_do_has_the_platforms_error(talk: Talk, soql: str, code: str, ending: str) -> None:
    """Code and text as the platform sends them, status 400."""
    status, found, message = talk.error(soql)
    assert (status, found) == (400, code)
    assert message.endswith(ending)


def test_errors_point_at_the_place(talk: Talk) -> None:
    """The recorded INVALID_TYPE error, byte for byte, and INVALID_FIELD in its manner."""
    reference = "Please reference your WSDL or the describe call for the appropriate names."
    assert talk.error("select count() from XYZZY")[2] == (
        "\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\n"
        "sObject type 'XYZZY' is not supported. If you are attempting to use a custom object, "
        f"be sure to append the '__c' after the entity name. {reference}"
    )
    assert talk.error("SELECT Foo FROM Account")[2] == (
        "\nSELECT Foo FROM Account\n       ^\nERROR at Row:1:Column:8\n"
        "No such column 'Foo' on entity 'Account'. If you are attempting to use a custom field, "
        f"be sure to append the '__c' after the custom field name. {reference}"
    )


def test_names_that_are_words_of_soql(talk: Talk) -> None:
    """Fields and objects may be called as keywords are."""
    talk.query(
        "SELECT Select__c, Order__c, Group__c FROM My__Community_Group__c WHERE Order__c > 5 ORDER BY Order__c LIMIT 1"
    )
    assert len(talk.query("SELECT Id FROM Group")) == talk.org.count("Group")


def test_date_words_follow_the_orgs_clock(own: SimulatedOrg) -> None:
    """What was made today is no longer of today when the clock moves on."""
    import httpx

    own.clock.freeze(datetime(2026, 3, 4, 12, tzinfo=UTC))
    own.insert("Account", [{"Name": "fresh"}])
    with httpx.Client(base_url=own.url, **PATIENTLY) as client:
        talk = Talk(own, client)
        assert len(talk.query("SELECT Id FROM Account WHERE CreatedDate = TODAY")) == 1
        assert len(talk.query("SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS:3")) == 1
        own.clock.advance(86_400)
        assert talk.query("SELECT Id FROM Account WHERE CreatedDate = TODAY") == []
        assert len(talk.query("SELECT Id FROM Account WHERE CreatedDate = YESTERDAY AND Name = 'fresh'")) == 1


@pytest.mark.parametrize(
    ("word", "number", "first", "after"),
    [
        ("TODAY", None, date(2026, 3, 4), date(2026, 3, 5)),
        ("LAST_WEEK", None, date(2026, 2, 22), date(2026, 3, 1)),
        ("THIS_MONTH", None, date(2026, 3, 1), date(2026, 4, 1)),
        ("LAST_MONTH", None, date(2026, 2, 1), date(2026, 3, 1)),
        ("NEXT_QUARTER", None, date(2026, 4, 1), date(2026, 7, 1)),
        ("THIS_FISCAL_YEAR", None, date(2026, 1, 1), date(2027, 1, 1)),
        ("LAST_N_DAYS", 2, date(2026, 3, 2), date(2026, 3, 5)),
        ("NEXT_N_DAYS", 2, date(2026, 3, 5), date(2026, 3, 7)),
        ("N_DAYS_AGO", 2, date(2026, 3, 2), date(2026, 3, 3)),
        ("LAST_N_MONTHS", 3, date(2025, 12, 1), date(2026, 3, 1)),
        ("N_YEARS_AGO", 1, date(2025, 1, 1), date(2026, 1, 1)),
    ],
)
def test_date_words_cover_their_days(word: str, number: int | None, first: date, after: date) -> None:
    """From the first day to the day after the last; weeks begin on Sunday."""
    assert span(word, number, date(2026, 3, 4)) == (first, after)


@given(st.integers(0, 10**7))
def test_ids_carry_their_checksum(row: int) -> None:
    """Every Id is 18 characters, and its first 15 lead back to it."""
    full = record_id("00Q", row)
    assert len(full) == 18
    assert to_18(full[:15]) == full
    assert to_18(full) == full


def test_checksums_of_documented_ids() -> None:
    """Ids from the platform's documents."""
    for full in ("001D000000IqhSLIAZ", "005B0000005Bk90IAC", "00DB0000000TfcRMAS", "750R0000000zlh9IAA"):
        assert checksum(full[:15]) == full[15:]
