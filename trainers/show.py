"""Rows as the model sees them: every token, in colour where it is learned."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainers.render import shared

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


def sequences(
    tokenizer: Any, row: Mapping[str, Any], *, rendered: bool
) -> Iterator[tuple[str, list[int], list[tuple[int, int]]]]:
    """What a prepared row becomes, one sequence or one a reply: which it is, token ids, and the spans that are learned.

    Nothing is marked where no token is learned as such: of a reward model's pairs, and of prompts.
    """
    if "input_ids" in row:
        yield "", list(row["input_ids"]), list(zip(row["starts"], row["ends"], strict=True))
        return
    replies = [(name, row[name]) for name in ("chosen", "rejected", "completion") if name in row]
    for name, reply in replies or [("", [])]:
        label = "" if "label" not in row else " (good)" if row["label"] else " (bad)"
        what = f"{name}{label}, " if name else ""
        if rendered:
            prompt = row["prompt"][0]["content"]
            before, ids = tokenizer([prompt, prompt + reply[0]["content"]], add_special_tokens=False)["input_ids"]
            yield what, ids, [(shared(before, ids), len(ids))]
        else:
            turns = [*row["prompt"], *reply]
            found = tokenizer.apply_chat_template(turns, add_generation_prompt=not reply, return_dict=True)
            yield what, list(found["input_ids"]), []


def visible(text: str) -> str:
    """Text with what a terminal would hide or obey written out; the joiners of emoji stay.

    >>> visible("一\\u200b二\\x1b[2J")
    '一\\\\u200b二\\\\x1b[2J'
    """
    return "".join(
        "⏎\n"
        if sign == "\n"
        else ascii(sign)[1:-1]
        if unicodedata.category(sign) in ("Cc", "Cf") and sign not in "\t\u200d"
        else sign
        for sign in text
    )


def in_colour() -> bool:
    """Whether stdout is a terminal whose user did not refuse colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    pieces: list[str] = []
    begin = 0
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[begin:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if "\ufffd" not in text or end == len(ids) or end - begin >= 8:
            pieces.append(visible(text))
            begin = end
    return pieces
