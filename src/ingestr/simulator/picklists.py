"""Knows the values of picklists and the words of the seed data; must not know how either is used."""

from __future__ import annotations

_INDUSTRIES = (
    "Agriculture|Apparel|Banking|Biotechnology|Chemicals|Communications|Construction|Consulting|Education|Electronics|Energy|"
    "Engineering|Finance|Food & Beverage|Government|Healthcare|Insurance|Machinery|Manufacturing|Media|Retail|"
    "Technology|Utilities|Other"
)
_SOURCES = "Web|Phone Inquiry|Partner Referral|Purchased List|Other"
_BY_FIELD = {
    "Account.Type": "Prospect|Customer - Direct|Customer - Channel|Channel Partner / Reseller|Installation Partner|"
    "Technology Partner|Other",
    "Industry": _INDUSTRIES,
    "Ownership": "Public|Private|Subsidiary|Other",
    "Rating": "Hot|Warm|Cold",
    "LeadSource": _SOURCES,
    "AccountSource": _SOURCES,
    "ContactSource": _SOURCES,
    "CleanStatus": "Matched|Different|Acknowledged|NotFound|Inactive|Pending|SelectMatch|Skipped",
    "Salutation": "Mr.|Ms.|Mrs.|Dr.|Prof.|Mx.",
    "Lead.Status": "Open - Not Contacted|Working - Contacted|Closed - Converted|Closed - Not Converted",
    "StageName": "Prospecting|Qualification|Needs Analysis|Value Proposition|Id. Decision Makers|Perception Analysis|"
    "Proposal/Price Quote|Negotiation/Review|Closed Won|Closed Lost",
    "ForecastCategory": "Omitted|Pipeline|BestCase|Forecast|Closed",
    "ForecastCategoryName": "Omitted|Pipeline|Best Case|Commit|Closed",
    "Opportunity.Type": "Existing Customer - Upgrade|Existing Customer - Replacement|"
    "Existing Customer - Downgrade|New Customer",
    "Role": "Business User|Decision Maker|Economic Buyer|Economic Decision Maker|Evaluator|"
    "Executive Sponsor|Influencer|Technical Buyer|Other",
    "Campaign.Type": "Conference|Webinar|Trade Show|Public Relations|Partners|Referral Program|Advertisement|"
    "Banner Ads|Direct Mail|Email|Telemarketing|Other",
    "Campaign.Status": "Planned|In Progress|Completed|Aborted",
    "CampaignMember.Status": "Sent|Responded",
    "Family": "None|Hardware|Software|Services|N/A",
    "QuantityUnitOfMeasure": "Each|Hour|Box",
    "Task.Status": "Not Started|In Progress|Completed|Waiting on someone else|Deferred",
    "Priority": "High|Normal|Low",
    "Case.Type": "Mechanical|Electrical|Electronic|Structural|Other",
    "Case.Status": "New|Working|Escalated|Closed",
    "Case.Reason": "Installation|Equipment Complexity|Performance|Breakdown|Equipment Design|Feedback|Other",
    "Case.Origin": "Phone|Email|Web",
    "Asset.Status": "Shipped|Installed|Registered|Obsolete|Purchased",
    "Quote.Status": "Draft|Needs Review|In Review|Approved|Rejected|Presented|Accepted|Denied",
    "CallType": "Internal|Inbound|Outbound",
    "TaskSubtype": "Task|Email|Call|ListEmail|Cadence|LinkedIn",
    "EventSubtype": "Event",
    "ShowAs": "Busy|OutOfOffice|Free",
    "Subject": "Call|Email|Send Letter|Send Quote|Meeting|Other",
    "TimeZoneSidKey": "America/Los_Angeles|America/New_York|Europe/Berlin|Asia/Tokyo|Pacific/Kiritimati|UTC",
    "LocaleSidKey": "en_US|de_DE|ja_JP|pt_BR",
    "LanguageLocaleKey": "en_US|de|ja|pt_BR",
    "EmailEncodingKey": "UTF-8|ISO-8859-1",
    "UserType": "Standard|PowerPartner|CspLitePortal|Guest",
    "GeocodeAccuracy": "Address|NearAddress|Block|Street|ExtendedZip|Zip|Neighborhood|City|County|State|Unknown",
    "SobjectType": "Account|Contact|Lead|Opportunity|Campaign|Product2|Task|Event",
    "Field": "created|Name|Status|Amount|Rating|ownerAssignment|Description",
    "DataType": "Text|EntityId|DynamicEnum|DateOnly|DateTime|Currency|Double|Boolean|Percent",
    "Group.Type": "Regular|Queue|Role|RoleAndSubordinates|Organization",
    "Multi_Picklist__c": "Red|Green|Blue|NA|None|Dark, Light",
    "Picklist__c": "Alpha|Beta|N/A|null|01|Gamma, Delta",
    "Group__c": "North|South|East|West",
    "Address__StateCode__s": "CA|NY|TX|BE",
    "Address__CountryCode__s": "US|DE|JP|NO",
    "DigestFrequency": "D|W|N",
    "DefaultGroupNotificationFrequency": "P|D|W|N",
    "RecurrenceType": "RecursDaily|RecursEveryWeekday|RecursMonthly|RecursWeekly|RecursYearly",
}

# Of values that people see under other words, by field.
_LABELS = {
    "ForecastCategory": {"BestCase": "Best Case", "Forecast": "Commit"},
    "LanguageLocaleKey": {"en_US": "English", "de": "German", "ja": "Japanese", "pt_BR": "Portuguese (Brazil)"},
}


def picklist_labels(name: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what people see for each value of a picklist; nothing where that is the values."""
    known = _LABELS.get(name)
    return tuple(known.get(value, value) for value in values) if known else ()


def picklist_values(owner: str, name: str) -> tuple[str, ...]:
    """Return the values of a picklist, or a few letters for one that nobody knows."""
    text = _BY_FIELD.get(f"{owner}.{name}") or _BY_FIELD.get(name)
    if text is None:
        text = next((values for key, values in _BY_FIELD.items() if name.endswith(key)), "One|Two|Three")
    return tuple(text.split("|"))
