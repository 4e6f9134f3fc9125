"""Which options a reply chooses, and by what that was told. What cannot be told stays open: nothing is guessed.

Methods, in the order they are tried: `schema` (a JSON object), `stated` (答案：C), `letters` (nothing but letters, or
an option as it was shown), `option_text` (the words of one option). `none` is a reply that chooses nothing.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from datatools.llm.reply import plain_text
from datatools.llm.structured import objects
from datatools.llm.thinking import split_thinking

SCHEMA, STATED, ALONE, WORDS, LOGPROBS, NONE = "schema", "stated", "letters", "option_text", "logprobs", "none"

_ONE = r"[A-P](?:(?:\s*[,，、;；/+]\s*|\s*和\s*|\s*与\s*|\s*及\s*|\s+and\s+|\s*&\s*|\s*)[A-P])*(?![A-Za-z])"
_OPEN = r"[\s:：]*(?:[\"'“”‘’*(（【\[「$]|\\boxed\{|\\text\{|选项|选|option\b|Option\b)*\s*"
_STATED = re.compile(
    rf"(?:(?:正确|最佳|参考|最终|最后)?(?:的)?(?:答案|选项)(?:应该|应当|应)?(?:是|为|选择|选|:|：)"
    rf"|(?:答案|【答案】|答)\s*[】\]]?(?=[\s:：(（【*]*[A-P](?![A-Za-z]))"
    rf"|(?:因此|所以|故|应|应该|综上)[，,]?(?:本题|答案)?(?:应)?(?:选择|选)"
    rf"|(?i:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:answer|choice|option)s?\s*(?:is|are|:|：|would\s+be))"
    rf"|\\boxed\{{){_OPEN}(?P<letters>{_ONE})"
)
_ALONE = re.compile(rf"[(（【\[*]*(?P<letters>{_ONE})[)）】\]*.。]*")
_SHOWN = re.compile(r"[(（]?(?P<letter>[A-P])[.、．:：)）\s]\s*(?P<words>.+)")
_KEYS = ("answer", "answers", "答案", "choice")


class Choice(NamedTuple):
    """The letters of the chosen options, sorted, and the method; no letters and NONE where nothing was chosen."""

    letters: tuple[str, ...]
    method: str


NOTHING = Choice((), NONE)


def choice_of(reply: str, options: Mapping[str, str]) -> Choice:
    """What a reply chooses among options by letter. A choice outside of them is none. Never raises on any text.

    >>> four = {"A": "原发病", "B": "出血部位", "C": "出血量", "D": "停留时间"}
    >>> choice_of("出血部位是次要的，A错。答案：C", four), choice_of("B、C", four)
    (Choice(letters=('C',), method='stated'), Choice(letters=('B', 'C'), method='letters'))
    >>> choice_of("出血量", four).method, choice_of("这要看情况。", four), choice_of("答案：F", four).letters
    ('option_text', Choice(letters=(), method='none'), ())
    """
    whole = unicodedata.normalize("NFKC", split_thinking(reply)[1]).strip()
    text = unicodedata.normalize("NFKC", plain_text(reply)).strip()
    found = _schema(whole, options) or _stated(whole) or _alone(text, options)
    if found is not None:
        return found if found.letters and set(found.letters) <= set(options) else NOTHING
    same = tuple(letter for letter, words in options.items() if _bare(words) == _bare(text))
    return Choice(same, WORDS) if len(same) == 1 else NOTHING


def _schema(text: str, options: Mapping[str, str]) -> Choice | None:
    """The answer of the last JSON object that has one."""
    found = None
    for one in objects(text) if "{" in text else ():
        value = json.loads(one)
        cell = next((value[key] for key in _KEYS if isinstance(value, dict) and key in value), None)
        if isinstance(cell, str | list):
            joined = " ".join(cell) if isinstance(cell, list) and all(isinstance(x, str) for x in cell) else str(cell)
            letters = _ALONE.fullmatch(joined.strip().upper())
            found = Choice(_letters(letters["letters"]) if letters else (), SCHEMA)
    return found


def _stated(text: str) -> Choice | None:
    """The last statement: what comes before it weighs the options."""
    found = [match["letters"] for match in _STATED.finditer(text)]
    return Choice(_letters(found[-1]), STATED) if found else None


def _alone(text: str, options: Mapping[str, str]) -> Choice | None:
    """A reply of letters alone, or one that repeats an option with its letter."""
    if alone := _ALONE.fullmatch(text):
        return Choice(_letters(alone["letters"]), ALONE)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    shown = [_SHOWN.fullmatch(line) for line in lines]
    letters = tuple(
        sorted({one["letter"] for one in shown if one and _bare(options.get(one["letter"], "")) == _bare(one["words"])})
    )
    # All options repeated one below the other chooses none of them.
    return Choice(letters, ALONE) if letters and len(letters) == len(lines) < len(options) else None


def _letters(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(re.findall("[A-P]", text))))


def _bare(text: str) -> str:
    return re.sub(r"[\s。.，,、*]+", "", unicodedata.normalize("NFKC", text)).casefold()
