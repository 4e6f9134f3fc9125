"""Exact duplicates: equal texts once white space is left out."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import xxhash

_NO_WORD = re.compile(r"[\W_]+")


def text_key(text: str) -> bytes:
    """xxh3-128 of a text without white space: equal for texts that differ only in layout."""
    return xxhash.xxh3_128_digest("".join(text.split()).encode("utf-8", "surrogatepass"))


def question_key(question: str) -> bytes:
    """xxh3-128 of the letters and digits of a question: punctuation and case make no other question of it.

    >>> question_key("什么是高血压？") == question_key("什么是 高血压?")
    True
    """
    words = _NO_WORD.sub("", question).casefold() or question
    return xxhash.xxh3_128_digest(words.encode("utf-8", "surrogatepass"))


def first_occurrences(keys: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """For every 16-byte key the index of the first equal one; a key that is new points at itself.

    Sorts indices, never the rows: 16 bytes a key and 24 more while it runs.
    """
    if not len(keys):
        return np.zeros(0, np.int64)
    words = keys.view(np.uint64).reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))  # stable: equal keys stay in input order
    ordered = words[order]
    begins = np.ones(len(keys), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    firsts = order[begins]
    result = np.empty(len(keys), np.int64)
    result[order] = firsts[np.cumsum(begins) - 1]
    return result
