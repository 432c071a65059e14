"""The closed set of ways in which staged rows become the target table."""

from enum import StrEnum


class WriteStrategy(StrEnum):
    """What a load does to the rows that the target already holds."""

    REPLACE = "replace"
    MERGE = "merge"


class Deletes(StrEnum):
    """What becomes of a row that Salesforce deleted: marked, removed, or left as it was."""

    SOFT = "soft"
    HARD = "hard"
    IGNORE = "ignore"
