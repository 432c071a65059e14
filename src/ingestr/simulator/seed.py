# ruff: noqa: S608 — names come from the catalogue, values are bound
"""Knows how the rows of a new org come about, as one SELECT per object; not HTTP, SOQL or how rows change later.

Every value is arithmetic on (seed, object, field, row number), defined here, so the same seed gives the same org on
every machine and with every version of Python and DuckDB. Nothing is done row by row in Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zlib import crc32

from ingestr.simulator import seed_words as words
from ingestr.simulator.catalogue import load_objects
from ingestr.simulator.ids import id_tail, join_tail_sql, record_id_sql
from ingestr.simulator.model import FLOAT_TYPES, TEXT_TYPES, Field, SObject
from ingestr.simulator.seed_rules import EXACT, RULES

DEFAULT_END = datetime(2025, 6, 1, tzinfo=UTC)
_PRIME = 2_147_483_647
_STREAMS = 4
# A lookup points at one of the first rows of its parent: their Ids fit into one list that every SELECT can use.
_POOL = 2_000
MACROS = (
    # Two rounds of multiplication modulo a prime with a shift between: exact in 64 bits, and well mixed.
    f"CREATE MACRO mix_once(i, salt) AS (i * 48271 + salt) % {_PRIME}",
    f"CREATE MACRO mix_twice(x, salt) AS (xor(x, x >> 13) * 69621 + salt) % {_PRIME}",
    f"CREATE MACRO long_text() AS '{words.long_text()}'",
)
_NASTY_EVERY, _NASTY_AT = 13, 3
_DELETED_EVERY, _DELETED_AT = 50, 17
_LONG_TEXT_EVERY = 500
# In the middle of a growing table nothing is deleted or archived.
_ALIVE = {"IsDeleted": "FALSE", "MasterRecordId": "CAST(NULL AS VARCHAR)", "IsArchived": "FALSE"}
# How many rows for each thousand of `rows`; what is not named has as many rows as asked for.
_SCALE = {"Campaign": 50, "Product2": 100, "PricebookEntry": 500, "Attachment": 100, "CampaignMemberStatus": 100}
# Objects that nobody can read without knowing what to ask for.
_EMPTY = frozenset(
    {
        "ActivityHistory",
        "AggregateResult",
        "ContentDocumentLink",
        "FieldDefinition",
        "OutgoingEmail",
        "DatacloudAddress",
        "UserRecordAccess",
    }
)
_FIXED = {
    "User": 50,
    "UserRole": 12,
    "RecordType": 8,
    "Pricebook2": 5,
    "CaseStatus": 4,
    "OpportunityStage": 10,
    "Profile": 6,
    "Group": 8,
}
_PLACEHOLDER = re.compile(r"\{([abc])(?::(\w+))?\}")
_WORD_LISTS = {
    name.lower(): tuple(getattr(words, name))
    for name in (
        "FIRST_NAMES",
        "LAST_NAMES",
        "COMPANIES",
        "COMPANY_KINDS",
        "STREETS",
        "CITIES",
        "STATES",
        "COUNTRIES",
        "TITLES",
        "NOUNS",
        "ADJECTIVES",
    )
}


def row_count(name: str, rows: int) -> int:
    """Return how many rows an object has at first, in an org asked to have `rows`."""
    if rows == 0:
        return 0
    if name in _FIXED:
        return _FIXED[name]
    if name in _EMPTY or name.endswith("ChangeEvent"):
        return 0
    return max(1, rows * _SCALE.get(name, 1000) // 1000)


@dataclass(slots=True)
class SeedPlan:
    """What the making of rows needs to know of the whole org."""

    seed: int
    end: datetime
    counts: Mapping[str, int]
    objects: Mapping[str, SObject]
    # The objects of a new org, whatever became of them.
    first: Mapping[str, SObject] = field(default_factory=load_objects)
    # Lists of choices that the SELECTs read by `getvariable`: a list spelled out in each would cost more than the rows.
    variables: dict[str, str] = field(default_factory=dict)

    def select(self, owner: SObject, first: int, count: int, *, deleted: bool = True) -> str:
        """Return the SELECT that gives rows `first` … `first + count` of an object, out of Id order.

        Args:
            owner: the object.
            first: number of the first row.
            count: how many rows.
            deleted: whether some of them are deleted or archived.
        """
        small = first + count <= _POOL
        seeded = self._seeded(owner)
        columns = ",\n".join(
            f'{self._expression(owner, each, small=small)} AS "{each.name}"' for each in _computed_order(owner, seeded)
        )
        stored = ", ".join(
            f'"{each.name}"'
            if seeded[each.name].sql_type == each.sql_type
            else f'TRY_CAST("{each.name}" AS {each.sql_type}) AS "{each.name}"'
            for each in owner.stored()
        )
        if not deleted:
            for name, nothing in _ALIVE.items():
                stored = stored.replace(f'"{name}"', f'{nothing} AS "{name}"')
        salts = [crc32(f"{self.seed}/{owner.name}/{stream}".encode()) % _PRIME for stream in range(_STREAMS)]
        mixed = ", ".join(f"mix_twice(mix_once(i, {salt}), {salt}) AS h{stream}" for stream, salt in enumerate(salts))
        return (
            f"WITH counted AS (SELECT {first} + {_shuffled('n', count)} AS i FROM range({count}) r(n)),\n"
            f"numbered AS (SELECT i, {mixed} FROM counted),\n"
            f"computed AS (SELECT {columns}, i AS _row FROM numbered)\nSELECT _row, {stored} FROM computed"
        )

    def _seeded(self, owner: SObject) -> dict[str, Field]:
        """Return the fields as they were at first, dropped ones too as rules may name them, and those added since."""
        first = self.first.get(owner.name)
        known = {} if first is None else {each.name: each for each in first.stored()}
        return {**{each.name: each for each in owner.stored()}, **known}

    def _expression(self, owner: SObject, each: Field, *, small: bool) -> str:
        """Return SQL for a field's value in row `i`."""
        if each.type == "id":
            return self._pooled_id(owner, "i") if small else record_id_sql(owner.prefix, "i")
        if "null" in each.traits:
            return f"CAST(NULL AS {each.sql_type})"
        if each.name in {"CreatedDate", "LastModifiedDate", "SystemModstamp", "LoginTime"}:
            return self._system_time(owner, each.name)
        if each.name == "IsDeleted":
            return f"i % {_DELETED_EVERY} = {_DELETED_AT}" if owner.keeps_deleted else "FALSE"
        if each.name == "MasterRecordId":
            # A merged row's neighbour has won.
            winner = self._pooled_id(owner, f"(i - 1) % {_POOL}")
            return f"CASE WHEN i % {_DELETED_EVERY * 2} = {_DELETED_AT} THEN {winner} END"
        key = next((key for key in (f"{owner.name}.{each.name}", each.name) if key in RULES), None)
        if key is None and each.type == "reference":
            return self._reference(owner, each)
        value = self._plain(owner, each) if key is None else self._fill(owner, each, RULES[key])
        if key not in EXACT:
            value = self._with_nasty(owner, each, value)
        return f"CAST({value} AS {each.sql_type})"

    def _salt(self, owner: SObject, each: Field, what: str) -> int:
        return crc32(f"{self.seed}/{owner.name}/{each.name}/{what}".encode()) % _PRIME

    def _roll(self, owner: SObject, each: Field, what: str = "") -> str:
        """Return SQL for a number that looks random, another one for each row, field and `what`."""
        salt = self._salt(owner, each, what)
        return f"((h{salt % _STREAMS} * {30_011 + salt % 1_009} + {salt}) % {_PRIME})"

    def _choose(self, roll: str, choices: Sequence[str], kind: str = "VARCHAR") -> str:
        """Return SQL for the choice that `roll` falls upon."""
        items = ", ".join("'" + choice.replace("'", "''") + "'" for choice in choices)
        literal = f"CAST([{items}] AS {kind}[])"
        name = f"v{crc32(literal.encode())}"
        self.variables[name] = literal
        return f"list_extract(getvariable('{name}'), {roll} % {len(choices)} + 1)"

    def _pooled_id(self, owner: SObject, row: str) -> str:
        name = "id_pool"
        if name not in self.variables:
            self.variables[name] = "[" + ", ".join(f"'{id_tail(number)}'" for number in range(_POOL)) + "]"
        return join_tail_sql(owner.prefix, f"list_extract(getvariable('{name}'), {row} + 1)")

    def _fill(self, owner: SObject, each: Field, rule: str) -> str:
        """Put this field's own hashes, the lists and the org's last day into a rule."""

        def replacement(match: re.Match[str]) -> str:
            roll = self._roll(owner, each, match[1])
            return self._choose(roll, _WORD_LISTS[match[2]]) if match[2] else roll

        text = _PLACEHOLDER.sub(replacement, rule)
        return text.replace("{end}", f"DATE '{self.end:%Y-%m-%d}'").replace("{length}", str(each.length))

    def _system_time(self, owner: SObject, name: str) -> str:
        """Return SQL for a system timestamp: CreatedDate <= LastModifiedDate <= SystemModstamp < the org's end."""
        end = f"TIMESTAMP '{self.end:%Y-%m-%d %H:%M:%S}'"
        created = "(3600 + h0 % 63072000)"
        if name not in {"SystemModstamp", "LastModifiedDate"}:
            return f"{end} - to_seconds({created})"
        # Every eighth row belongs to a batch of one second, as a mass update leaves them.
        age = f"(CASE WHEN i % 8 = 1 THEN 60 * (1 + i // 400 % 60) ELSE h1 % {created} END)"
        if name == "LastModifiedDate":
            age += f" + CASE WHEN i % 20 = 5 THEN least(60, {created} - {age}) ELSE 0 END"
        return f"{end} - to_seconds({age})"

    def _reference(self, owner: SObject, each: Field) -> str:
        parents = [self.objects[name] for name in each.reference_to if self.counts.get(name, 0) > 0]
        if not parents:
            return "CAST(NULL AS VARCHAR)"
        values = []
        for parent in parents:
            row = f"({self._roll(owner, each, 'row')} % {min(self.counts[parent.name], _POOL)})"
            if parent.keeps_deleted:
                # A lookup at a deleted row is cleared by the platform, so none points at one here.
                row = f"({row} - CASE WHEN {row} % {_DELETED_EVERY} = {_DELETED_AT} THEN 1 ELSE 0 END)"
            values.append(self._pooled_id(parent, row))
        value = values[0]
        if len(values) > 1:
            branches = " ".join(f"WHEN {place} THEN {branch}" for place, branch in enumerate(values))
            value = f"CASE {self._roll(owner, each, 'kind')} % {len(parents)} {branches} END"
        return f"CASE WHEN {self._roll(owner, each, 'null')} % 5 > 0 THEN {value} END" if each.nillable else value

    def _plain(self, owner: SObject, each: Field) -> str:
        """Return SQL for an unremarkable value of the field's type."""
        roll, other = self._roll(owner, each), self._roll(owner, each, "other")
        if each.type in {"picklist", "combobox"} or (each.type == "multipicklist" and len(each.picklist) <= 3):
            return self._choose(roll, each.picklist or ("One", "Two", "Three"))
        if each.type == "multipicklist" and len(each.picklist) > 3:
            both = f"{self._choose(roll, each.picklist[:3])} || ';' || {self._choose(other, each.picklist[3:])}"
            return f"CASE WHEN {other} % 2 = 0 THEN {self._choose(roll, each.picklist)} ELSE {both} END"
        if each.type in {"string", "textarea"}:
            two = f"{self._choose(roll, words.ADJECTIVES)} || ' ' || {self._choose(other, words.NOUNS)}"
            if each.length >= 255 and each.type == "textarea":
                return f"{two} || '. ' || {self._choose(self._roll(owner, each, 'sentence'), words.SENTENCES)}"
            return f"left({two} || ' ' || CAST({roll} % 1000 AS VARCHAR), {each.length or 80})"
        if each.type == "anyType":
            return self._choose(roll, words.NASTY_ANY)
        values = {
            "email": f"'user' || CAST({roll} % 100000 AS VARCHAR) || '@example.com'",
            "phone": f"'+1 (' || CAST(200 + {roll} % 800 AS VARCHAR) || ') 555-' || (1000 + {other} % 9000)",
            "url": f"'https://www.example.com/' || CAST({roll} % 100000 AS VARCHAR)",
            "encryptedstring": f"'****' || lpad(CAST({roll} % 10000 AS VARCHAR), 4, '0')",
            "boolean": f"{roll} % 4 = 0",
            "int": f"{roll} % 1000",
            "long": f"{roll} * 4194304 + {other}",
            "date": f"DATE '{self.end:%Y-%m-%d}' - CAST({roll} % 1500 AS INTEGER)",
            "datetime": f"TIMESTAMP '{self.end:%Y-%m-%d} 00:00:00' - to_seconds({roll} % 90000000)",
            "time": f"TIME '00:00:00' + to_milliseconds({roll} % 86400000)",
            "base64": f"encode('file ' || CAST({roll} AS VARCHAR) || chr(10))",
        }
        return values.get(each.type) or _float_sql(each, roll, other)

    def _with_nasty(self, owner: SObject, each: Field, value: str) -> str:
        """Return SQL in which some rows get a nasty value instead, and some none where the field allows it."""
        branches = []
        choices = _nasty_choices(each)
        if each.long_text:
            branches.append(f"WHEN i % {_LONG_TEXT_EVERY} = 7 THEN long_text()")
        if choices:
            turn = f"(i // {_NASTY_EVERY} + {self._salt(owner, each, 'nasty') % len(choices)})"
            branches.append(
                f"WHEN i % {_NASTY_EVERY} = {_NASTY_AT} THEN {self._choose(turn, choices, each.sql_type or 'VARCHAR')}"
            )
        if each.nillable:
            branches.append(f"WHEN {self._roll(owner, each, 'null')} % 9 = 0 THEN NULL")
        return f"CASE {' '.join(branches)} ELSE {value} END" if branches else value


