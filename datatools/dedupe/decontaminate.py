"""Decontamination: which documents hold items of an exam that a model will be tested on, and where.

An item leaks where enough of its n-grams stand together: in a stretch of at most twice its length. It counts by its
stem alone and by stem and options, options in any order. A stem shorter than an n-gram counts only with its options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe.examindex import (
    FULL,
    GRAM,
    I64,
    ORDER,
    STEM,
    U64,
    Index,
    Units,
    build,
    fold,
    hashes_of,
    kind_of,
    units_of,
)
from datatools.dedupe.examitems import Item, items

__all__ = ["EXCERPT", "Index", "Item", "Leak", "Limits", "all_leaks", "build", "items", "leaks", "trace_row"]

EXCERPT = 500  # characters of a span that go into the trace
_SLICE = 1 << 16  # characters hashed at a time: the arrays stay in the cache


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on an item counts as leaked. Our own choice: real textbooks stay below, copies lie above."""

    coverage: float = 0.5  # share of the item's n-grams
    run: tuple[int, int] = (30, 20)  # units of the item in a row: characters, words


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a text holds an exam item."""

    item: str  # id
    exam: str
    coverage: float  # share of the item's n-grams found close together: of the stem or of all, whichever is more
    run: int  # units (characters of Chinese, words of English) of the item in a row
    start: int  # the span, in characters of the text as it was given
    end: int


class _Hits(NamedTuple):
    gram: I64  # place in Index.grams
    ordinal: I64  # place of its first unit among all units
    start: I64  # place of its first character in all texts on end
    end: I64


class _Stream:
    """Units of one kind, slice by slice; what is left of a slice is carried over into the next."""

    def __init__(self, kind: int, index: Index) -> None:
        self.kind = kind
        self.index = index
        self.before = Units(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.count = 0  # units before those carried over
        self.found: list[_Hits] = []

    def feed(self, folded: npt.NDArray[np.uint32], base: int) -> None:
        """The next characters of the text, folded; `base` is the place of the first one."""
        n = GRAM[self.kind]
        old, new = self.before, units_of(self.kind, folded, base)
        if len(old.values):
            ends = np.concatenate([old.ends, new.ends])
            new = Units(np.concatenate([old.values, new.values]), np.concatenate([old.starts, new.starts]), ends)
        hashes = hashes_of(new.values, n)
        places = self.index.known(hashes)
        if len(places):
            gram = np.searchsorted(self.index.arrays["grams"], hashes[places])
            hits = _Hits(gram, places + self.count, new.starts[places], new.ends[places + n - 1])
            self.found.append(hits)
        done = max(0, len(new.values) - n + 1)
        self.count += done
        self.before = Units(new.values[done:], new.starts[done:], new.ends[done:])


def leaks(
    texts: Sequence[str | None] | pa.Array | pa.ChunkedArray, index: Index, limits: Limits = Limits()
) -> list[Leak | None]:
    """For every text the exam item it holds most of, or None; a null or empty text holds none.

    Generated pairs are given as question and answer joined by a line break. Never raises on any text.
    """
    strings = [text or "" for text in (texts if isinstance(texts, Sequence) else texts.to_pylist())]
    best: list[Leak | None] = [None] * len(strings)
    for number, leak in all_leaks(strings, index, limits):
        known = best[number]
        if known is None or (leak.coverage, leak.run) > (known.coverage, known.run):
            best[number] = leak
    return best


def all_leaks(texts: Sequence[str], index: Index, limits: Limits = Limits()) -> Iterator[tuple[int, Leak]]:
    """Every item that a text holds, with the number of the text: one text may hold several."""
    if not len(index):
        return
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts)], dtype=np.int64)
    streams = [_Stream(int(kind), index) for kind in np.unique(index.arrays["kinds"])]
    for base, piece in _slices(texts):
        folded = fold(piece)
        for stream in streams:
            stream.feed(folded, base)
    for stream in streams:
        if stream.found:
            hits = _Hits(*(np.concatenate(arrays) for arrays in zip(*stream.found, strict=True)))
            yield from _judged(hits, stream.kind, texts, bounds, index, limits)


def _slices(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """All texts, each ended by a line break, in pieces of about a slice, never cut inside a word; with their places."""
    base, size = 0, 0
    parts: list[str] = []
    for text in texts:
        place = 0
        while len(text) - place > _SLICE:
            cut = place + _SLICE
            cut = next((k for k in range(cut, cut - 200, -1) if not text[k - 1].isalnum() or text[k - 1] > "⺀"), cut)
            piece = "".join([*parts, text[place:cut]])
            yield base, piece
            base, size, parts, place = base + len(piece), 0, [], cut
        parts.append(text[place:] + "\n")
        size += len(parts[-1])
        if size >= _SLICE:
            yield base, "".join(parts)
            base, size, parts = base + size, 0, []
    if parts:
        yield base, "".join(parts)


def _judged(
    hits: _Hits, kind: int, texts: Sequence[str], bounds: I64, index: Index, limits: Limits
) -> Iterator[tuple[int, Leak]]:
    """Number of the text and leak, for every text and item that n-grams show to leak."""
    arrays, n = index.arrays, GRAM[kind]
    document = np.searchsorted(bounds, hits.start, "right") - 1
    inside = document == np.searchsorted(bounds, hits.end - 1, "right") - 1  # else it runs over the end of a text
    hits, document = _Hits(*(array[inside] for array in hits)), document[inside]
    counts = arrays["firsts"][hits.gram + 1] - arrays["firsts"][hits.gram]
    row = np.repeat(np.arange(len(counts)), counts)
    posting = arrays["firsts"][hits.gram][row] + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    item, part = arrays["items"][posting].astype(np.int64), arrays["parts"][posting]
    rows = arrays["kinds"][item] == kind
    row, item, part = row[rows], item[rows], part[rows]
    pair = document[row] * len(index) + item
    order = np.argsort(pair, kind="stable")
    pair, row, item, part = pair[order], row[order], item[order], part[order]
    begins = np.flatnonzero(np.diff(pair, prepend=-1))
    if not len(begins):
        return
    of_stem, of_full, in_order = (np.add.reduceat((part & bit) > 0, begins, dtype=np.int64) for bit in (1, 2, 4))
    which = item[begins]
    hopeful = (of_stem >= limits.coverage * np.maximum(1, arrays["stems"][which])) | (in_order > 0)
    hopeful |= (of_full >= limits.coverage * arrays["fulls"][which]) | (of_full >= limits.run[kind] - n + 1)
    ends = np.append(begins[1:], len(pair))
    for begin, end in zip(begins[hopeful].tolist(), ends[hopeful].tolist(), strict=True):
        number = int(document[row[begin]])
        those = _Hits(*(array[row[begin:end]] for array in hits))
        found = _weighed(those, part[begin:end], int(item[begin]), kind, index, limits)
        if found.coverage < limits.coverage and (part[begin:end] & ORDER).any():
            found = _reordered(
                texts[number], those, part[begin:end], int(bounds[number]), int(item[begin]), kind, index
            )
        if found.coverage >= limits.coverage or found.run >= limits.run[kind]:
            place, ids = int(bounds[number]), (index.ids[int(item[begin])], index.exams[int(item[begin])])
            span = found.start - place, found.end - place
            yield number, Leak(ids[0].as_py(), ids[1].as_py(), found.coverage, found.run, *span)


class _Found(NamedTuple):
    coverage: float
    run: int
    start: int
    end: int


def _weighed(hits: _Hits, part: npt.NDArray[np.uint8], item: int, kind: int, index: Index, limits: Limits) -> _Found:
    """The largest share of an item's n-grams in one stretch of twice its length, and its longest run."""
    arrays, n = index.arrays, GRAM[kind]
    reach = 2 * int(arrays["lengths"][item])
    best = _Found(0.0, 0, int(hits.start[0]), int(hits.end[0]))
    for bit, total in ((STEM, int(arrays["stems"][item])), (FULL, int(arrays["fulls"][item]))):
        rows = np.flatnonzero(part & bit)
        if total and len(rows):
            count, first, last = _densest(hits.ordinal[rows].tolist(), hits.gram[rows].tolist(), reach)
            if count / total >= best.coverage:  # where both are whole, the longer span
                start, end = int(hits.start[rows[first]]), int(hits.end[rows[last]])
                best = _Found(count / total, 0, start, end)
    rows = np.flatnonzero(part & FULL)
    if not len(rows):
        return best
    breaks = np.flatnonzero(np.diff(hits.ordinal[rows]) != 1) + 1
    firsts, lasts = np.append(0, breaks), np.append(breaks, len(rows)) - 1
    k = int(np.argmax(lasts - firsts))
    run = int(lasts[k] - firsts[k]) + n
    if best.coverage >= limits.coverage:
        return best._replace(run=run)
    return best._replace(run=run, start=int(hits.start[rows[firsts[k]]]), end=int(hits.end[rows[lasts[k]]]))


