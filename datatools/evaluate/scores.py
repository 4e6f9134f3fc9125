"""Scores out of the rows of an evaluation: the same figures for the summary, the report and whoever reads the file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from datatools.evaluate.answers import ALONE, LOGPROBS, SCHEMA, STATED, WORDS
from datatools.evaluate.intervals import Interval, share_interval

READ = frozenset((SCHEMA, STATED, ALONE, WORDS, LOGPROBS))  # methods that told a choice
EXAM_COLUMNS = ("id", "exam", "subject", "type", "correct", "method", "leaked", "shuffle")

Row = Mapping[str, Any]


def exam_scores(rows: Iterable[Row], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Accuracy by exam: `accuracy, low, high, n, unparsed`, and the same by `types`, `subjects` and leakage.

    An item counts once, by the mean over the orders its options were shown in; an answer that could not be read is
    wrong. `consistent` is the share of items that are right in every order, where there are several.
    """
    return {exam: _exam(some, seed) for exam, some in grouped(rows, "exam").items()}


def _exam(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    found = accuracy(rows, seed)
    found["methods"] = {name: len(some) for name, some in sorted(grouped(rows, "method").items())}
    for name, column in (("types", "type"), ("subjects", "subject")):
        groups = grouped(rows, column)
        if len(groups) > 1:
            found[name] = {label: accuracy(some, seed) for label, some in groups.items()}
    orders = grouped(rows, "id")
    if any(row["shuffle"] for row in rows):
        shown_often = [some for some in orders.values() if len(some) > 1]
        right = [all(row["correct"] for row in some) for some in shown_often]
        found["consistent"] = _stated(share_interval(right, seed), len(right), name="share")
    if any(row["leaked"] is not None for row in rows):
        found["leaked"] = accuracy([row for row in rows if row["leaked"]], seed)
        found["without_leaked"] = accuracy([row for row in rows if not row["leaked"]], seed)
        found["too_short_to_tell"] = len({row["id"] for row in rows if row["leaked"] is None})
    return found


def accuracy(rows: Sequence[Row], seed: int = 0) -> dict[str, Any]:
    """Accuracy with its interval over items; nulls of no rows."""
    items = grouped(rows, "id").values()
    means = [sum(row["correct"] for row in some) / len(some) for some in items]
    unread = sum(row["method"] not in READ for row in rows)
    return {**_stated(share_interval(means, seed), len(means)), "unparsed": unread}


def grouped(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Rows by what a column holds, in the order in which the values come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[column]), []).append(row)
    return found


def _stated(found: Interval, n: int, name: str = "accuracy") -> dict[str, Any]:
    value, low, high = (None if math.isnan(one) else round(one, 6) for one in found)
    return {name: value, "low": low, "high": high, "n": n}


def stated(found: Interval, name: str) -> dict[str, Any]:
    """An interval as `--json` has it; nulls where there was nothing."""
    value, low, high = (None if math.isnan(one) else round(one, 6) for one in found)
    return {name: value, "low": low, "high": high}


def exam_lines(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The scores on the screen."""
    lines = []
    for exam, score in scores.items():
        lines.append(f"  {exam}: {shown(score)}, n {score['n']:,}, unparsed {score['unparsed']:,}")
        for title in ("types", "subjects"):
            groups = score.get(title, {})
            worst_first: Callable[[Any], float] = lambda item: item[1]["accuracy"]  # noqa: E731
            for label, group in sorted(groups.items(), key=worst_first)[:12]:
                lines.append(f"    {label or '(none)'}: {shown(group)}, n {group['n']:,}")
            if len(groups) > 12:
                lines.append(f"    and {len(groups) - 12} more {title}: datatools report shows all")
        if "consistent" in score:
            lines.append(f"    right in every order of the options: {shown(score['consistent'], 'share')}")
        if "leaked" in score:
            lines.append(
                f"    in the training data: {score['leaked']['n']:,} items, {shown(score['leaked'])}; without them "
                f"{shown(score['without_leaked'])}"
            )
    return lines


def shown(score: Mapping[str, Any], name: str = "accuracy") -> str:
    """A share with its interval, in percent.

    >>> shown({"accuracy": 0.7, "low": 0.65, "high": 0.75})
    '70.0 % [65.0, 75.0]'
    """
    return "–" if score[name] is None else str(Interval(score[name], score["low"], score["high"]))
