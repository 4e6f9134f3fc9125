from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.numbers import missing_numbers
from datatools.corrupt.corrupt import KINDS, corruptions
from datatools.corrupt.doses import other_dose
from datatools.corrupt.drugs import classes, other_drug
from datatools.corrupt.meaning import LEAST_LEFT, WARNING, turned_negation, without_warning

DRUGS = sorted(classes())
# Sentences as medical answers hold them; whatever is built of them must come out worse, and only where it says so.
SENTENCES = st.sampled_from(
    [
        "口服，一次0.5 g，一日3次。",
        "桂枝三两，芍药（炒，二钱）。",
        "甘草3～9g，水煎服。",
        "静脉滴注，每日200～400 mg，分2次给予。",
        "孕妇禁用，不宜与藜芦同用。",
        "若出现胸痛，应立即就医。",
        "可选用阿莫西林或头孢呋辛。",
        "本病多见于青年，男女之比约为2：1。",
        "白细胞12×10⁹/L，血红蛋白120 g/L。",
        "新生儿体重3 kg，失血200 ml。",
        "桂枝汤与黄连素都不是草药的名字。",
        "Take 500 mg daily. It should not be taken with alcohol.",
        "不能食者，不可逆也。",
    ]
)
ANSWERS = st.lists(SENTENCES, min_size=1, max_size=8).map("\n".join)


@given(ANSWERS, st.integers())
def test_every_corruption_is_worse_in_what_it_says(answer: str, seed: int):
    for kind, worse in corruptions("怎么治？", answer, Random(seed)):
        assert worse != answer
        if kind == "dose":
            assert missing_numbers(worse, answer).missing
        elif kind == "drug":
            before, after = ({name for name in DRUGS if name in text.lower()} for text in (answer, worse))
            assert after - before
        elif kind == "warning":
            assert WARNING.search(answer) and not WARNING.search(worse)
            assert len(worse) >= LEAST_LEFT * len(answer)
            assert all(line in answer for line in worse.split("\n"))


@given(ANSWERS, st.integers())
def test_the_same_draw_gives_the_same(answer: str, seed: int):
    assert list(corruptions("怎么治？", answer, Random(seed))) == list(corruptions("怎么治？", answer, Random(seed)))


@pytest.mark.parametrize(
    "answer",
    [
        "白细胞12×10⁹/L，血红蛋白120 g/L，给予输血。",  # values of the laboratory
        "失血200 ml，给予补液。",
        "新生儿体重3 g以下者，给予保温。",
        "服药三日后好转，又过了两天。",
        "患者服药后，两侧瞳孔等大。",
        "每日饮水量2000 ml。",
    ],
)
def test_what_is_measured_is_no_dose(answer: str):
    assert all(other_dose(answer, Random(seed)) is None for seed in range(20))


def test_both_ends_of_a_range_change():
    assert other_dose("水煎服，3～9g。", Random(5)) in {f"水煎服，{3 * k}～{9 * k}g。" for k in (3, 5, 10)} | {
        "水煎服，0.6～1.8g。",
        "水煎服，0.3～0.9g。",
    }


def test_a_number_in_chinese_stays_one():
    found = {other_dose("桂枝三两，水煎。", Random(seed)) for seed in range(40)}
    assert found == {"桂枝九两，水煎。", "桂枝十五两，水煎。", "桂枝三十两，水煎。"}


@pytest.mark.parametrize(
    "answer",
    [
        "宜桂枝汤。",
        "可用黄连素。",
        "捣千杵为丸，如皂荚子大。每服一丸。",
        "用三七止血片。",
        "加阿胶珠。",
        "选麻黄碱治疗。",
        "服人参养荣丸。",
        "嗜铬细胞瘤分泌肾上腺素样物质。",
    ],
)
def test_the_name_of_a_herb_within_a_longer_one_stays(answer: str):
    worse = other_drug("", answer, Random(1))
    assert worse is None or "肾上腺素" in answer


