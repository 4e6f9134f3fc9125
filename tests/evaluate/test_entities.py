"""Entities: files of every format, replies in every form, and figures that can be checked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.evaluate.entities import Annotated, Entity, annotated, counted, ner_scores, nested
from datatools.evaluate.entity_replies import read_entities

TEXT = "患者因直肠癌行直肠癌根治术，术后肝转移。"
TYPES = {"dis": "疾病", "pro": "医疗程序", "bod": "身体"}


def spans(text: str, *words: tuple[str, str]) -> list[Entity]:
    return [Entity(text.index(one), text.index(one) + len(one), kind) for one, kind in words]


def test_ccks_and_cmeee_give_the_same_spans(tmp_path: Path) -> None:
    ccks = {
        "text": TEXT,
        "entity_list": [{"entity_index": {"begin": 3, "end": 6}, "entity_type": "疾病", "entity": "直肠癌"}],
    }
    cmeee = [{"text": TEXT, "entities": [{"start_idx": 3, "end_idx": 5, "type": "疾病", "entity": "直肠癌"}]}]
    bare = [{"text": TEXT, "entities": [{"start_idx": 3, "end_idx": 5, "type": "疾病"}]}]
    original = {"originalText": TEXT, "entities": [{"start_pos": 3, "end_pos": 6, "label_type": "疾病"}]}
    for number, content in enumerate((ccks, cmeee, bare, original)):
        (path := tmp_path / f"{number}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        assert annotated([str(path)])[0].entities == (Entity(3, 6, "疾病"),)


def test_bio_lines_of_both_scripts(tmp_path: Path) -> None:
    lines = "患 O\n胃 B-dis\n癌 I-dis\n胃 B-dis\n炎 E-dis\n\nType B-Dis\n2 I-Dis\ndiabetes I-Dis\nmay O\n"
    (path := tmp_path / "a.txt").write_text(lines, encoding="utf-8")
    first, second = annotated([str(path)])
    assert first.text == "患胃癌胃炎" and first.entities == (Entity(1, 3, "dis"), Entity(3, 5, "dis"))
    assert second.text == "Type 2 diabetes may" and second.entities == (Entity(0, 15, "Dis"),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "胃癌"}', "no text with a list of entities"),
        (
            '{"text": "胃癌", "entities": [{"start": 5, "end": 7, "type": "x", "entity": "胃癌"}]}',
            "does not stand at 5",
        ),
        ('{"text": "胃癌", "entities": [{"type": "x"}]}', "lacks start, end or type"),
        ("胃 B-dis\n癌 ???\n", "no token with a tag"),
        ('{"text": "胃癌", "entities": []}\n{"text": "胃癌", "entities": []}', "the same text as"),
    ],
)
def test_what_is_no_annotation_stops_with_its_place(content: str, said: str, tmp_path: Path) -> None:
    (path := tmp_path / "a.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said) as raised:
        annotated([str(path)])
    assert "a.jsonl:" in str(raised.value)


def test_strict_relaxed_and_nested_by_hand() -> None:
    gold = spans(TEXT, ("直肠癌根治术", "pro"), ("肝转移", "dis"), ("直肠癌", "dis"), ("肝", "bod"))
    made = spans(TEXT, ("直肠癌根治术", "pro"), ("转移", "dis"), ("患者", "bod"))
    assert counted(gold, made) == [1, 3, 4, 2, 2]
    assert nested(gold) == spans(TEXT, ("肝", "bod"))
    row = {
        "source": "a.json:1", "method": "given", "missing": 0, "text": TEXT,
        "entities": [one.record(TEXT) for one in gold], "predicted": [one.record(TEXT) for one in made],
    }  # fmt: skip
    score = ner_scores([row])["a"]
    assert score["strict"]["precision"] == pytest.approx(1 / 3, abs=1e-5) and score["strict"]["recall"] == 0.25
    assert score["relaxed"]["recall"] == 0.5 and score["nested"] == {"n": 1, "recall": 0.0}
    assert score["types"]["pro"]["strict"]["f1"] == 1.0


def test_a_reply_counts_by_words_and_what_is_not_in_the_text_is_wrong() -> None:
    gold = [Entity(3, 6, "dis"), *spans(TEXT, ("直肠癌根治术", "pro"))]  # 直肠癌 within 直肠癌根治术 is not annotated
    reply = '[{"entity": "直肠癌", "type": "疾病"}, {"entity": "直肠癌根治术", "type": "医疗程序"}]'
    read = read_entities(reply, TEXT + "直肠癌复发。", TYPES)
    row = {
        "source": "a.json:1", "method": read.method, "missing": 0, "text": TEXT + "直肠癌复发。",
        "entities": [one.record(TEXT) for one in gold],
        "predicted": [one.record(TEXT + "直肠癌复发。") for one in read.entities],
    }  # fmt: skip
    score = ner_scores([row])["a"]
    assert score["by"] == "words" and score["strict"]["f1"] == 1.0
    assert score["strict_by_places"]["precision"] == pytest.approx(2 / 3, abs=1e-5)
    assert ner_scores([row | {"missing": 2}])["a"]["strict"]["precision"] == 0.5
    placed = '[{"entity": "直肠癌", "type": "疾病", "start": 3}]'
    assert read_entities(placed, TEXT, TYPES).method == "spans"


def test_words_with_commas_and_colons_stay_whole() -> None:
    text = "病理：低分化腺癌（LAUREN，分型：肠型），肝、脾未见转移。"
    found = read_entities("- 低分化腺癌（LAUREN，分型：肠型）（疾病）\n- 肝（身体）、脾（身体）", text, TYPES).entities
    assert [text[one.start : one.end] for one in found] == ["低分化腺癌（LAUREN，分型：肠型）", "肝", "脾"]


@pytest.mark.parametrize(
    "reply",
    [
        '[{"entity": "直肠癌", "type": "疾病"}, {"entity": "肝", "type": "身体"}]',
        '```json\n{"entities": [{"text": "直肠癌", "label": "dis"}, {"text": "肝", "label": "bod"}]}\n```',
        '{"疾病": ["直肠癌"], "身体": ["肝"]}',
        "疾病：直肠癌\n身体：肝",
        "1. 直肠癌（疾病）\n2. 肝（身体）",
        "直肠癌：疾病；肝：身体",
        "上述文本中的实体包括：\n疾病实体：直肠癌\n身体实体：肝\n医疗程序实体：无",
    ],
)
def test_replies_in_every_form(reply: str) -> None:
    found = read_entities(reply, TEXT, TYPES)
    assert set(found.entities) == {Entity(3, 6, "dis"), Entity(7, 10, "dis"), Entity(16, 17, "bod")}
    assert found.missing == 0


def test_words_within_a_longer_entity_count_where_they_stand_alone_or_nowhere_else() -> None:
    reply = '[["直肠癌根治术", "医疗程序"], ["直肠癌", "疾病"], ["肝转移", "疾病"], ["肝", "身体"]]'
    found = read_entities(reply, TEXT, TYPES).entities
    assert set(found) == {Entity(3, 6, "dis"), Entity(7, 13, "pro"), Entity(16, 19, "dis"), Entity(16, 17, "bod")}


def test_nothing_found_is_an_answer_and_a_sentence_is_none() -> None:
    assert read_entities("[]", TEXT, TYPES).method == "json" and read_entities("无", TEXT, TYPES).method == "lines"
    assert read_entities("这段话没有说清楚。", TEXT, TYPES).method == "none"
    assert read_entities('[{"entity": "胃癌", "type": "疾病"}]', TEXT, TYPES).missing == 1


@given(st.text(max_size=120), st.text(max_size=40))
def test_no_reply_breaks_it(reply: str, text: str) -> None:
    for one in read_entities(reply, text, TYPES).entities:
        assert 0 <= one.start < one.end <= len(text) and one.type in TYPES
    assert Annotated("1", text, ()).entities == ()
