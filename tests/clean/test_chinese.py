"""Traditional characters: simplified where asked, and equal to simplified ones in comparisons."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.clean.chinese import Simplify, comparison_codes, has_traditional, simplify


def key(text: str) -> str:
    codes = comparison_codes()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)]
    return "".join(map(chr, codes[codes > 1]))


def test_doses_and_punctuation_survive() -> None:
    assert (
        simplify("口服「阿莫西林」0.5 g，3次/日，白細胞 10⁹/L，CO₂ 5％")
        == "口服「阿莫西林」0.5 g，3次/日，白细胞 10⁹/L，CO₂ 5％"
    )


def test_a_character_with_two_readings_is_told_by_its_phrase() -> None:
    assert simplify("頭髮乾燥，發熱，乾坤") == "头发干燥，发热，乾坤"


@pytest.mark.parametrize("text", ["高血压 CO₂ 5％", "plain", "", "感冒了"])
def test_simplified_text_holds_no_traditional_characters(text: str) -> None:
    assert not has_traditional(text)
    assert simplify(text) is text


def test_half_a_surrogate_pair_is_no_obstacle() -> None:
    assert simplify("\ud800發熱") == "\ud800发热"


def test_the_operator_rewrites_text_and_leaves_japanese_alone() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"text": ["發熱", "東京の病院で發熱", None, ""], "language": ["zh", "ja", "zh", "und"], "id": list("abcd")}
    )
    rewritten = Simplify()(batch)
    assert rewritten.schema == batch.schema
    assert rewritten.column("text").to_pylist() == ["发热", "東京の病院で發熱", None, ""]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("高血壓，５ＭＧ", "高血压 5mg。"),
        ("白细胞10⁹/L", "白细胞 10^9/L"),
        ("Sjögren’s", "SJOGREN S"),
        (unicodedata.normalize("NFD", "café が"), "café が"),
        ("（A）①乾燥", "A 干燥"),
        ("hyper\u00adtension", "hypertension"),
    ],
)
def test_texts_that_say_the_same_have_one_key(one: str, other: str) -> None:
    assert key(one) == key(other)


def test_what_differs_keeps_different_keys() -> None:
    assert key("阿莫西林0.5g") != key("阿莫西林0.6g")
    assert key("高血压") != key("低血压")


@given(st.text())
def test_never_raises_and_is_stable(text: str) -> None:
    once = simplify(text)
    assert len(once) == len(text)
    assert key(once) == key(text) or has_traditional(once)


@given(st.text(st.sampled_from("的一是不了高血压病人，。、；“”…—×±° abc123\n")))
def test_clean_text_is_unchanged(text: str) -> None:
    assert simplify(text) == text
