"""Knows the key with which the org's app signs, and which signed assertions are good; must not know HTTP."""

from __future__ import annotations

import base64
import json
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from ingestr.simulator.sessions import Credentials

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_AUDIENCES = frozenset({"https://login.salesforce.com", "https://test.salesforce.com"})
_LONGEST_LIFE = 300


class SigningKey:
    """An RSA key, made when somebody asks for it, as its library is not among the simulator's own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._key: RSAPrivateKey | None = None

    def pem(self) -> str:
        """Return the private key in PEM form."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        with self._lock:
            if self._key is None:
                self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        data = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return data.decode()

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether a message was signed with the key, as RS256 signs."""
        if self._key is None:
            return False
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

        try:
            self._key.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def refusal(assertion: str, key: SigningKey, known: Credentials, url: str) -> str | None:
    """Return why an assertion is no login of the org's user, or None where it is one."""
    parts = assertion.split(".")
    try:
        header, claims = (_decoded(part) for part in parts[:2])
        signature = base64.urlsafe_b64decode(parts[2] + "==")
    except (ValueError, IndexError):
        return "invalid assertion"
    signed = len(parts) == 3 and header.get("alg") == "RS256"
    if not signed or not key.is_signed(f"{parts[0]}.{parts[1]}".encode(), signature):
        return "invalid assertion"
    if claims.get("aud") not in {*_AUDIENCES, url}:
        return "audience is invalid"
    ends = claims.get("exp")
    # The machine's time, as whoever signs has no other.
    if not isinstance(ends, int) or not 0 < ends - time.time() <= _LONGEST_LIFE or claims.get("iss") != known.client_id:
        return "invalid assertion"
    return None if claims.get("sub") == known.username else "user hasn't approved this consumer"


def _decoded(part: str) -> dict[str, Any]:
    body = json.loads(base64.urlsafe_b64decode(part + "=="))
    if not isinstance(body, dict):
        raise ValueError(part)
    return body
