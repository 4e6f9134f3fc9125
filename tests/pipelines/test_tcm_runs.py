"""tcm with a model is killed at any moment and goes on at the next call, also in the rounds that make good."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import datasets
import pytest

from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer
from tests.pipelines.command import command, ended, files, killed_when, lines_of, rows, started, until

KILLS = 5
# A fifth of the answers is not usable, so that there are rounds after the first.
CLINIC = Clinic({"wrong_language": 0.4, "answers_unanswerable": 0.3}, seed=5)


@pytest.mark.slow
def test_kills_lose_no_reply_and_repeat_none_that_was_stored(graph: Path, tmp_path: Path) -> None:
    log, out, whole = tmp_path / "log", tmp_path / "out.parquet", tmp_path / "whole.parquet"
    with ModelServer(reply=CLINIC, latency=0.01, log=log) as server:
        options = ("--model", "m", "--base-url", server.url, "--json", "--quiet", "--concurrency", 8, "--per-entity", 3)
        assert command("tcm", graph, "--out", whole, *options).code == 0
        assert json.loads((tmp_path / "whole.work" / "report.json").read_text("utf-8"))["tcm"]["rounds"] > 1
        expected = lines_of(log)
        draw, kills = random.Random(7), 0
        for _ in range(KILLS):
            at = lines_of(log) + draw.randint(1, expected // KILLS)
            process = started("tcm", graph, "--out", out, *options)
            kills += killed_when(process, lambda goal=at: lines_of(log) >= goal)  # type: ignore[misc]
        last = command("tcm", graph, "--out", out, *options)
    assert kills >= KILLS // 2 and last.code == 0 and last.summary["requests"]["cached"] > 0
    assert files(out)["out.parquet"] == files(whole)["whole.parquet"]
    assert files(out)["out.trace.parquet"] == files(whole)["whole.trace.parquet"]
    keys = [json.loads(line)["key"] for line in log.read_bytes().splitlines()]
    once, asked = Counter(keys[:expected]), Counter(keys[expected:])
    # Nothing but what was on the wire at a kill may be asked for again; second tries have the words of the first.
    assert asked >= once and asked.total() - expected <= 8 * kills
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.num_rows == len(rows(out)) and loaded[0]["messages"][0]["role"] == "user"


@pytest.mark.slow
def test_interrupted_it_says_so_and_goes_on(graph: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out.parquet"
    with ModelServer(reply=Clinic(), latency=0.02, log=log) as server:
        options = ("--model", "m", "--base-url", server.url, "--json", "--quiet", "--per-entity", 2)
        process = started("tcm", graph, "--out", out, *options)
        assert until(process, lambda: lines_of(log) > 20)
        os.kill(process.pid, signal.SIGINT)
        assert ended(process).code == 130 and not out.exists()
        assert command("tcm", graph, "--out", out, *options).code == 0
