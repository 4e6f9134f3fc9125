"""`transformers serve` as a real OpenAI-compatible server, with a tiny random model.

What it says is nonsense, and all of it is stored, checked and accounted for.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure
from datatools.llm.journal import Journal
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from datatools.llm.structured import response_format
from tests import small
from tests.pipelines.command import beside, here, rows

pytestmark = pytest.mark.slow

LIFETIME = "300"  # seconds: a server left behind by a killed test ends by itself
READY = re.compile(r"running on (http://127\.0\.0\.1:\d+)")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small.save(tmp_path_factory.mktemp("tiny"), "llama", context=4096)
    # Sampled, with one token in ten as an end: greedily a random model repeats itself up to the server's 1,024 tokens.
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, "eos_token_id": list(range(40))}))
    return folder


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """The base URL of the server, once it answers."""
    transformers = Path(sys.executable).with_name("transformers")
    command = ["timeout", LIFETIME, transformers, "serve", model, "--device", "cpu", "--host", "127.0.0.1", "--port", 0]
    server = subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if found := READY.search(line):
            break
    else:
        pytest.fail("".join(said))
    yield f"{found[1]}/v1"
    server.terminate()
    server.communicate()


def test_unify_accounts_for_every_passage_and_asks_nothing_twice(
    url: str, model: Path, example_corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sft.parquet"
    page = example_corpus / "iron-deficiency-anaemia.md"
    asked = ["--model", model, "--base-url", url, "--temperature", 1]
    line = ["unify", page, "--out", out, *asked, "--json"]
    done = here(*line)
    assert done.code in (0, 3), done.stderr
    summary = done.summary
    assert summary["rows_read"] > 1
    results = [row["id"] for kind in ("trace", "failed") for row in rows(beside(out, kind))]
    assert len(rows(out)) + len(results) >= summary["rows_read"]
    assert set(summary["failed"]) <= {"truncated", "empty", "malformed"}
    with Journal(tmp_path / "sft.work" / "journal.sqlite") as journal:
        counts = journal.counts()
    assert (counts.replies, counts.errors) == (summary["requests"]["sent"], {})
    again = here(*line, "--fresh")
    assert again.summary["requests"]["sent"] == 0
    assert again.summary["rows_written"] == summary["rows_written"]


def test_what_the_server_does_not_know_is_no_error(url: str, model: Path, tmp_path: Path) -> None:
    class Score(BaseModel):
        score: int

    async def ask() -> tuple[Reply | Failure, int]:
        request = Request(
            [{"role": "user", "content": "感冒怎么办？"}],
            max_tokens=1,
            reasoning_effort="low",
            response_format=response_format(Score),
        )
        with Journal(tmp_path / "journal.sqlite") as journal:
            async with Runner(Endpoint(url, str(model)), journal) as runner:
                outcome = await runner.ask(request)
                return outcome, runner.counters.completion_tokens

    outcome, tokens = asyncio.run(ask())
    # One token and, as that is cut off, two more; both may be an end.
    assert tokens in (1, 2, 3)
    assert isinstance(outcome, Reply) or outcome.kind in ("truncated", "empty")
