"""Arrow IPC files and streams, Feather among them, as `save_to_disk` of datasets writes them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from datatools.io import storage
from datatools.io.rows import Row, documents
from datatools.io.source import Read, ReadOptions, Source

FILE, FEATHER_1 = b"ARROW1", b"FEA1"


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of the record batches, one batch in memory at a time; offsets are row numbers, from 1.

    Raises pyarrow.ArrowInvalid or OSError where the file is broken.
    """
    yield from documents(_rows(source), source, options)


def _rows(source: Source) -> Iterator[Row]:
    number = 0
    for batch in _batches(source):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _batches(source: Source) -> Iterator[Any]:
    with source.open() as stream:
        magic = stream.read(len(FILE))
    if magic.startswith(FEATHER_1):
        from pyarrow import feather

        yield from feather.read_table(io.BytesIO(source.read())).to_batches()
    elif magic == FILE:
        if source.data is not None or source.compression:
            whole: Any = io.BytesIO(source.read())
        else:
            whole = source.open() if storage.is_address(source.path) else pa.memory_map(source.path)
        with pa.ipc.open_file(whole) as file:
            yield from (file.get_batch(k) for k in range(file.num_record_batches))
    else:
        with source.open() as stream, pa.ipc.open_stream(stream) as batches:
            yield from batches
