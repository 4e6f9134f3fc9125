"""Band keys of a whole corpus in a file: made once, on all cores, and read a few columns at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from datatools.dedupe.near import Near, band_table
from datatools.dedupe.sets import Batches, in_order, release


def write_bands(texts: Batches, path: Path, settings: Near, *, workers: int = 1) -> tuple[Batches, int]:
    """The band keys of `text` in an Arrow file at `path`, as Batches, and how many texts there are.

    `workers` are threads. Memory: some batches of texts; 8 bytes a document and band on disk.
    """
    count = 0
    with (
        ThreadPoolExecutor(workers) as pool,
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, settings.schema) as writer,
    ):
        for table in in_order(lambda batch: band_table(batch[1]["text"], settings), texts(["text"]), pool, 2 * workers):
            writer.write_table(table)
            count += table.num_rows
    release()

    def bands(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        fields = [settings.schema.get_field_index(name) for name in columns]
        number = 0
        # Read, not mapped: pages of a mapped file count as memory of the process.
        with pa.OSFile(str(path), "rb") as file:
            reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False))
            for index in range(reader.num_record_batches):
                table = pa.Table.from_batches([reader.get_batch(index)])
                yield number, table
                number += table.num_rows

    return bands, count
