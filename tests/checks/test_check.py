"""All checks together: planted defects are caught, clean pairs pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.check import Checked, check_pair
from datatools.checks.limits import Limits
from schemas.conversation import CHECKS

PLANTED = [json.loads(line) for line in Path(__file__).with_name("planted.jsonl").read_text("utf-8").splitlines()]


def check(row: dict[str, Any]) -> Checked:
    return check_pair(
        row["question"],
        row["answer"],
        row["source_text"],
        language=row["language"],
        finish_reason=row["finish_reason"],
    )


def test_planted_defects_are_caught() -> None:
    planted = [row for row in PLANTED if row["defect"]]
    missed = [row for row in planted if row["defect"] not in check(row).flags]
    assert len(missed) <= 0.05 * len(planted), missed


def test_clean_pairs_pass() -> None:
    clean = [row for row in PLANTED if not row["defect"]]
    flagged = [(check(row).flags, row["answer"]) for row in clean if check(row).flags]
    assert len(clean) >= 60
    assert len(flagged) <= 0.03 * len(clean), flagged


def test_values_are_the_checks_of_a_conversation() -> None:
    values = check(PLANTED[0]).values
    assert list(values) == [field.name for field in CHECKS]
    assert pa.array([values], CHECKS).to_pylist()[0]["answer_length"] == len(PLANTED[0]["answer"])


def test_an_empty_answer_is_empty_and_nothing_else() -> None:
    assert check_pair("何为痈？", " \n", "痈者壅也。", language="zh").flags == ("empty",)


def test_support_does_not_judge_across_languages() -> None:
    row = next(row for row in PLANTED if row["language"] == "en")
    answer = "赖诺普利从每日一次10 mg开始，常用每日20~40 mg，调整剂量后1到2周复查血钾。"
    assert check_pair("赖诺普利如何起始？", answer, row["source_text"], language="zh").flags == ()


def test_limits_can_be_changed() -> None:
    row = PLANTED[0]
    flags = check_pair(
        row["question"], row["answer"], row["source_text"], language="zh", limits=Limits(support=1.01)
    ).flags
    assert flags == ("unsupported",)


@pytest.mark.parametrize(
    "text", ["甘草味甘平，主治五脏六腑寒热邪气。", "Aspirin 75 mg once daily prevents stroke in adults."]
)
def test_a_verbatim_answer_passes(text: str) -> None:
    language = "en" if text.isascii() else "zh"
    question = "What does aspirin do?" if text.isascii() else "甘草有什么功效？"
    assert check_pair(question, text, text, language=language, finish_reason="source").flags == ()


@given(st.text(), st.text(), st.text())
def test_no_text_makes_it_raise(question: str, answer: str, source: str) -> None:
    checked = check_pair(question, answer, source, language="zh")
    pa.array([checked.values], CHECKS)
