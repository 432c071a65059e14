"""Serves a simulated org to the benchmarks, in a process of its own: all ways read the same rows through two doors.

The plain door is for clients that may be told where an org is; the other has TLS and a proxy, for those that insist on
salesforce.com. On stdin come operations, a JSON object a line, and each is answered by a line of JSON on stdout; when
stdin ends, so does the org. Must not know what is measured.
"""

import argparse
import json
import random
import string
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ingestr.simulator import SimulatedOrg
from ingestr.simulator.app import make_app
from ingestr.simulator.server import Server, listen
from ingestr.simulator.store import quote

_LONG_TEXT, _LONG_TEXTS = 32_000, 16
_KINDS = (
    *("string", "currency", "date", "boolean", "picklist", "textarea"),
    *("int", "datetime", "reference", "percent", "email", "phone"),
)
_DIGITS = string.digits + string.ascii_lowercase


def main() -> None:
    """Grow the object, open both doors, do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--object", default="Lead")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, help="so many objects in place of that one, with so many rows in all")
    asked = parser.parse_args()
    with SimulatedOrg(rows=min(asked.rows, 100), proxy=True) as org, _plain_door(org) as url:
        org.api_limit = 1_000_000_000
        if asked.objects:
            _fill_many(org, asked.objects, asked.rows)
        else:
            _fill(org, asked.object, asked.rows)
        door = {
            "url": url,
            "access_token": org.access_token(),
            "tls_url": f"https://127.0.0.1:{org.port}",
            "authority": org.ca_file,
            "proxy": org.proxy_url,
            "username": org.username,
            "password": org.password,
            "security_token": org.security_token,
        }
        print(json.dumps(door), flush=True)
        for line in sys.stdin:
            operation = json.loads(line)
            print(json.dumps(_OPERATIONS[operation.pop("operation")](org, **operation)), flush=True)


@contextmanager
def _plain_door(org: SimulatedOrg) -> Iterator[str]:
    """Serve the org without TLS and proxy too."""
    sock = listen("127.0.0.1", 0)
    server = Server(make_app(org), sock, org.patience)
    server.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.stop()


def _fill(org: SimulatedOrg, name: str, rows: int) -> None:
    """Bring an object to so many rows; `Narrow__c` and `Text__c` are made for the purpose."""
    if name == "Narrow__c":
        org.add_object(name, "a80", {})
        org.drop_field(name, "OwnerId")
    if name == "Text__c":
        org.add_object(name, "a81", {})
    org.grow(name, rows)
    if name == "Text__c":
        org.add_field(name, "Body__c", "textarea", list(_long_texts()), length=_LONG_TEXT)


def _fill_many(org: SimulatedOrg, objects: int, rows: int) -> None:
    """Make objects as an org has them, `Part_000__c` and so on, the largest first."""
    for number, size in enumerate(_sizes(objects, rows)):
        name = f"Part_{number:03}__c"
        kinds = (_KINDS[place % len(_KINDS)] for place in range(5 + number * 7 % 40))
        prefix = f"z{_DIGITS[number // len(_DIGITS)]}{_DIGITS[number % len(_DIGITS)]}"
        org.add_object(name, prefix, {f"Field_{place:02}__c": kind for place, kind in enumerate(kinds)})
        org.grow(name, size)


def _sizes(objects: int, rows: int) -> list[int]:
    """Rows of each object: of twenty one is large, the others have 10 to 2,000, and so many in all."""
    large = max(1, objects // 20)
    small = objects - large
    sizes = [int(10 * 200 ** (place / small)) for place in range(small)]
    left = rows - sum(sizes)
    shares = [1 / (place + 1) for place in range(large)]
    others = [int(left * share / sum(shares)) for share in shares[1:]]
    return [left - sum(others), *others, *sizes]


def _long_texts() -> Iterator[str]:
    """Texts as people write them: words, commas, quotes and line breaks, of which gzip makes a third or so."""
    dice = random.Random(1)
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(3_000)]
    for _ in range(_LONG_TEXTS):
        text = ""
        while len(text) < _LONG_TEXT:
            text += dice.choice(words) + dice.choices((" ", ", ", ' "', "\n"), (20, 2, 1, 1))[0]
        yield text[: _LONG_TEXT - 1] + "."


def _usage(org: SimulatedOrg) -> dict[str, float]:
    return {"cpu": time.process_time(), "api_calls": org.api_calls, "errors": len(org.internal_errors)}


def _fields(org: SimulatedOrg, name: str) -> list[tuple[str, str]]:
    """Name and type of each field that Bulk reads."""
    left_out = {"address", "location", "base64"}
    return [(each.name, each.type) for each in org.store.need(name).visible() if each.type not in left_out]


def _query(org: SimulatedOrg, name: str) -> dict[str, str]:
    """The Bulk query whose result is ready for an object, so that all ways may ask for the same pages."""
    found = [key for key in org.results if f" FROM {name}" in str(key[0])]
    return {"query": str(found[-1][0]), "operation": str(found[-1][1])} if found else {}


def _change(org: SimulatedOrg, name: str, updates: int, deletes: int) -> None:
    """Update some rows and delete others, from all over the table; the clock goes on."""
    org.clock.advance(60)
    with org.store.cursor() as cursor:
        chosen = cursor.execute(
            f'SELECT "Id" FROM {quote(name)} WHERE {org.store.alive(org.store.need(name))} '
            f"ORDER BY hash(_row + {org.store.version}) LIMIT {updates + deletes}"
        ).fetchall()
    ids = [key for (key,) in chosen]
    org.update(name, ids[:updates], {"Name": f"changed {org.store.version}"})
    org.delete(name, ids[updates:])
    org.clock.advance(60)


def _settings(org: SimulatedOrg, **values: Any) -> None:
    for each, value in values.items():
        setattr(org, each, value)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "usage": _usage,
    "fields": _fields,
    "query": _query,
    "change": _change,
    "settings": _settings,
    "count": lambda org, name: org.count(name),
    "parts": lambda org: {name: org.count(name) for name in org.store.objects if name.startswith("Part_")},
}


if __name__ == "__main__":
    main()
