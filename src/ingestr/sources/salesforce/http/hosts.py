"""Which host a login goes to, and what can be one. Sends nothing."""

import ipaddress
import re
from urllib.parse import urlsplit

import httpx

from ingestr.errors import ConfigurationError

_UI_HOSTS = (".lightning.force.com", ".my.salesforce-setup.com", ".vf.force.com")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


def is_host(text: str) -> bool:
    """Whether a text is a name or an address of a host that can be looked up: labels of up to 63 characters."""
    if is_loopback(text):
        return True
    try:
        # Names that begin with xn-- have rules of their own, which are checked here.
        return bool(_HOST.fullmatch(text)) and bool(httpx.URL(scheme="https", host=text).host)
    except (httpx.InvalidURL, UnicodeError):
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def login_url(domain: str) -> str:
    """The URL for every documented form of ``domain``.

    ``login``, ``test``, ``acme.my``, ``acme--dev.sandbox.my``, a whole host, or a URL; ``http://`` for loopback alone,
    as a token would otherwise travel in the clear.
    """
    scheme, separator, rest = domain.strip().partition("://")
    if not separator:
        scheme, rest = "https", scheme
    try:
        parts = urlsplit(f"{scheme}://{rest.rstrip('/')}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if scheme.lower() not in ("https", "http") or not is_host(host) or parts.username:
        raise ConfigurationError(
            "the domain in the source URI is not a host",
            hint="write login, test, acme.my, acme--dev.sandbox.my, a host or an https:// URL",
        )
    if scheme.lower() == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"http://{host} would send credentials unencrypted",
            hint=f"write https://{_whole(host)}; http:// is for loopback",
        )
    for suffix in _UI_HOSTS:
        if host.endswith(suffix):
            name = host.removesuffix(suffix)
            raise ConfigurationError(
                f"{host} is a host for browsers, not for the API", hint=f"use domain={name}.my.salesforce.com"
            )
    if not separator and port is None:
        host = _whole(host)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme.lower()}://{shown}" + (f":{port}" if port else "")


def _whole(host: str) -> str:
    """``acme.my`` as the host that it is short for."""
    short = not is_loopback(host) and not re.search(r"\.(com|mil|cn|net|org)$", host)
    return f"{host}.salesforce.com" if short else host
