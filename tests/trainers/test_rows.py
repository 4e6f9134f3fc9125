"""Files of rows: every form of a conversation, and one line with file and row for what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainers.conftest import says, user, write_rows
from trainers.rows import Row, columns, conversation, prompt_of, read_rows, reply_of


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [user("问"), says("答")], "prompt": "unify/question.zh@1"},
        {"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]},
        {"question": "问", "answer": "答"},
        {"prompt": "问", "completion": "答"},
        {"prompt": [user("问")], "completion": [says("答")]},
        {"instruction": "问", "input": "", "output": "答"},
    ],
)
def test_a_conversation_in_any_form(values: dict[str, Any]):
    assert conversation(Row("a:1", values)) == [user("问"), says("答")]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages is empty"),
        (None, "messages is empty"),
        ([user("问")], "no assistant turn"),
        ([user("问"), says("答"), user("再问")], "ends with a user turn"),
        (
            [user("问"), {"role": "assistant", "content": None}],
            r"messages 2 \(assistant\) has no text, its content is null",
        ),
        ([user(" "), says("答")], r"messages 1 \(user\) has no text, its content is empty"),
        ([{"role": "human", "content": "问"}, says("答")], "has role 'human'"),
        ([user("问"), user("再问"), says("答")], "message 2 is the user's"),
        ([says("答"), user("问"), says("答")], "message 1 is the assistant's"),
        ([user("问"), "答"], "messages 2 has role None"),
    ],
)
def test_what_is_no_conversation_is_named(messages: object, said: str):
    with pytest.raises(ValueError, match=rf"^sft\.parquet:3: .*{said}"):
        conversation(Row("sft.parquet:3", {"messages": messages}))


def test_parts_of_a_preference():
    row = Row("p:1", {"prompt": "问", "chosen": "好", "rejected": [says("坏")]})
    assert (prompt_of(row), reply_of(row, "chosen"), reply_of(row, "rejected")) == (
        [user("问")],
        [says("好")],
        [says("坏")],
    )
    with pytest.raises(ValueError, match="p:1: prompt must end with a user turn"):
        prompt_of(Row("p:1", {"prompt": [user("问"), says("答")]}))
    with pytest.raises(ValueError, match="p:1: chosen must be one assistant message"):
        reply_of(Row("p:1", {"chosen": [user("问"), says("答")]}), "chosen")


def test_parquet_and_json_give_the_same_rows(tmp_path: Path):
    rows = [{"messages": [user(f"问{n}"), says("答")]} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    write_rows(tmp_path / "a.jsonl", rows)
    for name in ("a.parquet", "a.json", "a.jsonl"):
        found = list(read_rows([str(tmp_path / name)]))
        assert [row.values for row in found] == rows
        assert [row.place for row in found] == [f"{name}:{n}" for n in (1, 2, 3)]
        assert columns(str(tmp_path / name)) == ["messages"]


def test_lines_are_counted_with_the_blank_ones(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "甲"}\n\n{"text": "乙"}\n{"text": \n', encoding="utf-8")
    rows = read_rows([str(tmp_path / "a.jsonl")])
    assert [next(rows).place, next(rows).place] == ["a.jsonl:1", "a.jsonl:3"]
    with pytest.raises(ValueError, match=r"a\.jsonl:4: no JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "holds no rows"),
        ("a.parquet", b"no parquet", "is no parquet file"),
        ("a.jsonl", b"[1]\n", "an object with named columns"),
        ("a.json", b"{}", "a JSON list of rows"),
        ("a.txt", b"text", "parquet, JSON Lines"),
        ("a.jsonl", "问".encode("gbk") + b"\n", "is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes, said: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        columns(str(tmp_path / name))
    with pytest.raises(ValueError, match="no such file"):
        columns(str(tmp_path / "none.parquet"))
