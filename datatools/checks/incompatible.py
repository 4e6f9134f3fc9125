"""十八反 and 十九畏: herbs that tradition forbids in one prescription. A pair is flagged, never deleted.

`warned` says that the monographs of the Pharmacopoeia (2020, volume I, 注意) state the pair too (不宜与…同用); the others
stand in the mnemonic verses alone. For 附子 the verses have 乌头; the pharmacopoeia warns of 附子 by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from datatools.checks.lexicon import HERB, Lexicon, shipped  # noqa: F401 the doctests
from datatools.checks.plain import nfkc
from datatools.checks.prescription import Span, spans


class Pair(NamedTuple):
    """Two herbs by their names in the lexicon, the rule that names them, and whether the pharmacopoeia warns too."""

    one: str
    other: str
    rule: str
    warned: bool


_FALL = "十八反"
_FEAR = "十九畏"
# one side; other side; rule; warned. Members by the names of the lexicon, which knows their aliases.
_TABLE = (
    ("川乌 草乌 附子", "半夏 瓜蒌 瓜蒌皮 瓜蒌子 天花粉", _FALL, True),
    ("川乌 草乌 附子", "川贝母 浙贝母 平贝母 伊贝母 湖北贝母", _FALL, True),
    ("川乌 草乌 附子", "白蔹 白及", _FALL, True),
    ("川乌 草乌 附子", "贝母", _FALL, False),
    ("天雄", "半夏 瓜蒌 瓜蒌皮 瓜蒌子 天花粉 贝母 川贝母 浙贝母 平贝母 伊贝母 湖北贝母 白蔹 白及", _FALL, False),
    ("甘草", "海藻 京大戟 红大戟 甘遂 芫花", _FALL, True),
    ("藜芦", "人参 西洋参 党参 丹参 玄参 苦参 南沙参 北沙参 细辛 白芍 赤芍 人参叶", _FALL, True),
    ("藜芦", "沙参 芍药 太子参", _FALL, False),
    ("硫黄", "芒硝 玄明粉", _FEAR, True),
    ("水银", "砒石", _FEAR, False),
    ("狼毒", "密陀僧", _FEAR, False),
    ("巴豆 巴豆霜", "牵牛子", _FEAR, True),
    ("丁香 母丁香", "郁金", _FEAR, True),
    ("三棱", "芒硝 玄明粉", _FEAR, True),
    ("川乌 草乌", "犀角", _FEAR, False),
    ("人参 人参叶", "五灵脂", _FEAR, True),
    ("肉桂", "赤石脂", _FEAR, True),
)  # fmt: skip
PAIRS = tuple(
    Pair(one, other, rule, warned)
    for ones, others, rule, warned in _TABLE
    for one in ones.split()
    for other in others.split()
)
_BY_NAMES = {frozenset((pair.one, pair.other)): pair for pair in PAIRS}

# Formulas that hold a forbidden pair on purpose: naming one is no fault of the text.
CLASSICAL = {
    "甘遂半夏汤": ("甘草+甘遂",),
    "海藻玉壶汤": ("甘草+海藻",),
    "内消瘰疬丸": ("甘草+海藻",),
    "附子粳米汤": ("附子+半夏",),
    "赤丸": ("川乌+半夏",),
    "瓜蒌瞿麦丸": ("附子+天花粉",),
    "栝楼瞿麦丸": ("附子+天花粉",),
    "十香返魂丹": ("丁香+郁金",),
    "定坤丹": ("人参+五灵脂",),
    "化癥回生丹": ("人参+五灵脂",),
    "大活络丹": ("草乌+犀角", "川乌+犀角", "人参+五灵脂"),
}
_RULE = re.compile(
    "十八反|十九畏|相反|相畏|相恶|配伍禁忌|配伍忌|反药|畏药|不宜(?:与|和|同)|不宜[^。，]{0,30}(?:同用|合用|配伍|并用|一起)"
    "|(?:禁止?|忌|不可|不能|不得|勿|避免|切忌|严禁)[^。，\n]{0,20}(?:同用|合用|配伍|并用|一起|同服|共用|配合)|同用禁忌|禁忌配伍"
    "|incompatib|should not be (?:combined|used together)"
)
# 不含制草乌, 去半夏: named, but not in the prescription.
_LEFT_OUT = re.compile("(?:不含|不用|没有|未用|无|去|减|易|忌用|禁用|忌|禁|代替)[生炙炒制酒醋盐姜煅蜜法清]{0,2}$")
_OF_THE_RULE = re.compile(
    "十八反|十九畏|配伍禁忌|妊娠[^。，]{0,6}禁|孕妇[^。，]{0,4}[禁忌]|禁歌"
)  # a question about it
MOST_HERBS = 45  # more are a catalogue; of 1,087 formulas of one graph two have more
AROUND = 40  # characters before and after a span in which a text may say that it speaks of the rule


def incompatible(text: str, lexicon: Lexicon, context: str = "") -> tuple[Pair, ...]:
    """The forbidden pairs that stand in one prescription of a text, each once.

    A text that states the rule is exempt, and so is a classical formula that is named in the text or in `context` (the
    question, the source).

    >>> [f"{pair.one}+{pair.other}" for pair in incompatible("处方：炙甘草6g，海藻15g，昆布15g。", shipped())]
    ['甘草+海藻']
    >>> incompatible("甘草反海藻，不可同用。", shipped()), incompatible("海藻玉壶汤含海藻、甘草。", shipped())
    ((), ())
    """
    text, found = spans(text, lexicon)
    found = [span for span in found if len(span.herbs) <= MOST_HERBS]
    if not found or _OF_THE_RULE.search(context):
        return ()
    named = [pairs for name, pairs in CLASSICAL.items() if name in text or name in nfkc(context)]
    exempt = {pair for pairs in named for pair in pairs}
    pairs: dict[Pair, None] = {}
    for span in found:
        candidates = [pair for pair in _pairs(text, span) if f"{pair.one}+{pair.other}" not in exempt]
        if candidates and not _states_rule(text, span):
            pairs.update(dict.fromkeys(candidates))
    return tuple(pairs)


def _pairs(text: str, span: Span) -> Iterator[Pair]:
    used = [m for m in span.herbs if not _LEFT_OUT.search(text, max(0, m.start - 6), m.start)]
    names = list(dict.fromkeys(mention.name for mention in used))
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if pair := _BY_NAMES.get(frozenset((one, other))):
                yield pair


def _states_rule(text: str, span: Span) -> bool:
    if _RULE.search(text, max(0, span.start - AROUND), min(len(text), span.end + AROUND)):
        return True
    # 甘草反甘遂, 丁香莫与郁金见: the verb stands right before the second herb.
    return any(
        text[max(0, mention.start - 2) : mention.start].rstrip("与和").endswith(("反", "畏", "恶", "莫", "忌"))
        for mention in span.herbs
    )
