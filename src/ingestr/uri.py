"""Parses source and destination URIs; its errors never repeat what the URI holds, as that may be a secret."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,19}")


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
        ConfigurationError: no scheme, a repeated parameter, or a ``#`` that cuts the URI short.
    """
    scheme, separator, _ = text.partition("://")
    # Other text before the first :// may well be a secret, and is not taken for a scheme that could be repeated.
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(
            f"the {role} URI has no scheme",
            hint="a URI looks like salesforce://?access_token=…&domain=… or duckdb:///file.db",
        )
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigurationError(
            f"the {role} URI cannot be parsed", hint="URL-encode the values, e.g. & as %26, and write name=value pairs"
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
        parameters[name] = Secret(value)
    return Uri(scheme.lower(), parts.netloc, unquote(parts.path), parameters)
