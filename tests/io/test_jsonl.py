"""JSON Lines: ranges, encodings, compression, and lines that are broken."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.io.jsonl import read
from datatools.io.source import Fault, Note, ReadOptions, Source
from schemas.document import Document

TEXTS = ["感冒多由病毒引起，休息几天就会好。", "Drink water and rest.", "麻黄汤治风寒表实证。"]


def lines(*rows: Any, ascii_only: bool = False) -> str:
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)


def source(data: bytes, **more: Any) -> Source:
    return Source("a.jsonl", "a.jsonl", "jsonl", data=data, **more)


def texts(data: bytes, **more: Any) -> list[str]:
    return [item.text for item in read(source(data, **more), ReadOptions()) if isinstance(item, Document)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(encoding: str) -> None:
    assert texts(lines(*({"text": text} for text in TEXTS * 20)).encode(encoding)) == TEXTS * 20


def test_compression(tmp_path: Path) -> None:
    data = lines(*({"text": text} for text in TEXTS)).encode()
    for name, packed in (("gz", gzip.compress(data)), ("zst", zstandard.compress(data))):
        path = tmp_path / f"a.jsonl.{name}"
        path.write_bytes(packed)
        whole = Source(str(path), path.name, "jsonl", compression=name)
        halves = [Source(str(path), path.name, "jsonl", name, start, stop) for start, stop in ((0, 60), (60, -1))]
        for sources in ([whole], halves):
            read_back = [item for part in sources for item in read(part, ReadOptions())]
            assert [item.text for item in read_back if isinstance(item, Document)] == TEXTS


def test_broken_lines_are_faults_and_the_rest_goes_on() -> None:
    data = b'{"text": "one"}\n{"text": "tw\n\n17\n' + b"[" * 100_000 + b'\n{"text": "six"}'
    found = list(read(source(data), ReadOptions()))
    faults = [item for item in found if isinstance(item, Fault)]
    assert [fault.source for fault in faults] == ["a.jsonl:2", "a.jsonl:4", "a.jsonl:5"]
    assert {fault.rule for fault in faults} == {"malformed_row"}
    assert [(item.offset, item.text) for item in found if isinstance(item, Document)] == [(1, "one"), (6, "six")]


def test_lone_surrogates_are_replaced_and_pairs_survive() -> None:
    assert texts(b'{"text": "a\\ud83d b\\ud83d\\ude00"}\n') == ["a\ufffd b😀"]


def test_a_line_in_an_encoding_of_its_own() -> None:
    mixed = lines({"text": TEXTS[0] * 5}).encode() * 3 + lines({"text": TEXTS[2] * 5}).encode("gb18030")
    assert texts(mixed)[-1] == TEXTS[2] * 5


def test_lists_and_bare_texts_are_rows_too() -> None:
    assert texts('"只有一段文字"\n["头晕怎么办", "先量血压"]\n'.encode()) == ["只有一段文字", "头晕怎么办\n\n先量血压"]


def test_the_note_comes_once_for_a_file_in_ranges() -> None:
    data = lines(*({"body": text} for text in TEXTS)).encode()
    notes = [item for start in (0, 50) for item in read(source(data, start=start), ReadOptions())
             if isinstance(item, Note)]  # fmt: skip
    assert notes == [Note("a.jsonl", "text = body")]


def test_every_range_reads_the_columns_of_the_whole_file() -> None:
    data = lines({"text": "正文", "title": "题"}, {"text": "又一段", "title": "题", "long": "很长" * 99}).encode()
    assert texts(data, start=10) == ["又一段"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.one_of(st.text(min_size=1, max_size=12), st.just(None)), max_size=12),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    end=st.sampled_from(["", "\n", "\r\n"]),
)
def test_any_split_into_ranges_gives_the_same_rows(rows: list[str | None], cuts: list[int], end: str) -> None:
    data = ("\n".join("" if row is None else json.dumps({"text": row}) for row in rows) + end).encode()
    bounds = [0, *sorted(cut for cut in cuts if cut > 0), -1]
    parts = [source(data, start=start, stop=stop) for start, stop in pairwise(bounds)]
    whole = [item for item in read(source(data), ReadOptions()) if not isinstance(item, Note)]
    assert [x for part in parts for x in read(part, ReadOptions()) if not isinstance(x, Note)] == whole


def test_line_numbers_of_a_file_read_range_by_range(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*({"text": str(n)} for n in range(1, 301))), encoding="utf-8")
    size = path.stat().st_size
    bounds = [*range(0, size, 700), -1]
    parts = [Source(str(path), "a", "jsonl", "", a, b) for a, b in pairwise(bounds)]
    for order in (parts, parts[::-1]):
        rows = [item for part in order for item in read(part, ReadOptions()) if isinstance(item, Document)]
        assert all(item.text == str(item.offset) for item in rows)
        assert len(rows) == 300


def test_real_exam_items_and_entities(real_data: Path) -> None:
    exam = real_data / "exam" / "cmexam-val.jsonl"
    found = list(read(Source(str(exam), exam.name, "jsonl"), ReadOptions()))
    items = [item for item in found if isinstance(item, Document)]
    assert len(items) == 3405
    assert all("\nA. " in item.meta["question"] and item.meta["answer"][0] in "ABCDE" for item in items)
    assert not any("\\n" in item.text or item.text.endswith("nan") for item in items)
