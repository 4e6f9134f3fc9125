"""Bands: which pairs of signatures are worth comparing."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CANDIDATE_PROBABILITY = 0.99
NO_KEY = np.uint64(0)  # every key of a text without shingles; never a candidate


class Bands(NamedTuple):
    """`bands` groups of `rows` values each; a pair with one whole group in common is a candidate."""

    bands: int
    rows: int

    def probability(self, jaccard: float) -> float:
        """Chance that a pair of this Jaccard becomes a candidate: 1 − (1 − J^rows)^bands.

        >>> round(Bands(20, 6).probability(0.8), 4), round(Bands(20, 6).probability(0.5), 2)
        (0.9977, 0.27)
        """
        return float(1 - (1 - jaccard**self.rows) ** self.bands)


@lru_cache(maxsize=8)
def choose_bands(threshold: float, permutations: int) -> Bands:
    """The longest bands (fewest idle comparisons) that find a pair at `threshold` with a chance of 0.99 or more.

    Every permutation that fills a band is used. Raises ValueError where the threshold is not in (0, 1], or too low for
    that many permutations.

    >>> choose_bands(0.8, 120)
    Bands(bands=20, rows=6)
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"near-duplicate threshold {threshold}: must be above 0 and at most 1")
    for rows in range(permutations, 0, -1):
        choice = Bands(permutations // rows, rows)
        if choice.probability(threshold) >= CANDIDATE_PROBABILITY:
            return choice
    raise ValueError(f"near-duplicate threshold {threshold}: too low for {permutations} permutations")


def band_keys(signatures: npt.NDArray[np.uint32], bands: Bands) -> npt.NDArray[np.uint64]:
    """Keys (texts × bands), equal where a whole band is; keys of different bands differ. NO_KEY for no shingles."""
    from datatools.dedupe import kernels

    out = np.empty((len(signatures), bands.bands), np.uint64)
    kernels.band_keys(np.ascontiguousarray(signatures), bands.bands, bands.rows, out)
    return out
