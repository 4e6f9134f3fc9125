"""Topics: what a passage is about, from headings as books have them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.llm.topic import choose, is_generic, named_subject, opening, subject, subjects, unnumbered

NAMES = [
    "咳嗽",
    "2型糖尿病",
    "桂枝汤",
    "24小时尿蛋白",
    "5-羟色胺",
    "十二指肠溃疡",
    "三叉神经痛",
    "一氧化碳中毒",
    "卷柏",
    "附子",
]
NUMBERS = [
    "第一章 ",
    "第十二节　",
    "卷之三 ",
    "卷第二·",
    "一、",
    "（二）",
    "1.",
    "１２．",
    "3.1 ",
    "①",
    "附：",
    "（1）",
    "● ",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_numbering(name: str) -> None:
    assert subject(name) == name


@settings(deadline=None)
@given(st.lists(st.sampled_from(NUMBERS), max_size=2).map("".join), st.sampled_from(NAMES))
def test_a_name_is_found_behind_any_numbering(numbering: str, name: str) -> None:
    assert subject(numbering + name) == name


@pytest.mark.parametrize(
    "heading", ["第二章", "卷之三", "卷二", "上篇", "一", "３０", "3.2", "（三）", "——", "", " ", "①", "* *"]
)
def test_a_bare_number_names_nothing(heading: str) -> None:
    assert subject(heading) == ""


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("高血压（hypertension）", "高血压"),
        ("【发明】", "发明"),
        ("病因：", "病因"),
        ("薄 荷", "薄荷"),
        ("卷一 五脏论", "五脏论"),
        ("卷 之 一", ""),
        ("桂枝汤（附方）", "桂枝汤"),
        ("Chapter 4 Asthma", "Asthma"),
        ("IV. Fluids", "Fluids"),
        ("24-hour urine", "24-hour urine"),
        ("0.9%氯化钠", "0.9%氯化钠"),
        ("1-7岁儿童", "1-7岁儿童"),
        ("2 型糖尿病", "2 型糖尿病"),
    ],
    ids=[
        "gloss",
        "brackets",
        "colon",
        "spaced",
        "volume-and-name",
        "spaced-volume",
        "remark",
        "chapter",
        "roman",
        "hours",
        "percent",
        "ages",
        "type",
    ],
)
def test_headings_as_books_have_them(heading: str, expected: str) -> None:
    assert subject(heading) == expected


@settings(deadline=None)
@given(st.text(alphabet="第一二3.、（）卷之章节 咳嗽汤附：—·ab", max_size=12))
def test_a_cleaned_heading_is_clean(heading: str) -> None:
    name = subject(heading)
    assert name == name.strip()
    assert not re.fullmatch(r"第?[一二3]*[章节卷]?", name) or not name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("卷之三十三", "积聚门", "病机"), ("积聚", "病机")),
        (("卷之一\\草部", "１.薄荷"), ("草", "薄荷")),
        (("第一章 休克", "休克"), ("休克",)),
        (("卷一", "二"), ()),
        ((), ()),
    ],
    ids=["department", "levels", "repeated", "numbers", "none"],
)
def test_a_path_keeps_the_headings_that_say_something(path: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert subjects(path) == expected


def test_kinds_of_text_are_generic_and_subjects_are_not() -> None:
    assert all(map(is_generic, ("治法", "又方", "小结", "Overview", "introduction")))
    assert not any(map(is_generic, ("薄荷", "咳嗽", "asthma")))


@pytest.mark.parametrize(
    ("title", "expected"),
    [("儿童发热：居家处理", "儿童发热"), ("Iron deficiency, with notes", "Iron deficiency"), ("第三章 咳嗽", "咳嗽")],
    ids=["colon", "comma", "number"],
)
def test_the_subject_of_a_title(title: str, expected: str) -> None:
    assert named_subject(title) == expected


def test_a_title_loses_its_number_and_nothing_else() -> None:
    assert unnumbered("第三章 咳嗽") == "咳嗽"
    assert unnumbered("草药小识（增订本）") == "草药小识（增订本）"
    assert unnumbered("卷三") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("（《千金》）治伤寒病后呕哕不下食，此由初病时热盛", "治伤寒病后呕哕不下食"),
        ("1.卧床休息，多饮水。", "卧床休息"),
        ("0.5 g每日三次，饭后。", "0.5 g每日三次"),
        ("这一状态称为“休克”。", "这一状态称为休克"),
        ("【主治】咳嗽痰多。", "咳嗽痰多"),
        ("。，", ""),
    ],
    ids=["bracket", "number", "dose", "quoted", "label", "nothing"],
)
def test_the_opening_of_a_text(text: str, expected: str) -> None:
    assert opening(text) == expected


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(1, 40))
def test_an_opening_is_short_and_can_stand_in_quotation_marks(text: str, most: int) -> None:
    assert len(opening(text, most)) <= most
    assert not set(opening(text, most)) & set('“”"\n。？')


def test_phrasings_vary_between_seeds_and_never_for_one() -> None:
    variants = ("什么是{x}？", "{x}是什么？", "{x}指的是什么？")
    chosen = [choose(variants, f"病{number}") for number in range(60)]
    assert set(chosen) == set(variants)
    assert chosen == [choose(variants, f"病{number}") for number in range(60)]
