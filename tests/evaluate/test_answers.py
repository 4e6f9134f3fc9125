"""What a reply chooses: stated, as JSON, alone, in an option's words, or nothing at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.evaluate.answers import NONE, choice_of

OPTIONS = {"A": "原发病", "B": "出血部位", "C": "出血量", "D": "在胃内停留时间", "E": "以上均非"}
ENGLISH = {
    "A": "Iron deficiency",
    "B": "Thalassaemia",
    "C": "Anaemia of chronic disease",
    "D": "Vitamin B12 deficiency",
}


@pytest.mark.parametrize(
    ("reply", "letters", "method"),
    [
        ("答案：C", "C", "stated"),
        ("答案:Ｃ", "C", "stated"),
        ("**答案：C**", "C", "stated"),
        ("正确答案是C。", "C", "stated"),
        ("正确答案为【C】", "C", "stated"),
        ("本题选项A错在原发病次要。因此选C。", "C", "stated"),
        ("先想到答案是A，再看出血量，不对。最终答案：C", "C", "stated"),
        ("故选 B、C。", "BC", "stated"),
        ("答案：ACD", "ACD", "stated"),
        ("<think>答案是A</think>\n答案：C", "C", "stated"),
        ('{"answer": "C"}', "C", "schema"),
        ('```json\n{"answer": ["B", "C"]}\n```', "BC", "schema"),
        ("C", "C", "letters"),
        ("(C)", "C", "letters"),
        ("B,C", "BC", "letters"),
        ("C. 出血量", "C", "letters"),
        ("C 出血量。", "C", "letters"),
        ("出血量", "C", "option_text"),
        ("答案：F", "", NONE),
        ("这道题不好说。", "", NONE),
        ("A. 原发病\nB. 出血部位\nC. 出血量\nD. 在胃内停留时间\nE. 以上均非", "", NONE),
        ("答案不是A。", "", NONE),
        ("维生素A缺乏也会出血。", "", NONE),
        ("", "", NONE),
    ],
)
def test_chinese_replies(reply: str, letters: str, method: str) -> None:
    found = choice_of(reply, OPTIONS)
    assert ("".join(found.letters), found.method) == (letters, method)


@pytest.mark.parametrize(
    ("reply", "letters", "method"),
    [
        ("Ferritin is low. Answer: A", "A", "stated"),
        ("The correct answer is (B).", "B", "stated"),
        ("the answer is **C**", "C", "stated"),
        (r"So \boxed{D}", "D", "stated"),
        ("The answer is a combination of things.", "", NONE),
        ("A diet low in iron explains it.", "", NONE),
        ("The answer is A and B", "AB", "stated"),
        ("Thalassaemia", "B", "option_text"),
        ("Answer: About iron", "", NONE),
    ],
)
def test_english_replies(reply: str, letters: str, method: str) -> None:
    found = choice_of(reply, ENGLISH)
    assert ("".join(found.letters), found.method) == (letters, method)


@given(st.text(max_size=200))
def test_no_text_breaks_it_and_no_choice_is_outside_of_the_options(reply: str) -> None:
    found = choice_of(reply, OPTIONS)
    assert set(found.letters) <= set(OPTIONS) and bool(found.letters) == (found.method != NONE)
