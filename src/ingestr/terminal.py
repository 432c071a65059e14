"""The process around a command: signals, streams that are closed or full, the log, and how all of it ends."""

import errno
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any, NoReturn, TextIO, TypeVar

from ingestr.errors import IngestrError, one_line
from ingestr.redaction import shown_lines

EXIT_UNWRITTEN = 1
EXIT_INSTALLATION = 2
EXIT_SYSTEM = 5
EXIT_BUG = 70
EXIT_INTERRUPTED = 130

# What a user can do about what the system refuses.
_REMEDIES = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk: the quota is used up",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "this user may not do that there: change the permissions, or choose another folder",
    errno.EPERM: "this user may not do that there: change the permissions, or choose another folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower --extract-parallelism",
    errno.ENFILE: "the machine has too many open files",
    errno.ENOMEM: "lower --page-size or --extract-parallelism, or give the process more memory",
    errno.EAGAIN: "raise the limits of threads and memory (ulimit -u, ulimit -v), or lower --extract-parallelism",
}
_REINSTALL = "install ingestr again, or give the process more memory"

T = TypeVar("T")

log = logging.getLogger("ingestr")
_endings: list[Callable[[str, int], None]] = []
_interrupted = Event()


def guarded(action: Callable[[], T], *, debug: bool) -> T:
    """Turn every way to fail into one clear line, a hint and an exit code."""
    try:
        return action()
    except IngestrError as error:
        log.debug("where the error came from:", exc_info=True)
        fail(str(error), error.hint, error.exit_code)
    except (KeyboardInterrupt, Exception) as error:
        # Python makes an interrupt another error where it comes as a condition's lock changes hands.
        if isinstance(error, KeyboardInterrupt) or _interrupted.is_set():
            fail("interrupted; the destination is as it was", None, EXIT_INTERRUPTED)
        if debug:
            with suppress(OSError, ValueError):
                tell("".join(traceback.format_exception(error)).rstrip())
        fail(*explain(error, debug=debug))


def explain(error: Exception, *, debug: bool) -> tuple[str, str | None, int]:
    """Message, hint and exit code of an error that is not ours: the machine's, the installation's, or a bug."""
    if isinstance(error, MemoryError):
        return "the system refused: no memory is left", _REMEDIES[errno.ENOMEM], EXIT_SYSTEM
    if isinstance(error, OSError):
        return f"the system refused: {error}", _REMEDIES.get(error.errno or 0), EXIT_SYSTEM
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return f"the system refused: {error}", _REMEDIES[errno.EAGAIN], EXIT_SYSTEM
    if isinstance(error, ImportError):
        return f"a part of the installation cannot be loaded: {error}", _REINSTALL, EXIT_INSTALLATION
    hint = "please report it" + ("" if debug else "; --debug shows where it happened")
    return f"a bug in ingestr: {type(error).__name__}: {error}", hint, EXIT_BUG


def at_failure(ending: Callable[[str, int], None]) -> None:
    """Let somebody be told of the error and the exit code before a failed process ends."""
    _endings.append(ending)


def fail(message: str, hint: str | None, code: int) -> NoReturn:
    """Say what is wrong, and end."""
    message = one_line(message)
    tell(f"error: {message}" + (f"\nhint: {one_line(hint)}" if hint else ""))
    for ending in _endings:
        ending(message, code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    # Everything is rolled back and closed by now; a plain exit would wait for downloads that hang in the network.
    os._exit(code)


def tell(text: str) -> None:
    """Write lines to stderr, if anybody reads there; no secret, and nothing that would steer the terminal."""
    with suppress(OSError, ValueError):
        sys.stderr.write(shown_lines(text) + "\n")
        sys.stderr.flush()


def print_out(text: str) -> None:
    """Write a line to stdout, as ``tell`` does; raises OSError where that cannot be done."""
    sys.stdout.write(shown_lines(text) + "\n")
    sys.stdout.flush()


def interruptible() -> None:
    """From now on the first Ctrl-C, SIGTERM or SIGHUP is a KeyboardInterrupt, so that what is open is closed."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What is ignored stays so: nohup does that, and a shell for what it runs in the background.
    numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        # Whatever passes signals on may send several: the second would break into the closing.
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        _interrupted.set()
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)


def open_streams() -> None:
    """Give closed standard streams a place to go, and every character a spelling.

    The next file opened would get the number of a closed stream, and its text. A name that the stream's encoding lacks
    is written with escapes: a load that is done must not end as a failure because its result cannot be spelled.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the process's life
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
        details = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        return f"{text}\n{details}" if details else text


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
