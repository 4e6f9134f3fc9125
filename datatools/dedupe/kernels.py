"""The compiled loops of near-duplicate detection: UTF-8 in, numbers out, no Python string ever made.

All of them stand in one file because numba notices a change of the file a cached function stands in, and of no other.
Importing this module imports numba. Arrays are contiguous; text is valid UTF-8, as Arrow strings are. Every
intermediate is cast: numba widens 32-bit arithmetic to 64 bits and mixed 64-bit arithmetic to floats.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from datatools.dedupe.compiled import compiled, inlined

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint32]
Hashes: TypeAlias = npt.NDArray[np.uint64]

# Classes of code points, as bits.
SPACE, LATIN, LETTER, UNSTABLE = 1, 2, 4, 8
# A Latin word has about five letters, a Chinese one or two characters.
LATIN_LETTERS_PER_OTHER = 4

BASE = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_BLANK = np.uint64(ord(" ") + 1)
_RANK = np.uint64(0xFFFFFFFF)


@inlined
def _code_point(data: Bytes, at: Any) -> Any:
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    second = np.int64(data[at + 1]) & 0x3F
    if first < 0xE0:
        return (first & 0x1F) << 6 | second, 2
    third = np.int64(data[at + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second << 6 | third, 3
    return (first & 7) << 18 | second << 12 | third << 6 | np.int64(data[at + 3]) & 0x3F, 4


@inlined
def _mixed(value: Any) -> Any:
    """The finaliser of MurmurHash3, 64 bits: every bit of the sum reaches every bit of the hash."""
    value = value ^ (value >> np.uint64(33))
    value = value * np.uint64(0xFF51AFD7ED558CCD)
    value = value ^ (value >> np.uint64(33))
    value = value * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@compiled
def decode(data: Bytes, offsets: Ints, classes: Bytes, codes: Words, ends: Ints, latin: Bytes) -> bool:
    """Code points of all texts without white space, one after the other in `codes`; those of a text end at
    `ends[row]`. Says which texts are in Latin script, and whether any of them may change under NFC."""
    filled = 0
    seen = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        letters = 0
        latins = 0
        while at < end:
            code, length = _code_point(data, at)
            at += length
            kind = classes[code] if code < len(classes) else 0
            seen |= kind
            latins += (kind & LATIN) // LATIN
            letters += (kind & LETTER) // LETTER
            codes[filled] = code
            filled += 1 - (kind & SPACE)
        ends[row] = filled
        latin[row] = latins > LATIN_LETTERS_PER_OTHER * (letters - latins)
    return seen & UNSTABLE != 0


@inlined
def _characters(codes: Words, start: Any, end: Any, size: int, power: Any, out: Hashes, filled: int) -> int:
    """Hashes of all runs of `size` code points, appended to `out` from `filled` on."""
    hashed = np.uint64(0)
    first = min(end, start + size)
    for i in range(start, first):
        hashed = hashed * BASE + (np.uint64(codes[i]) + _ONE)
    if first == start:
        return filled
    out[filled] = _mixed(hashed)
    filled += 1
    for i in range(first, end):
        hashed = hashed * BASE + (np.uint64(codes[i]) + _ONE) - power * (np.uint64(codes[i - size]) + _ONE)
        out[filled] = _mixed(hashed)
        filled += 1
    return filled


@inlined
def _joined(ring: Hashes, powers: Hashes, start: int, count: int) -> Any:
    """Hash of `count` words joined by blanks, the first of them at `start` in the ring."""
    size = len(ring)
    hashed = ring[start]
    place = start
    for _ in range(count - 1):
        place = place + 1 if place + 1 < size else 0
        hashed = (hashed * BASE + _BLANK) * powers[place] + ring[place]
    return _mixed(hashed)


@inlined
def _words(
    data: Bytes,
    at: Any,
    end: Any,
    classes: Bytes,
    lower: Words,
    ring: Hashes,
    powers: Hashes,
    out: Hashes,
    filled: int,
) -> int:
    """Hashes of all runs of len(ring) lower-cased words, appended to `out` from `filled` on."""
    size = len(ring)
    hashed = np.uint64(0)
    power = _ONE
    count = 0
    place = 0
    while at <= end:
        code, length = _code_point(data, at) if at < end else (32, 1)
        at += length
        if code >= len(classes) or classes[code] & SPACE == 0:
            if code < len(lower):
                code = np.int64(lower[code])
            hashed = hashed * BASE + (np.uint64(code) + _ONE)
            power *= BASE
        elif power != _ONE:
            ring[place] = hashed
            powers[place] = power
            hashed = np.uint64(0)
            power = _ONE
            place = place + 1 if place + 1 < size else 0
            count += 1
            if count >= size:
                out[filled] = _joined(ring, powers, place, size)
                filled += 1
    if 0 < count < size:
        out[filled] = _joined(ring, powers, 0, count)
        filled += 1
    return filled


@compiled
def shingles(
    data: Bytes,
    offsets: Ints,
    codes: Words,
    code_ends: Ints,
    latin: Bytes,
    size: int,
    classes: Bytes,
    lower: Words,
    out: Hashes,
    ends: Ints,
) -> None:
    """Hashes of the shingles of every text, one after the other in `out`; `ends[row]` is where those of a text end.

    `codes`, `code_ends` and `latin` are what `decode` gave for the same texts.
    """
    ring = np.zeros(size, np.uint64)
    powers = np.zeros(size, np.uint64)
    power = _ONE
    for _ in range(size):
        power *= BASE
    filled = 0
    start: Any = np.int64(0)
    for row in range(len(offsets) - 1):
        if latin[row]:
            filled = _words(data, offsets[row], offsets[row + 1], classes, lower, ring, powers, out, filled)
        else:
            filled = _characters(codes, start, code_ends[row], size, power, out, filled)
        start = code_ends[row]
        ends[row] = filled


@inlined
def _premixed(hashed: Any) -> Any:
    """datasketch's one-time mix of a 32-bit hash: the finaliser of MurmurHash3, 32 bits."""
    h = np.uint32(hashed >> np.uint64(32))
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@compiled
def signatures(hashes: Hashes, ends: Ints, a: Words, b: Words, out: npt.NDArray[np.uint32]) -> None:
    """MinHash signatures of sets of 64-bit shingle hashes, by datasketch's affine32 scheme."""
    mixed = np.empty(len(hashes), np.uint32)
    for i in range(len(hashes)):
        mixed[i] = _premixed(hashes[i])
    at: Any = np.int64(0)
    for row in range(len(ends)):
        end = ends[row]
        signature = out[row]
        signature[:] = np.uint32(0xFFFFFFFF)
        # Eight at a time: the signature is loaded and stored once for all of them.
        while at + 8 <= end:
            x0, x1, x2, x3 = mixed[at], mixed[at + 1], mixed[at + 2], mixed[at + 3]
            x4, x5, x6, x7 = mixed[at + 4], mixed[at + 5], mixed[at + 6], mixed[at + 7]
            for k in range(len(a)):
                f, g = a[k], b[k]
                low = min(np.uint32(f * x0 + g), np.uint32(f * x1 + g))
                low = min(low, min(np.uint32(f * x2 + g), np.uint32(f * x3 + g)))
                low = min(low, min(np.uint32(f * x4 + g), np.uint32(f * x5 + g)))
                low = min(low, min(np.uint32(f * x6 + g), np.uint32(f * x7 + g)))
                signature[k] = min(signature[k], low)
            at += 8
        while at < end:
            x0 = mixed[at]
            for k in range(len(a)):
                signature[k] = min(signature[k], np.uint32(a[k] * x0 + b[k]))
            at += 1


