"""Fixtures of the jobs' tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.graph.test_questions import BOOKS, COMPOSITIONS, FUNCTIONS, HERBS, USES
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


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A small graph: relations in one file, typed nodes in two."""
    folder = tmp_path / "kg"
    folder.mkdir()
    lines = [
        {"Formula": head, "Herb": herb, "Relation": "HAS_HERB"}
        for head, all_ in COMPOSITIONS.items()
        for herb in all_.split()
    ]
    (folder / "relation.jsonl").write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), "utf-8")
    formulas = [
        {
            "name": name,
            "label": "Formula",
            "attributes": {"source": BOOKS.get(name), "indications": USES.get(name), "function": FUNCTIONS.get(name)},
        }
        for name in COMPOSITIONS
    ]
    herbs = [
        {
            "name": name,
            "label": "Herb",
            "attributes": dict(zip(("property_cn", "meridian_cn", "function_cn", "toxicity_cn"), cells, strict=True)),
        }
        for name, cells in HERBS.items()
    ]
    herbs += [
        {"name": herb, "label": "Herb", "attributes": {}}
        for all_ in COMPOSITIONS.values()
        for herb in all_.split()
        if herb not in HERBS
    ]
    (folder / "formulae.json").write_text(json.dumps(formulas, ensure_ascii=False), "utf-8")
    (folder / "herbs.json").write_text(json.dumps(herbs, ensure_ascii=False), "utf-8")
    return folder
