"""Bands chosen from the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.dedupe.lsh import CANDIDATE_PROBABILITY, NO_KEY, Bands, band_keys, choose_bands
from datatools.dedupe.minhash import NOTHING


def test_the_default_is_twenty_bands_of_six() -> None:
    assert choose_bands(0.8, 120) == Bands(20, 6)
    assert choose_bands(0.8, 120).probability(0.8) > 0.997


@given(st.floats(0.1, 1.0), st.integers(64, 256))
def test_a_pair_at_the_threshold_is_found(threshold: float, permutations: int) -> None:
    choice = choose_bands(threshold, permutations)
    assert choice.probability(threshold) >= CANDIDATE_PROBABILITY
    assert choice.bands * choice.rows <= permutations < (choice.bands + 1) * choice.rows
    longer = Bands(permutations // (choice.rows + 1), choice.rows + 1)
    assert longer.probability(threshold) < CANDIDATE_PROBABILITY or choice.rows == permutations


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, 0.001])
def test_a_threshold_that_cannot_be_met_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=str(threshold)):
        choose_bands(threshold, 120)


def test_keys_are_equal_where_a_whole_band_is() -> None:
    draw = np.random.default_rng(3)
    one = draw.integers(0, 1 << 32, 120, dtype=np.uint32)
    two = draw.integers(0, 1 << 32, 120, dtype=np.uint32)
    two[6:12] = one[6:12]
    two[18:23] = one[18:23]
    keys = band_keys(np.stack([one, two]), Bands(20, 6))
    assert np.flatnonzero(keys[0] == keys[1]).tolist() == [1]


def test_equal_values_in_different_bands_make_different_keys() -> None:
    keys = band_keys(np.full((1, 120), 5, np.uint32), Bands(20, 6))
    assert len(set(keys[0].tolist())) == 20


def test_nothing_has_no_key() -> None:
    rows = np.full((2, 120), NOTHING, np.uint32)
    rows[1, 0] = 3
    keys = band_keys(rows, Bands(20, 6))
    assert (keys[0] == NO_KEY).all()
    assert (keys[1] != NO_KEY).all()
