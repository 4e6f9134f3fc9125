"""Records scattered over files by key, so that equal keys meet in one file small enough to sort in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

PARTITION_BYTES = 8 << 20  # sorting takes about six times as much
MOST_PARTITIONS = 256  # open files at once, where 1,024 are usual; numbers of one byte
_BUFFER = 1 << 16


def partitions_for(size: int) -> int:
    """How many partitions hold `size` bytes: a power of two.

    >>> partitions_for(0), partitions_for(25 << 20)
    (1, 4)
    """
    count = 1
    while count < MOST_PARTITIONS and count * PARTITION_BYTES < size:
        count *= 2
    return count


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """`folder`, empty at first and gone at the end. What a killed run left is deleted: sorting again is cheap, and
    half-written partitions are worth nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Scatter:
    """Files of fixed-size records, one a partition; within a partition records stay in the order they came.

    Write inside a `with` block, read after it. Memory: 64 KB a partition.
    """

    def __init__(self, folder: Path, dtype: npt.DTypeLike, count: int) -> None:
        folder.mkdir(parents=True)
        self.count = count
        self.dtype = np.dtype(dtype)
        self._paths = [folder / f"{number:04d}" for number in range(count)]
        self._open = ExitStack()

    def __enter__(self) -> Scatter:
        self._files = [self._open.enter_context(path.open("wb", buffering=_BUFFER)) for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def write(self, places: npt.NDArray[Any], records: npt.NDArray[Any]) -> None:
        """Append every record to the partition `places` names, a number from 0 to count - 1."""
        if self.count == 1:
            self._files[0].write(np.ascontiguousarray(records).data)
            return
        order = np.argsort(places.astype(np.uint8), kind="stable")  # small integers are sorted by counting
        ends = np.cumsum(np.bincount(places, minlength=self.count))
        ordered = records[order]
        start = 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                self._files[number].write(ordered[start:end].data)
            start = end

    def read(self, number: int) -> npt.NDArray[Any]:
        """All records of one partition."""
        return np.fromfile(self._paths[number], self.dtype)

    def taken(self) -> Iterator[npt.NDArray[Any]]:
        """The records of one partition after the other, each deleted as it is handed out."""
        for number in range(self.count):
            records = self.read(number)
            self.remove(number)
            yield records

    def replace(self, number: int, records: npt.NDArray[Any]) -> None:
        """Put other records in the place of a partition's."""
        records.astype(self.dtype, copy=False).tofile(self._paths[number])

    def remove(self, number: int) -> None:
        """Delete a partition that is done with."""
        self._paths[number].unlink()


def leading_bits(keys: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.uint8]:
    """The partition of each key: its leading bits, for evenly spread keys and a power of two."""
    if count == 1:
        return np.zeros(len(keys), np.uint8)
    return (keys >> np.uint64(64 - (count.bit_length() - 1))).astype(np.uint8)
