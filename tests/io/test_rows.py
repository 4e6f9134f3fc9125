"""Rows made into Documents: pairs, talks, exam items, fields, and what is left out with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from datatools.io.rows import asked, documents, language_code, untruncated
from datatools.io.source import Fault, Note, ReadOptions, Source
from schemas.document import Document

SOURCE = Source("t.csv", "t.csv", "csv")
ANSWER = "先休息，多喝水；体温超过三十九度或三天不退就去看医生。"


def made(*rows: dict[str, Any]) -> list[Document | Fault]:
    read = list(documents(iter(enumerate(rows, 1)), SOURCE, ReadOptions()))
    assert isinstance(read[0], Note)
    return [item for item in read[1:] if not isinstance(item, Note)]


def one(*rows: dict[str, Any]) -> Document:
    document = made(*rows)[0]
    assert isinstance(document, Document)
    return document


def test_a_pair_keeps_its_other_columns() -> None:
    document = one({"id": 12.0, "科室": "内科", "question": "发烧怎么办？", "answer": ANSWER, "备注": ""})
    assert (document.id, document.text, document.offset) == ("12", f"发烧怎么办？\n\n{ANSWER}", 1)
    assert document.meta == {"question": "发烧怎么办？", "answer": ANSWER, "fields": {"科室": "内科"}}
    assert document.source_type == "consultation"


@pytest.mark.parametrize(
    "title, body, question",
    [
        ("高血压能吃党参吗？", "我有高血压，高血压能吃党参吗？谢谢", "我有高血压，高血压能吃党参吗？谢谢"),
        ("小孩癫痫有什么特征", "无", "小孩癫痫有什么特征"),
        ("口苦是什么原因？", "口苦", "口苦是什么原因？"),
        ("胆红素偏高怎么治？", "体检发现偏高，转氨酶正常。", "胆红素偏高怎么治？\n体检发现偏高，转氨酶正常。"),
        ("", "头晕", "头晕"),
    ],
)
def test_headline_and_description_become_what_a_person_would_have_written(title: str, body: str, question: str) -> None:
    assert asked(title, body) == question
    assert one({"title": title, "ask": body, "answer": ANSWER}).meta["question"] == question


def test_blank_answers_are_faults_and_the_rest_goes_on() -> None:
    pair = {"question": "发烧怎么办？", "answer": ANSWER}
    read = made({**pair, "answer": "  "}, {**pair, "answer": None}, {**pair, "answer": "nan"}, pair)
    assert read[:3] == [Fault(f"t.csv:{n}", "answer is empty", rule="empty_row") for n in (1, 2, 3)]
    assert isinstance(read[3], Document)


def test_empty_text_is_a_fault() -> None:
    assert made({"text": "有字"}, {"text": "\u3000"})[1] == Fault("t.csv:2", "text is empty", rule="empty_row")


def test_a_conversation_of_many_turns() -> None:
    said = ["头晕", "多久了？", "三天", ANSWER]
    turns = [{"from": ("human", "gpt")[k % 2], "value": line} for k, line in enumerate(said)]
    document = one({"system_prompt": "你是医生", "conversations": turns})
    assert [turn["role"] for turn in document.meta["messages"]] == ["system", *["user", "assistant"] * 2]
    assert document.text == "\n\n".join(said)


def test_a_conversation_of_one_exchange_is_a_pair() -> None:
    document = one({"messages": [{"role": "user", "content": "头晕"}, {"role": "assistant", "content": ANSWER}]})
    assert (document.meta["question"], document.meta["answer"]) == ("头晕", ANSWER)


def test_a_conversation_without_an_answer_is_a_fault() -> None:
    talk = [{"from": "human", "value": "头晕"}, {"from": "gpt", "value": ""}]
    assert made({"conversations": talk})[0] == Fault("t.csv:1", "answer is empty", rule="empty_row")


@pytest.mark.parametrize(
    "options",
    [
        {"Options": "A 水\\nB 盐\\nC 糖"},
        {"Options": "A 水\nB 盐\nC 糖"},
        {"Options": "A. 水 B. 盐 C. 糖"},
        {"options": {"A": "水", "B": "盐", "C": "糖"}},
        {"options": ["水", "盐", "糖"]},
        {"options": [{"key": "A", "value": "水"}, {"key": "B", "value": "盐"}, {"key": "C", "value": "糖"}]},
        {"A": "水", "B": "盐", "C": "糖"},
    ],
)
def test_an_exam_item_in_every_shape_of_its_options(options: dict[str, Any]) -> None:
    document = one({"Question": "口服补液盐里有", "Answer": "BC", "Explanation": "两样都有。", **options})
    assert document.meta["question"] == "口服补液盐里有\nA. 水\nB. 盐\nC. 糖"
    assert document.meta["answer"] == "BC\nB. 盐\nC. 糖\n\n两样都有。"


def test_a_single_choice_answer_is_its_letter_and_words() -> None:
    item = {"Question": "最咸的是", "Options": "A 水\\nB 盐", "Answer": "B", "Explanation": "nan"}
    assert one(item).meta["answer"] == "B. 盐"


def test_a_row_of_fields_reads_as_lines_without_residue() -> None:
    row = {
        "name": " 感冒",
        "symptom": "鼻塞 流涕 [详细]",
        "drug": "复方氨酚烷... 板蓝根颗粒 [详细]",
        "money": "暂无相关资料",
        "part": "鼻",
    }
    document = one(row)
    assert document.title == "感冒"
    assert document.text == "name：感冒\nsymptom：鼻塞 流涕\ndrug：板蓝根颗粒\npart：鼻"
    assert list(document.meta["fields"]) == ["name", "symptom", "drug", "part"]


def test_a_row_whose_name_the_crawl_cut_off_is_a_fault() -> None:
    row = {"name": "感染性心...", "symptom": "发热", "drug": "遵医嘱", "part": "心"}
    assert made(row)[0] == Fault("t.csv:1", "name is cut short: 感染性心...", rule="empty_row")


def test_nested_values_become_fields() -> None:
    document = one({"id": 1, "name": "甘草", "attributes": {"name_cn": "甘草", "taste": "甘", "x": None}, "n": 2.0})
    assert document.meta["fields"] == {"name": "甘草", "taste": "甘", "n": "2"}


def test_title_section_language_and_licence() -> None:
    row = {"text": "正文一段", "title": "发热", "section": ["内科", "症状"], "lang": "zh-CN", "license": "CC-BY-4.0"}
    document = one(row)
    read = (document.title, document.section, document.language, document.license)
    assert read == ("发热", ("内科", "症状"), "zh", "CC-BY-4.0")
    assert document.meta == {}


def test_a_row_of_another_shape_is_read_by_its_own() -> None:
    read = made({"text": "正文一段"}, {"question": "头晕怎么办", "answer": ANSWER})
    assert isinstance(read[1], Document)
    assert read[1].meta["answer"] == ANSWER


def test_faults_among_the_rows_keep_their_place() -> None:
    rows = iter([(1, {"text": "一"}), Fault("t.csv:2", "broken", rule="malformed_row"), (3, {"text": "三"})])
    read = list(documents(rows, SOURCE, ReadOptions()))
    assert [type(item) for item in read] == [Note, Document, Fault, Document]


def test_encoding_and_broken_characters_are_recorded() -> None:
    read = list(documents(iter([(1, {"text": "坏\ufffd字"})]), SOURCE, ReadOptions(), encoding="gb18030"))
    assert isinstance(read[1], Document)
    assert read[1].meta == {"encoding": "gb18030", "undecodable": 1}


def test_language_codes() -> None:
    assert [language_code(word) for word in ("en_US", "中文", "lzh", "Klingon")] == ["en", "zh", "lzh", ""]


def test_what_was_cut_short_is_dropped_and_sentences_stay() -> None:
    assert untruncated("甲胶囊... 乙片 [详细]") == "乙片"
    assert untruncated("甲胶囊...") == ""
    sentence = "患者多在夜间发作，持续几分钟到半小时，之后自行缓解，其他没有……"
    assert untruncated(sentence) == sentence


def test_a_row_may_say_what_type_its_source_is() -> None:
    row = {"text": "感冒多休息，多喝水，三天不退热去看医生。", "source_type": "book"}
    assert one(row).source_type == "book"
    assert one({**row, "source_type": "诗"}).source_type == "other"


def test_the_words_of_a_link_are_no_value() -> None:
    row = {"name": "自缢", "治疗": "急救", "常用药物": "应该如何用药？用什么药？ [详细]", "周期": "2天"}
    assert one(row).text == "name：自缢\n治疗：急救\n周期：2天"


def test_triples_of_a_graph_are_no_text() -> None:
    edges = [
        {"Disease": "感冒", "Syndrome": "风寒证", "Relation": "DIS2SYN"},
        {"Syndrome": "风寒证", "Formula": "荆防败毒散", "Relation": "SYN2FOR"},
    ]
    said = "a triple of a graph is no text: 感冒, 风寒证, DIS2SYN"
    assert made(*edges)[0] == Fault("t.csv:1", said, rule="graph_edge")
    assert [fault.rule for fault in made(*edges) if isinstance(fault, Fault)] == ["graph_edge"] * 2


@pytest.mark.parametrize(
    "row",
    [
        {"姓名": "甲", "关系": "母女", "病史": "高血压", "用药": "氨氯地平"},
        {
            "药物": "华法林",
            "食物": "西柚",
            "relation": "西柚中的呋喃香豆素抑制CYP3A4，华法林血药浓度升高，出血风险增加。" * 2,
        },
    ],
    ids=["more than two names", "a relation that says something"],
)
def test_a_table_with_a_relation_among_its_columns_is_read(row: dict[str, str]) -> None:
    assert all(value in one(row).text for value in row.values())
