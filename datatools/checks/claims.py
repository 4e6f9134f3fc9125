"""Claims of an answer against a graph: herbs of a formula, properties of a herb, therapy of a syndrome.

Three outcomes, as counts: the graph says the same, the graph says otherwise, the graph does not know. Where a graph lists
all there is (the herbs of a formula, the channels of a herb) what it leaves out is contradicted; a therapy is only
contradicted by one that has no character in common with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from datatools.checks.lexicon import FORMULA, HERB, Lexicon, Mention, shipped  # noqa: F401 the doctests
from datatools.checks.plain import nfkc
from datatools.checks.prescription import together

_NATURE = re.compile(
    "(?:性|药性(?:为|是)?|[辛甘苦酸咸涩淡][，、,])(?:味[辛甘苦酸咸涩淡、]{1,8}[，,])?(?P<nature>大寒|微寒|寒|凉|平|微温|温|大热|热)(?![性热凉中肺里])"
)
_FLAVOURS = re.compile(
    "(?<![一二三四五六七八九十数诸各几])味(?:为|是|[:：])?(?P<flavours>微?[辛甘苦酸咸涩淡](?:[、，,和及与兼]?微?[辛甘苦酸咸涩淡]){0,5})"
)
_CHANNELS = re.compile(
    "(?<!当)[归入](?P<channels>(?:[肝心脾肺肾胃胆、，,和及与]|小肠|大肠|膀胱|三焦|心包|经){1,24}?经)(?![络脉期血])"
)
_CHANNEL = re.compile("小肠|大肠|膀胱|三焦|心包|[肝心脾肺肾胃胆]")
_COMPOSED = re.compile(
    "由[^。]{0,4}$|组成(?:为|是|有|包括|中?含有?|中?有)?[:：]?$|(?:含有|包含|包括|药物(?:有|为)?|方中(?:有|用))[:：]?[^。；\n]{0,4}$|(?:处方|用药|组成|药物)[:：]\\s*$"
)
_NEGATED = re.compile("不(?:含|用|包括|属于|归|入)|没有|并非|不是|未(?:用|含)|无|去|减|加|改|除|错误|代|而非|有别于")
_THERAPY = re.compile("(?:治(?:宜|以|法(?:为|是|[:：])|则(?:为|[:：]))|宜)(?P<therapy>[\u4e00-\u9fff]{4,8})")
_SIDES = {
    **dict.fromkeys("大寒 寒 微寒 凉".split(), "cold"),
    **dict.fromkeys("大热 热 微温 温".split(), "warm"),
    "平": "even",
}


# Herbs that stand for one another in the formulas of different times, and what is taken with many a decoction.
_KIN = tuple(
    frozenset(line.split())
    for line in ("芍药 白芍 赤芍", "犀角 水牛角", "木通 川木通 通草", "竹叶 淡竹叶", "沙参 南沙参 北沙参", "人参 党参", "半夏 天南星",
                 "芒硝 玄明粉", "贝母 川贝母 浙贝母", "滑石 滑石粉", "石膏 寒水石", "厚朴 厚朴花", "桂枝 肉桂", "干姜 生姜 炮姜", "茯苓 赤茯苓 茯神")
)  # fmt: skip
_TAKEN_WITH = frozenset("生姜 大枣 蜂蜜 薄荷 粳米 葱白 灯心草".split())


class Claims(NamedTuple):
    """Counts of claims, and the contradicted ones in words."""

    true: int
    contradicted: tuple[str, ...]
    unknown: int


@dataclass(frozen=True)
class Known:
    """What a graph knows, by the one names of the lexicon."""

    herbs: Mapping[str, frozenset[str]] = field(default_factory=dict)  # formula → all its herbs
    natures: Mapping[str, frozenset[str]] = field(default_factory=dict)  # herb → natures
    channels: Mapping[str, frozenset[str]] = field(default_factory=dict)  # herb → channels, without 经
    flavours: Mapping[str, frozenset[str]] = field(default_factory=dict)  # herb → flavours, without 微
    therapies: Mapping[str, frozenset[str]] = field(default_factory=dict)  # syndrome → therapies


def claims(answer: str, known: Known, lexicon: Lexicon) -> Claims:
    """Compare what an answer claims with what the graph knows.

    >>> graph = Known(herbs={"麻黄汤": frozenset("麻黄 桂枝 苦杏仁 甘草".split())})
    >>> claims("麻黄汤由麻黄、桂枝、大黄组成。", graph, shipped())
    Claims(true=2, contradicted=('麻黄汤+大黄',), unknown=0)
    """
    answer = nfkc(answer)
    mentions = lexicon.find(answer)
    found = [*_herbs(answer, mentions, known), *_properties(answer, mentions, known), *_therapies(answer, known)]
    wrong = tuple(dict.fromkeys(words for words, holds in found if holds is False))
    return Claims(sum(holds is True for _, holds in found), wrong, sum(holds is None for _, holds in found))


def _herbs(text: str, mentions: list[Mention], known: Known) -> Iterator[tuple[str, bool | None]]:
    """Formula, a word that says what it is made of, and a run of herbs."""
    for place, formula in enumerate(mentions):
        if formula.kind != FORMULA:
            continue
        run: list[Mention] = []
        for herb in mentions[place + 1 :]:
            if herb.kind != HERB:
                break
            if not run:
                between = text[formula.end : herb.start]
                if len(between) > 24 or not _COMPOSED.search(between) or _NEGATED.search(between):
                    break
            elif not together(text, run[-1], herb) or _NEGATED.search(text, run[-1].end, herb.start):
                break
            run.append(herb)
        for herb in run:
            yield f"{formula.name}+{herb.name}", _has(known.herbs.get(formula.name), herb.name)


def _has(herbs: frozenset[str] | None, herb: str) -> bool | None:
    """Whether a formula has a herb; None where nobody knows, or it has one of nearly that name (地黄, 熟地黄)."""
    if not herbs:
        return None
    if herb in herbs:
        return True
    kin = next((group for group in _KIN if herb in group), frozenset())
    near = herb in _TAKEN_WITH or any(other in kin or herb in other or other in herb for other in herbs)
    return None if near else False


def _properties(text: str, mentions: list[Mention], known: Known) -> Iterator[tuple[str, bool | None]]:
    """Herb, and its nature, flavours or channels before the sentence ends or another herb comes."""
    for place, herb in enumerate(mentions):
        if herb.kind != HERB:
            continue
        stop = re.compile("[。；;！？\n]").search(text, herb.end)
        end = stop.start() if stop else len(text)
        if place + 1 < len(mentions):
            end = min(end, mentions[place + 1].start)
        end = min(end, herb.end + 60)
        if (nature := _NATURE.search(text, herb.end, end)) and not _NEGATED.search(text, herb.end, nature.start()):
            natures = known.natures.get(herb.name)
            sides = {_SIDES[item] for item in natures} if natures else set()
            side = _SIDES[nature["nature"]]
            # 平 of one book is 微温 of another: only hot against cold is a contradiction.
            opposed = side != "even" and sides and sides <= {"cold", "warm"} - {side}
            yield f"{herb.name}:{nature['nature']}", True if side in sides else False if opposed else None
        if (tastes := _FLAVOURS.search(text, herb.end, end)) and not _NEGATED.search(text, herb.end, tastes.start()):
            flavours = known.flavours.get(herb.name, frozenset())
            claimed = re.findall("[辛甘苦酸咸涩淡]", tastes["flavours"])
            # Books differ by one flavour or another: only when none is right is it a contradiction.
            wrong = bool(flavours) and not flavours & set(claimed)
            for flavour in claimed:
                yield f"{herb.name}:味{flavour}", True if flavour in flavours else False if wrong else None
        if (said := _CHANNELS.search(text, herb.end, end)) and not _NEGATED.search(text, herb.end, said.start()):
            channels = known.channels.get(herb.name)
            for channel in _CHANNEL.findall(said["channels"]):
                yield f"{herb.name}:{channel}经", channel in channels if channels else None


def _therapies(text: str, known: Known) -> Iterator[tuple[str, bool | None]]:
    """Syndrome, 治宜, therapy."""
    if not known.therapies or not _THERAPY.search(text):
        return
    for syndrome, therapies in known.therapies.items():
        start = text.find(syndrome)
        if start < 0:
            continue
        end = start + len(syndrome)
        said = _THERAPY.search(text, end, min(len(text), end + 40))
        if said:
            therapy = said["therapy"]
            if any(item in therapy or therapy in item for item in therapies):
                yield f"{syndrome}:{therapy}", True
            else:
                foreign = not any(set(item) & set(therapy) for item in therapies)
                yield f"{syndrome}:{therapy}", False if foreign else None
