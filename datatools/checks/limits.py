"""Thresholds of the checks, all in one place, each with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When a value becomes a flag. Lengths are characters, shares are in [0, 1].

    Chinese holds about three times as much in a character as English, hence the two bands.
    """

    # HuatuoGPT-II accepts questions of at most 180 characters (Chinese); 何为痈？ is 4.
    question_zh: tuple[int, int] = (4, 180)
    question_en: tuple[int, int] = (10, 540)
    # 3~5g。 answers a question of dose. A verbatim answer is a whole passage: 800 characters zh, 500 words en by
    # default; four times that is a model that rambles or copies on.
    answer_zh: tuple[int, int] = (4, 3200)
    answer_en: tuple[int, int] = (10, 12000)
    # Loops repeat nearly all of themselves; of 6,000 book passages of 800 characters 99 % stay below 0.20, lists and
    # tables of drugs reach 0.6.
    repetition: float = 0.5
    # Of 60 faithful paraphrases the least supported reached 0.17, answers on another subject 0.00.
    support: float = 0.08
    support_min_length: int = 20


DEFAULT = Limits()
