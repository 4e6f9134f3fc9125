"""Overlap: the libraries' figures, Chinese by characters."""

from __future__ import annotations

import pytest

from datatools.evaluate.overlap import each, text_scores, tokens


def test_the_same_text_is_everything_and_another_nothing() -> None:
    same = each("多喝温水，注意休息。", "多喝温水，注意休息。", "zh")
    assert same["bleu"] == pytest.approx(100) and same["rouge1"] == same["rougeL"] == 1.0
    assert each("桂枝汤", "多喝温水，注意休息。", "zh")["rouge1"] == 0.0
    assert each("", "多喝温水", "zh")["rouge2"] == 0.0


def test_chinese_is_compared_by_characters_and_english_by_words() -> None:
    assert each("注意休息", "多注意休息", "zh")["rouge1"] == pytest.approx(2 * 4 / 9)
    assert each("rest and drink", "Rest and sleep", "en")["rouge1"] == pytest.approx(2 / 3)
    assert tokens("用阿司匹林100mg，qd") == ["用", "阿", "司", "匹", "林", "100mg", "qd"]


def test_the_corpus_has_intervals_by_language() -> None:
    rows = [
        {"language": "zh", "prediction": p, "reference": r, **each(p, r, "zh")}
        for p, r in (("多喝温水", "多喝温水"), ("注意休息", "多休息"), ("", "就医"))
    ]
    score = text_scores(rows)["zh"]
    assert score["n"] == 3 and score["empty"] == 1 and score["bleu"]["low"] <= score["bleu"]["high"]
    assert score["rougeL"]["low"] <= score["rougeL"]["rougeL"] <= score["rougeL"]["high"]
    assert "tok:zh" in score["bleu"]["signature"] and score["distinct1"] == 1.0
