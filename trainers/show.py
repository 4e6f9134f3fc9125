"""Rows as the model sees them: every token, in colour where it is learned."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

LEARNED, OTHER, PLAIN = "\x1b[1;32m", "\x1b[2m", "\x1b[0m"


def shown(tokenizer: Any, ids: Sequence[int], spans: Sequence[tuple[int, int]], *, colour: bool) -> str:
    """Tokens with bars between them; learned ones green, or in 【】 where there is no colour.

    Tokens that hold parts of one character are shown together: apart they would be no text.
    """
    learned = [False] * len(ids)
    for start, end in spans:
        learned[start:end] = [True] * (end - start)
    said: list[str] = []
    begin = 0
    while begin < len(ids):
        end = begin + 1
        while end < len(ids) and learned[end] == learned[begin]:
            end += 1
        pieces = "|".join(_pieces(tokenizer, ids[begin:end]))
        if colour:
            said.append(f"{LEARNED if learned[begin] else OTHER}{pieces}{PLAIN}")
        else:
            said.append(f"【{pieces}】" if learned[begin] else pieces)
        begin = end
    return "".join(said)


def in_colour() -> bool:
    """Whether stdout is a terminal whose user did not refuse colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    pieces: list[str] = []
    begin = 0
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[begin:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if "\ufffd" not in text or end == len(ids) or end - begin >= 8:
            pieces.append(text.replace("\n", "⏎\n"))
            begin = end
    return pieces
