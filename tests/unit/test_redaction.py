"""Secrets are blotted out of every text, however a server, a library or a proxy spells them."""

import base64
import gc
import hashlib
import html
import importlib
import json
import logging
import pickle
import pkgutil
import traceback
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingestr
from ingestr import redaction
from ingestr.core.secret import Secret
from ingestr.errors import ConfigurationError, IngestrError, SourceError
from ingestr.redaction import BLOT, shown, shown_lines

TOKEN = "00D5e000000abcD!AQ8AQN.x3_Kj7vTt9Zb1mRw2YcXe5LpQhUo"
TAIL = TOKEN.partition("!")[2]
PASSWORD = 'Grün & <"beißt">/\\ 100%'

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": lambda text: quote(text, safe=""),
    "URL, slashes kept": quote,
    "URL in a URL": lambda text: quote(quote(text, safe="")),
    "form": quote_plus,
    "URL in lower case": lambda text: quote(text, safe="").replace("%3C", "%3c").replace("%C3%BC", "%c3%bc"),
    "JSON": json.dumps,
    "JSON of UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "XML": escape,
    "HTML": html.escape,
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "read as Latin-1": lambda text: text.encode().decode("latin-1"),
    "Basic": lambda text: base64.b64encode(f"client:{text}".encode()).decode(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"me:{text}\n".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("text", [TOKEN, PASSWORD, "kurz&gut", "0123456789ABCDEF"])
def test_every_spelling_is_blotted(text: str, spelling: str) -> None:
    """What a server repeats in a URL, in JSON, XML, HTML or a header does not reach a message."""
    secret = Secret(text)
    spelled = SPELLINGS[spelling](text)
    error = SourceError(f"the server said: {spelled}!", hint=f"sent {spelled}")
    said = f"{error} {error.hint} {error!r}"
    assert BLOT in said
    inner = spelled.strip("'\"")
    middle = inner[len(inner) // 3 : -len(inner) // 3]
    assert middle not in said
    assert secret.reveal() not in said


@pytest.mark.parametrize("part", [TAIL[:13], TAIL[-13:], TAIL[9:30], f"Bearer {TAIL[:20]}…"])
def test_a_part_of_a_secret_is_blotted(part: str) -> None:
    """A message that is cut off, or quotes a piece, gives nothing away that would be worth guessing the rest of."""
    held = Secret(TOKEN)
    assert TAIL[2:12] not in str(SourceError(f"unexpected: {part}")) + shown(part)
    assert held.reveal() == TOKEN


def test_a_host_name_is_in_lower_case() -> None:
    """Where a server makes the secret a part of an address, its letters change."""
    held = Secret(TOKEN)
    assert TAIL[:12].lower() not in shown(f"https://{TAIL.lower()}.example and {TAIL.upper()}").lower()
    assert held.reveal() == TOKEN


def test_the_org_stays_visible() -> None:
    """The id of the org stands at the beginning of a token, and in messages that people need."""
    uri = f"salesforce://?access_token={quote(TOKEN, safe='')}&domain=https%3A%2F%2Facme.my.salesforce.com"
    held = [Secret(TOKEN), Secret("https://acme.my.salesforce.com", public=True), Secret(uri)]
    text = "the table belongs to the org 00D5e000000abcD at https://acme.my.salesforce.com, row 0015e000000abcDAAQ"
    assert shown(text) == text
    assert len(held) == 3


@pytest.mark.parametrize(
    ("uri", "secrets", "visible"),
    [
        (
            "salesforce://?username=ada%40acme.example&password=p%26ssw0rd+x&token=Abcd1234&domain=acme.my",
            ["p&ssw0rd x", "p%26ssw0rd+x", "Abcd1234"],
            ["ada@acme.example", "acme.my"],
        ),
        ("salesforce://?client_id=3MVG9abc&client_secret=s3cret&domain=test", ["s3cret", "3MVG9abc"], ["test"]),
        ("salesforce://?password=half&other-half=x#rest-of-it&domain=login", ["half", "rest-of-it"], ["login"]),
        ("postgresql://me:hunter22@db.example/x?sslmode=require", ["hunter22"], ["db.example"]),
    ],
)
def test_the_parts_of_a_uri_are_told_apart(uri: str, secrets: list[str], visible: list[str]) -> None:
    """From the moment a URI is given its secrets are known, also of one that cannot be parsed."""
    held = Secret(uri)
    for secret in secrets:
        assert secret not in shown(f"<{secret}>")
    for text in visible:
        assert shown(f"<{text}>") == f"<{text}>"
    assert held == Secret(uri)


def test_very_short_secrets_stay() -> None:
    """Three letters occur in every message; blotting them would leave none that can be read."""
    held = Secret("abc")
    assert shown("abcdef") == "abcdef"
    assert pickle.loads(pickle.dumps(held)) == held


def test_secrets_are_forgotten_in_the_end() -> None:
    """A process that makes sessions for years does not keep them all."""
    for number in range(300):
        Secret(hashlib.sha256(b"%d" % number).hexdigest())
    gc.collect()
    first = hashlib.sha256(b"0").hexdigest()
    assert shown(first) == first


_WRITABLE = st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="*")


@given(st.text(_WRITABLE, min_size=4, max_size=60), st.text("abcdefghijklmnop", max_size=40))
def test_no_secret_survives_in_any_text(secret: str, around: str) -> None:
    """Whatever the secret and whatever stands around it."""
    held = Secret(secret)
    for spelled in (secret, repr(secret), json.dumps(secret), quote(secret, safe=""), html.escape(secret)):
        said = shown_lines(f"{around} {spelled} {around}")
        assert secret not in said
    assert held.reveal() == secret


@given(st.text(max_size=200))
def test_any_text_becomes_one_line_that_can_be_seen(text: str) -> None:
    """Whatever is thrown at it: printable, and the same when it is shown again."""
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)
    assert all(line.isprintable() for line in shown_lines(text).split("\n"))


