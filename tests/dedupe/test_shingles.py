"""Shingles: what two texts have in common."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe.shingles import distinct_hashes, is_latin, shingle_hash, shingle_hashes, shingle_set

FORMULA = "太阳中风，阳浮而阴弱，啬啬恶寒，淅淅恶风，翕翕发热，鼻鸣干呕者，桂枝汤主之。"
LEAFLET = "Take two tablets twice daily after meals. Do not exceed eight tablets in 24 hours."


def hashed(texts: pa.Array) -> list[set[int]]:
    found: list[set[int]] = []
    for piece in shingle_hashes(texts):
        start = 0
        for end in piece.ends.tolist():
            found.append(set(piece.hashes[start:end].tolist()))
            start = end
    return found


def expected(text: str) -> set[int]:
    return {shingle_hash(shingle) for shingle in shingle_set(text)}


def test_chinese_is_cut_into_characters_and_english_into_words() -> None:
    assert "桂枝汤主之" in shingle_set(FORMULA)
    assert "take two tablets twice daily" in shingle_set(LEAFLET)
    assert len(shingle_set(LEAFLET)) == len(LEAFLET.split()) - 4


@pytest.mark.parametrize("text", ["桂枝汤", "桂枝汤主之", "two tablets", "two tablets twice daily orally", "5"])
def test_a_text_no_longer_than_a_shingle_is_one(text: str) -> None:
    assert shingle_set(text) == {text}
    assert hashed(pa.array([text])) == [expected(text)]


@pytest.mark.parametrize("text", ["", " ", "\n\t　", None])
def test_nothing_but_white_space_has_no_shingles(text: str | None) -> None:
    assert shingle_set(text or "") == set()
    assert hashed(pa.array([text], pa.string())) == [set()]


def test_layout_and_composition_make_no_difference() -> None:
    assert shingle_set(FORMULA) == shingle_set("　　" + FORMULA.replace("，", "，\r\n  "))
    assert shingle_set("caf\u00e9 au lait for two people") == shingle_set("cafe\u0301 au lait  for TWO people")
    assert hashed(pa.array(["cafe\u0301 au lait  for TWO people"])) == [expected("caf\u00e9 au lait for two people")]


def test_units_and_superscripts_are_told_apart() -> None:
    assert shingle_set("白细胞10⁹/L") != shingle_set("白细胞109/L")
    assert shingle_set("阿莫西林0.5g口服") != shingle_set("阿莫西林5g口服")


def test_drug_names_among_chinese_do_not_make_it_latin() -> None:
    assert not is_latin("患者口服 amoxicillin clavulanate 后好转，继续观察")
    assert is_latin("Radix Glycyrrhizae (甘草) is used to harmonise a formula and to protect the stomach")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_arrow_string_gives_the_same(kind: pa.DataType) -> None:
    texts = [FORMULA, None, LEAFLET, "", "桂枝汤", "𠮷野家的牛肉饭"]
    wanted = [expected(text or "") for text in texts]
    array = pa.array(texts, kind)
    assert hashed(array) == wanted
    assert hashed(array.slice(2, 3)) == wanted[2:5]
    assert hashed(pa.chunked_array([array.slice(1), array.slice(0, 1)])) == [*wanted[1:], wanted[0]]
    assert hashed(array.slice(0, 0)) == []


def test_a_long_text_and_many_short_ones_come_out_in_order() -> None:
    texts = [f"第{number}条，{FORMULA}" for number in range(3000)] + [FORMULA * 3000, "末条"]
    assert hashed(pa.array(texts)) == [expected(text) for text in texts]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), max_size=6))
@settings(deadline=None)
def test_compiled_shingles_are_those_of_the_definition(texts: list[str]) -> None:
    assert hashed(pa.array(texts, pa.string())) == [expected(text) for text in texts]


@given(st.lists(st.text("abcßİΣé ÀÖ\u0301桂\u3000", max_size=60), max_size=6))
@settings(max_examples=200, deadline=None)
def test_words_are_those_of_the_definition(texts: list[str]) -> None:
    assert hashed(pa.array(texts, pa.string())) == [expected(text) for text in texts]


@given(st.lists(st.text("的是桂枝", max_size=80), max_size=6))
@settings(deadline=None)
def test_distinct_hashes_are_sorted_sets(texts: list[str]) -> None:
    for piece in distinct_hashes(pa.array(texts, pa.string())):
        start = 0
        for text, end in zip(texts, piece.ends.tolist(), strict=True):
            assert np.array_equal(piece.hashes[start:end], np.array(sorted(expected(text)), np.uint64))
            start = end


def test_numba_is_not_loaded_before_it_is_used() -> None:
    names = ("shingles", "minhash", "lsh", "near", "exact_disk", "boilerplate", "against")
    imports = "; ".join(f"import datatools.dedupe.{name}" for name in names)
    code = f"import sys; {imports}; print('numba' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
