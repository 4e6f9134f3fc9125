"""Rewards for grpo and rloo: each takes what a model wrote and the columns of its prompts, and gives numbers in [0, 1].

They have the signature that TRL calls: keyword arguments with one list entry a completion.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datatools.llm.thinking import split_thinking

Reward = Callable[..., list[float]]
_LETTERS = r"[A-J](?:\s*(?:[、,，/]|和|与|及|and|&)?\s*[A-J])*(?![A-Za-z])"
_MARKS = r"[\s:：*\"'“‘(（【\[{]*"
LETTERS = re.compile(_LETTERS)
# Whatever reasons ends by saying what it chose: the last of these is the choice.
STATED = re.compile(
    r"(?:(?:答案|正确选项)[】\]]?\s*(?:应?(?:是|为|选))?|(?<!不)选择?(?!项)"
    r"|(?:[Aa]nswer|[Oo]ption|[Cc]hoice)s?(?:\s+(?:is|are))?|\\boxed)" + _MARKS + rf"(?P<letters>{_LETTERS})"
)
ALONE = re.compile(rf"{_MARKS}(?P<letters>{_LETTERS})[\s)）】\]*.。]*")
SHOWN = re.compile(rf"(?<![A-Za-z])(?P<letters>{_LETTERS})[)）】\]*]*\s*[.．、:：)）。\s]")
FORMAT = re.compile(rf"{_MARKS}(?:答案|[Aa]nswer)?[】\]]?{_MARKS}{_LETTERS}(?:[\s.．。、:：,，*)）】\]]|$)")


def letters_of(reply: str) -> str:
    """The letters of the options a reply settles on: those it states last, else those it consists of or begins with.

    What was thought before the reply counts for nothing, and neither does a list of all options.

    >>> letters_of("A项错误。答案：B、D"), letters_of("C. 甘遂"), letters_of("I do not know"), letters_of("应选AC。")
    ('BD', 'C', '', 'AC')
    >>> letters_of("<think>A？</think>Ｂ"), letters_of("A. 甘草\\nB. 甘遂\\n都有可能"), letters_of("维生素B缺乏")
    ('B', '', '')
    """
    text = unicodedata.normalize("NFKC", split_thinking(reply)[1]).strip()
    stated = [found["letters"] for found in STATED.finditer(text)]
    shown = [(found.start(), found["letters"]) for found in SHOWN.finditer(text)]
    if stated:
        chosen = stated[-1]
    elif whole := ALONE.fullmatch(text):
        chosen = whole["letters"]
    elif len(shown) == 1 and text[: shown[0][0]].strip("*([【 ") == "" and not re.match(r"[AI] [a-z]", text):
        chosen = shown[0][1]
    else:
        chosen = ""
    return "".join(sorted(set(re.findall("[A-J]", chosen))))


def exam(completions: Sequence[Any], answer: Sequence[str | None], **columns: Any) -> list[float]:
    """1 where a reply names exactly the right options, or holds the right answer where that is no letter."""
    return [
        0.0 if right is None else float(_right(text_of(one), right))
        for one, right in zip(completions, answer, strict=True)
    ]


def layout(completions: Sequence[Any], **columns: Any) -> list[float]:
    """1 where a reply begins with the letters of its choice, as an exam wants it."""
    return [float(bool(FORMAT.match(split_thinking(text_of(one))[1]))) for one in completions]


def checks(completions: Sequence[Any], prompts: Sequence[Any], **columns: Any) -> list[float]:
    """1 less a third for every check that fires: nothing said, cut off, repeating itself, leaking, numbers made up.

    What was thought before the reply is not checked.
    """
    from datatools.checks.form import truncated
    from datatools.checks.leakage import leakage
    from datatools.checks.numbers import missing_numbers
    from datatools.checks.support import repetition

    sources = columns.get("source_text") or [None] * len(completions)
    found = []
    for one, prompt, source in zip(completions, prompts, sources, strict=True):
        reply, asked = split_thinking(text_of(one))[1], text_of(prompt)
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
        if name not in REWARDS:
            _check_model(name)
        found.append(REWARDS.get(name, name))
    return found


def _check_model(name: str) -> None:
    """Raise ValueError unless it is the folder of a model that scores: TRL would give any other random scores."""
    folder = Path(name)
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"--reward {name}: holds an adapter; `datatools train merge` makes a model of it")
    if not (folder / "config.json").is_file():
        raise ValueError(f"--reward {name}: {', '.join(REWARDS)}, or the folder of a reward model (stage rm)")
    kinds = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    if not any("SequenceClassification" in kind or "RewardModel" in kind for kind in kinds):
        raise ValueError(f"--reward {name}: is no model that scores, but {', '.join(kinds) or 'of no kind'} (stage rm)")


def text_of(completion: Any) -> str:
    """The text of a completion or prompt: as it is, or of its last message."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _right(reply: str, right: str) -> bool:
    right = unicodedata.normalize("NFKC", right)
    if re.fullmatch(r"[A-J][A-J、,\s]*", right):
        return letters_of(reply) == "".join(sorted(set(re.findall("[A-J]", right))))
    said = unicodedata.normalize("NFKC", split_thinking(reply)[1])
    return "".join(right.split()) in "".join(said.split())
