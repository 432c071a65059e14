"""Progress: the same facts as a bar, as lines of a log and as events, at no cost and with no fault of its own."""

import io
import json
import logging
import os
import re
import sys
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from ingestr.option_table import ProgressMode
from ingestr.progress import BarProgress, JsonProgress, LogProgress, Progress, open_progress
from ingestr.sources.base import ReadProgress
from support import FastClock

WAITING = "Bulk job 750xx0000000001 is InProgress"


def bulk_read(progress: Progress, clock: FastClock) -> None:
    """A job of 5,000 rows that takes half a minute, and whose rows take twenty seconds."""
    progress.phase("reading Lead")
    for rows in (None, 1_000, 2_000, 2_500, 4_000, 5_000):
        progress.reading(ReadProgress(WAITING, rows, None if rows is None else 5_000))
        clock.sleep(6)
    for _ in range(40):
        clock.sleep(0.5)
        progress.rows(125, 10_000)
    progress.phase("writing public.lead")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log was told."""
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log with news."""
    caplog.set_level(logging.INFO, "ingestr")
    return caplog


def test_the_log_says_the_state_of_a_job_and_how_far_the_rows_are(caplog: pytest.LogCaptureFixture) -> None:
    """A line when something new begins or the state changes, else one every ten seconds, never one a batch."""
    clock = FastClock()
    bulk_read(LogProgress(clock), clock)
    assert lines(caplog) == [
        "reading Lead",
        WAITING,
        f"{WAITING}: 2,000 rows ready of 5,000",
        f"{WAITING}: 4,000 rows ready of 5,000",
        "reading Lead: 125 of 5,000 rows",
        "reading Lead: 2,625 of 5,000 rows, 250 a second, 0:10 left",
        "writing public.lead",
    ]


@pytest.mark.parametrize(
    ("total", "words"),
    [(None, "4,100 rows, 100 a second"), (3_999, "4,100 rows, 100 a second"), (0, "4,100 rows, 100 a second")],
)
def test_totals_that_are_not_known_or_wrong(caplog: pytest.LogCaptureFixture, total: int | None, words: str) -> None:
    """Where nobody knows how many rows there are, or more come than was said, no time is foretold."""
    clock = FastClock()
    progress = LogProgress(clock)
    progress.phase("reading Lead")
    progress.reading(ReadProgress("reading Lead", None, total))
    for _ in range(41):
        progress.rows(100, 1)
        clock.sleep(1)
    assert lines(caplog)[-1] == f"reading Lead: {words}"


def test_a_total_that_grows_is_the_total(caplog: pytest.LogCaptureFixture) -> None:
    """What the source says last counts, and what it does not say again is kept."""
    clock = FastClock()
    progress = LogProgress(clock)
    progress.reading(ReadProgress("a", 5, 10))
    progress.reading(ReadProgress("b", 7))
    progress.reading(ReadProgress("c", 1, 20))
    assert lines(caplog) == ["a: 5 rows ready of 10", "b: 7 rows ready of 10", "c: 1 row ready of 20"]


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The JSON lines."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    """Phases, progress and, under the name that other versions use, the lines of the log; numbers as numbers."""
    clock = FastClock()
    with open_progress(ProgressMode.JSON, clock) as progress:
        bulk_read(progress, clock)
        progress.note("something")
        logging.getLogger("ingestr").warning("of the %s", "log")
    said = events(capsys)
    assert [e["text"] for e in said if e["event"] == "phase"] == ["reading Lead", "writing public.lead"]
    assert [(e["phase"], e["rows"], e["ready"], e["total"]) for e in said if e["event"] == "progress"] == [
        (WAITING, 0, None, None),
        (WAITING, 0, 2_000, 5_000),
        (WAITING, 0, 4_000, 5_000),
        ("reading Lead", 125, 5_000, 5_000),
        ("reading Lead", 2_625, 5_000, 5_000),
        ("reading Lead", 5_000, 5_000, 5_000),
    ]
    flowing = [e for e in said if e["event"] == "progress"][4]
    assert (flowing["batches"], flowing["rows_per_second"], flowing["seconds_left"]) == (21, 250, 10)
    logged = [(e["level"], e["message"]) for e in said if e["event"] == "log"]
    assert logged[0] == ("info", "reading Lead")
    assert logged[-2:] == [("warning", "something"), ("warning", "of the log")]
    assert {e["text"] for e in said if e["event"] == "note"} == {"something"}
    assert said[-1] == {
        "event": "end", "status": "success", "rows": 5_000, "batches": 40, "duration_sec": 56.0, "error": None,
        "exit_code": 0,
    }  # fmt: skip


def test_json_ends_once_after_a_failure_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the lines waits for the last one."""
    clock = FastClock()

    def fail() -> None:
        with open_progress(ProgressMode.JSON, clock) as progress:
            progress.rows(7, 1)
            raise ValueError("broken \x1b[31m")

    with pytest.raises(ValueError, match="broken"):
        fail()
    [end] = events(capsys)
    assert (end["event"], end["status"], end["rows"], end["error"]) == ("end", "failed", 7, "broken \\x1b[31m")
    given = JsonProgress(clock)
    with open_progress(ProgressMode.JSON, clock, given):
        given.end("first", code=4)
        given.end(None)
    assert [(e["error"], e["exit_code"]) for e in events(capsys)] == [("first", 4)]
    assert not [h for h in logging.getLogger("ingestr").handlers if type(h).__name__ == "_Events"]


