"""The checks of medicine: doses, names, red flags, roles, claims, and all of them together."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.check import Checked
from datatools.checks.claims import Known, claims
from datatools.checks.doses import doses
from datatools.checks.entities import entities
from datatools.checks.lexicon import shipped
from datatools.checks.medical import Knowledge, check_conversation
from datatools.checks.prescription import spans, unknown_herbs
from datatools.checks.red_flags import advises_care, red_flags
from datatools.checks.roles import role_leaks
from schemas.conversation import MEDICAL_CHECKS

LEXICON = shipped()
GRAPH = Known(
    herbs={"麻黄汤": frozenset("麻黄 桂枝 苦杏仁 甘草".split())},
    natures={"麻黄": frozenset(["温"]), "黄连": frozenset(["寒"])},
    channels={"麻黄": frozenset("肺 膀胱".split())},
    flavours={"麻黄": frozenset("辛 苦".split()), "黄连": frozenset(["苦"])},
    therapies={"风寒感冒证": frozenset(["辛温解表"])},
)


def talk(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": content} for place, content in enumerate(contents)]


def check(*contents: str, source: str | None = None, graph: Known | None = None) -> Checked:
    return check_conversation(talk(*contents), source, Knowledge(LEXICON, graph), language="zh")


# Doses


@pytest.mark.parametrize(
    ("text", "unusual"),
    [
        ("附子60g，干姜6g", ("附子 60 g",)),
        ("附子（先煎）9~15克，干姜6g", ()),
        ("细辛10g", ("细辛 10 g",)),
        ("细辛 3 g", ()),
        ("黄芪60g，石膏120g", ()),  # harmless herbs are often given in more than the usual dose
        ("黄芪300g", ("黄芪 300 g",)),
        ("甘草0.1g", ("甘草 0.1 g",)),
        ("小儿甘草0.2g", ()),
        ("附子一两，甘草三钱", ()),  # units of old times are not converted
        ("人参500g，共研细末，炼蜜为丸", ()),
        ("附子50g煎汤外洗", ()),
        ("朱砂0.3g冲服", ()),
        ("朱砂3g冲服", ("朱砂 3 g",)),
        ("玉龙草900g", ()),
        ("每日蛋白质60g", ()),
        ("１０００ｇ甘草", ()),
        ("甘草１０００ｇ", ("甘草 1000 g",)),
    ],
)
def test_doses(text: str, unusual: tuple[str, ...]) -> None:
    assert doses(text, LEXICON).unusual == unusual


def test_every_shipped_dose_passes_at_both_ends() -> None:
    for herb, dose in LEXICON.doses.items():
        for grams in (dose.low, dose.high):
            assert doses(f"{herb}{grams:g}g", LEXICON).unusual == (), herb
        assert doses(f"{herb}{dose.high * 10:g}g", LEXICON).unusual, herb


# Names


@pytest.mark.parametrize(
    ("answer", "given", "missing"),
    [
        ("可用金银花泡水。", "双花15g", ()),
        ("可用连翘泡水。", "双花15g", ("连翘",)),
        ("方用桂枝，出自桂枝汤。", "桂枝汤主之", ()),
        ("建议服用缬沙坦80mg。", "患者血压偏高", ("缬沙坦",)),
        ("换用某某沙坦。", "患者血压偏高", ("某沙坦",)),
        ("Start metformin 500 mg.", "二甲双胍", ()),
        ("Start atorvastatin 20 mg.", "diet first", ("阿托伐他汀",)),
        ("Use inventastatin.", "diet first", ("inventastatin",)),
        ("多喝水，注意休息。", "", ()),
    ],
)
def test_entities(answer: str, given: str, missing: tuple[str, ...]) -> None:
    assert entities(answer, given, LEXICON).missing == missing


def test_unknown_herbs_need_a_prescription_around_them() -> None:
    text, found = spans("方药：麻黄6g，桂枝6g，炒玉龙草10g，甘草3g。每日蛋白质60g。", LEXICON)
    assert unknown_herbs(text, found, LEXICON) == ("炒玉龙草",)
    text, found = spans("玉龙草10g", LEXICON)
    assert unknown_herbs(text, found, LEXICON) == ()


# Red flags


@pytest.mark.parametrize(
    ("question", "flags"),
    [
        ("我父亲突然胸痛，大汗淋漓，怎么办？", ("chest_pain",)),
        ("我今天咳嗽时咯血了，要紧吗？", ("haemorrhage",)),
        ("孩子刚才抽搐了一次，现在叫不醒", ("consciousness", "seizure")),
        ("我怀孕八周，今天下面出血", ("pregnancy",)),
        ("医生，我最近总不想活", ("self_harm",)),
        ("宝宝误服了家里的降压药", ("poisoning",)),
        ("我妈突然口角歪斜、说不出话", ("stroke",)),
        ("我咳嗽三天，没有咯血，也无胸痛", ()),
        ("咯血的病因有哪些？", ()),
        ("什么是昏迷？", ()),
        ("患者症见昏迷抽搐。应辨为下列哪一证候？", ()),
        ("我有癫痫，经常抽搐，平时注意什么？", ()),
        ("My father has chest pain and is sweating.", ("chest_pain",)),
    ],
)
def test_red_flags(question: str, flags: tuple[str, ...]) -> None:
    assert red_flags(question) == flags


def test_a_red_flag_needs_advice_to_seek_care() -> None:
    question = "我父亲突然胸痛，大汗淋漓，怎么办？"
    assert "red_flag_without_advice" in check(question, "可能是劳累所致，多休息，喝点温水，观察几天。").flags
    assert "red_flag_without_advice" not in check(question, "请立即拨打120，并让患者平卧。").flags
    assert advises_care("Call 911 now.")


# Roles


@pytest.mark.parametrize(
    ("turns", "leaks"),
    [
        (("头痛三天", "多久了？", "三天", "注意休息。"), False),
        (("头痛三天", "医生您好，我最近头痛得厉害。"), True),
        (("根据您的描述，考虑偏头痛，建议您休息。", "好的。"), True),
        (("头痛", "医生：多久了？\n患者：三天"), True),
        (("头痛", "多久了？", "三天"), True),
        (("患者：男，30岁，头痛三天，如何治疗？", "可先休息，观察。"), False),
        (("What helps with headaches?", "Rest and water."), False),
    ],
)
def test_role_leaks(turns: tuple[str, ...], leaks: bool) -> None:
    assert bool(role_leaks(talk(*turns))) == leaks


def test_two_turns_of_one_side_are_out_of_order() -> None:
    turns = [
        {"role": "user", "content": "头痛"},
        {"role": "user", "content": "三天"},
        {"role": "assistant", "content": "休息"},
    ]
    assert role_leaks(turns) == ("order",)


# Claims


@pytest.mark.parametrize(
    ("answer", "true", "wrong", "unknown"),
    [
        ("麻黄汤由麻黄、桂枝、杏仁、炙甘草组成。", 4, (), 0),
        ("麻黄汤由麻黄、桂枝、大黄组成。", 2, ("麻黄汤+大黄",), 0),
        ("麻黄汤组成：麻黄9g，桂枝6g，石膏30g。", 2, ("麻黄汤+石膏",), 0),
        ("麻黄汤不含大黄、石膏。", 0, (), 0),
        ("麻黄汤加石膏、大枣。", 0, (), 0),
        ("大青龙汤由麻黄、桂枝组成。", 0, (), 2),
        ("麻黄味辛、微苦，性温，归肺、膀胱经。", 5, (), 0),
        ("麻黄味辛、甘。", 1, (), 1),
        ("黄连味甘，性寒。", 1, ("黄连:味甘",), 0),
        ("黄连入煎剂，五味甘草另包。", 0, (), 0),
        ("麻黄性寒，归肝经。", 0, ("麻黄:寒", "麻黄:肝经"), 0),
        ("黄连性微寒。", 1, (), 0),
        ("黄连性平。", 0, (), 1),
        ("风寒感冒证治宜辛温解表。", 1, (), 0),
        ("风寒感冒证治宜滋阴降火。", 0, ("风寒感冒证:滋阴降火",), 0),
        ("当归性温。", 0, (), 1),
        ("今天天气不错。", 0, (), 0),
    ],
)
def test_claims(answer: str, true: int, wrong: tuple[str, ...], unknown: int) -> None:
    found = claims(answer, GRAPH, LEXICON)
    assert (found.true, found.contradicted, found.unknown) == (true, wrong, unknown)


# All together


def test_without_a_source_nothing_is_compared_with_it() -> None:
    checked = check("发热怎么办？", "布洛芬每次400 mg，每日3次，口服。")
    assert checked.flags == ()
    assert checked.values["numbers_missing"] is None
    assert checked.values["entities_missing"] is None
    assert checked.values["claims_true"] is None
    assert checked.values["entities"] == 1


def test_with_a_source_what_it_lacks_is_flagged() -> None:
    checked = check(
        "发热怎么办？", "布洛芬每次400 mg，每日3次，口服。", source="发热时可物理降温，注意补液，观察精神状态。"
    )
    assert {"number_not_in_source", "unsupported_entity"} <= set(checked.flags)


def test_a_graph_adds_claims() -> None:
    checked = check("麻黄汤的组成？", "麻黄汤由麻黄、桂枝、大黄组成。", graph=GRAPH)
    assert checked.flags == ("claim_contradicts_graph",)
    assert (checked.values["claims_true"], checked.values["claims_contradicted"]) == (2, 1)


def test_flags_come_in_a_fixed_order() -> None:
    checked = check("处方？", "处方：附子60g，半夏9g，甘草6g，海藻10g。", source="处方见下。")
    assert list(checked.flags) == sorted(checked.flags, key=checked.flags.index)
    assert [flag for flag in checked.flags if flag.startswith("incompatible")] == [
        "incompatible:附子+半夏",
        "incompatible:甘草+海藻",
    ]


def test_values_are_the_fields_of_a_checked_conversation() -> None:
    values = check("甘草用量？", "2~10g。").values
    assert list(values) == [MEDICAL_CHECKS[place].name for place in range(MEDICAL_CHECKS.num_fields)]


def test_short_turns_of_a_dialogue_are_no_fault() -> None:
    assert check("头痛", "多久？", "三天", "休息。").flags == ()
    assert "too_short" in check("头痛", "休息").flags


WORDS = "麻黄汤由甘草海藻附子60g，组成。性寒归肝经治宜反不宜同用医生：患者\n胸痛大汗我120 aspirin<think>"


@given(st.lists(st.text(alphabet=WORDS, max_size=40), max_size=5), st.none() | st.text(alphabet=WORDS, max_size=40))
def test_no_text_makes_it_raise(contents: list[str], source: str | None) -> None:
    checked: Any = check_conversation(talk(*contents), source, Knowledge(LEXICON, GRAPH), language="zh")
    pa.array([checked.values], MEDICAL_CHECKS)


@given(st.text(), st.text())
def test_nor_does_any_other(question: str, answer: str) -> None:
    checked = check_conversation(talk(question, answer), answer, Knowledge(LEXICON, GRAPH), language="zh")
    pa.array([checked.values], MEDICAL_CHECKS)
