"""Columns of a record batch: appended, replaced, read as plain strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BLOCK_BYTES = 1 << 20  # of UTF-8: what is made of it stays in the processor's cache


def append_columns(batch: pa.RecordBatch, columns: Mapping[str, pa.Array | npt.NDArray[Any]]) -> pa.RecordBatch:
    """The batch with these columns after its own; a column it already has is replaced in its place.

    >>> append_columns(pa.record_batch({"a": [1, 2]}), {"b": pa.array([3, 4])}).schema.names
    ['a', 'b']
    """
    for name, values in columns.items():
        array = values if isinstance(values, pa.Array) else pa.array(values)
        place = batch.schema.get_field_index(name)
        if place < 0:
            batch = batch.append_column(name, array)
        else:
            batch = batch.set_column(place, batch.schema.field(place).with_type(array.type), array)
    return batch


def text_column(batch: pa.RecordBatch, name: str = "text") -> pa.Array:
    """A column of strings without nulls: a null is read as empty text. Raises ValueError when there is none."""
    place = batch.schema.get_field_index(name)
    if place < 0:
        raise ValueError(f"no column {name!r}; the batch has {', '.join(batch.schema.names) or 'none'}")
    column = batch.column(place)
    if column.type not in (pa.string(), pa.large_string()):
        column = column.cast(pa.large_string())
    return column.fill_null("") if column.null_count else column


def buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """UTF-8 of a column of strings without nulls, and where each begins in it: one offset more than strings."""
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    _, places, content = texts.buffers()
    if places is None or not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(places, width)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    return data, offsets


def text_blocks(texts: pa.Array) -> Iterator[tuple[int, pa.Array]]:
    """Neighbouring strings of about BLOCK_BYTES, each block with the number of its first."""
    _, offsets = buffers(texts)
    start = 0
    while start < len(texts):
        stop = int(np.searchsorted(offsets, offsets[start] + BLOCK_BYTES, "right")) - 1
        stop = min(max(start + 1, stop), len(texts))
        yield start, texts[start:stop]
        start = stop


def code_points(texts: pa.Array) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Characters of strings without nulls end to end, and where each string ends among them."""
    from datatools.clean import text_kernels as kernels

    data, offsets = buffers(texts)
    codes, ends = np.empty(offsets[-1] - offsets[0], np.uint32), np.empty(len(texts), np.int64)
    return codes[: kernels.decoded(data, offsets, codes, ends)], ends


def replaced(column: pa.Array, values: Mapping[int, str]) -> pa.Array:
    """The column with other strings in these rows.

    >>> replaced(pa.array(["a", "b", "c"]), {1: "B"}).to_pylist()
    ['a', 'B', 'c']
    """
    if not values:
        return column
    mask = np.zeros(len(column), bool)
    mask[list(values)] = True
    return pc.replace_with_mask(column, pa.array(mask), pa.array([values[row] for row in sorted(values)], column.type))
