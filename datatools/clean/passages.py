"""Cut a cleaned text into passages: at paragraph ends, never inside a sentence, losing no character."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

TARGET_CHARACTERS = 800  # Chinese, Japanese, Korean
TARGET_WORDS = 500  # everything else

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+")
# A full stop inside 3.5 or e.g. ends nothing, so Latin stops need white space and a capital, digit or quote behind.
_SENTENCE_END = re.compile(
    r"[。！？；…]+[”』」’）)】\]]*\s*"
    r"|(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bSt)(?<!\bvs)(?<!\bcf)(?<!\bal)(?<!\bNo)(?<!\bFig)(?<!\bMrs)(?<!\be\.g)(?<!\bi\.e)"
    r"(?<!\b[A-Z])[.!?]+[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9\u3400-\u9fff])"
    r"|\n+"
)
_LIST_OR_TABLE = re.compile(
    r"\s*(?:[-*•·●○◆■▪]\s|\d{1,3}(?:[)、]|[.．](?!\d))\s*\S|[（(][\d一二三四五六七八九十]{1,3}[)）]|[|]|.*\S \| \S)"
)


def passages(text: str, characters: int = TARGET_CHARACTERS, words: int = TARGET_WORDS) -> list[str]:
    """Consecutive passages whose concatenation is `text`, none longer than the target where its sentences allow it.

    The target is `characters` for text written without spaces and `words` for the rest. Passages of one text come out
    about equally long, so that no stump is left at its end; lists and tables stay in one piece, with the line that
    introduces them, where they fit.

    >>> passages("头痛三日。\\n发热，咳嗽。\\n乏力。", characters=12)
    ['头痛三日。\\n', '发热，咳嗽。\\n乏力。']
    """
    if len(text) <= min(characters, words):
        return [text] if text else []
    size, target = _measure(text, characters, words)
    if size(text) <= target:
        return [text] if text else []
    return _pack(list(_pieces(text, size, target)), size, target)


def _measure(text: str, characters: int, words: int) -> tuple[Callable[[str], int], int]:
    """How long a piece is, and the target in the same unit."""
    head = text[:400]
    if not head.isascii() and 5 * sum(map(len, _UNSPACED.findall(head))) >= len(head):
        return len, characters
    return lambda piece: len(piece.split()), words


def _pieces(text: str, size: Callable[[str], int], target: int) -> Iterator[str]:
    """Paragraphs, whole lists and tables where they fit, else sentences; their concatenation is `text`."""
    for block in _blocks(text.splitlines(keepends=True)):
        if size(block) <= target:
            yield block
            continue
        for line in block.splitlines(keepends=True):
            if size(line) <= target:
                yield line
            else:
                yield from sentences(line)


def _blocks(lines: list[str]) -> Iterator[str]:
    """Paragraphs, and runs of list or table lines together with a line that ends in a colon before them."""
    block: list[str] = []
    before = ""  # the last line that is not blank: Markdown leaves a blank line between an introduction and its list
    for line in lines:
        listed = bool(_LIST_OR_TABLE.match(line))
        introduced = before.rstrip().endswith(("：", ":"))
        in_list = bool(_LIST_OR_TABLE.match(before))
        if block and line.strip() and not (listed and (in_list or introduced)):
            yield "".join(block)
            block = []
        block.append(line)
        before = line if line.strip() else before
    if block:
        yield "".join(block)


def sentences(text: str) -> list[str]:
    """Sentences with the white space behind them; their concatenation is `text`.

    >>> sentences("口服。一次 0.5 g，一日3次（饭后）。")
    ['口服。', '一次 0.5 g，一日3次（饭后）。']
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    starts = [0, *(end for end in ends if end < len(text))]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True) if end > start]


def _pack(pieces: list[str], size: Callable[[str], int], target: int) -> list[str]:
    """Runs of pieces of about equal length; what is left is shared out anew after each, so that no stump remains."""
    sizes = [size(piece) for piece in pieces]
    left = sum(sizes)
    packed: list[str] = []
    current: list[str] = []
    length = 0
    for piece, more in zip(pieces, sizes, strict=True):
        goal = (length + left) / max(1, math.ceil((length + left) / target))
        # Past the goal, or so near it that the piece would overshoot by more than stopping here falls short; a blank
        # line of English counts nothing and stays where it is.
        if current and more and (length + more > target or length + more / 2 > goal):
            packed.append("".join(current))
            current, length = [], 0
        current.append(piece)
        length += more
        left -= more
    packed.append("".join(current))
    return packed
