"""Object storage against a real server on loopback: whole objects, ranges, pages of a listing, failing requests."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.io import storage
from datatools.io.atomic import atomic_path
from datatools.io.files import discover, split
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from tests import gcs, s3
from tests.s3 import Storage


@pytest.fixture(scope="module", params=["s3", "gs"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(scheme: str) -> Iterator[tuple[Storage, Mapping[str, str]]]:
    with {"s3": s3, "gs": gcs}[scheme].storage_server() as found:
        yield found


@pytest.fixture
def bucket(server: tuple[Storage, Mapping[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    found, environment = server
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found.clear()
    yield found
    storage._client.cache_clear()


def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are not tried again, neither by the clients that are made from now on."""
    monkeypatch.setattr(storage, "TRIES", 1)
    monkeypatch.setattr(storage, "PATIENCE", 1)
    storage._client.cache_clear()


def names(found: list[Source]) -> list[str]:
    return [source.name for source in found]


@pytest.mark.parametrize("size", [0, 1, 100_000, 12 << 20], ids=["empty", "one byte", "one request", "in parts"])
def test_what_is_put_is_what_is_got(bucket: Storage, scheme: str, tmp_path: Path, size: int) -> None:
    file = tmp_path / "a"
    file.write_bytes(content := os.urandom(size))
    storage.put(file, f"{scheme}://bucket/x/a")
    assert bucket.objects["bucket/x/a"][0] == content
    with storage.opened(f"{scheme}://bucket/x/a") as stream:
        assert stream.read() == content
    assert not bucket.uploads


def test_a_file_of_a_mirroring_folder_is_uploaded_whole_and_fetched_where_it_is_not(
    bucket: Storage, scheme: str
) -> None:
    path = storage.placed(Path(f"{scheme}://bucket/out/x.parquet"))
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not bucket.names()
    assert bucket.objects["bucket/out/x.parquet"][0] == b"whole"
    path.unlink()
    assert storage.here(path).read_bytes() == b"whole"
    with storage.scratch():  # as on another machine
        assert storage.here(path) != path
        assert storage.here(path).read_bytes() == b"whole"
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert bucket.objects["bucket/out/x.parquet"][0] == b"whole"


def test_listings_of_more_than_a_page_are_whole_and_skip_what_a_folder_skips(bucket: Storage, scheme: str) -> None:
    for number in range(250):
        bucket.store(f"bucket/in/{number}/a.txt", b"abc")
    for name in (".hidden.txt", "x.work/parts/a.txt", ".git/a.txt", "empty.txt"):
        bucket.store(f"bucket/in/{name}", b"" if name == "empty.txt" else b"abc")
    sources, faults = discover([f"{scheme}://bucket/in/"])
    assert names(sources) == [f"{number}/a.txt" for number in sorted(range(250), key=str)]
    assert [fault.rule for fault in faults] == ["empty_file"]
    assert bucket.asked["GET"] == bucket.asked["HEAD"] - 1 == 0  # the first asks whether the prefix is an object


def test_inputs_are_named_as_in_a_folder(bucket: Storage, scheme: str, tmp_path: Path) -> None:
    for name in ("b/1.txt", "b/2", "a.txt", "b-c.txt"):
        bucket.store(f"bucket/in/{name}", b"some text\n")
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"some text\n")
    for local, remote in [
        ([tmp_path / "in"], [f"{scheme}://bucket/in"]),
        ([tmp_path / "in" / "a.txt"], [f"{scheme}://bucket/in/a.txt"]),
        ([tmp_path / "in", tmp_path / "in" / "b"], [f"{scheme}://bucket/in/", f"{scheme}://bucket/in/b"]),
    ]:
        found = discover(remote)[0]
        assert names(found) == names(discover([str(path) for path in local])[0])
        assert all(source.path.startswith(f"{scheme}://bucket/in/") for source in found)


def test_nothing_there_is_said(bucket: Storage, scheme: str) -> None:
    with pytest.raises(ValueError, match=f"{scheme}://bucket/none: no such object"):
        discover([f"{scheme}://bucket/none"])


FORMATS: Mapping[str, bytes] = {
    "a.txt": "第一章 感冒\n感冒了怎么办？多喝水。\n".encode("gb18030"),
    "b.jsonl": b"".join(b'{"text": "line %d of a file"}\n' % n for n in range(300)),
    "c.jsonl.gz": gzip.compress(b'{"text": "a line that is packed"}\n'),
    "d.csv": "question,answer\n感冒了怎么办？,多喝水\n".encode(),
    "e.html": b"<html><body><h1>Colds</h1><p>Drink much water when you have a cold.</p></body></html>",
    "f.xml": b"<docs><doc><title>A</title><text>Drink much water.</text></doc></docs>",
    "g": "没有扩展名的文件也是文本。".encode(),
}


