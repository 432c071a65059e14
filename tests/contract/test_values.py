"""Values: how REST and Bulk write each type, and that they mean the same."""

import re
from datetime import datetime
from typing import Any

from contract.target import NumberText, Sample, Target, words

ID = r"[A-Za-z0-9]{15}[A-Z0-5]{3}"
# What Double.toString of Java writes.
JAVA_DOUBLE = r"-?\d+\.\d+(E-?\d+)?"
REST_NUMBERS = {
    "int": r"-?\d+",
    "long": r"-?\d+",
    "double": JAVA_DOUBLE,
    "currency": JAVA_DOUBLE,
    "percent": JAVA_DOUBLE,
}
REST_TEXTS = {
    "id": ID,
    "reference": ID,
    "date": r"\d{4}-\d\d-\d\d",
    "datetime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000",
    "time": r"\d\d:\d\d:\d\d\.\d{3}Z",
}
BULK_TEXTS = {
    **REST_NUMBERS,
    **REST_TEXTS,
    "boolean": "true|false",
    "datetime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z",
}
PARTS = {
    "address": words("city country countryCode geocodeAccuracy latitude longitude postalCode state stateCode street"),
    "location": {"latitude", "longitude"},
}
# What the simulated org must have shown of each type, for the tests to mean anything.
EVERY_TYPE = (
    set(REST_NUMBERS)
    | set(REST_TEXTS)
    | set(PARTS)
    | words("boolean string textarea email phone url picklist multipicklist combobox encryptedstring anyType")
)
# They move without SystemModstamp.
RESTLESS = {"LastViewedDate", "LastReferencedDate", "LastActivityDate", "LastLoginDate"}


def test_rest_writes_each_type_in_its_form(target: Target, samples: list[Sample]) -> None:
    """Ids have 18 characters, times are UTC to the second, doubles are Java's with a point, compounds are objects."""
    seen: set[str] = set()
    for sample in samples:
        for name, field in sample.fields.items():
            kind = field["type"]
            for record in sample.rest.values():
                value = record[name]
                if value is not None:
                    seen.add(kind)
                    assert _right_in_json(kind, value), f"{sample.name}.{name} ({kind}): {value!r}"
    if target.simulated:
        assert seen >= EVERY_TYPE


def _right_in_json(kind: str, value: Any) -> bool:
    if kind in REST_NUMBERS:
        return isinstance(value, NumberText) and re.fullmatch(REST_NUMBERS[kind], value) is not None
    if kind in PARTS:
        return isinstance(value, dict) and value.keys() <= PARTS[kind]
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "anyType":
        return isinstance(value, (str, bool))
    if isinstance(value, NumberText) or not isinstance(value, str):
        return False
    return re.fullmatch(REST_TEXTS.get(kind, "(?s:.*)"), value) is not None


def test_bulk_writes_each_type_in_its_form(target: Target, samples: list[Sample]) -> None:
    """CSV has the forms of JSON, but for times, which end with Z; null is the empty field."""
    seen: set[str] = set()
    for sample in samples:
        for name, field in sample.fields.items():
            kind = field["type"]
            for row in sample.bulk.values():
                if row.get(name):
                    seen.add(kind)
                    assert re.fullmatch(BULK_TEXTS.get(kind, "(?s:.*)"), row[name]), (
                        f"{sample.name}.{name}: {row[name]!r}"
                    )
    if target.simulated:
        assert seen >= EVERY_TYPE - PARTS.keys()


def test_both_apis_say_the_same(samples: list[Sample]) -> None:
    """A value read by Bulk is the value read by REST, once null is null and times are times."""
    for sample in samples:
        unchanged = [
            key
            for key, record in sample.rest.items()
            if key in sample.bulk
            and _normal("datetime", record["SystemModstamp"]) == _normal("datetime", sample.bulk[key]["SystemModstamp"])
        ]
        assert len(unchanged) >= 0.9 * max(len(sample.rest), len(sample.bulk))
        for name, field in sample.fields.items():
            if field["type"] in PARTS or field["calculated"] or name in RESTLESS:
                continue
            for key in unchanged:
                rest, bulk = sample.rest[key][name], sample.bulk[key][name]
                assert _normal(field["type"], rest) == _normal(field["type"], bulk), f"{sample.name}.{name} of {key}"


def _normal(kind: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if kind == "datetime":
        return datetime.fromisoformat(value)
    if kind in REST_NUMBERS:
        return float(value)
    # The CSV of long texts may hold NUL characters, which readers drop.
    return str(value).replace("\x00", "")


def test_a_compound_is_what_its_components_are(target: Target, samples: list[Sample]) -> None:
    """An address or a location says nothing that its component fields do not say."""
    compared = 0
    for sample in samples:
        for name, field in sample.fields.items():
            parts = {each: facts for each, facts in sample.fields.items() if facts["compoundFieldName"] == name}
            if field["type"] in PARTS:
                for record in sample.rest.values():
                    whole = record[name] or {}
                    for each in parts:
                        key = each.removesuffix("__s").removeprefix(_stem(name))
                        assert record[each] == whole.get(key[:1].lower() + key[1:]), f"{sample.name}.{each}"
                        compared += record[each] is not None
    if target.simulated:
        assert compared > 0


def _stem(compound: str) -> str:
    return compound.removesuffix("c") if compound.endswith("__c") else compound.removesuffix("Address")
