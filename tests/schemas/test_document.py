"""Documents: a record and the Document it was written from are the same thing."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import DOCUMENT, Document

words = st.text(alphabet="咳嗽风寒abc 0.5，。\n“”∶", max_size=12)
metas = st.dictionaries(words, st.one_of(words, st.integers(), st.dictionaries(words, words, max_size=2)), max_size=3)
all_documents = st.builds(
    Document,
    text=words,
    source=words,
    offset=st.integers(0, 2**40),
    title=words,
    section=st.lists(words, max_size=3).map(tuple),
    language=st.sampled_from(["zh", "lzh", "en"]),
    source_type=st.sampled_from(["book", "web"]),
    license=words,
    id=words,
    meta=metas,
)


@settings(deadline=None)
@given(all_documents)
def test_a_document_comes_back_from_its_record(document: Document) -> None:
    assert Document.from_record(document.record()) == document


@settings(deadline=None)
@given(st.lists(all_documents, min_size=1, max_size=4))
def test_documents_come_back_from_arrow(documents: list[Document]) -> None:
    table = pa.Table.from_pylist([document.record() for document in documents], schema=DOCUMENT)
    assert [Document.from_record(row) for row in table.to_pylist()] == documents


def test_documents_come_back_from_a_file(tmp_path: Path) -> None:
    document = Document(
        "水煎服。", "方书.txt", 120, "方书", ("卷一", "桂枝汤"), "lzh", "classic", "", "a1", {"朝代": "清"}
    )
    pq.write_table(pa.Table.from_pylist([document.record()], schema=DOCUMENT), tmp_path / "documents.parquet")
    (row,) = pq.read_table(tmp_path / "documents.parquet").to_pylist()
    assert Document.from_record(row) == document


def test_a_document_without_a_type_is_other_and_without_meta_has_none() -> None:
    record = Document("多饮水。", "a.txt").record()
    assert (record["source_type"], record["meta"], record["section"]) == ("other", "", [])


def test_the_meta_of_one_book_is_not_written_into_the_next() -> None:
    first, second = {"author": "甲"}, {"author": "乙"}
    records = [Document("文", "a.txt", meta=meta).record() for meta in (first, first, second, first)]
    assert [Document.from_record(record).meta["author"] for record in records] == ["甲", "甲", "乙", "甲"]


def test_a_piece_stands_below_the_headings_of_its_document() -> None:
    book = Document("全文", "a.txt", 10, "方书", ("卷一",), "lzh", "classic", "CC0", "a", {"author": "甲"})
    piece = book.piece("全", id="a.1", offset=12, section=("桂枝汤",))
    assert piece == Document(
        "全", "a.txt", 12, "方书", ("卷一", "桂枝汤"), "lzh", "classic", "CC0", "a.1", {"author": "甲"}
    )
    assert book.piece("文").offset == 10
