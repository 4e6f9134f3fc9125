"""Numbers with their units: every one in an answer must stand in its source.

Chinese and English, digits and numerals: 9克, 九克 and `9 g` are the same pair (9, g). Units are unified, never
converted: 0.5 g is not 500 mg here, and 三钱 is never grams, because what a qian weighed depends on the dynasty.

What counts: a number with a unit; a number without one only when it is a decimal, a fraction or has two digits or more;
years. What does not: list ordinals (`1.`, `（12）`, 第三章), digits in names (B12, IL-6), counts of things below ten
(三种), and 一次, 一天, 一年, which are as often figures of speech.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from datatools.checks.contacts import without_contacts
from datatools.checks.numerals import NUMERAL, SCALES, read_numeral, words_as_numerals
from datatools.checks.plain import nfkc
from datatools.checks.units import COUNT, EQUIVALENT, FIGURATIVE, FIRST_CHARACTERS, UNIT, canonical, without_time


class Numbers(NamedTuple):
    """How many numbers an answer holds, and those (value and unit, `500 mg`) that its source does not."""

    total: int
    missing: tuple[str, ...]


class Quantity(NamedTuple):
    """A number as read: `counts` says whether an answer has to account for it."""

    value: float
    unit: str
    counts: bool

    def __str__(self) -> str:
        return f"{self.value:.12g} {self.unit}".strip()


_SUPERSCRIPT_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]{1,8}")
_VULGAR_SIGN = re.compile("[¼½¾⅐-⅞]")
_VULGAR = re.compile("(?<![0-9])([0-9]{0,6})([¼½¾⅐-⅞])")

_START = re.compile("[0-9零〇一二三四五六七八九十百千万亿两兩廿卅壹贰叁肆伍陆柒捌玖拾佰仟萬億半]")
# Herbs and medicines whose names begin as a number with a unit: 百合 is no hundred 合, 三七片 are not three to seven.
_NAME = re.compile(
    "百合|三七(?![日天次分开年月岁十])|八月[札炸]|[五六]月[雪寒艾]|百日草|千日红|千斤拔|三分三|半[支枝]莲|三年桐|十滴水|九分散"
)
_TOKEN = re.compile(
    rf"(?P<numeral>{NUMERAL})(?:分之(?P<part>{NUMERAL}|[0-9]{{1,6}}(?:\.[0-9]{{1,6}})?))?"
    r"|(?<![0-9])(?<![0-9]\.)(?P<digits>(?:[0-9]{1,3}(?:,[0-9]{3}){1,4}(?![0-9])|[0-9]{1,20})(?:\.[0-9]{1,12})?)"
    r"(?:/(?P<under>[1-9][0-9]?)(?![0-9/.,]))?"
    r"|(?P<half>半)"
)
# What may follow a number: a power of ten (also one that lost its superscript: ×109/L), 万, 余, a unit, a half.
_TAIL = re.compile(
    r"(?:\)?\s?[×x*·]\s?10(?:\^(?P<power>[+-]?[0-9]{1,2})|(?P<lost>[3-9]|1[0-2])(?![0-9]))|\^(?P<bare>[+-]?[0-9]{1,2}))?"
    r"\s?(?P<scale>[万亿萬億](?!分))?[余多来餘來]?(?P<and_half>个半)?"
    rf"(?:[\s-]?(?:个|/)??(?P<unit>{UNIT}))?(?P<half>半(?![夏枝边身]))?"
)
_TAIL_START = FIRST_CHARACTERS | frozenset(") \t\n-×x*·^/万亿萬億余多来餘來个半")
_RANGE = re.compile(r"\s?(?:[~—–\-−〜∼至到/×x]{1,2}|to|and|or|或)\s?")
# What stands before 三次 and makes it 三次 a day: 每日, 一日, 1天, 日服.
_EVERY = re.compile(
    r"(?:(?:[每一]|(?<![0-9])1)个?(日|天|晚|周|星期|月|年|小时)|(?<![0-9一二三四五六七八九十])(日))\D{0,5}$"
)
_ONE_DAY = re.compile(r"(?<![0-9])1\s?个?(?:天|日|周|星期|月|年|小时)\D{0,5}$")
_PERIODS = {"日": "天", "天": "天", "晚": "天", "周": "周", "星期": "周", "月": "个月", "年": "年", "小时": "小时"}
_ORDINAL_BEFORE = "第数數几幾"
_LIST_MARK = re.compile(r"[.、)）．:：]")


def missing_numbers(answer: str, source: str) -> Numbers:
    """The numbers of `answer`, and those among them that `source` does not hold with the same unit.

    A number without a unit needs only its value in the source. A unit that the source states apart from the number, as
    the head of a table does, is accepted. `10 mg/d` and 每天 10 mg count as the same, 3次/日 and 3次/周 do not.

    >>> missing_numbers("甘草9克，每日三次，连服2周。", "炙甘草九克，一日3次。")
    Numbers(total=3, missing=('2 周',))
    >>> missing_numbers("WBC 12×10⁹/L", "白细胞 12×10^9/L").missing
    ()
    """
    wanted = [quantity for quantity in quantities(without_contacts(answer)) if quantity.counts]
    if not wanted:
        return Numbers(0, ())
    found = _Index.of(source)
    return Numbers(len(wanted), tuple(dict.fromkeys(str(q) for q in wanted if not found.holds(q))))


class _Index(NamedTuple):
    """The quantities of a source, arranged for looking up."""

    pairs: frozenset[tuple[float, str]]
    timeless: frozenset[tuple[float, str]]
    values: frozenset[float]
    text: str

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, source: str) -> _Index:
        """Cached: the several answers of one passage come one after the other."""
        found = quantities(source)
        return cls(
            frozenset((q.value, q.unit) for q in found),
            frozenset((q.value, without_time(q.unit)) for q in found),
            frozenset(q.value for q in found),
            source,
        )

    def holds(self, wanted: Quantity) -> bool:
        """Whether the text has this number with its unit, or one that equals it, or bare with that unit elsewhere."""
        value, unit = wanted.value, wanted.unit
        if value not in self.values:
            return False
        if not unit or unit == COUNT or (value, unit) in self.pairs or (value, EQUIVALENT.get(unit)) in self.pairs:
            return True
        timeless = without_time(unit)
        if (value, timeless) in (self.timeless if timeless == unit else self.pairs):
            return True
        return (value, "") in self.pairs and unit in _lone_units(self.text)


@lru_cache(maxsize=64)
def _lone_units(text: str) -> frozenset[str]:
    """Units that stand without a number, as in a table's head: 剂量（mg）."""
    return frozenset(canonical(found["unit"]) for found in _LONE_UNIT.finditer(_plain(text)))


