"""The closed set of ways in which staged rows become the target table."""

from enum import StrEnum


class WriteStrategy(StrEnum):
    """What a load does to the rows that the target already holds."""

    REPLACE = "replace"
    APPEND = "append"
    MERGE = "merge"
    DELETE_INSERT = "delete+insert"
    TRUNCATE_INSERT = "truncate+insert"
    SCD2 = "scd2"


class Deletes(StrEnum):
    """What becomes of a row that Salesforce deleted: marked, removed, or left as it was."""

    SOFT = "soft"
    HARD = "hard"
    IGNORE = "ignore"


class SchemaContract(StrEnum):
    """What a table that exists does with fields that are new and values that its columns do not hold.

    ``evolve`` adds and widens columns, ``freeze`` refuses the run, ``discard_row`` leaves such rows out and
    ``discard_value`` such values.
    """

    EVOLVE = "evolve"
    FREEZE = "freeze"
    DISCARD_ROW = "discard_row"
    DISCARD_VALUE = "discard_value"


class Refresh(StrEnum):
    """When values that change without the row's timestamp moving are read again, of all rows.

    ``auto`` does so when a day has passed.
    """

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Numbers(StrEnum):
    """The type of numbers that may have fractions: the API's own, or one that keeps every digit."""

    DOUBLE = "double"
    DECIMAL = "decimal"
