"""Texts too long for one document: cut at ends of sentences, nothing lost, neighbours untouched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.io import pieces as cutting
from datatools.io import text as texts
from datatools.io.pieces import cut, spans
from datatools.io.read import read
from datatools.io.source import Note, ReadOptions, Source
from schemas.document import Document

SENTENCE = "患者服药三日后热退身凉，饮食渐进。"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Documents of 100 characters at most."""
    monkeypatch.setattr(cutting, "LONGEST_TEXT", 100)
    monkeypatch.setattr("datatools.io.read.LONGEST_TEXT", 100)
    return 100


def found(source: Source) -> list[object]:
    return list(read(source, ReadOptions()))


def documents(items: list[object]) -> list[Document]:
    return [item for item in items if isinstance(item, Document)]


@given(st.text("药。 \nab，", max_size=300), st.integers(2, 50))
def test_spans_cover_the_text_without_gap_or_overlap(text: str, longest: int) -> None:
    parts = list(spans(text, longest))
    assert "".join(text[start:stop] for start, stop in parts) == text
    assert all(stop - start <= longest for start, stop in parts)
    assert all(longest // 2 <= stop - start for start, stop in parts[:-1])


def test_a_paragraph_is_a_better_place_than_a_sentence() -> None:
    text = "甲乙丙。丁\n\n戊己。庚辛"
    assert text[: cut(text, 3, len(text))] == "甲乙丙。丁\n\n"
    assert text[: cut(text, 7, len(text))] == "甲乙丙。丁\n\n戊己。"


def test_a_text_in_pieces_says_where_each_begins(small: int) -> None:
    text = "\n".join([SENTENCE * 3] * 8)
    items = found(Source("a.txt", "a.txt", "txt", data=text.encode()))
    (note,) = (item for item in items if isinstance(item, Note))
    assert "cut" in note.message
    pieces = documents(items)
    assert len(pieces) > 3
    assert all(len(piece.text) <= small and piece.text.endswith("。") for piece in pieces)
    assert all(text[piece.offset :].startswith(piece.text) for piece in pieces)
    assert "".join(piece.text for piece in pieces).replace("\n", "") == text.replace("\n", "")
    assert [piece.meta["piece"] for piece in pieces] == list(range(1, len(pieces) + 1))
    assert len({piece.id for piece in pieces}) == len(pieces)


def test_a_long_row_keeps_its_number_and_its_neighbours(small: int) -> None:
    rows = [{"text": SENTENCE, "id": "a"}, {"text": SENTENCE * 20, "id": "b"}, {"text": SENTENCE + "好", "id": "c"}]
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    pieces = documents(found(Source("a.jsonl", "a.jsonl", "jsonl", data=data)))
    assert "".join(piece.text for piece in pieces if piece.offset == 2) == SENTENCE * 20
    assert [(pieces[0].id, pieces[-1].id, pieces[-1].offset) for _ in "1"] == [("a", "c", 3)]
    assert {piece.id for piece in pieces[1:-1]} == {"b"}


def test_a_long_pair_is_no_pair_any_more(small: int) -> None:
    data = json.dumps({"question": "何药？", "answer": SENTENCE * 20, "department": "内科"}).encode()
    pieces = documents(found(Source("a.jsonl", "a.jsonl", "jsonl", data=data)))
    assert len(pieces) > 2
    assert all("answer" not in piece.meta for piece in pieces)


def test_rows_of_parquet_are_cut_like_any_other(small: int, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from datatools.io.read import read_batches

    pq.write_table(pa.table({"id": ["a", "b"], "text": [SENTENCE, SENTENCE * 20]}), tmp_path / "a.parquet")
    source = Source(str(tmp_path / "a.parquet"), "a.parquet", "parquet")
    pieces = documents(found(source))
    assert [piece.id for piece in pieces] == ["a"] + ["b"] * (len(pieces) - 1)
    assert documents(list(read_batches(source, ReadOptions()))) == pieces


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", ""])
def test_a_file_read_in_blocks_gives_what_it_gives_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, encoding: str, ends: str
) -> None:
    if ends:
        book = "".join(f"第{n}章 某病{n}\n{SENTENCE * 5}\n{SENTENCE * 3}第{n}次。\n" for n in range(1, 40))
        data = book.replace("\n", ends).encode(encoding)
    else:
        data = (SENTENCE * 500).encode(encoding)
    source = Source("a.txt", "a.txt", "txt", data=data)
    whole = documents(found(source))
    monkeypatch.setattr(texts, "LONGEST_WHOLE", 1000)
    monkeypatch.setattr(texts, "LONGEST_PARSED", 700)
    parts = documents(found(source))
    if ends:
        assert parts == whole
        return
    decoded = data.decode(encoding)
    assert len(parts) > len(whole)
    assert all(decoded[part.offset :].startswith(part.text) for part in parts)
    assert "".join(part.text for part in parts) == decoded


def test_a_marked_book_in_blocks_keeps_its_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    book = "<篇名>某书\n书名：某书\n作者：某人\n朝代：清\n" + "".join(
        f"<目录>卷{n}\n<篇名>某方{n}\n属性：{SENTENCE * 6}\n" for n in range(30)
    )
    source = Source("a.txt", "a.txt", "txt", data=book.encode("gb18030"))
    whole = documents(found(source))
    monkeypatch.setattr(texts, "LONGEST_WHOLE", 1000)
    monkeypatch.setattr(texts, "LONGEST_PARSED", 600)
    parts = documents(found(source))
    assert [(part.title, part.section, part.text, part.offset) for part in parts] == [
        (part.title, part.section, part.text, part.offset) for part in whole
    ]
    assert parts[0].meta["author"] == "某人"
