"""Parses source and destination URIs; its errors never repeat what the URI holds, as that may be a secret."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from ingestr import redaction
from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,19}")
_KINDS = {
    **dict.fromkeys("\n\r\v\x85\u2028\u2029", "a line break"),
    "\t": "a tab",
    "\f": "a form feed",
    "\0": "a NUL character",
}
_STRAY = "a file that is read with $(cat …) or pasted may end in a line break: remove it, e.g. with tr -d '\\r\\n'"


@dataclass(frozen=True)
class Uri:
    """A URI in parts; every parameter is treated as a secret until a reader of it decides otherwise."""

    scheme: str
    authority: str
    path: str
    parameters: Mapping[str, Secret]


def parse_uri(text: str, *, role: str) -> Uri:
    """Take a URI apart.

    Args:
        text: the URI as the user wrote it.
        role: ``source`` or ``destination``, for messages.

    Raises:
        ConfigurationError: no scheme, a repeated parameter, a control character, or a ``#`` that cuts the URI short.
    """
    # Python's parser would drop line breaks and tabs, and read another URI than the one that was written.
    check_characters(text, f"the {role} URI")
    scheme, separator, _ = text.partition("://")
    # Other text before the first :// may well be a secret, and is not taken for a scheme that could be repeated.
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(
            f"the {role} URI has no scheme",
            hint="a URI looks like salesforce://?access_token=…&domain=… or duckdb:///file.db",
        )
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise ConfigurationError(
            f"the {role} URI cannot be parsed",
            hint="URL-encode the values as UTF-8, e.g. & as %26, and write name=value pairs",
        ) from None
    if parts.fragment:
        raise ConfigurationError(
            f"the {role} URI holds a # that would cut it short", hint="URL-encode the values: # is %23"
        )
    parameters: dict[str, Secret] = {}
    for name, value in pairs:
        if name in parameters:
            raise ConfigurationError(
                f"the {role} URI gives a parameter twice", hint="URL-encode the values: an & within one is %26"
            )
        parameters[name] = Secret(value, public=redaction.is_public(name))
    return Uri(scheme.lower(), parts.netloc, unquote(parts.path), parameters)


def check_characters(text: str, what: str) -> None:
    """Refuse control characters and halves of surrogate pairs, which nothing that we are given has a use for.

    Args:
        text: what the user gave; it is not repeated.
        what: what it is, for the message: ``the password in the source URI``.

    Raises:
        ConfigurationError: names the kind of the first such character.
    """
    for character in text:
        kind = _kind(character)
        if kind is not None:
            raise ConfigurationError(f"{what} holds {kind}", hint=_STRAY)


def _kind(character: str) -> str | None:
    """What a character is called that does not belong into a URI or a credential; None of all others."""
    if character.isprintable():
        return None
    named = _KINDS.get(character)
    category = unicodedata.category(character)
    if named is None and category == "Cc":
        named = f"a control character (U+{ord(character):04X})"
    if named is None and category == "Cs":
        named = "bytes that are not UTF-8"
    return named
