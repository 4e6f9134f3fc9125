"""Band keys in a file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.dedupe.near import Near, band_table, near_duplicates, parquet_batches
from datatools.dedupe.signed import write_bands

TEXTS = [
    "桂枝汤方：桂枝三两，芍药三两，甘草二两",
    None,
    "麻黄汤方：麻黄三两，桂枝二两",
    "",
    "桂枝汤方：桂枝三两，芍药三两，甘草 二两",
]


@pytest.mark.parametrize("workers", [1, 3])
def test_keys_in_a_file_are_those_of_the_texts(workers: int, tmp_path: Path) -> None:
    column = pa.array(TEXTS * 9, pa.string())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    bands, count = write_bands(
        parquet_batches([tmp_path / "a.parquet"], rows=4), tmp_path / "bands", Near(), workers=workers
    )
    assert count == 45
    names = ["band_3", "band_17"]
    found = list(bands(names))
    assert [start for start, _ in found] == list(range(0, 45, 4))
    assert pa.concat_tables(table for _, table in found).equals(band_table(column, Near()).select(names))


def test_duplicates_are_found_from_parquet_to_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array(TEXTS, pa.string())}), tmp_path / "a.parquet")
    texts = parquet_batches([tmp_path / "a.parquet"])
    bands, count = write_bands(texts, tmp_path / "bands", Near())
    drops = near_duplicates(bands, texts, count, tmp_path / "work", Near())
    assert (drops.numbers.tolist(), drops.twins.tolist()) == ([4], [0])
