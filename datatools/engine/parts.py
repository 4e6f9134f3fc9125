"""The finished parts of many units, read as one table in input order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.engine.work import Work

BATCH_ROWS = 4096


class Parts:
    """One stream of the units `keys`; rows are numbered from 0 over all of them."""

    def __init__(self, work: Work, keys: Sequence[str], stream: str) -> None:
        self._paths = [work.part(key, stream) for key in keys]
        sizes = [pq.read_metadata(path).num_rows for path in self._paths]
        self.starts: list[int] = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    def __len__(self) -> int:
        return self.starts[-1]

    def batches(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Tables of at most a few thousand rows with the number of their first row."""
        for start, path in zip(self.starts, self._paths, strict=False):
            number = start
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield number, pa.Table.from_batches([batch])
                    number += batch.num_rows

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every row with its number."""
        for start, table in self.batches():
            yield from enumerate(table.to_pylist(), start)

    def keys(self, column: str) -> npt.NDArray[np.void]:
        """A column of 16-byte keys, whole."""
        parts = [_fixed(table[column]) for _, table in self.batches([column])]
        return np.concatenate(parts) if parts else np.zeros(0, "V16")

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """A column of integers, whole."""
        parts = [table[column].to_numpy() for _, table in self.batches([column])]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def lookup(self, columns: list[str], wanted: npt.NDArray[np.bool_]) -> dict[int, dict[str, Any]]:
        """The rows where `wanted` is true, by number, with only `columns`."""
        found: dict[int, dict[str, Any]] = {}
        if not wanted.any():
            return found
        for start, table in self.batches(columns):
            mask = wanted[start : start + table.num_rows]
            if mask.any():
                places = (np.flatnonzero(mask) + start).tolist()
                found.update(zip(places, table.filter(pa.array(mask)).to_pylist(), strict=True))
        return found


def _fixed(column: pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Fixed-size binary as numpy, without a Python object a row."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], "V16", count=len(chunk), offset=16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, "V16")
