"""Knows the JSON that describe and describeGlobal answer; must not know HTTP, rows or SQL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ingestr.simulator.model import NO_PREFIX, Field, SObject

MASTER_RECORD_TYPE = "012000000000000AAA"
_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_+")
_ID_LOOKUPS = {
    "User": {"Username", "Email", "EmployeeNumber", "FederationIdentifier"},
    "Contact": {"Email"},
    "Lead": {"Email"},
    "RecordType": {"Name"},
}
_NAME_FIELDS = {
    "Task": "Subject",
    "Event": "Subject",
    "CaseStatus": "MasterLabel",
    "OpportunityStage": "MasterLabel",
    "Case": "CaseNumber",
}


def describe_global(objects: Mapping[str, SObject], base: str) -> dict[str, Any]:
    """Return the body of `GET …/sobjects/`."""
    entries = [summarise(each, base) for each in objects.values()]
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": sorted(entries, key=lambda entry: str(entry["name"]))}


def summarise(owner: SObject, base: str) -> dict[str, Any]:
    """Return the entry of an object in describeGlobal."""
    url = f"{base}/sobjects/{owner.name}"
    flags = owner.flags
    label = owner.label or make_label(owner.name)
    return {
        "activateable": False,
        "associateEntityType": owner.satellite[0] if owner.satellite else None,
        "associateParentEntity": owner.satellite[1] if owner.satellite else None,
        "createable": "createable" in flags,
        "custom": owner.custom,
        "customSetting": False,
        "deepCloneable": "deepCloneable" in flags,
        "deletable": "deletable" in flags,
        "deprecatedAndHidden": False,
        "feedEnabled": "feedEnabled" in flags,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": owner.prefix if owner.prefix != NO_PREFIX else None,
        "label": label,
        "labelPlural": label + "s",
        "layoutable": "layoutable" in flags,
        "mergeable": "mergeable" in flags,
        "mruEnabled": "layoutable" in flags,
        "name": owner.name,
        "queryable": "queryable" in flags,
        "replicateable": "replicateable" in flags,
        "retrieveable": "retrieveable" in flags,
        "searchable": "searchable" in flags,
        "triggerable": "triggerable" in flags,
        "undeletable": "undeletable" in flags,
        "updateable": "updateable" in flags,
        "urls": {"rowTemplate": url + "/{ID}", "describe": url + "/describe", "sobject": url},
    }


def describe_object(owner: SObject, objects: Iterable[SObject], base: str) -> dict[str, Any]:
    """Return the body of `GET …/sobjects/X/describe`."""
    body = summarise(owner, base)
    urls = dict(body["urls"])
    urls["layouts"] = f"{urls['sobject']}/describe/layouts"
    body.update(
        actionOverrides=[],
        childRelationships=_child_relationships(owner, objects),
        compactLayoutable="layoutable" in owner.flags,
        defaultImplementation=None,
        extendedBy=None,
        extendsInterfaces=None,
        fields=[describe_field(owner, each) for each in owner.visible()],
        implementedBy=None,
        implementsInterfaces=None,
        listviewable=None,
        lookupLayoutable=None,
        namedLayoutInfos=[],
        networkScopeFieldName=None,
        recordTypeInfos=[_master_record_type(urls)] if "layoutable" in owner.flags else [],
        searchLayoutable="layoutable" in owner.flags,
        sobjectDescribeOption="FULL",
        supportedScopes=[
            {"label": f"All {make_label(owner.name)}s", "name": "everything"},
            {"label": f"My {make_label(owner.name)}s", "name": "mine"},
        ],
        urls=urls,
    )
    return dict(sorted(body.items()))


# Keys of a field that no field here makes use of.
_NEVER_SET: dict[str, Any] = {
    "aiPredictionField": False,
    "cascadeDelete": False,
    "caseSensitive": False,
    "controllerName": None,
    "defaultValueFormula": None,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "encrypted": False,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "highScaleNumber": False,
    "referenceTargetField": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "writeRequiresMasterRead": False,
}


# Keys that are called like what a field knows of itself.
_AS_THEY_ARE = (
    "aggregatable",
    "calculated",
    "createable",
    "custom",
    "digits",
    "filterable",
    "groupable",
    "length",
    "name",
    "nillable",
    "precision",
    "scale",
    "sortable",
    "type",
    "updateable",
)


def describe_field(owner: SObject, each: Field) -> dict[str, Any]:
    """Return one of the `fields` of describe, with all its 57 keys, in the alphabet's order."""
    identity = each.type == "id"
    formula = "formula" in each.traits
    name_field = each.name == _NAME_FIELDS.get(owner.name, "Name")
    polymorphic = len(each.reference_to) > 1
    derived = {
        "autoNumber": "auto" in each.traits,
        "byteLength": _byte_length(each),
        "calculatedFormula": _FORMULAS.get(each.type, "Name") if formula else None,
        # From version 42 on an account's name names itself as its compound.
        "compoundFieldName": "Name" if (owner.name, each.name) == ("Account", "Name") else each.compound,
        "defaultValue": False if each.type == "boolean" else None,
        "defaultedOnCreate": identity
        or each.type == "boolean"
        or (not each.createable and not each.nillable and not each.calculated),
        "displayLocationInDecimal": each.type == "location",
        "externalId": "external" in each.traits,
        "extraTypeInfo": _extra_type_info(owner, each),
        "htmlFormatted": "rich" in each.traits,
        "idLookup": identity or each.name in _ID_LOOKUPS.get(owner.name, ()) or "external" in each.traits,
        "inlineHelpText": each.help,
        "label": each.label or make_label(each.name, owner.name),
        "mask": "*" if each.type == "encryptedstring" else None,
        "maskType": "all" if each.type == "encryptedstring" else None,
        "nameField": name_field,
        "namePointing": polymorphic,
        "permissionable": each.nillable and (each.createable or each.calculated),
        "picklistValues": [
            {"active": True, "defaultValue": False, "label": label, "validFor": None, "value": value}
            for value, label in zip(each.picklist, each.picklist_labels or each.picklist, strict=True)
        ],
        "polymorphicForeignKey": polymorphic,
        "queryByDistance": each.type in {"address", "location"},
        "referenceTo": list(each.reference_to),
        "relationshipName": each.relationship_name or _ODD_WAYS.get(each.name),
        "searchPrefilterable": each.type == "reference",
        "soapType": each.soap_type,
        "unique": "external" in each.traits,
    }
    plain = {name: getattr(each, name) for name in _AS_THEY_ARE}
    return dict(sorted({**_NEVER_SET, **plain, **derived}.items()))


