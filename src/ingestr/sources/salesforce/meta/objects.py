"""The documented table names: which object each stands for and how it is loaded. Facts only, no behaviour."""

from dataclasses import dataclass

from ingestr.core.strategy import WriteStrategy

SYSTEM_TIMESTAMP = "SystemModstamp"
# What tells changed rows, the best first: the last two tell new rows only, of objects whose rows do not change.
TIMESTAMPS = (SYSTEM_TIMESTAMP, "LastModifiedDate", "CreatedDate", "LoginTime")
CUSTOM_PREFIX = "custom:"
# Objects that Salesforce serves only by a condition on a certain field, whatever the login: by its documents (Object
# Reference, "Special Access Rules"), and as readers of all objects of an org have found.
NEED_CONDITION = frozenset(
    {
        *("Announcement", "AppTabMember", "CollaborationGroupRecord", "ColorDefinition"),
        *("ContentDocumentLink", "ContentFolderItem", "ContentFolderMember", "ContentHubItem"),
        *("ContentVersionRendition", "DataStatistics", "DatacloudDandBCompany", "EntityParticle"),
        *("FieldDefinition", "FieldHistoryArchive", "FlexQueueItem", "FlowVariableView", "FlowVersionView"),
        *("IconDefinition", "IdeaComment", "NetworkUserHistoryRecent", "OwnerChangeOptionInfo"),
        *("PicklistValueInfo", "PlatformAction", "RelationshipDomain", "RelationshipInfo", "SearchLayout"),
        *("SiteDetail", "UserEntityAccess", "UserFieldAccess", "UserRecordAccess", "Vote"),
    }
)

# Fields that are no formulas and change like them: a day begins or ends the contract, and no timestamp moves (Object
# Reference for the Salesforce Platform, "Contract", "ContractLineItem", "ServiceContract").
CHANGED_BY_TIME = frozenset({("Contract", "Status"), ("ContractLineItem", "Status"), ("ServiceContract", "Status")})


@dataclass(frozen=True)
class NamedTable:
    """An object under its documented table name."""

    object_name: str
    strategy: WriteStrategy
    cursor_field: str | None = None


def _merged(object_name: str, cursor_field: str = SYSTEM_TIMESTAMP) -> NamedTable:
    return NamedTable(object_name, WriteStrategy.MERGE, cursor_field)


def _replaced(object_name: str) -> NamedTable:
    return NamedTable(object_name, WriteStrategy.REPLACE)


NAMED_TABLES = {
    "user": _replaced("User"),
    "user_role": _replaced("UserRole"),
    "opportunity": _merged("Opportunity"),
    "opportunity_line_item": _merged("OpportunityLineItem"),
    "opportunity_contact_role": _merged("OpportunityContactRole"),
    "account": _merged("Account"),
    "contact": _replaced("Contact"),
    "lead": _replaced("Lead"),
    "campaign": _replaced("Campaign"),
    "campaign_member": _merged("CampaignMember"),
    "product": _replaced("Product2"),
    "pricebook": _replaced("Pricebook2"),
    "pricebook_entry": _replaced("PricebookEntry"),
    "task": _merged("Task"),
    "event": _merged("Event"),
    # History rows are only ever added, and carry no other timestamp.
    "campaign_history": _merged("CampaignHistory", "CreatedDate"),
    "contact_history": _merged("ContactHistory", "CreatedDate"),
    "lead_history": _merged("LeadHistory", "CreatedDate"),
    "opportunity_history": _merged("OpportunityHistory", "CreatedDate"),
}
NAMES_OF_OBJECTS = {named.object_name: table for table, named in NAMED_TABLES.items()}
