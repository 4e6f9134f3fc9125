"""Progress: on stderr, once, and nothing when quiet."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from datatools.report import progress
from datatools.report.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().say("unify: 12 documents, built-in generator")
    assert capsys.readouterr() == ("", "unify: 12 documents, built-in generator\n")


def test_a_warning_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress()
    for _ in range(3):
        shown.warn("a.csv: no header")
    shown.warn("b.csv: no header")
    assert capsys.readouterr().err.splitlines() == ["a.csv: no header", "b.csv: no header"]


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Progress(quiet=True)
    shown.say("plan")
    shown.warn("warning")
    with shown.bar("reading", 3) as bar:
        bar.advance(3, "done")
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by two seconds whenever it is read."""
    ticks = itertools.count(0, 2)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))


@pytest.mark.usefixtures("clock")
def test_a_line_now_and_then_where_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress().bar("reading", 60) as bar:
        for _ in range(6):
            bar.advance(2, "0.1 MB/s")
    assert capsys.readouterr().err.splitlines() == [
        "reading: 6/60, 1.0/s, 54 s left 0.1 MB/s",
        "reading: 12/60, 1.0/s, 48 s left 0.1 MB/s",
    ]


@pytest.mark.usefixtures("clock")
def test_without_a_total_nothing_is_foretold(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress().bar("generating", None) as bar:
        for _ in range(3):
            bar.advance(2)
    assert capsys.readouterr().err == "generating: 6, 1.0/s\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Progress().bar("reading", 4) as bar:
        bar.advance(4, "all of it")
    assert "reading" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


def test_an_error_inside_a_bar_surfaces(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), Progress().bar("reading", 4) as bar:
        bar.advance()
        raise KeyError
    assert capsys.readouterr().out == ""
