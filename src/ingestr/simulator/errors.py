"""Knows the platform's error answer and how it points into a SOQL statement; must not know who raises what."""

from __future__ import annotations

_WINDOW = 200


class ApiError(Exception):
    """An answer that is an error: HTTP status, `errorCode` and message."""

    def __init__(self, status: int, code: str, message: str, fields: list[str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields


def pointed_at(text: str, at: int, message: str) -> str:
    """Return a message with the statement, a caret under the place, and the place's row and column."""
    row = text.count("\n", 0, at) + 1
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    line, column = text[start : end if end >= 0 else len(text)], at - start
    # Long statements are shown around the place only.
    shift = max(0, column - _WINDOW // 2) if len(line) > _WINDOW else 0
    shown = line[shift : shift + _WINDOW]
    return f"\n{shown}\n{' ' * (column - shift)}^\nERROR at Row:{row}:Column:{column + 1}\n{message}"


def unknown_object(text: str, at: int, name: str) -> ApiError:
    """Return the error for an object that the org does not have."""
    message = (
        f"sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append "
        "the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    )
    return ApiError(400, "INVALID_TYPE", pointed_at(text, at, message))


def unknown_field(text: str, at: int, name: str, owner: str) -> ApiError:
    """Return the error for a field that the object does not have, or not for this user."""
    message = (
        f"No such column '{name}' on entity '{owner}'. If you are attempting to use a custom field, be sure to append "
        "the '__c' after the custom field name. "
        "Please reference your WSDL or the describe call for the appropriate names."
    )
    return ApiError(400, "INVALID_FIELD", pointed_at(text, at, message))
