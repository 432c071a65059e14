"""Salesforce as a source of tables."""

from ingestr.sources.salesforce.source import SalesforceSource

__all__ = ["SalesforceSource"]
