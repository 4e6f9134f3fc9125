"""95 % intervals by the percentile bootstrap: seeded, so that the same rows give the same figures.

Where all of a group is right, or all wrong, every resample is the same and the bootstrap has no width; there the
interval is Wilson's.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95
_CELLS = 1 << 21  # indices drawn at a time


class Interval(NamedTuple):
    """A statistic and the bounds of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As a share in percent.

        >>> str(Interval(0.7, 0.65, 0.75))
        '70.0 % [65.0, 75.0]'
        """
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def mean_interval(values: npt.ArrayLike, seed: int = 0) -> Interval:
    """The mean of values, one a unit that was drawn (an item, a case), with its interval; NaN of none.

    >>> [round(x, 2) for x in mean_interval([1, 0] * 50)]
    [0.5, 0.4, 0.6]
    """
    column = np.asarray(values, np.float64).reshape(-1, 1)
    return interval(np.hstack([column, np.ones_like(column)]), lambda sums: sums[:, 0] / sums[:, 1], seed)


def share_interval(values: npt.ArrayLike, seed: int = 0) -> Interval:
    """The mean of values from 0 to 1 with its interval: Wilson's (1927) where all are 0 or all are 1; NaN of none.

    >>> str(share_interval([1, 1, 1])), str(share_interval([0] * 20))
    ('100.0 % [43.9, 100.0]', '0.0 % [0.0, 16.1]')
    """
    column = np.asarray(values, np.float64)
    n = column.size
    if not n or 0 < column.mean() < 1:
        return mean_interval(column, seed)
    square = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    return Interval(1.0, n / (n + square), 1.0) if column[0] else Interval(0.0, 0.0, square / (n + square))


def interval(values: F64, statistic: Callable[[F64], F64], seed: int = 0) -> Interval:
    """A statistic of column sums with its interval. `values` has a row a unit; units are drawn with replacement.

    `statistic` takes sums of shape (resamples, columns) and gives one number a resample. NaN where there are no units.
    """
    n = len(values)
    if not n:
        return Interval(*(float("nan"),) * 3)
    drawn = np.random.default_rng(seed)
    found = []
    step = max(1, _CELLS // n)
    for start in range(0, RESAMPLES, step):
        places = drawn.integers(0, n, size=(min(step, RESAMPLES - start), n), dtype=np.int32)
        found.append(statistic(np.stack([values[:, k][places].sum(axis=1) for k in range(values.shape[1])], axis=1)))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    value = float(statistic(values.sum(axis=0, keepdims=True))[0])
    return Interval(value, float(low), float(high))
