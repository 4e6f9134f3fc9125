"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow or busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real, dirty corpora kept beside the project (never in it); skips where it is absent."""
    folder = Path(os.environ.get("DATATOOLS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real corpora at {folder} (set DATATOOLS_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def example_corpus() -> Path:
    """The corpus that ships with the project."""
    return REPOSITORY / "examples" / "corpus"
