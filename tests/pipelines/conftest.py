"""Fixtures of the jobs' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.llm.model_server import ModelServer
from tests.pipelines import physician


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own reaches a job that runs in this process."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a test has its output written."""
    return tmp_path / "sft.parquet"


@pytest.fixture
def serve() -> Iterator[Callable[..., ModelServer]]:
    """Starts model servers on free ports, which end with the test; the physician answers unless told otherwise."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(ModelServer(**{"reply": physician.reply, **options}))
