"""Knows how a simulated org is run from the command line and what it says there; must not know how it works."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from urllib.parse import quote, urlencode

from ingestr.simulator.org import SimulatedOrg


def source_uris(org: SimulatedOrg, access_token: str) -> dict[str, str]:
    """Return a source URI for each way to log in, by the name of the way."""
    known = org.credentials
    ways = {
        "access token": {"access_token": access_token},
        "username and password": {
            "username": known.username,
            "password": known.password,
            "token": known.security_token,
        },
        "client credentials": {"client_id": known.client_id, "client_secret": known.client_secret},
    }
    return {
        way: "salesforce://?" + urlencode({**parameters, "domain": org.url}, quote_via=quote)
        for way, parameters in ways.items()
    }


def serve(
    host: str = "127.0.0.1",
    port: int = 8080,
    rows: int = 1_000,
    seed: int = 42,
    *,
    tls: bool = False,
    proxy: bool = False,
    prepare: Callable[[SimulatedOrg], None] | None = None,
) -> None:
    """Serve a simulated org until interrupted, having said on stderr where and how to reach it.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes any that is free.
        rows: rows of the big objects.
        seed: the same seed gives the same org, its access token too.
        tls: serve HTTPS with a certificate of a throw-away authority.
        proxy: with TLS, also a CONNECT proxy for clients that insist on `*.salesforce.com`.
        prepare: called with the org before it serves, to grow or change it.
    """
    if threading.current_thread() is threading.main_thread():
        # Ended by a supervisor or by Ctrl-C: the same clean end, with nothing left on the disk.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SimulatedOrg(rows=rows, seed=seed, port=port, host=host, tls=tls, proxy=proxy) as org:
            if prepare is not None:
                prepare(org)
            _introduce(org, seed)
            org.run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")


def _introduce(org: SimulatedOrg, seed: int) -> None:
    out = sys.stderr
    print(f"A simulated Salesforce org listens at {org.url} (seed {seed}). Ctrl-C stops it.", file=out)
    if org.ca_file is not None:
        print(f"  certificate authority: {org.ca_file}", file=out)
    if org.proxy_url is not None:
        print(f"  proxy: {org.proxy_url} (https_proxy)", file=out)
    for way, uri in source_uris(org, org.access_token()).items():
        print(f"  {way}: {uri}", file=out, flush=True)