_LONE_UNIT = re.compile(rf"[(\[/:,，：|]\s?(?P<unit>{UNIT})(?=\s?[)\]|,，\n]|$)")


def quantities(text: str) -> list[Quantity]:
    """Every number of `text` with its canonical unit (an empty string without one), in order.

    >>> [str(q) for q in quantities("二两半，或3~5g；百分之五")]
    ['2.5 两', '3 g', '5 g', '5 %']
    """
    text = _plain(text)
    found: list[Quantity] = []
    waiting: list[_Waiting] = []
    end = position = 0
    while begin := _START.search(text, position):
        start = begin.start()
        if name := _NAME.match(text, start):
            position = name.end()
            continue
        token = _TOKEN.match(text, start)
        if token is None:  # inside a longer run of digits
            position = start + 1
            continue
        if waiting and not _RANGE.fullmatch(text, end, start):
            _settle(waiting, "", found)
        # 120/80 is a pair, 1/2 a fraction.
        fraction = token["under"] is not None and float(token["digits"].replace(",", "")) < int(token["under"])
        end = position = token.end("digits") if token["digits"] and not fraction else token.end()
        if start and text[start - 1] in _ORDINAL_BEFORE:
            continue
        tail = _TAIL.match(text, end) if text[end : end + 1] in _TAIL_START else None
        if tail and tail.lastindex:
            end = position = tail.end()
        else:
            tail = None
        values = _values(token, tail, fraction)
        first = waiting[0].start if waiting else start
        unit = _unit(token, tail, text, first)
        if (
            unit.startswith("次/")
            and found
            and found[-1].value == 1.0
            and _ONE_DAY.search(text, max(0, first - 10), first)
        ):
            found.pop()  # the 1 of 1日3次 is part of the frequency
        figurative = token["numeral"] is not None and values == (1.0,) and (not unit or unit in FIGURATIVE)
        waiting.append(_Waiting(values, not figurative, _stands_alone(token, text, fraction), start))
        if unit:
            _settle(waiting, unit, found)
    _settle(waiting, "", found)
    return found


