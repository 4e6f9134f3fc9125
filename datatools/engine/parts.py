"""The finished parts of many units, read as one table in input order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.engine.work import Work
from datatools.io import storage

BLOCK = 1 << 16  # rows that are worth a pass in compiled code


class Parts:
    """One stream of the units `keys`; rows are numbered from 0 over all of them."""

    def __init__(self, work: Work, keys: Sequence[str], stream: str) -> None:
        self.keys_of = list(keys)
        self._paths = storage.all_here(work.part(key, stream) for key in keys)
        self._schema = _schema(self._paths[0]) if keys else pa.schema([])
        self._sizes = [_sizes(path, self._schema) for path in self._paths]
        self.starts: list[int] = [0, *np.cumsum([sum(sizes) for sizes in self._sizes], dtype=np.int64).tolist()]

    def __len__(self) -> int:
        return self.starts[-1]

    def batches(
        self, columns: list[str] | None = None, wanted: npt.NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Tables of a few thousand rows with the number of their first row.

        Where only some rows are `wanted`, tables without any of them are left out, unread.
        """
        fields = None if columns is None else [self._schema.get_field_index(name) for name in columns]
        for first, path, sizes in zip(self.starts, self._paths, self._sizes, strict=False):
            starts = first + np.cumsum([0, *sizes])
            chosen = [
                place
                for place, (start, end) in enumerate(pairwise(starts.tolist()))
                if wanted is None or wanted[start:end].any()
            ]
            for place, batch in zip(chosen, _batches(path, fields, chosen), strict=True):
                yield int(starts[place]), pa.Table.from_batches([batch])

    def blocks(self, columns: list[str], rows: int = BLOCK) -> Iterator[tuple[int, pa.Table]]:
        """The same in tables of at least so many rows (the last may have fewer): for columns of a fixed size."""
        waiting: list[pa.Table] = []
        first = count = 0
        for start, table in self.batches(columns):
            waiting.append(table)
            count += table.num_rows
            if count >= rows:
                yield first, pa.concat_tables(waiting)
                waiting, first, count = [], start + table.num_rows, 0
        if waiting:
            yield first, pa.concat_tables(waiting)

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
        for start, table in self.blocks([column]):
            yield start, fixed(table[column])

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """A column of integers, whole."""
        parts = [table[column].to_numpy() for _, table in self.blocks([column])]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def chosen(
        self, columns: list[str], wanted: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        """The rows where `wanted` is true, in order, some thousand at a time: their numbers, and only `columns`."""
        for start, table in self.batches(columns, wanted):
            mask = wanted[start : start + table.num_rows]
            yield np.flatnonzero(mask) + start, table.filter(pa.array(mask))

    def lookup(self, columns: list[str], wanted: npt.NDArray[np.bool_]) -> dict[int, dict[str, Any]]:
        """The rows where `wanted` is true, by number, with only `columns`: for few rows, all are held."""
        found: dict[int, dict[str, Any]] = {}
        for numbers, table in self.chosen(columns, wanted):
            found.update(zip(numbers.tolist(), table.to_pylist(), strict=True))
        return found


def _batches(path: Path, fields: list[int] | None, chosen: Sequence[int]) -> Iterator[pa.RecordBatch]:
    if not chosen:
        return
    with pa.memory_map(str(path)) as file:
        reader = _reader(file, fields)
        for index in chosen:
            yield reader.get_batch(index)


def _schema(path: Path) -> pa.Schema:
    with pa.memory_map(str(path)) as file:
        return _reader(file, None).schema


def _sizes(path: Path, schema: pa.Schema) -> list[int]:
    """Rows of every batch."""
    # The footer does not say; one column is enough to know, and only that one is unpacked: the narrowest.
    narrowest = min(range(len(schema)), key=lambda number: _width(schema.field(number).type))
    with pa.memory_map(str(path)) as file:
        reader = _reader(file, [narrowest])
        return [reader.get_batch(index).num_rows for index in range(reader.num_record_batches)]


def _reader(file: pa.NativeFile, fields: list[int] | None) -> pa.RecordBatchFileReader:
    # Unpacking a batch is a matter of microseconds: handing its columns to threads takes longer.
    return pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.bit_width)
    except ValueError:  # strings and lists
        return 1 << 30


def fixed(column: pa.ChunkedArray) -> npt.NDArray[np.void]:
    """Fixed-size binary as numpy, without a Python object a row."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], "V16", count=len(chunk), offset=16 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, "V16")
