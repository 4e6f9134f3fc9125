"""A new corpus freed of what an earlier one has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.dedupe.against import exact_known, index_corpus, near_known
from datatools.dedupe.exact import text_key
from datatools.dedupe.near import Near, band_table
from tests.dedupe.test_near import batches, edited, passage

SETTINGS = Near()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "earlier.parquet"
    texts = [*(passage(number) for number in range(20)), None, passage(3)]
    pq.write_table(pa.table({"id": [f"e{k}" for k in range(22)], "text": texts}), path, row_group_size=5)
    return path


def test_copies_and_near_copies_of_the_earlier_corpus_go(corpus: Path, tmp_path: Path) -> None:
    new = [passage(100), passage(7), edited(passage(3), 3), edited(passage(100), 2), "", passage(101)]
    earlier = index_corpus(corpus, tmp_path / "index", SETTINGS, workers=2)
    keys = np.frombuffer(b"".join(text_key(text) for text in new), "V16")

    exact = exact_known(earlier, [keys[:2], keys[2:]], len(new), tmp_path / "exact")
    assert exact.numbers.tolist() == [1, 4]
    assert earlier.ids(exact.twins) == ["e7", "e20"]

    column = pa.chunked_array([pa.array(new)])
    known, own = near_known(
        earlier,
        batches(band_table(column, SETTINGS)),
        batches(pa.table({"text": column})),
        len(new),
        tmp_path / "near",
        SETTINGS,
        among=~np.isin(np.arange(len(new)), exact.numbers),
        priorities=np.array([9, 9, 9, 0, 9, 9]),
    )
    assert (known.numbers.tolist(), earlier.ids(known.twins)) == ([2], ["e3"])
    assert (own.numbers.tolist(), own.twins.tolist()) == ([0], [3])
    assert 0.8 <= known.similarities[0] < 1


def test_the_index_is_made_once_and_taken_up_where_it_stopped(corpus: Path, tmp_path: Path) -> None:
    first = index_corpus(corpus, tmp_path / "index", SETTINGS)
    assert (first.rows, len(first.parts)) == (22, 5)
    before = [part.read_bytes() for part in first.parts]
    times = [part.stat().st_mtime_ns for part in first.parts]
    first.parts[2].unlink()
    again = index_corpus(corpus, tmp_path / "index", SETTINGS)
    assert [part.read_bytes() for part in again.parts] == before
    assert [part.stat().st_mtime_ns == time for part, time in zip(again.parts, times, strict=True)].count(False) == 1


def test_other_settings_make_another_index(corpus: Path, tmp_path: Path) -> None:
    one = index_corpus(corpus, tmp_path / "index", SETTINGS)
    two = index_corpus(corpus, tmp_path / "index", Near(threshold=0.9))
    assert not set(one.parts) & set(two.parts)


def test_a_file_that_cannot_be_compared_with_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"body": ["一"]}), path)
    with pytest.raises(ValueError, match=r"other\.parquet: needs a column `text`"):
        index_corpus(path, tmp_path / "index", SETTINGS)
    path.write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"other\.parquet: not a readable"):
        index_corpus(path, tmp_path / "index", SETTINGS)


def test_an_empty_earlier_corpus_knows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}), path)
    earlier = index_corpus(path, tmp_path / "index", SETTINGS)
    assert len(exact_known(earlier, [np.frombuffer(text_key("一"), "V16")], 1, tmp_path / "exact")) == 0
