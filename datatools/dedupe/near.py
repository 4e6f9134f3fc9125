"""Near duplicates: which documents say almost the same as one that is kept.

Documents are numbered 0, 1, 2, … in input order. `band_table` turns their texts into band keys, in as many processes as
one likes. `near_duplicates` finds equal keys a partition at a time, compares the candidates' shingle sets exactly, and
goes through the documents from the best to the worst: a document is dropped when its exact Jaccard to one that is
**kept** reaches the threshold. What is like a dropped document only stays, so nothing goes by a chain of likenesses.

Two leaflets that differ in a dose alone are as alike as their shingles say: in a text of 200 characters one changed
number leaves the Jaccard above 0.9 and the worse one goes; in a line of 20 characters it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.dedupe.lsh import NO_KEY, Bands, band_keys, choose_bands
from datatools.dedupe.minhash import PERMUTATIONS, SEED, signatures
from datatools.dedupe.partitions import (
    MOST_PARTITIONS,
    PARTITION_BYTES,
    Scatter,
    leading_bits,
    partitions_for,
    scratch,
)
from datatools.dedupe.sets import Batches, Sets, in_order, release, write_sets
from datatools.dedupe.shingles import SHINGLE

Keep: TypeAlias = Literal["source-order", "longest", "newest"]

# In a bucket of equal keys every document meets the best ones and those next before it: all pairs up to 17 documents,
# a line through the rest, where all pairs of 100,000 copies of a footer would be five thousand million.
REACH = 8
RELEASE_ROWS = 1 << 14  # after so many rows of a file Arrow gives back what it keeps of them
SET_BYTES = 8 << 20  # shingle sets compared at a time
UPPER = np.uint64(0xFFFFFFFF00000000)
_FOUND = np.dtype([("worse", "<i8"), ("better", "<i8"), ("jaccard", "<f8")])
MOST_DOCUMENTS = 1 << 32


@dataclass(frozen=True)
class Near:
    """What makes two documents near duplicates. `threshold` is the least Jaccard of their shingle sets.

    `bands_for` is the threshold that band keys were made for, where keys made for a lower one are used again.
    """

    threshold: float = 0.8
    permutations: int = PERMUTATIONS
    shingle: int = SHINGLE
    seed: int = SEED
    bands_for: float | None = None

    version = 1

    @property
    def bands(self) -> Bands:
        """Bands and rows for the threshold; ValueError where there are none."""
        return choose_bands(self.threshold if self.bands_for is None else self.bands_for, self.permutations)

    @property
    def columns(self) -> list[str]:
        """Names of the band columns."""
        return [f"band_{number}" for number in range(self.bands.bands)]

    @property
    def schema(self) -> pa.Schema:
        """Of what `band_table` gives: one 64-bit key a band."""
        return pa.schema([pa.field(name, pa.uint64(), nullable=False) for name in self.columns])


@dataclass(frozen=True)
class Drops:
    """Documents to drop, by ascending number: each with the kept one that it is like and their exact Jaccard."""

    numbers: npt.NDArray[np.int64]
    twins: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float64]
    candidates: int = 0  # pairs that shared a band
    compared: int = 0  # of these, pairs whose sets were compared

    def __len__(self) -> int:
        return len(self.numbers)


def band_table(texts: pa.Array | pa.ChunkedArray, settings: Near) -> pa.Table:
    """Band keys of texts: one row a text, the columns of `settings.schema`."""
    keys = band_keys(
        signatures(texts, settings.permutations, size=settings.shingle, seed=settings.seed), settings.bands
    )
    return pa.table(list(np.ascontiguousarray(keys.T)), schema=settings.schema)


def priorities(
    keep: Keep,
    *,
    lengths: npt.ArrayLike | None = None,
    dates: npt.ArrayLike | None = None,
    types: Sequence[str] | None = None,
    order: Sequence[str] = (),
) -> npt.NDArray[np.int64] | None:
    """Who is kept among duplicates: a number a document, the lower the better; None for plain input order.

    Source types come first (`types` of the documents, in the `order` given; a type it does not name comes last), then
    `keep`: the longest (`lengths`), the newest (`dates`, integers that grow with time; the least for unknown) or what
    comes first in the input. Input order also decides ties. Raises ValueError when what `keep` needs is missing.
    """
    columns: list[npt.NDArray[np.int64]] = []
    if keep != "source-order":
        wanted = lengths if keep == "longest" else dates
        if wanted is None:
            raise ValueError(f"--keep {keep}: the {'lengths' if keep == 'longest' else 'dates'} are not known")
        # ~x and not -x: the least integer has no negative.
        columns.append(~np.asarray(wanted, np.int64))
    if types is not None and order:
        place = {name: number for number, name in enumerate(order)}
        columns.append(np.array([place.get(name, len(order)) for name in types], np.int64))
    if not columns:
        return None
    best_first = np.lexsort(columns)
    result = np.empty(len(best_first), np.int64)
    result[best_first] = np.arange(len(best_first))
    return result


def parquet_batches(paths: Sequence[Path], rows: int = 2048) -> Batches:
    """The rows of parquet files, one file after the other, as Batches."""

    def batches(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        number = 0
        for path in paths:
            with pq.ParquetFile(path, pre_buffer=False) as file, ThreadPoolExecutor(1) as pool:
                # The next rows are unpacked while these are worked on. `pre_buffer` would keep every row group it has
                # fetched: the memory of the whole file.
                coming = file.iter_batches(rows, columns=columns)
                future = pool.submit(next, coming, None)
                while (batch := future.result()) is not None:
                    future = pool.submit(next, coming, None)
                    yield number, pa.Table.from_batches([batch])
                    number += batch.num_rows
                    if number % RELEASE_ROWS < batch.num_rows:
                        release()

    return batches


def near_duplicates(
    bands: Batches,
    texts: Batches,
    documents: int,
    folder: Path,
    settings: Near | None = None,
    *,
    priorities: npt.NDArray[np.integer] | None = None,
    among: npt.NDArray[np.bool_] | None = None,
    earlier: int = 0,
    workers: int = 1,
) -> Drops:
    """The documents that are near duplicates of one that is kept.

    `bands` gives the columns of `settings.schema`, `texts` the column `text`, both for all `documents` in the same
    order. `priorities` say who is kept (see `priorities`). Only documents where `among` is true take part. The first
    `earlier` documents are an older corpus: better than all others, never dropped, not compared with each other.

    The same input gives the same result whatever the number of `workers` (threads) and the sizes of the batches.
    `folder` is emptied and removed; it needs 8 bytes a document and band, and 8 a character of the candidates.
    Memory: 24 bytes a document and 50 MB. Raises ValueError for more than 2³² documents.
    """
    settings = settings or Near()
    if documents >= MOST_DOCUMENTS:
        raise ValueError(f"{documents:,} documents: near duplicates are found among at most {MOST_DOCUMENTS:,}")
    ranks, by_rank = ranked(documents, priorities, earlier)
    with scratch(folder) as place, ThreadPoolExecutor(workers) as pool:
        with Scatter(place / "pairs", "<u8", pair_partitions(documents)) as pairs:
            find = partial(_bucket_pairs, earlier=earlier)
            for entries in _scattered(bands, settings.columns, documents, ranks, among, place):
                for candidates in in_order(find, entries, pool, 2 * workers):
                    worse = (candidates >> np.uint64(32)).astype(np.int64)
                    pairs.write(worse * pairs.count // max(1, documents), candidates)
        count, wanted = _wanted(pairs, by_rank)
        sets = write_sets(texts, wanted, ranks, settings.shingle, place / "sets", pool, workers)
        with sets:
            found, compared = _elect(pairs, sets, documents, settings.threshold)
    numbers, twins = by_rank[found["worse"]].astype(np.int64), by_rank[found["better"]].astype(np.int64)
    order = np.argsort(numbers)
    return Drops(numbers[order], twins[order], found["jaccard"][order], count, compared)


def load_compiled(settings: Near | None = None) -> None:
    """Load the compiled code that `near_duplicates` runs: half a second, better spent while other processes work."""
    settings = settings or Near()
    keys = {name: np.ones(2, np.uint64) for name in settings.columns}
    table = pa.table({**keys, "text": ["麻黄汤方" * settings.shingle] * 2})
    with TemporaryDirectory() as folder:
        near_duplicates(lambda _: [(0, table)], lambda _: [(0, table)], 2, Path(folder, "near"), settings)


def ranked(
    documents: int, priorities: npt.NDArray[np.integer] | None, earlier: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Rank of every document, 0 the best, and the document of every rank."""
    if priorities is None:
        same = np.arange(documents, dtype=np.uint32)
        return same, same
    later = earlier + np.argsort(priorities[earlier:], kind="stable")
    by_rank = np.concatenate([np.arange(earlier), later]).astype(np.uint32)
    ranks = np.empty(documents, np.uint32)
    ranks[by_rank] = np.arange(documents, dtype=np.uint32)
    return ranks, by_rank


