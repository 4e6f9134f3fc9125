"""Export: what other trainers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import export as module
from pipelines.export import FORMATS, export
from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT


def turns(*contents: str, system: str = "") -> list[dict[str, str]]:
    roles = ("user", "assistant")
    spoken = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]
    return [{"role": "system", "content": system}, *spoken] if system else spoken


ROWS = [
    {"id": "one", "messages": turns("咳嗽怎么办？", "多饮水。\n“避风”。")},
    {"id": "three", "messages": turns("头痛。", "几天了？", "三天。", "发热吗？", "不发热。", "可先休息。")},
    {"id": "system", "messages": turns("Is it safe?", "Ask a clinician.", system="You are careful.")},
    {"id": "unanswered", "messages": turns("问？", "答。", "再问？")},
]


def conversations(path: Path, rows: list[dict[str, Any]]) -> Path:
    empty = dict.fromkeys(CONVERSATION.names)
    pq.write_table(pa.Table.from_pylist([{**empty, **row} for row in rows], schema=CONVERSATION), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return conversations(tmp_path / "sft.parquet", ROWS)


def exported(file: Path, format: str) -> dict[str, dict[str, Any]]:
    out = file.parent / "out" / f"{format}.jsonl"
    export(file, out, format)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return {row.pop("id"): row for row in rows}


def test_messages_are_those_of_the_file(file: Path) -> None:
    assert exported(file, "messages") == {row["id"]: {"messages": row["messages"]} for row in ROWS}


def test_sharegpt_names_the_speakers_and_sets_the_system_turn_apart(file: Path) -> None:
    found = exported(file, "sharegpt")
    assert list(found) == [row["id"] for row in ROWS]
    assert found["one"] == {
        "conversations": [
            {"from": "human", "value": "咳嗽怎么办？"},
            {"from": "gpt", "value": "多饮水。\n“避风”。"},
        ]
    }
    assert [turn["from"] for turn in found["three"]["conversations"]] == ["human", "gpt"] * 3
    assert found["system"] == {
        "system_prompt": "You are careful.",
        "conversations": [{"from": "human", "value": "Is it safe?"}, {"from": "gpt", "value": "Ask a clinician."}],
    }


def test_alpaca_asks_the_last_question_and_keeps_the_turns_before_it(file: Path) -> None:
    found = exported(file, "alpaca")
    assert found["one"] == {"instruction": "咳嗽怎么办？", "input": "", "output": "多饮水。\n“避风”。"}
    assert found["three"] == {
        "instruction": "不发热。",
        "input": "",
        "output": "可先休息。",
        "history": [["头痛。", "几天了？"], ["三天。", "发热吗？"]],
    }
    assert found["system"] == {
        "instruction": "Is it safe?",
        "input": "",
        "output": "Ask a clinician.",
        "system": "You are careful.",
    }


def test_what_alpaca_cannot_hold_is_counted(file: Path) -> None:
    summary = export(file, file.parent / "alpaca.jsonl", "alpaca")
    assert (summary.rows_read, summary.rows_written, summary.dropped) == (4, 3, {"several_turns": 1})
    assert "unanswered" not in exported(file, "alpaca")
    assert export(file, file.parent / "messages.jsonl", "messages").dropped == {}


def test_chinese_is_written_as_chinese(file: Path) -> None:
    export(file, file.parent / "a.jsonl", "messages")
    assert "咳嗽怎么办？" in (file.parent / "a.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_file_without_rows_gives_an_empty_file(format: str, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert export(conversations(tmp_path / "empty.parquet", []), out, format).rows_written == 0
    assert out.read_bytes() == b""


def test_another_format_is_refused_with_those_there_are(file: Path) -> None:
    with pytest.raises(ValueError, match="--format chatml: must be one of messages, sharegpt, alpaca"):
        export(file, file.parent / "a.jsonl", "chatml")


def test_a_file_of_other_records_is_refused_and_nothing_written(tmp_path: Path) -> None:
    pq.write_table(DOCUMENT.empty_table(), tmp_path / "documents.parquet")
    with pytest.raises(ValueError, match=r"documents\.parquet: holds document/1 records, conversation/1 needed"):
        export(tmp_path / "documents.parquet", tmp_path / "a.jsonl", "messages")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("不是 parquet")
    with pytest.raises(ValueError, match=r"notes\.parquet"):
        export(tmp_path / "notes.parquet", tmp_path / "a.jsonl", "messages")
    with pytest.raises(ValueError, match=r"absent\.parquet: no such file"):
        export(tmp_path / "absent.parquet", tmp_path / "a.jsonl", "messages")


def test_the_input_is_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(ValueError, match="is the file to be read"):
        export(file, file, "messages")
    assert file.read_bytes() == before


def test_an_error_half_way_keeps_the_old_output(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = file.parent / "a.jsonl"
    out.write_text("旧\n")

    def fails_at_the_second(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == "three":
            raise MemoryError
        return row

    monkeypatch.setitem(module.FORMATS, "messages", fails_at_the_second)
    with pytest.raises(MemoryError):
        export(file, out, "messages")
    assert out.read_text() == "旧\n"
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.jsonl", "sft.parquet"]
