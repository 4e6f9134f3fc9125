"""Torn lines: what a table of the page left, told from lists, verse and headings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.clean.torn import torn_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("白术（半两）\n肉\n术\n（一两）\n分）\n薯蓣（半\n上件药。捣罗为末。", 5),
        ("其人血气盛衰，\n血衰\n子十倍\n如七症\n者。非\n方焉", 5),
        ("五脏之火，无难治矣。\n辛凉\n之不\n看火势\n三钱\n倘无汗而渴，当用熟地。", 4),
        ("秦艽（三分去苗） 茯神（三分）\n本（三\n分） 甘\n上件药。捣粗罗为散。", 2),
    ],
    ids=["brackets", "clauses", "halves", "two halves of a bracket"],
)
def test_fragments_are_counted(text: str, lines: int) -> None:
    assert torn_lines(text) == lines


@pytest.mark.parametrize(
    "text",
    [
        "五苓散\n胃苓汤\n二陈汤\n平胃散",
        "常见症状：\n发热\n咳嗽\n胸痛\n多饮水，休息。",
        "图一\n图二\n图三",
        "春眠不觉晓\n处处闻啼鸟\n夜来风雨声",
        "【气味】\n（缺）\n【主治】\n头痛。",
        "又方\n韶粉（二钱） 好朱砂（一钱）\n上为末。\n又方\n好红豆（二钱） 花碱（少许）",
        "Na\nK\nCl",
    ],
)
def test_lists_headings_and_verse_are_whole(text: str) -> None:
    assert torn_lines(text) == 0


@given(st.lists(st.text("治头痛，发热汗出者宜服之", min_size=6, max_size=30).map(lambda line: line + "。")))
def test_text_of_whole_sentences_is_never_torn(lines: list[str]) -> None:
    assert torn_lines("\n".join(lines)) == 0
