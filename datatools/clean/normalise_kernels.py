"""The compiled loops of `normalise`: through the table, residue and surplus white space out, wrapped lines joined.

Importing this module imports numba. What the loops know of characters comes in as tables, built in normalise.py.
"""

from __future__ import annotations

from datatools.clean.scan import Array
from datatools.dedupe.compiled import compiled, inlined

# What `normalise` needs to know of a character: bits of its `signs`, built in normalise.py under the same names.
ENDS, GOES_ON, BLANK, DIGIT, BULLET, NUMERAL, ABOVE, PREPARED, HAN, ODD, ALPHANUMERIC, SPECIAL = (
    1 << bit for bit in range(12)
)
GONE = 0xFFFFFFFF  # in `becomes`: the character is left out
STRANGE, RESIDUE = -1, -2


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
    scratch: Array,
    out: Array,
    out_ends: Array,
    plain: Array,
) -> None:
    """`normalise.normalise` of texts that end at `ends` of `codes`, into `out`; `scratch` is as long as the longest.

    A text with anything for composition, or with tags, is not `plain` and comes out empty; with `odd` 0 these are done
    already.
    """
    start, end = 0, 0
    for text in range(len(ends)):
        stop = _spaced(codes, start, ends[text], becomes, signs, odd, out, end)
        if stop == RESIDUE:
            size = _unmarked(codes, start, ends[text], becomes, signs, odd, scratch)
            stop = _spaced(scratch, 0, size, becomes, signs, 0, out, end) if size >= 0 else size
        start = ends[text]
        plain[text] = stop >= 0
        if stop >= 0:
            end = _joined(out, end, stop, signs, width_han, width_latin, orphan)
        out_ends[text] = end


@compiled
def _spaced(codes: Array, start: int, stop: int, becomes: Array, signs: Array, odd: int, out: Array, begin: int) -> int:
    """Copy a text through the table, without surplus white space; where it ends, or STRANGE, or RESIDUE at its sign."""
    end = begin
    before = 0  # the character before, white space too
    space = False
    for place in range(start, stop):
        code = codes[place]
        if code < 0x10000:
            kind = signs[code]
            if not kind & SPECIAL:
                if space:
                    space = False
                    if end > begin and out[end - 1] != 10:
                        out[end] = 32
                        end += 1
                out[end] = code
                end += 1
                before = code
                continue
            code = becomes[code]
            if code == GONE:
                continue
            if signs[code] & odd:
                return STRANGE
            if odd and _begins_residue(before, code):
                return RESIDUE
        elif not 0x20000 <= code < 0x2A6DF:
            return STRANGE
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
def _begins_residue(before: int, code: int) -> bool:
    """Whether a backslash, .b .j .g of an image or KT HT FS ends here: signs of what `_unmarked` takes out."""
    return (
        code == 92
        or (code == 84 and (before == 75 or before == 72))
        or (code == 83 and before == 70)
        or (before == 46 and code in (98, 106, 103, 66, 74, 71))
    )


@compiled
def _unmarked(codes: Array, start: int, stop: int, becomes: Array, signs: Array, odd: int, out: Array) -> int:
    """A text through the table and without `normalise.RESIDUE` and lost glyphs, in `out`; its length, or STRANGE."""
    end = 0
    for place in range(start, stop):
        code = codes[place]
        if code < 0x10000:
            if signs[code] & SPECIAL:
                code = becomes[code]
                if code == GONE:
                    continue
                if signs[code] & odd:
                    return STRANGE
        elif not 0x20000 <= code < 0x2A6DF:
            return STRANGE
        out[end] = code
        end += 1
    end = _without_marks(out, end, signs)
    dot, letter = False, False
    for at in range(end):
        dot |= out[at] == 46
        letter |= out[at] == 84 or out[at] == 83
    if dot:
        end = _without_images(out, end, signs)
    if letter:
        end = _without_glyphs(out, end, signs)
    return end


