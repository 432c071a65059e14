"""A user's SOQL, taken apart as far as a table needs: what is selected, of which object, and what else stands there.

The conditions stay as they were written: Salesforce judges them. Must not know what the object's fields are.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ingestr.core.naming import QUERY_PREFIX
from ingestr.errors import ConfigurationError
from ingestr.flags import Flag

AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"})

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\s+|[(),]|[^\W\d]\w*(?:\s*\.\s*\w+)*|[^\s'(),]+", re.DOTALL)
_PATH = re.compile(r"[^\W\d]\w*(?:\.\w+)*")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[0-9]{1,9}")
# The clauses in the order in which SOQL has them, each with the word that must follow its own.
_CLAUSES = {
    "SELECT": "",
    "FROM": "",
    "USING": "SCOPE",
    "WHERE": "",
    "WITH": "",
    "GROUP": "BY",
    "HAVING": "",
    "ORDER": "BY",
    "LIMIT": "",
    "OFFSET": "",
}
# What may stand behind a query, and why none of it may here.
_REFUSED = {
    "FOR": "FOR VIEW and FOR REFERENCE change the records that are read, and FOR UPDATE is for Apex",
    "UPDATE": "UPDATE TRACKING and UPDATE VIEWSTAT change what the org counts",
    "ALL": "ALL ROWS is for Apex; a merge reads deleted rows of itself",
}
_LONGEST = 100_000
_EXAMPLE = "e.g. query:SELECT Id, Name, Owner.Name FROM Account WHERE Industry != null"


@dataclass(frozen=True)
class Item:
    """One thing that is selected.

    Args:
        text: a path, or a call of a function, as it was written.
        function: the function's name in capitals; empty for a path.
        argument: what is in its brackets; the path itself where there is no function.
        alias: the name that it is given, or empty.
    """

    text: str
    function: str
    argument: str
    alias: str


@dataclass(frozen=True)
class OwnQuery:
    """A query that a user wrote, but for what it selects.

    Args:
        object_name: as it was written.
        source: what stands behind FROM, with alias and scope.
        alias: of the object, or empty.
        condition: what stands behind WHERE, or empty.
        behind: WITH, GROUP BY and HAVING.
        order_by: what stands behind ORDER BY, or empty.
        limit: at most this many rows, or None.
        offset: rows that are passed over.
        grouped: whether its rows are groups of the object's.
        keys: for columns whose values stand elsewhere in an answer than the column's name says: where.
        spelled: for columns that are no fields: the column's name and what is selected.
    """

    object_name: str
    source: str
    alias: str = ""
    condition: str = ""
    behind: str = ""
    order_by: str = ""
    limit: int | None = None
    offset: int = 0
    grouped: bool = False
    keys: tuple[tuple[str, str], ...] = ()
    spelled: tuple[tuple[str, str], ...] = ()

    @property
    def rest_only(self) -> str:
        """Why Bulk 2.0 cannot serve it, as its documents say ("Bulk API 2.0: SOQL considerations"); else empty."""
        if self.grouped:
            return "Bulk 2.0 serves no grouped queries"
        if self.offset:
            return "Bulk 2.0 serves no OFFSET"
        return "Bulk 2.0 serves no functions" if self.spelled else ""

    @property
    def unmergeable(self) -> str:
        """Why its rows can only be read as a whole; empty where windows of them are as good."""
        if self.grouped:
            return "its rows are groups"
        return "LIMIT and OFFSET choose other rows each time" if self.limit is not None or self.offset else ""

    def select(self, fields: Sequence[str]) -> list[str]:
        """What is selected for some of the columns."""
        spelled = dict(self.spelled)
        return [spelled.get(name, name) for name in fields]

    @property
    def fingerprint(self) -> str:
        """Tells the rows of one query from those of another."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:8]

    def __str__(self) -> str:
        """The rows that it is about, whatever it selects of them."""
        parts = [
            self.source,
            self.condition and f"WHERE {self.condition}",
            self.behind,
            self.order_by and f"ORDER BY {self.order_by}",
            "" if self.limit is None else f"LIMIT {self.limit}",
            f"OFFSET {self.offset}" if self.offset else "",
        ]
        return " ".join(filter(None, parts))


def parse_query(table: str) -> tuple[OwnQuery, tuple[Item, ...]]:
    """The query behind ``query:``, and what it selects.

    Raises:
        ConfigurationError: it is no SOQL, or of a kind that gives no table.
    """
    text = table.strip()[len(QUERY_PREFIX) :].strip().rstrip(";")
    if len(text) > _LONGEST:
        raise _refused(f"it has {len(text):,} characters, and Salesforce takes {_LONGEST:,}")
    clauses = _clauses(list(_pieces(text)))
    items = tuple(_item(part) for part in _split(clauses["SELECT"]))
    behind = [f"WITH {_text(clauses['WITH'])}"] if "WITH" in clauses else []
    behind += [f"GROUP BY {_text(clauses['GROUP'])}"] if "GROUP" in clauses else []
    behind += [f"HAVING {_text(clauses['HAVING'])}"] if "HAVING" in clauses else []
    grouped = "GROUP" in clauses or any(item.function in AGGREGATES for item in items)
    order_by = _text(clauses.get("ORDER", []))
    query = replace(_source(clauses), behind=" ".join(behind), grouped=grouped, order_by=order_by)
    return replace(query, limit=_number(clauses, "LIMIT"), offset=_number(clauses, "OFFSET") or 0), items


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _refused("a quote is not closed")
        yield " " if found[0].isspace() else re.sub(r"\s", "", found[0]) if _is_word(found[0]) else found[0]
        at = found.end()