def test_a_text_without_end_is_cut() -> None:
    """An error page of a hundred megabytes is no message."""
    assert len(str(SourceError("x" * 50_000_000))) < 20_000


def messages(name: str, action: Callable[[logging.Logger], None]) -> str:
    """What a handler of a user's own writes of the records of a logger."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(logging.Formatter("%(message)s").format(record))

    written: list[str] = []
    logger, handler = logging.getLogger(name), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        action(logger)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return "\n".join(written)


@pytest.mark.parametrize("name", redaction.LOGGERS)
def test_records_are_clean_for_every_handler(name: str) -> None:
    """Message, arguments, traceback and stack of a record are cleaned before any handler sees it."""
    held = Secret(TOKEN)

    def act(logger: logging.Logger) -> None:
        logger.info("plain %d", 5)
        logger.warning("sent %s\x1b[2J", TOKEN)
        logger.warning(f"sent {TOKEN}")
        try:
            raise ValueError(f"Illegal header value b'Bearer {TOKEN}'")
        except ValueError:
            logger.debug("where from", exc_info=True, stack_info=True)

    said = messages(name, act)
    assert TAIL not in said
    assert "\x1b" not in said
    assert "plain 5" in said
    assert "ValueError: Illegal header value" in said
    assert held.reveal() == TOKEN


def test_every_logger_of_the_package_is_guarded() -> None:
    """A logger that is new needs to be named in redaction.py, as filters do not hold for children."""
    for module in pkgutil.walk_packages(ingestr.__path__, "ingestr."):
        if not module.name.startswith(("ingestr.simulator", "ingestr.__main__")):
            importlib.import_module(module.name)
    made = [
        name
        for name, logger in logging.root.manager.loggerDict.items()
        if name.split(".")[0] == "ingestr" and not name.startswith("ingestr.simulator")
        if isinstance(logger, logging.Logger)
    ]
    assert set(made) == set(redaction.LOGGERS)
    for name in made:
        assert any(isinstance(each, redaction.Redaction) for each in logging.getLogger(name).filters)


def test_a_printed_traceback_holds_no_secret() -> None:
    """An error that is raised where a library repeated the secret does not bring the library's text along."""
    held = Secret("correct-horse-battery")
    try:
        try:
            raise RuntimeError("h11 refuses correct-horse-battery")
        except RuntimeError as error:
            raise ConfigurationError(f"it says: {error}") from None
    except IngestrError as error:
        told = "".join(traceback.format_exception(error))
    assert "battery" not in told.replace('RuntimeError("h11 refuses correct-horse-battery")', "")
    assert held.reveal() == "correct-horse-battery"
