"""Preference pairs by rules: read by those who train on them, traced, the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.prefer_settings import LEAST_RATIO, MOST_RATIO
from schemas.conversation import CONVERSATION
from schemas.fields import check
from schemas.records import PREFERENCE, UNPAIRED
from tests.pipelines.command import here

ANSWERS = [
    "口服，一次0.5 g，一日3次，饭后温水送服，七日为一个疗程。",
    "可选用阿莫西林，也可选用头孢呋辛，疗程一般为五至七日。",
    "孕妇禁用，不宜与藜芦同用。",
    "本品用于感冒引起的发热与头痛，一般二至三日可以缓解。如出现胸痛，应立即就医。",
    "肺位于胸腔之内，左右各一。",
]


def conversation(number: int, answer: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"第{number}个问题怎么办？"}, {"role": "assistant", "content": answer}]
    row = {"id": f"row-{number}", "messages": turns, "source": "a.md", "source_id": "d1", "generator": "rules"}
    return {**dict.fromkeys(CONVERSATION.names), "flags": [], **row, **more}


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    rows = [conversation(number, ANSWERS[number % len(ANSWERS)]) for number in range(50)]
    rows.append(conversation(50, "一次9 g。", flags=["number_not_in_source"]))
    rows.append(conversation(51, "", messages=[{"role": "user", "content": "问？"}]))
    pq.write_table(pa.Table.from_pylist(rows, schema=CONVERSATION), tmp_path / "sft.parquet", row_group_size=10)
    return tmp_path / "sft.parquet"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_every_row_is_a_pair_or_in_the_trace(sft: Path, tmp_path: Path):
    ended = here("prefer", sft, "--out", tmp_path / "dpo.parquet", "--json")
    assert ended.code == 0
    pairs, trace = rows_of(tmp_path / "dpo.parquet"), rows_of(tmp_path / "dpo.trace.parquet")
    assert ended.summary["rows_read"] == 52 == len(pairs) + len(trace)
    assert ended.summary["dropped"] == {"chosen_flagged": 1, "no_answer": 1, "no_occasion": 10}
    check(pq.read_schema(tmp_path / "dpo.parquet"), PREFERENCE, "dpo.parquet")
    for pair in pairs:
        good, bad = pair["chosen"][0]["content"], pair["rejected"][0]["content"]
        assert good in ANSWERS and bad not in ANSWERS
        assert LEAST_RATIO <= len(bad) / len(good) <= MOST_RATIO
        assert pair["flags"][0].startswith("corruption:") and pair["judge"] == "rules"
        assert pair["chosen_score"] > pair["rejected_score"]


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(sft: Path, tmp_path: Path):
    for name, seed, workers in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        assert (
            here("prefer", sft, "--out", tmp_path / f"{name}.parquet", "--seed", seed, "--workers", workers).code == 0
        )
    first, again, other = ((tmp_path / f"{name}.parquet").read_bytes() for name in "abc")
    assert first == again != other


def test_trainers_of_each_kind_can_read_it(sft: Path, tmp_path: Path):
    for name, columns in (("dpo", {"prompt", "chosen", "rejected"}), ("rm", {"prompt", "chosen", "rejected"})):
        assert here("prefer", sft, "--out", tmp_path / f"{name}.parquet", "--format", name).code == 0
        loaded = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / f"{name}.parquet"), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert columns <= set(loaded.column_names)
        assert loaded[0]["chosen"][0]["role"] == "assistant" and loaded[0]["prompt"][-1]["role"] == "user"


def test_kto_gets_each_reply_alone(sft: Path, tmp_path: Path):
    assert here("prefer", sft, "--out", tmp_path / "dpo.parquet").code == 0
    assert here("prefer", sft, "--out", tmp_path / "kto.parquet", "--format", "kto").code == 0
    check(pq.read_schema(tmp_path / "kto.parquet"), UNPAIRED, "kto.parquet")
    pairs, singles = rows_of(tmp_path / "dpo.parquet"), rows_of(tmp_path / "kto.parquet")
    assert [(row["completion"], row["label"]) for row in singles] == [
        side for pair in pairs for side in ((pair["chosen"], True), (pair["rejected"], False))
    ]
    assert len({row["id"] for row in singles}) == len(singles)


def test_a_limit_counts_rows(sft: Path, tmp_path: Path):
    ended = here("prefer", sft, "--out", tmp_path / "few.parquet", "--limit", 7, "--json")
    assert ended.summary["rows_read"] == 7


def test_another_seed_on_the_same_folder_is_refused(sft: Path, tmp_path: Path):
    assert here("prefer", sft, "--out", tmp_path / "dpo.parquet").code == 0
    refused = here("prefer", sft, "--out", tmp_path / "dpo.parquet", "--seed", 1)
    assert refused.code == 2 and "seed was 0, now 1" in refused.line and "--fresh" in refused.line


@pytest.mark.parametrize("arguments", [("--format", "ppo"), ("--negatives", "gpt")])
def test_what_there_is_not_is_said(sft: Path, tmp_path: Path, arguments: tuple[str, str]):
    ended = here("prefer", sft, "--out", tmp_path / "x.parquet", *arguments)
    assert ended.code == 2 and arguments[1] in ended.line


def test_another_kind_of_file_is_refused(tmp_path: Path):
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "text.parquet")
    ended = here("prefer", tmp_path / "text.parquet", "--out", tmp_path / "x.parquet")
    assert ended.code == 2 and "no question and answer there" in ended.line


GRAPH = (
    "head\trelation\ttail\n"
    "麻黄汤\t主治\t用于外感风寒，恶寒发热，无汗而喘。\n麻黄汤\t功用\t发汗解表，宣肺平喘\n"
    "归脾汤\t主治\t用于心脾两虚，失眠健忘，食少体倦。\n归脾汤\t功用\t益气补血，健脾养心\n"
    "感冒\t证型\t外感风寒\n外感风寒\t代表方\t麻黄汤\n"
)


def test_a_graph_brings_wrong_formulas(tmp_path: Path):
    row = conversation(0, "宜用麻黄汤，水煎服。", messages=None)
    row["messages"] = [
        {"role": "user", "content": "外感风寒，恶寒发热，用什么方？"},
        {"role": "assistant", "content": "宜用麻黄汤，水煎服。"},
    ]
    pq.write_table(pa.Table.from_pylist([row], schema=CONVERSATION), tmp_path / "in.parquet")
    (tmp_path / "kg.tsv").write_text(GRAPH, encoding="utf-8")
    without = here("prefer", tmp_path / "in.parquet", "--out", tmp_path / "a.parquet", "--json")
    assert without.summary["dropped"] == {"no_occasion": 1}
    out = tmp_path / "b.parquet"
    assert here("prefer", tmp_path / "in.parquet", "--out", out, "--graph", tmp_path / "kg.tsv").code == 0
    (pair,) = rows_of(out)
    assert pair["flags"] == ["corruption:formula"] and pair["rejected"][0]["content"] == "宜用归脾汤，水煎服。"
    (tmp_path / "kg.tsv").write_text("head\trelation\n", encoding="utf-8")
    changed = here("prefer", tmp_path / "in.parquet", "--out", out, "--graph", tmp_path / "kg.tsv")
    assert changed.code == 2


def test_a_file_that_says_it_holds_conversations_and_does_not_is_refused(tmp_path: Path):
    schema = pa.schema([pa.field("id", pa.string())], metadata=CONVERSATION.metadata)
    pq.write_table(pa.table({"id": ["x"]}, schema=schema), tmp_path / "broken.parquet")
    ended = here("prefer", tmp_path / "broken.parquet", "--out", tmp_path / "x.parquet")
    assert ended.code == 2 and "'messages'" in ended.line