def _float_sql(each: Field, roll: str, other: str) -> str:
    if each.scale > 9:
        return f"({roll} % 180000 - 90000) / 1000.0::DOUBLE"
    if each.precision and each.precision - each.scale <= 3:
        return f"({roll} % 101)::DOUBLE"
    return f"({roll} % 1000000) / {10**each.scale}::DOUBLE * CASE WHEN {other} % 10 = 0 THEN 1000 ELSE 1 END"


def _nasty_choices(each: Field) -> list[str]:
    """Return the nasty values that fit into the field."""
    if each.type in TEXT_TYPES - {"picklist", "multipicklist", "anyType", "encryptedstring"}:
        return [text for text in words.NASTY_TEXTS if words.utf16_length(text) <= (each.length or 255)]
    if each.type in FLOAT_TYPES:
        return list(words.NASTY_FLOATS) if each.scale <= 9 and each.precision - each.scale > 3 else []
    if each.type == "datetime":
        return [f"{text} 23:59:59" for text in words.NASTY_DATES]
    return list({"date": words.NASTY_DATES, "time": words.NASTY_TIMES, "long": words.NASTY_LONGS}.get(each.type, ()))


def _computed_order(owner: SObject, seeded: Mapping[str, Field]) -> list[Field]:
    """Return the fields so that a rule which reads other columns comes after them."""
    late = [
        each
        for each in seeded.values()
        if '"' in (RULES.get(f"{owner.name}.{each.name}") or RULES.get(each.name) or "")
    ]
    return [each for each in seeded.values() if each not in late] + late


def _shuffled(n: str, count: int) -> str:
    """Return SQL for a number in 0 … count - 1 that is another one for each `n`, in no visible order."""
    step = next((prime for prime in (7_368_787, 1_299_709, 104_729, 7_919) if count % prime), 1)
    return f"({n} * {step} % {count})" if count else n