# Fields that have a relationship's name and are no references [recorded describes].
_ODD_WAYS = {"JigsawCompanyId": "JigsawCompany", "JigsawContactId": "JigsawContact"}
_FORMULAS = {
    "double": "Double__c * 2",
    "currency": "Currency__c * 1.1",
    "percent": "Percent__c / 2",
    "date": "TODAY()",
    "datetime": "NOW()",
    "boolean": "ISBLANK(Name)",
}


def make_label(name: str, owner: str = "") -> str:
    """Return what an API name reads like on a page: `BillingCity` is `Billing City`, a reference loses its `Id`."""
    if name == "Id":
        return f"{make_label(owner)} ID" if owner else "Record ID"
    stem = name
    for ending in ("__c", "__s"):
        stem = stem.removesuffix(ending)
    words = " ".join(part for part in _BOUNDARY.split(stem) if part)
    return words.removesuffix(" Id") + " ID" if words.endswith(" Id") else words


def _byte_length(each: Field) -> int:
    if each.type in {"id", "reference"}:
        return 18
    return each.length if each.type == "multipicklist" else each.length * 3


def _extra_type_info(owner: SObject, each: Field) -> str | None:
    if each.type == "textarea":
        return "richtextarea" if "rich" in each.traits else "plaintextarea"
    if each.image:
        return "imageurl"
    person = bool(owner.components("Name")) and (each.name == "Name" or each.compound == "Name")
    return "personname" if person else None


def _child_relationships(owner: SObject, objects: Iterable[SObject]) -> list[dict[str, Any]]:
    return [
        {
            "cascadeDelete": False,
            "childSObject": child.name,
            "deprecatedAndHidden": False,
            "field": each.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": child_relationship_name(owner, child, each),
            "restrictedDelete": False,
        }
        for child in objects
        for each in child.visible()
        if owner.name in each.reference_to
    ]


def child_relationship_name(owner: SObject, child: SObject, each: Field) -> str | None:
    """Return the name by which a subquery reaches a child object, or None where there is none."""
    if each.name in {f"{owner.name}Id", "ParentId", "WhatId", "WhoId"}:
        if child.satellite is not None and child.satellite[0] == "History":
            return "Histories"
        return {
            "Opportunity": "Opportunities",
            "Pricebook2": "Pricebooks",
            "OpportunityHistory": "OpportunityHistories",
        }.get(child.name, child.name + "s")
    if each.name.endswith("__c"):
        return child.name.removesuffix("__c") + "s__r"
    return None


def _master_record_type(urls: Mapping[str, str]) -> dict[str, Any]:
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": MASTER_RECORD_TYPE,
        "urls": {"layout": f"{urls['sobject']}/describe/layouts/{MASTER_RECORD_TYPE}"},
    }
