"""Near duplicates: who goes, who stays, and why."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe import kernels, near, partitions
from datatools.dedupe.near import Drops, Near, band_table, near_duplicates, parquet_batches, priorities
from datatools.dedupe.sets import Batches
from datatools.dedupe.shingles import distinct_hashes, shingle_set


def batches(table: pa.Table, rows: int = 7) -> Batches:
    def read(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        for start in range(0, table.num_rows, rows):
            yield start, table.select(columns).slice(start, rows)

    return read


def find(texts: Sequence[str | None], folder: Path, settings: Near | None = None, rows: int = 7, **more: Any) -> Drops:
    settings = settings or Near()
    column = pa.chunked_array([pa.array(texts, pa.string())])
    bands = band_table(column, settings)
    return near_duplicates(
        batches(bands, rows), batches(pa.table({"text": column}), rows), len(texts), folder, settings, **more
    )


def jaccard(one: str, two: str) -> float:
    left, right = shingle_set(one), shingle_set(two)
    return len(left & right) / len(left | right) if left | right else 0.0


def passage(seed: int, length: int = 400) -> str:
    draw = random.Random(seed)
    return "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(length))


def edited(text: str, changes: int, seed: int = 0) -> str:
    draw, letters = random.Random(seed), list(text)
    for place in draw.sample(range(len(letters)), changes):
        letters[place] = chr(draw.randrange(0x4E00, 0x9FA5))
    return "".join(letters)


def shifted(text: str, by: int, seed: int) -> str:
    """The text without its first `by` characters and with as many new ones at its end."""
    return text[by:] + passage(seed, by)


def test_a_copy_goes_and_names_its_twin(tmp_path: Path) -> None:
    texts = [passage(1), passage(2), edited(passage(1), 3), passage(3), passage(2)]
    drops = find(texts, tmp_path / "work")
    assert drops.numbers.tolist() == [2, 4]
    assert drops.twins.tolist() == [0, 1]
    assert drops.similarities.tolist() == [jaccard(texts[2], texts[0]), 1.0]
    assert not (tmp_path / "work").exists()


def test_planted_clusters_leave_one_each(tmp_path: Path) -> None:
    texts = [edited(passage(base), version % 4, version) for version in range(6) for base in range(30)]
    random.Random(4).shuffle(texts)
    drops = find(texts, tmp_path / "work")
    assert len(drops) == 150
    assert not set(drops.twins.tolist()) & set(drops.numbers.tolist())
    for number, twin, similarity in zip(drops.numbers, drops.twins, drops.similarities, strict=True):
        assert similarity == jaccard(texts[number], texts[twin]) >= 0.8


def test_no_chain_of_likenesses_drops_the_unlike(tmp_path: Path) -> None:
    first = passage(1)
    second = shifted(first, 35, 8)
    third = shifted(second, 35, 9)
    assert jaccard(first, second) > 0.8 > jaccard(first, third)
    assert jaccard(second, third) > 0.8
    drops = find([first, second, third], tmp_path / "work")
    assert drops.numbers.tolist() == [1]
    assert drops.twins.tolist() == [0]


def test_a_like_one_behind_a_worse_one_is_still_found(tmp_path: Path) -> None:
    # The middle one goes for the first; the fourth is like the third alone, which stays.
    first = passage(1)
    third = shifted(shifted(first, 35, 8), 35, 9)
    drops = find([first, shifted(first, 35, 8), third, edited(third, 2)], tmp_path / "work")
    assert drops.numbers.tolist() == [1, 3]
    assert drops.twins.tolist() == [0, 2]


def test_empty_texts_are_like_nothing(tmp_path: Path) -> None:
    assert len(find(["", None, " \n", "", "　"], tmp_path / "work")) == 0
    assert len(find([], tmp_path / "work")) == 0


def test_short_texts_are_compared_whole(tmp_path: Path) -> None:
    assert find(["桂枝汤", "麻黄汤", "桂枝 汤", "桂枝"], tmp_path / "work").numbers.tolist() == [2]


def test_leaflets_that_differ_in_a_dose_are_as_alike_as_their_shingles(tmp_path: Path) -> None:
    line = "成人一次{}，一日三次，饭后服。"
    short = [line.format("0.5 g"), line.format("1.0 g")]
    long = [passage(1, 200) + text for text in short]
    assert jaccard(*short) < 0.8 < 0.9 < jaccard(*long)
    drops = find([*short, *long], tmp_path / "work")
    assert drops.numbers.tolist() == [3]
    assert drops.similarities[0] == jaccard(*long)


def test_english_is_compared_by_words(tmp_path: Path) -> None:
    words = [f"word{number}" for number in range(200)]
    texts = [" ".join(words), " ".join(words).upper() + " today", " ".join(reversed(words))]
    assert find(texts, tmp_path / "work").numbers.tolist() == [1]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_the_threshold_is_exact(threshold: float, tmp_path: Path) -> None:
    texts = [edited(passage(base), changes, changes) for base in range(7) for changes in (0, 2, 6, 14, 25)]
    drops = find(texts, tmp_path / "work", Near(threshold=threshold))
    assert (drops.similarities >= threshold).all()
    found = dict(zip(drops.numbers.tolist(), drops.twins.tolist(), strict=True))
    for number, text in enumerate(texts):
        alike = [k for k in range(number) if k not in found and jaccard(texts[k], text) >= threshold]
        assert (number in found) == bool(alike)


def test_the_preferred_one_stays(tmp_path: Path) -> None:
    texts = [passage(1, 380), passage(1, 400), passage(1, 390)]
    longest = find(texts, tmp_path / "work", priorities=priorities("longest", lengths=[len(t) for t in texts]))
    assert (longest.numbers.tolist(), longest.twins.tolist()) == ([0, 2], [1, 1])
    newest = find(texts, tmp_path / "work", priorities=priorities("newest", dates=[2019, 2020, 2024]))
    assert (newest.numbers.tolist(), newest.twins.tolist()) == ([0, 1], [2, 2])
    types = ["web", "book", "book"]
    book = priorities("source-order", types=types, order=["book", "web"])
    assert find(texts, tmp_path / "work", priorities=book).twins.tolist() == [1, 1]


def test_priorities_fall_back_on_input_order() -> None:
    assert priorities("source-order") is None
    found = priorities("longest", lengths=[3, 5, 5], types=["web", "web", "x"], order=["book", "web"])
    assert found is not None
    assert found.tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="dates"):
        priorities("newest")


def test_only_those_asked_for_take_part(tmp_path: Path) -> None:
    texts = [passage(1)] * 4
    among = np.array([False, True, False, True])
    drops = find(texts, tmp_path / "work", among=among)
    assert (drops.numbers.tolist(), drops.twins.tolist()) == ([3], [1])


def test_workers_batches_and_partitions_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [edited(passage(base), version, version) for version in range(12) for base in range(25)]
    random.Random(4).shuffle(texts)

    def result(**more: Any) -> tuple[list[int], list[int], list[float]]:
        drops = find(texts, tmp_path / "work", **more)
        return drops.numbers.tolist(), drops.twins.tolist(), drops.similarities.tolist()

    plain = result()
    assert result(workers=3, rows=64) == plain
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 1 << 10)
    monkeypatch.setattr(near, "PARTITION_BYTES", 1 << 10)
    monkeypatch.setattr(near, "MOST_PARTITIONS", 8)
    monkeypatch.setattr(near, "SET_BYTES", 1 << 14)
    monkeypatch.setattr(near, "pair_partitions", lambda documents: 7)
    assert result(workers=2, rows=5) == plain


def test_a_hot_bucket_is_not_all_pairs(tmp_path: Path) -> None:
    drops = find(["全文相同，一字不差。"] * 3000, tmp_path / "work", rows=500)
    assert len(drops) == 2999
    assert set(drops.twins.tolist()) == {0}
    assert drops.candidates <= 2 * near.REACH * 3000


@pytest.mark.parametrize("scale", [1, 4])
def test_partitions_do_not_grow_with_the_corpus(scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 1 << 14)
    sizes: list[int] = []
    read = partitions.Scatter.read

    def counted(self: partitions.Scatter, number: int) -> Any:
        records = read(self, number)
        sizes.append(records.nbytes)
        return records

    monkeypatch.setattr(partitions.Scatter, "read", counted)
    find([passage(number, 30) for number in range(1000 * scale)], tmp_path / "work", rows=500)
    assert sum(sizes) >= 1000 * scale * 20 * 8
    assert max(sizes) < 2 * partitions.PARTITION_BYTES


@given(st.lists(st.text("的是桂枝汤", max_size=40), min_size=2, max_size=2))
@settings(max_examples=200, deadline=None)
def test_compiled_jaccard_is_that_of_python_sets(texts: list[str]) -> None:
    (piece,) = distinct_hashes(pa.array(texts))
    ends = piece.ends
    sizes = np.diff(ends, prepend=0)
    for least in (0.0, 0.3, 0.8, 1.0):
        found = kernels.jaccards(piece.hashes, ends - sizes, sizes, np.array([0]), np.array([1]), least)[0]
        exact = jaccard(*texts)
        empty = not any(shingle_set(text) for text in texts)
        assert found == (exact if exact >= least and not empty else -1)


def test_parquet_files_follow_one_another(tmp_path: Path) -> None:
    for name, values in (("a", ["一", "二", "三"]), ("b", ["四"])):
        pq.write_table(pa.table({"text": values}), tmp_path / f"{name}.parquet")
    read = parquet_batches([tmp_path / "a.parquet", tmp_path / "b.parquet"], rows=2)(["text"])
    assert [(start, table["text"].to_pylist()) for start, table in read] == [
        (0, ["一", "二"]),
        (2, ["三"]),
        (3, ["四"]),
    ]
