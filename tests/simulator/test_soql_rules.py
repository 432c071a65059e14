"""What the platform refuses of a statement that it can read, and what it makes of odd ones."""

import pytest

from simulator.talk import Talk

MALFORMED, FIELD = "MALFORMED_QUERY", "INVALID_FIELD"


@pytest.mark.parametrize(
    ("soql", "code", "ending"),
    [
        ("SELECT FROM Account", MALFORMED, "Column:8\nunexpected token: 'FROM'"),
        ("SELECT Id, FROM Account", MALFORMED, "Column:12\nunexpected token: 'FROM'"),
        ("SELECT Id FROM Account ALL ROWS", MALFORMED, "ALL ROWS not allowed in this context"),
        ("SELECT Id FROM Account FOR UPDATE", MALFORMED, "unexpected token: 'UPDATE'"),
        ("SELECT Id FROM Account WITH SECURITY_ENFORCED", MALFORMED, "unexpected token: 'WITH'"),
        ("SELECT Id FROM Account HAVING COUNT(Id) > 1", MALFORMED, "unexpected token: 'HAVING'"),
        ("SELECT Id FROM Account LIMIT 99999999999", MALFORMED, "unexpected token: '99999999999'"),
        ("SELECT Id Name FROM Account", MALFORMED, "only aggregate expressions use field aliasing"),
    ],
)
def test_words_in_the_wrong_place_are_named(talk: Talk, soql: str, code: str, ending: str) -> None:
    """What REST does not know of SOQL, or not there, is MALFORMED_QUERY with the word."""
    assert talk.error(soql)[:2] == (400, code)
    assert talk.error(soql)[2].endswith(ending)


@pytest.mark.parametrize(
    ("soql", "ending"),
    [
        ("SELECT Type, COUNT(Id) FROM Account GROUP BY Type ORDER BY Name", "Ordered field must be grouped or"),
        ("SELECT Type FROM Account GROUP BY Type HAVING Name = 'x'", "Field must be grouped or aggregated: Name"),
        ("SELECT Type, CALENDAR_YEAR(CreatedDate) FROM Account GROUP BY Type", "CALENDAR_YEAR(CreatedDate)"),
        ("SELECT CALENDAR_YEAR(CreatedDate) FROM Account", "aggregated: CALENDAR_YEAR(CreatedDate)"),
        ("SELECT FIELDS(ALL) FROM Account GROUP BY Id LIMIT 200", "Field must be grouped or aggregated: IsDeleted"),
        ("SELECT Id, COUNT(Id) FROM Account GROUP BY Id", "Grouped field should not be aggregated: Id"),
        ("SELECT COUNT(Id) FROM Account LIMIT 5", "overall aggregate functions cannot also use LIMIT"),
        ("SELECT Id FROM Account WHERE COUNT(Id) > 1", "unexpected token: 'COUNT'"),
        ("SELECT Id FROM Account ORDER BY COUNT(Id)", "unexpected token: 'COUNT'"),
        ("SELECT Id, (SELECT COUNT(Id) FROM Contacts) FROM Account", "only root queries support aggregate expressions"),
    ],
)
def test_groups_name_only_what_is_grouped(talk: Talk, soql: str, ending: str) -> None:
    """A field that is neither grouped nor aggregated is MALFORMED_QUERY, wherever it stands."""
    status, code, message = talk.error(soql)
    assert (status, code) == (400, MALFORMED)
    assert ending in message


@pytest.mark.parametrize(
    ("where", "ending"),
    [
        ("Name = 'x' OR Id IN (SELECT AccountId FROM Contact)", "not allowed with the 'OR' operator"),
        ("Id IN (SELECT Id FROM Account)", "The inner and outer selects should not be on the same object type"),
        ("Id IN (SELECT Name FROM Contact)", "semi join sub-selects can only query id fields, cannot use: 'Name'"),
        (
            "Id IN (SELECT AccountId FROM Contact WHERE OwnerId IN (SELECT Id FROM User))",
            "Nesting of semi join sub-selects is not supported",
        ),
        (
            " AND ".join(["Id IN (SELECT AccountId FROM Contact)"] * 3),
            "Maximum 2 semi join sub-selects are allowed",
        ),
    ],
)
def test_semi_joins_have_limits(talk: Talk, where: str, ending: str) -> None:
    """Two at most, each of another object, of an Id, not nested and not an alternative."""
    status, code, message = talk.error(f"SELECT Id FROM Account WHERE {where}")
    assert (status, code) == (400, MALFORMED)
    assert message.endswith(ending)


