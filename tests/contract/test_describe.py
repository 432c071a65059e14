"""Describe: which objects and fields there are, and what they say of themselves."""

from typing import Any

from contract.target import Target, errors_of, words

ENTRY_KEYS = words(
    """
    activateable associateEntityType associateParentEntity createable custom customSetting deepCloneable
    deletable deprecatedAndHidden feedEnabled hasSubtypes isInterface isSubtype keyPrefix label labelPlural
    layoutable mergeable mruEnabled name queryable replicateable retrieveable searchable triggerable undeletable
    updateable urls
    """
)
OBJECT_KEYS = ENTRY_KEYS | words(
    """
    actionOverrides childRelationships compactLayoutable defaultImplementation extendedBy extendsInterfaces
    fields implementedBy implementsInterfaces listviewable lookupLayoutable namedLayoutInfos
    networkScopeFieldName recordTypeInfos searchLayoutable sobjectDescribeOption supportedScopes
    """
)
FIELD_KEYS = words(
    """
    aggregatable aiPredictionField autoNumber byteLength calculated calculatedFormula cascadeDelete
    caseSensitive compoundFieldName controllerName createable custom defaultValue defaultValueFormula
    defaultedOnCreate dependentPicklist deprecatedAndHidden digits displayLocationInDecimal encrypted externalId
    extraTypeInfo filterable filteredLookupInfo formulaTreatNullNumberAsZero groupable highScaleNumber
    htmlFormatted idLookup inlineHelpText label length mask maskType name nameField namePointing nillable
    permissionable picklistValues polymorphicForeignKey precision queryByDistance referenceTargetField
    referenceTo relationshipName relationshipOrder restrictedDelete restrictedPicklist scale searchPrefilterable
    soapType sortable type unique updateable writeRequiresMasterRead
    """
)
SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    **dict.fromkeys(
        words("string textarea email phone url picklist multipicklist combobox encryptedstring"), "xsd:string"
    ),
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "long": "xsd:long",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "time": "xsd:time",
    "address": "urn:address",
    "location": "urn:location",
    "base64": "xsd:base64Binary",
    "anyType": "xsd:anyType",
}
# Types whose soapType varies, or that nobody has shown.
OTHER_TYPES = {"complexvalue", "json", "datacategorygroupreference", "masterrecord", "byte", "calculated"}
JUNCTION = "urn:JunctionIdListNames"


def test_describe_global_classifies_every_object(listing: dict[str, Any]) -> None:
    """Each object says by truth values what can be done with it, and satellites say whose they are."""
    assert listing["encoding"] == "UTF-8"
    assert listing["maxBatchSize"] == 200
    names = [each["name"] for each in listing["sobjects"]]
    assert len(names) == len(set(names))
    for each in listing["sobjects"]:
        assert each.keys() >= ENTRY_KEYS, each["name"]
        for name in ("queryable", "replicateable", "retrieveable", "deprecatedAndHidden", "customSetting", "custom"):
            assert isinstance(each[name], bool), (each["name"], name)
        assert each["keyPrefix"] is None or len(each["keyPrefix"]) == 3, each["name"]
        assert not each["custom"] or "__" in each["name"]
        if each["associateEntityType"] is not None:
            assert isinstance(each["associateParentEntity"], str), each["name"]
        if each["associateEntityType"] == "ChangeEvent":
            assert not each["queryable"], each["name"]
        assert each["urls"]["describe"].endswith(f"/sobjects/{each['name']}/describe")


def test_users_are_never_deleted(objects: dict[str, dict[str, Any]]) -> None:
    """User can be queried and replicated, begins with 005, and cannot be deleted."""
    user = objects["User"]
    assert user["keyPrefix"] == "005"
    assert (user["queryable"], user["replicateable"], user["deletable"]) == (True, True, False)


