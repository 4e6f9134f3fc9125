"""Support separates paraphrase from invention; repetition finds loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.support import repetition, support

SOURCE = "桂枝汤由桂枝、芍药、甘草、生姜、大枣组成，主治太阳中风，症见发热汗出、恶风脉缓。"


def test_a_paraphrase_is_supported_and_an_invention_is_not() -> None:
    assert support("太阳中风见发热、汗出、恶风者，可用桂枝汤。", SOURCE) > 0.5
    assert support("建议每天跑步半小时，多吃新鲜水果。", SOURCE) == 0


def test_english_is_compared_by_words_not_by_letters() -> None:
    source = "Aspirin inhibits platelet aggregation and prolongs bleeding."
    assert support("Bleeding is prolonged because aspirin inhibits the platelets.", source) > 0.7
    assert support("Drink water, walk daily and listen to music.", source) == 0


@given(st.text())
def test_a_verbatim_answer_is_fully_supported(text: str) -> None:
    assert support(text, text) == 1.0


@given(st.text(), st.text())
def test_support_and_repetition_are_shares(answer: str, source: str) -> None:
    assert 0 <= support(answer, source) <= 1
    assert 0 <= repetition(answer) <= 1


@pytest.mark.parametrize("text", ["多喝水，早休息。" * 20, "Drink water and rest well. " * 30])
def test_a_loop_is_repetition(text: str) -> None:
    assert repetition(text) > 0.8


def test_ordinary_text_does_not_repeat() -> None:
    assert repetition(SOURCE) == 0
    assert repetition("") == 0
