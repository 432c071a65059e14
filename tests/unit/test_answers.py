"""Bodies, headers and numbers of answers: read within bounds, or refused with the reason."""

import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from answering import Said, served
from ingestr.core.secret import Secret
from ingestr.errors import AuthenticationError, IngestrError, SourceError, SourceUnavailableError
from ingestr.sources.salesforce.http.answers import error_of, is_transient, parse_errors
from ingestr.sources.salesforce.http.shapes import Answer, http_date, interpreting, whole_number
from ingestr.sources.salesforce.http.transport import REDIRECTED_TO, retry_after
from ingestr.sources.salesforce.logins.access_token import AccessToken
from ingestr.sources.salesforce.logins.config import SalesforceConfig
from support import FastClock

JSON = {"Content-Type": "application/json"}
NOW = datetime(2026, 5, 17, 12, 0, 0, tzinfo=UTC)
CONFIG = SalesforceConfig(
    AccessToken(Secret("00D000000000001!abcdefgh")), "https://acme.my.salesforce.com", "59.0", 1 << 20
)


def asked(
    body: bytes | Iterator[bytes],
    headers: dict[str, str] | None = None,
    clock: FastClock | None = None,
    status: int = 200,
) -> Any:
    """What the client makes of one answer, always the same."""
    made = served(lambda _: Said(status, {**JSON, **(headers or {})}, body), CONFIG, clock)
    return made.get_json("/services/data/v59.0/limits", "asking")


GOOD = b'{"a": [1, 2, 3]}'


def packed_as_gzip(body: bytes) -> bytes:
    """The same bytes for the same body, whatever the time."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", packed_as_gzip(GOOD)),
        ("x-gzip", packed_as_gzip(GOOD)),
        ("GZIP", packed_as_gzip(GOOD)),
        ("identity", GOOD),
        ("", GOOD),
        ("identity, gzip", packed_as_gzip(GOOD)),
        ("gzip", packed_as_gzip(GOOD[:5]) + packed_as_gzip(GOOD[5:])),
        ("gzip", packed_as_gzip(GOOD) + b"\0\0\0"),
    ],
)
def test_every_way_of_packing_that_was_asked_for(coding: str, body: bytes) -> None:
    """Both names of gzip, one part or several, padding behind them, or not packed at all."""
    assert asked(body, {"Content-Encoding": coding}) == {"a": [1, 2, 3]}
    assert asked(iter([bytes([byte]) for byte in body]), {"Content-Encoding": coding}) == {"a": [1, 2, 3]}


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "compress", "gzip, br", "gzip, gzip", "\x1b[31m"])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_other_ways_of_packing_are_refused_by_name(coding: str, status: int) -> None:
    """Nobody asked for them: a proxy changes answers, and is named by what it did, at once."""
    clock = FastClock()
    with pytest.raises(SourceError, match=r"encoded as .*, and gzip was asked for") as caught:
        asked(GOOD, {"Content-Encoding": coding}, clock, status)
    assert coding.rsplit(", ", maxsplit=1)[-1].replace("\x1b", "\\x1b") in str(caught.value)
    assert caught.value.exit_code == 4
    assert clock.slept == []


@pytest.mark.parametrize(
    "body", [GOOD, packed_as_gzip(GOOD)[:-3], packed_as_gzip(GOOD)[:-8] + b"\0" * 8, b"\x1f", b"\x1f\x8b" + b"x" * 30]
)
def test_a_body_that_is_not_what_it_says_is_asked_for_again(body: bytes) -> None:
    """Like one that broke off; one that stays so ends with exit 4."""
    clock, bodies = FastClock(), itertools.chain([body, body], itertools.repeat(packed_as_gzip(GOOD)))
    packed = {**JSON, "Content-Encoding": "gzip"}
    made = served(lambda _: Said(200, packed, next(bodies)), CONFIG, clock)
    assert made.get_json("/services/data/v59.0/limits", "asking") == {"a": [1, 2, 3]}
    assert len(clock.slept) == 2
    with pytest.raises(SourceUnavailableError, match="body is") as caught:
        asked(body, {"Content-Encoding": "gzip"})
    assert caught.value.exit_code == 4


def bomb(megabytes: int) -> bytes:
    """White space, packed a thousand times smaller."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(megabytes)) + packer.flush()


