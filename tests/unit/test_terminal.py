"""What a terminal is shown, and what the machine's own refusals are called."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from ingestr.__main__ import wants_json
from ingestr.core.wording import clock_time
from ingestr.terminal import explain, interruptible, tell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Größe 顧客 שלום", "Größe 顧客 שלום"),
        ("two\n  lines\tand a tab", "two\n  lines and a tab"),
        ("\x1b[2Jcleared\x07", "\\x1b[2Jcleared\\x07"),
        ("over\rwritten\x08", "over written\\x08"),
        ("\x9b31m\x85", "\\x9b31m"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\u2066a\u2069\u200f\u061c", "\\u2066a\\u2069\\u200f\\u061c"),
        ("a\u2028\u2029b", "a b"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_nothing_that_is_shown_steers_the_terminal(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and those that turn the direction are written as escapes; letters of any script stay."""
    tell(text)
    assert capsys.readouterr().err == shown + "\n"


def test_times_are_read_at_a_glance() -> None:
    """Minutes and seconds, and hours where there are any."""
    assert [clock_time(s) for s in (0, 7.4, 59.6, 723, 10_859)] == ["0:00", "0:07", "1:00", "12:03", "3:00:59"]


@pytest.mark.parametrize(
    ("error", "code", "message", "hint"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), 5, "[Errno 28] No space left on device: '/x'", "room"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"), 5, "Read-only file system: '/x'", "read-only"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 5, "Too many open files", "ulimit -n"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"), 5, "Permission denied: '/x'", "permissions"),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), 5, "No such file or directory", ""),
        (OSError("of no number"), 5, "the system refused: of no number", ""),
        (MemoryError(), 5, "no memory is left", "--page-size"),
        (RuntimeError("can't start new thread"), 5, "can't start new thread", "ulimit -u"),
        (ImportError("libx.so: cannot open shared object file"), 2, "libx.so", "install"),
        (RuntimeError("of ours"), 70, "a bug in ingestr: RuntimeError: of ours", "report"),
        (ValueError("of ours"), 70, "a bug in ingestr: ValueError: of ours", "report"),
    ],
)
def test_what_the_machine_refuses_is_no_bug(error: Exception, code: int, message: str, hint: str) -> None:
    """A full disk, a limit or a broken installation is called by its name, with what can be done; the rest is a bug."""
    said, advice, exit_code = explain(error, debug=False)
    assert exit_code == code
    assert message in said
    assert hint in (advice or "")
    assert ("bug" in said) == (code == 70)


@pytest.mark.parametrize(
    ("words", "variable", "wanted"),
    [
        ("ingest --progress json", "", True),
        ("ingest --progress=json --nonsense", "", True),
        ("plan --progress json", "", True),
        ("sync --progress=json", "", True),
        ("ingest", "json", True),
        ("ingest --progress log", "json", False),
        ("ingest --progress json --progress log", "", False),
        ("ingest --progress", "json", False),
        ("ingest --source-table json", "", False),
        ("simulate --progress json", "json", False),
        ("", "json", False),
    ],
)
def test_who_waits_for_json_is_known_from_the_start(words: str, variable: str, wanted: bool) -> None:
    """Before anything can fail it is known whether a last event has to come."""
    assert wants_json(words.split(), {"INGESTR_PROGRESS": variable}) is wanted


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """nohup ignores SIGHUP for what it starts; the other signals end a run."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interruptible()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert callable(signal.getsignal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_interrupt_that_became_another_error_is_one() -> None:
    """Python makes an interrupt a RuntimeError where a lock is released twice for it: the exit code is still 130."""
    script = (
        "import os, signal\n"
        "from ingestr.terminal import guarded, interruptible\n"
        "def action():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n"
        "        raise RuntimeError('release unlocked lock') from None\n"
        "interruptible()\n"
        "guarded(action, debug=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted; the destination is as it was\n")
