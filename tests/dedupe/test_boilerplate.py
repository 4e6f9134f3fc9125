"""Boilerplate paragraphs: what many documents of a source carry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.dedupe.boilerplate import (
    Boilerplate,
    find_boilerplate,
    paragraph_keys,
    remove_boilerplate,
    source_group,
)

FOOTER = "版权所有，未经许可不得转载；本站内容仅供参考，不能代替医生的诊断和治疗。"
ENGLISH = "All content on this site is for information only and does not replace the advice of a physician."
TABLE = "药名 | 阿莫西林胶囊 | 用法 | 饭后口服，按医生嘱咐，不得自行增减 | 备注 | 无"
DOSE = "成人口服，一次0.5 g，一日三次，饭后用温水送服，连续服用七日，症状不减应当就诊。"


def body(number: int) -> str:
    return f"第{number}篇讲述的是第{number}种病的病因、病机与证候，并列出历代医家对第{number}种病的论述。" * 3


def found_in(texts: list[str], sources: list[str], folder: Path, step: int = 5) -> frozenset[int]:
    parts, groups = [], Counter[int]()
    for start in range(0, len(texts), step):
        part, counts = paragraph_keys(texts[start : start + step], sources[start : start + step])
        parts.append(part)
        groups.update(counts)
    return frozenset(find_boilerplate(parts, groups, sum(map(len, parts)), folder).tolist())


def site(*lines: str, documents: int = 12) -> tuple[list[str], list[str]]:
    texts = ["\n".join([body(number), *lines]) for number in range(documents)]
    return texts, [f"https://a.example.org/{number}" for number in range(documents)]


@pytest.mark.parametrize("line", [FOOTER, ENGLISH])
def test_a_footer_goes_and_its_place_is_known(line: str, tmp_path: Path) -> None:
    texts, sources = site(line)
    found = found_in(texts, sources, tmp_path / "work")
    text, spans = remove_boilerplate(texts[3], sources[3], found)
    assert text == body(3) + "\n"
    assert [texts[3][start:end] for start, end in spans] == [line]


def test_layout_does_not_hide_it(tmp_path: Path) -> None:
    texts, sources = site(FOOTER)
    found = found_in(texts, sources, tmp_path / "work")
    changed = body(99) + "\n　　" + FOOTER.replace("，", "， ") + "\n完"
    assert remove_boilerplate(changed, sources[0], found)[0] == body(99) + "\n完"


@pytest.mark.parametrize("line", [TABLE, DOSE, "每服三钱，水一盏半，煎至七分，去滓，温服，不拘时候，忌生冷油腻。"])
def test_tables_and_doses_stay(line: str, tmp_path: Path) -> None:
    texts, sources = site(line)
    found = found_in(texts, sources, tmp_path / "work")
    assert remove_boilerplate(texts[0], sources[0], found) == (texts[0], [])


def test_short_lines_stay(tmp_path: Path) -> None:
    texts, sources = site("本篇完，请看下一篇。", "Next page")
    assert remove_boilerplate(texts[0], sources[0], found_in(texts, sources, tmp_path / "work"))[1] == []


def test_it_takes_enough_documents_of_the_same_source(tmp_path: Path) -> None:
    texts, sources = site(FOOTER, documents=9)
    assert len(found_in(texts, sources, tmp_path / "work")) == 0
    spread = [f"https://{number}.example.org/" for number in range(12)]
    assert len(found_in(site(FOOTER)[0], spread, tmp_path / "work")) == 0
    texts, sources = site(FOOTER)
    many = [body(number) for number in range(1000, 2300)]
    rare = found_in(texts + many, sources + ["https://a.example.org/x"] * len(many), tmp_path / "work")
    assert len(rare) == 0  # 12 of 1,312 documents: less than one in a hundred
    found = found_in(texts, sources, tmp_path / "work")
    assert remove_boilerplate(texts[0], "https://b.example.org/0", found)[1] == []


def test_a_paragraph_repeated_in_one_document_counts_once(tmp_path: Path) -> None:
    texts = [body(0) + ("\n" + FOOTER) * 20, *(body(number) for number in range(1, 12))]
    assert len(found_in(texts, ["https://a.example.org/"] * 12, tmp_path / "work")) == 0


def test_versions_of_one_leaflet_are_not_emptied(tmp_path: Path) -> None:
    lines = [f"{FOOTER}其{sign}" for sign in "甲乙丙丁戊己庚辛"]
    texts = ["\n".join([*lines, f"第{number}版"]) for number in range(12)]
    sources = ["https://a.example.org/"] * 12
    found = found_in(texts, sources, tmp_path / "work")
    assert len(found) == 8
    assert remove_boilerplate(texts[0], sources[0], found) == (texts[0], [])
    assert remove_boilerplate(texts[0], sources[0], found, Boilerplate(most=1.0))[0] == "第0版"


def test_sources_are_hosts_and_top_folders() -> None:
    assert source_group("http://WWW.Example.org:80/a") == "www.example.org"
    assert source_group("a.zip!b/c.txt") == "a.zip!b"
    assert source_group("c.txt") == ""


@given(st.lists(st.sampled_from([FOOTER, ENGLISH, DOSE, "短", "", body(1)]), max_size=12))
def test_the_text_is_what_the_spans_leave(lines: list[str]) -> None:
    text = "\n".join(lines)
    part, groups = paragraph_keys([FOOTER + "\n" + ENGLISH], ["x"])
    assert sum(groups.values()) == 1
    left, spans = remove_boilerplate(text, "x", frozenset(part["key"].tolist()), Boilerplate(most=1.0))
    for start, end in reversed(spans):
        text = text[:start] + text[end:]
    assert left == text
    assert FOOTER not in left
