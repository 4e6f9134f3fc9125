"""Files of rows: every form of a conversation, and one line with file and row for what is none."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainers.conftest import says, user, write_rows
from trainers.layouts import conversation, pair_of, prompt_of, reply_of
from trainers.rows import Row, columns, interleaved, read_rows


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


@pytest.mark.parametrize(
    ("values", "turns"),
    [
        ({"instruction": "问", "input": "料", "output": "答", "history": [["前", "后"]]}, "前后问\n料答"),
        ({"conversations": [{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]}, "问答"),
    ],
)
def test_what_stands_beside_a_conversation_is_part_of_it(values: dict[str, Any], turns: str):
    """Columns of Alpaca and ShareGPT: the system message, and earlier exchanges."""
    found = conversation(Row("a:1", {**values, "system": "你是医生"}))
    assert found[0] == {"role": "system", "content": "你是医生"}
    assert "".join(message["content"] for message in found[1:]) == turns
    assert conversation(Row("a:1", {**values, "system": ""}))[0]["role"] == "user"
    assert conversation(Row("a:1", {"messages": found, "system": "别的"})) == found


def test_thoughts_that_stand_apart_go_before_the_answer():
    thinking = {**says("答"), "reasoning_content": "先想\n"}
    assert conversation(Row("a:1", {"messages": [user("问"), thinking]}))[1] == says("<think>\n先想\n</think>\n\n答")


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"tool_calls": [{"name": "f"}]}, "has tool_calls, which cannot be trained"),
        ({"weight": 0}, "has weight 0, but every answer is learned"),
        ({"content": "好\ud800"}, r"messages 2 holds \\ud800, half of a character"),
        ({"content": "\u200b\ufeff"}, "has no text, its content is empty"),
        ({"role": "tool"}, "has role 'tool'"),
    ],
)
def test_what_would_be_lost_or_refused_later_is_said(turn: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=rf"^a:1: messages 2 .*{said}|^a:1: {said}"):
        conversation(Row("a:1", {"messages": [user("问"), {**says("答"), **turn}]}))
    # A column of a parquet file is there for every message, and null where it says nothing.
    assert conversation(Row("a:1", {"messages": [user("问"), {**says("答"), "tool_calls": None, "weight": 1}]}))


def test_a_row_of_another_layout_is_named():
    with pytest.raises(ValueError, match="a:2: holds no conversation; it has question"):
        conversation(Row("a:2", {"question": "问"}))


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "问", "chosen": "好", "rejected": "坏"},
        {"prompt": [user("问")], "chosen": says("好"), "rejected": says("坏")},
        {"prompt": "问", "chosen": [user("问"), says("好")], "rejected": [user("问"), says("坏")]},
        {"chosen": [user("问"), says("好")], "rejected": [user("问"), says("坏")]},
        {"instruction": "问", "input": "", "chosen": "好", "rejected": "坏"},
    ],
)
def test_a_preference_in_any_form(values: dict[str, Any]):
    assert pair_of(Row("p:1", values)) == ([user("问")], [says("好")], [says("坏")])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "问", "chosen": "好", "rejected": "好 "}, "chosen and rejected are equal"),
        (
            {"chosen": [user("问"), says("好")], "rejected": [user("另"), says("坏")]},
            "chosen and rejected answer",
        ),
        (
            {"prompt": "另", "chosen": [user("问"), says("好")], "rejected": [user("问"), says("坏")]},
            "chosen and rejected begin with another prompt",
        ),
        ({"chosen": "好", "rejected": "坏"}, "prompt is empty"),
        ({"prompt": "问", "chosen": [user("好")], "rejected": "坏"}, "chosen must be one assistant message"),
    ],
)
def test_a_preference_that_is_none_is_named(values: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=rf"^p:1: {said}"):
        pair_of(Row("p:1", values))


def test_general_rows_are_read_again_where_they_are_too_few():
    rows = [Row(f"a{n}", {}) for n in range(90)]
    read = []

    def general() -> list[Row]:
        read.append(1)
        return [Row(f"g{n}", {}) for n in range(4)]

    found = [row.place for row in interleaved(rows, general, 0.1)]
    assert [place for place in found if place.startswith("g")] == [f"g{n % 4}" for n in range(10)]
    assert [place for place in found if place.startswith("a")] == [row.place for row in rows]
    assert len(read) == 3


def test_a_file_cut_short_or_damaged_inside_is_named(tmp_path: Path):
    rows = [{"messages": [user(f"问{n}"), says("答" * n)]} for n in range(900)]
    whole = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), whole, row_group_size=300, compression="zstd")
    content = whole.read_bytes()
    place = pq.read_metadata(whole).row_group(1).column(0).data_page_offset
    (tmp_path / "cut.parquet").write_bytes(content[:-40])
    with pytest.raises(ValueError, match=r"cut\.parquet: is no parquet file"):
        columns(str(tmp_path / "cut.parquet"))
    (tmp_path / "bad.parquet").write_bytes(content[:place] + bytes(60) + content[place + 60 :])
    read = read_rows([str(tmp_path / "bad.parquet")])
    assert [next(read).place for _ in range(256)][-1] == "bad.parquet:256"
    with pytest.raises(ValueError, match=r"bad\.parquet:\d+: the file is damaged from about here"):
        list(read)
    packed = gzip.compress(json.dumps(rows[0]).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[:-9])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz: is damaged"):
        list(read_rows([str(tmp_path / "cut.jsonl.gz")]))


def test_parquet_and_json_give_the_same_rows(tmp_path: Path):
    rows = [{"messages": [user(f"问{n}"), says("答")]} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    write_rows(tmp_path / "a.jsonl", rows)
    lines = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "lines.json").write_bytes(codecs.BOM_UTF8 + lines.replace(b"\n", b"\r\n"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    for name in ("a.parquet", "a.json", "a.jsonl", "lines.json", "a.jsonl.gz"):
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
        ("a.json", b'"a"', "a JSON list of rows"),
        ("a.jsonl", b"[" * 100_000, r"a\.jsonl:1: no JSON that can be read"),
        ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", r"a\.jsonl:1: no JSON that can be read"),
        ("a.txt", b"text", "parquet, JSON Lines"),
        ("a.jsonl", b"\n" + "问".encode("gbk") + b"\n", r"a\.jsonl:2: is not UTF-8 .*-f GB18030"),
        ("a.jsonl", "问".encode("utf-16"), r"a\.jsonl:1: is not UTF-8 .*-f UTF-16"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, content: bytes, said: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        columns(str(tmp_path / name))
    with pytest.raises(ValueError, match="no such file"):
        columns(str(tmp_path / "none.parquet"))