def test_describe_has_all_its_keys(described: list[dict[str, Any]]) -> None:
    """An object's describe says all that describeGlobal says, and more; a field has all of its 57 keys."""
    assert len(FIELD_KEYS) == 57
    for each in described:
        assert each.keys() >= OBJECT_KEYS, each["name"]
        for field in each["fields"]:
            assert field.keys() >= FIELD_KEYS, (each["name"], field["name"])
        names = [field["name"] for field in each["fields"]]
        assert len({name.lower() for name in names}) == len(names)


def test_types_are_known_and_name_their_wire_type(described: list[dict[str, Any]]) -> None:
    """A field's type is one of a closed set, and its soapType follows from it."""
    for each in described:
        for field in each["fields"]:
            where = (each["name"], field["name"], field["type"], field["soapType"])
            if field["soapType"] == JUNCTION:
                continue
            assert field["type"] in SOAP_TYPES.keys() | OTHER_TYPES, where
            assert field["soapType"] == SOAP_TYPES.get(field["type"], field["soapType"]), where


def test_only_addresses_and_locations_are_compound(described: list[dict[str, Any]]) -> None:
    """A component names a compound field of its object: an address, a location, or a person's name, which is text."""
    for each in described:
        fields = {field["name"]: field for field in each["fields"]}
        compounds = {name for name, field in fields.items() if field["type"] in {"address", "location"}}
        named = {field["compoundFieldName"] for field in fields.values()} - {None}
        for name, field in fields.items():
            assert (field["soapType"] in {"urn:address", "urn:location"}) == (name in compounds), name
        texts = {name for name in named & fields.keys() if name not in compounds}
        assert all(fields[name]["soapType"] == "xsd:string" for name in texts)
        assert compounds <= named, f"{compounds - named} have no components"


def test_what_can_be_filtered_follows_from_the_type(described: list[dict[str, Any]]) -> None:
    """Cursors can be filtered and sorted by; long texts and encrypted texts neither, lists and compounds not sorted."""
    for each in described:
        for field in each["fields"]:
            where = (each["name"], field["name"])
            allowed = (field["filterable"], field["sortable"])
            if field["name"] in {"Id", "SystemModstamp", "CreatedDate"}:
                assert allowed == (True, True), where
            if field["type"] == "encryptedstring" or (field["type"] == "textarea" and field["length"] > 4_000):
                assert allowed == (False, False), where
            if field["type"] in {"multipicklist", "address", "location", "base64"}:
                assert not field["sortable"], where
            if field["type"] == "boolean":
                assert not field["nillable"], where
            if field["type"] in {"id", "reference"} and field["soapType"] != JUNCTION:
                assert field["length"] == 18, where
            if field["type"] == "reference":
                assert isinstance(field["referenceTo"], list), where


def test_describe_is_not_sent_again_when_it_has_not_changed(target: Target, subject: dict[str, Any]) -> None:
    """If-Modified-Since of the answer's own time is 304 with no body."""
    first = subject["answer"]
    assert "Last-Modified" in first.headers
    since = max(first.headers["Date"], first.headers["Last-Modified"], key=_seconds)
    again = target.get(f"/sobjects/{subject['name']}/describe", headers={"If-Modified-Since": since})
    assert again.status_code == 304
    assert again.content == b""


def _seconds(text: str) -> float:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(text).timestamp()


def test_describe_comes_compressed_when_asked(subject: dict[str, Any]) -> None:
    """Accept-Encoding: gzip gets gzip, and Vary says so."""
    assert subject["answer"].headers["Content-Encoding"] == "gzip"
    assert "accept-encoding" in subject["answer"].headers["Vary"].lower()


def test_an_unknown_object_is_404(target: Target) -> None:
    """Describe of an object that is not there, or not for this user, is 404 NOT_FOUND."""
    assert errors_of(target.get("/sobjects/No_Such_Object__c/describe")) == (
        404,
        "NOT_FOUND",
        "The requested resource does not exist",
    )
