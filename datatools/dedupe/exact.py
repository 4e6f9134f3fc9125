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
    result = np.arange(len(keys), dtype=np.int64)
    words = keys.view(np.uint64).reshape(-1, 2)
    # Nearly all keys are new, and one word is enough to know it.
    order = np.argsort(words[:, 0])
    equal = np.flatnonzero(np.diff(words[order, 0]) == 0)
    again = np.zeros(len(keys), bool)
    again[order[equal]] = again[order[equal + 1]] = True
    places = np.flatnonzero(again)
    places = places[np.lexsort((words[places, 1], words[places, 0]))]  # stable: equal keys stay in input order
    ordered = words[places]
    begins = np.ones(len(places), bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    result[places] = places[begins][np.cumsum(begins) - 1]
    return result
