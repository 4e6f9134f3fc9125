"""Numerals in words, Chinese and English, read as numbers."""

from __future__ import annotations

import re
from functools import lru_cache

_ONES = {c: i for line in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖") for i, c in enumerate(line)}
_ONES |= {"两": 2, "兩": 2}
_TENS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
SCALES = {"万": 10_000, "萬": 10_000, "亿": 10**8, "億": 10**8}
_WORD_NUMERALS = """
zero零 one一 two二 three三 four四 five五 six六 seven七 eight八 nine九 ten十 eleven十一 twelve十二 thirteen十三
fourteen十四 fifteen十五 sixteen十六 seventeen十七 eighteen十八 nineteen十九 twenty二十 thirty三十 forty四十 fifty五十
sixty六十 seventy七十 eighty八十 ninety九十 once一 twice二 thrice三 qd一 bid二 tid三 qid四
"""
_WORDS: dict[str, str] = dict(re.findall("([a-z]+)([^a-z\\s]+)", _WORD_NUMERALS))
_LATIN = re.compile("[a-z]+")
_WORD_LIST = frozenset(_WORDS)
_WORD = re.compile(
    r"(?<![a-z])(?:(?P<number>(?:twen|thir|for|fif|six|seven|eigh|nine)ty|(?:four|fif|six|seven|eigh|nine|thir)teen"
    r"|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?:-(?P<one>one|two|three|four|five|six|seven"
    r"|eight|nine)(?![a-z]))?(?=[\s-])|(?P<often>once|twice|thrice)(?=\s(?:(?:a|an|per|each|every)\s)?"
    r"(?:dai|day|week|mon|year|hour))|(?P<latin>[qbt]i?d)(?![a-z]))"
)

# 千 before 克 belongs to the unit, and 两 is a numeral only in front: 三两二钱 is 3 liang and 2 qian.
NUMERAL = (
    "(?:[两兩](?:[零一二三四五六七八九十百万萬亿]|千(?![克卡帕]))*"
    "|(?:[零〇一二三四五六七八九十百万亿廿卅壹贰叁肆伍陆柒捌玖拾佰仟萬億]|千(?![克卡帕]))+)"
)


@lru_cache(maxsize=4096)
def read_numeral(text: str) -> tuple[float, ...]:
    """Values of a Chinese numeral; two for 三五 (three to five).

    >>> [read_numeral(text) for text in ("二百零五", "廿一", "十五", "三五", "一九九八")]
    [(205.0,), (21.0,), (15.0,), (3.0, 5.0), (1998.0,)]
    """
    if len(text) == 1 and text in _ONES:
        return (float(_ONES[text]),)
    if all(c in _ONES for c in text):
        digits = [_ONES[c] for c in text]
        if len(digits) == 2 and digits[0] < digits[1] and digits[0]:
            return float(digits[0]), float(digits[1])
        return (float("".join(map(str, digits))[:300]),)
    total = section = digit = 0
    for c in text:
        if c in _ONES:
            digit = _ONES[c]
        elif c in _TENS:
            section += (digit or 1) * _TENS[c]
            digit = 0
        elif c in SCALES:
            total += (section + digit or 1) * SCALES[c]
            section = digit = 0
        else:
            section += 20 if c == "廿" else 30
    return (float(total + section + digit),)


def words_as_numerals(text: str) -> str:
    """Lower-case `text` with English numbers in words turned into Chinese numerals, which are then read as those are.

    >>> words_as_numerals("two tablets twice daily for twenty-one days"), words_as_numerals("500 mg bid")
    ('二 tablets 二 times daily for 二十一 days', '500 mg 二 times daily')
    """
    return text if _WORD_LIST.isdisjoint(_LATIN.findall(text)) else _WORD.sub(_numeral_of_word, text)


def _numeral_of_word(found: re.Match[str]) -> str:
    if found["latin"]:
        return _WORDS.get(found[0], "") + " times daily" if found[0] in _WORDS else found[0]
    if found["often"]:
        return _WORDS[found["often"]] + " times"
    return _WORDS[found["number"]] + (_WORDS[found["one"]] if found["one"] else "")
