"""Knows how SOQL is written; must not know objects, fields or SQL."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, Tree, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError

from ingestr.simulator.errors import ApiError, pointed_at
from ingestr.simulator.numbers import whole
from ingestr.simulator.soql.tree import (
    Call,
    Comparison,
    Item,
    Junction,
    Literal,
    Membership,
    Negation,
    Order,
    Path,
    Select,
    TypeOf,
)

LONGEST_STATEMENT = 100_000
LONGEST_STRING = 4_000
_MOST_ROWS = 2**31 - 1
_ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "b": "\b",
    "f": "\f",
    "'": "'",
    '"': '"',
    "\\": "\\",
    "_": "_",
    "%": "%",
}


@cache
def _parser() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def parse(text: str) -> Select:
    """Return the tree of a statement.

    Raises:
        ApiError: MALFORMED_QUERY, as the platform words it.
    """
    if not text.strip():
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statements cannot be empty or null")
    if len(text) > LONGEST_STATEMENT:
        raise ApiError(400, "QUERY_TOO_COMPLICATED", "SOQL statement is too long: more than 100,000 characters")
    try:
        return _Builder(text).transform(_parser().parse(text))  # type: ignore[no-any-return]
    except VisitError as error:
        if isinstance(error.orig_exc, ApiError):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        raise _malformed(text, error) from None


def _malformed(text: str, error: UnexpectedInput) -> ApiError:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        token = _stray_alias(error) or error.token
        at, what = token.start_pos or 0, str(token)
    elif isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        what = text[at]
        if what == "'":
            return ApiError(
                400, "MALFORMED_QUERY", pointed_at(text, at, "unterminated string literal or unexpected quote")
            )
    elif isinstance(error, (UnexpectedEOF, UnexpectedToken)):
        at, what = len(text), "<EOF>"
    else:
        at, what = 0, text[:1]
    return ApiError(400, "MALFORMED_QUERY", pointed_at(text, at, f"unexpected token: '{what}'"))


def _stray_alias(error: UnexpectedToken) -> Token | None:
    """Return the word before the place where only FROM could go on: `SELECT Id FORM Account` is wrong at FORM."""
    state = error.interactive_parser.parser_state if error.interactive_parser is not None else None
    if state is None or set(error.accepts or ()) != {"FROM", "COMMA"} or not state.value_stack:
        return None
    last = state.value_stack[-1]
    token = last.children[0] if isinstance(last, Tree) and last.children else last
    return token if isinstance(token, Token) and token.type == "ALIAS" else None


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Turns lark's tree into ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def start(self, select: Select) -> Select:
        return select

    def select(self, keyword: Token, *parts: Any) -> Select:
        split = next(place for place, part in enumerate(parts) if isinstance(part, Token) and part.type == "FROM")
        source, alias, _scope, where, group, having, order, limit, offset, _purpose, _rows = parts[split + 1 :]
        return Select(
            text=self._text,
            items=tuple(parts[:split]),
            source=str(source),
            source_at=source.start_pos,
            alias=alias,
            where=where,
            group=group or (),
            having=having,
            order=order or (),
            limit=limit,
            offset=offset,
            at=keyword.start_pos or 0,
        )

    def alias(self, name: Token) -> str:
        return str(name)

    def scope(self, *_words: Token) -> None:
        return None

    def field_item(self, path: Path, alias: str | None) -> Item:
        return Item(path, alias)

    call_item = field_item

    def subquery_item(self, select: Select) -> Item:
        return Item(select, None)

    def typeof_item(self, part: TypeOf) -> Item:
        return Item(part, None)

    def typeof(self, keyword: Token, path: Path, *_rest: Any) -> TypeOf:
        return TypeOf(path, keyword.start_pos or 0)

    def path(self, *names: Token) -> Path:
        return Path(tuple(map(str, names)), names[0].start_pos or 0)

    def call(self, name: Token, *arguments: Any) -> Call:
        return Call(
            str(name).upper(), tuple(argument for argument in arguments if argument is not None), name.start_pos or 0
        )

    def where(self, _keyword: Token, condition: Any) -> Any:
        return condition

    having = where

    def and_(self, *parts: Any) -> Junction:
        return Junction("AND", tuple(part for part in parts if not isinstance(part, Token)))

    def or_(self, *parts: Any) -> Junction:
        return Junction("OR", tuple(part for part in parts if not isinstance(part, Token)))

    def not_(self, _keyword: Token, condition: Any) -> Negation:
        return Negation(condition)

    def compare(self, operand: Any, operator: Token, value: Literal) -> Comparison:
        return Comparison(operand, "!=" if operator == "<>" else str(operator), value)

    def like(self, operand: Any, _keyword: Token, value: Literal) -> Comparison:
        return Comparison(operand, "LIKE", value)

    def _membership(self, operator: str, operand: Any, values: Any) -> Membership:
        if isinstance(values, Select):
            return Membership(operand, operator, (), values)
        return Membership(operand, operator, values)

    def in_(self, operand: Any, _in: Token, values: Any) -> Membership:
        return self._membership("IN", operand, values)

    def not_in(self, operand: Any, _not: Token, _in: Token, values: Any) -> Membership:
        return self._membership("NOT IN", operand, values)

    def includes(self, operand: Any, _keyword: Token, values: Any) -> Membership:
        return self._membership("INCLUDES", operand, values)

    def excludes(self, operand: Any, _keyword: Token, values: Any) -> Membership:
        return self._membership("EXCLUDES", operand, values)

    def value_list(self, *values: Literal) -> tuple[Literal, ...]:
        return values

    def semi_join(self, select: Select) -> Select:
        return select

    def group(self, _group: Token, _by: Token, *operands: Any) -> tuple[Any, ...]:
        return operands

    def order(self, _order: Token, _by: Token, *items: Order) -> tuple[Order, ...]:
        return items

    def order_item(self, operand: Any, direction: Token | None, _nulls: Token | None, place: Token | None) -> Order:
        return Order(
            operand,
            direction is not None and direction.lower() == "desc",
            place is not None and place.lower() == "last",
        )

    def limit(self, _keyword: Token, number: Token) -> int:
        return self._whole(number)

    def offset(self, _keyword: Token, number: Token) -> int:
        return self._whole(number)

    def purpose(self, *_words: Token) -> None:
        return None

    def all_rows(self, words: Token) -> None:
        message = "ALL ROWS not allowed in this context"
        raise ApiError(400, "MALFORMED_QUERY", pointed_at(self._text, words.start_pos or 0, message))

    def _whole(self, number: Token) -> int:
        rows = whole(str(number))
        if rows is None or rows > _MOST_ROWS:
            raise ApiError(
                400, "MALFORMED_QUERY", pointed_at(self._text, number.start_pos or 0, f"unexpected token: '{number}'")
            )
        return rows

    def string(self, token: Token) -> Literal:
        characters = self._unescape(token)
        value = "".join(character for character, _ in characters)
        if len(value) > LONGEST_STRING:
            raise ApiError(
                400,
                "MALFORMED_QUERY",
                pointed_at(self._text, token.start_pos or 0, "string literal is longer than 4,000 characters"),
            )
        literal = {"%", "_", "\\"}
        pattern = "".join(
            "\\" + char if char == "\\" or (escaped and char in literal) else char for char, escaped in characters
        )
        return Literal("string", value, token.start_pos or 0, pattern)

    def _unescape(self, token: Token) -> list[tuple[str, bool]]:
        """Return the characters of a literal, each with whether a backslash stood before it."""
        inner, place = str(token)[1:-1], 0
        out: list[tuple[str, bool]] = []
        while place < len(inner):
            char = inner[place]
            if char == "\\":
                follower = inner[place + 1]
                if follower in "uU" and len(inner) >= place + 6:
                    out.append((chr(int(inner[place + 2 : place + 6], 16)), True))
                    place += 6
                    continue
                if follower.lower() not in _ESCAPES:
                    message = (
                        f"Invalid string literal '{inner}'. "
                        f"Illegal character sequence '\\{follower}' in string literal."
                    )
                    raise ApiError(400, "MALFORMED_QUERY", pointed_at(self._text, token.start_pos or 0, message))
                out.append((_ESCAPES[follower.lower()], True))
                place += 2
                continue
            out.append((char, False))
            place += 1
        return out

    def _literal(self, kind: str, token: Token) -> Literal:
        return Literal(kind, str(token), token.start_pos or 0)

    def datetime(self, token: Token) -> Literal:
        return self._literal("datetime", token)

    def date(self, token: Token) -> Literal:
        return self._literal("date", token)

    def time(self, token: Token) -> Literal:
        return self._literal("time", token)

    def number(self, token: Token) -> Literal:
        return self._literal("number", token)

    def currency(self, token: Token) -> Literal:
        return Literal("number", str(token)[3:], token.start_pos or 0)

    def true(self, token: Token) -> Literal:
        return Literal("boolean", True, token.start_pos or 0)

    def false(self, token: Token) -> Literal:
        return Literal("boolean", False, token.start_pos or 0)

    def null(self, token: Token) -> Literal:
        return Literal("null", None, token.start_pos or 0)

    def word(self, name: Token, number: Token | None) -> Literal:
        return Literal(
            "word", (str(name).upper(), None if number is None else self._whole(number)), name.start_pos or 0
        )

    def bind(self, name: Token) -> Literal:
        raise ApiError(
            400,
            "MALFORMED_QUERY",
            pointed_at(self._text, (name.start_pos or 1) - 1, "Bind variables only allowed in Apex code"),
        )
