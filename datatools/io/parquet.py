"""Parquet files, whole or by row groups."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datatools.io.columns import SAMPLE
from datatools.io.rows import Row, documents
from datatools.io.source import Fault, Read, ReadOptions, Source
from schemas.document import DOCUMENT, Document
from schemas.fields import check, name_of

BATCH = 1024  # rows


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of the source's row groups (counted from 0); offsets are row numbers of the file, from 1.

    A row group that cannot be read is one Fault `name:row group k`, and the rest goes on. Document records, as this
    project writes them, come back as they were, with the source, offset and id they had.
    Raises pyarrow.ArrowInvalid when the footer is broken.
    """
    with pq.ParquetFile(_bytes_of(source)) as file:
        every = range(file.num_row_groups)
        groups = every[source.start : None if source.stop < 0 else source.stop]
        if name_of(file.schema_arrow) == name_of(DOCUMENT):
            check(file.schema_arrow, DOCUMENT, source.name)
            for row in _rows(file, groups, source):
                if isinstance(row, Fault):
                    yield row
                elif (document := Document.from_record(row[1])).text:
                    yield document
                else:
                    yield Fault(f"{source.name}:{row[0]}", "text is empty", rule="empty_row")
            return
        first = [row[1] for row in islice(_rows(file, every, source), SAMPLE) if not isinstance(row, Fault)]
        rows = _rows(file, groups, source)
        yield from documents(rows, source, options, sample=first, noted=source.start == 0)


def _bytes_of(source: Source) -> Any:
    whole = source.data is not None or source.compression
    return io.BytesIO(source.read()) if whole else source.path


def _rows(file: pq.ParquetFile, groups: range, source: Source) -> Iterator[Row | Fault]:
    number = sum(file.metadata.row_group(k).num_rows for k in range(groups.start))
    for k in groups:
        end = number + file.metadata.row_group(k).num_rows
        try:
            for batch in file.iter_batches(BATCH, row_groups=[k]):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError) as error:
            yield Fault(f"{source.name}:row group {k}", str(error).splitlines()[0])
        number = end
