"""The operators on data that somebody already holds: Ray Data and Hugging Face datasets."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from datatools import hf
from datatools import ray as adapter
from datatools.clean.pii import Redact
from datatools.clean.quality import Quality
from tests.cluster import three_nodes

TEXTS = ["患者王小明，电话13800138000，咳嗽三日。", "Take two tablets daily.", "", "麻黄汤方主之。\n服药后汗出。"]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages.parquet"
    pq.write_table(pa.table({"number": range(40), "text": TEXTS * 10}), path)
    return path


def expected() -> pa.RecordBatch:
    return Quality()(Redact()(pa.record_batch({"text": TEXTS * 10})))


def test_datasets_map_gives_what_the_operators_give(pages: Path, tmp_path: Path) -> None:
    data = load_dataset("parquet", data_files=str(pages), split="train", cache_dir=str(tmp_path / "cache"))
    done = data.map(hf.operator("redact"), batched=True, batch_size=7).map(hf.operator("quality"), batched=True)
    assert done["text"][:] == expected()["text"].to_pylist()
    assert done["number"][:] == list(range(40))
    assert done["characters"][:] == expected()["characters"].to_pylist()
    assert {"key": "PHONE", "value": 1} in done[0]["pii"]


@pytest.mark.slow
def test_ray_data_gives_what_the_operators_give(pages: Path, tmp_path: Path) -> None:
    with three_nodes():
        import ray

        data = ray.data.read_parquet(str(pages))
        data = data.map_batches(adapter.operator("redact"), batch_format="pyarrow", batch_size=7)
        rows = data.map_batches(adapter.operator("quality"), batch_format="pyarrow").take_all()
    rows.sort(key=lambda row: row["number"])
    assert [row["text"] for row in rows] == expected()["text"].to_pylist()
    assert [row["characters"] for row in rows] == expected()["characters"].to_pylist()


def test_an_empty_table_gets_the_columns() -> None:
    made = adapter.operator("quality")(pa.table({"text": pa.array([], pa.string())}))
    assert "characters" in made.column_names
    assert made.num_rows == 0


@pytest.mark.parametrize("module", [adapter, hf])
def test_what_there_is_not_is_told_at_once(module: object) -> None:
    with pytest.raises(ValueError, match="'clean': there are normalise, quality, redact, simplify"):
        module.operator("clean")  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"'redact': .* unexpected"):
        module.operator("redact", strong=True)  # type: ignore[attr-defined]
