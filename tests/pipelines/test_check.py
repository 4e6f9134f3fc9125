"""`datatools check`: any file of conversations, row for row, with values, flags and a table of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.conversation import CHECKED_CONVERSATION, CONVERSATION
from schemas.fields import check, name_of
from tests.pipelines.command import answer, beside, command, files, here, question, rows, write

SOURCE = "海藻味苦咸，性寒，有消痰软坚散结之效，煎服6~12 g。"
GOOD = {"question": "海藻的用量是多少？", "answer": "海藻煎服每次6~12 g。", "source_text": SOURCE}
BAD = {"question": "海藻怎么用？", "answer": "根据上述资料，可用甘草6g、海藻50g同煎。", "source_text": SOURCE}
PAGES = {"a.md": "# 高血压\n\n## 病因\n\n高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。\n"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "checked.parquet"


def lines(path: Path, *values: Any) -> Path:
    path.write_text("\n".join(json.dumps(value, ensure_ascii=False) for value in values), "utf-8")
    return path


def flags(out: Path) -> list[list[str]]:
    return [row["flags"] for row in rows(out)]


def test_pairs_with_their_source(tmp_path: Path, out: Path) -> None:
    done = here("check", lines(tmp_path / "sft.jsonl", GOOD, BAD), "--out", out, "--quiet", "--json")
    assert done.code == 0, done.stderr
    assert flags(out) == [
        [],
        [
            "leakage",
            "number_not_in_source",
            "unsupported",
            "unsupported_entity",
            "incompatible:甘草+海藻",
            "dose_out_of_range",
        ],
    ]
    assert done.summary["flags"]["incompatible:甘草+海藻"] == 1
    assert (done.summary["rows_read"], done.summary["rows_written"]) == (2, 2)
    found = rows(out)
    assert found[0]["checks"]["numbers"] == 2
    assert found[0]["checks"]["numbers_missing"] == 0
    assert [question(row) for row in found] == [GOOD["question"], BAD["question"]]


def test_without_a_source_only_what_needs_none(tmp_path: Path, out: Path) -> None:
    bare = {name: BAD[name] for name in ("question", "answer")}
    assert here("check", lines(tmp_path / "sft.jsonl", bare), "--out", out, "--quiet").code == 0
    assert flags(out) == [["leakage", "incompatible:甘草+海藻", "dose_out_of_range"]]
    assert rows(out)[0]["checks"]["numbers_missing"] is None


@pytest.mark.parametrize(
    "value",
    [
        {
            "messages": [
                {"role": "user", "content": "咳嗽怎么办？"},
                {"role": "assistant", "content": "多喝水，注意休息。"},
            ]
        },
        {"conversations": [{"from": "human", "value": "咳嗽怎么办？"}, {"from": "gpt", "value": "多喝水，注意休息。"}]},
        {"instruction": "咳嗽怎么办？", "input": "", "output": "多喝水，注意休息。"},
        {"question": "咳嗽怎么办？", "answer": "多喝水，注意休息。"},
    ],
    ids=["messages", "sharegpt", "alpaca", "pairs"],
)
def test_every_common_format(tmp_path: Path, out: Path, value: dict[str, Any]) -> None:
    assert here("check", lines(tmp_path / "sft.jsonl", value), "--out", out, "--quiet").code == 0
    (row,) = rows(out)
    assert (question(row), answer(row), row["language"]) == ("咳嗽怎么办？", "多喝水，注意休息。", "zh")


def test_ids_are_kept_and_a_repeat_is_numbered(tmp_path: Path, out: Path) -> None:
    sft = lines(tmp_path / "sft.jsonl", *[{"id": name, **GOOD} for name in ("a", "b")])
    again = lines(tmp_path / "more.jsonl", {"id": "a", **GOOD}, {"id": "c", **BAD})
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (sft, again):
        path.rename(folder / path.name)
    assert here("check", folder, "--out", out, "--quiet").code == 0
    assert [row["id"] for row in rows(out)] == ["a", "c", "a#2", "b"]


def test_a_recipe(tmp_path: Path, out: Path) -> None:
    recipe = tmp_path / "check.toml"
    recipe.write_text("[check]\nlimit = 1\nquiet = true\n", "utf-8")
    assert here("check", lines(tmp_path / "sft.jsonl", GOOD, BAD), "--out", out, "--recipe", recipe).code == 0
    assert len(rows(out)) == 1


def test_dialogues(tmp_path: Path, out: Path) -> None:
    turns = ["我爸胸痛，满头大汗", "医生您好，我最近胸痛。", "怎么办", "多喝水。"]
    value = {"messages": [{"role": ("user", "assistant")[k % 2], "content": turn} for k, turn in enumerate(turns)]}
    assert here("check", lines(tmp_path / "talks.jsonl", value), "--out", out, "--quiet").code == 0
    assert flags(out) == [["red_flag_without_advice", "role_leak"]]
    assert rows(out)[0]["checks"]["turns"] == 4


def test_a_conversation_file_keeps_its_rows(tmp_path: Path, out: Path) -> None:
    sft = tmp_path / "sft.parquet"
    assert here("unify", write(tmp_path / "in", PAGES), "--out", sft, "--quiet").code == 0
    assert here("check", sft, "--out", out, "--quiet").code == 0
    before, after = rows(sft), rows(out)
    assert [row["flags"] for row in after] == [[]]
    for old, new in zip(before, after, strict=True):
        assert {name: new[name] for name in old if name != "checks"} == {
            name: old[name] for name in old if name != "checks"
        }
        assert new["checks"]["support"] == old["checks"]["support"] == 1.0
    assert name_of(pq.read_schema(out)) == "conversation/1"
    check(pq.read_schema(out), CHECKED_CONVERSATION, out)


def test_what_an_earlier_job_found_stays(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "made.parquet"
    row = {
        "id": "a",
        "messages": [
            {"role": "user", "content": "海藻怎么用？"},
            {"role": "assistant", "content": "海藻煎服每次9 g。"},
        ],
        "language": "zh",
        "generator": "someone",
        "checks": {"finish_reason": "stop", "numbers": 1, "numbers_missing": 1, "support": 0.5},
        "flags": ["number_not_in_source"],
    }
    pq.write_table(pa.Table.from_pylist([row], schema=CONVERSATION), path)
    assert here("check", path, "--out", out, "--quiet").code == 0
    (found,) = rows(out)
    assert found["flags"] == ["number_not_in_source"]
    assert (found["checks"]["numbers_missing"], found["checks"]["support"]) == (1, 0.5)


def test_other_columns_of_a_conversation_file_stay(tmp_path: Path, out: Path) -> None:
    kg = tmp_path / "kg.tsv"
    kg.write_text("\n".join(f"麻黄汤\t组成\t{herb}" for herb in "麻黄 桂枝 苦杏仁 炙甘草".split()), "utf-8")
    made = tmp_path / "tcm.parquet"
    assert here("tcm", kg, "--out", made, "--quiet").code == 0
    assert here("check", made, "--out", out, "--graph", kg, "--quiet").code == 0
    assert [row["triples"] for row in rows(out)] == [row["triples"] for row in rows(made)]
    assert rows(out)[0]["checks"]["claims_contradicted"] == 0


def test_a_graph_contradicts(tmp_path: Path, out: Path) -> None:
    kg = tmp_path / "kg.tsv"
    kg.write_text("\n".join(f"麻黄汤\t组成\t{herb}" for herb in "麻黄 桂枝 苦杏仁 炙甘草".split()), "utf-8")
    said = {"question": "麻黄汤由什么组成？", "answer": "麻黄汤由麻黄、桂枝、石膏组成。"}
    assert here("check", lines(tmp_path / "sft.jsonl", said), "--out", out, "--graph", kg, "--quiet").code == 0
    assert flags(out) == [["claim_contradicts_graph"]]


def test_a_lexicon_adds_names(tmp_path: Path, out: Path) -> None:
    said = {"question": "处方？", "answer": "麻黄6g，桂枝6g，玉龙草10g，甘草3g。"}
    sft = lines(tmp_path / "sft.jsonl", said)
    assert here("check", sft, "--out", out, "--quiet").code == 0
    assert flags(out) == [["unknown_herb"]]
    names = tmp_path / "names.txt"
    names.write_text("玉龙草\n", "utf-8")
    assert here("check", sft, "--out", out, "--lexicon", names, "--fresh", "--quiet").code == 0
    assert flags(out) == [[]]


def test_the_table_shows_three_examples_of_each(tmp_path: Path, out: Path) -> None:
    done = here("check", lines(tmp_path / "sft.jsonl", *[BAD] * 5, GOOD), "--out", out, "--quiet")
    assert done.code == 0
    table = done.stdout.splitlines()
    place = next(number for number, line in enumerate(table) if "incompatible:甘草+海藻" in line)
    assert table[place].split() == ["incompatible:甘草+海藻", "5", "83.3%"]
    assert all("海藻怎么用" in line for line in table[place + 1 : place + 4])
    assert "海藻怎么用" not in "".join(table[place + 4 : place + 5])


def test_it_loads_in_datasets(tmp_path: Path, out: Path) -> None:
    assert here("check", lines(tmp_path / "sft.jsonl", GOOD, BAD), "--out", out, "--quiet").code == 0
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded[1]["flags"][-1] == "dose_out_of_range"


def test_broken_lines_are_named_and_the_rest_goes_on(tmp_path: Path, out: Path) -> None:
    sft = tmp_path / "sft.jsonl"
    sft.write_text(json.dumps(GOOD, ensure_ascii=False) + "\n{oops\n", "utf-8")
    done = here("check", sft, "--out", out, "--json")
    assert done.code == 3
    assert done.summary["failed"] == {"malformed": 1}
    assert len(rows(out)) == 1
    assert rows(beside(out, "trace"))[0]["source"] == "sft.jsonl:2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lexicon", "missing.txt"], "--lexicon missing.txt: no such file"),
        (["--graph", "missing"], "--graph missing: no such file"),
        (["--limit", "0"], "--limit 0"),
    ],
)
def test_what_cannot_work_ends_with_2(tmp_path: Path, out: Path, arguments: list[str], said: str) -> None:
    done = here("check", lines(tmp_path / "sft.jsonl", GOOD), "--out", out, "--json", *arguments)
    assert done.code == 2
    assert said in done.summary["error"]


def test_no_conversations_at_all(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。", "utf-8")
    done = here("check", path, "--out", out)
    assert done.code == 2
    assert "nothing readable" in done.line


def test_a_rerun_and_other_workers_give_the_same_bytes(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        pairs = [{**GOOD, "question": f"海藻的用量是多少？（{number}.{k}）"} for k in range(4000)]
        lines(folder / f"{number}.jsonl", *pairs)
    assert command("check", folder, "--out", out, "--workers", "2", "--quiet").code == 0
    before = files(out)
    assert command("check", folder, "--out", out, "--workers", "1", "--quiet").code == 0
    assert files(out) == before
    assert command("check", folder, "--out", out, "--workers", "1", "--fresh", "--quiet").code == 0
    assert files(out) == before
    assert len(rows(out)) == 12_000
