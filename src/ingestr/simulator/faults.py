"""Knows what can be made to go wrong, as data; must not know how an answer is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import NoneType

import pyarrow as pa
import pyarrow.compute as pc

# Faults come as JSON too, so what they are made of is checked.
_KINDS: dict[str, tuple[type, ...]] = {
    "skip record_count_delta": (int,),
    "times status truncate polls": (int, NoneType),
    "delay": (int, float),
    "served drop clean_cut corrupt_gzip expire_sessions vanish": (bool,),
    "method job_state error_message": (str, NoneType),
    "body": (str, bytes, NoneType),
    "headers header_rename json_patch": (Mapping,),
}

# Within these bounds no pattern takes longer than a third of a second for the longest request that is looked at.
_LONGEST_PATTERN, _LONGEST_SEARCHED = 200, 16_384
_COUNTED = re.compile(r"(?<!\\)(?:\\\\)*\{\d")
# A browser's or a client's patience is shorter by far.
_LONGEST_DELAY = 86_400
_MOST_FAULTS = 1_000
# What HTTP lets a header be (RFC 9110, section 5.5): others would break the connection, and not as the fault means it.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong for the requests it matches.

    Attributes:
        path: regular expression of RE2's syntax, searched in the path with its query string.
        method: HTTP method, or None for any.
        times: how many requests it hits; None means for ever.
        skip: how many matching requests pass before the first hit.
        status: answer with this status instead.
        headers: headers of the answer, added to its own or replacing them.
        body: body of the answer instead of its own.
        served: do what was asked first, and only then answer with the fault.
        delay: seconds to wait before answering.
        drop: close the connection with no answer.
        truncate: send only so many bytes of the body as it is on the wire.
        clean_cut: end a truncated body as if it were whole, so that only the gzip trailer or the row count tells.
        corrupt_gzip: damage a byte in the middle of the compressed body.
        record_count_delta: add this to Sforce-NumberOfRecords.
        header_rename: new names for columns in the header row of a CSV page.
        job_state: the state that a query job ends in, or stays in when it is InProgress or UploadComplete.
        error_message: the failed job's errorMessage.
        polls: how often the job is seen unfinished before it ends.
        expire_sessions: every session of the org ends when the request comes in.
        vanish: the job of that address is gone from now on.
        json_patch: replaces values at the top of a JSON object answered.
    """

    path: str = ""
    method: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None
    served: bool = False
    delay: float = 0
    drop: bool = False
    truncate: int | None = None
    clean_cut: bool = False
    corrupt_gzip: bool = False
    record_count_delta: int = 0
    header_rename: Mapping[str, str] = field(default_factory=dict)
    job_state: str | None = None
    error_message: str | None = None
    polls: int | None = None
    expire_sessions: bool = False
    vanish: bool = False
    json_patch: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_pattern(self.path)
        for names, kinds in _KINDS.items():
            for name in names.split():
                value = getattr(self, name)
                if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                    raise TypeError(f"{name} of a fault cannot be {value!r}")
        for name, value in self.headers.items():
            if not (isinstance(value, str) and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
                raise ValueError(f"headers of a fault cannot be {name!r}: {value!r}")
        for text in (self.body, self.error_message):
            if isinstance(text, str):
                # A lone surrogate has no bytes; JSON can hold one.
                text.encode()
        if not (math.isfinite(self.delay) and 0 <= self.delay <= _LONGEST_DELAY):
            raise ValueError(f"delay of a fault is 0 to {_LONGEST_DELAY} seconds, not {self.delay!r}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status of a fault is 200 to 599, not {self.status}")

    @property
    def replaces(self) -> bool:
        """Whether the answer is the fault's own."""
        return self.status is not None or self.body is not None

    @property
    def of_job(self) -> bool:
        """Whether it is about what becomes of a query job."""
        return self.job_state is not None or self.polls is not None


class Faults:
    """The faults in force. Each request takes at most one fault of a job and one of the answer."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: list[_Entry] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force, after those that are.

        Raises:
            ValueError: there are too many already.
        """
        with self._lock:
            self._entries = [entry for entry in self._entries if entry.left != 0]
            if len(self._entries) >= _MOST_FAULTS:
                raise ValueError(f"there are {_MOST_FAULTS} faults in force, and more would slow every request down")
            self._entries.append(_Entry(fault))

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._entries.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that can still hit."""
        with self._lock:
            return [entry.fault for entry in self._entries if entry.left != 0]

    def take(self, method: str, target: str) -> Fault | None:
        """Return the fault of the answer that hits this request, counting it."""
        return self._take(method, target, lambda fault: not fault.of_job)

    def take_job(self, method: str, target: str) -> Fault | None:
        """Return the fault of a job that hits this request, counting it."""
        return self._take(method, target, lambda fault: fault.of_job)

    def _take(self, method: str, target: str, wanted: Callable[[Fault], bool]) -> Fault | None:
        with self._lock:
            entries = list(self._entries)
        for entry in entries:
            fault = entry.fault
            if not wanted(fault) or (fault.method or method).upper() != method or not _found(fault.path, target):
                continue
            # Searched without the lock, so that a slow pattern holds up nobody.
            with self._lock:
                if entry.hit():
                    return fault
        return None


class _Entry:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self._skip = fault.skip

    def hit(self) -> bool:
        if self.left == 0:
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        return True


def _check_pattern(pattern: str) -> None:
    """Let a pattern pass that is searched in a time that grows with the text alone.

    Python's own expressions may take for ever, which a pattern that comes over HTTP must not. RE2, which pyarrow
    brings, never does, unless counted repetitions make the pattern itself huge.

    Raises:
        TypeError: it is no text.
        ValueError: it is too long, repeats by number, or is not written in RE2's syntax.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"path of a fault cannot be {pattern!r}")
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"path of a fault has at most {_LONGEST_PATTERN} characters, not {len(pattern)}")
    if _COUNTED.search(pattern):
        raise ValueError(f"path of a fault cannot repeat by number, as {{2}} does: {pattern}")
    _found(pattern, "")


def _found(pattern: str, text: str) -> bool:
    return bool(pc.match_substring_regex(pa.scalar(text[:_LONGEST_SEARCHED]), pattern=pattern).as_py())
