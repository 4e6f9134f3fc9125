"""Passages: every character once, no sentence cut, tables and lists whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.clean.passages import passages, sentences

ZH = st.lists(
    st.sampled_from(
        [
            "咳嗽三日，痰白。",
            "风寒袭肺，宜温散。",
            "何以知之？",
            "慎之！",
            "忌生冷；",
            "\n",
            "\n\n",
            "\n- 卧床休息\n- 多饮水\n",
            "药物如下：\n",
            "一次 0.5 g，一日 3 次。",
            "“气逆则咳。”",
            "\n阿莫西林 | 0.5 g\n布洛芬 | 0.2 g\n",
        ]
    ),
    max_size=40,
).map("".join)
EN = st.lists(
    st.sampled_from(
        [
            "Rest for two days. ",
            "Take 3.5 mg with food, e.g. Bread. ",
            "Dr. Smith saw Fig. 2 and agreed. ",
            "Is it safe? ",
            "Yes!\n",
            "\n\n",
            "- Drink water\n- Eat little\n",
            "The doses are:\n",
        ]
    ),
    max_size=60,
).map("".join)
ANY = st.one_of(st.text(max_size=200), ZH, EN)


@settings(deadline=None)
@given(ANY, st.integers(1, 60), st.integers(1, 20))
def test_every_character_is_in_exactly_one_passage(text: str, characters: int, words: int) -> None:
    found = passages(text, characters, words)
    assert "".join(found) == text
    assert all(found)


@settings(deadline=None)
@given(ZH, st.integers(8, 60))
def test_no_chinese_passage_is_longer_than_the_target_unless_one_sentence_is(text: str, target: int) -> None:
    for passage in passages("病" * 80 + "。" + text, target):
        assert len(passage) <= target or len(sentences(passage)) == 1


@settings(deadline=None)
@given(EN, st.integers(4, 30))
def test_no_english_passage_is_longer_than_the_target_unless_one_sentence_is(text: str, target: int) -> None:
    for passage in passages(text, 4 * target, target):
        assert len(passage.split()) <= target or len(sentences(passage)) == 1 or len(text) <= target


@settings(deadline=None)
@given(st.one_of(ZH, EN), st.integers(5, 40))
def test_no_sentence_is_cut(text: str, target: int) -> None:
    ends, place = {0}, 0
    for sentence in sentences(text):
        place += len(sentence)
        ends.add(place)
    place = 0
    for passage in passages(text, target, target):
        place += len(passage)
        assert place in ends or passage.endswith("\n")


@settings(deadline=None)
@given(ANY)
def test_sentences_lose_no_character(text: str) -> None:
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith came. He left.", ["Dr. Smith came. ", "He left."]),
        ("Give 3.5 mg. Then wait.", ["Give 3.5 mg. ", "Then wait."]),
        ("See Fig. 2 for doses. Stop then.", ["See Fig. 2 for doses. ", "Stop then."]),
        ("Fruit, e.g. Apples, i.e. Fibre. Good.", ["Fruit, e.g. Apples, i.e. Fibre. ", "Good."]),
        ("Smith et al. 2020 agree. So do we.", ["Smith et al. 2020 agree. ", "So do we."]),
        ("J. R. Brown wrote it. We read it.", ["J. R. Brown wrote it. ", "We read it."]),
        ("It is safe (see below). “Yes.” He went.", ["It is safe (see below). ", "“Yes.” ", "He went."]),
        ("忌酒。“慎之！”不可过服；小儿减半……停药。", ["忌酒。", "“慎之！”", "不可过服；", "小儿减半……", "停药。"]),
        ("次段。\n\n另起", ["次段。\n\n", "另起"]),
    ],
    ids=["title", "decimal", "figure", "eg", "et-al", "initials", "quotes", "chinese", "paragraphs"],
)
def test_where_sentences_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def _paragraph(number: int) -> str:
    return f"第{number}段说到咳嗽的起因与调养，文字长短相近。\n"


@pytest.mark.parametrize("blank", ["", "\n"], ids=["tight", "blank-line"])
@pytest.mark.parametrize(
    "listed",
    [
        "药名 | 剂量\n阿莫西林 | 0.5 g\n布洛芬 | 0.2 g\n",
        "- 卧床休息\n- 多饮温水\n- 按时服药\n",
        "1. 卧床休息\n2. 多饮温水\n3. 按时服药\n",
        "（1）卧床休息\n（2）多饮温水\n（3）按时服药\n",
    ],
    ids=["table", "bullets", "numbers", "brackets"],
)
def test_a_list_that_fits_stays_whole_with_the_line_that_introduces_it(listed: str, blank: str) -> None:
    introduced = "具体如下：\n" + blank + listed
    for before in range(8):
        text = "".join(map(_paragraph, range(before))) + introduced + "".join(map(_paragraph, range(8)))
        assert any(introduced in passage for passage in passages(text, 70)), before


def test_a_list_longer_than_the_target_is_cut_between_its_items() -> None:
    items = [f"- 第{number}项内容略述\n" for number in range(20)]
    found = passages("".join(items), 50)
    assert len(found) > 3
    assert [item for passage in found for item in passage.splitlines(keepends=True)] == items


@settings(deadline=None)
@given(st.integers(20, 200), st.integers(150, 400))
def test_no_stump_is_left_at_the_end(count: int, target: int) -> None:
    found = passages("".join(_paragraph(number) for number in range(count)), target)
    assert len(found) == 1 or min(map(len, found)) > target / 3


def test_english_is_measured_in_words() -> None:
    sentence = "Wash hands before a meal. "
    found = passages(sentence * 100, characters=10, words=50)
    assert all(len(passage.split()) <= 50 for passage in found)
    assert len(found) == 10


def test_chinese_with_english_terms_is_measured_in_characters() -> None:
    sentence = "血红蛋白（haemoglobin）降低见于贫血。"
    assert max(map(len, passages(sentence * 20, characters=100, words=10))) <= 100


def test_a_short_text_is_one_passage_and_an_empty_one_none() -> None:
    assert passages("多饮水。\n少熬夜。") == ["多饮水。\n少熬夜。"]
    assert passages("") == []
