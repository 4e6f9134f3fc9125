"""Form of one turn of a dialogue, whoever speaks."""

from __future__ import annotations

import re

from datatools.checks.form import agrees, truncated
from datatools.checks.leakage import leakage
from datatools.checks.limits import DEFAULT, Limits
from datatools.checks.support import repetition

# A patient who cannot say since when it hurts is no model that refuses.
_UNSURE = re.compile(
    r"我(?:无法|不能)(?:确定|判断|提供|回答|给出)|I (?:cannot|can't) (?:answer|provide)", re.IGNORECASE
)


def turn_flags(text: str, is_patient: bool, language: str, limits: Limits = DEFAULT) -> tuple[str, ...]:
    """Flags of one turn by itself. Never raises on any text.

    >>> turn_flags("作为一个AI，我不会头痛。", True, "zh"), turn_flags("我不能确定是哪天开始的", True, "zh")
    (('leakage',), ())
    """
    leaks = leakage("", text)
    if is_patient:
        leaks = tuple(phrase for phrase in leaks if not _UNSURE.fullmatch(phrase))
    fired = (
        ("empty", not text.strip()),
        ("truncated", truncated(text, "stop")),
        ("wrong_language", not agrees(text, language)),
        ("leakage", bool(leaks)),
        ("repetition", repetition(text) > limits.repetition),
    )
    return tuple(name for name, hit in fired if hit)
