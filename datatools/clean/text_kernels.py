"""The compiled loops of cleaning: lines joined, scripts counted, white space left out for keys.

Importing this module imports numba. Every constant of another file comes in as an argument: numba keeps compiled code
until this file changes, and no other.
"""

from __future__ import annotations

import numpy as np

from datatools.clean.scan import Array
from datatools.dedupe.compiled import compiled, inlined

# What `normalise` needs to know of a character: bits of its `signs`, built in normalise.py under the same names.
ENDS, GOES_ON, BLANK, DIGIT, BULLET, NUMERAL, ABOVE, PREPARED, HAN, ODD = (1 << bit for bit in range(10))
GONE = 0xFFFFFFFF  # in `becomes`: the character is left out


@compiled
def normalise(
    codes: Array,
    ends: Array,
    becomes: Array,
    signs: Array,
    odd: int,
    width_han: int,
    width_latin: int,
    orphan: int,
    out: Array,
    out_ends: Array,
    plain: Array,
) -> None:
    """`normalise.normalise` of texts that end at `ends` of `codes`, into `out`.

    A text with anything for a regular expression or for composition is not `plain` and comes out empty; with `odd` 0
    these are done already.
    """
    start, end = 0, 0
    for text in range(len(ends)):
        stop = _spaced(codes, start, ends[text], becomes, signs, odd, out, end)
        start = ends[text]
        plain[text] = stop >= 0
        if stop >= 0:
            end = _joined(out, end, stop, signs, width_han, width_latin, orphan)
        out_ends[text] = end


@compiled
def _spaced(codes: Array, start: int, stop: int, becomes: Array, signs: Array, odd: int, out: Array, begin: int) -> int:
    """Copy a text through the table, without surplus white space; where it ends, −1 for one that is not plain."""
    end = begin
    before = 0  # the character before, white space too
    space = False
    passed = start  # what stands before it belongs to a mark of typesetting
    for place in range(start, stop):
        if place < passed:
            continue
        code = codes[place]
        if odd and code == 92:
            size = _mark(codes, place, stop)
            if size == 0:
                return -1
            passed = place + size
            continue
        if code < 0x10000:
            code = becomes[code]
            if code == GONE:
                continue
            if signs[code] & odd:
                return -1
        elif not 0x20000 <= code < 0x2A6DF:
            return -1
        # KT, HT, FS: a lost glyph
        if odd and (((before == 0x4B or before == 0x48) and code == 0x54) or (before == 0x46 and code == 0x53)):
            return -1
        if odd and before == 0x2E and (code == 0x62 or code == 0x6A or code == 0x67 or code in (0x42, 0x4A, 0x47)):
            return -1  # .bmp, .jpg, .gif
        before = code
        if code == 32:
            space = True
            continue
        if code == 10:
            space = False
            if end - begin > 1 and out[end - 1] == 10 and out[end - 2] == 10:
                continue
        elif space:
            space = False
            if end > begin and out[end - 1] != 10:
                out[end] = 32
                end += 1
        out[end] = code
        end += 1
    return end


@inlined
def _mark(codes: Array, place: int, stop: int) -> int:
    """Characters of the mark that a backslash begins, \\x \\r \\n \\t or it alone; 0 where it is not plain."""
    following = codes[place + 1] if place + 1 < stop else 32
    after = codes[place + 2] if place + 2 < stop else 32
    for code in (following, after):  # the rest may be another character, or none, in the table
        if not (code == 10 or 31 < code < 127 or 0x3001 <= code < 0xA000):
            return 0
    if following == 120 or following == 114 or following == 110 or following == 116:
        return 0 if 97 <= after <= 122 else 2
    if 48 <= following <= 57 or 65 <= following <= 90 or 97 <= following <= 122:
        return 0
    return 1