def endless() -> Iterator[bytes]:
    """A body that never ends."""
    while True:
        yield b" " * 65_536


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("kind", ["bomb", "endless", "endless gzip"])
def test_no_answer_takes_all_memory(kind: str, status: int) -> None:
    """An answer ends at its bound, packed or not, success or error; the error says how to allow more."""
    body: bytes | Iterator[bytes] = bomb(64) if kind == "bomb" else endless()
    if kind == "endless gzip":
        packer = zlib.compressobj(0, zlib.DEFLATED, 31)
        body = (packer.compress(piece) for piece in endless())
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="asking: the answer is larger than 1 MB") as caught:
            asked(body, {} if kind == "endless" else {"Content-Encoding": "gzip"}, status=status)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert "max_answer_mb" in str(caught.value.hint)


class BusyClock(FastClock):
    """A clock on which a minute passes whenever somebody looks."""

    def monotonic(self) -> float:
        """A minute later than before."""
        self.elapsed += 60
        return self.elapsed


def test_an_answer_that_trickles_for_ever_ends() -> None:
    """Each byte comes before the timeout of a read, and yet the whole is given up."""
    with pytest.raises(SourceUnavailableError, match="not complete after 15 minutes") as caught:
        asked((b" " for _ in itertools.count()), clock=BusyClock())
    assert "run again later" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("17", 17.0),
        (" 17 ", 17.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("9" * 5000, float("inf")),
        ("Sun, 17 May 2026 12:00:30 GMT", 30.0),
        ("Sun, 17 May 2026 12:00:30 -0000", 30.0),
        ("Sun, 17 May 2026 12:00:30", 30.0),
        ("Sun, 17 May 2026 14:00:30 +0200", 30.0),
        ("Sun, 17 May 2026 11:00:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("-5", None),
        ("²", None),
        ("1e3", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 99:99:99 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +999999999", None),
    ],
)
def test_retry_after_in_every_form(header: str, seconds: float | None) -> None:
    """Seconds or a date, with any zone or none; what cannot be read asks for nothing."""
    assert retry_after(header, NOW) == seconds


@pytest.mark.parametrize("date", ["Sun, 17 May 2026 12:00:00 GMT", "Sun, 17 May 2026 12:00:00 -0000"])
def test_dates_of_headers(date: str) -> None:
    """A zone of -0000 is legal."""
    assert http_date(date) == NOW
    assert http_date("Mon, 01 Jan 1900 00:00:00 GMT") is None
    assert http_date("\ud800\0") is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5), (5.0, 5), ("5", 5), ("5.0", 5), (-1, -1), (0, 0), (10**15, 10**15),
        (5.5, None), (True, None), (None, None), ([], None), ({}, None), ("", None), ("many", None), ("²", None),
        ("\u0665", None), ("5 ", None), ("0x10", None), ("1_000", None), ("9" * 5000, None), (10**400, None),
        (float("inf"), None), (float("nan"), None), (1e400, None), (1e300, None), ("Infinity", None),
    ],
)  # fmt: skip
def test_whole_numbers(value: object, number: int | None) -> None:
    """What no counter can be is no number."""
    assert whole_number(value) == number
    answer = Answer({"n": value}, "counting")
    if number is None:
        with pytest.raises(SourceError, match="counting: the answer is not what Salesforce's API gives"):
            answer.number("n")
    else:
        assert answer.number("n") == number