@inlined
def _kind(text: Array, place: int, stop: int, signs: Array) -> int:
    """Signs of the character at a place; 0 behind the end of the line."""
    return int(signs[text[place]]) if place < stop and text[place] < 0x10000 else 0


@compiled
def _without_marks(text: Array, stop: int, signs: Array) -> int:
    """Leave out what the first expression of `normalise.RESIDUE` finds; the new length."""
    end, at = 0, 0
    while at < stop:
        if text[at] != 92:
            text[end] = text[at]
            end += 1
            at += 1
            continue
        size = _mark(text, at + 1, stop, signs)
        if size < 0:
            text[end] = 92
            end += 1
        at += 1 + max(size, 0)
    return end


@compiled
def _mark(text: Array, at: int, stop: int, signs: Array) -> int:
    """Characters of the mark behind a backslash, -1 where the backslash is none of typesetting."""
    if at < stop and text[at] == 112:  # p
        name = at + 1
        while name < stop and (text[name] == 45 or _kind(text, name, stop, signs) & ALPHANUMERIC):
            name += 1
        if 0 < name - at - 1 <= 12:
            if _image(text, name, stop, True):
                return name + 4 - at
            if name + 1 < stop and text[name] == 92 and text[name + 1] == 114:
                return name - at
        begin = at + 2 if at + 1 < stop and text[at + 1] == 115 else at + 1
        number = begin
        while _kind(text, number, stop, signs) & DIGIT:
            number += 1
        if 0 < number - begin <= 3 and not _kind(text, number, stop, signs) & ALPHANUMERIC:
            return number - at
    if at < stop and text[at] in (120, 114, 110, 116) and not (at + 1 < stop and 97 <= text[at + 1] <= 122):
        return 1
    return -1 if _kind(text, at, stop, signs) & ALPHANUMERIC else 0


@inlined
def _image(text: Array, at: int, stop: int, any_case: bool) -> bool:
    """Whether .bmp, .jpg or .gif stands here, in small letters or in capitals; with `any_case` mixed as well."""
    if at + 3 >= stop or text[at] != 46:
        return False
    case = text[at + 1] & 32
    if not any_case and (text[at + 2] & 32 != case or text[at + 3] & 32 != case):
        return False
    first, second, third = text[at + 1] | 32, text[at + 2] | 32, text[at + 3] | 32
    return bool(
        (first == 98 and second == 109 and third == 112)
        or (first == 106 and second == 112 and third == 103)
        or (first == 103 and second == 105 and third == 102)
    )


@compiled
def _without_images(text: Array, stop: int, signs: Array) -> int:
    """Leave out what the second expression of `normalise.RESIDUE` finds: names of images; the new length."""
    end, at, done = 0, 0, 0
    while at < stop:
        if text[at] == 46 and _image(text, at, stop, False) and not _kind(text, at + 4, stop, signs) & ALPHANUMERIC:
            # What stood before it since the last image is what was written last.
            first, name = end - (at - done), end
            while name > first and end - name < 4 and _kind(text, name - 1, stop, signs) & DIGIT:
                name -= 1
            number = name
            while name > first and number - name < 3 and _is_name(text, name - 1, stop, signs):
                name -= 1
            if name > first:
                goes_on = text[name - 1] in (45, 46, 47, 95) or _kind(text, name - 1, stop, signs) & ALPHANUMERIC != 0
            else:
                goes_on = done > 0  # it would follow the image before without a gap
            if not goes_on:
                end = name
                at += 4
                done = at
                continue
        text[end] = text[at]
        end += 1
        at += 1
    return end


@inlined
def _is_name(text: Array, at: int, stop: int, signs: Array) -> bool:
    kind = _kind(text, at, stop, signs)
    return bool(text[at] == 95 or (kind & ALPHANUMERIC and not kind & DIGIT))