class _Waiting(NamedTuple):
    """Numbers that wait for the unit at the end of their range: the 3 of 3~5 g."""

    values: tuple[float, ...]
    counts: bool
    alone: bool  # counts even when no unit comes
    start: int


def _settle(waiting: list[_Waiting], unit: str, found: list[Quantity]) -> None:
    plain = unit in ("", COUNT)
    for values, counts, alone, _ in waiting:
        for value in values:
            found.append(Quantity(value, unit, counts and (alone or not plain)))
    waiting.clear()


def _stands_alone(token: re.Match[str], text: str, fraction: bool) -> bool:
    """Whether a number counts without a unit: not a single digit, a list mark, or part of a name (B12, IL-16)."""
    if token["part"] or fraction:
        return True
    digits = token["digits"]
    if not digits or len(digits) < 2:
        return False
    if "." in digits:
        return True
    start, end = token.span("digits")
    if text[max(0, start - 4) : start].rstrip(" ")[-1:] in ("", "\n", "(") and _LIST_MARK.match(text, end):
        return False
    before = text[max(0, start - 2) : start]
    in_name = (before[-1:].isalpha() and before.isascii()) or (before[-1:] == "-" and before[:1].isalnum())
    return not in_name


def _unit(token: re.Match[str], tail: re.Match[str] | None, text: str, start: int) -> str:
    if token["part"] and token["numeral"] == "百":
        return "%"
    if tail is None:
        return ""
    unit = canonical(tail["unit"]) if tail["unit"] else ""
    if unit == "分" and token["numeral"] in ("十", "万"):
        return ""  # 十分 is "very"
    if unit == "次":
        every = _EVERY.search(text, max(0, start - 10), start)
        if every:
            unit = "次/" + _PERIODS[every[1] or every[2]]
    power = tail["power"] or tail["lost"] or tail["bare"]
    return f"e{int(power)} {unit}".strip() if power else unit


def _values(token: re.Match[str], tail: re.Match[str] | None, fraction: bool) -> tuple[float, ...]:
    numeral, part, digits = token.group("numeral", "part", "digits")
    values: tuple[float, ...]
    if numeral and part:
        over = float(part) if part[0].isdecimal() else read_numeral(part)[0]
        values = (over if numeral == "百" else round(over / max(read_numeral(numeral)[0], 1.0), 6),)
    elif numeral:
        values = read_numeral(numeral)
    elif digits:
        value = float(digits.replace(",", ""))
        values = (round(value / float(token["under"]), 6) if fraction else value,)
    else:
        values = (0.5,)
    if tail is None or not (tail["scale"] or tail["half"] or tail["and_half"]):
        return values
    scale = SCALES.get(tail["scale"], 1)
    half = 0.5 if tail["and_half"] or (tail["half"] and tail["unit"]) else 0.0
    return tuple(round(value * scale, 6) + half for value in values)


def _plain(text: str) -> str:
    """`text` as compared: superscripts as ^9, fractions as decimals, NFKC, lower case, number words as numerals."""
    if not text.isascii():
        if _VULGAR_SIGN.search(text):
            text = _VULGAR.sub(lambda found: f"{int(found[1] or 0) + unicodedata.numeric(found[2]):.6g}", text)
        text = _SUPERSCRIPT.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPT_DIGITS), text)
        text = nfkc(text)
    return words_as_numerals(text.lower())
