"""JSON files in every arrangement that the well-known systems use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datatools.io.jsonlist import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document

RECORDS = [{"id": "a", "text": "感冒多由病毒引起。"}, {"id": "b", "text": "Rest and drink."}]


def found(data: Any, encoding: str = "utf-8") -> list[Document]:
    raw = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, indent=1)
    source = Source("a.json", "a.json", "json", data=raw.encode(encoding))
    return [item for item in read(source, ReadOptions()) if isinstance(item, Document)]


def texts(data: Any, encoding: str = "utf-8") -> list[str]:
    return [document.text for document in found(data, encoding)]


@pytest.mark.parametrize(
    "data",
    [
        RECORDS,
        [record["text"] for record in RECORDS],
        {"data": RECORDS},
        {"version": 1, "items": RECORDS},
        {"whatever": RECORDS},
        {"id": ["a", "b"], "text": [record["text"] for record in RECORDS]},
        {"id": {"0": "a", "1": "b"}, "text": {"0": RECORDS[0]["text"], "1": RECORDS[1]["text"]}},
        {"a": {"text": RECORDS[0]["text"]}, "b": {"text": RECORDS[1]["text"]}},
        "".join(json.dumps(record) + "\n" for record in RECORDS),
        "\n\n".join(json.dumps(record, indent=2) for record in RECORDS),
    ],
)
def test_arrangements(data: Any) -> None:
    assert texts(data) == [record["text"] for record in RECORDS]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "gbk", "utf-16"])
def test_encodings(encoding: str) -> None:
    assert texts(RECORDS * 20, encoding) == [record["text"] for record in RECORDS * 20]


def test_one_object_is_one_record() -> None:
    assert texts({"title": "感冒", "text": "感冒多由病毒引起。", "tags": ["呼吸"]}) == ["感冒多由病毒引起。"]


def test_one_object_with_turns_is_one_conversation() -> None:
    talk = {"conversations": [{"from": "human", "value": "头晕"}, {"from": "gpt", "value": "先量血压"}]}
    assert found(talk)[0].meta["answer"] == "先量血压"


def test_lists_of_alternating_turns_by_source() -> None:
    documents = found(
        {"clinic": [["头晕", "先量血压"], ["咳嗽", "几天了？", "三天", "多喝水"]], "ward": [["疼", "哪里？"]]}
    )
    assert [document.meta["fields"]["dataset"] for document in documents] == ["clinic", "clinic", "ward"]
    assert documents[0].meta["question"] == "头晕"
    assert [turn["content"] for turn in documents[1].meta["messages"]] == ["咳嗽", "几天了？", "三天", "多喝水"]


def test_a_short_first_line_is_the_title_of_an_abstract() -> None:
    body = "We followed patients for a year. Methods: a cohort study. Results: fewer falls. " * 3
    documents = found([f"Walking and falls in old age.\n{body}"] * 3)
    assert documents[0].title == "Walking and falls in old age."
    assert documents[0].text.endswith(body)
    assert documents[0].source_type == "literature"


def test_hard_wrapped_lines_are_no_titles() -> None:
    assert found(["一行差不多长的文字\n又一行差不多长的文字\n第三行"] * 2)[0].title == ""


def test_lone_surrogates_do_not_crash() -> None:
    assert texts('["bad \\udc00 half"]') == ["bad \ufffd half"]


def test_what_is_no_record_is_a_fault() -> None:
    source = Source("a.json", "a.json", "json", data=b'[{"text": "one"}, 17, {"text": "three"}]')
    faults = [item for item in read(source, ReadOptions()) if isinstance(item, Fault)]
    assert faults == [Fault("a.json:2", "neither an object nor a text", rule="malformed_row")]


@pytest.mark.parametrize("data", ['[{"text": "one"}, {"text": "tw', '[{"text": "one"} {"te', "{]", "[" * 100_000])
def test_a_broken_file_raises_a_sentence(data: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        found(data)


def test_an_empty_file_gives_nothing() -> None:
    assert found("") == found("[]") == found(" null ") == []


def test_items_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datatools.io.jsonlist.BLOCK", 7)
    monkeypatch.setattr("datatools.io.jsonlist._Buffer.fill.__defaults__", (7,))
    assert texts([*RECORDS, *RECORDS]) == [record["text"] for record in RECORDS * 2]


def test_real_abstracts_and_cases(real_data: Path) -> None:
    counts = {"unify/pubmed-abstracts.json": 299, "cases/Med-dialog_100.json": 100, "cases/KUAKE-QIC_100.json": 100}
    for name, number in counts.items():
        source = Source(str(real_data / name), name, "json")
        documents = [item for item in read(source, ReadOptions()) if isinstance(item, Document)]
        assert len(documents) == number
        if name.startswith("unify"):
            assert all(document.title and document.source_type == "literature" for document in documents)
        if "dialog" in name:
            assert all(document.meta["question"] and document.meta["answer"] for document in documents)
