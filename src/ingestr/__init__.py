"""Copies Salesforce objects into a database."""

__version__ = "0.1.0"
