"""A model in this process: batches, ends, seeds, what it says when it cannot."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from datatools.llm.errors import Failure
from datatools.llm.journal import Journal
from datatools.llm.reply import parse
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner, Settings
from datatools.llm.transformers_model import BATCH, TransformersModel
from tests import small

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("tiny"), "llama")


def asked(text: str, **more: Any) -> Request:
    return Request([{"role": "user", "content": text}], **{"max_tokens": 8, **more})


def answers(model: TransformersModel, requests: list[Request]) -> list[bytes]:
    async def all_of_them() -> list[bytes]:
        try:
            return await asyncio.gather(*(model.post(request) for request in requests))
        finally:
            await model.close()

    return asyncio.run(all_of_them())


def test_a_reply_is_a_chat_completion(folder: Path) -> None:
    model = TransformersModel(f"transformers:{folder}")
    (raw,) = answers(model, [asked("感冒怎么办？")])
    body = json.loads(raw)
    assert body["usage"]["completion_tokens"] <= 8
    assert body["usage"]["prompt_tokens"] > 3
    assert body["choices"][0]["finish_reason"] in ("stop", "length")


def test_alone_and_in_a_batch_the_words_are_the_same(folder: Path) -> None:
    model = TransformersModel(f"transformers:{folder}")
    requests = [asked("感冒" * count) for count in range(1, 2 * BATCH)]
    together = answers(model, requests)
    alone = [answers(model, [request])[0] for request in requests[::9]]
    assert together[::9] == alone


def test_waiting_requests_are_generated_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransformersModel(f"transformers:{folder}")
    sizes: list[int] = []
    generate = model._generate
    monkeypatch.setattr(model, "_generate", lambda requests: sizes.append(len(requests)) or generate(requests))
    answers(model, [asked(f"问{number}") for number in range(BATCH + 3)] + [asked("别的", max_tokens=3)])
    assert sizes == [BATCH, 3, 1]


def test_what_does_not_fit_into_memory_is_done_in_halves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model = TransformersModel(f"transformers:{folder}")
    generate = model._generate

    def with_room_for_three(requests: list[Request]) -> list[bytes]:
        if len(requests) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return generate(requests)

    requests = [asked(f"问{number}") for number in range(10)]
    expected = answers(model, requests)
    monkeypatch.setattr(model, "_generate", with_room_for_three)
    assert answers(model, requests) == expected


def test_a_temperature_samples_and_the_same_requests_are_sampled_alike(folder: Path) -> None:
    model = TransformersModel(f"transformers:{folder}")
    warm = [asked("感冒怎么办？", temperature=1.5, max_tokens=24)]
    assert answers(model, warm) == answers(model, warm)
    other = [asked("感冒怎么办？", temperature=1.5, max_tokens=24, sample=1)]
    assert answers(model, warm) != answers(model, other)


def test_a_prompt_beyond_the_context_is_a_failure_of_that_row_alone(folder: Path) -> None:
    model = TransformersModel(f"transformers:{folder}")
    long, short = answers(model, [asked("感冒" * 600), asked("感冒")])
    outcome = parse(long)
    assert isinstance(outcome, Failure)
    assert outcome.kind == "context_length"
    assert isinstance(parse(short), Reply | Failure)
    assert b"choices" in short


def test_without_a_number_a_reply_may_fill_the_context(folder: Path) -> None:
    model = TransformersModel(f"transformers:{folder}")
    prompt = asked("感冒" * 20, max_tokens=None)
    usage = json.loads(answers(model, [prompt])[0])["usage"]
    assert usage["completion_tokens"] <= 512 - usage["prompt_tokens"]
    assert usage["completion_tokens"] > 8


def test_other_weights_have_another_identity(folder: Path, tmp_path: Path) -> None:
    same = TransformersModel(f"transformers:{folder}").identity
    assert TransformersModel(f"transformers:{folder}").identity == same
    other = small.save(tmp_path / "other", "llama", seed=1)
    assert TransformersModel(f"transformers:{other}").identity != same


def test_the_runner_journals_it_and_asks_for_nothing_twice(folder: Path, tmp_path: Path) -> None:
    async def run() -> tuple[list[Any], int]:
        with Journal(tmp_path / "journal.sqlite") as journal:
            async with Runner(TransformersModel(f"transformers:{folder}"), journal, Settings()) as runner:
                found = await asyncio.gather(*(runner.ask(asked(f"问{number}")) for number in range(5)))
                return found, runner.counters.sent

    first, sent = asyncio.run(run())
    second, again = asyncio.run(run())
    assert sent >= 5
    texts = [getattr(outcome, "text", outcome.__class__) for outcome in first]
    assert [getattr(outcome, "text", outcome.__class__) for outcome in second] == texts
    replied = sum(isinstance(outcome, Reply) for outcome in first)
    assert again <= sent - replied


def test_what_is_missing_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="no model of that id or path"):
        TransformersModel(f"transformers:{tmp_path / 'nowhere'}")
    bare = small.save(tmp_path / "bare", "llama", template=None)
    with pytest.raises(ValueError, match="no chat template"):
        TransformersModel(f"transformers:{bare}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'medical-datatools\[train\]'"):
        TransformersModel(f"transformers:{folder}")
