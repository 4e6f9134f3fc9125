"""Tiny models and rows of every stage, made once a session."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import small
from trainers.load import quiet_libraries

quiet_libraries()
# Two threads that wait for each other on a busy machine are slower than one, a hundred times so for tiny matrices.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


PAIRS = [
    {"prompt": [user(f"第{n}问：血压高怎么办？")], "chosen": [says("低盐饮食。")], "rejected": [says("多吃盐。")]}
    for n in range(8)
]
ROWS: dict[str, list[dict[str, Any]]] = {
    "pt": [{"text": f"语料{n}：高血压患者应当低盐饮食，定期测量血压。"} for n in range(12)],
    "sft": [{"messages": [user(f"问题{n}是什么？"), says(f"回答{n}。")]} for n in range(12)],
    "dpo": PAIRS,
    "orpo": PAIRS,
    "rm": PAIRS,
    "kto": [
        {"prompt": [user(f"问{n}")], "completion": [says("好的。" if n % 2 else "不行。")], "label": bool(n % 2)}
        for n in range(8)
    ],
    "grpo": [{"question": f"第{n}题", "options": {"A": "甘草", "B": "甘遂"}, "answer": ["A"]} for n in range(4)],
    "rloo": [{"prompt": f"第{n}题", "answer": "A"} for n in range(4)],
}


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3."""
    return small.save(tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama."""
    return small.save(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of rows for every stage."""
    folder = tmp_path_factory.mktemp("data")
    return {stage: write_rows(folder / f"{stage}.jsonl", rows) for stage, rows in ROWS.items()}
