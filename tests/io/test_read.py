"""Whatever the file, reading it ends with Documents and Faults, never with an exception."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from datatools.io import read as reading
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document, document_id

NOISE = bytes(range(256)) * 16


def read_all(name: str, format: str, data: bytes, **options: str) -> list[object]:
    compression = "gz" if name.endswith(".gz") else ""
    return list(read(Source(name, name, format, compression, data=data), ReadOptions(**options)))


def zipped(**members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "format", "data"),
    [
        ("a.txt", "txt", NOISE),
        ("a.txt.gz", "txt", gzip.compress(b"some text " * 1000)[:-20]),
        ("a.txt.gz", "txt", b"no gzip at all"),
        ("a.md", "markdown", NOISE),
        ("a.html", "html", NOISE),
        ("a.html", "html", b"<!-- nothing -->"),
        ("a.tex", "latex", NOISE),
        ("a.pdf", "pdf", b"%PDF-1.7\nnothing follows"),
        ("a.docx", "docx", b"PK\x03\x04 broken"),
        ("a.docx", "docx", zipped(word__document_xml="<w:document")),
        ("a.zip", "zip", b"PK\x03\x04 broken"),
        ("a.tar", "tar", NOISE),
        ("a.tar.gz", "tar", b"no gzip at all"),
    ],
    # Archives hold the time they were made at: their bytes are no name for a test.
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_a_corrupt_file_is_one_fault(name: str, format: str, data: bytes) -> None:
    (fault,) = read_all(name, format, data)
    assert isinstance(fault, Fault)
    assert fault.source == name
    assert fault.rule == "unreadable"
    assert ": " in fault.message and "\n" not in fault.message


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    (fault,) = read(Source(str(tmp_path / "gone.txt"), "gone.txt", "txt"), ReadOptions())
    assert isinstance(fault, Fault) and fault.message.startswith("FileNotFoundError")


def test_a_mistake_of_ours_is_not_blamed_on_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reading.READERS, "txt", "datatools.io.source")
    with pytest.raises(AttributeError):
        read_all("a.txt", "txt", b"")


def test_ids_are_content() -> None:
    (one,) = read_all("a.txt", "txt", "感冒多饮水。".encode())
    (same,) = read_all("a.txt", "txt", "感冒多饮水。".encode("gb18030"))
    (other,) = read_all("b.txt", "txt", "感冒多饮水。".encode())
    assert isinstance(one, Document) and isinstance(same, Document) and isinstance(other, Document)
    assert one.id == same.id == document_id("a.txt", 0, "感冒多饮水。") != other.id
    assert len(one.id) == 32


def test_the_source_type_can_be_given() -> None:
    (document,) = read_all("a.txt", "txt", b"text", source_type="literature")
    assert isinstance(document, Document) and document.source_type == "literature"
