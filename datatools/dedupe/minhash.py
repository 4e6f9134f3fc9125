"""MinHash signatures, equal bit for bit to those of datasketch 2.0.

`MinHash(num_perm=permutations, seed=seed, scheme="affine32", hashfunc=shingle_hash32)` fed with the UTF-8 of
`shingle_set(text)` holds the same values: the hash goes through MurmurHash3's 32-bit finaliser, then every permutation
is a·h + b mod 2³² with odd a, and the least value over all shingles stays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe.shingles import SHINGLE, shingle_hashes

PERMUTATIONS = 120  # 20 bands of 6 rows at the default threshold
SEED = 1  # datasketch's own default
NOTHING = np.uint32(0xFFFFFFFF)  # every value of the signature of a text without shingles


@lru_cache(maxsize=8)
def permutations(count: int, seed: int = SEED) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The factors and summands of datasketch's affine32 permutations, drawn as datasketch draws them."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw.randint(0, 1 << 32, count, dtype=np.uint32)


def signatures(
    texts: pa.Array | pa.ChunkedArray, count: int = PERMUTATIONS, *, size: int = SHINGLE, seed: int = SEED
) -> npt.NDArray[np.uint32]:
    """Signatures (texts × `count`) of Arrow strings; one row of NOTHING for a text of white space, or null.

    Runs without the interpreter's lock: threads may share the work.
    """
    from datatools.dedupe import kernels

    a, b = permutations(count, seed)
    out = np.empty((len(texts), count), np.uint32)
    row = 0
    for hashed in shingle_hashes(texts, size):
        end = row + len(hashed.ends)
        kernels.signatures(hashed.hashes, hashed.ends, a, b, out[row:end])
        row = end
    return out
