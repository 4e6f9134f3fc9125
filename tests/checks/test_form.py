"""Form: cut replies, lengths, languages."""

from __future__ import annotations

import pytest

from datatools.checks.form import agrees, length_flag, truncated


@pytest.mark.parametrize("reason", ["length", "max_tokens"])
def test_a_reply_that_hit_its_limit_is_truncated(reason: str) -> None:
    assert truncated("口服。", reason)


def test_an_answer_that_stops_in_a_list_is_truncated_unless_the_source_does() -> None:
    assert truncated("药物有阿莫西林、", "stop")
    assert not truncated("药物有阿莫西林、", "source")
    assert not truncated("口服3天", "stop")


def test_lengths_are_judged_by_language() -> None:
    assert length_flag("何为痈？", "疮面浮浅者为痈。", "zh") == ""
    assert length_flag("痈？", "疮面浮浅者为痈。", "zh") == "too_short"
    assert length_flag("问" * 181, "疮面浮浅者为痈。", "zh") == "too_long"
    assert length_flag("What is a carbuncle? " * 10, "A cluster of boils.", "en") == ""


def test_classical_chinese_is_chinese() -> None:
    assert agrees("太阳之为病，脉浮，头项强痛而恶寒，皆曰伤寒也。", "zh")
    assert not agrees("Take it with food, twice a day.", "zh")
    assert not agrees("饭后服用，每日两次。", "en")


def test_english_of_drug_names_and_values_is_english() -> None:
    assert agrees("Amoxicillin, clarithromycin, omeprazole.", "en")
    assert agrees("5 mg", "zh")
