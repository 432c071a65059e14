"""Which texts are secret in this process, and how any text is made fit to be shown.

Everything that leaves the program as text passes here: messages of errors, records of the log. It knows no URI scheme's
meaning, no platform and no terminal, and imports nothing of the package.
"""

import html
import json
import logging
import re
import traceback
import weakref
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from urllib.parse import quote, quote_plus, unquote, unquote_plus

BLOT = "***"
# A secret shorter than this is not blotted: single letters occur in every message.
SHORTEST = 4
# So many characters in a row that are a part of a longer secret are blotted: a text may be cut, or hold half of it.
_RUN = 12
_LONGEST = 10_000
# Parameters of URIs that people must see in messages; whatever else a URI holds is taken for a secret.
_PUBLIC = frozenset(
    {"domain", "username", "grant_type", "auth_method", "api_version", "max_answer_mb"}
    | {"private_key_path", "audience", "refresh_token_path", "sf_cli"}
    # Of a connection to PostgreSQL.
    | {"host", "hostaddr", "port", "user", "dbname", "sslmode", "ssl", "sslrootcert", "sslcert", "connect_timeout"}
    | {"application_name", "target_session_attrs", "channel_binding", "gssencmode", "options"}
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,19}://")
# The id of the org stands before the token proper, and is needed in messages.
_SESSION = re.compile(r"00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?!(.+)", re.DOTALL)
# A run of white space that is more than plain spaces: it becomes one space.
_BREAKS = re.compile(r" *[^\S ]\s*")
# Loggers of the package by their names; a record is cleaned where it is made, so that every handler gets it clean.
LOGGERS = ("ingestr", "ingestr.salesforce", "ingestr.duckdb", "ingestr.postgres")


class Known:
    """A secret that is to be blotted; it is known for as long as somebody holds this."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """Every spelling of a short secret, the longest first; none of a long one."""
        return tuple(sorted(_spellings(self.text), key=len, reverse=True)) if len(self.text) < _RUN else ()

    @cached_property
    def runs(self) -> frozenset[str]:
        """All pieces of so many characters of every spelling of a long secret, in lower case; none of a short one."""
        if len(self.text) < _RUN:
            return frozenset()
        return frozenset(run for spelling in _spellings(self.text) for run in _runs_of(_folded(spelling)))


_known: weakref.WeakValueDictionary[str, Known] = weakref.WeakValueDictionary()
# Those last learned stay for a while after their owners are gone: errors are shown when everything is closed.
_latest: deque[Known] = deque(maxlen=64)


def remember(text: str) -> tuple[Known, ...]:
    """Have a text, or of a URI its secret parts, blotted out for as long as the caller holds what is returned."""
    found = []
    for part in {secret for secret in _secrets_in(text) if len(secret) >= SHORTEST}:
        known = _known.get(part)
        if known is None:
            known = _known[part] = Known(part)
            _latest.append(known)
        found.append(known)
    return tuple(found)


def forget_all() -> None:
    """Know no secret any more, as a new process would: for tests, each of which makes up its own."""
    _known.clear()
    _latest.clear()


def is_public(parameter: str) -> bool:
    """Whether a URI's parameter of this name may be seen in messages."""
    return parameter in _PUBLIC


def _secrets_in(text: str) -> Iterator[str]:
    if not _URI.match(text):
        session = _SESSION.fullmatch(text)
        yield session[1] if session else text
        return
    place, _, rest = text.partition("?")
    user, at, _ = place.partition("://")[2].rpartition("@")
    if at:
        yield unquote(user.partition(":")[2])
    for pair in re.split("[&#]", rest):
        name, separator, value = pair.partition("=")
        if name not in _PUBLIC:
            # What has no name may be the rest of a secret whose & was not encoded.
            part = unquote_plus(value if separator else name)
            session = _SESSION.fullmatch(part)
            yield session[1] if session else part


