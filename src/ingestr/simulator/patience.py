"""Knows how long the org waits for a client; must not know for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Patience:
    """Seconds after which a connection ends that does not go on; they may be changed while the org serves.

    Attributes:
        head: until the head of a request is here as a whole.
        body: until its body is.
        answer: until the client takes the next piece of an answer, or a tunnel carries its next byte.
    """

    head: float = 20
    body: float = 60
    answer: float = 600
