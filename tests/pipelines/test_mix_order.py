"""Which rows go into a mixture, and sorting them on disk, for anything that can be asked for."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipelines.mix_order as mix_order
from datatools.mix.parts import Part
from datatools.report.progress import Progress
from pipelines.mix import MixSettings, mix
from pipelines.mix_order import OWN, Sorter, copied_ids
from schemas.document import DOCUMENT

ids = st.sampled_from(["a", "b", "a#2", "b#2#1", "c", "", "é"])
parts = st.lists(
    st.tuples(st.lists(ids, max_size=12), st.sampled_from([0.5, 1, 1.5, 2, 3]), st.sampled_from([0.1, 1, 64])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=30)
@given(parts, st.integers(0, 3), st.booleans())
def test_every_row_comes_as_often_as_asked_under_an_id_of_its_own(
    asked: list[tuple[list[str], float, float]], seed: int, small: bool
):
    if not any(rows for rows, _, _ in asked):
        return
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(mix_order, "SORTED_BYTES", 200)
            patch.setattr(mix_order, "BLOCK", 3)
        chosen = []
        for number, (rows, epochs, priority) in enumerate(asked):
            path = Path(folder) / f"{number}.parquet"
            # Where a row came from is in its text, whatever its id.
            table = [{**dict.fromkeys(DOCUMENT.names), "id": id, "text": f"{number} {n}"} for n, id in enumerate(rows)]
            pq.write_table(pa.Table.from_pylist(table, schema=DOCUMENT), path)
            chosen.append(Part(str(path), epochs=epochs, priority=priority))
        out = Path(folder) / "m.parquet"
        try:
            summary = mix(MixSettings(tuple(chosen), seed=seed), out, Progress(quiet=True))
        except ValueError as error:
            # Half an epoch of a single row is no row.
            assert "no row fits" in str(error) and all(epochs < 1 for rows, epochs, _ in asked if rows)
            return
        mixed = pq.read_table(out).to_pylist()
        assert len({row["id"] for row in mixed}) == len(mixed) == summary.rows_written
        times = Counter(row["text"] for row in mixed)
        for number, (rows, epochs, _) in enumerate(asked):
            found = [times[f"{number} {n}"] for n in range(len(rows))]
            assert all(math.floor(epochs) <= count <= math.ceil(epochs) for count in found)
        trace = out.with_suffix(".trace.parquet")
        left_out = pq.read_metadata(trace).num_rows if trace.exists() else 0
        assert left_out == sum(len(rows) for rows, _, _ in asked) - len(times)


@given(st.lists(st.tuples(ids, st.integers(0, 3)), unique=True))
def test_copies_of_different_rows_never_share_an_id(pairs: list[tuple[str, int]]):
    names = pa.array([id for id, _ in pairs], pa.string())
    found = copied_ids(names, np.array([copy for _, copy in pairs], np.uint32)).to_pylist()
    assert len(set(found)) == len(pairs)


@given(st.lists(st.floats(1e-9, 1e9), max_size=60), st.lists(st.floats(1e-9, 1e9), max_size=5), st.integers(1, 500))
def test_rows_come_out_in_the_order_of_their_times(times: list[float], edges: list[float], size: int):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mix_order, "SORTED_BYTES", size)
        schema = pa.schema([("id", pa.string())])
        sorter = Sorter(Path(folder), np.unique(edges).astype(float), schema)
        with sorter:
            for number, time in enumerate(times):
                values = [f"{number}"], [time], [number], [0], [0]
                sorter.write(pa.Table.from_arrays([pa.array(v) for v in values], schema=sorter.schema))
        tables = list(sorter.sorted())
        found = [id for table in tables for id in table["id"].to_pylist()]
        assert found == [str(number) for number in sorted(range(len(times)), key=lambda n: (times[n], n))]
        assert not list(Path(folder).iterdir()) and OWN[0] in tables[0].column_names
