"""The compiled loops of cleaning: scripts counted, white space left out for keys, UTF-8 read and written.

Importing this module imports numba. Every constant of another file comes in as an argument: numba keeps compiled code
until this file changes, and no other.
"""

from __future__ import annotations

import numpy as np

from datatools.clean.scan import Array
from datatools.dedupe.compiled import compiled, inlined


@compiled
def script_counts(codes: Array, ends: Array, most: int, table: Array, latin: int, counts: Array, words: Array) -> None:
    """For the first `most` characters of every text, those of each class of `table`, and Latin words into `words`."""
    start = 0
    for text in range(len(ends)):
        before = -1
        for place in range(start, min(ends[text], start + most)):
            kind = table[codes[place]]
            counts[text, kind] += 1
            if kind == latin and before != latin:
                words[text] += 1
            before = kind
        start = ends[text]


@compiled
def without_space(data: Array, offsets: Array, shortest: int, out: Array, ends: Array, lines: Array) -> int:
    """UTF-8 texts without white space (as str.split has it) into `out`, each ending at `ends`; how many `lines`.

    A line of `shortest` or more characters, white space counted, is (number of its text, start, end) in `out`.
    """
    end, found = 0, 0
    for text in range(len(ends)):
        at, stop = offsets[text], offsets[text + 1]
        begin, characters = end, 0
        while at <= stop:
            byte = data[at] if at < stop else np.uint8(10)
            if byte == 10:
                if characters >= shortest:
                    lines[found, 0], lines[found, 1], lines[found, 2] = text, begin, end
                    found += 1
                begin, characters = end, 0
                at += 1
                continue
            characters += 1
            if 0xE4 <= byte < 0xF0:  # most of Chinese; no white space begins so
                out[end], out[end + 1], out[end + 2] = byte, data[at + 1], data[at + 2]
                end += 3
                at += 3
                continue
            if byte < 0x80:
                if byte != 32 and not (9 <= byte <= 13 or 28 <= byte <= 31):
                    out[end] = byte
                    end += 1
                at += 1
                continue
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            blank = False
            if byte == 0xC2:
                blank = bool(data[at + 1] == 0x85 or data[at + 1] == 0xA0)
            elif 0xE1 <= byte <= 0xE3:
                code = (np.int64(byte & 15) << 12) | (np.int64(data[at + 1] & 63) << 6) | np.int64(data[at + 2] & 63)
                blank = bool(0x2000 <= code <= 0x200A or code in (0x3000, 0x2028, 0x2029, 0x202F, 0x205F, 0x1680))
            if not blank:
                for place in range(at, at + size):
                    out[end] = data[place]
                    end += 1
            at += size
        ends[text] = end
    return found


@compiled
def decoded(data: Array, offsets: Array, codes: Array, ends: Array) -> int:
    """Characters of UTF-8 texts end to end in `codes`, each text ending at `ends`; how many there are."""
    filled = 0
    for text in range(len(ends)):
        at, stop = offsets[text], offsets[text + 1]
        while at < stop:
            byte = np.uint32(data[at])
            if byte < 0x80:
                codes[filled] = byte
                at += 1
            elif byte < 0xE0:
                codes[filled] = (byte & np.uint32(31)) << np.uint32(6) | (data[at + 1] & np.uint32(63))
                at += 2
            elif byte < 0xF0:
                middle = (data[at + 1] & np.uint32(63)) << np.uint32(6)
                codes[filled] = (byte & np.uint32(15)) << np.uint32(12) | middle | (data[at + 2] & np.uint32(63))
                at += 3
            else:
                middle = (data[at + 1] & np.uint32(63)) << np.uint32(12) | (data[at + 2] & np.uint32(63)) << np.uint32(
                    6
                )
                codes[filled] = (byte & np.uint32(7)) << np.uint32(18) | middle | (data[at + 3] & np.uint32(63))
                at += 4
            filled += 1
        ends[text] = filled
    return filled


@compiled
def encoded(codes: Array, ends: Array, data: Array, offsets: Array) -> int:
    """The way back: UTF-8 in `data`, text i from `offsets[i]` on; bytes in all."""
    start, size = 0, 0
    for text in range(len(ends)):
        for place in range(start, ends[text]):
            code = codes[place]
            if code < 0x80:
                data[size] = code
                size += 1
                continue
            if code < 0x800:
                data[size] = 0xC0 | code >> 6
                size += 1
            else:
                if code < 0x10000:
                    data[size] = 0xE0 | code >> 12
                    size += 1
                else:
                    data[size] = 0xF0 | code >> 18
                    data[size + 1] = 0x80 | (code >> 12 & 63)
                    size += 2
                data[size] = 0x80 | (code >> 6 & 63)
                size += 1
            data[size] = 0x80 | (code & 63)
            size += 1
        start = ends[text]
        offsets[text + 1] = size
    return size


@compiled
def accented(data: Array, offsets: Array, found: Array) -> None:
    """Which UTF-8 texts hold À to ÿ but ×, or √ ¬ Œ œ: `mojibake._is_suspect`."""
    for text in range(len(found)):
        found[text] = False
        for at in range(offsets[text], offsets[text + 1] - 1):
            byte = data[at]
            if byte < 0xC2 or byte > 0xE2 or 0xC6 <= byte < 0xE2:
                continue
            following = data[at + 1]
            if (
                (byte == 0xC3 and following != 0x97)
                or (byte == 0xC2 and following == 0xAC)
                or (byte == 0xC5 and (following == 0x92 or following == 0x93))
                or (byte == 0xE2 and following == 0x88 and data[at + 2] == 0x9A)
            ):
                found[text] = True
                break


@compiled
def line_keys(data: Array, lines: Array, seeds: Array, keys: Array) -> None:
    """64-bit hashes of the lines (text, start, end) of `data`, with the seed of their text.

    MurmurHash64A (Appleby, public domain), a word of eight bytes at a time.
    """
    for line in range(len(lines)):
        start, end = lines[line, 1], lines[line, 2]
        keys[line] = _murmur(data, start, end, seeds[lines[line, 0]])


@inlined
def _murmur(data: Array, start: int, end: int, seed: np.uint64) -> np.uint64:
    factor = np.uint64(0xC6A4A7935BD1E995)
    found = seed ^ (np.uint64(end - start) * factor)
    at = start
    while at < end:
        word, shift = np.uint64(0), np.uint64(0)
        whole = at + 8 <= end
        for place in range(at, min(at + 8, end)):
            word |= np.uint64(data[place]) << shift
            shift += np.uint64(8)
        at += 8
        if whole:
            word *= factor
            word ^= word >> np.uint64(47)
            word *= factor
        found ^= word
        found *= factor
    found ^= found >> np.uint64(47)
    found *= factor
    found ^= found >> np.uint64(47)
    return found
