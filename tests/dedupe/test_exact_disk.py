"""Exact duplicates out of core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe import partitions
from datatools.dedupe.exact import first_occurrences as in_memory
from datatools.dedupe.exact_disk import duplicates, first_occurrences


def keys(words: list[int]) -> np.ndarray:
    digests = b"".join(xxhash.xxh3_128_digest(str(word).encode()) for word in words)
    return np.frombuffer(digests, "V16")


@given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 7))
@settings(deadline=None)
def test_same_as_in_memory(tmp_path_factory: pytest.TempPathFactory, words: list[int], step: int) -> None:
    folder = tmp_path_factory.mktemp("exact")
    every = keys(words)
    parts = [every[start : start + step] for start in range(0, len(every), step)]
    assert first_occurrences(parts, len(every), folder / "work").tolist() == in_memory(every).tolist()


def test_many_partitions_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 1 << 10)
    every = keys(np.random.default_rng(5).integers(0, 3000, 5000).tolist())
    assert first_occurrences([every], len(every), tmp_path / "work").tolist() == in_memory(every).tolist()
    assert len(list(duplicates([every], len(every), tmp_path / "work"))) == 128
    assert not (tmp_path / "work").exists()


def test_the_best_stands_for_the_others(tmp_path: Path) -> None:
    every = keys([1, 2, 1, 3, 1, 2])
    ranks = np.array([5, 0, 3, 0, 3, 0])
    found = first_occurrences([every], len(every), tmp_path / "work", ranks=ranks)
    assert found.tolist() == [2, 1, 2, 3, 2, 1]


def test_what_a_killed_run_left_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "work" / "keys").mkdir(parents=True)
    (tmp_path / "work" / "keys" / "0000").write_bytes(b"half a record")
    every = keys([1, 1, 2])
    assert first_occurrences([every], 3, tmp_path / "work").tolist() == [0, 0, 2]


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    assert first_occurrences([], 0, tmp_path / "work").tolist() == []


@pytest.mark.parametrize("scale", [1, 4])
def test_a_partition_does_not_grow_with_the_corpus(scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 1 << 14)
    sizes: list[int] = []
    read = partitions.Scatter.read

    def counted(self: partitions.Scatter, number: int) -> np.ndarray:
        records = read(self, number)
        sizes.append(records.nbytes)
        return records

    monkeypatch.setattr(partitions.Scatter, "read", counted)
    every = keys(list(range(5000 * scale)))
    list(duplicates([every], len(every), tmp_path / "work"))
    assert sum(sizes) == 24 * len(every)
    assert max(sizes) < 2 * partitions.PARTITION_BYTES
