"""Parquet files, whole or by row groups."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datatools.io import storage
from datatools.io.columns import SAMPLE, Roles, find_roles
from datatools.io.rows import Row, documents
from datatools.io.source import Fault, Note, Read, ReadOptions, Source
from schemas.document import DOCUMENT, Document, document_id
from schemas.fields import check, name_of

Convert: TypeAlias = Callable[[pa.RecordBatch, int, Source, ReadOptions], Iterator[Read | pa.RecordBatch]]

_UNDECODABLE = re.compile(b"\xef\xbf\xbd")  # U+FFFD
BATCH = 1024  # rows
# Rows of a record batch hold about so many bytes; between the two numbers of rows, whatever they hold.
BATCH_BYTES, FEWEST, MOST = 4 << 20, 16, 8192


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
        rows = _rows(file, groups, source)
        yield from documents(rows, source, options, sample=_first_rows(file, source), noted=source.start == 0)


def read_batches(source: Source, options: ReadOptions) -> Iterator[Read | pa.RecordBatch]:
    """As `read`, with record batches of Documents in place of Documents where every row is a text with its labels.

    A batch holds the columns of DOCUMENT, in that order and without nulls, and no empty text.
    """
    with pq.ParquetFile(_bytes_of(source)) as file:
        groups = range(file.num_row_groups)[source.start : None if source.stop < 0 else source.stop]
        convert = (
            record_batch if name_of(file.schema_arrow) == name_of(DOCUMENT) else _plain_rows(file, source, options)
        )
        if convert is None:
            yield from read(source, options)
            return
        if convert is record_batch:
            check(file.schema_arrow, DOCUMENT, source.name)
        elif source.start == 0:
            yield Note(source.name, _roles(file, source, options).describe())
        number = sum(file.metadata.row_group(k).num_rows for k in range(groups.start))
        for k in groups:
            group = file.metadata.row_group(k)
            size = min(max(FEWEST, BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)), MOST)
            at = number
            try:
                for batch in file.iter_batches(size, row_groups=[k]):
                    yield from convert(batch, at + 1, source, options)
                    at += batch.num_rows
            except (pa.ArrowException, OSError, ValueError) as error:
                yield Fault(f"{source.name}:row group {k}", str(error).splitlines()[0])
            number += group.num_rows


def _roles(file: pq.ParquetFile, source: Source, options: ReadOptions) -> Roles:
    if source.data is not None or source.compression:
        return find_roles(_first_rows(file, source), options)
    return _roles_of(source.path, storage.changed(source.path), options)


@lru_cache(maxsize=8)
def _roles_of(path: str, changed: int, options: ReadOptions) -> Roles:
    """The roles of a file's columns, kept for its other ranges; `changed` tells its versions apart."""
    with pq.ParquetFile(_whole(path)) as file:
        return find_roles(_first_rows(file, Source(path, path, "parquet")), options)


def _first_rows(file: pq.ParquetFile, source: Source) -> list[dict[str, Any]]:
    rows = islice(_rows(file, range(file.num_row_groups), source, SAMPLE), SAMPLE)
    return [row[1] for row in rows if not isinstance(row, Fault)]


def _plain_rows(file: pq.ParquetFile, source: Source, options: ReadOptions) -> Convert | None:
    """How rows that are a text and perhaps an id become Documents; None where they hold more than that."""
    schema = file.schema_arrow
    if not set(schema.names) <= {"id", "text"} or len(schema) < 2:
        return None  # other columns are fields of `meta`, and a lone column of text may begin with titles
    if not all(pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in schema):
        return None
    roles = _roles(file, source, options)
    if (roles.kind, roles.text, roles.id) != ("text", "text", "id"):
        return None
    return lambda batch, number, source, options: _texts(batch, number, source, options, roles)


def _texts(
    batch: pa.RecordBatch, number: int, source: Source, options: ReadOptions, roles: Roles
) -> Iterator[Read | pa.RecordBatch]:
    """Rows of a text and an id, numbered from `number`, as Documents."""
    size = batch.num_rows
    said = {
        "id": pc.utf8_trim_whitespace(batch.column("id").cast(pa.string()).fill_null("")),
        "text": batch.column("text").cast(pa.string()),
        "source_type": pa.repeat(pa.scalar(roles.source_type), size),
        "source": pa.repeat(pa.scalar(source.name), size),
        "offset": pa.array(range(number, number + size), pa.int64()),
    }
    content = said["text"].buffers()[2]
    if content is not None and _UNDECODABLE.search(memoryview(content)):
        broken = pc.count_substring(said["text"], "\ufffd").to_pylist()
        said["meta"] = pa.array([json.dumps({"undecodable": count}) if count else "" for count in broken])
    columns = [said.get(field.name, pa.nulls(size, field.type)) for field in DOCUMENT]
    yield from record_batch(pa.record_batch(columns, DOCUMENT), number, source, options)


def record_batch(
    batch: pa.RecordBatch, number: int, source: Source, options: ReadOptions
) -> Iterator[Read | pa.RecordBatch]:
    """Document records without nulls and empty texts, each with an id; a Fault for every empty text."""
    filled = []
    for field in DOCUMENT:
        column = batch.column(field.name).cast(field.type)
        empty: Any = [] if pa.types.is_list(field.type) else 0 if pa.types.is_integer(field.type) else ""
        filled.append(pc.fill_null(column, pa.scalar(empty, field.type)) if column.null_count else column)
    batch = pa.record_batch(filled, DOCUMENT)
    if blank := _blank(batch.column("text")):
        for row in blank:
            yield Fault(f"{source.name}:{number + row}", "text is empty", rule="empty_row")
        batch = batch.filter(pa.array(~np.isin(np.arange(batch.num_rows), blank)))
    if options.source_type:
        batch = replace_column(batch, "source_type", pa.repeat(pa.scalar(options.source_type), batch.num_rows))
    if pc.any(pc.equal(batch.column("id"), "")).as_py():
        rows = batch.select(["id", "source", "offset", "text"]).to_pylist()
        ids = [row["id"] or document_id(row["source"], row["offset"], row["text"]) for row in rows]
        batch = replace_column(batch, "id", pa.array(ids, pa.string()))
    if batch.num_rows:
        yield batch


def _blank(texts: pa.Array) -> list[int]:
    """Rows with nothing but white space; only those that begin with it are looked into."""
    begins = pc.utf8_slice_codeunits(texts, 0, 1)
    rows = np.flatnonzero(pc.or_(pc.equal(begins, ""), pc.utf8_is_space(begins)).to_numpy(zero_copy_only=False))
    return [row for row in rows.tolist() if not texts[row].as_py().strip()]


def replace_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """The batch with another column of that name and type."""
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), values)


def _bytes_of(source: Source) -> Any:
    whole = source.data is not None or source.compression
    return io.BytesIO(source.read()) if whole else _whole(source.path)


def _whole(path: str) -> Any:
    return storage.opened(path) if storage.is_address(path) else path


def _rows(file: pq.ParquetFile, groups: range, source: Source, size: int = BATCH) -> Iterator[Row | Fault]:
    number = sum(file.metadata.row_group(k).num_rows for k in range(groups.start))
    for k in groups:
        end = number + file.metadata.row_group(k).num_rows
        try:
            for batch in file.iter_batches(size, row_groups=[k]):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError) as error:
            yield Fault(f"{source.name}:row group {k}", str(error).splitlines()[0])
        number = end
