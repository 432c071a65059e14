"""A user's SOQL is taken apart without being changed, or refused with what is wrong."""

import pytest

from ingestr.errors import ConfigurationError
from ingestr.sources.salesforce.meta.query_text import Item, parse_query


def test_the_parts_of_a_query() -> None:
    """Every clause is found, whatever the case, the white space and the text in quotes."""
    own, items = parse_query(
        "query: select Id, o.Account . Name,\n COUNT_DISTINCT( Owner.Id )  owners from Opportunity o using scope mine\n"
        "WHERE (Name LIKE 'a, FROM (b\\' WHERE%' OR\tAmount > 1.5E3) AND CloseDate = LAST_N_DAYS:30 "
        "WITH DATA CATEGORY Geo__c AT (usa__c) group by Id, o.Account.Name having COUNT(Id) > 1 "
        "order by Id desc nulls last limit 7 offset 2 ;"
    )
    assert items == (
        Item("Id", "", "Id", ""),
        Item("o.Account.Name", "", "o.Account.Name", ""),
        Item("COUNT_DISTINCT(Owner.Id)", "COUNT_DISTINCT", "Owner.Id", "owners"),
    )
    assert (own.object_name, own.alias, own.source) == ("Opportunity", "o", "Opportunity o USING SCOPE mine")
    assert own.condition == "(Name LIKE 'a, FROM (b\\' WHERE%' OR Amount > 1.5E3) AND CloseDate = LAST_N_DAYS:30"
    assert own.behind == ("WITH DATA CATEGORY Geo__c AT (usa__c) GROUP BY Id, o.Account.Name HAVING COUNT(Id) > 1")
    assert (own.order_by, own.limit, own.offset, own.grouped) == ("Id desc nulls last", 7, 2, True)


@pytest.mark.parametrize("name", ["Group", "Order", "Case"])
def test_objects_are_called_like_words_of_the_language(name: str) -> None:
    """What follows FROM is the object's name."""
    own, _ = parse_query(f"query:SELECT Id FROM {name} WHERE {name}.Name = 'x' ORDER BY Name")
    assert (own.object_name, own.condition, own.order_by) == (name, f"{name}.Name = 'x'", "Name")


def test_a_query_inside_the_conditions_stays_there() -> None:
    """Clauses in brackets belong to the query inside."""
    own, _ = parse_query("query:SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 5)")
    assert own.condition == "Id IN (SELECT AccountId FROM Contact LIMIT 5)"
    assert own.limit is None


def test_queries_for_other_rows_have_other_names() -> None:
    """What is selected tells nothing of which rows they are; every other clause does."""
    names = [
        str(parse_query(f"query:{text}")[0])
        for text in (
            "SELECT Id FROM Account",
            "select Id,Name\nfrom Account",
            "SELECT Id FROM Account WHERE Name = 'a'",
            "SELECT Id FROM Account WHERE Name = 'b'",
            "SELECT Id FROM Account LIMIT 1",
            "SELECT Id FROM Account GROUP BY Id",
            "SELECT Id FROM Account ORDER BY Name LIMIT 1",
        )
    ]
    assert names[0] == names[1]
    assert len(set(names)) == len(names) - 1


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no SELECT"),
        ("UPDATE Account", "begins with 'UPDATE'"),
        ("SELECT Id", "no FROM"),
        ("SELECT FROM Account", "nothing follows SELECT"),
        ("SELECT Id FROM", "nothing follows FROM"),
        ("SELECT Id, FROM Account", "between two commas"),
        ("SELECT Id FROM Account WHERE", "nothing follows WHERE"),
        ("SELECT Id FROM Account WHERE Name = 'a", "quote is not closed"),
        ("SELECT Id FROM Account WHERE (Name = 'a'", "bracket"),
        ("SELECT Id FROM Account WHERE Name = 'a')", "bracket"),
        ("SELECT Id FROM Account LIMIT 1 WHERE Name = 'a'", "WHERE stands twice, or where it may not"),
        ("SELECT Id FROM Account LIMIT many", "LIMIT many"),
        ("SELECT Id FROM Account, Contact", "several objects"),
        ("SELECT Id FROM Account a b c.d", "names no object"),
        ("SELECT * FROM Account", r"no \*"),
        ("SELECT Id + 1 FROM Account", "neither a field nor a function"),
        ("SELECT COUNT(Id) a b FROM Account", "neither a field nor a function"),
        ("SELECT (SELECT Id FROM Contacts) FROM Account", "query inside SELECT"),
        ("SELECT TYPEOF What WHEN Account THEN Phone END FROM Task", "TYPEOF"),
        ("SELECT Id FROM Account FOR VIEW", "FOR VIEW"),
        ("SELECT Id FROM Account ALL ROWS", "ALL ROWS"),
        ("SELECT Id FROM Account UPDATE TRACKING", "UPDATE TRACKING"),
        (f"SELECT Id FROM Account WHERE Name = '{'x' * 100_000}'", "characters"),
    ],
)
def test_what_is_no_table_is_refused(text: str, wrong: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ConfigurationError, match=wrong):
        parse_query(f"query:{text}")
