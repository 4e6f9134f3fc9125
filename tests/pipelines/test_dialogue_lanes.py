"""dialogue before it is paid for, and in the lane of batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.llm.batch_server import BatchServer
from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer
from tests.pipelines.command import files, here, rows, write
from tests.pipelines.test_dialogue import EYE, TOOTH, cases, clinic, dialogue  # noqa: F401 two fixtures
from tests.pipelines.test_dialogue_sources import ARTICLE, GRAPH, REAL

PRICES = ("--price-in", 1, "--price-out", 4)
FREE = {"question": "我最近总是头痛。早上起来更重。睡得也不好。", "answer": "考虑紧张性头痛，注意休息。"}
SOURCES: dict[str, tuple[str, str, tuple[object, ...]]] = {
    "cases": ("a.json", json.dumps([EYE, TOOTH], ensure_ascii=False), ()),
    "single": ("a.json", json.dumps([EYE, TOOTH], ensure_ascii=False), ("--mode", "single")),
    "free": ("a.jsonl", json.dumps(FREE, ensure_ascii=False) + "\n", ()),
    "corpus": ("a.md", ARTICLE, ("--from-corpus",)),
    "graph": ("a.tsv", GRAPH, ("--from-kg",)),
    "rewrite": ("a.jsonl", json.dumps({"messages": REAL}, ensure_ascii=False) + "\n", ("--rewrite",)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_pilot_of_everything_is_the_whole_job_and_is_not_paid_twice(
    tmp_path: Path,
    out: Path,
    clinic: ModelServer,  # noqa: F811
    source: str,
) -> None:
    name, text, options = SOURCES[source]
    path = write(tmp_path / "in", {name: text}) / name
    dry = dialogue(path, out, clinic, *options, *PRICES, "--dry-run")
    assert dry.code == 0, dry.stderr
    assert dry.summary["dry_run"]["calls"] >= dry.summary["dry_run"]["items"] > 0
    assert clinic.seen == [] and not out.with_suffix(".work").exists()
    piloted = dialogue(path, out, clinic, *options, *PRICES, "--pilot", 9).summary["dry_run"]
    sent = len(clinic.seen)
    assert piloted["items"] == piloted["journalled"] == piloted["pilot"]["items"] and not out.exists()
    assert piloted["calls"] == 0 and piloted["pilot"]["calls"] == sent
    done = dialogue(path, out, clinic, *options, *PRICES)
    assert done.code == 0 and (done.summary["requests"]["sent"], len(clinic.seen)) == (0, sent)
    assert done.summary["rows_written"] == piloted["pilot"]["rows"] == len(rows(out))
    # What was foreseen is of the size of what came.
    assert sent / 3 <= dry.summary["dry_run"]["calls"] <= 3 * sent


def test_a_dry_run_of_the_rules_is_refused(tmp_path: Path, out: Path) -> None:
    graph = write(tmp_path, {"kg.tsv": GRAPH}) / "kg.tsv"
    ended = here("dialogue", graph, "--from-kg", "--model", "rules", "--out", out, "--dry-run")
    assert ended.code == 2 and "needs --model" in ended.line


def test_each_turn_is_a_batch_and_the_run_says_so(
    cases: Path,  # noqa: F811
    out: Path,
    tmp_path: Path,
    clinic: ModelServer,  # noqa: F811
) -> None:
    assert dialogue(cases, out, clinic, "--turns", "2-3").code == 0
    other = tmp_path / "batches" / out.name
    other.parent.mkdir()
    with BatchServer(reply=Clinic()) as server:
        options = ("--model", "m", "--base-url", server.url, "--lane", "batch", "--poll", 0, "--turns", "2-3")
        ended = here("dialogue", cases, "--out", other, "--json", *options)
        assert ended.code == 0, ended.stderr
        assert "up to 6 batches follow one another" in ended.stderr
        assert all(len(batch.lines) <= 2 for batch in server.batches) and 4 <= len(server.batches) <= 6
    assert files(other) == files(out)


def test_the_batch_lane_needs_an_endpoint(cases: Path, out: Path) -> None:  # noqa: F811
    ended = here("dialogue", cases, "--out", out, "--model", "transformers:x", "--lane", "batch")
    assert ended.code == 2 and "--lane batch: needs --model NAME of an endpoint" in ended.line
