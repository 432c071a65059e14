"""The process around a command: signals, streams that are closed or full, the log, and how all of it ends."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from ingestr.errors import IngestrError, one_line

EXIT_UNWRITTEN = 1
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

log = logging.getLogger("ingestr")


def guarded(action: Callable[[], None], *, debug: bool) -> None:
    """Turn every way to fail into one clear line, a hint and an exit code."""
    try:
        action()
    except IngestrError as error:
        log.debug("where the error came from:", exc_info=True)
        fail(str(error), error.hint, error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted; the destination is as it was", None, EXIT_INTERRUPTED)
    except Exception as error:
        if debug:
            with suppress(OSError):
                traceback.print_exc()
        hint = "please report it" + ("" if debug else "; --debug shows where it happened")
        fail(f"a bug in ingestr: {type(error).__name__}: {error}", hint, EXIT_BUG)


def fail(message: str, hint: str | None, code: int) -> NoReturn:
    """Say what is wrong, and end."""
    tell(f"error: {one_line(message)}" + (f"\nhint: {one_line(hint)}" if hint else ""))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # Everything is rolled back and closed by now; a plain exit would wait for downloads that hang in the network.
    os._exit(code)


def tell(text: str) -> None:
    """Write a line to stderr, if anybody reads there."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def print_out(text: str) -> None:
    """Write a line to stdout; raises OSError where that cannot be done."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def interruptible() -> None:
    """From now on the first Ctrl-C or SIGTERM is a KeyboardInterrupt, so that what is open is closed."""
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        # Whatever passes signals on may send several: the second would break into the closing.
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)


def open_streams() -> None:
    """Give closed standard streams a place to go: the next file opened would get their number, and their text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life


def close_streams() -> None:
    """Write what is left; where that fails, drop it, as Python would end with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _forget(stream)


def _forget(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()


class _Handler(logging.Handler):
    """To the stderr of the moment, which a live line on a terminal replaces; that nobody reads there is no failure."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


class _Format(logging.Formatter):
    """``warning: …`` for warnings, plain text for news, the time for details; a line each."""

    def format(self, record: logging.LogRecord) -> str:
        text = one_line(record.getMessage())
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        elif record.levelno <= logging.DEBUG:
            text = f"{self.formatTime(record)} {text}"
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def set_up_logging(*, debug: bool) -> None:
    """Let the package's log go to stderr."""
    handler = _Handler()
    handler.setFormatter(_Format())
    logger = logging.getLogger("ingestr")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def explain_usage(error: Any, commands: Collection[str]) -> NoReturn:
    """End with a mistake in the command line, as the parser found it; a URI is never repeated, as it holds secrets."""
    message = one_line(error.format_message()).rstrip(".")
    if "://" in message:
        message = "a URI stands where none is taken"
    path = ["ingestr", *(name for name in sys.argv[1:2] if name in commands)]
    fail(message[:1].lower() + message[1:], f"{' '.join(path)} --help", 2)