@pytest.mark.parametrize(
    "condition",
    [
        "CreatedDate > 9999-12-31T23:59:59-12:00",
        "CreatedDate = LAST_N_DAYS:99999999999",
        "CreatedDate = LAST_N_YEARS:5000",
        "CreatedDate = NEXT_N_MONTHS:999999",
    ],
)
def test_times_that_no_calendar_has_are_refused(talk: Talk, condition: str) -> None:
    """A literal or a date word beyond the years 1 to 9999 is MALFORMED_QUERY."""
    assert talk.error(f"SELECT Id FROM Account WHERE {condition}")[:2] == (400, MALFORMED)


def test_compound_fields_are_no_values(talk: Talk) -> None:
    """An address can neither be compared nor given to a function."""
    status, code, message = talk.error("SELECT Id FROM Account WHERE BillingAddress != null")
    assert (status, code) == (400, FIELD)
    assert message.endswith("field 'BillingAddress' can not be filtered in a query call")
    assert talk.error("SELECT toLabel(BillingAddress) FROM Account")[:2] == (400, MALFORMED)


def test_relationships_are_counted(talk: Talk) -> None:
    """At most 20 subqueries and 55 parents in one statement."""
    children = ", ".join(["(SELECT Id FROM Contacts)"] * 21)
    message = "SOQL statements cannot query more than 20 different child types."
    assert talk.error(f"SELECT Id, {children} FROM Account") == (400, MALFORMED, message)
    ways = ("Owner", "CreatedBy", "LastModifiedBy")
    parents = [
        f"{'Parent.' * depth}{one}.{two}.Id" for depth in range(4) for one in ways for two in (*ways[1:], "Manager")
    ]
    parents += [
        f"Parent.{one}.{two}.{three}.Id" for one in ways for two in ways[1:] for three in (*ways[1:], "Manager")
    ]
    assert talk.query(f"SELECT {', '.join(parents[:30])} FROM Account LIMIT 1")
    message = "SOQL statements cannot query more than 55 parent relationships."
    assert talk.error(f"SELECT {', '.join(parents)} FROM Account LIMIT 1") == (400, MALFORMED, message)


def test_fields_of_a_few_ids_need_no_limit(talk: Talk) -> None:
    """FIELDS(ALL) is served with at most 200 Ids in place of a LIMIT."""
    ids = talk.org.table("Account").column("Id").to_pylist()
    few = ", ".join(f"'{each}'" for each in ids[:200])
    assert len(talk.query(f"SELECT FIELDS(ALL) FROM Account WHERE Id IN ({few})")) == 200
    many = ", ".join(f"'{each}'" for each in ids[:201])
    assert talk.error(f"SELECT FIELDS(ALL) FROM Account WHERE Id IN ({many})")[1] == MALFORMED


def test_a_label_is_called_like_its_field(talk: Talk) -> None:
    """toLabel(Rating) answers as Rating, or as its alias."""
    assert "Rating" in talk.query("SELECT toLabel(Rating) FROM Account LIMIT 1")[0]
    assert "shown" in talk.query("SELECT Rating, toLabel(Rating) shown FROM Account LIMIT 1")[0]


def test_groups_come_in_one_page(own_talk: Talk) -> None:
    """More than 2,000 groups cannot be paged: EXCEEDED_ID_LIMIT."""
    own_talk.org.insert("Account", [{"Name": f"n{number}"} for number in range(2_000)])
    soql = "SELECT Name, COUNT(Id) FROM Account GROUP BY Name"
    assert own_talk.error(soql)[1] == "EXCEEDED_ID_LIMIT"
    assert len(own_talk.query(f"{soql} LIMIT 2000")) == 2_000