@compiled
def band_keys(signatures: npt.NDArray[np.uint32], bands: int, rows: int, out: Hashes) -> None:
    """One 64-bit key a band of every signature; all zero for a signature of nothing."""
    for row in range(len(signatures)):
        nothing = True
        for value in signatures[row]:
            nothing &= value == np.uint32(0xFFFFFFFF)
        for band in range(bands):
            key = np.uint64(band) + _ONE
            for k in range(band * rows, band * rows + rows):
                key = _mixed(key * BASE + np.uint64(signatures[row, k]))
            out[row, band] = np.uint64(0) if nothing else key


@compiled
def distinct(hashes: Hashes, ends: Ints, sizes: Ints) -> None:
    """Sort every text's hashes in place and drop repeats; `sizes[row]` of them are left, packed from the start on.

    The hashes are evenly spread, so their leading bits say where each belongs and little is left to sort.
    """
    longest: Any = np.int64(1)
    begin: Any = np.int64(0)
    for row in range(len(ends)):
        longest = max(longest, ends[row] - begin)
        begin = ends[row]
    bits = 0
    while (1 << bits) < longest:
        bits += 1
    places = np.empty((1 << bits) + 1, np.int64)
    spread = np.empty(longest, np.uint64)
    begin = np.int64(0)
    filled = 0
    for row in range(len(ends)):
        end = ends[row]
        count = end - begin
        bits = 0
        while (1 << bits) < count:
            bits += 1
        shift = np.uint64(64 - bits)
        places[: (1 << bits) + 1] = 0
        for i in range(begin, end):
            places[(np.int64(hashes[i] >> shift) if bits else np.int64(0)) + 1] += 1
        for k in range(1 << bits):
            places[k + 1] += places[k]
        for i in range(begin, end):
            own = np.int64(hashes[i] >> shift) if bits else np.int64(0)
            spread[places[own]] = hashes[i]
            places[own] += 1
        for i in range(1, count):
            value = spread[i]
            j = i
            while j > 0 and spread[j - 1] > value:
                spread[j] = spread[j - 1]
                j -= 1
            spread[j] = value
        first = filled
        for i in range(count):
            if filled == first or spread[i] != hashes[filled - 1]:
                hashes[filled] = spread[i]
                filled += 1
        sizes[row] = filled - first
        begin = end


