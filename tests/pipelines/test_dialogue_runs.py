"""dialogue is killed at any moment and goes on at the next turn."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer
from tests.pipelines.command import command, ended, files, killed_when, lines_of, rows, started, until, write
from tests.pipelines.test_dialogue import EYE, TOOTH

KILLS = 5


def records(count: int) -> str:
    """Cases that differ, so that no call of one is the call of another."""
    made = []
    for number in range(count):
        record = dict((EYE, TOOTH)[number % 2])
        record["id"] = f"case {number}"
        record["medical_case"] = record["medical_case"].replace("一周内", f"{number + 2}天")
        record["medical_case"] = record["medical_case"].replace("病情描述：\n", f"病情描述：\n第{number}号来信。")
        made.append(record)
    return json.dumps(made, ensure_ascii=False)


@pytest.mark.slow
def test_kills_lose_no_turn_and_repeat_none_that_was_finished(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"cases.json": records(12)}) / "cases.json"
    log, out, whole = tmp_path / "log", tmp_path / "out.parquet", tmp_path / "whole.parquet"
    with ModelServer(reply=Clinic(), latency=0.01, log=log) as server:
        options = ("--model", "m", "--base-url", server.url, "--json", "--quiet", "--concurrency", 8)
        assert command("dialogue", source, "--out", whole, *options).code == 0
        expected = lines_of(log)
        draw, at, kills = random.Random(7), expected, 0
        in_flight = 0
        for _ in range(KILLS):
            at = lines_of(log) + draw.randint(1, expected // KILLS)
            process = started("dialogue", source, "--out", out, *options)
            if killed_when(process, lambda goal=at: lines_of(log) >= goal):  # type: ignore[misc]
                kills += 1
                in_flight += 8
        last = command("dialogue", source, "--out", out, *options)
    assert kills >= KILLS // 2 and last.code == 0 and last.summary["requests"]["cached"] > 0
    assert files(out)["out.parquet"] == files(whole)["whole.parquet"] and len(rows(out)) == 12
    asked = Counter(json.loads(line)["key"] for line in log.read_bytes().splitlines()[expected:])
    # Nothing but what was on the wire at a kill may be asked for again.
    assert sum(asked.values()) - len(asked) <= in_flight and len(asked) == expected


@pytest.mark.slow
def test_interrupted_it_says_so_and_goes_on(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"cases.json": records(8)}) / "cases.json"
    log, out = tmp_path / "log", tmp_path / "out.parquet"
    with ModelServer(reply=Clinic(), latency=0.02, log=log) as server:
        options = ("--model", "m", "--base-url", server.url, "--json", "--quiet")
        process = started("dialogue", source, "--out", out, *options)
        assert until(process, lambda: lines_of(log) > 20)
        os.kill(process.pid, signal.SIGINT)
        assert ended(process).code == 130 and not out.exists()
        assert command("dialogue", source, "--out", out, *options).summary["rows_written"] == 8


@pytest.mark.slow
def test_every_output_loads_in_datasets(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {"cases.json": records(2)}) / "cases.json"
    ask = write(tmp_path / "ask", {"a.csv": "ask,answer\n我最近老是头疼，怎么办？,多休息\n"}) / "a.csv"
    with ModelServer(reply=Clinic()) as server:
        options = ("--model", "m", "--base-url", server.url, "--quiet")
        assert command("dialogue", source, "--out", tmp_path / "d.parquet", *options).code == 0
        assert command("consult", ask, "--out", tmp_path / "c.parquet", "--keep-human", 5, *options).code == 0
    script = (
        "import sys, datasets\n"
        "for path in sys.argv[1:]:\n"
        "    rows = datasets.load_dataset('parquet', data_files=path, split='train')\n"
        "    assert rows[0]['messages'][0]['role'] == 'user', rows[0]\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "d.parquet"), str(tmp_path / "c.parquet")],
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
