"""Questions by rules: right by construction, and nothing wrong among them that might be right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from datatools.checks.lexicon import shipped
from datatools.graph.facts import Facts, facts_of, spelled
from datatools.graph.graph import Graph, Triple
from datatools.graph.kinds import BY_NAME, KINDS, generic
from datatools.graph.question import Question
from datatools.graph.questions import TASKS, Maker
from datatools.graph.unlike import Unlike, groups

COMPOSITIONS = {
    "麻黄汤": "麻黄 桂枝 苦杏仁 炙甘草",
    "四君子汤": "人参 白术 茯苓 炙甘草",
    "四物汤": "熟地黄 当归 川芎 白芍",
    "白虎汤": "石膏 知母 粳米 炙甘草",
    "黄连解毒汤": "黄连 黄芩 黄柏 栀子",
    "二陈汤": "法半夏 陈皮 茯苓 炙甘草",
    "玉屏风散": "黄芪 防风 白术",
    "血府逐瘀汤": "桃仁 红花 赤芍 牛膝 枳壳",
}
BOOKS = {
    "麻黄汤": "《伤寒论》",
    "四君子汤": "《太平惠民和剂局方》",
    "四物汤": "《仙授理伤续断秘方》",
    "白虎汤": "《伤寒论》",
    "黄连解毒汤": "《外台秘要》",
    "玉屏风散": "《医方类聚》",
    "血府逐瘀汤": "《医林改错》",
}
USES = {
    "麻黄汤": "外感风寒表实证。恶寒发热，头痛身疼，无汗而喘",
    "四君子汤": "脾胃气虚，食少便溏，面色萎白",
    "四物汤": "营血虚滞，月经不调，唇甲色淡",
    "白虎汤": "气分热盛，壮热面赤，烦渴引饮",
    "黄连解毒汤": "三焦火毒，大热烦躁，口燥咽干",
    "玉屏风散": "表虚自汗，易感风邪",
    "血府逐瘀汤": "胸中血瘀，胸痛日久，痛如针刺",
}
FUNCTIONS = {
    "麻黄汤": "发汗解表;宣肺平喘",
    "四君子汤": "益气健脾",
    "四物汤": "补血调血",
    "白虎汤": "清热生津",
    "黄连解毒汤": "泻火解毒",
    "玉屏风散": "益气固表",
    "血府逐瘀汤": "活血化瘀;行气止痛",
}
HERBS = {
    "麻黄": ("辛、微苦，温", "归肺、膀胱经。", "发汗散寒，宣肺平喘", "2~10g。"),
    "桂枝": ("辛、甘，温", "归心、肺、膀胱经。", "发汗解肌，温通经脉", "3~10g。"),
    "石膏": ("甘、辛，大寒", "归肺、胃经。", "清热泻火，除烦止渴", "15~60g，先煎。"),
    "黄连": ("苦，寒", "归心、脾、胃、肝、胆、大肠经。", "清热燥湿，泻火解毒", "2~5g。"),
    "当归": ("甘、辛，温", "归肝、心、脾经。", "补血活血，调经止痛", "6~12g。"),
    "使君子": ("甘，温", "归脾、胃经。", "杀虫消积", "9~12g。"),
}


def graph() -> Graph:
    made = Graph()
    for formula, herbs in COMPOSITIONS.items():
        made.add(Triple(formula, "HAS_HERB", herb, "formula", "herb") for herb in herbs.split())
    for relation, column in (("source", BOOKS), ("indications", USES), ("function", FUNCTIONS)):
        made.add(Triple(head, relation, tail, "formula") for head, tail in column.items())
    for herb, cells in HERBS.items():
        for relation, cell in zip(("property_cn", "meridian_cn", "function_cn", "toxicity_cn"), cells, strict=True):
            made.add([Triple(herb, relation, cell, "herb")])
    return made


FACTS = facts_of(graph(), shipped())


def every(facts: Facts, seed: int = 0, most: int = 12) -> list[Question]:
    maker = Maker(facts, seed)
    return [
        one
        for type_, names in facts.entities.items()
        for name in names
        for one in maker.questions(name, type_, TASKS, most)
    ]


QUESTIONS = every(FACTS)


def options(question: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-H])\. (.+)$", question, re.MULTILINE))


def test_every_task_is_there_and_no_question_twice() -> None:
    assert {question.task for question in QUESTIONS} == set(TASKS)
    assert len({question.question for question in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize(
    "question", [one for one in QUESTIONS if one.task == "choice"], ids=lambda one: one.question[:20]
)
def test_choices_have_the_right_letters(question: Question) -> None:
    given, lines = options(question.question), question.answer.split("\n")
    letters = lines[0].split(".")[0]
    assert set(letters) <= set(given)
    assert sorted(letters) == list(letters)
    assert len(set(given.values())) == len(given)
    assert (len(letters) > 1) == ("多选" in question.question)
    if question.kind == "composition" and not set(given.values()) & set(COMPOSITIONS):  # of herbs, not of formulas
        herbs = COMPOSITIONS[question.subject].split()
        assert {given[letter] in herbs for letter in letters} == {True}
        assert not any(text in herbs for letter, text in given.items() if letter not in letters)


def test_wrong_options_are_true_of_nothing_that_is_asked_about() -> None:
    unlike = Unlike(FACTS)
    for question in QUESTIONS:
        if question.task != "choice" or "多选" in question.question:
            continue
        kind = BY_NAME[question.kind]
        letter, _, right = question.answer.split("\n")[0].partition(". ")
        for other, text in options(question.question).items():
            if other == letter:
                continue
            if right in FACTS.tails(kind.name, question.subject):
                assert unlike(kind, question.subject, text), question
            else:
                asked = [tail for tail in FACTS.tails(kind.name, question.subject) if tail in question.question]
                assert any(unlike(kind, text, tail) for tail in asked), question


def test_true_or_false_begins_with_the_verdict() -> None:
    found = [one for one in QUESTIONS if one.task == "true_false"]
    verdicts = {one.answer[:3] for one in found}
    assert verdicts == {"正确。", "错误。"}
    for one in found:
        if one.kind == "formula_source":
            holds = BOOKS[one.subject] in one.question
            assert one.answer.startswith("正确" if holds else "错误")
            assert BOOKS[one.subject] in one.answer


def test_a_cloze_has_its_gap_filled_by_what_is_not_told() -> None:
    for one in QUESTIONS:
        if one.task == "cloze":
            assert "____" in one.question
            filled = one.answer.split("。")[0]
            if one.kind == "composition":
                assert filled in COMPOSITIONS[one.subject].split()
                assert filled not in re.split("[由为除、和外，]", one.question)


def test_matching_pairs_each_with_its_own() -> None:
    found = [one for one in QUESTIONS if one.task == "matching"]
    assert found
    for one in found:
        heads = dict(re.findall(r"^(\d)\. (.+)$", one.question, re.MULTILINE))
        tails = options(one.question)
        pairs = re.findall(r"(\d)—([A-D])", one.answer)
        assert len(pairs) == len({letter for _, letter in pairs}) == 4
        for number, letter in pairs:
            assert tails[letter] in FACTS.tails(one.kind, heads[number])


def test_chains_rest_on_two_steps_or_more() -> None:
    for one in QUESTIONS:
        if one.task == "chain":
            assert len(one.triples) > 1
            assert "\n" in one.answer


def test_triples_are_the_graphs_own() -> None:
    known = {triple[:3] for triple in graph().triples}
    assert all(triple[:3] in known for one in QUESTIONS for triple in one.triples)


def test_the_same_seed_gives_the_same_questions() -> None:
    assert every(FACTS) == QUESTIONS
    assert every(FACTS, seed=1) != QUESTIONS


def test_a_name_of_two_types_is_asked_about_as_either() -> None:
    made = graph()
    made.add([Triple("感冒", "pathogenesis", "因时令外邪侵袭肺表所致。", "disease")])
    made.add([Triple("感冒", "clinical_performance", "指鼻塞流涕、咽痒咳嗽。", "symptom")])
    facts = facts_of(made, shipped())
    maker = Maker(facts)
    assert {one.kind for one in maker.questions("感冒", "disease", TASKS, 6)} == {"disease_cause"}
    assert {one.kind for one in maker.questions("感冒", "symptom", TASKS, 6)} == {"symptom_features"}


def test_an_entity_is_only_listed_under_types_it_has_facts_of() -> None:
    made = graph()
    made.add(
        [Triple("崩漏", "pathogenesis", "因冲任不固所致。", "disease"), Triple("崩漏", "pinyin", "Beng Lou", "symptom")]
    )
    assert "崩漏" in facts_of(made, shipped()).entities["disease"]
    assert "symptom" not in facts_of(made, shipped()).entities


def test_what_the_name_says_is_not_asked() -> None:
    made = Graph()
    made.add([Triple("酒杜仲根", "usepart_cn", "杜仲科-杜仲-根-丝-酒炙", "herb")])
    facts = facts_of(made, shipped())
    assert facts.kinds_of["酒杜仲根"] == ["herb_family"]


def test_letters_are_not_all_the_same() -> None:
    letters = {one.answer[0] for one in QUESTIONS if one.task == "choice"}
    assert letters == set("ABCD")


# Facts


def test_a_formula_with_a_piece_of_a_name_is_not_asked_for_its_herbs() -> None:
    broken = graph()
    broken.nodes["herb"] = {herb for herbs in COMPOSITIONS.values() for herb in herbs.split()} | set(HERBS)
    broken.add(Triple("止嗽散", "HAS_HERB", herb, "formula", "herb") for herb in "桔梗 白 前 陈皮".split())
    facts = facts_of(broken, shipped())
    assert facts.damaged == {"止嗽散"}
    assert facts.left_out["not_a_herb"] == 2
    for one in every(facts):
        if one.subject == "止嗽散" and one.kind == "composition":
            assert one.task != "cloze"
            assert "多选" not in one.question
            assert not one.answer.startswith("错误")
            assert "由" not in one.answer


def test_names_without_chinese_are_left_out() -> None:
    made = Graph()
    made.add([Triple("当归", "symmap_chemical", "SMIT05129"), Triple("SMIT16807", "chemical_MM", "Liver Tender")])
    made.add([Triple("榧子", "药性", "平", "herb", "property")])
    facts = facts_of(made, shipped())
    assert facts.entities == {"herb": ["榧子"]}
    assert facts.left_out == {"nothing_to_ask": 1, "no_chinese_name": 1}


def test_a_relation_of_no_table_is_asked_by_its_chinese_name() -> None:
    made = Graph()
    made.add(
        Triple(head, "贮藏", tail) for head, tail in (("当归", "置阴凉干燥处"), ("冰片", "密封"), ("鹿茸", "防蛀"))
    )
    facts = facts_of(made, shipped())
    asked = [one.question for one in every(facts)]
    assert any("贮藏要求" in question for question in asked)
    assert generic("related_to") is None


def test_misprints_are_mended_in_words_and_kept_in_triples() -> None:
    made = Graph()
    made.add([Triple("瓜萎桂枝汤", "source", "《金匮要略》", "formula")])
    facts = facts_of(made, shipped())
    assert facts.entities == {"formula": ["瓜蒌桂枝汤"]}
    (question, *_) = every(facts)
    assert "瓜蒌桂枝汤" in question.question
    assert question.triples[0].head == "瓜萎桂枝汤"
    assert spelled("焊苦杏仁") == "燀苦杏仁"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_templates_take_head_and_tail(kind: object) -> None:
    for template in (*kind.states, *kind.asks, *kind.backs, *kind.blanks):  # type: ignore[attr-defined]
        text = template.format(head="甲", tail="乙")
        assert "{" not in text
        assert "甲" in text or template in kind.backs  # type: ignore[attr-defined]
    assert len(kind.states) > 1  # type: ignore[attr-defined]


def test_a_symptom_is_asked_for_place_mechanism_and_ailments() -> None:
    made = Graph()
    told = "临床以经常不能安睡为特征的症状。多因思虑劳神太过，气血亏虚所致。 常见于不寐、郁病及其他全身性疾病。"
    made.add(
        [
            Triple("失眠", "clinical_performance", told, "symptom"),
            Triple("失眠", "body_part", "心", "symptom"),
            Triple("失眠", "indicator", "心血虚;肝郁化火、肝肾", "symptom"),
            Triple("粉剌", "indicator", "湿热", "symptom"),
        ]
    )
    facts = facts_of(made, shipped())
    assert facts.tails("symptom_seen", "失眠") == ["不寐", "郁病"]
    assert facts.tails("symptom_mechanism", "失眠") == ["心血虚", "肝郁化火"]  # 肝肾 is an organ, no mechanism
    assert facts.tails("symptom_mechanism", "粉刺") == ["湿热"]
    (cause,) = facts.tails("symptom_cause", "失眠")
    assert cause == "思虑劳神太过，气血亏虚"
    made_of = Maker(facts).questions("失眠", "symptom", TASKS, 20)
    assert {one.task for one in made_of} >= {"cloze", "chain"}
    chain = next(one for one in made_of if one.task == "chain")
    assert "病位及" not in chain.question and "、所提示的证候或病机、" in chain.question
    assert "病位：心。" in chain.answer and "多提示：心血虚、肝郁化火。" in chain.answer
    # What a symptom may speak for is never told to be false: a graph does not list all of it.
    assert not any(one.kind == "symptom_mechanism" for one in made_of if one.task in ("true_false", "choice"))


# What is surely not true


@pytest.mark.parametrize(
    ("kind", "head", "tail", "unlike"),
    [
        ("composition", "麻黄汤", "大黄", True),
        ("composition", "麻黄汤", "甘草", False),  # 炙甘草 is there
        ("composition", "麻黄汤", "蜜麻黄", False),
        ("composition", "四物汤", "地黄", False),  # 熟地黄 is there
        ("composition", "没有的汤", "大黄", False),
        ("nature", "石膏", "寒", False),  # 大寒
        ("nature", "石膏", "温", True),
        ("nature", "麻黄", "热", False),
        ("flavour", "麻黄", "苦", False),  # 微苦
        ("meridian", "麻黄", "肝经", True),
        ("meridian", "麻黄", "肺经", False),
        ("herb_function", "黄连", "清热凉血", False),
        ("herb_function", "黄连", "杀虫止痒", True),
        ("herb_function", "麻黄", "祛风通络", False),  # nothing says that it does not
        ("herb_dose", "黄连", "3~10g", False),  # the ranges overlap
        ("herb_dose", "黄连", "15~60g", True),
        ("formula_source", "麻黄汤", "《医林改错》", True),
        ("formula_source", "麻黄汤", "《伤寒论条辨》", False),
    ],
)
def test_unlike(kind: str, head: str, tail: str, unlike: bool) -> None:
    assert Unlike(FACTS)(BY_NAME[kind], head, tail) == unlike


def test_groups_of_actions() -> None:
    assert groups("补气健脾") & groups("益气")
    assert not groups("杀虫止痒") & groups("益气")


def test_questions_of_the_real_graph(real_data: Path) -> None:
    from datatools.graph.read import read_graph

    facts = facts_of(read_graph(str(real_data / "kg" / "lifafangyao")), shipped())
    maker = Maker(facts)
    for type_, names in facts.entities.items():
        for name in names[::150]:
            for one in maker.questions(name, type_, TASKS, 6):
                assert one.triples
                assert not re.search("[{}]|None|\\n\\n", one.question + one.answer)
                assert json.dumps(one.question, ensure_ascii=False)
