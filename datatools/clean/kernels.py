"""The compiled loops of the quality signals: what repeats in a text, and which of its characters belong to terms.

Importing this module imports numba. Hashes are those of `scan`: `(sums[end] - sums[start]) * inverses[start]`. Every
constant of another file comes in as an argument: numba keeps compiled code until this file changes, and no other.
"""

from __future__ import annotations

import numpy as np

from datatools.clean.scan import Array
from datatools.dedupe.compiled import compiled

_MIX = np.uint64(0xD6E8FEB86659FD93)
_LOW = np.uint64(40)
_ONE = np.uint64(1)


@compiled
def scanned(
    codes: Array, ends: Array, table: Array, values: Array, powers: Array, classes: Array, counts: Array, sums: Array
) -> None:
    """Class of every character, characters of each class for every text, and `scan.prefix_hashes`, in one pass."""
    start = 0
    total = np.uint64(0)
    last = len(table) - 1
    sums[0] = total
    for text in range(len(ends)):
        for at in range(start, ends[text]):
            code = min(int(codes[at]), last)
            kind = int(table[code])
            classes[at] = kind
            counts[text, kind] += 1
            total += values[code] * powers[at]
            sums[at + 1] = total
        start = ends[text]


@compiled
def line_spans(classes: Array, ends: Array, space: int, newline: int, pipe: int, spans: Array) -> int:
    """Lines that are not blank, without the white space at either end, into `spans`; how many.

    A span is (number of its text, start, end, whether there is a vertical bar in it).
    """
    count, start = 0, 0
    for text in range(len(ends)):
        at = start
        while at < ends[text]:
            while at < ends[text] and (classes[at] == space or classes[at] == newline):
                at += 1
            begin, stop, bar = at, at, 0
            while at < ends[text] and classes[at] != newline:
                if classes[at] != space:
                    stop = at + 1
                    if classes[at] == pipe:
                        bar = 1
                at += 1
            if stop > begin:
                spans[count, 0], spans[count, 1], spans[count, 2], spans[count, 3] = text, begin, stop, bar
                count += 1
        start = ends[text]
    return count


@compiled
def repeated_characters(
    sums: Array, inverses: Array, starts: Array, ends: Array, chosen: Array, n: int, table: Array, found: Array
) -> None:
    """For every chosen text, characters in a run of `n` that stood earlier in it, into `found`.

    `table` holds at least twice as many places as the longest text has characters; a text clears what it needs.
    """
    for text in range(len(starts)):
        grams = ends[text] - starts[text] - n + 1
        if not chosen[text] or grams < 2:
            continue
        size = 16
        while size < 2 * grams:
            size *= 2
        table[:size] = 0
        mask = np.uint64(size - 1)
        reach = starts[text]
        total = 0
        for at in range(starts[text], starts[text] + grams):
            key = (sums[at + n] - sums[at]) * inverses[at] | _ONE
            slot = ((key * _MIX) >> _LOW) & mask
            while table[slot] != 0 and table[slot] != key:
                slot = (slot + _ONE) & mask
            if table[slot] == key:
                total += at + n - max(reach, at)
                reach = at + n
            else:
                table[slot] = key
        found[text] = total


@compiled
def term_characters(
    codes: Array,
    classes: Array,
    sums: Array,
    inverses: Array,
    starts: Array,
    ends: Array,
    pairs: Array,
    han_lengths: Array,
    latin_lengths: Array,
    keys: Array,
    first: Array,
    latin_class: int,
    pair_factor: int,
    found: Array,
) -> None:
    """For every text, characters that belong to a term, into `found`: `pairs`, `keys` and `first` are a Lexicon's."""
    pair_mask = len(pairs) - 1
    shift = np.uint64(64)
    while (1 << (64 - np.int64(shift))) < len(first) - 1:
        shift -= _ONE
    for text in range(len(starts)):
        reach = starts[text]
        total = 0
        for at in range(starts[text], ends[text] - 1):
            if not pairs[(codes[at] * pair_factor + codes[at + 1]) & pair_mask]:
                continue
            latin = codes[at] < 128
            if latin and at > starts[text] and classes[at - 1] == latin_class:
                continue
            lengths = latin_lengths if latin else han_lengths
            for length in lengths:
                end = at + length
                if end > ends[text]:
                    continue
                key = (sums[end] - sums[at]) * inverses[at]
                slot = np.int64(key >> shift)
                hit = False
                for place in range(first[slot], first[slot + 1]):
                    hit = hit or keys[place] == key
                if hit:
                    total += max(0, end - max(reach, at))
                    reach = max(reach, end)
                    break
        found[text] = total
