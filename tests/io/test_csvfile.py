"""Separated values: encodings, delimiters, headers, quotes, ragged rows."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.io.csvfile import read, records, sniff
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document

ROWS = [("编号", "正文"), ("a1", "感冒多由病毒引起，休息几天就会好。"), ("a2", "麻黄汤治风寒表实证，体虚的人不宜用。")]


def found(data: bytes, form: str = "csv") -> list[Document | Fault]:
    items = read(Source(f"a.{form}", f"a.{form}", form, data=data), ReadOptions())
    return [item for item in items if isinstance(item, Document | Fault)]


def texts(data: bytes, form: str = "csv") -> list[str]:
    return [item.text for item in found(data, form) if isinstance(item, Document)]


def written(rows: list[tuple[str, ...]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16", "utf-16-le", "big5"])
def test_encodings(encoding: str) -> None:
    rows = ROWS if encoding != "big5" else [("id", "text"), ("a1", "感冒多由病毒引起，休息幾天就會好。" * 3)]
    data = written([rows[0], *[(f"{n}", text) for n, (_, text) in enumerate(rows[1:] * 20)]]).encode(encoding)
    assert texts(data) == [text for _, text in rows[1:] * 20]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_delimiters(delimiter: str) -> None:
    assert texts(written(ROWS, delimiter).encode()) == [text for _, text in ROWS[1:]]


def test_a_delimiter_is_what_cuts_the_lines_alike() -> None:
    assert sniff(["one, two\tthree\n", "four\tfive, six, seven\n"]) == "\t"
    assert sniff(["only text, here\n", "and, a, lot, of, it\n", "here\n"], "\t") == "\t"


def test_columns_without_a_header_are_numbered() -> None:
    rows = "".join(f"{n}\t头晕怎么办{n}\t头晕如何治疗{n}\n" for n in range(5))
    documents = found(rows.encode(), "tsv")
    assert len(documents) == 5
    assert isinstance(documents[0], Document)
    assert documents[0].meta["fields"] == {"column 1": "0", "column 2": "头晕怎么办0", "column 3": "头晕如何治疗0"}


def test_quoted_line_breaks_and_line_numbers() -> None:
    data = 'id,text\na,"第一行\n第二行, ""引用"""\n\nb,后面一行\n'.encode()
    assert [(item.text, item.offset) for item in found(data) if isinstance(item, Document)] == [
        ('第一行\n第二行, "引用"', 2),
        ("后面一行", 5),
    ]


def test_ragged_rows() -> None:
    data = "id,text,note,,\na,一,甲,,\nb,二,,,,,\nc,三,丙,多出来\nd,四\n".encode()
    read_back = found(data)
    assert [item.text for item in read_back if isinstance(item, Document)] == ["一", "二", "四"]
    assert [item for item in read_back if isinstance(item, Fault)] == [
        Fault("a.csv:4", "4 cells in 3 columns", rule="malformed_row")
    ]


@pytest.mark.parametrize("broken", ['b,"没有收尾\n', 'b,"没有收尾\nx,"也没有\n'])
def test_a_quote_never_closed_costs_its_own_line_only(broken: str) -> None:
    rows = "".join(f"k{n},好的一行{n}\n" for n in range(4))
    data = f'id,text\na,好的一行\n{broken}{rows}z,"引号, 内"\n'.encode()
    read_back = found(data)
    assert [item.text for item in read_back if isinstance(item, Document)] == [
        "好的一行", *(f"好的一行{n}" for n in range(4)), "引号, 内",
    ]  # fmt: skip
    faults = [item for item in read_back if isinstance(item, Fault)]
    assert {fault.rule for fault in faults} == {"malformed_row"}
    assert len(faults) == broken.count("\n")


def test_a_quote_inside_a_cell_is_a_letter() -> None:
    assert texts(b'id,text\na,5" below the knee\nb,fine\n') == ['5" below the knee', "fine"]


def test_nuls_and_long_cells() -> None:
    long = "长" * 300_000
    assert texts(f'id,text\na,"有\0零"\nb,"{long}"\n'.encode()) == ["有零", long]


def test_broken_bytes_are_counted_not_fatal() -> None:
    data = written([("id", "text"), *[(str(n), ROWS[1][1]) for n in range(30)]]).encode("gb18030")
    data += b"x," + "坏了".encode("gb18030") + b"\xff" + "一个字\r\n".encode("gb18030")
    last = found(data)[-1]
    assert isinstance(last, Document)
    assert last.text.startswith("坏了") and last.text.endswith("字")
    assert last.meta["encoding"] == "gb18030" and last.meta["undecodable"] >= 1


def test_compressed(tmp_path: Path) -> None:
    data = written(ROWS).encode("gb18030")
    for form, packed in (("gz", gzip.compress(data)), ("zst", zstandard.compress(data))):
        path = tmp_path / f"a.csv.{form}"
        path.write_bytes(packed)
        items = list(read(Source(str(path), path.name, "csv", form), ReadOptions()))
        assert [item.text for item in items if isinstance(item, Document)] == [text for _, text in ROWS[1:]]


def test_an_empty_file_and_a_lone_header_give_nothing() -> None:
    assert found(b"") == found(b"id,text\n") == []


def test_a_file_that_is_no_text_raises() -> None:
    with pytest.raises(ValueError, match="not text"):
        found(bytes(range(256)) * 64)


CELL = st.text(st.characters(exclude_characters="\0\r\ufeff\ufffd", exclude_categories=["Cs"]), min_size=1, max_size=9)


@settings(max_examples=80, deadline=None)
@given(rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8), delimiter=st.sampled_from(",\t;|"))
def test_what_was_written_is_read(rows: list[tuple[str, ...]], delimiter: str) -> None:
    lines = enumerate(io.StringIO(written(rows, delimiter), newline=""), 1)
    assert [tuple(item[1]) for item in records(lines, delimiter, "a") if not isinstance(item, Fault)] == rows


def test_real_consultations_and_encyclopedia(real_data: Path) -> None:
    consult = real_data / "consult" / "internal-medicine-gbk.csv"
    items = list(read(Source(str(consult), consult.name, "csv"), ReadOptions()))
    pairs = [item for item in items if isinstance(item, Document)]
    assert len(pairs) == 3809
    assert all(item.source_type == "consultation" and item.meta["fields"]["department"] for item in pairs)
    disease = real_data / "consult" / "disease-gb18030.csv"
    items = list(read(Source(str(disease), disease.name, "csv"), ReadOptions()))
    rows = [item for item in items if isinstance(item, Document)]
    assert len(rows) > 13_000
    assert all(row.title and "详细]" not in row.text and "undecodable" not in row.meta for row in rows)
