"""``python -m ingestr`` and the console script; imports little at the top, as Ctrl-C counts from the first moment."""

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_END = (
    b'{"event": "end", "status": "failed", "rows": 0, "batches": 0, "duration_sec": 0, '
    b'"error": "interrupted", "exit_code": 130}\n'
)


def wants_json(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a command line asks for JSON lines: whoever reads them waits for the last one, whatever goes wrong."""
    mode = environ.get("INGESTR_PROGRESS", "")
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--progress":
            mode = value if equals else "".join(words[place + 1 : place + 2])
    return list(words[:1]) in (["ingest"], ["plan"], ["sync"]) and mode.strip() == "json"


def _heeded() -> list[signal.Signals]:
    """The signals that end a run; what is ignored stays so, as nohup and a shell's background jobs have it."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: before a run has begun there is nothing to be put in order."""
    # Whatever passes signals on may send several.
    for each in _heeded():
        signal.signal(each, signal.SIG_IGN)
    with suppress(OSError):
        os.write(2, b"error: interrupted\n")
    if wants_json(sys.argv[1:], os.environ):
        with suppress(OSError):
            os.write(1, _END)
    os._exit(130)


def main() -> None:
    """Entry point of the console script."""
    # Modules are a hundred thousand objects that stay: looking through them for garbage is a tenth of the start.
    gc.set_threshold(100_000)
    for number in _heeded():
        signal.signal(number, _leave)
    from ingestr.cli import main as run  # noqa: PLC0415

    run(as_json=wants_json(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
