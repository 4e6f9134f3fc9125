"""Every fault an endpoint has, through the whole command: one job in which each row meets another of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pipelines.asking as asking
from tests.llm.model_server import FAULTS, Message, ModelServer, planned
from tests.pipelines.command import Ended, answer, beside, here, rows, write

ATTEMPTS = 2
# What stays broken: class, calls made, and what the message says.
FAILING = {
    "server": ("server", 2, "500"),
    "busy": ("server", 2, "503 overloaded"),
    "bad_request": ("server", 1, "max_tokens is not supported"),
    "filter": ("content_filter", 1, "inappropriate content"),
    "filter_200": ("content_filter", 1, "withheld"),
    "long": ("context_length", 1, "maximum context length"),
    "reset": ("connection", 2, "broken"),
    "reset_body": ("connection", 2, "broken"),
    "short": ("connection", 2, "broken"),
    "not_http": ("connection", 2, "broken"),
    "bad_gzip": ("connection", 2, "broken"),
    "drip": ("timeout", 2, "deadline"),
    "hang": ("timeout", 2, "deadline"),
    "truncated_json": ("malformed", 2, "not a JSON object"),
    "html": ("malformed", 2, "not a JSON object"),
    "bad_utf8": ("malformed", 2, "not a JSON object"),
    "no_choices": ("malformed", 2, "no choices"),
    "error_200": ("server", 2, "blew up"),
    "null": ("empty", 2, "empty"),
    "blank": ("empty", 2, "empty"),
    "think_open": ("empty", 2, "empty"),
    "reasoning_only": ("empty", 2, "empty"),
    "length": ("truncated", 1, "token limit"),
    "length_thinking": ("truncated", 1, "token limit"),
}
# What passes: pushback that ends, and replies that are good in spite of what stands around them.
PASSING = {
    "rate": ["rate", "rate"],
    "rate:0.2": ["rate:0.2"],
    "rate_date:1": ["rate_date:1"],
    "rate_minute": ["rate_minute"],
    "busy:0": ["busy:0"],
    "think": ["think!"],
    "reasoning": ["reasoning!"],
    "reasoning_field": ["reasoning_field!"],
    "no_usage": ["no_usage!"],
    "blank_lines": ["blank_lines!"],
}
STOPPING = {
    "quota": "current quota",
    "quota_200": "no",
    "auth": "Incorrect API key",
    "forbidden": "not for you",
    "model": "does not exist",
    "path": "is the base URL right?",
}
NUMBERS = {fault: number for number, fault in enumerate([*FAILING, *PASSING, ""])}


def passage(number: int) -> str:
    """A text like no other."""
    symptom = f"第{number}号病例的收缩压为{100 + number} mmHg"
    return f"{symptom}，诊断为第{number}型高血压，每日服药{number}片，{number}天后复查。"


def honest(messages: list[Message]) -> str:
    """A question about the case, and the passage itself for an answer."""
    prompt = messages[-1]["content"]
    found = re.search(r"第(\d+)号病例的", prompt)
    assert found
    text = passage(int(found[1]))
    return text if re.search(r"\n\n问题：[^\n]*\Z", prompt) else f"第{found[1]}号病例应当怎样诊断和治疗？"


def source(fault: str) -> str:
    """The file whose passage meets a fault."""
    return f"{NUMBERS[fault]:03d}.md"


def asked_about(server: ModelServer, since: int = 0) -> Counter[str]:
    """Requests by the source of their passage."""
    numbers = (re.search(r"第(\d+)号病例的", seen.body["messages"][-1]["content"]) for seen in server.seen[since:])
    return Counter(f"{int(found[1]):03d}.md" for found in numbers if found)


@dataclass
class Story:
    """A job among faults, the same line again, and `--retry-failed` after the endpoint has been mended."""

    first: Ended
    pairs: list[dict[str, Any]]
    failed: dict[str, dict[str, Any]]  # source → row
    asked: Counter[str]  # source → requests, first run
    asked_again: Counter[str]
    mended: Ended
    pairs_mended: list[dict[str, Any]]
    asked_mended: Counter[str]
    failed_mended: bool


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("faults")
    pages = {source(fault): f"# 病例\n\n## 治疗\n\n{passage(number)}\n" for fault, number in NUMBERS.items()}
    folder, out = write(place / "in", pages), place / "sft.parquet"
    plans = {fault: [f"{fault}!"] for fault in FAILING} | PASSING
    plan = planned({f"第{NUMBERS[fault]}号病例的": faults for fault, faults in plans.items()})
    broken = {"now": True}
    with (
        pytest.MonkeyPatch.context() as patch,
        ModelServer(reply=honest, fault=lambda key, nth, body: plan(key, nth, body) if broken["now"] else "") as server,
    ):
        patch.setattr(asking, "Settings", partial(asking.Settings, backoff=0.01))
        line = ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--json"]
        line += ["--attempts", ATTEMPTS, "--timeout", 2, "--concurrency", len(NUMBERS)]
        first = here(*line)
        asked = asked_about(server)
        pairs, failed = rows(out), {row["source"]: row for row in rows(beside(out, "failed"))}
        before = len(server.seen)
        assert here(*line).code == 3
        asked_again = asked_about(server, before)
        broken["now"] = False
        before = len(server.seen)
        mended = here(*line, "--retry-failed")
        yield Story(
            first,
            pairs,
            failed,
            asked,
            asked_again,
            mended,
            rows(out),
            asked_about(server, before),
            beside(out, "failed").exists(),
        )


def test_every_fault_of_the_server_is_in_the_story_or_stops_it():
    told = {fault.partition(":")[0] for fault in [*FAILING, *PASSING, *STOPPING]}
    answers_to_what_unify_does_not_send = {"no_format", "no_max_tokens", "no_logprobs", "few_logprobs"}
    assert set(FAULTS) - told == {"", *answers_to_what_unify_does_not_send}
    assert {"reset", "reset_body", "short", "drip", "hang"} <= told


@pytest.mark.parametrize("fault", FAILING)
def test_a_row_that_fails_for_good_says_why(story: Story, fault: str):
    kind, attempts, said = FAILING[fault]
    row = story.failed[source(fault)]
    assert (row["step"], row["class"], row["attempts"]) == ("question", kind, attempts)
    assert said in row["message"] and "\n" not in row["message"]
    assert story.asked[source(fault)] == attempts


@pytest.mark.parametrize("fault", [*PASSING, ""])
def test_what_passes_leaves_a_row_as_if_nothing_had_happened(story: Story, fault: str):
    [row] = [row for row in story.pairs if row["source"] == source(fault)]
    assert answer(row) == passage(NUMBERS[fault])
    assert "想" not in str(row["messages"]) and "think" not in str(row["messages"])
    assert story.asked[source(fault)] == 2 + 2 * len([step for step in PASSING.get(fault, []) if step[-1] != "!"])


def test_the_run_ends_with_3_and_counts_by_class(story: Story):
    assert story.first.code == 3
    assert story.first.summary["failed"] == dict(Counter(kind for kind, _, _ in FAILING.values()))
    assert story.first.summary["rows_written"] == len(PASSING) + 1
    assert set(story.failed) == {source(fault) for fault in FAILING}
    assert "--retry-failed" in story.first.line


def test_the_same_line_again_asks_for_nothing(story: Story):
    assert not story.asked_again


def test_retry_failed_asks_for_the_failed_rows_alone_and_all_come(story: Story):
    assert story.mended.code == 0, story.mended.stderr
    assert story.asked_mended == {source(fault): 2 for fault in FAILING}
    assert not story.failed_mended
    assert [row["source"] for row in story.pairs_mended] == sorted(source(fault) for fault in NUMBERS)
    assert [answer(row) for row in story.pairs_mended] == [passage(number) for number in NUMBERS.values()]


@pytest.mark.parametrize("fault", STOPPING)
def test_what_would_fail_every_row_stops_with_4_and_fails_none(tmp_path: Path, fault: str):
    folder = write(tmp_path / "in", {f"{n}.md": f"# 病例\n\n## 治疗\n\n{passage(n)}\n" for n in (1, 2)})
    with ModelServer(reply=honest, fault=planned({"": [f"{fault}!"]})) as server:
        out = tmp_path / "sft.parquet"
        done = here("unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--json")
    assert done.code == 4
    assert STOPPING[fault] in done.line and server.url in done.line
    assert not out.exists() and not beside(out, "failed").exists()
    assert len(server.seen) <= 2


def test_the_reasoning_effort_is_sent_and_another_one_is_asked_anew(tmp_path: Path):
    folder = write(tmp_path / "in", {"1.md": f"# 病例\n\n## 治疗\n\n{passage(1)}\n"})
    out = tmp_path / "sft.parquet"
    with ModelServer(reply=honest, fault=planned({"": ["think!"]})) as server:
        line = ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--reasoning-effort"]
        assert here(*line, "low").code == 0
        changed = here(*line, "none")
        assert changed.code == 2 and 'reasoning_effort was "low", now "none"' in changed.line
        assert here(*line, "none", "--fresh").code == 0
        assert here(*line, "low", "--fresh").code == 0  # paid for before
        refused = here(*line, "very much")
    assert [seen.body["reasoning_effort"] for seen in server.seen] == ["low", "low", "none", "none"]
    assert (refused.code, "must be a word" in refused.line) == (2, True)
    export = tmp_path / "raw.jsonl"
    assert here("journal", out, "--export", export).code == 0
    stored = [json.loads(line) for line in export.read_text(encoding="utf-8").splitlines()]
    assert [line["request"]["reasoning_effort"] for line in stored] == ["low", "low", "none", "none"]
    assert {line["reasoning"] for line in stored} == {"想"}
    assert [answer(row) for row in rows(out)] == [passage(1)]