def _densest(ordinals: Sequence[int], grams: Sequence[int], reach: int) -> tuple[int, int, int]:
    """Most distinct n-grams within `reach` units, and the first and last hit of them."""
    counts: dict[int, int] = {}
    best, left = (0, 0, 0), 0
    for right, gram in enumerate(grams):
        counts[gram] = counts.get(gram, 0) + 1
        while ordinals[right] - ordinals[left] > reach:
            counts[grams[left]] -= 1
            if not counts[grams[left]]:
                del counts[grams[left]]
            left += 1
        if len(counts) > best[0]:
            best = (len(counts), left, right)
    return best


def _reordered(
    text: str, hits: _Hits, part: npt.NDArray[np.uint8], base: int, item: int, kind: int, index: Index
) -> _Found:
    """The same for a short stem, once its options stand in the order in which the text has them."""
    arrays, n = index.arrays, GRAM[kind]
    first = int(hits.start[np.flatnonzero(part & ORDER)[0]])
    beside = text[first - base : first - base + 40 * int(arrays["lengths"][item])]
    units = units_of(kind, fold(beside), first)
    segments = range(int(arrays["segment_firsts"][item]), int(arrays["segment_firsts"][item + 1]))
    names: dict[int, str] = {}

    def spelled(values: U64) -> str:  # a character for each unit, so that strings can be searched
        return "".join(names.setdefault(value, chr(0x100 + len(names))) for value in values.tolist())

    window = spelled(units.values[: 2 * int(arrays["lengths"][item])])
    bounds = [arrays["unit_firsts"][k : k + 2].tolist() for k in segments]
    stem, *options = (spelled(arrays["units"][start:end]) for start, end in bounds)
    whole = stem + "".join(_in_order(options, window, len(stem)))
    wanted = {whole[k : k + n] for k in range(len(whole) - n + 1)}
    there = [k for k in range(len(window) - n + 1) if window[k : k + n] in wanted]
    if not there:
        return _Found(0.0, 0, first, first)
    run = longest = 1
    for before, k in pairwise(there):
        run = run + 1 if k == before + 1 else 1
        longest = max(longest, run)
    coverage = len({window[k : k + n] for k in there}) / len(wanted)
    return _Found(coverage, longest + n - 1, int(units.starts[there[0]]), int(units.ends[there[-1] + n - 1]))


def _in_order(options: list[str], window: str, place: int) -> Iterator[str]:
    """The options in the order in which they stand in the window from a place on; those that do not, at the end."""
    rest = sorted(options, key=len, reverse=True)  # 肺、脾 before 肺
    while rest:
        option = min(rest, key=lambda option: window.find(option, place) % (len(window) + 1))  # -1 % n: the last
        place = max(place, window.find(option, place) + len(option))
        rest.remove(option)
        yield option


def trace_row(id: str, source: str, text: str, leak: Leak, limits: Limits = Limits()) -> dict[str, Any]:
    """The row of the Trace schema for a text that leaks: `leak` by coverage, `leak_run` by a run alone."""
    by_coverage = leak.coverage >= limits.coverage
    kind = kind_of(text[leak.start : leak.end])
    return {
        "id": id,
        "source": source,
        "step": "decontaminate",
        "rule": "leak" if by_coverage else "leak_run",
        "value": leak.coverage if by_coverage else float(leak.run),
        "threshold": limits.coverage if by_coverage else float(limits.run[kind]),
        "twin_id": leak.item,
        "similarity": None,
        "excerpt": text[leak.start : leak.end][:EXCERPT],
    }