def test_the_other_shapes() -> None:
    """Text, flags, fractions and times are what they are called, or errors of the answer."""
    answer = Answer(
        {"t": "x", "f": True, "d": 64.5, "m": "2026-05-17T12:00:00.000+0000", "bad": "\ud800", "inf": float("inf")}, "x"
    )
    assert (answer.text("t"), answer.flag("f"), answer.flag("absent"), answer.decimal("d")) == ("x", True, False, 64.5)
    assert answer.moment("m") == NOW
    for read, key in (
        (answer.text, "bad"), (answer.text, "f"), (answer.flag, "t"), (answer.decimal, "inf"), (answer.decimal, "t"),
        (answer.moment, "t"), (answer.moment, "d"), (answer.number, "absent"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match="is not what Salesforce's API gives"):
            read(key)


def test_whatever_fails_while_an_answer_is_read_is_the_answers_fault() -> None:
    """Nesting without end and memory that ends count; our own errors pass, and the cause is not shown."""

    def deep(depth: int = 0) -> int:
        return deep(depth + 1)

    def no_memory() -> int:
        raise MemoryError

    for fail, why in (
        (deep, "nested too deep"),
        (no_memory, "too large"),
        (lambda: dict[str, int]()["key"], "KeyError"),
    ):
        with pytest.raises(SourceError, match=why) as caught, interpreting("reading"):
            fail()
        assert caught.value.__suppress_context__
    with pytest.raises(AuthenticationError), interpreting("reading"):
        raise AuthenticationError("no")


BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">%s]><a>&j;</a>""" % b"".join(
    b'<!ENTITY %c "%s">' % (ord("b") + i, b"&%c;" % (ord("a") + i) * 10) for i in range(9)
)
BODIES: dict[str, tuple[str, bytes]] = {
    "nested JSON": ("application/json", b"[" * 200_000 + b"]" * 200_000),
    "nested objects": ("application/json", b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "a number without end": ("application/json", b'[{"errorCode": ' + b"9" * 5_000 + b"}]"),
    "codes that are objects": ("application/json", b'{"error": {"message": "x"}, "message": [1]}'),
    "half a surrogate pair": ("application/json", b'[{"errorCode": "\\ud800", "message": "\\udfff"}]'),
    "UTF-16": ("application/json", '[{"errorCode": "X"}]'.encode("utf-16")),
    "bytes": ("application/json", bytes(range(256))),
    "an unknown charset": ("text/html; charset=hex", b"no"),
    "a charset that is none": ("text/html; charset=\x00", b"no"),
    "a charset of a codec": ("text/html; charset=unicode_escape", b"\\x"),
    "UTF-16 pages": ("text/html; charset=utf-16", b"no"),
    "a page with marks of its own": ("text/html", b"<![foo[x]]>"),
    "a page that is cut": ("text/html", b"<!--" + b"<a " * 10_000),
    "XML in Shift JIS": ("text/xml", b'<?xml version="1.0" encoding="shift_jis"?><a/>'),
    "XML in nothing known": ("text/xml", b'<?xml version="1.0" encoding="no-such"?><a/>'),
    "nested XML": ("text/xml", b"<a>" * 200_000 + b"</a>" * 200_000),
    "a billion laughs": ("text/xml", BILLION_LAUGHS),
    "XML of another kind": ("text/plain", BILLION_LAUGHS),
    "too much": ("application/json", b"[" + b'{"errorCode":"X"},' * 300_000 + b"{}]"),
    "nothing": ("application/json", b""),
}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 500, 503])
@pytest.mark.parametrize("name", BODIES)
def test_error_bodies_of_any_kind(name: str, status: int) -> None:
    """What cannot be read is no readable error, and still an error of ours."""
    kind, body = BODIES[name]
    response = httpx.Response(status, headers={"Content-Type": kind, REDIRECTED_TO: "https://["}, content=body)
    assert all(isinstance(error.code, str) for error in parse_errors(response))
    assert is_transient(response) in (True, False)
    error = error_of(response, "asking")
    assert isinstance(error, IngestrError)
    assert error.exit_code in (3, 4)
    assert str(error).isprintable()
    if status != 200 or name != "codes that are objects":
        with pytest.raises(IngestrError):
            asked(body, {"Content-Type": kind}, status=status)


@pytest.mark.parametrize(
    "usage",
    [
        "api-usage=" + "9" * 5000 + "/1",
        "api-usage=1/" + "9" * 5000,
        "api-usage=\u0665/\u0665",
        "api-usage=-1/5",
        "api-usage=",
        "²",
    ],
)
def test_a_usage_that_cannot_be_read_is_not_known(usage: str) -> None:
    """The allowance is then what was last heard."""
    heads = iter(["api-usage=7/100", usage])
    made = served(lambda _: Said(200, [(b"Sforce-Limit-Info", next(heads).encode())], GOOD), CONFIG)
    for _ in range(2):
        made.get_json("/services/data/v59.0/limits", "asking")
    assert (made.usage.calls, made.usage.used, made.usage.limit) == (2, 7, 100)


