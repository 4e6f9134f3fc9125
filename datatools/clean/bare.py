"""Texts without white space, for keys that are blind to layout: taken straight from Arrow's buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

SHORTEST = 20  # characters of a line that is a paragraph: the least of `Boilerplate`


@dataclass(frozen=True)
class Bare:
    """UTF-8 of consecutive texts without white space: text i ends at `ends[i]`; `lines` are (text, start, end) of the
    lines of SHORTEST or more characters."""

    data: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]

    def text_keys(self) -> pa.FixedSizeBinaryArray:
        """`datatools.dedupe.exact.text_key` of every text."""
        offsets = np.concatenate([np.zeros(1, np.int64), self.ends])
        texts = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(self.ends), [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        )
        keys = b"".join(map(xxhash.xxh3_128_digest, texts.to_pylist()))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(self.ends), [None, pa.py_buffer(keys)])

    def line_keys(self, seeds: Sequence[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Number of the text and key of every distinct line of a text, `seeds` by text.

        The keys are those of `datatools.dedupe.boilerplate.paragraph_keys` with the group as the seed.
        """
        from datatools.clean import text_kernels as kernels

        keys = np.empty(len(self.lines), np.uint64)
        kernels.line_keys(self.data, self.lines, np.array(seeds, np.uint64), keys)
        order = np.lexsort((keys, self.lines[:, 0]))
        places, keys = self.lines[order, 0], keys[order]
        first = np.ones(len(keys), bool)
        first[1:] = (places[1:] != places[:-1]) | (keys[1:] != keys[:-1])
        return places[first], keys[first]


def without_space(texts: pa.ChunkedArray, shortest: int = SHORTEST) -> Bare:
    """The texts (Arrow strings without nulls) without white space."""
    from datatools.clean import text_kernels as kernels

    array = texts.combine_chunks().cast(pa.large_string())
    if isinstance(array, pa.ChunkedArray):  # no chunk at all, or more than fits into one
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
    _, places, content = array.buffers()
    offsets = np.frombuffer(places, np.int64, len(array) + 1, 8 * array.offset) if len(array) else np.zeros(1, np.int64)
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    size = int(offsets[-1] - offsets[0])
    out, ends = np.empty(size, np.uint8), np.empty(len(array), np.int64)
    lines = np.empty((size // shortest + 1, 3), np.int64)
    count = kernels.without_space(data, offsets, shortest, out, ends, lines)
    return Bare(out, ends, lines[:count])
