"""Progress on stderr: a bar with rate and ETA on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LINE_EVERY = 5.0  # seconds between lines where stderr is no terminal
BAR_EVERY = 0.2  # seconds between changes of what a terminal's bar says


# What would break a line in two, turn its direction around, or steer the terminal: names of files may hold it.
CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def on_one_line(words: str) -> str:
    """The words with control characters, line breaks and changes of direction written out.

    >>> print(on_one_line("a\\nb.txt: empty"))
    a\\nb.txt: empty
    """
    return CONTROLS.sub(lambda sign: sign[0].encode("unicode_escape").decode(), words)


@dataclass
class Progress:
    """Where a job's plan line, progress and warnings go. Each warning is shown once and counted."""

    quiet: bool = False
    _warned: dict[str, int] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """One line on stderr."""
        if not self.quiet:
            print(on_one_line(line), file=sys.stderr, flush=True)

    def say_of(self, command: str, line: str) -> None:
        """A line that says which command it is about."""
        self.say(f"{command}: {line}")

    def warn(self, warning: str) -> None:
        """A line that is shown at its first occurrence only."""
        self._warned[warning] = self._warned.get(warning, 0) + 1
        if self._warned[warning] == 1:
            self.say(warning)

    @contextmanager
    def bar(self, label: str, total: int | None, done: int = 0) -> Iterator[Bar]:
        """A bar over `total` items (unknown when None), `done` of them by an earlier run."""
        if self.quiet:
            yield Bar()
        elif sys.stderr.isatty():
            with _terminal_bar(label, total, done) as bar:
                yield bar
        else:
            yield _LineBar(label, total, done)


class Bar:
    """A bar that shows nothing."""

    def advance(self, count: int = 1, detail: object = "") -> None:
        """`count` more items are done; `detail` is shown behind the rate, and made a text only then."""


class _LineBar(Bar):
    def __init__(self, label: str, total: int | None, done: int) -> None:
        self._label, self._total, self._done, self._before = label, total, done, done
        self._began = self._shown = time.monotonic()

    def advance(self, count: int = 1, detail: object = "") -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown < LINE_EVERY:
            return
        self._shown = now
        rate = (self._done - self._before) / (now - self._began)
        of = f"/{self._total}" if self._total is not None else ""
        left = f", {(self._total - self._done) / rate:.0f} s left" if self._total and rate else ""
        print(f"{self._label}: {self._done}{of}, {rate:.1f}/s{left} {detail}".rstrip(), file=sys.stderr, flush=True)


class _RichBar(Bar):
    def __init__(self, progress: Any, task: Any) -> None:
        self._progress, self._task = progress, task
        self._done, self._began, self._shown = 0, time.monotonic(), 0.0

    def advance(self, count: int = 1, detail: object = "") -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown < BAR_EVERY:
            self._progress.update(self._task, advance=count)
            return
        self._shown = now
        rate = self._done / max(now - self._began, BAR_EVERY)
        self._progress.update(self._task, advance=count, detail=f"{rate:,.1f}/s {detail}".rstrip())


@contextmanager
def _terminal_bar(label: str, total: int | None, done: int) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _RichBar(progress, progress.add_task(label, total=total, completed=done, detail=""))
