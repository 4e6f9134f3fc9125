"""Numbers with units: found in every spelling, missing ones named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.numbers import missing_numbers, quantities


def read(text: str) -> list[str]:
    return [str(quantity) for quantity in quantities(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("３～５ｇ", ["3 g", "5 g"]),
        ("0.3—0.6克", ["0.3 g", "0.6 g"]),
        ("三至五钱", ["3 钱", "5 钱"]),
        ("二两半", ["2.5 两"]),
        ("三两二钱", ["3 两", "2 钱"]),
        ("廿一枚", ["21 枚"]),
        ("半斤", ["0.5 斤"]),
        ("百分之五", ["5 %"]),
        ("95％", ["95 %"]),
        ("三分之一", ["0.333333"]),
        ("½片", ["0.5 片"]),
        ("1½ tablets", ["1.5 片"]),
        ("12×10⁹/L", ["12 e9 l"]),
        ("(10～20)×10^9/L", ["10 e9 l", "20 e9 l"]),
        ("12×109/L", ["12 e9 l"]),
        ("120/80mmHg", ["120 mmhg", "80 mmhg"]),
        ("每日2~3次", ["2 次/天", "3 次/天"]),
        ("1日3次", ["3 次/天"]),
        ("3 times a day", ["3 次/天"]),
        ("twice daily", ["2 次/天"]),
        ("500 mg bid", ["500 mg", "2 次/天"]),
        ("two weeks", ["2 周"]),
        ("twenty-five mg", ["25 mg"]),
        ("100 mcg", ["100 μg"]),
        ("100µg", ["100 μg"]),
        ("5mg/(kg·d)", ["5 mg/kg/天"]),
        ("90 ml/min/1.73m²", ["90 ml/分钟/1.73m2"]),
        ("1,000 ml", ["1000 ml"]),
        ("40万单位", ["400000 iu"]),
        ("一九九八年", ["1998 年"]),
        ("三五日", ["3 天", "5 天"]),
        ("38.5℃", ["38.5 °"]),
    ],
)
def test_numbers_are_read_in_every_spelling(text: str, expected: list[str]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("百合固金汤用百合10g、三七粉3g", ["10 g", "3 g"]),
        ("三七片口服，每次4片", ["4 片"]),
        ("八月札、六月雪、半枝莲各15g", ["15 g"]),
        ("百合病用百合7枚", ["7 枚"]),
        ("粟米二百合", ["200 合"]),
        ("三七日后复诊", ["3 天", "7 天"]),
        ("3~5g百合", ["3 g", "5 g"]),
    ],
)
def test_names_that_begin_as_numbers_are_none(text: str, expected: list[str]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1. 糖尿病",
        "（2）高血压",
        "12. 肺炎\n（13）哮喘",
        "第三章",
        "第12节",
        "B12",
        "IL-16",
        "十分重要",
        "分为三种",
        "有一次",
        "半夏",
        "百日咳",
        "二陈汤",
        "三七",
        "一天天好转",
    ],
)
def test_marks_names_and_figures_of_speech_do_not_count(text: str) -> None:
    assert missing_numbers(text, "").total == 0


@pytest.mark.parametrize(
    ("answer", "source"),
    [
        ("甘草九克", "甘草 9g"),
        ("每日10毫克", "10 mg/d"),
        ("10mg/天", "一次10mg"),
        ("每天服三次", "3次/日"),
        ("一日2次", "take twice daily"),
        ("500mg", "剂量（mg）| 500"),
        ("连用两周", "for two weeks"),
        ("5岁", "aged 5 years"),
        ("白细胞10×10⁹/L", "白细胞10×109/L"),
    ],
)
def test_the_same_number_in_another_spelling_is_present(answer: str, source: str) -> None:
    assert missing_numbers(answer, source).missing == ()


@pytest.mark.parametrize(
    ("answer", "source", "missing"),
    [
        ("甘草90克", "甘草9克", "90 g"),
        ("每次5mg", "每次5g", "5 mg"),
        ("每周三次", "每日三次", "3 次/周"),
        ("5mg", "5mg/kg", "5 mg"),
        ("10×10⁹/L", "10×10¹²/L", "10 e9 l"),
        ("三钱", "三两", "3 钱"),
        ("有效率95.5", "有效率95", "95.5"),
        ("0.5 g", "500 mg", "0.5 g"),
        ("1998年", "1989年", "1998 年"),
    ],
)
def test_another_value_or_unit_is_missing(answer: str, source: str, missing: str) -> None:
    assert missing_numbers(answer, source).missing == (missing,)


@given(st.text(alphabet="0123456789.一二三十百两半钱克gml日次/每~-×^（） ,，年", max_size=60))
def test_a_verbatim_answer_misses_nothing(text: str) -> None:
    assert missing_numbers(text, text).missing == ()


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    quantities(text)


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1,",
        "111,",
        "三",
        "十两",
        "1.1.",
        "1-",
        "半",
        "mg/kg/",
        "1 mg/",
        "1/2/",
        " ",
        "10^",
        "分之",
        "one ",
        "每日",
    ],
)
def test_no_pattern_goes_back_over_a_long_text(piece: str) -> None:
    found = quantities(piece * (100_000 // len(piece)))  # would take hours
    assert len(found) <= 100_000
