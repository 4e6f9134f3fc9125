"""Shingle sets on disk: those of all candidates, to be compared a few thousand at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe.shingles import distinct_hashes
from datatools.io import storage

# Columns in, tables of those columns out, each with the number of its first row; asked for more than once.
Batches: TypeAlias = Callable[[list[str]], Iterable[tuple[int, pa.Table]]]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Sets:
    """Shingle sets in one file, by rank; read from there and not mapped, which would count as memory."""

    def __init__(self, path: Path, starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.uint32]) -> None:
        self.starts, self.sizes, self._path = starts, sizes, path

    def __enter__(self) -> Sets:
        self._file = storage.here(self._path).open("rb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def load(self, ranks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The sets of `ranks`, one after the other, and where each begins."""
        ends = np.cumsum(self.sizes[ranks], dtype=np.int64)
        values = np.empty(int(ends[-1]), np.uint64)
        starts = ends - self.sizes[ranks]
        places = self.starts[ranks]
        # What stands side by side is read at once.
        begins = np.flatnonzero(np.append(True, places[1:] != places[:-1] + self.sizes[ranks[:-1]]))
        stops = ends[np.append(begins[1:], len(ends)) - 1]
        view = values.view(np.uint8)
        for start, end, place in zip(starts[begins].tolist(), stops.tolist(), places[begins].tolist(), strict=True):
            os.preadv(self._file.fileno(), [view[8 * start : 8 * end].data], 8 * place)
        return values, starts


def write_sets(
    texts: Batches,
    wanted: npt.NDArray[np.bool_],
    ranks: npt.NDArray[np.uint32],
    size: int,
    path: Path,
    pool: ThreadPoolExecutor,
    workers: int,
) -> Sets:
    """Write the sets of the `wanted` documents to `path`, hashed on `pool`; memory: some batches of texts."""
    starts, sizes = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.uint32)

    def chosen() -> Iterator[tuple[npt.NDArray[np.intp], pa.ChunkedArray]]:
        if not wanted.any():
            return
        for start, table in texts(["text"]):
            own = wanted[start : start + table.num_rows]
            if own.any():
                yield np.flatnonzero(own) + start, table["text"].filter(pa.array(own))

    def hashed(
        item: tuple[npt.NDArray[np.intp], pa.ChunkedArray],
    ) -> tuple[npt.NDArray[np.intp], list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]]]:
        return item[0], [(piece.hashes.copy(), piece.ends) for piece in distinct_hashes(item[1], size)]

    written = 0
    with path.open("wb") as file:
        for numbers, pieces in in_order(hashed, chosen(), pool, 2 * workers):
            row = 0
            for hashes, ends in pieces:
                own_ranks = ranks[numbers[row : row + len(ends)]]
                own_starts = np.concatenate([[0], ends[:-1]])
                starts[own_ranks], sizes[own_ranks] = own_starts + written, ends - own_starts
                file.write(hashes.data)
                written += len(hashes)
                row += len(ends)
    release()
    return Sets(path, starts, sizes)


def release() -> None:
    """Give back what Arrow keeps of batches that are gone: in the end three times as much as it needs at a time."""
    pa.default_memory_pool().release_unused()


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[Result]:
    """`function` of every item, in order, at most `ahead` of them under way."""
    running: deque[Future[Result]] = deque()
    for item in items:
        running.append(pool.submit(function, item))
        if len(running) >= ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
