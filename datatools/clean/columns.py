"""Columns of a record batch: appended, replaced, read as plain strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import pyarrow as pa


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
