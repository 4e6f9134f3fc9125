"""The lexicon: which names there are, and where they stand in a text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.lexicon import read_table, shipped


def names(text: str) -> list[str]:
    return [mention.name for mention in shipped().find(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("炙甘草、醋甘遂、酒白芍", ["甘草", "甘遂", "白芍"]),
        ("制附子先煎，黑顺片亦可", ["附子", "附子"]),
        ("双花、川贝、浙贝", ["金银花", "川贝母", "浙贝母"]),
        ("人参皂苷与麻黄碱不是药材", []),
        ("小柴胡汤加桂枝", ["小柴胡汤", "桂枝"]),
        ("某某附子汤与当归饮子", []),  # names of formulas that stand in no table
        ("1000人参加了试验", []),
        ("连续断药两周，血红蛋白及尿检正常", []),
        ("生姜煎汤送服", ["生姜"]),
        ("Aspirin 100 mg and Metformin", ["阿司匹林", "二甲双胍"]),
        ("口服阿莫西林", ["阿莫西林"]),
    ],
)
def test_names_in_a_text(text: str, found: list[str]) -> None:
    assert names(text) == found


def test_every_row_says_where_it_is_from() -> None:
    for name in ("herbs.tsv", "names.tsv"):
        path = Path(__file__).parents[2] / "datatools" / "checks" / name
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        width = len(lines[0].split("\t"))
        for line in lines[1:]:
            cells = line.split("\t")
            assert len(cells) == width, line
            assert cells[-1], line


def test_doses_are_ranges() -> None:
    doses = shipped().doses
    assert len(doses) > 350
    assert all(0 < dose.low < dose.high for dose in doses.values())
    assert doses["附子"].toxic
    assert not doses["甘草"].toxic


def test_no_spelling_means_two_things() -> None:
    lines = (Path(__file__).parents[2] / "datatools" / "checks" / "herbs.tsv").read_text("utf-8").splitlines()
    seen: dict[str, str] = {}
    for line in lines:
        if line.startswith(("#", "name\t")):
            continue
        name, aliases = line.split("\t")[:2]
        for spelling in [name, *filter(None, aliases.split(";"))]:
            assert spelling not in seen, (spelling, name, seen.get(spelling))
            seen[spelling] = name


def test_a_users_list_and_table(tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text("玉龙草\n# a remark\n金线吊葫芦\n", "utf-8")
    assert "玉龙草" in shipped().with_file(listed)
    table = tmp_path / "names.tsv"
    table.write_text("name\tkind\taliases\tlow\thigh\n玉龙草\therb\t龙草\t3\t9\n复方玉龙片\tdrug\t\t\t\n", "utf-8")
    lexicon = shipped().with_file(table)
    assert lexicon.entries["龙草"].name == "玉龙草"
    assert lexicon.doses["玉龙草"].high == 9
    assert lexicon.entries["复方玉龙片"].kind == "drug"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\tkind\n玉龙草\tplant\n", ":2: kind 'plant'"),
        ("name\tlow\thigh\n玉龙草\t3\tviel\n", ":2: low and high"),
        ("name\tkind\n\therb\n", ":2: the name is empty"),
        ("name\n玉龙草\therb\n", ":2: 2 cells"),
    ],
)
def test_a_broken_table_is_told_by_file_and_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^names\.tsv") as error:
        read_table(text.splitlines(), "names.tsv")
    assert said in str(error.value)


def test_names_of_a_graph_keep_what_is_known() -> None:
    lexicon = shipped().with_names([("麸炒枳壳", "herb"), ("某某汤", "formula"), ("川", "herb")])
    assert lexicon.entries["麸炒枳壳"].name == "枳壳"
    assert lexicon.entries["某某汤"].kind == "formula"
    assert "川" not in lexicon
    assert lexicon.base_name("炮附片") == "附子"


@given(st.text(alphabet="甘草海藻附子人参汤丸，。0123456789g加与a", max_size=60))
def test_mentions_stand_in_order_and_apart(text: str) -> None:
    found = shipped().find(text)
    ends = [0, *(mention.end for mention in found)]
    assert all(mention.start >= end for mention, end in zip(found, ends, strict=False))
    assert all(0 <= mention.start < mention.end <= len(text) for mention in found)
