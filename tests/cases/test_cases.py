"""Records become facts in layers, and cases are played by personas that fit them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from datatools.cases.graph import symptoms_of
from datatools.cases.labelled import conclusion_of, facts_of
from datatools.cases.personas import GRID, persona_of
from datatools.cases.read import cases
from datatools.io.files import discover
from schemas.case import LAYERS, UNKNOWN, VOLUNTEERED, Case, Fact

RECORD = (
    "疾病： \n牙疼\n病情描述： \n医生您好，后槽牙疼两天了。吃凉的更疼，晚上睡不着。\n希望获得的帮助： \n用什么药\n"
    "用药情况：过敏史：\n青霉素过敏（2020-03-25填写）\n既往病史：\n无（2020-03-25填写）\n"
    "医生给您发来一个提醒： \nDialogue\n医生：\n多久了？\n病人：\n两天\n"
)


def test_a_record_is_cut_into_what_is_said_and_what_is_asked_for() -> None:
    facts = facts_of(RECORD)
    assert [fact.text for fact in facts if fact.layer == VOLUNTEERED] == [
        "牙疼",
        "后槽牙疼两天了。",
        "希望获得的帮助：用什么药",
    ]
    assert [fact.text for fact in facts if fact.layer != VOLUNTEERED] == [
        "吃凉的更疼，晚上睡不着。",
        "过敏史：青霉素过敏",
        "既往病史：无",
    ]


def test_what_the_clinician_wrote_the_patient_does_not_know() -> None:
    diagnosis, facts = conclusion_of("疾病诊断： \n急性肠炎\n药品： \n复方黄连素片")
    assert diagnosis == "急性肠炎" and {fact.layer for fact in facts} == {UNKNOWN}
    assert conclusion_of("多喝水。") == ("", (Fact("多喝水。", UNKNOWN),))


def test_an_english_record_is_cut_at_its_sentences() -> None:
    told = "It began on Monday. Light hurts. I had 37.5 C."
    record = f"Chief complaint: Headache\nHistory of present illness: {told}\nAllergies: none"
    assert [tuple(fact[:2]) for fact in facts_of(record)] == [
        ("Headache", "volunteered"),
        ("It began on Monday.", "volunteered"),
        ("Light hurts.", "on_asking"),
        ("I had 37.5 C.", "on_asking"),
        ("Allergies: none", "on_asking"),
    ]
    assert conclusion_of("Diagnosis: Migraine")[1] == (Fact("Diagnosis: Migraine", UNKNOWN),)


def test_free_text_has_no_facts_by_rules() -> None:
    assert facts_of("我牙疼两天了，怎么办？") == ()


def test_a_persona_follows_from_case_and_seed_and_fits_the_case() -> None:
    case = Case("7", (Fact("头痛", VOLUNTEERED),))
    assert persona_of(case, 1) == persona_of(case, 1)
    many = [persona_of(Case(str(number), case.facts), 0) for number in range(2000)]
    for axis, values in GRID.items():
        counts = Counter(getattr(persona, axis) for persona in many)
        assert set(counts) == set(values) and min(counts.values()) > 2000 / len(values) * 0.8
    child = [persona_of(Case(str(number), (Fact("孩子2岁，拉肚子", VOLUNTEERED),)), 0).age for number in range(200)]
    assert set(child) == {"18-29", "30-44"}
    old = persona_of(Case("a", (Fact("我今年68岁，头晕", VOLUNTEERED),)), 0)
    assert old.age == "60-74"


def test_symptoms_are_read_from_a_sentence_without_remarks() -> None:
    text = "临床以腹痛绵绵，时作时止，喜热恶冷，或伴见大便溏薄，舌质淡，苔白等为特征的证候。"
    assert symptoms_of(text) == ["腹痛绵绵", "时作时止", "喜热恶冷", "大便溏薄", "舌质淡", "苔白"]
    assert symptoms_of("") == []


def test_the_real_records_are_cut_without_a_model(real_data: Path) -> None:
    sources, _ = discover([str(real_data / "cases" / "Med-dialog_100.json")])
    found = [item for item in cases(sources) if isinstance(item, Case)]
    assert len(found) == 99  # one is a receipt of an appointment
    for case in found:
        assert case.layer(VOLUNTEERED) and {fact.layer for fact in case.facts} <= set(LAYERS)
        assert "填写）" not in case.text and "Dialogue" not in case.text
