"""Knows what single fields hold in seed data, so that the org looks like a company; not how rules are applied.

A rule is SQL for row `i`. `{a}` `{b}` `{c}` are the field's own hashes of the row, `{a:cities}` a word of a list,
`{end}` the org's last day and `{length}` the field's length. Double quotes name another column of the row.
"""

from __future__ import annotations

_PERSON_NAME = """nullif(left(concat_ws(' ', "FirstName", "LastName"), {length}), '')"""

RULES: dict[str, str] = {
    "FirstName": "{a:first_names}",
    "LastName": "{a:last_names}",
    "Contact.Name": _PERSON_NAME,
    "Lead.Name": _PERSON_NAME,
    "User.Name": _PERSON_NAME,
    "CampaignMember.Name": _PERSON_NAME,
    "Account.Name": "{a:companies} || ' ' || {b:company_kinds} || ' ' || CAST(i AS VARCHAR)",
    "Lead.Company": "{a:companies} || ' ' || {b:company_kinds}",
    "CompanyOrAccount": "{a:companies}",
    "Title": "{a:titles}",
    "City": "{a:cities}",
    "State": "{a:states}",
    "Country": "{a:countries}",
    "PostalCode": "lpad(CAST({a} % 100000 AS VARCHAR), 5, '0')",
    "Street": "CAST({a} % 900 + 1 AS VARCHAR) || ' ' || {b:streets}",
    "User.Username": "CASE WHEN i = 0 THEN 'admin' ELSE 'user' || CAST(i AS VARCHAR) END || '@acme.example'",
    "User.Alias": "left('u' || CAST(i AS VARCHAR), 8)",
    "User.CommunityNickname": "'user' || CAST(i AS VARCHAR)",
    "User.IsActive": "{a} % 10 > 0",
    "Opportunity.Probability": "CASE \"StageName\" WHEN 'Closed Won' THEN 100 WHEN 'Closed Lost' THEN 0 "
    "ELSE 10 * (1 + {a} % 9) END",
    "Opportunity.IsClosed": "\"StageName\" IN ('Closed Won', 'Closed Lost')",
    "Opportunity.IsWon": "\"StageName\" = 'Closed Won'",
    "Opportunity.ExpectedRevenue": '"Amount" * "Probability" / 100',
    "Opportunity.FiscalYear": 'year("CloseDate")',
    "Opportunity.FiscalQuarter": 'quarter("CloseDate")',
    "Opportunity.Fiscal": 'CAST(year("CloseDate") AS VARCHAR) || \' \' || CAST(quarter("CloseDate") AS VARCHAR)',
    "OpportunityLineItem.TotalPrice": '"Quantity" * "UnitPrice"',
    "Lead.IsConverted": "FALSE",
    "Lead.ConvertedDate": "NULL",
    "Lead.ConvertedAccountId": "NULL",
    "Lead.ConvertedContactId": "NULL",
    "Lead.ConvertedOpportunityId": "NULL",
    "Pricebook2.IsStandard": "i = 0",
    "Pricebook2.IsActive": "TRUE",
    "Product2.IsArchived": "{a} % 20 = 0",
    "Task.IsClosed": "{a} % 2 = 0",
    "Task.ActivityDate": "CASE WHEN {a} % 9 > 0 THEN {end} - CAST({b} % 600 AS INTEGER) + 60 END",
    # Closed and a year old: the platform's own rule for archiving.
    "Task.IsArchived": '"IsClosed" AND coalesce("ActivityDate", CAST("CreatedDate" AS DATE)) <= {end} - 365',
    "Task.RecurrenceActivityId": "NULL",
    "Event.ActivityDate": "{end} - CAST({b} % 600 AS INTEGER) + 60",
    "Event.ActivityDateTime": 'CAST("ActivityDate" AS TIMESTAMP) + to_minutes({a} % 1440)',
    "Event.StartDateTime": '"ActivityDateTime"',
    "Event.EndDateTime": '"ActivityDateTime" + to_minutes(coalesce("DurationInMinutes", 0))',
    "Event.EndDate": '"ActivityDate"',
    "Event.DurationInMinutes": "15 * (1 + {a} % 8)",
    "Event.IsArchived": '"ActivityDate" <= {end} - 365',
    "Event.RecurrenceActivityId": "NULL",
    "Case.CaseNumber": "lpad(CAST(i + 1000 AS VARCHAR), 8, '0')",
    "Case.IsClosed": "\"Status\" = 'Closed'",
    "Case.ClosedDate": 'CASE WHEN "Status" = \'Closed\' THEN "LastModifiedDate" END',
    "QuoteNumber": "lpad(CAST(i + 1 AS VARCHAR), 8, '0')",
    "RecordType.NamespacePrefix": "NULL",
    "RecordType.DeveloperName": "'Type_' || CAST(i AS VARCHAR)",
    "CaseStatus.MasterLabel": "['New', 'Working', 'Escalated', 'Closed'][i % 4 + 1]",
    "CaseStatus.ApiName": "['New', 'Working', 'Escalated', 'Closed'][i % 4 + 1]",
    "CaseStatus.SortOrder": "i + 1",
    "CaseStatus.IsDefault": "i = 0",
    "CaseStatus.IsClosed": "i = 3",
    "Attachment.Name": "'file-' || CAST(i AS VARCHAR) || '.txt'",
    "Attachment.BodyLength": 'octet_length("Body")',
    "Attachment.ContentType": "'text/plain'",
    "LastViewedDate": "NULL",
    "LastReferencedDate": "NULL",
    "Jigsaw": "NULL",
    "JigsawCompanyId": "NULL",
    "JigsawContactId": "NULL",
    "PhotoUrl": "'/services/images/photo/' || CAST({a} % 1000 AS VARCHAR)",
    "My__Community_Group__c.Name": "'CG-' || lpad(CAST(i AS VARCHAR), 5, '0')",
    "Autonumber__c": "'A-' || lpad(CAST(i + 1 AS VARCHAR), 6, '0')",
    "External_Id__c": "'X' || lpad(CAST(i AS VARCHAR), 8, '0')",
    "Formula_Text__c": "left(coalesce(\"Text__c\", '') || ' / ' || \"Name\", 1300)",
    "Formula_Number__c": '"Double__c" * 2',
    "Formula_Currency__c": '"Currency__c" * 1.1',
    "Formula_Percent__c": '"Percent__c" / 2',
    "Formula_Date__c": '"Date__c"',
    "Formula_DateTime__c": '"DateTime__c"',
    "Formula_Flag__c": '"Text__c" IS NULL',
    "Rich_Text__c": "'<p>' || {a:adjectives} || ' <b>' || {b:nouns} || '</b>&nbsp;&amp;</p>'",
    "Empty_Flag__c": "FALSE",
}
for _stem in ("Billing", "Shipping", "Mailing", "Other"):
    for _part in ("City", "State", "Country", "PostalCode", "Street"):
        RULES[f"{_stem}{_part}"] = RULES[_part]
# No rule that names these fields puts a nasty value in place of its own: what they say must stay true of the row.
EXACT = frozenset(
    {name for name, rule in RULES.items() if '"' in rule or rule in {"NULL", "TRUE", "FALSE"}}
    | {name for name in RULES if name.startswith(("CaseStatus.", "Attachment.", "Task.", "Event.", "RecordType."))}
    | {
        "User.Username",
        "User.Alias",
        "User.CommunityNickname",
        "Pricebook2.IsStandard",
        "My__Community_Group__c.Name",
        "Autonumber__c",
        "External_Id__c",
    }
)