def test_the_drug_of_the_question_stays():
    assert other_drug("甘草有什么功效？", "甘草补脾益气。", Random(0)) is None


def test_a_drug_changes_wherever_it_is_named():
    worse = other_drug("", "先服阿莫西林，阿莫西林过敏者改用他药。", Random(0))
    assert worse is not None and "阿莫西林" not in worse


@pytest.mark.parametrize(
    ("answer", "worse"),
    [
        ("孕妇禁用。", "孕妇可用。"),
        ("不可久服。", "可久服。"),
        ("应立即就医。", "不必立即就医。"),
        ("忌食生冷。", "宜食生冷。"),
        ("不要自行停药。", "可以自行停药。"),
        ("It should not be used.", "It should be used."),
        ("Warfarin is not recommended.", "Warfarin is recommended."),
    ],
)
def test_a_prohibition_becomes_a_permission(answer: str, worse: str):
    assert turned_negation(answer, Random(0)) == worse


@pytest.mark.parametrize(
    "answer",
    [
        "病变不可逆。",
        "患者不能食。",
        "气虚不能行。",
        "禁忌证：无。",
        "不能饮食。",
        "得水不能饮。",
        "腰痛不可用俯仰。",
        "不能用手捏起。",
    ],
)
def test_what_is_no_prohibition_stays(answer: str):
    assert turned_negation(answer, Random(0)) is None


def test_too_short_without_its_warning_is_left_alone():
    assert without_warning("孕妇禁用。口服。", Random(0)) is None


@pytest.mark.parametrize(
    "line",
    [
        "误食有毒食物，伤损胃肠。",
        "并发脓毒性休克。",
        "又名梅毒性脑膜脑炎。",
        "可缓解药物毒性、烈性。",
        "进食有毒或变质的鱼。",
        "伴注意力不集中。",
        "余于本病素加注意，前年曾检阅之。",
        "这一点引起了医家的注意。",
        "见于接受有毒性作用药物治疗的患者。",
    ],
)
def test_what_was_eaten_or_caught_is_no_warning(line: str):
    assert without_warning("本病起病较急，病程一般不长，多数可以痊愈，少数会转为慢性。" + line, Random(0)) is None


def test_a_number_is_not_left_without_its_item():
    items = (
        "Read the report in this order:\n1. Are adverse events counted?\n2. Were patients like mine included?\n"
        "3. Is the outcome one that matters to patients, or a laboratory value?"
    )
    assert without_warning(items, Random(0)) is None


def test_a_drug_with_side_effects_has_a_warning():
    good = "用于感冒发热，每日三次，饭后温水送服，三天为一个疗程。"
    assert without_warning(good + "本品有小毒。", Random(0)) == good == without_warning(good + "毒性较大。", Random(0))


def test_the_poison_of_a_disease_is_no_warning():
    assert without_warning("病毒性肝炎由病毒引起，中毒性休克另见。多数可以痊愈，少数转为慢性。", Random(0)) is None


def test_classes_name_each_drug_once():
    names = [name for members in set(classes().values()) for name in members]
    assert len(names) == len(set(names))
    assert set(KINDS) == {"dose", "drug", "negation", "warning"}


@pytest.mark.parametrize(
    "field", ["症状：易激惹 注意障碍 焦虑 坐立不安", "别名：毒性红斑,中毒疹", "治愈率：及时就医一般在78-95%"]
)
def test_a_field_of_a_table_is_no_warning(field: str) -> None:
    rest = (
        "发病部位：全身\n传染性：无传染性\n就诊科室：急诊科 内科\n检查：血常规 尿常规\n治疗：药物治疗\n治疗周期：10天"
    )
    assert without_warning(f"{rest}\n{field}", Random(0)) is None
    assert without_warning(f"{rest}\n注意：孕妇禁用。", Random(0)) == rest
