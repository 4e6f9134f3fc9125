"""Checks of a consultation against its record: what was told when, and what was asked how often."""

from __future__ import annotations

from datatools.checks.dialogue import (
    askable,
    check_dialogue,
    diagnosis_said,
    elicited,
    questions_before_advice,
    repeated_questions,
    revealed_early,
)
from datatools.checks.drugs import lexicon_of_drugs
from datatools.checks.medical import Knowledge
from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED, Case, Fact

KNOWLEDGE = Knowledge(lexicon_of_drugs())
CASE = Case(
    "a",
    (
        Fact("左眼发红", VOLUNTEERED),
        Fact("滴了3次氯霉素眼药水，没见好转。", ON_ASKING),
        Fact("过敏史：对蚕豆过敏，小时候住过院", ON_ASKING),
        Fact("总结建议：聚乙烯醇滴眼液一日4次", UNKNOWN),
    ),
    "急性结膜炎",
)
GOOD = ("医生您好，左眼发红。", "多久了？用过药吗？", "滴了3次氯霉素眼药水，没见好转。", "建议到眼科就诊，先不要揉眼。")


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def flags(*texts: str, case: Case = CASE) -> tuple[str, ...]:
    return check_dialogue(said(*texts), case, KNOWLEDGE, language="zh")[0].flags


def test_a_consultation_as_it_should_be_raises_nothing() -> None:
    checked, measured = check_dialogue(said(*GOOD), CASE, KNOWLEDGE, language="zh")
    assert checked.flags == ()
    assert (measured["turns"], measured["facts"], measured["facts_told"]) == (2, 3, 2)
    assert measured["questions_before_advice"] == 2


def test_facts_told_before_anyone_asked() -> None:
    early = ("医生您好，左眼发红，我对蚕豆过敏，小时候住过院。", "多久了？", "两天。", "建议到眼科就诊。")
    assert revealed_early(said(*early), CASE) == ["过敏史：对蚕豆过敏，小时候住过院"]
    # Asked about drugs, the patient tells of an allergy: that was not asked for.
    aside = ("左眼发红。", "用过药吗？", "对蚕豆过敏，小时候住过院。", "建议到眼科就诊。")
    assert revealed_early(said(*aside), CASE) == ["过敏史：对蚕豆过敏，小时候住过院"]
    openly = ("左眼发红。", "还有什么要告诉我的吗？", "对蚕豆过敏，小时候住过院。", "建议到眼科就诊。")
    assert revealed_early(said(*openly), CASE) == []


def test_what_a_record_denies_is_elicited_by_asking_and_a_question_of_the_patient_is_no_fact() -> None:
    facts = ("过敏史：无", "怀孕情况：未怀孕", "用药情况：氯霉素眼药水", "会不会传染？", "您费心给看看，谢谢了！")
    case = Case("d", (Fact("左眼发红", VOLUNTEERED), *(Fact(one, ON_ASKING) for one in facts)), "急性结膜炎")
    assert askable(case) == list(facts[:3])
    talk = said("左眼发红。", "对药物过敏吗？用过什么药？", "没有过敏，用过氯霉素眼药水。", "建议就诊。")
    assert elicited(talk, case) == ["过敏史：无", "用药情况：氯霉素眼药水"]
    assert elicited(said("左眼发红，没有过敏。", "建议就诊。"), case) == []


def test_a_diagnosis_that_only_the_record_knows() -> None:
    assert diagnosis_said(said("左眼发红，我这是急性结膜炎吧？", "建议就诊。"), CASE) == ["急性结膜炎"]
    assert diagnosis_said(said("左眼发红。", "像急性结膜炎。", "急性结膜炎严重吗？", "不严重。"), CASE) == []
    knows = Case("b", (Fact("去年得过急性结膜炎", VOLUNTEERED),), "急性结膜炎")
    assert diagnosis_said(said("去年得过急性结膜炎。", "建议就诊。"), knows) == []


def test_questions_are_counted_up_to_the_first_advice_and_told_apart_when_repeated() -> None:
    turns = said("疼。", "哪里疼？疼了多久？", "腰，三天。", "建议热敷。最近搬过重物吗？", "没有。", "多休息。")
    assert questions_before_advice(turns) == 2
    assert repeated_questions(turns) == []
    assert repeated_questions(said("疼。", "疼了多久？", "三天。", "好的，疼了多久？", "三天。", "多休息。")) == [
        "好的，疼了多久？"
    ]
    assert "no_question_before_advice" in flags("左眼发红。", "建议到眼科就诊。")


def test_drugs_and_doses_that_nobody_gave_the_clinician() -> None:
    assert flags(*GOOD[:3], "可以吃点莫沙必利，一次5毫克。") == ("unsupported_entity", "number_not_in_source")
    assert flags(*GOOD[:3], "氯霉素眼药水先停用，到眼科就诊，三天后复查。") == ()


def test_a_red_flag_needs_advice_and_a_question_about_a_hospital_is_none() -> None:
    pressing = Case("c", (Fact("我爸胸痛，出了一身冷汗", VOLUNTEERED),), "心肌梗死")
    told = ("我爸胸痛，出了一身冷汗。", "去医院看过吗？", "没有。")
    assert "red_flag_without_advice" in flags(*told, "多喝热水，放松心情。", case=pressing)
    assert "red_flag_without_advice" not in flags(*told, "请立即拨打120。", case=pressing)


def test_who_speaks_for_the_other_side_and_who_ends() -> None:
    assert "role_leak" in flags("左眼发红。", "患者：我昨天开始疼。", "疼。", "建议就诊。")
    turns = [*said(*GOOD), {"role": "user", "content": "谢谢。"}]
    assert "wrong_role_end" in check_dialogue(turns, CASE, KNOWLEDGE, language="zh")[0].flags


def test_form_is_checked_turn_by_turn() -> None:
    assert "wrong_language" in flags("左眼发红。", "How long has it been red, and does it hurt at all?", *GOOD[2:])
    assert "truncated" in flags("左眼发红。", "这种情况要先看，", *GOOD[2:])
    assert "leakage" in flags("作为一个AI语言模型，我的左眼发红。", *GOOD[1:])
