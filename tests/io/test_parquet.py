"""Parquet by row groups, broken ones among them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.io.parquet import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import DOCUMENT, Document


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    texts = [f"第{n}段：感冒多由病毒引起，休息几天就会好。" * 3 for n in range(1, 31)]
    table = pa.table({"id": [f"d{n}" for n in range(30)], "text": texts, "size": [float(n) for n in range(30)]})
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    return path


def documents(path: Path, start: int = 0, stop: int = -1) -> list[Document]:
    items = read(Source(str(path), path.name, "parquet", start=start, stop=stop), ReadOptions())
    return [item for item in items if isinstance(item, Document)]


def test_row_groups_make_up_the_file(path: Path) -> None:
    whole = documents(path)
    assert [document.offset for document in whole] == list(range(1, 31))
    assert whole[3].meta == {"fields": {"size": "3"}}
    assert documents(path, 0, 1) + documents(path, 1, 3) == whole


def test_a_corrupt_row_group_is_one_fault(path: Path) -> None:
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    items = list(read(Source(str(path), "a.parquet", "parquet"), ReadOptions()))
    faults = [item for item in items if isinstance(item, Fault)]
    assert [fault.source for fault in faults] == ["a.parquet:row group 1"]
    assert [item.offset for item in items if isinstance(item, Document)] == [*range(1, 11), *range(21, 31)]


def test_null_text_is_a_dropped_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["有字", None]}), tmp_path / "n.parquet")
    items = list(read(Source(str(tmp_path / "n.parquet"), "n", "parquet"), ReadOptions()))
    assert items[-1] == Fault("n:2", "text is empty", rule="empty_row")


def test_from_memory(path: Path) -> None:
    source = Source("a.zip", "a.zip!a.parquet", "parquet", data=path.read_bytes())
    assert len([item for item in read(source, ReadOptions()) if isinstance(item, Document)]) == 30


def test_a_broken_footer_raises(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(pa.ArrowInvalid):
        documents(path)


def test_document_records_come_back_as_they_were(tmp_path):
    document = Document(
        text="足三里主胃肠诸疾。",
        source="books/针灸.txt",
        offset=120,
        title="针灸选读",
        section=("穴位", "足三里"),
        language="lzh",
        source_type="classic",
        id="0123",
        meta={"dynasty": "明"},
    )
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.Table.from_pylist([document.record()], schema=DOCUMENT), path)
    assert list(read(Source(str(path), "corpus.parquet", "parquet"), ReadOptions())) == [document]
