"""Verbatim answers: what cannot be missing from the source is stated, the rest is measured."""

from __future__ import annotations

import pyarrow as pa

from datatools.checks.check import check_pair
from datatools.checks.verbatim import verbatim_checks
from schemas.conversation import CHECKS, CONVERSATION


def test_every_check_has_a_value_that_fits_the_schema() -> None:
    values = verbatim_checks("什么是痛风？", "痛风是一种代谢病。", "zh")
    assert list(values) == [CHECKS[index].name for index in range(CHECKS.num_fields)]
    assert pa.array([values], CONVERSATION.field("checks").type).to_pylist() == [values]


def test_lengths_and_language_are_those_of_the_pair() -> None:
    values = verbatim_checks("什么是痛风？", "痛风是一种代谢病。", "lzh")
    assert (values["question_length"], values["answer_length"], values["language"]) == (6, 9, "lzh")


def test_what_is_stated_is_what_the_checks_would_find() -> None:
    answer = "阿莫西林一次 0.5 g，一日 3 次，详见 http://example.org/a，电话 010-66668888。"
    measured = check_pair("阿莫西林怎么用？", answer, answer, language="zh", finish_reason="source").values
    stated = verbatim_checks("阿莫西林怎么用？", answer, "zh")
    for name in ("numbers_missing", "support", "contacts_missing", "question_length", "answer_length"):
        assert stated[name] == measured[name], name
