"""Archives: every member is read as the file it is, and a bad one stops nothing."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile

import pytest

from datatools.io import archive as archives
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from datatools.io.squeezed import SUSPECT
from schemas.document import Document


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def items(data: bytes, format: str = "zip", compression: str = "") -> list[object]:
    return list(read(Source("a", f"a.{format}", format, compression, data=data), ReadOptions()))


def summary(found: list[object]) -> list[tuple[str, str]]:
    return [(item.source, item.text if isinstance(item, Document) else item.rule) for item in found]  # type: ignore[attr-defined]


def test_members_are_read_in_order_of_name() -> None:
    data = zip_of({"b.txt": b"second", "a/x.md": b"# T\n\nfirst", "a/": b""})
    assert summary(items(data)) == [("a.zip!a/x.md", "first"), ("a.zip!b.txt", "second")]


@pytest.mark.parametrize("mode", ["w", "w:bz2", "w:xz"])
def test_tars_are_read_in_their_own_order(mode: str) -> None:
    data = tar_of({"b.txt": b"first", "a.txt": b"second"}, mode)
    assert summary(items(data, "tar")) == [("a.tar!b.txt", "first"), ("a.tar!a.txt", "second")]
    assert summary(items(gzip.compress(data), "tar", "gz")) == [("a.tar!b.txt", "first"), ("a.tar!a.txt", "second")]


def test_names_in_gbk_without_the_flag() -> None:
    data = zip_of({"XXXXXXXX.txt": "治感冒。".encode()})
    data = data.replace(b"XXXXXXXX", "本草纲目".encode("gbk"))
    assert summary(items(data)) == [("a.zip!本草纲目.txt", "治感冒。")]


def test_names_that_reach_outside_are_only_names() -> None:
    found = items(zip_of({"/etc/passwd.txt": b"one", "../../up.txt": b"two", "C:\\x.txt": b"three"}))
    assert [name for name, _ in summary(found)] == ["a.zip!etc/passwd.txt", "a.zip!up.txt", "a.zip!x.txt"]


def test_a_broken_member_is_a_fault_and_the_rest_goes_on() -> None:
    data = bytearray(zip_of({"a.txt": b"first text " * 50, "b.txt": b"second", "c.pdf": b"%PDF nothing"}))
    data[37:43] = bytes(6)
    found = items(bytes(data))
    assert summary(found) == [("a.zip!a.txt", "unreadable"), ("a.zip!b.txt", "second"), ("a.zip!c.pdf", "unreadable")]


def test_encrypted_empty_and_unknown_members() -> None:
    data = bytearray(zip_of({"a.txt": b"secret", "b.txt": b"", "c.png": b"\x89PNG" + bytes(range(256))}))
    central = data.index(b"PK\x01\x02")
    data[central + 8 : central + 10] = struct.pack("<H", 1)
    found = items(bytes(data))
    assert [name_rule[1] for name_rule in summary(found)] == ["unreadable", "empty_file", "unknown_type"]
    assert isinstance(found[0], Fault) and "encrypted" in found[0].message


def test_archives_in_archives_one_level_deep() -> None:
    innermost = zip_of({"z.txt": b"too deep"})
    inner = tar_of({"y.txt": b"inside", "deep.zip": innermost})
    assert summary(items(zip_of({"inner.tar": inner}))) == [
        ("a.zip!inner.tar!y.txt", "inside"),
        ("a.zip!inner.tar!deep.zip", "unreadable"),
    ]


def test_zip_bombs_and_giants_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = bytes(SUSPECT + 1)
    (fault,) = items(zip_of({"bomb.txt": bomb}))
    assert isinstance(fault, Fault) and "bomb" in fault.message
    (fault,) = items(zip_of({"bomb.txt.gz": gzip.compress(bomb)}))
    assert isinstance(fault, Fault) and "bomb" in fault.message
    monkeypatch.setattr(archives, "LARGEST", 10)
    assert [rule for _, rule in summary(items(tar_of({"a.txt": b"x" * 11, "b.txt": b"fits"}), "tar"))] == [
        "unreadable",
        "fits",
    ]


def test_what_a_cut_archive_still_holds_is_read() -> None:
    data = tar_of({"a.txt": b"whole", "b.txt": b"x" * 5000})
    found = items(data[:3000], "tar")
    assert summary(found)[0] == ("a.tar!a.txt", "whole")
    assert isinstance(found[-1], Fault)
    broken = bytearray(tar_of({"a.txt": b"whole", "b.txt": b"lost"}))
    broken[1024:1100] = b"?" * 76
    assert [type(item) for item in items(bytes(broken), "tar")] == [Document, Fault]


def test_members_of_every_compression() -> None:
    found = items(zip_of({"a.txt.gz": gzip.compress(b"packed"), "__MACOSX/._a.txt": b"junk", ".DS_Store": b"junk"}))
    assert summary(found) == [("a.zip!a.txt.gz", "packed")]