@compiled
def _joined(text: Array, begin: int, stop: int, signs: Array, width_han: int, width_latin: int, orphan: int) -> int:
    """Strip a text and join its hard-wrapped lines in place, as `normalise.join_wrapped`; where it ends."""
    end = begin
    while begin < stop and text[begin] < 0x10000 and signs[text[begin]] & BLANK:
        begin += 1
    while begin < stop and text[stop - 1] < 0x10000 and signs[text[stop - 1]] & BLANK:
        stop -= 1
    went_on = False
    # Of the line before: its own place may be written over already.
    length, last, first, spaces, bar, han = -1, 0, 0, 0, False, False
    while begin < stop:
        after = begin
        own_spaces, own_bar, own_han = 0, False, False
        while after < stop and text[after] != 10:
            code = text[after]
            if code >= 0x10000 or signs[code] & HAN:
                own_han = True
            elif code == 32:
                own_spaces += 1
                if after - begin > 1 and text[after - 1] == 124 and text[after - 2] == 32:
                    own_bar = True
            after += 1
        if length >= 0:
            goes_on = False
            if length > 0 and after > begin:
                kind = signs[last] if last < 0x10000 else 0
                if kind & ENDS or _own_line(text, begin, after, signs):
                    goes_on = False
                elif kind & GOES_ON:
                    goes_on = first != 124
                elif (last == 0xFF09 or last == 41) and (han or length <= orphan):
                    goes_on = length >= width_han and spaces > 2 and not bar
                elif length <= orphan:
                    goes_on = went_on
                elif length < (width_han if han else width_latin) or bar or first == 124 or first == 35:
                    goes_on = False
                else:
                    goes_on = spaces > 0 or not _herbs(text, begin, after, signs)
            went_on = goes_on
            if not goes_on:
                text[end] = 10
                end += 1
            elif (last < 128 and text[begin] < 128 and last != 45) or last == 0xFF09:
                text[end] = 32
                end += 1
        length, spaces, bar, han = after - begin, own_spaces, own_bar, own_han
        if length:
            first, last = text[begin], text[after - 1]
        for place in range(begin, after):
            text[end] = text[place]
            end += 1
        begin = after + 1
    return end


@inlined
def _kind(text: Array, place: int, stop: int, signs: Array) -> int:
    """Signs of the character at a place; 0 behind the end of the line."""
    return int(signs[text[place]]) if place < stop and text[place] < 0x10000 else 0


@compiled
def _own_line(text: Array, begin: int, stop: int, signs: Array) -> bool:
    """Whether a line begins as an entry of a list or a table does: `normalise._OWN_LINE`."""
    code = text[begin]
    kind = _kind(text, begin, stop, signs)
    if code == 124 or code == 35 or code == 60 or code == 0x3010:  # | # < 【
        return True
    if kind & BULLET:
        return _kind(text, begin + 1, stop, signs) & BLANK != 0
    following = text[begin + 1] if begin + 1 < stop else 0
    if kind & ABOVE:
        at = begin + 1
        while _kind(text, at, stop, signs) & NUMERAL:
            at += 1
        return _kind(text, begin + 1, stop, signs) & PREPARED != 0 or (
            at > begin + 1 and at < stop and text[at] == 0x5473
        )
    if (code == 0x53C8 or code == 0x4E00) and following == 0x65B9:  # 又方, 一方
        return True
    if code == 0xFF08:  # （二）
        at = begin + 1
        while at - begin < 5 and _kind(text, at, stop, signs) & (DIGIT | NUMERAL):
            at += 1
        return 1 < at - begin < 5 and at < stop and text[at] == 0xFF09
    at = begin
    if kind & NUMERAL:  # 三、
        while at - begin < 4 and _kind(text, at, stop, signs) & NUMERAL:
            at += 1
        return at - begin < 4 and at < stop and text[at] == 0x3001
    at = begin + 1 if code == 40 else begin
    digits = 0
    while digits < 4 and _kind(text, at, stop, signs) & DIGIT:
        at += 1
        digits += 1
    if not 0 < digits < 4 or at >= stop:
        return False
    if text[at] == 41 or text[at] == 0x3001:  # 1) 1、
        return True
    return (text[at] == 46 or text[at] == 0xFF0E) and not _kind(text, at + 1, stop, signs) & DIGIT


@compiled
def _herbs(text: Array, begin: int, stop: int, signs: Array) -> bool:
    """Whether a line begins with three short words: `normalise._HERBS`."""
    at = begin
    for word in range(3):
        length = 0
        while at < stop and not _kind(text, at, stop, signs) & BLANK:
            at += 1
            length += 1
            if word == 2:
                return True
        if not 0 < length <= (16 if word else 12) or at >= stop or text[at] != 32:
            return False
        at += 1
    return False


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
