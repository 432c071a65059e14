"""``python -m ingestr`` and the console script; imports little at the top, as Ctrl-C counts from the first moment."""

import gc
import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: before a run has begun there is nothing to be put in order."""
    with suppress(OSError):
        os.write(2, b"error: interrupted\n")
    os._exit(130)


def main() -> None:
    """Entry point of the console script."""
    # Modules are a hundred thousand objects that stay: looking through them for garbage is a tenth of the start.
    gc.set_threshold(100_000)
    for number in (signal.SIGINT, signal.SIGTERM):
        # What is ignored stays so: a shell does that for what it runs in the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    from ingestr.cli import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
