"""What an earlier corpus already has: an index over its parquet file, and the documents of a new one that are in it.

    earlier = index_corpus(Path("last-month.parquet"), folder, Near())
    known = exact_known(earlier, keys, documents, scratch)
    drops, own = near_known(earlier, bands, texts, documents, scratch, Near(), among=…)

The index is kept: it is made once for a file and settings, row group by row group, and a killed run goes on where it
stopped. Everything is streamed; of the earlier corpus no more than some thousand rows are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from datatools.dedupe.exact import text_key
from datatools.dedupe.exact_disk import duplicates
from datatools.dedupe.near import Drops, Near, band_table, near_duplicates, parquet_batches
from datatools.dedupe.sets import Batches
from datatools.engine.units import identity
from datatools.io import storage
from datatools.io.atomic import part_writer

_KEY = pa.field("key", pa.binary(16), nullable=False)
_ROWS = 4096


@dataclass(frozen=True)
class Earlier:
    """The index of a corpus of `rows` documents, numbered as they stand in the file."""

    corpus: Path
    parts: tuple[Path, ...]
    rows: int

    def bands(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Band keys (and `key`), as Batches."""
        number = 0
        for path in self.parts:
            with pa.memory_map(str(storage.here(path))) as file:
                names = pa.ipc.open_file(file).schema
                fields = [names.get_field_index(name) for name in columns]
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=fields))
                for index in range(reader.num_record_batches):
                    table = pa.Table.from_batches([reader.get_batch(index)]).select(columns)
                    yield number, table
                    number += table.num_rows

    def texts(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns of the corpus itself, as Batches."""
        yield from parquet_batches([self.corpus], _ROWS)(columns)

    def keys(self) -> Iterator[npt.NDArray[np.void]]:
        """The `exact.text_key` of every text, in order."""
        for _, table in self.bands(["key"]):
            for chunk in table["key"].chunks:
                yield np.frombuffer(chunk.buffers()[1], "V16", count=len(chunk), offset=16 * chunk.offset)

    def ids(self, rows: npt.NDArray[np.int64], column: str = "id") -> list[str]:
        """The ids of some rows, to name twins by."""
        wanted = np.unique(rows)
        names: dict[int, str] = {}
        for start, table in self.texts([column]):
            first, last = np.searchsorted(wanted, [start, start + table.num_rows])
            here = wanted[first:last]
            names.update(zip(here.tolist(), table[column].take(pa.array(here - start)).to_pylist(), strict=True))
        return [names[row] for row in rows.tolist()]


def index_corpus(corpus: Path, folder: Path, settings: Near, *, workers: int = 1) -> Earlier:
    """The index of a parquet file with a column `text` (null counts as empty), made or taken up under `folder`.

    Raises ValueError where there is no such column or no parquet file.
    """
    try:
        with pq.ParquetFile(corpus) as file:
            groups, rows = file.num_row_groups, file.metadata.num_rows
            kind = file.schema_arrow.field("text").type if "text" in file.schema_arrow.names else None
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{corpus}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(f"{corpus}: needs a column `text` of strings to compare with")
    place = folder / xxhash.xxh3_128_hexdigest(f"{identity(str(corpus))}\0{settings.version}\0{settings}".encode())
    place.mkdir(parents=True, exist_ok=True)
    parts = tuple(place / f"{group:06d}.arrow" for group in range(groups))
    todo = [(corpus, group, part, settings) for group, part in enumerate(parts) if not part.exists()]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda arguments: _index_group(*arguments), todo))
    return Earlier(corpus, parts, rows)


def _index_group(corpus: Path, group: int, part: Path, settings: Near) -> None:
    with pq.ParquetFile(corpus, pre_buffer=False) as file, part_writer(part, settings.schema.append(_KEY)) as writer:
        for batch in file.iter_batches(_ROWS, row_groups=[group], columns=["text"]):
            keys = pa.array([text_key(text or "") for text in batch.column(0).to_pylist()], pa.binary(16))
            writer.write_table(band_table(batch.column(0), settings).append_column(_KEY, keys))


def exact_known(earlier: Earlier, keys: Iterable[npt.NDArray[np.void]], documents: int, folder: Path) -> Drops:
    """New documents whose `exact.text_key` the earlier corpus has; `twins` are its rows. `keys` in input order,
    `documents` of them. `folder` is emptied and removed; memory as `exact_disk.duplicates`."""
    numbers, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for later, first in duplicates(chain(earlier.keys(), keys), earlier.rows + documents, folder):
        known = (later >= earlier.rows) & (first < earlier.rows)
        numbers.append(later[known] - earlier.rows)
        rows.append(first[known])
    order = np.argsort(found := np.concatenate(numbers))
    return Drops(found[order], np.concatenate(rows)[order], np.ones(len(found)))


def near_known(
    earlier: Earlier,
    bands: Batches,
    texts: Batches,
    documents: int,
    folder: Path,
    settings: Near,
    *,
    priorities: npt.NDArray[np.integer] | None = None,
    among: npt.NDArray[np.bool_] | None = None,
    workers: int = 1,
) -> tuple[Drops, Drops]:
    """New documents that are near duplicates of one in the earlier corpus (`twins` are its rows), and those that are
    near duplicates of a new one that is kept: `near_duplicates` over both, where the earlier one always wins."""
    first = earlier.rows
    found = near_duplicates(
        _chained(earlier.bands, bands, first),
        _chained(earlier.texts, texts, first),
        first + documents,
        folder,
        settings,
        priorities=None if priorities is None else np.concatenate([np.zeros(first, np.int64), priorities]),
        among=None if among is None else np.concatenate([np.ones(first, bool), among]),
        earlier=first,
        workers=workers,
    )
    numbers = found.numbers - first
    known = found.twins < first
    return (
        Drops(numbers[known], found.twins[known], found.similarities[known], found.candidates, found.compared),
        Drops(numbers[~known], found.twins[~known] - first, found.similarities[~known]),
    )


def _chained(first: Batches, second: Batches, rows: int) -> Batches:
    def batches(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        yield from first(columns)
        for start, table in second(columns):
            yield start + rows, table

    return batches
