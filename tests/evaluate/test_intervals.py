"""Bootstrap intervals: seeded, as wide as they should be, and right about as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from datatools.evaluate.intervals import interval, mean_interval, share_interval


def test_the_same_seed_gives_the_same_interval_and_none_of_nothing() -> None:
    values = np.random.default_rng(1).random(300)
    assert mean_interval(values, 3) == mean_interval(values, 3) != mean_interval(values, 4)
    assert all(math.isnan(one) for one in mean_interval([]))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    drawn = np.random.default_rng(7)
    held = sum(low <= 0.7 <= high for _, low, high in (mean_interval(drawn.random(200) < 0.7, k) for k in range(200)))
    assert 180 <= held <= 199


def test_a_ratio_of_sums_is_resampled_by_units() -> None:
    counts = np.array([[8.0, 10.0], [1.0, 10.0]] * 50)
    found = interval(counts, lambda sums: sums[:, 0] / sums[:, 1], 0)
    assert found.value == 0.45 and 0.35 < found.low < 0.41 and 0.49 < found.high < 0.55


@pytest.mark.parametrize("n", [1, 3, 16, 400])
def test_all_right_or_all_wrong_is_not_certain(n: int) -> None:
    """Wilson's interval, as SciPy has it."""
    stats = pytest.importorskip("scipy.stats")
    for right in (0, n):
        expected = stats.binomtest(right, n).proportion_ci(method="wilson")
        assert share_interval([right > 0] * n)[1:] == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert share_interval([1, 0] * n, 5) == mean_interval([1, 0] * n, 5)
