"""Near-equal questions: exact Jaccard of character trigrams, found through the rarest of them.

Two sets of Jaccard t or more share an element among the first `len - ceil(t * len) + 1` of each, when all sets are put
in one order (prefix filtering: Chaudhuri et al., ICDE 2006); with the rarest first, few candidates are left to compare.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

_NO_WORD = re.compile(r"[\W_]+")
SHINGLE = 3
NEAR = 0.8  # as for near duplicates of documents


def grams(text: str) -> frozenset[str]:
    """Character trigrams of the letters and digits of a text; a shorter text whole."""
    letters = _NO_WORD.sub("", text)
    return frozenset(letters[i : i + SHINGLE] for i in range(max(1, len(letters) - SHINGLE + 1)))


class NearIndex:
    """The questions kept so far. `counts` says how often each trigram occurs in all questions that may come.

    >>> index = NearIndex(0.8, Counter())
    >>> [index.add(*pair) for pair in (("a", "大黄的功效是什么？"), ("b", "大黄的功效是什么"), ("c", "甘草味甘"))]
    [None, ('a', 1.0), None]
    >>> index.find("甘草味甘。"), index.find("黄连")
    (('c', 1.0), None)
    """

    def __init__(self, threshold: float, counts: Counter[str]) -> None:
        self._threshold, self._counts = threshold, counts
        self._places: dict[str, list[int]] = {}
        self._kept: list[tuple[str, frozenset[str]]] = []

    def add(self, name: str, text: str) -> tuple[str, float] | None:
        """Keep a question and give None; or give the name of the kept one it nearly equals, and their Jaccard."""
        found = grams(text)
        prefix = self._prefix(found)
        if (twin := self._find(found, prefix)) is not None:
            return twin
        for gram in prefix:
            self._places.setdefault(gram, []).append(len(self._kept))
        self._kept.append((name, found))
        return None

    def find(self, text: str) -> tuple[str, float] | None:
        """The same without keeping anything."""
        found = grams(text)
        return self._find(found, self._prefix(found))

    def _prefix(self, found: frozenset[str]) -> list[str]:
        ordered = sorted(found, key=lambda gram: (self._counts[gram], gram))
        return ordered[: len(found) - math.ceil(self._threshold * len(found)) + 1]

    def _find(self, found: frozenset[str], prefix: list[str]) -> tuple[str, float] | None:
        seen: set[int] = set()
        for gram in prefix:
            for place in self._places.get(gram, ()):
                if place in seen:
                    continue
                seen.add(place)
                twin, others = self._kept[place]
                if not self._threshold * len(found) <= len(others) <= len(found) / self._threshold:
                    continue
                shared = len(found & others)
                if shared >= self._threshold * (len(found) + len(others) - shared):
                    return twin, shared / (len(found) + len(others) - shared)
        return None


def gram_counts(texts: Iterable[str]) -> Counter[str]:
    """In how many texts each trigram occurs."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(grams(text))
    return counts
