"""Prescription spans: stretches of a text in which herbs stand together as one formula, and what each weighs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from datatools.checks.lexicon import HERB, Lexicon, Mention, shipped  # noqa: F401 the doctests
from datatools.checks.plain import nfkc


class Span(NamedTuple):
    """Herbs that stand together, from `start` to `end` of the text they were found in."""

    start: int
    end: int
    herbs: tuple[Mention, ...]


class Amount(NamedTuple):
    """Grams of one herb: the same number twice where no range is given."""

    mention: Mention
    low: float
    high: float


# Between two herbs of one prescription: amounts, brackets, a word on preparation, at most so many other characters.
GAP = 10
_BRACKETS = re.compile(r"[(\[【〔][^()\[\]【】〔〕\n]{0,30}[)\]】〕]")
_FILLER = re.compile(r"[\d.~\-–—至到约各\s,，、;；:：+＋*·•/和与及或加配伍g克两钱枚片]|公分")
_STOP = re.compile(r"[。！？!?]|(?<=[;；])[^\n]{2,}(?:加|则|者|宜|选|用)")
_NEXT_ITEM = re.compile(
    r"\n\s*(?:[-*•·▪]|\d{1,2}[.、．)）]|[(（]\d{1,2}[)）])?\s*[*_]{0,2}\s*(?:[生炙炒制酒醋盐姜煅蜜麸鲜黑法清]{0,2})$"
)
_GRAMS = re.compile(
    r"(?:[(\[【〔][^()\[\]【】〔〕\n0-9]{1,12}[)\]】〕])?[\s:：*_各]{0,4}(?P<low>\d{1,4}(?:\.\d{1,3})?)"
    r"(?:\s?(?:g|克)?\s?[~\-–—至到]{1,2}\s?(?P<high>\d{1,4}(?:\.\d{1,3})?))?\s?(?:g(?![a-z])|克)"
)
_UNKNOWN = re.compile(
    r"(?P<name>[\u4e00-\u9fff]{2,6})(?:\([^()\n0-9]{1,12}\))?\s?\d{1,4}(?:\.\d{1,3})?\s?(?:g(?![a-z])|克)"
)
_PROCESSED = re.compile(
    "^(?:生|炙|蜜炙?|炒|麸炒|制|酒炙?|醋炙?|盐炙?|姜|煅|燀|焦|鲜|干|净|熟|炮|法|清|黑|白|川|广|怀|杭|北|南|炒焦|土炒|煨|飞|水飞)+|(?:片|粉|炭|霜|末|段|丝|块|曲|肉|仁|子|尾|身|头|皮|叶|花|根|梗|须)+$"
)


def spans(text: str, lexicon: Lexicon) -> tuple[str, list[Span]]:
    """`text` as compared (NFKC) and its prescription spans of two or more herbs.

    >>> [[m.name for m in span.herbs] for span in spans("甘草6g，海藻10g。加减：痰多加半夏。", shipped())[1]]
    [['甘草', '海藻']]
    """
    text = nfkc(text)
    herbs = [mention for mention in lexicon.find(text) if mention.kind == HERB]
    found: list[Span] = []
    run: list[Mention] = []
    for mention in herbs:
        if run and not together(text, run[-1], mention):
            _close(run, found)
            run = []
        run.append(mention)
    _close(run, found)
    return text, found


def _close(run: Sequence[Mention], found: list[Span]) -> None:
    if len(run) > 1:
        found.append(Span(run[0].start, run[-1].end, tuple(run)))


def together(text: str, one: Mention, other: Mention) -> bool:
    """Whether two herbs that follow one another stand in one prescription."""
    gap = text[one.end : other.start]
    if len(gap) > 80:
        return False
    if _NEXT_ITEM.search(gap) and _GRAMS.match(text, one.end):
        return "\n\n" not in gap and len(_FILLER.sub("", _BRACKETS.sub("", gap))) <= 4 * GAP
    gap = _BRACKETS.sub("", gap)
    return not _STOP.search(gap) and "\n\n" not in gap and len(_FILLER.sub("", gap)) <= GAP


def amounts(text: str, mentions: Sequence[Mention]) -> list[Amount]:
    """Grams that stand right behind herbs in a text as compared.

    >>> [(a.mention.name, a.low, a.high) for a in amounts("附子(先煎)9~15g，细辛3克", shipped().find("附子(先煎)9~15g，细辛3克"))]
    [('附子', 9.0, 15.0), ('细辛', 3.0, 3.0)]
    """
    found = []
    for mention in mentions:
        grams = _GRAMS.match(text, mention.end) if mention.kind == HERB else None
        if grams:
            low = float(grams["low"])
            found.append(Amount(mention, low, float(grams["high"] or low)))
    return found


def unknown_herbs(text: str, found: Sequence[Span], lexicon: Lexicon) -> tuple[str, ...]:
    """Names with a weight among the herbs of a prescription that stand in no lexicon, each once.

    >>> unknown_herbs(*spans("麻黄6g，桂枝6g，玉龙草10g，甘草3g", shipped()), shipped())
    ('玉龙草',)
    """
    missing: dict[str, None] = {}
    for span in found:
        if len(span.herbs) < 2:
            continue
        tail = text.find("\n", span.end)
        end = min(span.end + 30, tail if tail >= 0 else len(text), len(text))
        for item in _UNKNOWN.finditer(text, span.start, end):
            name = item["name"]
            known = any(mention.kind == HERB for mention in lexicon.find(name))
            if not known and not _is_known(name, lexicon) and not _NO_HERB.search(name):
                missing[name] = None
    return tuple(missing)


_NO_HERB = re.compile(
    "每|次|服|日|共|各|取|用|加|为|约|总|重|末|量|剂|蛋白|糖|盐|水|米|酒|油|茶|面|肉|蛋|以上|上述|其余|分"
)


def _is_known(name: str, lexicon: Lexicon) -> bool:
    bare = _PROCESSED.sub("", name)
    return name in lexicon or bare in lexicon or any(f"{bare}{end}" in lexicon for end in "子仁皮叶花根草")
