"""Which files an input holds, what they are called, and what format they are in."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from datatools.io.files import discover, split
from datatools.io.source import Source


def write(folder: Path, *names: str, content: bytes = b"text\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def names(*inputs: Path | str) -> list[str]:
    return [source.name for source in discover([str(item) for item in inputs])[0]]


def test_folders_are_walked_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a/z.md", "a.txt/inner.txt", ".hidden.txt", ".git/x.txt", "out.work/part.jsonl")
    assert names(tmp_path) == ["a/z.md", "a.txt/inner.txt", "b.txt"]


def test_names_are_relative_to_the_input(tmp_path: Path) -> None:
    write(tmp_path, "one/x.txt", "two/one/x.txt")
    assert names(tmp_path / "one" / "x.txt") == ["x.txt"]
    assert names(tmp_path / "one", tmp_path / "two" / "one") == ["one/x.txt", "one~2/x.txt"]
    assert names(tmp_path / "one" / "x.txt", tmp_path / "two" / "one" / "x.txt") == ["x.txt", "x.txt~2"]


def test_links_to_files_are_followed_links_to_folders_are_not(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/real.txt")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "link.txt").symlink_to(tmp_path / "elsewhere" / "real.txt")
    (inputs / "folder").symlink_to(tmp_path / "elsewhere")
    (inputs / "broken.txt").symlink_to(tmp_path / "nowhere.txt")
    sources, faults = discover([str(inputs)])
    assert [source.name for source in sources] == ["link.txt"]
    assert [(fault.source, fault.rule) for fault in faults] == [("broken.txt", "unreadable")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.TXT", ("txt", "")),
        ("a.md", ("markdown", "")),
        ("a.htm", ("html", "")),
        ("a.tex", ("latex", "")),
        ("a.ndjson", ("jsonl", "")),
        ("a.feather", ("arrow", "")),
        ("a.tsv", ("tsv", "")),
        ("a.tar.gz", ("tar", "gz")),
        ("a.tgz", ("tar", "gz")),
        ("a.tar.zst", ("tar", "zst")),
        ("a.tar.xz", ("tar", "")),
        ("a.jsonl.gz", ("jsonl", "gz")),
        ("a.csv.zst", ("csv", "zst")),
    ],
)
def test_the_extension_tells_the_format(tmp_path: Path, name: str, expected: tuple[str, str]) -> None:
    write(tmp_path, name)
    (source,) = discover([str(tmp_path)])[0]
    assert (source.format, source.compression) == expected


def test_without_an_extension_the_content_tells(tmp_path: Path) -> None:
    write(tmp_path, "note", content="患者头痛三日。".encode("gb18030"))
    write(tmp_path, "page", content=b"<!DOCTYPE html><p>x")
    write(tmp_path, "paper", content=b"%PDF-1.7\n")
    write(tmp_path, "squeezed.gz", content=gzip.compress(b"plain text"))
    write(tmp_path, "squeezed2", content=zstandard.compress(b"plain text"))
    write(tmp_path, "picture.png", content=b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4)
    with zipfile.ZipFile(tmp_path / "letter.doc", "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    sources, faults = discover([str(tmp_path)])
    assert {source.name: source.format for source in sources} == {
        "note": "txt",
        "page": "html",
        "paper": "pdf",
        "squeezed.gz": "txt",
        "squeezed2": "txt",
        "letter.doc": "docx",
    }
    assert [(fault.source, fault.rule) for fault in faults] == [("picture.png", "unknown_type")]


def test_empty_files_and_special_files_are_faults(tmp_path: Path) -> None:
    write(tmp_path, "empty.txt", content=b"")
    os.mkfifo(tmp_path / "pipe.txt")
    assert [(fault.source, fault.rule) for fault in discover([str(tmp_path)])[1]] == [
        ("empty.txt", "empty_file"),
        ("pipe.txt", "unknown_type"),
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, "secret.txt")
    (tmp_path / "secret.txt").chmod(0)
    assert [fault.rule for fault in discover([str(tmp_path)])[1]] == ["unreadable"]


def test_a_refused_file_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "secret.txt")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    (fault,) = discover([str(tmp_path)])[1]
    assert (fault.rule, fault.message) == ("unreadable", "PermissionError: Permission denied")


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        discover([str(tmp_path / "nothing")])


def test_a_dataset_is_an_input() -> None:
    (source,) = discover(["hf:org/name"])[0]
    assert (source.format, source.path, source.name) == ("hf", "hf:org/name", "hf:org/name")


def test_names_that_are_no_utf8_become_printable(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode("本草纲目.txt".encode("gb18030"))).write_bytes(b"text")
    assert names(tmp_path) == ["本草纲目.txt"]


def test_jsonl_is_split_by_bytes(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", content=b'{"text": "x"}\n' * 100)
    parts = split(Source(str(tmp_path / "a.jsonl"), "a.jsonl", "jsonl"), 500)
    assert [(part.start, part.stop) for part in parts] == [(0, 500), (500, 1000), (1000, 1400)]
    assert split(Source(str(tmp_path / "a.jsonl"), "a.jsonl", "jsonl"), 5000)[0].stop == -1


def test_parquet_is_split_by_row_groups(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"row {n}" for n in range(1000)]}), tmp_path / "a.parquet", row_group_size=100)
    source = Source(str(tmp_path / "a.parquet"), "a.parquet", "parquet")
    parts = split(source, 1)
    assert [(part.start, part.stop) for part in parts] == [(n, n + 1) for n in range(10)]
    write(tmp_path, "bad.parquet", content=b"PAR1 nothing")
    assert len(split(Source(str(tmp_path / "bad.parquet"), "bad", "parquet"), 1)) == 1


def test_a_page_of_the_web_is_no_input() -> None:
    with pytest.raises(ValueError, match=r"https://example.org/a.html: is not read from there; .* `datatools crawl`"):
        discover(["https://example.org/a.html"])