def _spellings(text: str) -> set[str]:
    """The text as it may stand in URLs, JSON, XML, HTML, Python's ``repr`` and Basic authentication."""
    raw = text.encode("utf-8", "surrogatepass")
    tagged = html.escape(text)
    as_json = json.dumps(text)[1:-1]
    found = {
        text,
        " ".join(text.split()),
        repr(text)[1:-1],
        repr(raw)[2:-1],
        raw.decode("latin-1"),
        tagged,
        html.escape(text, quote=False),
        tagged.replace("&#x27;", "&#39;"),
        tagged.replace("&#x27;", "&apos;"),
        as_json,
        json.dumps(text, ensure_ascii=False)[1:-1],
        as_json.replace("/", "\\/"),
        # Some writers of JSON spell what HTML gives a meaning to by its number.
        re.sub("[<>&='+]", lambda found: f"\\u{ord(found[0]):04x}", as_json),
        *(_in_base64(raw)),
    }
    for encoded in (quote(raw), quote(raw, safe=""), quote_plus(raw)):
        found |= {encoded, quote(encoded), re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)}
    return {spelling for spelling in found if len(spelling) >= SHORTEST}


def _in_base64(raw: bytes) -> Iterator[str]:
    """The part of an encoding that is the same whatever stands around the secret, for each place it may start at."""
    for before in range(3):
        encoded = b64encode(b"\0" * before + raw).decode()
        sure = encoded[-(-before * 8 // 6) : len(encoded) - (4 if (before + len(raw)) % 3 else 0)]
        if len(sure) > SHORTEST:
            yield from (sure, sure.replace("+", "-").replace("/", "_"))


def _folded(text: str) -> str:
    """The text in lower case, as host names are written, each character in its place."""
    folded = text.lower()
    return folded if len(folded) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _runs_of(text: str) -> Iterable[str]:
    return (text[start : start + _RUN] for start in range(len(text) - _RUN + 1))


def blotted(text: str) -> str:
    """The text without any secret that is known, however it is spelled."""
    # The references are listed in one step: other threads may learn secrets meanwhile.
    secrets = [known for reference in _known.valuerefs() if (known := reference()) is not None]
    for known in secrets:
        for spelling in known.whole:
            text = text.replace(spelling, BLOT)
    folded = _folded(text)
    have = set(_runs_of(folded))
    found = {run for known in secrets for run in have & known.runs}
    if not found:
        return text
    kept: list[str] = []
    done = position = 0
    while position <= len(folded) - _RUN:
        if folded[position : position + _RUN] not in found:
            position += 1
            continue
        end = position + _RUN
        while end < len(folded) and folded[end - _RUN + 1 : end + 1] in found:
            end += 1
        kept += [text[done:position], BLOT]
        done = position = end
    return "".join([*kept, text[done:]])


def visible(text: str) -> str:
    """The text in one line, in which nothing steers a terminal or hides.

    White space other than spaces becomes one space; control and format characters, those that change the direction of
    writing, and halves of surrogate pairs become escapes such as ``\\x1b``.
    """
    if text.isprintable():
        return text.strip()
    text = _BREAKS.sub(" ", text).strip()
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def shown(text: str, *, longest: int = _LONGEST) -> str:
    """The text fit for people: no secret, one line, nothing invisible, and not without end."""
    # What is cut off must not hide the beginning of a secret from the search.
    text = visible(blotted(text[: 2 * longest]))
    return text if len(text) <= longest else text[:longest] + "…"


def shown_lines(text: str) -> str:
    """The same for a text of several lines, such as a traceback, whose lines and indents stay."""
    lines = blotted(text).split("\n")
    return "\n".join(line[: len(line) - len(line.lstrip(" "))] + visible(line) for line in lines)


class Redaction(logging.Filter):
    """Makes records of the log fit to be shown, whoever handles them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the message, the traceback and the stack; a record that cannot be formatted is left to its handler."""
        try:
            message = record.getMessage()
        except Exception:
            return True
        if (clean := shown(message)) != message:
            record.msg, record.args = clean, ()
        if record.exc_info and isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (clean := shown_lines(told)) != told:
                # The text takes the place of the exception, which handlers would print as it is.
                record.exc_info, record.exc_text = None, clean
        if record.stack_info:
            record.stack_info = shown_lines(record.stack_info)
        return True


_REDACTION = Redaction()


def guard_log(*names: str) -> None:
    """Clean all records of the loggers of these names from now on; a logger's children need to be named too."""
    for name in names:
        logging.getLogger(name).addFilter(_REDACTION)


guard_log(*LOGGERS)
