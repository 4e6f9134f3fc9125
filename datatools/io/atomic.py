"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datatools.io import storage

TEMPORARY = ".tmp"
_OWN = secrets.token_hex(4)  # of this process, with its id: two machines that share a folder have equal ids
GROUP_BYTES = 32 << 20  # of text, with which a row group is full however few its rows


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that becomes `path` when the block ends well, and vanishes when it does not.

    The file is synced before the rename and the folder after it, so that a power cut leaves the old file or the new
    one. The name carries the process id: an orphan of a killed run never writes into the file of the next.
    Where the path mirrors an address of storage it is uploaded, as one object.
    """
    mirrors = storage.address_of(path) != ""
    if mirrors:
        path = storage.own(path)
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{_OWN}{TEMPORARY}")
    try:
        yield temporary
        if not mirrors:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if mirrors:
        storage.upload(path)
    else:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Delete what killed runs left of the file `name` in `folder`, or of all files; the caller holds the lock."""
    for leftover in folder.glob(f".{name if name == '*' else escape(name)}.*{TEMPORARY}"):
        leftover.unlink(missing_ok=True)


# Columns with few different values.
_REPEATING = frozenset(
    "task language source source_type generator prompt license title step rule class judge exam department".split()
)


class RowGroupWriter:
    """A parquet file written in row groups of a fixed number of rows, or GROUP_BYTES of text, however the rows arrive.

    The same rows give the same bytes whatever the size of the tables they come in. A row group is compressed in the
    background while the next one is gathered: an error there is raised by the next `write`, or by `close`.
    """

    def __init__(self, path: Path, schema: pa.Schema, rows: int = 4096) -> None:
        self.schema = schema
        self.written = 0
        self._rows = rows
        self._pending: list[pa.Table] = []
        self._count = self._bytes = 0
        self._background = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        # A dictionary of texts that never repeat costs a third of the time and is thrown away again.
        repeating = [name for name in schema.names if name in _REPEATING]
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", use_dictionary=repeating)

    def write(self, table: pa.Table) -> None:
        """Add rows; whole row groups go to the file."""
        self._pending.append(table.select(self.schema.names).cast(self.schema))
        self._count += table.num_rows
        self._bytes += int(_text_bytes(table).sum())
        if self._count >= self._rows or self._bytes >= GROUP_BYTES:
            self._flush(whole_groups_only=True)

    def close(self) -> None:
        """Write what is left and the footer."""
        self._flush(whole_groups_only=False)
        self._wait()
        self._background.shutdown()
        self._writer.close()
        self._file.close()

    def abort(self) -> None:
        """Give up the file: close it without caring what it holds."""
        self._background.shutdown(cancel_futures=True)
        # A full disk fails the footer too; the first error is the one to tell.
        with suppress(OSError):
            self._writer.close()
        with suppress(OSError):
            self._file.close()

    def _flush(self, *, whole_groups_only: bool) -> None:
        if not self._pending:
            return
        table = pa.concat_tables(self._pending)
        ends = np.cumsum(_text_bytes(table))
        while table.num_rows:
            # By the rows alone, not by the tables they came in, so that the same rows give the same groups.
            rows = min(self._rows, 1 + int(np.searchsorted(ends, GROUP_BYTES)))
            if rows > table.num_rows and whole_groups_only:
                break
            group, table = table.slice(0, rows).combine_chunks(), table.slice(rows)
            ends = ends[rows:] - (ends[rows - 1] if rows <= len(ends) else 0)
            self._wait()
            self._writing = self._background.submit(self._writer.write_table, group, row_group_size=self._rows)
            self.written += group.num_rows
        self._pending, self._count = [table], table.num_rows
        self._bytes = int(ends[-1]) if len(ends) else 0

    def _wait(self) -> None:
        # One row group at a time: what is being written and what is being gathered is all that is in memory.
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _text_bytes(table: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of every row's text; zeros where the table has none."""
    if "text" not in table.schema.names:
        return np.zeros(table.num_rows, np.int64)
    return np.asarray(pc.fill_null(pc.binary_length(table["text"]), 0).to_numpy(), np.int64)


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[RowGroupWriter]:
    """A RowGroupWriter whose file appears at `path` when the block ends well."""
    with atomic_path(path) as temporary:
        writer = RowGroupWriter(temporary, schema)
        try:
            yield writer
            writer.close()
        except BaseException:
            writer.abort()
            raise


@contextmanager
def part_writer(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchWriter]:
    """A writer of Arrow tables, for parts that this project alone reads back; the file appears when the block ends
    well. Three times as fast to write and read as parquet."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with atomic_path(path) as temporary, pa.OSFile(str(temporary), "wb") as file:
        # Not a with block: closing after a failed write would fail again and hide the first error.
        writer = pa.ipc.new_file(file, schema, options=options)
        yield writer
        writer.close()