def pair_partitions(documents: int) -> int:
    """Into how many ranges of the worse one's rank pairs are cut."""
    return min(MOST_PARTITIONS, max(1, documents >> 16))


def _scattered(
    bands: Batches,
    columns: list[str],
    documents: int,
    ranks: npt.NDArray[np.uint32],
    among: npt.NDArray[np.bool_] | None,
    place: Path,
) -> Iterator[Iterator[npt.NDArray[np.uint64]]]:
    """Entries of as many bands at a time as the partitions hold at their proper size (one at least): a partition of
    entries after the other, equal keys in the same one.

    An entry is a key without its leading bits, of which the partition tells, cut to 32 bits << 32 | rank: keys that
    are equal by chance cost a comparison of two sets.
    """
    size = max(1, 8 * documents)
    at_once = max(1, MOST_PARTITIONS * PARTITION_BYTES // size)
    for first in range(0, len(columns), at_once):
        names = columns[first : first + at_once]
        scatter = Scatter(place / f"bands-{first}", "<u8", partitions_for(size * len(names)))
        known = np.uint64(scatter.count.bit_length() - 1)
        with scatter:
            for start, table in bands(names):
                chosen = None if among is None else among[start : start + table.num_rows]
                own = ranks[start : start + table.num_rows]
                for name in names:
                    keys = table[name].to_numpy()
                    takes_part = keys != NO_KEY if chosen is None else (keys != NO_KEY) & chosen
                    keys = keys[takes_part]
                    entries = (keys << known) & UPPER | own[takes_part]
                    scatter.write(leading_bits(keys, scatter.count), entries)
        yield scatter.taken()


def _bucket_pairs(entries: npt.NDArray[np.uint64], earlier: int) -> npt.NDArray[np.uint64]:
    """Pairs of ranks that share a key, sorted, each once."""
    from datatools.dedupe import kernels

    entries.sort()
    found = np.empty(kernels.bucket_pairs(entries, REACH, earlier, entries, False), np.uint64)
    return np.unique(found[: kernels.bucket_pairs(entries, REACH, earlier, found, True)])


def _wanted(pairs: Scatter, by_rank: npt.NDArray[np.uint32]) -> tuple[int, npt.NDArray[np.bool_]]:
    """The number of pairs, and the documents in any; every pair is left once and in order."""
    wanted = np.zeros(len(by_rank), bool)
    count = 0
    for partition in range(pairs.count):
        found = np.unique(pairs.read(partition))
        pairs.replace(partition, found)
        count += len(found)
        wanted[by_rank[found >> np.uint64(32)]] = True
        wanted[by_rank[found & np.uint64(0xFFFFFFFF)]] = True
    return count, wanted


def _elect(pairs: Scatter, sets: Sets, documents: int, threshold: float) -> tuple[npt.NDArray[Any], int]:
    """(worse, better, Jaccard) of every rank that goes, and how many pairs were compared."""
    from datatools.dedupe import kernels

    kept = np.ones(documents, bool)
    found: list[npt.NDArray[Any]] = [np.zeros(0, _FOUND)]
    compared = 0
    for partition in range(pairs.count):
        todo = pairs.read(partition)
        worse, better = (todo >> np.uint64(32)).astype(np.int64), (todo & np.uint64(0xFFFFFFFF)).astype(np.int64)
        # Ranks of earlier partitions are decided. Sets of too unequal sizes cannot reach the threshold; the slack is
        # for the rounding of the product.
        small = np.minimum(sets.sizes[worse], sets.sizes[better])
        possible = kept[better] & (small >= threshold * np.maximum(sets.sizes[worse], sets.sizes[better]) - 1e-6)
        todo, worse, better = todo[possible], worse[possible], better[possible]
        weight = np.cumsum(sets.sizes[worse].astype(np.int64) + sets.sizes[better]) * 8 // SET_BYTES
        for chunk in np.split(np.arange(len(todo)), np.flatnonzero(np.diff(weight)) + 1):
            if not len(chunk):
                continue
            loaded, places = np.unique(np.stack([worse[chunk], better[chunk]], axis=1), return_inverse=True)
            values, starts = sets.load(loaded)
            goes = np.empty(len(chunk), _FOUND)
            count, more = kernels.elect(
                todo[chunk],
                places.ravel().astype(np.int64),
                values,
                starts,
                sets.sizes[loaded].astype(np.int64),
                threshold,
                kept,
                goes["worse"],
                goes["better"],
                goes["jaccard"],
            )
            compared += more
            found.append(goes[:count].copy())
    return np.concatenate(found), compared