@pytest.mark.parametrize(
    "address", ["/a\nb", "@evil.example/x", "https://evil.example/x", "/\x1b", "/" + "x" * 70_000, ""]
)
def test_addresses_that_a_server_names_stay_on_its_host(address: str) -> None:
    """What is no path is not asked for."""
    made = served(lambda _: Said(body=GOOD), CONFIG)
    with pytest.raises(SourceError, match="is not what Salesforce's API gives"):
        made.get_json(address, "asking")


def versions(*names: str) -> Callable[[httpx.Request], Said]:
    """An org that offers these versions."""
    return lambda _: Said.as_json([{"version": name} for name in names])


def test_the_version_of_the_uri_is_used_where_the_org_offers_it() -> None:
    """Instead of the newest; where the org does not offer it, the error names those that both sides know."""
    assert served(versions("58.0", "59.0", "64.0"), CONFIG).version == "59.0"
    with pytest.raises(IngestrError, match=r"does not offer the API version 59\.0") as caught:
        _ = served(versions("20.0", "58.0", "64.0", "80.0"), CONFIG).version
    assert caught.value.exit_code == 2
    assert "both sides know 58.0, 64.0" in str(caught.value.hint)


ORG = "00D5e000000abcDEAY"


@pytest.mark.parametrize(
    ("info", "rows", "org_id"),
    [
        (Said.as_json({"organization_id": ORG}), None, ORG[:15]),
        (Said(403, body=b"Bad_OAuth_Token"), [{"Id": ORG}], ORG[:15]),
        (Said.as_json({"organization_id": "../../etc"}), [{"Id": ORG}], ORG[:15]),
        (Said(403, body=b"Missing_OAuth_Token"), None, None),
        (Said.as_json([]), [{"Id": "001000000000001AAA"}], None),
        (Said(500, body=b"oops"), [], None),
    ],
)
def test_the_org_is_asked_once_which_one_it_is(
    info: Said, rows: list[dict[str, str]] | None, org_id: str | None
) -> None:
    """By the identity service, or as its only Organization; what has not the form of an org's id is not known."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> Said:
        seen.append(request.url.path)
        if request.url.path == "/services/data/":
            return versions("59.0")(request)
        if request.url.path.endswith("userinfo"):
            return info
        if rows is None:
            return Said.as_json([{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}], 403)
        return Said.as_json({"totalSize": len(rows), "done": True, "records": rows})

    config = SalesforceConfig(AccessToken(Secret("eyJ0eXAi.abc.def")), "https://acme.my.salesforce.com")
    made = served(answer, config)
    assert [made.org_id() for _ in range(3)] == [org_id] * 3
    assert seen.count("/services/oauth2/userinfo") == 1


def test_a_token_that_tells_its_org_is_believed() -> None:
    """Nobody is asked then."""
    made = served(lambda _: Said(500), CONFIG)
    assert made.org_id() == "00D000000000001"


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("failure", [Said(500), Said(502), Said(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"), None])
def test_a_post_is_repeated_where_that_does_no_harm(repeatable: bool, failure: Said | None) -> None:
    """After an answer that says that it failed, if the caller allows it; never where the answer was lost."""
    sent = 0

    def answer(_: httpx.Request) -> Said:
        nonlocal sent
        sent += 1
        if sent == 1:
            if failure is None:
                raise httpx.ReadError("the connection is gone")
            return failure
        return Said.as_json({"id": "750"})

    made = served(answer, CONFIG)
    if repeatable and failure is not None and failure.status != 200:
        assert made.send_json("POST", "/services/data/v59.0/jobs/query", "making", {}, repeatable=True) == {"id": "750"}
        assert sent == 2
    else:
        with pytest.raises(SourceError):
            made.send_json("POST", "/services/data/v59.0/jobs/query", "making", {}, repeatable=repeatable)
        assert sent == 1


@pytest.mark.parametrize("status", [201, 204, 206])
def test_a_streamed_page_is_whole(status: int) -> None:
    """A part of one could not be counted."""
    made = served(lambda _: Said(status, body=b"x"), CONFIG)
    with pytest.raises(SourceError, match=f"HTTP {status} where a page was asked for"):
        made.stream("/services/data/v59.0/jobs/query/750/results", "reading")
