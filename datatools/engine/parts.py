"""The finished parts of many units, read as one table in input order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.engine.work import Work


class Parts:
    """One stream of the units `keys`; rows are numbered from 0 over all of them."""

    def __init__(self, work: Work, keys: Sequence[str], stream: str) -> None:
        self._paths = [work.part(key, stream) for key in keys]
        sizes = [_rows(path) for path in self._paths]
        self.starts: list[int] = [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    def __len__(self) -> int:
        return self.starts[-1]

    def batches(self, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Tables of a few thousand rows with the number of their first row."""
        for start, path in zip(self.starts, self._paths, strict=False):
            number = start
            for batch in _batches(path, columns):
                yield number, pa.Table.from_batches([batch])
                number += batch.num_rows

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every row with its number."""
        for start, table in self.batches():
            yield from enumerate(table.to_pylist(), start)

    def keys(self, column: str) -> npt.NDArray[np.void]:
        """A column of 16-byte keys, whole."""
        parts = [keys for _, keys in self.key_batches(column)]
        return np.concatenate(parts) if parts else np.zeros(0, "V16")

    def key_batches(self, column: str) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
        """The same in pieces, each with the number of its first row."""
        for start, table in self.batches([column]):
            yield start, _fixed(table[column])

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


def _batches(path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        if columns is not None:
            fields = [reader.schema.get_field_index(name) for name in columns]
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _rows(path: Path) -> int:
    with pa.memory_map(str(path)) as file:
        # The footer does not say; one column is enough to know, and only that one is unpacked.
        reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=[0]))
        return sum(reader.get_batch(index).num_rows for index in range(reader.num_record_batches))


def _fixed(column: pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Fixed-size binary as numpy, without a Python object a row."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], "V16", count=len(chunk), offset=16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, "V16")
