"""What a run says of itself while it trains: `metrics.jsonl`, one line a step, and the progress line."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datatools.io.atomic import atomic_path

NAME = "metrics.jsonl"


class Metrics:
    """The file of metrics, opened to go on behind `step`: lines of later steps are those of a run that was killed.

    One of several processes writes; the others count along.
    """

    def __init__(self, out: Path, step: int, *, writes: bool = True) -> None:
        self.path = out / NAME
        kept = [one for one in read(out) if one["step"] <= step]
        self.tokens = int(kept[-1]["tokens"]) if kept else 0
        self._file = None
        if writes:
            with atomic_path(self.path) as temporary:
                text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in kept)
                temporary.write_text(text, encoding="utf-8")
            self._file = self.path.open("a", encoding="utf-8")

    def write(self, values: Mapping[str, Any]) -> None:
        """Add a line, and let readers see it."""
        assert self._file is not None
        self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def read(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; a last one cut short by a kill is left out."""
    path = out / NAME
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


class Clock:
    """Tokens and seconds of the steps since the last line; `before` are the tokens of the runs that this one goes on.

    >>> counts = Clock(None, before=100)
    >>> [counts.lap(step, reported)[0] for step, reported in ((5, 120), (6, 150))]
    [20, 30]
    """

    def __init__(self, step_tokens: Callable[[int], int] | None, before: int = 0) -> None:
        self._step_tokens = step_tokens
        self._since = time.perf_counter()
        self._reported = before

    def lap(self, step: int, reported: int) -> tuple[int, float]:
        """Tokens of a step (as the data says, else as the trainer `reported` in all) and seconds since the last one."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        if reported < self._reported:  # a trainer that counts from 0 again
            self._reported = 0
        tokens = self._step_tokens(step) if self._step_tokens else reported - self._reported
        self._reported = reported
        return tokens, seconds


def tokens_of_steps(lengths: Sequence[int], per_pass: int, passes: int) -> Callable[[int], int]:
    """Tokens that a step trains on, told from the rows' lengths: their order is known.

    A step takes `passes` passes of `per_pass` rows; the last of an epoch has what is left. Steps count from 1.

    >>> tokens = tokens_of_steps([10, 20, 30, 40, 50], per_pass=2, passes=1)
    >>> [tokens(step) for step in (1, 2, 3, 4)]
    [30, 70, 50, 30]
    """
    size = per_pass * passes
    steps = [sum(lengths[start : start + size]) for start in range(0, len(lengths), size)]
    return lambda step: steps[(step - 1) % len(steps)]


def rows_of_steps(places: Sequence[Sequence[str]], batch: int, first: int, last: int) -> list[str]:
    """Places of the rows that the steps from `first` to `last` trained on."""
    an_epoch = math.ceil(len(places) / batch)
    found: list[str] = []
    for step in range(first, last + 1):
        start = ((step - 1) % an_epoch) * batch
        found += [place for members in places[start : start + batch] for place in members]
    return found
