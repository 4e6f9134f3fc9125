"""Exact duplicates out of core: `exact.first_occurrences` for more keys than should stand in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datatools.dedupe.exact import first_occurrences as in_memory
from datatools.dedupe.partitions import Scatter, leading_bits, partitions_for, scratch

_RECORD = np.dtype([("key", "V16"), ("number", "<i8")])


def duplicates(
    parts: Iterable[npt.NDArray[np.void]],
    count: int,
    folder: Path,
    *,
    ranks: npt.NDArray[np.integer] | None = None,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(numbers, firsts) of the keys that repeat an earlier one, a partition at a time; numbers ascend within one.

    `parts` are the 16-byte keys in input order, `count` of them in all (a guess will do: it sizes the partitions).
    With `ranks` the equal key of the least rank, ties by number, stands for the others instead of the first.
    `folder` is emptied and removed. Memory: 50 MB, and 24 bytes a key on disk; one key that fills a
    partition by itself is held whole.
    """
    with scratch(folder) as place:
        scatter = Scatter(place / "keys", _RECORD, partitions_for(count * _RECORD.itemsize))
        number = 0
        with scatter:
            for keys in parts:
                records = np.empty(len(keys), _RECORD)
                records["key"] = keys
                records["number"] = np.arange(number, number + len(keys))
                number += len(keys)
                # The bytes of a digest are evenly spread, whichever come first.
                leading = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)[:, 1]
                scatter.write(leading_bits(leading, scatter.count), records)
        for partition in range(scatter.count):
            records = scatter.read(partition)
            scatter.remove(partition)
            if ranks is not None:
                records = records[np.argsort(ranks[records["number"]], kind="stable")]
            numbers = np.ascontiguousarray(records["number"])
            firsts = numbers[in_memory(np.ascontiguousarray(records["key"]))]
            later = np.flatnonzero(numbers != firsts)
            later = later[np.argsort(numbers[later])]
            yield numbers[later], firsts[later]


def first_occurrences(
    parts: Iterable[npt.NDArray[np.void]],
    count: int,
    folder: Path,
    *,
    ranks: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.int64]:
    """For every key the number of the one that stands for it: what `exact.first_occurrences` gives, with `duplicates`'
    memory and 8 bytes a key for the answer. `count` must be the number of keys."""
    result = np.arange(count, dtype=np.int64)
    for numbers, firsts in duplicates(parts, count, folder, ranks=ranks):
        result[numbers] = firsts
    return result
