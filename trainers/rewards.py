"""Rewards for grpo and rloo: each takes what a model wrote and the columns of its prompts, and gives numbers in [0, 1].

They have the signature that TRL calls: keyword arguments with one list entry a completion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Reward = Callable[..., list[float]]
LETTERS = re.compile(r"(?<![A-Za-z])[A-J](?:[、,，/和\s]*[A-J])*(?![A-Za-z])")
STATED = re.compile(r"(?:答案|正确选项|[Aa]nswer|[Oo]ption)s?(?:应?[是为选]|\s+is)?\s*[:：]?\s*")
FORMAT = re.compile(r"^\s*(?:答案|[Aa]nswer)?\s*[:：]?\s*[A-J](?:[、,，\s]*[A-J])*\s*(?:[.．。、:：\s]|$)")


def letters_of(reply: str) -> str:
    """The letters of the options a reply settles on: those behind the last "答案", else the first that stand alone.

    >>> letters_of("A项错误。答案：B、D"), letters_of("C. 甘遂"), letters_of("I do not know"), letters_of("应选AC。")
    ('BD', 'C', '', 'AC')
    """
    stated = [found for mark in STATED.finditer(reply) if (found := LETTERS.match(reply, mark.end()))]
    # "I" alone is a word of English, and "A" begins sentences.
    alone = (one for one in LETTERS.finditer(reply) if not re.match(r"[AI] [a-z]", reply[one.start() :]))
    chosen = stated[-1] if stated else next(alone, None)
    return "".join(sorted(set(re.findall("[A-J]", chosen[0])))) if chosen else ""


def exam(completions: Sequence[Any], answer: Sequence[str | None], **columns: Any) -> list[float]:
    """1 where a reply names exactly the right options, or holds the right answer where that is no letter."""
    return [
        0.0 if right is None else float(_right(text_of(one), right))
        for one, right in zip(completions, answer, strict=True)
    ]


def layout(completions: Sequence[Any], **columns: Any) -> list[float]:
    """1 where a reply begins with the letters of its choice, as an exam wants it."""
    return [float(bool(FORMAT.match(text_of(one)))) for one in completions]


def checks(completions: Sequence[Any], prompts: Sequence[Any], **columns: Any) -> list[float]:
    """1 less a third for every check that fires: nothing said, cut off, repeating itself, leaking, numbers made up."""
    from datatools.checks.form import truncated
    from datatools.checks.leakage import leakage
    from datatools.checks.numbers import missing_numbers
    from datatools.checks.support import repetition

    sources = columns.get("source_text") or [None] * len(completions)
    found = []
    for one, prompt, source in zip(completions, prompts, sources, strict=True):
        reply, asked = text_of(one), text_of(prompt)
        fired = [
            not reply.strip(),
            truncated(reply, "stop"),
            repetition(reply) > 0.3,
            bool(leakage(asked, reply, source or "")),
            bool(source and missing_numbers(reply, f"{source}\n{asked}")),
        ]
        found.append(max(0.0, 1 - sum(fired) / 3))
    return found


REWARDS: dict[str, Reward] = {"exam": exam, "format": layout, "checks": checks}


def rewards_of(names: Sequence[str], *, has_answers: bool) -> list[Any]:
    """Functions, and folders of reward models, that TRL takes. Raises ValueError for what is neither."""
    if not names and not has_answers:
        raise ValueError(
            f"--reward: what is a good reply? {', '.join(REWARDS)}, or the folder of a reward model (stage rm); "
            "without it rows with an answer are needed"
        )
    found: list[Any] = []
    for name in names or ("exam", "format"):
        if name == "exam" and not has_answers:
            raise ValueError("--reward exam: rows with an answer are needed, in a column of that name")
        if name not in REWARDS and not (Path(name) / "config.json").is_file():
            raise ValueError(f"--reward {name}: {', '.join(REWARDS)}, or the folder of a reward model (stage rm)")
        found.append(REWARDS.get(name, name))
    return found


def text_of(completion: Any) -> str:
    """The text of a completion or prompt: as it is, or of its last message."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _right(reply: str, right: str) -> bool:
    if re.fullmatch(r"[A-J][A-J、,，\s]*", right):
        return letters_of(reply) == "".join(sorted(set(re.findall("[A-J]", right))))
    return "".join(right.split()) in "".join(reply.split())