def test_every_format_reads_as_from_a_folder(bucket: Storage, scheme: str, tmp_path: Path) -> None:
    for name, content in FORMATS.items():
        (tmp_path / name).write_bytes(content)
    table = pa.table({"text": [f"row {number} of many rows" for number in range(1000)]})
    pq.write_table(table, tmp_path / "h.parquet", row_group_size=100)
    with pa.OSFile(str(tmp_path / "i.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write(table)
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["question", "answer"], ["感冒了怎么办？", "多喝水"]):
        book.active.append(row)
    book.save(tmp_path / "j.xlsx")
    import zipfile

    with zipfile.ZipFile(tmp_path / "k.zip", "w") as archive:
        archive.writestr("in.txt", "text of a member of an archive")
    for path in tmp_path.iterdir():
        bucket.store(f"bucket/in/{path.name}", path.read_bytes())

    def everything(argument: str) -> list[str]:
        sources, faults = discover([argument])
        assert not faults
        parts = [part for source in sources for part in split(source, 2000)]
        return [repr(item) for part in parts for item in read(part, ReadOptions())]

    found = everything(f"{scheme}://bucket/in")
    assert found == everything(str(tmp_path))
    assert not any(isinstance(item, Fault) for item in found)
    assert len(found) > 2000


def test_a_range_of_a_large_object_is_read_without_the_rest(bucket: Storage, scheme: str) -> None:
    bucket.store("bucket/a", bytes(50 << 20))
    with storage.opened(f"{scheme}://bucket/a") as stream:
        stream.seek(40 << 20)
        assert len(stream.read(1000)) == 1000
    # Google's client also starts a download of all, and takes what has arrived when it is told to stop.
    assert bucket.asked["bytes read"] <= (storage.BUFFER if scheme == "s3" else 25 << 20)


def test_writes_that_fail_are_made_again(bucket: Storage, scheme: str, tmp_path: Path) -> None:
    bucket.failing = 0.2
    count = 40 if scheme == "s3" else 12  # Google's client waits about a second for its second try
    for number in range(count):
        (tmp_path / "a").write_bytes(b"%d" % number)
        storage.put(tmp_path / "a", f"{scheme}://bucket/many/{number}")
    assert bucket.failed
    assert {bucket.objects[f"bucket/many/{number}"][0] for number in range(count)} == {b"%d" % n for n in range(count)}


def test_storage_that_is_away_is_no_broken_file(bucket: Storage, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.store("bucket/in/a.txt", b"some text\n")
    (source,), _ = discover([f"{scheme}://bucket/in"])
    once(monkeypatch)
    for name in ("AWS_ENDPOINT_URL", "CLOUD_STORAGE_EMULATOR_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(storage.Unreachable, match=f"{scheme}://bucket/in/a"):
        list(read(source, ReadOptions()))


def test_an_object_that_is_gone_is_an_unreadable_file(bucket: Storage, scheme: str) -> None:
    bucket.store("bucket/in/a.txt", b"some text\n")
    (source,), _ = discover([f"{scheme}://bucket/in"])
    bucket.forget("bucket/in/a.txt")
    (fault,) = read(source, ReadOptions())
    assert isinstance(fault, Fault)
    assert fault.rule == "unreadable"


def test_an_upload_that_never_succeeds_leaves_nothing(
    bucket: Storage, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch)
    bucket.failing = 1.0
    path = storage.placed(Path(f"{scheme}://bucket/out/never.parquet"))
    with (
        pytest.raises(storage.Unreachable, match=f"{scheme}://bucket/out/never"),
        storage.together(),
        atomic_path(path) as file,
    ):
        file.write_bytes(b"whole")
    assert not path.exists()


def test_other_addresses_are_read_through_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/in/a.txt": b"some text", "/in/b/c.txt": b"more text"})
    sources, _ = discover(["memory://in"])
    assert names(sources) == ["a.txt", "b/c.txt"]
    assert [document.text for source in sources for document in read(source, ReadOptions())] == [
        "some text",
        "more text",
    ]
    with pytest.raises(ValueError, match="nosuch"):
        discover(["nosuch://bucket/a"])


def test_the_folder_of_a_killed_process_is_deleted_by_the_next(tmp_path: Path) -> None:
    code = "from datatools.io import storage; import os; print(storage.root(), flush=True); input(); os._exit(1)"
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    line = [sys.executable, "-c", code]
    first = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=place)
    assert first.stdout is not None
    folder = Path(first.stdout.readline().strip())
    subprocess.run(line, input="\n", env=place, text=True, check=False, capture_output=True)
    assert folder.exists()  # it lives
    first.communicate("\n")
    assert folder.exists()
    subprocess.run(line, input="\n", env=place, text=True, check=False, capture_output=True)
    assert not folder.exists()
