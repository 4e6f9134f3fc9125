"""Rules: the question a person would ask, for every kind of text a medical library holds."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.llm.keywords import keywords
from datatools.llm.rules import questions
from datatools.llm.rules_fields import is_listing, labelled
from datatools.llm.topic import Passage
from schemas.document import Document


def asked(text: str, *section: str, part: int = 0, parts: int = 1, **document: Any) -> list[tuple[str, str]]:
    found = Document(text, "a.txt", section=section, **{"language": "zh", "source_type": "book", **document})
    return list(questions(Passage(found, part, parts)))


def classic(text: str, *section: str, title: str = "草药小识", **more: Any) -> list[tuple[str, str]]:
    return asked(text, *section, title=title, language="lzh", source_type="classic", **more)


def english(text: str, *section: str, title: str = "Asthma", **more: Any) -> list[tuple[str, str]]:
    return asked(text, *section, title=title, language="en", source_type="web", **more)


FORMULA = "薄荷三两 桔梗二两，水煎温服。治风热上攻，头目不清。"


@pytest.mark.parametrize(
    ("text", "section", "title", "rule", "words"),
    [
        (FORMULA, ("卷一", "清咽汤"), "草药小识", "classic_formula", ["《草药小识》", "清咽汤", "主治", "组成"]),
        ("薄荷三两 桔梗二两。", ("卷一", "清咽汤"), "草药小识", "classic_composition", ["清咽汤"]),
        ("治风热头痛，屡验。", ("卷一", "清咽汤"), "草药小识", "classic_indication", ["清咽汤", "病证"]),
        ("味辛，凉。疏散风热，主治目赤。", ("草部", "１.薄荷"), "草药小识", "classic_herb", ["薄荷", "性味"]),
        ("在腕后两筋之间陷中，针入三分，灸三壮。", ("卷二", "内关"), "针灸小识", "classic_point", ["内关穴", "部位"]),
        ("咳嗽者，由风寒所致，治宜宣肺。", ("咳嗽门", "风寒咳嗽"), "草药小识", "classic_disease", ["风寒咳嗽", "治"]),
        ("夫阴阳者，天地之道，万物之纲纪也。", ("卷三", "阴阳论"), "医理小识", "classic_treatise", ["“阴阳论”"]),
        ("薄荷清头又利咽，菊花明目风可痊。", ("卷三", "薄荷歌"), "草药小识", "classic_verse", ["“薄荷歌”", "怎么写"]),
        ("（夜息香 野薄荷）", ("草部", "薄荷"), "药物别名小录", "classic_alias", ["薄荷", "别名"]),
        ("余病中无事，集平日所见，得草药若干。", ("自序",), "草药小识", "classic_preface", ["自序", "写了些什么"]),
        ("洗净，切片，酒炒至微黄，晒干收贮。", ("当归",), "炮制小录", "classic_preparation", ["当归", "炮制"]),
        ("硫黄一两，为末，空心服。", ("治虚劳。久积冷气。宜服温中丸方",), "方书小录", "classic_prescription",
         ["温中丸", "“虚劳，久积冷气”"]),
        ("灯心一束，水煎服之。", ("治小儿夜啼诸方",), "方书小录", "classic_prescription", ["“小儿夜啼”"]),
        ("上当归二两 川芎一两，为末，酒调服。", ("治产后头痛方", "又方"), "方书小录", "classic_another",
         ["“产后头痛”", "当归"]),
        ("某甲曰：此言风寒相搏之理也。", ("平脉",), "脉理小识", "classic_comment", ["某甲", "“此言风寒相搏之理也”"]),
    ],
    ids=(
        "formula composition indication herb point disease treatise verse alias preface preparation prescription "
        "formulas another comment"
    ).split(),
)  # fmt: skip
def test_the_classics(text: str, section: tuple[str, ...], title: str, rule: str, words: list[str]) -> None:
    by_rule = {name: question for question, name in classic(text, *section, title=title)}
    assert rule in by_rule
    for word in words:
        assert word in by_rule[rule]
    if rule != "classic_comment":
        assert classic(text, *section, title=title)[0][1] == rule


def test_a_classic_is_always_named_and_a_nameless_one_is_a_classic() -> None:
    assert all("《草药小识》" in question for question, _ in classic(FORMULA, "卷一", "清咽汤"))
    nameless = classic(FORMULA, "卷一", "清咽汤", title="")
    assert nameless and all("古籍" in question for question, _ in nameless)


def test_an_illness_treated_at_points_is_no_point() -> None:
    text = "凡痰喘因热而上，饮食宜淡，起居宜慎，先取穴定喘，又方期门在乳下二肋端，灸三壮，立止。"
    for own in ("咳嗽", "眠睡"):
        assert "classic_point" not in [rule for _, rule in classic(text, "卷二", own)]


def test_a_summary_is_no_disease() -> None:
    rules = [rule for _, rule in classic("治痹之法，宜温通。", "痹证", "小结")]
    assert rules and "classic_disease" not in rules


def test_later_parts_of_a_classic_ask_for_what_they_say() -> None:
    text = "次论脉浮而紧者，风寒相搏也，其人必恶寒。"
    (question, rule), *_ = classic(text, "平脉", part=2, parts=4)
    assert rule == "classic_opening"
    assert "次论脉浮而紧者" in question


MONOGRAPH = ("第一节 慢性支气管炎",)


@pytest.mark.parametrize(
    ("field", "question"),
    [
        ("病因", r"慢性支气管炎(的病因是什么|是由什么引起的)？"),
        ("临床表现", r"慢性支气管炎(有哪些临床表现|会有什么症状)？"),
        ("治疗", r"慢性支气管炎(怎么治疗|的治疗要点是什么)？"),
        ("二、预防", r"怎样预防慢性支气管炎？"),
        ("鉴别诊断", r"慢性支气管炎需要与哪些疾病鉴别？"),
        ("并发症", r"慢性支气管炎有哪些并发症？"),
        ("预后", r"慢性支气管炎的预后怎样？"),
        ("何时就医", r"慢性支气管炎出现哪些情况要及时就医？"),
    ],
    ids="cause symptom treatment prevention differential complication prognosis seek_care".split(),
)
def test_the_headings_of_a_chinese_monograph(field: str, question: str) -> None:
    found = asked("戒烟，避免受凉，遵医嘱随访。", *MONOGRAPH, field, title="内科小书")
    assert re.fullmatch(question, found[0][0])


@pytest.mark.parametrize(
    ("drug", "field", "question"),
    [
        ("阿莫西林", "用法用量", r"阿莫西林(的用法用量是怎样的|怎么用，用多少)？"),
        ("清咽汤", "组成", r"清咽汤由哪些药物组成？"),
        ("阿莫西林", "不良反应", r"阿莫西林有哪些不良反应？"),
        ("阿莫西林", "禁忌", r"阿莫西林有哪些禁忌和注意事项？"),
    ],
    ids=["dosage", "composition", "adverse", "caution"],
)
def test_the_headings_of_a_chinese_drug_monograph(drug: str, field: str, question: str) -> None:
    assert re.fullmatch(question, asked("成人一次 0.5 g，一日 3 次。", drug, field, title="药物小书")[0][0])


@pytest.mark.parametrize(
    ("text", "section", "rule", "question"),
    [
        ("休克是指循环血量减少的状态。", ("第二章 休克",), "heading", r"(什么是休克|休克是什么|休克指的是什么)？"),
        ("痛风是一种代谢病，与尿酸有关。", (), "definition", r"(什么是痛风|痛风是什么)？"),
        ("贫血的类型包括缺铁性贫血、溶血性贫血等。", (), "includes", r"贫血的类型包括哪些？"),
        ("1. 卧床休息：安静。\n2. 补充水分：少量。\n3. 物理降温：温水。", ("发热的家庭护理",), "labels",
         r"关于发热的家庭护理，卧床休息、补充水分和物理降温各有什么要点？"),
        ("每半年一次。", ("高血压", "什么时候需要复查"), "heading_question", r"关于高血压，什么时候需要复查？"),
        ("要点有三。", ("高血压", "小结"), "summary", r"总结一下高血压的要点。"),
        ("不妨一试。", ("与肺炎的区别",), "heading", r".*肺炎的区别.*"),
        ("胰岛素的用量应当个体化。", ("2型糖尿病", "治疗"), "treatment", r"2型糖尿病(怎么治疗|的治疗要点是什么)？"),
    ],
    ids="defined definition includes labels heading_question summary difference type".split(),
)  # fmt: skip
def test_modern_chinese(text: str, section: tuple[str, ...], rule: str, question: str) -> None:
    found = [one for one, name in asked(text, *section) if name == rule]
    assert any(re.fullmatch(question, one) for one in found), asked(text, *section)


def test_later_parts_of_a_chinese_section_ask_by_their_words() -> None:
    text = "肾功能不全者减量，从小剂量开始，定期复查电解质。"
    (question, rule), *_ = asked(text, "高血压", part=1, parts=3)
    assert rule == "keywords"
    assert question.startswith("关于高血压，“")
    assert all(word in text for word in re.findall("“(.*?)”", question))


@pytest.mark.parametrize(
    ("section", "title", "question"),
    [
        (("Symptoms",), "Asthma", "What are the symptoms of asthma?"),
        (("CAUSES",), "Asthma", "What causes asthma?"),
        (("Overview",), "Asthma", "What is asthma?"),
        (("Side effects",), "Ibuprofen", "What are the side effects of ibuprofen?"),
        (("SIDE EFFECTS",), "IBUPROFEN", "What are the side effects of ibuprofen?"),
        (("When to seek care",), "Asthma", "When should someone with asthma seek medical care?"),
        (("How to use an inhaler",), "Asthma", "How do you use an inhaler?"),
        (("HOW TO USE AN INHALER",), "Asthma", "How do you use an inhaler?"),
        (("What is a peak flow meter?",), "Asthma", "What is a peak flow meter?"),
        (("Chapter 2 Symptoms",), "Asthma", "What are the symptoms of asthma?"),
        (("Dosage",), "NSAIDs", "What is the dosage of NSAIDs?"),
        ((), "Effects of sleep on blood pressure", "What is the effect of sleep on blood pressure?"),
        ((), "The role of iron in pregnancy.", "What is the role of iron in pregnancy?"),
        ((), "Association between sleep and stroke", "How is sleep related to stroke?"),
        ((), "Comparison of walking and swimming", "How does walking compare with swimming?"),
        ((), "Chapter 3: Asthma", "What should I know about asthma?"),
        ((), "asthma-inhaler-technique", "What should I know about asthma inhaler technique?"),
    ],
    ids=(
        "symptoms capitals overview adverse all-capitals seek-care how-to how-to-capitals question numbered acronym "
        "effect role association comparison chapter slug"
    ).split(),
)
def test_english_headings_and_titles(section: tuple[str, ...], title: str, question: str) -> None:
    assert english("Two hundred adults took part for a year.", *section, title=title)[0][0] == question


def test_english_definitions_lists_and_later_parts() -> None:
    assert ("What is eczema?", "definition") in english("Eczema is a chronic disease of the skin.", title="")
    found = english("Common triggers include pollen, house dust, and cold air.", "Triggers")
    assert ("What do common triggers include?", "includes") in found
    (question, rule), *_ = english("Use the spacer when breath cannot be held.", "Inhalers", part=1, parts=2)
    assert (question, rule) == (
        'On inhalers: what is said about "Use the spacer when breath cannot be held"?',
        "opening",
    )


def test_a_long_study_title_is_quoted() -> None:
    title = "Long-term outcomes after hip replacement in adults"
    assert f'"{title}"' in english("We followed 200 adults.", title=title)[0][0]


CHINESE_ROW = {"name": "痛风", "symptom": "关节红肿热痛", "cause": "尿酸升高", "department": "风湿科"}
ENGLISH_ROW = {"drug": "Ibuprofen", "dose": "200 mg", "max_daily": "1200 mg"}


def test_table_rows_are_asked_by_their_columns() -> None:
    chinese = asked(labelled(CHINESE_ROW), title="痛风", meta={"fields": CHINESE_ROW})
    assert [rule for _, rule in chinese] == ["fields", "fields_overview"]
    assert "痛风" in chinese[0][0] and "症状、病因和就诊科室" in chinese[0][0]
    other = asked(labelled(ENGLISH_ROW), title="Ibuprofen", language="en", meta={"fields": ENGLISH_ROW})
    assert other[0][0] == "What are the dose and max daily of Ibuprofen?"


def test_a_row_is_shown_column_by_column() -> None:
    assert labelled(CHINESE_ROW) == "名称：痛风\n症状：关节红肿热痛\n病因：尿酸升高\n就诊科室：风湿科"
    assert labelled(ENGLISH_ROW) == "drug: Ibuprofen\ndose: 200 mg\nmax_daily: 1200 mg"
    assert is_listing(CHINESE_ROW, labelled(CHINESE_ROW))
    assert not is_listing(CHINESE_ROW, "关节红肿热痛")


NODE = {
    "id": "7",
    "name": "表虚证",
    "label": "Syndrome",
    "name_cn": "表虚证",
    "name_en": "external deficiency",
    "MeSH_id": "D012",
    "pathogenesis": "因营卫不和，或气虚腠理不固所致。",
    "clinical_performance": "临床以淅淅畏风，动辄汗出为特征。",
    "ALT": "正常",
    "hint": "卫表不固",
    "disease_class": "group",
}


def test_columns_that_only_a_database_needs_are_left_out() -> None:
    """Keys and English names of columns that nobody would say aloud; what has a Chinese name is asked by it."""
    told = labelled(NODE)
    assert "病机：因营卫不和" in told and "临床表现：" in told and "英文名：" in told and "ALT：正常" in told
    assert "hint：卫表不固" in told  # what is said is not lost with the name of its column
    assert not any(
        word in told
        for word in ("label", "disease_class", "group", "Syndrome", "name_cn", "pathogenesis", "MeSH", "D012")
    )
    assert is_listing(NODE, told)
    questions = [question for question, _ in asked(told, title="表虚证", meta={"fields": NODE})]
    assert len(questions) == 2 and "临床表现、病机和ALT" in questions[0]


def test_a_row_of_many_columns_is_asked_for_as_a_whole() -> None:
    """The answer is the row: three of its columns are asked for only where that is most of it."""
    fields = {"name": "痛风", **dict.fromkeys(("症状", "病因", "科室", "检查", "治疗"), "甲")}
    first, second = asked(labelled(fields), title="痛风", meta={"fields": fields})
    assert first == ("请介绍一下痛风。", "fields_overview") and second[1] == "fields"


def test_columns_without_a_name_are_not_asked_about() -> None:
    fields = {"column 1": "槲寄生", "column 2": "SMIT01519", "column 3": "symmap_chemical"}
    assert labelled(fields) == "槲寄生\nSMIT01519\nsymmap_chemical"
    assert asked(labelled(fields), title="", meta={"fields": fields}) == []


def test_text_beside_columns_stays_text() -> None:
    fields = {"dept": "心内科", "url": "https://example.org/1", "关键词": "高血压"}
    assert not is_listing(fields, "心内科常见的高血压病人应当限盐，并且每天在同一时间测量血压，记录下来给医生看。")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("（方见头痛门）", {"language": "lzh", "source_type": "classic"}),
        ("见前", {"language": "lzh", "source_type": "classic"}),
        ("（详见第三章）", {}),
        ("可能与以下因素有关：", {}),
        ("治疗方法如下。", {}),
        ("See chapter 4.", {"language": "en"}),
        ("Asthma may have the following causes:", {"language": "en"}),
    ],
    ids="see-classic see-before see-modern announcement as-follows see-english announcement-english".split(),
)
def test_cross_references_and_announcements_give_none(text: str, more: dict[str, str]) -> None:
    assert asked(text, "咳嗽", title="小书", **more) == []


def test_nothing_to_go_by_gives_no_question() -> None:
    assert asked("", title="") == []
    assert classic("。", "卷一", title="") == []
    assert english("Yes.", title="") == []


def test_keywords_are_those_that_tell_a_text_from_others() -> None:
    text = "患者出现支气管哮喘，支气管哮喘应当避免花粉，治疗以吸入激素为主。"
    found = keywords(text, 3)
    assert "支气管" in "".join(found)
    assert not {"患者", "出现", "治疗"} & set(found)
    assert keywords(text, 3) == found
    assert keywords("Wheezing at night.") == []


NUMBERING = st.sampled_from(
    [
        "",
        "第一章 ",
        "第三节　",
        "卷之三 ",
        "卷第二·",
        "一、",
        "（二）",
        "1.",
        "１２．",
        "2.3 ",
        "①",
        "附：",
        "第十二回 ",
    ]
)
HEADINGS = st.sampled_from(
    """
    咳嗽 高血压 2型糖尿病 桂枝汤 治虚劳诸方 治咳嗽。痰多。宜服杏仁丸方 治风寒。 又方 又法 方 主治 病因 治疗
    临床表现： 用法用量 组成 概述 小结 什么是贫血？ 怎么办 论 “风”论 歌诀 序 人参 人参（附方） 【发明】 《素问》
    水肿门 草部 与肺炎鉴别 头痛、眩晕。 —— 。
    """.split()
)
CHINESE_TEXT = st.lists(
    st.sampled_from(
        [
            "风寒客于肺，则咳嗽声重，鼻塞流涕。治宜辛温。",
            "桂枝三两 甘草二两，水煎服。",
            "（《千金》）治伤寒头痛。",
            "\n1. 卧床：安静。\n2. 饮水：少量多次。\n",
            "休克是指有效循环血量减少。",
            "这种状态称为“休克”。",
            "味辛，温。主治头痛。",
            "贫血包括缺铁性贫血、溶血性贫血。",
            "【按】此言风寒之理。",
            "某甲曰：风寒也。",
            "“气逆则咳”，古人已言之。",
            "一次 0.5 g，一日 3 次。",
            "。",
            "\n",
        ]
    ),
    min_size=1,
    max_size=4,
).map("".join)
ENGLISH_HEADINGS = st.sampled_from(
    [
        "Symptoms",
        "CAUSES",
        "Chapter 4",
        "Chapter 4 Triggers",
        "1. Treatment",
        "How to breathe",
        "Overview",
        "What is it?",
        "",
        "IV.",
    ]
)
ENGLISH_TEXT = st.lists(
    st.sampled_from(
        [
            "Asthma is a chronic disease. ",
            "Triggers include dust, pollen, and cold air. ",
            "It wheezes.\n",
            "- Rest well.\n",
            "Take 3.5 mg with food. ",
            "\n",
        ]
    ),
    min_size=1,
    max_size=4,
).map("".join)
CHAPTER = re.compile(
    r"第[一二三四五六七八九十\d]+[章节篇卷回]|卷[之第]|(?:^|[《“，中的论])[一二三四五六七八九十]、|[（(][一二三四五六七八九十\d][）)]|\b(?i:chapter)\b"
)


def assert_askable(question: str) -> None:
    assert question == question.strip() and len(question) > 3
    assert question.endswith(("？", "?", "。", "."))
    assert not CHAPTER.search(question), question
    assert not re.search(r"“”|\"\"|《》|。。|？？|\?\?|，，|“[，。、]|\n|^[，中的、]", question), question
    assert question.count("“") == question.count("”"), question


@settings(deadline=None, max_examples=400)
@given(
    st.lists(st.tuples(NUMBERING, st.one_of(st.just(""), HEADINGS)).map("".join), max_size=3),
    st.sampled_from(["", "草药小识", "第三章 咳嗽", "内科小书", "卷三"]),
    CHINESE_TEXT,
    st.sampled_from([("zh", "book"), ("zh", "classic"), ("lzh", "classic")]),
    st.sampled_from([(0, 1), (0, 3), (2, 3)]),
)
def test_chinese_questions_can_be_asked(
    section: list[str], title: str, text: str, kind: tuple[str, str], place: tuple[int, int]
) -> None:
    language, source_type = kind
    document = {"title": title, "language": language, "source_type": source_type, "part": place[0], "parts": place[1]}
    found = asked(text, *section, **document)
    for question, rule in found:
        assert_askable(question)
        assert rule
    assert asked(text, *section, **document) == found


@settings(deadline=None, max_examples=200)
@given(
    st.lists(ENGLISH_HEADINGS, max_size=2),
    st.sampled_from(["", "Asthma", "Chapter 3: Asthma", "ASTHMA IN ADULTS", "Effect of sleep on stroke"]),
    ENGLISH_TEXT,
    st.sampled_from([(0, 1), (1, 3)]),
)
def test_english_questions_can_be_asked(section: list[str], title: str, text: str, place: tuple[int, int]) -> None:
    found = english(text, *section, title=title, part=place[0], parts=place[1])
    for question, _ in found:
        assert_askable(question)
    assert english(text, *section, title=title, part=place[0], parts=place[1]) == found


NAME = st.text(alphabet="咳嗽痰喘汗黄帝abcαβ", min_size=1, max_size=8)


@settings(deadline=None)
@given(st.dictionaries(NAME, st.text(alphabet="风寒热湿0.5 mg，", max_size=8), max_size=5), NAME)
def test_questions_on_rows_can_be_asked(fields: dict[str, str], title: str) -> None:
    for question, _ in asked(labelled(fields), title=title, meta={"fields": fields}):
        assert question.endswith(("？", "?", "。"))
        assert title.strip() in question or not fields
