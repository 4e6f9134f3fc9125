"""Exact duplicates: the first of equal texts is the one that stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe.exact import first_occurrences, question_key, text_key


def _keys(keys: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), "V16") if keys else np.zeros(0, "V16")


def _by_dictionary(keys: list[bytes]) -> list[int]:
    firsts: dict[bytes, int] = {}
    return [firsts.setdefault(key, index) for index, key in enumerate(keys)]


# Keys that differ in one half only, and by one bit at either end, beside arbitrary ones.
_near = st.tuples(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.sampled_from([0, 1, 2**63, 2**64 - 1])).map(
    lambda halves: b"".join(half.to_bytes(8, "little") for half in halves)
)


@settings(deadline=None)
@given(st.lists(st.one_of(_near, st.binary(min_size=16, max_size=16)), max_size=60))
def test_first_occurrences_are_those_of_a_dictionary(keys: list[bytes]) -> None:
    assert first_occurrences(_keys(keys)).tolist() == _by_dictionary(keys)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="咳嗽 \n\u3000ab", max_size=5), max_size=40))
def test_texts_are_equal_when_they_are_equal_without_white_space(texts: list[str]) -> None:
    wanted = _by_dictionary(["".join(text.split()).encode() for text in texts])
    assert first_occurrences(_keys([text_key(text) for text in texts])).tolist() == wanted


def test_texts_differ_by_one_sign() -> None:
    assert text_key("一次 0.5 g") == text_key("一次0.5g\n")
    assert text_key("一次 0.5 g") != text_key("一次 0.5 mg")
    assert text_key("10⁹/L") != text_key("10^9/L")


@pytest.mark.parametrize(
    ("one", "other"),
    [("什么是高血压？", "什么是 高血压?"), ("What is Asthma?", "what is asthma"), ("“风论”讲什么？", "风论讲什么。")],
    ids=["width", "case", "quotes"],
)
def test_questions_are_equal_by_letters_and_digits(one: str, other: str) -> None:
    assert question_key(one) == question_key(other)


def test_questions_of_other_words_differ() -> None:
    assert question_key("什么是高血压？") != question_key("什么是低血压？")
    assert question_key("2型糖尿病怎么治？") != question_key("1型糖尿病怎么治？")


def test_questions_of_signs_alone_are_told_apart() -> None:
    assert question_key("？") != question_key("！")
    assert question_key("…") == question_key("…")


def test_a_broken_surrogate_is_no_error() -> None:
    assert len(text_key("坏\ud800字")) == len(question_key("坏\ud800字")) == 16