@inlined
def _jaccard(values: Hashes, i: int, i_end: int, j: int, j_end: int, least: float) -> float:
    """Exact Jaccard of two sorted sets, or -1 as soon as it cannot reach `least`."""
    total = (i_end - i) + (j_end - j)
    if total == 0:
        return -1.0
    # |A∩B| / (total - |A∩B|) >= least needs that many in common, so each side may miss only so many; one of slack, for
    # the comparison with `least` below is the one that counts.
    misses = total - 2 * np.int64(np.floor(least / (1.0 + least) * total)) + 2
    common = 0
    missed = 0
    while i < i_end and j < j_end:
        x, y = values[i], values[j]
        common += x == y
        missed += x != y
        i += x <= y
        j += y <= x
        if missed > misses:
            return -1.0
    return common / (total - common)


@compiled
def jaccards(
    values: Hashes, starts: Ints, sizes: Ints, left: Ints, right: Ints, least: float
) -> npt.NDArray[np.float64]:
    """Exact Jaccard of pairs of sorted sets; -1 where it is below `least`."""
    out = np.empty(len(left), np.float64)
    for k in range(len(left)):
        i, j = starts[left[k]], starts[right[k]]
        found = _jaccard(values, i, i + sizes[left[k]], j, j + sizes[right[k]], least)
        out[k] = found if found >= least else -1.0
    return out


@compiled
def bucket_pairs(entries: Hashes, reach: int, earlier: int, out: Hashes, write: bool) -> int:
    """Candidate pairs of equal keys: every rank with the `reach` best and the `reach` next better of its bucket;
    returns their number. `entries` are key << 32 | rank, sorted; a pair is worse << 32 | better.

    Ranks below `earlier` are paired with no better one.
    """
    filled = 0
    start = 0
    while start < len(entries):
        end = start + 1
        while end < len(entries) and entries[end] >> np.uint64(32) == entries[start] >> np.uint64(32):
            end += 1
        for i in range(start + 1, end):
            rank = entries[i] & _RANK
            if write and rank < np.uint64(earlier):
                continue
            nearest = max(min(i, start + reach), i - reach)
            if write:
                for j in range(start, min(i, start + reach)):
                    out[filled] = rank << np.uint64(32) | entries[j] & _RANK
                    filled += 1
                for j in range(nearest, i):
                    out[filled] = rank << np.uint64(32) | entries[j] & _RANK
                    filled += 1
            else:
                filled += min(i, start + reach) - start + i - nearest
        start = end
    return filled


@compiled
def elect(
    pairs: Hashes,
    places: Ints,
    values: Hashes,
    starts: Ints,
    sizes: Ints,
    least: float,
    kept: npt.NDArray[np.bool_],
    dropped: Ints,
    twins: Ints,
    similarities: npt.NDArray[np.float64],
) -> tuple[int, int]:
    """Go through pairs (worse << 32 | better), sorted: the worse one of a pair goes when the better one is kept and
    their exact Jaccard is at least `least`. Returns how many went and how many pairs were compared.

    `places[2 * k]` and `places[2 * k + 1]` say where the sets of the worse and the better one of pair k stand.
    """
    gone = 0
    compared = 0
    for k in range(len(pairs)):
        worse = np.int64(pairs[k] >> np.uint64(32))
        better = np.int64(pairs[k] & np.uint64(0xFFFFFFFF))
        if not kept[worse] or not kept[better]:
            continue
        compared += 1
        i, j = starts[places[2 * k]], starts[places[2 * k + 1]]
        found = _jaccard(values, i, i + sizes[places[2 * k]], j, j + sizes[places[2 * k + 1]], least)
        if found >= least:
            kept[worse] = False
            dropped[gone] = worse
            twins[gone] = better
            similarities[gone] = found
            gone += 1
    return gone, compared


@compiled
def unite(parents: Ints, left: Ints, right: Ints) -> None:
    """Union-find: `parents[i]` becomes the least node of the component of i. Begins with every node its own parent."""
    for k in range(len(left)):
        i, j = left[k], right[k]
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        while parents[j] != j:
            parents[j] = parents[parents[j]]
            j = parents[j]
        if i < j:
            parents[j] = i
        else:
            parents[i] = j
    for i in range(len(parents)):
        parents[i] = parents[parents[i]]  # a parent is less than its child, and settled before it


@compiled
def elect_edges(worse: Ints, better: Ints, kept: npt.NDArray[np.bool_], goes: npt.NDArray[np.bool_]) -> None:
    """`elect` for pairs that are known to be alike, sorted: `goes[k]` says whether the worse one goes for pair k."""
    for k in range(len(worse)):
        if kept[worse[k]] and kept[better[k]]:
            kept[worse[k]] = False
            goes[k] = True