def _is_word(piece: str) -> bool:
    return piece[0] == "_" or piece[0].isalpha()


def _clauses(pieces: list[str]) -> dict[str, list[str]]:
    """What stands behind each word that begins a clause."""
    found: dict[str, list[str]] = {}
    own: list[str] | None = None
    before, rest = "", 0
    for at, (piece, depth) in enumerate(_with_depth(pieces)):
        if at < rest:
            continue
        word = piece.upper()
        # An object may be called Group or Order: what follows FROM is its name.
        begins = depth == 0 and before != "FROM"
        if begins and word in _REFUSED and "FROM" in found:
            raise _refused(_REFUSED[word], hint="leave it out")
        if begins and word in _CLAUSES and (behind := _behind(pieces, at + 1, _CLAUSES[word])) is not None:
            _check_order(word, found)
            own, rest = found.setdefault(word, []), behind
        elif own is None:
            raise _refused(f"it begins with {piece!r}", hint=_EXAMPLE)
        else:
            own.append(piece)
        before = before if piece == " " else word
    for word in ("SELECT", "FROM"):
        if word not in found:
            raise _refused(f"it has no {word}", hint=_EXAMPLE)
    for word, part in found.items():
        if not _text(part):
            raise _refused(f"nothing follows {word} {_CLAUSES[word]}".rstrip(), hint=_EXAMPLE)
    return found


def _with_depth(pieces: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each piece with the number of brackets that are open behind it."""
    depth = 0
    for piece in pieces:
        depth += (piece == "(") - (piece == ")")
        if depth < 0:
            break
        yield piece, depth
    if depth:
        raise _refused("a bracket is opened that is not closed, or the other way about")


def _behind(pieces: list[str], at: int, second: str) -> int | None:
    """Where a clause goes on behind the second word of its beginning; None where that does not follow."""
    if not second:
        return at
    place = next((place for place in range(at, len(pieces)) if pieces[place] != " "), None)
    return place + 1 if place is not None and pieces[place].upper() == second else None


def _check_order(word: str, found: dict[str, list[str]]) -> None:
    places = list(_CLAUSES)
    if found and places.index(word) <= places.index([*found][-1]):
        raise _refused(f"{word} stands twice, or where it may not", hint=f"the order is {', '.join(places)}")


def _text(pieces: Sequence[str]) -> str:
    return "".join(pieces).strip()


def _split(pieces: Sequence[str]) -> Iterator[list[str]]:
    """The parts between commas that are in no brackets."""
    part: list[str] = []
    for piece, depth in _with_depth(pieces):
        if piece == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(piece)
    yield part


def _item(pieces: Sequence[str]) -> Item:
    words = [piece for piece in pieces if piece != " "]
    text = _text(pieces)
    if not words:
        raise _refused("nothing stands between two commas, or behind the last")
    if words[0] == "(":
        raise _refused(
            "it has a query inside SELECT, whose rows are no columns",
            hint="read the child object as a table of its own; its lookup field names the parent",
        )
    if words[0].upper() == "TYPEOF":
        raise _refused(
            "TYPEOF gives other columns in each row", hint="name the parent's fields: What.Name, What.Type, say"
        )
    if words[0] == "*":
        raise _refused("SOQL has no *", hint="name the object as the table to read every field, or write FIELDS(ALL)")
    if words[1:2] == ["("]:
        return _call(words, text)
    alias = words[1] if len(words) == 2 else ""
    if len(words) > 2 or not _PATH.fullmatch(words[0]) or (alias and not _NAME.fullmatch(alias)):
        raise _refused(f"{text!r} is neither a field nor a function")
    return Item(words[0], "", words[0], alias)


def _call(words: Sequence[str], text: str) -> Item:
    end = next(place for place, (word, depth) in enumerate(_with_depth(words)) if word == ")" and depth == 0)
    rest = words[end + 1 :]
    if not _NAME.fullmatch(words[0]) or len(rest) > 1 or (rest and not _NAME.fullmatch(rest[0])):
        raise _refused(f"{text!r} is neither a field nor a function")
    return Item("".join(words[: end + 1]), words[0].upper(), "".join(words[2:end]), rest[0] if rest else "")


def _source(clauses: dict[str, list[str]]) -> OwnQuery:
    words = [piece for piece in clauses["FROM"] if piece != " "]
    name, alias = words[0], "".join(word for word in words[1:] if word.upper() != "AS")
    if "," in words or "(" in words:
        raise _refused("FROM names several objects", hint="name one, and its parents' fields by their paths")
    if not _NAME.fullmatch(name) or (alias and not _NAME.fullmatch(alias)):
        raise _refused(f"FROM {_text(clauses['FROM'])} names no object")
    scope = f" USING SCOPE {_text(clauses['USING'])}" if "USING" in clauses else ""
    source = (f"{name} {alias}" if alias else name) + scope
    return OwnQuery(name, source, alias, condition=_text(clauses.get("WHERE", [])))


def _number(clauses: dict[str, list[str]], word: str) -> int | None:
    if word not in clauses:
        return None
    number = _text(clauses[word])
    if not _NUMBER.fullmatch(number):
        raise _refused(f"{word} {number} is no number of rows")
    return int(number)


def _refused(what: str, hint: str | None = None) -> ConfigurationError:
    return ConfigurationError(f"the query of {Flag.SOURCE_TABLE} cannot be read as a table: {what}", hint=hint)
