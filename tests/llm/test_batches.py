"""Requests as batch files against a real server: nothing is executed twice, nothing is lost, whatever breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from datatools.llm import batch_courier, structured
from datatools.llm import batches as batches_module
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.money import Budget, Price
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner, Settings
from tests.llm.batch_server import Batch, BatchServer, nth
from tests.llm.model_server import echo, planned

BATCH = Settings(backoff=0.001, lane="batch", poll=0.0)
SYNC = Settings(backoff=0.001, poll=0.0)
NAMES = [f"病{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def quick_but_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "LULL", 0.01)
    monkeypatch.setattr(batch_courier, "PATIENCE", 60_000.0)  # a minute on a busy machine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def asked(text: str, **parameters: Any) -> Request:
    return Request([{"role": "user", "content": text}], **parameters)


def run(
    path: Path,
    url: str,
    requests: Sequence[Request],
    settings: Settings = BATCH,
    timeout: float = 30.0,
    budget: Budget | None = None,
) -> tuple[list[Any], Runner, list[str]]:
    """What each request comes to, the runner after it, and what it said; with exceptions in place of outcomes."""
    said: list[str] = []

    async def main() -> tuple[list[Any], Runner, list[str]]:
        with Journal(path) as journal:
            endpoint = Endpoint(url, "m", timeout=timeout)
            async with Runner(endpoint, journal, settings, said.append, budget) as runner:
                return await asyncio.gather(*map(runner.ask, requests), return_exceptions=True), runner, said

    return asyncio.run(main())


def texts(outcomes: Sequence[Any]) -> list[str]:
    return [outcome.text for outcome in outcomes]


REQUESTS = [asked(name) for name in NAMES]
REPLIES = [echo([{"content": name}]) for name in NAMES]


def unfinished(path: Path) -> tuple[int, int]:
    """Calls that may have been billed for nothing, and those that wait in batches."""
    with Journal(path) as journal:
        counts = journal.counts()
    return counts.may_have_been_billed, counts.in_batches


# What goes together, and what is kept


def test_who_waits_at_the_same_time_is_one_batch(path: Path) -> None:
    with BatchServer() as server:
        outcomes, runner, said = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8]
    assert (runner.counters.sent, runner.counters.cached, runner.counters.retried) == (8, 0, 0)
    assert runner.counters.completion_tokens == sum(map(len, REPLIES))
    assert [line.partition(":")[0] for line in said] == ["batch batch_0"] * 2
    assert unfinished(path) == (0, 0)


def test_the_lanes_have_their_replies_in_common(path: Path) -> None:
    with BatchServer() as server:
        run(path, server.url, REQUESTS[:4])
        outcomes, runner, _ = run(path, server.url, REQUESTS, SYNC)
        assert texts(outcomes) == REPLIES
        assert (runner.counters.sent, runner.counters.cached) == (4, 4)
        outcomes, runner, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert (runner.counters.sent, server.calls["upload"]) == (0, 1)
    assert set(server.executed.values()) == {1}


def test_equal_requests_are_in_a_batch_once(path: Path) -> None:
    with BatchServer() as server:
        outcomes, runner, _ = run(path, server.url, REQUESTS * 3)
    assert texts(outcomes) == REPLIES * 3
    assert (runner.counters.sent, runner.counters.cached, len(server.batches[0].lines)) == (8, 16, 8)


def test_a_line_is_what_would_be_sent_as_a_call(path: Path, tmp_path: Path) -> None:
    requests = [asked("感冒", temperature=0.5, max_tokens=9, reasoning_effort="low", sample=2)]
    with BatchServer() as server:
        run(path, server.url, requests)
        run(tmp_path / "other.sqlite", server.url, requests, SYNC)
    assert server.batches[0].lines[0]["body"] == {
        "model": "m",
        "messages": [{"role": "user", "content": "感冒"}],
        "temperature": 0.5,
        "max_tokens": 9,
        "reasoning_effort": "low",
    }
    assert list(server.executed.values()) == [2]  # the same body from both lanes


@pytest.mark.parametrize("name, value", [("_most", 3), ("MOST_BYTES", 3 * 300)])
def test_a_file_holds_no_more_than_the_endpoint_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    monkeypatch.setattr(batches_module, "MOST_REQUESTS" if name == "_most" else name, value)
    with BatchServer() as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert all(len(content) <= 900 for content in server.files.values()) or name == "_most"
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [3, 3, 2]


def test_thinking_is_kept_out_and_a_cut_answer_gets_more_room(path: Path) -> None:
    def row(key: str, number: int, body: dict[str, Any]) -> str:
        return {None: "think", 8: "length"}.get(body.get("max_tokens"), "")

    with BatchServer(row=row) as server:
        outcomes, _, _ = run(path, server.url, [asked("感冒"), asked("痛风", max_tokens=8)])
    assert texts(outcomes) == [echo([{"content": "感冒"}]), echo([{"content": "痛风"}])]
    assert outcomes[0].reasoning == "想"
    assert [line["body"].get("max_tokens") for batch in server.batches for line in batch.lines] == [None, 8, 16]


def test_a_parameter_goes_under_the_name_that_the_endpoint_wants(path: Path) -> None:
    def row(key: str, number: int, body: dict[str, Any]) -> str:
        return "no_max_tokens" if "max_tokens" in body else ""

    with BatchServer(row=row) as server:
        outcomes, _, _ = run(path, server.url, [asked(name, max_tokens=50) for name in NAMES])
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8, 8]


def test_fields_are_asked_for_in_batches_too(path: Path) -> None:
    class Score(BaseModel):
        score: int

    def row(key: str, number: int, body: dict[str, Any]) -> str:
        return "no_format" if "response_format" in body else ""

    async def main(url: str) -> list[Any]:
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, BATCH) as runner:
                return await asyncio.gather(*(structured.ask(runner, request, Score) for request in REQUESTS))

    with BatchServer(reply=lambda messages: json.dumps({"score": len(messages)}), row=row) as server:
        found = asyncio.run(main(server.url))
    assert [one.value.score for one in found] == [1] * 8
    assert [len(batch.lines) for batch in server.batches] == [8, 8]


# Requests that fail


@pytest.mark.parametrize(
    "fault", ["server", "rate", "busy:0", "null", "no_choices", "error_200", "missing", "expired", "html"]
)
def test_a_request_that_may_succeed_is_asked_again_in_another_batch(path: Path, fault: str) -> None:
    with BatchServer(row=planned({"病3": [fault, fault]})) as server:
        outcomes, runner, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8, 1, 1]
    assert (runner.counters.sent, runner.counters.retried) == (10, 2)
    assert unfinished(path) == (2 if fault == "missing" else 0, 0)


@pytest.mark.parametrize(("fault", "lost"), [("missing", True), ("expired", False), ("server", False)])
def test_what_may_have_been_billed_counts_against_the_budget(path: Path, fault: str, lost: bool) -> None:
    budget = Budget(1e9, Price(1.0, 1.0))
    with BatchServer(row=planned({"病3": [fault]})) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS, budget=budget)
    assert texts(outcomes) == REPLIES
    assert (budget.lost > 0) == lost and budget.spent > budget.lost and budget.reserved == 0


@pytest.mark.parametrize(
    "fault, kind, number",
    [
        ("filter", "content_filter", 1),
        ("long", "context_length", 1),
        ("bad_request", "server", 1),
        ("server!", "server", 5),
    ],
)
def test_a_request_that_fails_for_good_has_its_class_and_is_not_asked_again(
    path: Path, fault: str, kind: str, number: int
) -> None:
    with BatchServer(row=planned({"病3": [fault]})) as server:
        for _ in range(2):
            outcomes, _, _ = run(path, server.url, REQUESTS)
            failed = outcomes.pop(3)
            assert isinstance(failed, Failure)
            assert (failed.kind, failed.attempts) == (kind, number)
            assert texts(outcomes) == REPLIES[:3] + REPLIES[4:]
        assert len(server.batches) == number
        server.row = planned({})
        outcomes, _, _ = run(path, server.url, REQUESTS, replace(BATCH, retry_failed=True))
    assert texts(outcomes) == REPLIES
    assert len(server.batches) == number + 1


def test_a_refusal_that_all_would_meet_ends_the_run_and_keeps_what_came(path: Path) -> None:
    with BatchServer(row=planned({"病3": ["quota"]})) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert isinstance(outcomes[3], Stopped) and outcomes[3].failure.kind == "quota"
        assert texts(run(path, server.url, REQUESTS)[0]) == REPLIES
    assert sorted(server.executed.values()) == [1] * 7 + [2]


# Batches that fail


def only(number: int, fault: str) -> Callable[[int, list[dict[str, Any]]], str]:
    return lambda nth, lines: fault if nth == number else ""


def test_what_an_expired_batch_did_not_do_is_asked_again(path: Path) -> None:
    with BatchServer(batch=only(1, "expired")) as server:
        outcomes, runner, said = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8, 4]
    assert set(server.executed.values()) == {1}
    assert runner.counters.retried == 4
    assert "expired, 4 replies, 4 without" in "".join(said)
    assert unfinished(path) == (0, 0)


def test_who_cancels_a_batch_ends_the_run_and_the_next_one_asks_for_the_rest(path: Path) -> None:
    with BatchServer(batch=only(1, "cancelled")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert sum(isinstance(outcome, Reply) for outcome in outcomes) == 4
        [stopped] = {str(outcome) for outcome in outcomes if isinstance(outcome, Stopped)}
        assert "batch_0: it was cancelled" in stopped
        assert len(server.batches) == 1
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert set(server.executed.values()) == {1}


def test_more_tokens_than_may_wait_makes_batches_smaller_and_one_at_a_time(path: Path) -> None:
    def batch(number: int, lines: list[dict[str, Any]]) -> str:
        under_way = sum(len(other.lines) for other in server.batches if len(other.states) > 1)
        return "token_limit" if under_way + len(lines) > 2 else ""

    with BatchServer(batch=batch) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8, 4, 2, 2, 2, 2]
    assert set(server.executed.values()) == {1}


def test_a_file_that_is_too_large_is_halved(path: Path) -> None:
    with BatchServer(call=nth("upload", 1, "too_large")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [4, 4]


def test_the_line_at_fault_fails_and_the_others_go_on(path: Path) -> None:
    with BatchServer(batch=only(1, "invalid_line")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    failed = outcomes.pop(1)
    assert isinstance(failed, Failure)
    assert (failed.kind, "not parseable" in failed.message) == ("server", True)
    assert texts(outcomes) == REPLIES[:1] + REPLIES[2:]
    assert set(server.executed.values()) == {1}


@pytest.mark.parametrize(
    "fault, kind, said",
    [
        ("invalid", "server", "not what it should be"),
        ("no_model", "auth", "not supported by the Batch API"),
        ("quota", "quota", "hard limit"),
    ],
)
def test_a_batch_that_is_refused_ends_the_run(path: Path, fault: str, kind: str, said: str) -> None:
    with BatchServer(batch=only(1, fault)) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert {(type(outcome), outcome.failure.kind) for outcome in outcomes} == {(Stopped, kind)}
        assert said in str(outcomes[0])
        assert not server.executed
        assert texts(run(path, server.url, REQUESTS)[0]) == REPLIES


# Calls that break


@pytest.mark.parametrize("fault", ["rate", "server", "reset", "lost", "html", "empty", "hang_before", "hang_after"])
@pytest.mark.parametrize("route", ["upload", "create", "look", "content"])
def test_a_call_that_breaks_is_made_again_and_no_batch_twice(path: Path, route: str, fault: str) -> None:
    with BatchServer(call=nth(route, 1, fault)) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS, timeout=0.3 if fault.startswith("hang") else 30.0)
    assert texts(outcomes) == REPLIES
    assert (len(server.batches), set(server.executed.values())) == (1, {1})


@pytest.mark.parametrize("forgets", [False, True], ids=["by-name", "by-file"])
def test_the_search_for_a_batch_goes_on_over_pages_and_faults(path: Path, forgets: bool) -> None:
    def call(route: str, count: int) -> str:
        if (route, count) == ("list", 1):  # in the meantime others have begun theirs, and a page holds two
            server.batches += [Batch(f"batch_other_{number}", "file-other", {}, [], "") for number in range(3)]
            return "server"
        return "lost" if (route, count) == ("create", 1) else ""

    with BatchServer(call=call, forgets=forgets) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert [len(batch.lines) for batch in server.batches] == [8, 0, 0, 0]


def test_a_file_that_breaks_off_is_read_on(path: Path) -> None:
    with BatchServer(call=nth("content", 1, "cut")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert (len(server.batches), server.calls["content"]) == (1, 2)


def test_a_file_that_lacks_lines_is_read_again(path: Path) -> None:
    """As one does that broke off at the end of a line, without anybody noticing."""
    with BatchServer(call=nth("content", 1, "short")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert (len(server.batches), server.calls["content"]) == (1, 2)


def test_a_file_that_is_none_ends_the_run_and_is_not_paid_for_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_courier, "PATIENCE", 200.0)
    with BatchServer(call=nth("content", 0, "html")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert {type(outcome) for outcome in outcomes} == {Stopped}
        server.call = lambda route, count: ""
        monkeypatch.setattr(batch_courier, "PATIENCE", 60_000.0)
        assert texts(run(path, server.url, REQUESTS)[0]) == REPLIES
    assert (len(server.batches), set(server.executed.values())) == (1, {1})


@pytest.mark.parametrize("route", ["upload", "create", "look", "content"])
def test_a_key_that_is_refused_ends_the_run_and_loses_nothing(path: Path, route: str) -> None:
    with BatchServer(call=nth(route, 1, "auth")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert {type(outcome) for outcome in outcomes} == {Stopped}
        assert "sk-secret" not in str(outcomes[0])
        outcomes, _, _ = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert (len(server.batches), set(server.executed.values())) == (1, {1})


def test_an_endpoint_without_batches_is_said_to_be_one(path: Path) -> None:
    with BatchServer(call=nth("upload", 0, "not_found")) as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert "does it take batches?" in str(outcomes[0])
        # What was begun there and never sent is no obstacle to calls.
        server.call = lambda route, count: ""
        assert texts(run(path, server.url, REQUESTS, SYNC)[0]) == REPLIES


def test_nobody_there_ends_the_run(path: Path) -> None:
    with BatchServer() as server:
        url = server.url
    outcomes, _, _ = run(path, url, REQUESTS)
    assert {type(outcome) for outcome in outcomes} == {Stopped}
    with BatchServer() as server:
        assert texts(run(path, server.url, REQUESTS)[0]) == REPLIES
    assert set(server.executed.values()) == {1}


# Batches of earlier runs


def left_under_way(path: Path, server: BatchServer, requests: Sequence[Request] = REQUESTS) -> None:
    """A run that sent a batch and then ended."""
    call, server.call = server.call, nth("look", 1, "auth")
    run(path, server.url, requests)
    server.call = call


@pytest.mark.parametrize("settings", [BATCH, SYNC], ids=["batch", "sync"])
def test_a_batch_under_way_is_waited_for_in_both_lanes(path: Path, settings: Settings) -> None:
    with BatchServer() as server:
        left_under_way(path, server)
        assert unfinished(path) == (0, 8)
        more = [*REQUESTS, asked("另一个")]
        outcomes, runner, _ = run(path, server.url, more, settings)
        assert texts(outcomes) == [*REPLIES, echo([{"content": "另一个"}])]
        assert (runner.counters.sent, runner.counters.cached) == (1, 8)
        assert runner.total().completion_tokens == sum(len(outcome.text) for outcome in outcomes)
    assert set(server.executed.values()) == {1}


def test_a_batch_that_nobody_asks_for_does_not_end_the_run(path: Path) -> None:
    with BatchServer() as server:
        left_under_way(path, server, [asked("旧")])
    with BatchServer() as server:  # which does not know that batch
        outcomes, _, said = run(path, server.url, REQUESTS)
    assert texts(outcomes) == REPLIES
    assert "left as it is" in "".join(said)


def test_a_batch_that_is_not_known_any_more_is_asked_for_again_only_when_told(path: Path) -> None:
    with BatchServer() as server:
        left_under_way(path, server)
    with BatchServer() as server:
        outcomes, _, _ = run(path, server.url, REQUESTS)
        assert {type(outcome) for outcome in outcomes} == {Stopped}
        assert "--retry-failed asks again for its 8 requests" in str(outcomes[0])
        assert not server.executed
        outcomes, _, _ = run(path, server.url, REQUESTS, replace(BATCH, retry_failed=True))
    assert texts(outcomes) == REPLIES


@pytest.mark.parametrize("route", ["upload", "create"])
@pytest.mark.parametrize("settings", [replace(BATCH, attempts=1), replace(SYNC, attempts=1)], ids=["batch", "sync"])
def test_what_was_never_sent_is_asked_in_the_lane_of_this_run(path: Path, route: str, settings: Settings) -> None:
    with BatchServer(call=nth(route, 1, "auth")) as server:
        run(path, server.url, [*REQUESTS, asked("不再问")])
        assert unfinished(path) == (0, 9)
        outcomes, runner, _ = run(path, server.url, REQUESTS, settings)
    assert texts(outcomes) == REPLIES
    assert (runner.counters.sent, runner.counters.cached) == (8, 0)
    assert (len(server.executed), set(server.executed.values())) == (8, {1})
    assert unfinished(path) == (0, 0)


def test_stopping_leaves_a_batch_under_way(path: Path) -> None:
    async def main(url: str) -> list[Any]:
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, replace(BATCH, poll=60.0)) as runner:
                asking = asyncio.gather(*map(runner.ask, REQUESTS), return_exceptions=True)
                while not journal.batches() or journal.batches()[0].remote is None:
                    await asyncio.sleep(0.005)
                runner.stop(Failure("quota", "no more", fatal=True))
                return await asking

    with BatchServer() as server:
        outcomes = asyncio.run(main(server.url))
        assert {type(outcome) for outcome in outcomes} == {Stopped}
        assert unfinished(path) == (0, 8)
        assert texts(run(path, server.url, REQUESTS)[0]) == REPLIES
    assert set(server.executed.values()) == {1}
