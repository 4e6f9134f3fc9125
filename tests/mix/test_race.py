"""Priority sampling: the curve it must follow, and what may not disturb it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.mix.race import arrivals, draws, expected, id_hashes

PRIORITIES = (32, 16, 8, 4, 1)
# HuatuoGPT-II's five sources, of equal size: the share of each in every tenth of its order.
CURVE = [
    (0.502, 0.269, 0.139, 0.071, 0.018),
    (0.451, 0.284, 0.159, 0.084, 0.022),
    (0.386, 0.298, 0.185, 0.103, 0.028),
    (0.306, 0.308, 0.219, 0.130, 0.037),
    (0.210, 0.305, 0.261, 0.171, 0.052),
    (0.109, 0.272, 0.308, 0.232, 0.079),
    (0.032, 0.187, 0.333, 0.318, 0.130),
    (0.003, 0.072, 0.281, 0.410, 0.234),
    (0.000, 0.007, 0.111, 0.393, 0.489),
    (0.000, 0.000, 0.004, 0.086, 0.910),
]


def hashes(name: str, count: int) -> np.ndarray:
    return id_hashes(f"{name} {number}" for number in range(count))


def test_the_expected_curve_is_the_published_one():
    assert np.abs(expected([1] * 5, PRIORITIES) - CURVE).max() < 0.001


def test_the_race_follows_the_curve():
    n = 40_000
    times = np.concatenate(
        [arrivals(hashes(str(p), n), np.zeros(n, np.uint32), 0, p) for p in PRIORITIES],
    )
    sources = np.repeat(np.arange(5), n)[np.argsort(times)]
    tenths = sources.reshape(10, -1)
    found = np.array([[(tenth == source).mean() for source in range(5)] for tenth in tenths])
    assert np.abs(found - CURVE).max() < 0.01


def test_it_is_drawing_without_replacement_in_proportion_to_priority():
    # Three rows of priority 3, 2 and 1: P(order a, b, c) = 3/6 · 2/3, and so on for the other five.
    weights = {"a": 3, "b": 2, "c": 1}
    runs = 20_000
    copies = np.arange(runs, dtype=np.uint32)
    times = np.stack([arrivals(np.repeat(id_hashes([name]), runs), copies, 7, w) for name, w in weights.items()])
    orders = ["".join("abc"[place] for place in order) for order in np.argsort(times, axis=0).T]
    for first, second, third in ("abc", "acb", "bac", "bca", "cab", "cba"):
        chance = weights[first] / 6 * weights[second] / (6 - weights[first])
        noise = 5 * (chance * (1 - chance) / runs) ** 0.5
        assert orders.count(first + second + third) / runs == pytest.approx(chance, abs=noise)


@given(st.lists(st.text(max_size=8), max_size=30, unique=True), st.lists(st.text(max_size=8), max_size=30))
def test_rows_that_are_added_leave_the_others_in_their_order(old: list[str], new: list[str]):
    def order(ids: list[str]) -> list[str]:
        times = arrivals(id_hashes(ids), np.zeros(len(ids), np.uint32), 3, 4.0)
        return [ids[place] for place in np.argsort(times, kind="stable")]

    both = old + [id for id in dict.fromkeys(new) if id not in old]
    assert [id for id in order(both) if id in set(old)] == order(old)


def test_another_seed_copy_or_purpose_is_another_draw():
    some, none = hashes("row", 1000), np.zeros(1000, np.uint32)
    first = draws(some, none, 0, "order")
    for other in (draws(some, none, 1, "order"), draws(some, none + 1, 0, "order"), draws(some, none, 0, "keep")):
        assert (first != other).all()
        # Independent: about half of the bits differ.
        different = np.unpackbits((first ^ other).view(np.uint8)).mean()
        assert different == pytest.approx(0.5, abs=0.01)


def test_times_are_positive_and_finite_at_the_ends_of_the_range():
    for last in (0, 2**52 - 1):
        u = (np.float64(last) + 0.5) * 2.0**-52
        assert 0 < -np.log(u) < np.inf
    times = arrivals(hashes("x", 100_000), np.zeros(100_000, np.uint32), 0, 1e-6)
    assert (times > 0).all() and np.isfinite(times).all()
