"""十八反 and 十九畏: every pair, in every direction, and what is no prescription."""

from __future__ import annotations

import pytest

from datatools.checks.incompatible import CLASSICAL, PAIRS, Pair, incompatible
from datatools.checks.lexicon import shipped

# Written out by hand and not taken from the table: the verses, with what the pharmacopoeia adds to them.
EXPECTED = {
    *(
        (one, other)
        for one in "川乌 草乌 附子 天雄".split()
        for other in "半夏 瓜蒌 瓜蒌皮 瓜蒌子 天花粉 贝母 川贝母 浙贝母 平贝母 伊贝母 湖北贝母 白蔹 白及".split()
    ),
    *(("甘草", other) for other in "海藻 京大戟 红大戟 甘遂 芫花".split()),
    *(
        ("藜芦", other)
        for other in "人参 西洋参 党参 太子参 丹参 玄参 苦参 沙参 南沙参 北沙参 细辛 芍药 白芍 赤芍 人参叶".split()
    ),
    *(("硫黄", "芒硝"), ("硫黄", "玄明粉"), ("水银", "砒石"), ("狼毒", "密陀僧"), ("巴豆", "牵牛子")),
    *(("巴豆霜", "牵牛子"), ("丁香", "郁金"), ("母丁香", "郁金"), ("三棱", "芒硝"), ("三棱", "玄明粉")),
    *(("川乌", "犀角"), ("草乌", "犀角"), ("人参", "五灵脂"), ("人参叶", "五灵脂"), ("肉桂", "赤石脂")),
}
ALIASES = [
    ("国老6g，海藻15g", "甘草+海藻"),
    ("制附子9g（先煎），法半夏9g", "附子+半夏"),
    ("制川乌3g，栝楼根10g", "川乌+天花粉"),
    ("生草乌2g、川贝6g", "草乌+川贝母"),
    ("黑顺片10g，白芨6g", "附子+白及"),
    ("藜芦1g，西洋参3g", "藜芦+西洋参"),
    ("硫磺2g，朴硝6g", "硫黄+芒硝"),
    ("水银1g，砒霜0.1g", "水银+砒石"),
    ("巴豆霜0.1g，黑丑3g", "巴豆霜+牵牛子"),
    ("公丁香3g，川郁金6g", "丁香+郁金"),
    ("马牙硝6g，京三棱9g", "三棱+芒硝"),
    ("官桂3g，赤石脂10g", "肉桂+赤石脂"),
    ("红参9g，灵脂6g", "人参+五灵脂"),
]


def found(text: str, context: str = "") -> list[str]:
    return [f"{pair.one}+{pair.other}" for pair in incompatible(text, shipped(), context)]


def test_the_table_is_the_verses() -> None:
    assert {(pair.one, pair.other) for pair in PAIRS} == EXPECTED
    assert len(PAIRS) == len(EXPECTED)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.one}+{pair.other}")
def test_every_pair_is_flagged_either_way_round(pair: Pair) -> None:
    name = f"{pair.one}+{pair.other}"
    assert found(f"处方：{pair.one}6g，当归10g，{pair.other}9g。") == [name]
    assert found(f"{pair.other}、陈皮、{pair.one}，水煎服。") == [name]
    assert found(f"1. {pair.one} 6g：君药。\n2. 当归 9g：养血。\n3. {pair.other} 9g：佐药。") == [name]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.one}+{pair.other}")
def test_the_rule_itself_is_no_fault(pair: Pair) -> None:
    assert found(f"{pair.one}与{pair.other}相反，不宜同用。") == []
    assert found(f"{pair.one}反{pair.other}。") == []
    assert found(f"配伍禁忌：{pair.one}、{pair.other}。") == []
    assert found(f"处方中不能同时使用{pair.one}和{pair.other}，二者不可合用。") == []


@pytest.mark.parametrize(("text", "pair"), ALIASES)
def test_aliases_are_the_herb(text: str, pair: str) -> None:
    assert found(text) == [pair]


@pytest.mark.parametrize("formula", CLASSICAL)
def test_a_classical_formula_is_exempt_when_it_is_named(formula: str) -> None:
    for pair in CLASSICAL[formula]:
        one, other = pair.split("+")
        assert found(f"{formula}由{one}、{other}等组成。") == []
        assert found(f"组成：{one}6g，{other}9g。", context=f"{formula}的组成是什么？") == []
        assert pair in found(f"自拟方：{one}6g，{other}9g。")


@pytest.mark.parametrize(
    "text",
    [
        "痰多者加半夏9g。阳虚甚者，另用附子汤。",
        "甘草调和诸药。海藻则多用于瘿瘤，两者见于不同的章节。",
        "处方：附子9g，干姜6g，甘草6g，不含半夏。",
        "原方去半夏，加附子6g。",
        "甘草酸与海藻多糖",
        "四逆汤、半夏泻心汤皆可选用。",
        "",
    ],
)
def test_herbs_of_no_one_prescription(text: str) -> None:
    assert found(text) == []


def test_a_question_about_the_rule_is_exempt() -> None:
    assert found("甘草、海藻、大戟、甘遂、芫花", "十八反中与甘草有关的药有哪些？") == []


def test_the_pharmacopoeia_warns_of_most() -> None:
    unwarned = {f"{pair.one}+{pair.other}" for pair in PAIRS if not pair.warned}
    assert {"水银+砒石", "狼毒+密陀僧", "川乌+犀角"} <= unwarned
    assert "附子+半夏" not in unwarned