@compiled
def _without_glyphs(text: Array, stop: int, signs: Array) -> int:
    """Leave out the words of KT, HT and FS where one of them stands for a lost glyph: behind Han, before a blank."""
    lost = False
    for at in range(2, stop):
        if (text[at] == 84 or text[at] == 83) and 0x3400 <= text[at - 2] <= 0x9FFF:
            end = _glyphs(text, at - 1, stop)
            lost = lost or (end > at and end < stop and text[end] == 32)
    if not lost:
        return stop
    end, at = 0, 0
    before = 0
    while at < stop:
        behind = _glyphs(text, at, stop)
        word = before == 45 or (before < 0x10000 and signs[before] & ALPHANUMERIC)
        goes_on = behind < stop and (text[behind] == 45 or _kind(text, behind, stop, signs) & ALPHANUMERIC != 0)
        if behind > at and not word and not goes_on:
            before = text[behind - 1]
            at = behind
            continue
        before = text[at]
        text[end] = before
        end += 1
        at += 1
    return end


@inlined
def _glyphs(text: Array, at: int, stop: int) -> int:
    """Where a run of KT, HT and FS ends that begins here; `at` where none does."""
    while at + 1 < stop and (
        (text[at + 1] == 84 and (text[at] == 75 or text[at] == 72)) or (text[at + 1] == 83 and text[at] == 70)
    ):
        at += 2
    return at


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
            if code == 32:
                own_spaces += 1
                if after - begin > 1 and text[after - 1] == 124 and text[after - 2] == 32:
                    own_bar = True
            elif not own_han:
                own_han = code >= 0x10000 or signs[code] & HAN != 0
            after += 1
        if length >= 0:
            goes_on = False
            if length > 0 and after > begin:
                kind = signs[last] if last < 0x10000 else 0
                if kind & ENDS or _own_line(text, begin, after, signs) or _is_next(first, text, begin, after):
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
        if end < begin:
            for place in range(length):
                text[end + place] = text[begin + place]
        end += length
        begin = after + 1
    return end


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
    if 65 <= code <= 72:  # A. of an option
        return _option(text, begin, stop, following, signs)
    if _speaker(code, following, text[begin + 2] if begin + 2 < stop else 0):
        return True
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


@inlined
def _option(text: Array, begin: int, stop: int, mark: int, signs: Array) -> bool:
    """Whether the letter at `begin` is an option's: A. A、 A）; E. coli is none."""
    if mark == 46 or mark == 0xFF0E:
        at = begin + 3 if begin + 2 < stop and text[begin + 2] == 32 else begin + 2
        small = at + 1 < stop and 97 <= text[at] <= 122 and 97 <= text[at + 1] <= 122
        return not small and not _kind(text, begin + 2, stop, signs) & DIGIT
    return bool(mark == 0x3001 or mark == 58 or mark == 0xFF1A or mark == 41 or mark == 0xFF09)


@inlined
def _is_next(first: int, text: Array, begin: int, stop: int) -> bool:
    """Whether a line is an option without a mark, and the first or the next one: `normalise._is_next`."""
    code = text[begin]
    if not 65 <= code <= 72 or begin + 2 >= stop or text[begin + 1] != 32:
        return False
    return bool(0x3400 <= text[begin + 2] <= 0x9FFF and (code == 65 or first == code - 1))


@inlined
def _speaker(first: int, second: int, third: int) -> bool:
    """Whether a line begins with who speaks: 问： 答： 医生： 医师： 大夫： 患者： 病人： 护士："""
    if first == 0x95EE or first == 0x7B54:
        return bool(second == 58 or second == 0xFF1A)
    two = (
        (first == 0x533B and (second == 0x751F or second == 0x5E08))
        or (first == 0x5927 and second == 0x592B)
        or (first == 0x60A3 and second == 0x8005)
        or (first == 0x75C5 and second == 0x4EBA)
        or (first == 0x62A4 and second == 0x58EB)
    )
    return bool(two and (third == 58 or third == 0xFF1A))


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