def drawn(width: int, clock: FastClock) -> tuple[BarProgress, Bar, io.StringIO]:
    """A bar on a terminal that is a text."""
    terminal = io.StringIO()
    console = Console(file=terminal, width=width, force_terminal=True, color_system=None)
    bar = Bar(TextColumn("{task.description}|{task.completed}|{task.total}|{task.fields[facts]}", markup=False),
              console=console, auto_refresh=False)  # fmt: skip
    return BarProgress(clock, bar), bar, terminal


def test_the_bar_has_the_same_facts() -> None:
    """Rows made ready while a job runs, then rows that flowed of how many, with rate and time left."""
    clock = FastClock()
    progress, bar, _ = drawn(200, clock)
    seen = []

    def look() -> None:
        [task] = bar.tasks
        seen.append((task.description, task.completed, task.total, task.fields["facts"]))

    progress.phase("reading [bold]Lead")
    look()
    progress.reading(ReadProgress(WAITING, 2_000, 5_000))
    look()
    for _ in range(11):
        progress.rows(250, 1)
        clock.sleep(0.5)
    look()
    progress.reading(ReadProgress("more than was said", 5_000, 100))
    look()
    progress.phase("writing \x1b]0;x\x07public.lead")
    look()
    assert seen == [
        ("reading [bold]Lead", 0, None, ""),
        (WAITING, 2_000, 5_000, "2,000 rows ready of 5,000"),
        ("reading [bold]Lead", 2_750, 5_000, "2,750 of 5,000 rows, 500 a second, 0:04 left"),
        ("reading [bold]Lead", 2_750, None, "2,750 rows, 455 a second"),
        ("writing \\x1b]0;x\\x07public.lead", 0, None, ""),
    ]


def test_a_bar_is_not_drawn_for_every_batch() -> None:
    """Batches that come faster than anybody can look cost an addition each."""
    clock = FastClock()
    progress, bar, _ = drawn(80, clock)
    progress.phase("reading Lead")
    for _ in range(1_000):
        progress.rows(1, 1)
    assert bar.tasks[0].completed == 0
    clock.sleep(0.1)
    progress.rows(1, 1)
    assert bar.tasks[0].completed == 1_001


class Terminal:
    """A terminal in place of stderr, and its other end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, encoding: str = "utf-8", **environment: str) -> None:
        self._ours, theirs = os.openpty()
        self._stream = os.fdopen(theirs, "w", encoding=encoding, errors="backslashreplace")
        monkeypatch.setattr(sys, "stderr", self._stream)
        for name, value in {"TERM": "xterm", **environment}.items():
            monkeypatch.setenv(name, value)

    def hang_up(self) -> None:
        """Go away."""
        os.close(self._ours)

    def close(self) -> None:
        """Let go of our end; what is left cannot be written where nobody is."""
        with suppress(OSError):
            self._stream.close()

    def shown(self) -> str:
        """What was written there."""
        self.close()
        pieces = []
        # The end of what was written is an error on Linux.
        with suppress(OSError):
            while piece := os.read(self._ours, 65_536):
                pieces.append(piece)
        os.close(self._ours)
        return b"".join(pieces).decode()


@pytest.mark.parametrize("width", ["5", "30", "200"])
def test_the_live_line_is_one_line_on_any_terminal(monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    """However narrow the terminal is, what does not fit is left out, and notes stand above the line."""
    terminal = Terminal(monkeypatch, COLUMNS=width)
    clock = FastClock()
    with open_progress(ProgressMode.INTERACTIVE, clock) as progress:
        progress.reading(ReadProgress("a Bulk job of many rows that goes on and on", 2_000, 5_000))
        for _ in range(4):
            progress.rows(500, 1)
            clock.sleep(1)
        print("note", file=sys.stderr)
        progress.rows(1, 1)
    shown = terminal.shown()
    assert shown.count("\x1b[1A") == 1, "lines above the last are erased by going up, here the one at the end alone"
    assert "note\r\n" in shown
    if width == "200":
        assert "2,001 of 5,000 rows, 375 a second, 0:08 left" in shown


def test_the_live_line_in_plain_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the encoding lacks a character the line does without it, and NO_COLOR means no colour."""
    terminal = Terminal(monkeypatch, encoding="ascii", COLUMNS="100", NO_COLOR="1")
    with open_progress(ProgressMode.INTERACTIVE, FastClock()) as progress:
        progress.phase("writing public.kontö")
        progress.reading(ReadProgress("writing public.kontö", 1, 2))
    shown = terminal.shown()
    assert "writing public.kont\\xf6 ---" in shown
    assert not re.search(r"\x1b\[[\d;]*m", shown)


def test_a_terminal_that_cannot_go_back_gets_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TERM=dumb, a stderr that is closed or is no stream at all: the log in place of the line."""
    terminal = Terminal(monkeypatch, TERM="dumb")
    with open_progress(ProgressMode.INTERACTIVE, FastClock()) as progress:
        progress.phase("reading Lead")
    assert terminal.shown() == ""
    for stream in (sys.stderr, None, object()):
        monkeypatch.setattr(sys, "stderr", stream)
        with open_progress(ProgressMode.INTERACTIVE, FastClock()) as progress:
            progress.phase("again")
    assert lines(caplog) == ["reading Lead", *["again"] * 3]


def test_a_terminal_that_hangs_up_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks any more, and the run goes on."""
    terminal = Terminal(monkeypatch)
    clock = FastClock()
    with open_progress(ProgressMode.INTERACTIVE, clock) as progress:
        terminal.hang_up()
        for _ in range(3):
            progress.phase("reading Lead")
            progress.rows(1, 1)
            clock.sleep(1)
    terminal.close()
