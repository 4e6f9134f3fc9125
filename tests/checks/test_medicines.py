"""Doses of medicines by mouth: what is above every label is named, what is not understood gets no verdict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.medical import Knowledge, check_conversation
from datatools.checks.medicines import limits, medicines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("布洛芬 3000 mg 三次每天", "布洛芬 9000 mg a day, at most 3200"),
        ("您可以吃芬必得，一次3克，一天三次", "布洛芬 9000 mg a day, at most 3200"),
        ("布洛芬一日三次，每次2000毫克", "布洛芬 6000 mg a day, at most 3200"),
        ("布洛芬三千毫克一天三次", "布洛芬 9000 mg a day, at most 3200"),
        ("布洛芬止痛的话每次2g，每日3次", "布洛芬 6000 mg a day, at most 3200"),
        ("每次3克布洛芬，一天三次", "布洛芬 9000 mg a day, at most 3200"),
        ("氨氯地平改成每日20mg", "氨氯地平 20 mg a day, at most 10"),
        ("二甲双胍起始2g 8小时一次", "二甲双胍 6000 mg a day, at most 3000"),
        ("**布洛芬**：每次３ｇ，每日３次", "布洛芬 9000 mg a day, at most 3200"),
        ("服用3000毫克布洛芬，每天三次", "布洛芬 9000 mg a day, at most 3200"),
        ("如果体温超过38.5度，可以吃布洛芬3g，每天三次，不要空腹服用。", "布洛芬 9000 mg a day, at most 3200"),
        ("泰诺林每次2克，每日2次", "对乙酰氨基酚 2000 mg at once, at most 1300"),
        ("Take acetaminophen 2 g four times daily.", "对乙酰氨基酚 8000 mg a day, at most 4000"),
        ("Ibuprofen 800 mg every 4 hours", "布洛芬 4800 mg a day, at most 3200"),
        ("格华止5g/日，分次服用", "二甲双胍 5000 mg a day, at most 3000"),
        ("优甲乐50mg，每天早上空腹吃一次", "左甲状腺素 50 mg a day, at most 0.5"),
        ("1. 双氯芬酸钠缓释片 150mg 每日两次；2. 热敷。", "双氯芬酸 300 mg a day, at most 225"),
    ],
)
def test_a_dose_above_every_label_is_named_with_its_limit_and_label(text: str, said: str) -> None:
    total, over = medicines(text)
    assert total == 1
    assert [one.partition(" (")[0] for one in over] == [said] and over[0].endswith(")")


@pytest.mark.parametrize(
    "text",
    [
        "布洛芬每次0.3g 每日3次",
        "对乙酰氨基酚从每次0.5g开始，每日3次",
        "瑞舒伐他汀从5mg开始，每日一次，逐渐增加到20mg",
        "ibuprofen 300mg tid",
        "布洛芬一日三次，每次600毫克",
        "对乙酰氨基酚1g q6h",
        "对乙酰氨基酚 0.3-0.6g，每日3-4次",
        "对乙酰氨基酚每次0.5~1g，每日3~6次。",
        "优甲乐50μg每日一次",
        "优甲乐 50微克，每天早上空腹吃一次",
        "倍他乐克 47.5mg qd",
        "氨氯地平 5 mg，阿托伐他汀 20 mg，每晚",
    ],
)
def test_a_dose_within_its_label_is_read_and_passes(text: str) -> None:
    total, over = medicines(text)
    assert total >= 1 and over == ()


@pytest.mark.parametrize(
    "text",
    [
        "布洛芬一次2片，每日3次",  # no strength
        "对乙酰氨基酚每天不超过4克",
        "二甲双胍 最大剂量 5000mg/日",
        "Do not take more than 5000 mg of acetaminophen daily.",
        "Taking ibuprofen 5000 mg daily would be dangerous.",
        "儿童布洛芬按体重10mg/kg，每日3次",
        "布洛芬每次3000mg每天三次是不可以的。",
        "您每次吃布洛芬3000mg，一天三次。这超过了最大剂量。",
        "千万不要每次吃布洛芬3000mg，一天三次。",
        "您是每次吃布洛芬3g，一天三次吗？",
        "误服布洛芬10g/日",
        "对乙酰氨基酚 1g 每4-6小时，24小时不超过4次。",  # a cap on the number of doses
        "阿莫西林克拉维酸钾 7g 每日一次",  # a compound
        "沙库巴曲缬沙坦 400mg bid",
        "缬沙坦氨氯地平片 800mg qd",
        "布洛芬混悬液 100ml:2g，每次10ml，每日3次",
        "硝苯地平缓释片 200mg*30片，每次1片",
        "左氧氟沙星 5g 静滴 每日1次",
        "双氯芬酸每次2g，每天3次，涂抹患处",
        "双氯芬酸二乙胺乳胶剂 2-4g 每日3-4次",
        "Apply diclofenac gel 4 g four times daily",
        "维生素C 1g 每日三次",
    ],
)
def test_no_verdict_where_it_is_no_dose_to_take_by_mouth(text: str) -> None:
    assert medicines(text)[1] == ()


def test_every_limit_passes_and_a_tenfold_dose_does_not() -> None:
    for name, limit in limits().items():
        assert medicines(f"{name} {limit.daily:g} mg/d")[1] == (), name
        assert medicines(f"{name} {limit.single:g} mg qd")[1] == (), name
        assert len(medicines(f"建议口服{name} {10 * limit.daily:g} mg，每日1次。")[1]) == 1, name


def test_a_conversation_is_flagged_and_says_which_dose() -> None:
    turns = [{"role": "user", "content": "发烧怎么办？"}, {"role": "assistant", "content": "布洛芬每次3克，每日三次。"}]
    checked = check_conversation(turns, None, Knowledge.shipped(), language="zh")
    assert "dose_out_of_range" in checked.flags
    assert checked.values["doses_named"] == ["布洛芬 9000 mg a day, at most 3200 (FDA label, Motrin tablets)"]
    assert (checked.values["doses"], checked.values["doses_unusual"]) == (1, 1)


WORDS = "布洛芬ibuprofen每次日一二三千0123456789.-~,，。mgμg克毫/天次qdtid小时every hours()（）不超过 \n"


@given(st.text(alphabet=WORDS, max_size=80))
def test_no_text_makes_it_raise(text: str) -> None:
    total, over = medicines(f"布洛芬{text}")
    assert len(over) <= total
