"""Atomic files: whole, or not there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.io import atomic
from datatools.io.atomic import RowGroupWriter, atomic_path, parquet_writer, part_writer, remove_leftovers

SCHEMA = pa.schema([pa.field("id", pa.string()), pa.field("task", pa.string()), pa.field("tokens", pa.int64())])


def table(start: int, stop: int) -> pa.Table:
    rows = [{"id": f"咳嗽{n}", "task": "unify", "tokens": n if n % 3 else None} for n in range(start, stop)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("旧的一行，比新的长得多\n")
    with atomic_path(path) as temporary:
        temporary.write_text("新\n")
        assert path.read_text().startswith("旧")
    assert path.read_text() == "新\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("旧\n")
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_text("半")
        raise KeyError
    assert path.read_text() == "旧\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writer", [parquet_writer, part_writer])
def test_an_exception_leaves_no_parquet_and_no_part(writer: type, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "out", SCHEMA) as rows:
        rows.write(table(0, 9000))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), parquet_writer(tmp_path / "out.parquet", SCHEMA):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_part_comes_back_as_it_was_written(tmp_path: Path) -> None:
    with part_writer(tmp_path / "a.arrow", SCHEMA) as rows:
        rows.write(table(0, 3))
        rows.write(table(3, 10))
    with pa.ipc.open_file(tmp_path / "a.arrow") as reader:
        assert reader.read_all() == table(0, 10)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 100), max_size=8).map(sorted))
def test_the_same_rows_in_any_cutting_give_the_same_bytes(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cutting")
    for name, places in (("whole", [0, 100]), ("cut", [0, *cuts, 100])):
        writer = RowGroupWriter(folder / name, SCHEMA, rows=16)
        for start, stop in pairwise(places):
            writer.write(table(start, stop))
        writer.close()
        assert writer.written == 100
    assert (folder / "cut").read_bytes() == (folder / "whole").read_bytes()
    found = pq.ParquetFile(folder / "cut")
    assert [found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)] == [16] * 6 + [4]
    assert found.read() == table(0, 100)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 40), max_size=6).map(sorted))
def test_row_groups_of_long_texts_are_full_sooner(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("long")
    given_texts = pa.table({"text": ["热" * (n % 5 * 1000) if n % 7 else None for n in range(40)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "GROUP_BYTES", 20_000)
        for name, places in (("whole", [0, 40]), ("cut", [0, *cuts, 40])):
            writer = RowGroupWriter(folder / name, given_texts.schema, rows=16)
            for start, stop in pairwise(places):
                writer.write(given_texts.slice(start, stop - start))
            writer.close()
    assert (folder / "cut").read_bytes() == (folder / "whole").read_bytes()
    found = pq.ParquetFile(folder / "cut")
    assert found.read() == given_texts
    groups = [found.read_row_group(n)["text"].to_pylist() for n in range(found.num_row_groups)]
    sizes = [[len((text or "").encode()) for text in group] for group in groups]
    assert all(sum(group[:-1]) < 20_000 <= sum(group) for group in sizes[:-1])
    assert sum(sizes[-1]) < 20_000 + 12_000


def test_columns_are_written_in_the_order_of_the_schema(tmp_path: Path) -> None:
    with parquet_writer(tmp_path / "a.parquet", SCHEMA) as writer:
        writer.write(table(0, 3).select(["tokens", "id", "task"]).append_column("key", pa.array([1, 2, 3])))
    assert pq.read_table(tmp_path / "a.parquet") == table(0, 3)


def test_a_file_without_rows_is_a_file(tmp_path: Path) -> None:
    with parquet_writer(tmp_path / "a.parquet", SCHEMA):
        pass
    assert pq.read_table(tmp_path / "a.parquet") == SCHEMA.empty_table()


def test_leftovers_of_a_killed_run_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in (".sft.parquet.77.tmp", ".sft.parquet", "notes.tmp", ".other.parquet.78.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "sft.parquet")
    assert names(tmp_path) == [".other.parquet.78.tmp", ".sft.parquet", "notes.tmp"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".sft.parquet", "notes.tmp"]


def test_a_folder_that_cannot_be_written_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("不是文件夹")
    for path in (tmp_path / "file" / "out.parquet", Path("/proc/out.parquet"), tmp_path / "absent" / "out.parquet"):
        with pytest.raises(OSError), parquet_writer(path, SCHEMA) as writer:
            writer.write(table(0, 1))
    assert (tmp_path / "file").read_text() == "不是文件夹"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "datatools-test", folder], capture_output=True, text=True
        )
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("writer", [parquet_writer, part_writer])
def test_a_full_disk_leaves_no_half_file(writer: type, full_disk: Path) -> None:
    noise = pa.table({"noise": pa.array([os.urandom(1 << 16) for _ in range(64)], pa.binary())})
    with pytest.raises(OSError, match="space"), writer(full_disk / "out", noise.schema) as rows:
        rows.write(noise)
    assert list(full_disk.iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_old_file(full_disk: Path) -> None:
    path = full_disk / "out.jsonl"
    path.write_text("旧\n")
    with pytest.raises(OSError, match="space"), atomic_path(path) as temporary, temporary.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
    assert path.read_text() == "旧\n"
    assert list(full_disk.iterdir()) == [path]
