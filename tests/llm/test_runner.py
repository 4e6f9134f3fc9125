"""The runner against a real server: nothing is paid for twice, nothing is lost, and it knows when to stop."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.request import Reply, Request, key
from datatools.llm.runner import Runner, Settings, run_ordered
from tests.conftest import REPOSITORY
from tests.llm.model_server import ModelServer, echo, mixed, planned

QUICK = Settings(backoff=0.001, concurrency=8)


def asked(text, **parameters):
    return Request([{"role": "user", "content": text}], **parameters)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def run(path, url, *requests, settings=QUICK, model="m", timeout=30.0, together=True):
    """What each request comes to, and the runner after it; with exceptions in place of outcomes."""

    async def main():
        with Journal(path) as journal:
            async with Runner(Endpoint(url, model, timeout=timeout), journal, settings) as runner:
                if together:
                    return await asyncio.gather(*map(runner.ask, requests), return_exceptions=True), runner
                return [await runner.ask(request) for request in requests], runner

    return asyncio.run(main())


def test_a_reply_is_stored_and_a_second_run_sends_nothing(path):
    with ModelServer() as server:
        [first], before = run(path, server.url, asked("感冒"))
        [second], after = run(path, server.url, asked("感冒"))
    assert first.text == echo([{"content": "感冒"}]) and not first.cached
    assert second == replace(first, cached=True)
    assert len(server.seen) == 1
    assert (before.counters.sent, after.counters.sent, after.counters.cached) == (1, 0, 1)
    assert (after.counters.completion_tokens, after.total().completion_tokens) == (0, first.completion_tokens)
    assert (after.total().sent, after.total().prompt_tokens) == (1, 10)


def test_a_local_server_on_another_port_is_the_same_endpoint(path):
    for expected in (1, 0):
        with ModelServer() as server:
            run(path, server.url, asked("感冒"))
            assert len(server.seen) == expected


def test_another_model_temperature_limit_or_sample_is_asked_anew(path):
    with ModelServer() as server:
        changed = [asked("x"), asked("x", temperature=0.5), asked("x", max_tokens=9), asked("x", sample=1)]
        run(path, server.url, *changed)
        run(path, server.url, asked("x"), model="other")
    assert len(server.seen) == 5


def test_equal_requests_in_flight_are_sent_once(path):
    with ModelServer(latency=0.02) as server:
        outcomes, runner = run(path, server.url, *[asked("感冒")] * 20)
    assert len(server.seen) == 1 and {outcome.text for outcome in outcomes} == {outcomes[0].text}
    assert sum(not outcome.cached for outcome in outcomes) == 1
    assert (runner.counters.sent, runner.counters.cached) == (1, 19)


@pytest.mark.parametrize(
    "fault",
    [
        "rate",
        "server",
        "busy:0",
        "reset",
        "reset_body",
        "short",
        "truncated_json",
        "html",
        "error_200",
        "no_choices",
        "null",
        "blank",
        "bad_utf8",
        "not_http",
        "bad_gzip",
    ],
)
def test_what_passes_is_tried_again(path, fault):
    with ModelServer(fault=planned({"x": [fault, fault]})) as server:
        [outcome], runner = run(path, server.url, asked("x"))
    assert isinstance(outcome, Reply) and outcome.text == echo([{"content": "x"}])
    assert (len(server.seen), runner.counters.sent, runner.counters.retried) == (3, 3, 2)


@pytest.mark.parametrize(
    ("fault", "kind", "calls"),
    [
        ("filter", "content_filter", 1),
        ("filter_200", "content_filter", 1),
        ("long", "context_length", 1),
        ("bad_request", "server", 1),
        ("length", "truncated", 1),
        ("server", "server", 3),
        ("html", "malformed", 3),
        ("null", "empty", 3),
        ("reset", "connection", 3),
        ("hang", "timeout", 3),
        ("drip", "timeout", 3),
    ],
)
def test_what_does_not_pass_fails_the_row_and_is_asked_again_only_when_told(path, fault, kind, calls):
    tries = replace(QUICK, attempts=3)
    with ModelServer(fault=planned({"x": [fault] * calls})) as server:
        # Another request is answered first, so the endpoint is known to be there.
        first, runner = run(path, server.url, asked("well"), asked("x"), settings=tries, timeout=0.3, together=False)
        again, _ = run(path, server.url, asked("x"), settings=tries)
        assert len(server.seen) == 1 + calls
        told, _ = run(path, server.url, asked("x"), settings=replace(tries, retry_failed=True))
    assert isinstance(first[1], Failure) and (first[1].kind, first[1].attempts) == (kind, calls)
    assert runner.counters.failures == {kind: 1}
    assert again == [Failure(kind, first[1].message, attempts=calls)]
    assert isinstance(told[0], Reply)


def test_a_truncated_answer_is_asked_for_once_more_with_twice_the_room(path):
    with ModelServer(fault=lambda key, nth, body: "length" if body["max_tokens"] < 20 else "") as server:
        [good], _ = run(path, server.url, asked("x", max_tokens=10))
        [cached], _ = run(path, server.url, asked("x", max_tokens=10))
        assert [seen.body["max_tokens"] for seen in server.seen] == [10, 20]
        [short], _ = run(path, server.url, asked("x", max_tokens=5))
        assert [seen.body["max_tokens"] for seen in server.seen] == [10, 20, 5]  # 10 is in the journal
    assert isinstance(good, Reply) and cached == replace(good, cached=True)
    assert isinstance(short, Failure) and short.kind == "truncated"


def test_retry_after_holds_back_every_call(path):
    with ModelServer(fault=planned({"x0": ["rate:0.3"]})) as server:
        outcomes, _ = run(
            path, server.url, *[asked(f"x{i}") for i in range(12)], settings=replace(QUICK, concurrency=1)
        )
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    pushed_back = next(index for index, seen in enumerate(server.seen) if seen.fault)
    answered = server.seen[pushed_back].arrival
    assert len(server.seen) == 13 and pushed_back == 0
    assert all(seen.arrival - answered >= 0.29 for seen in server.seen[1:])


def test_pushback_costs_no_attempts(path):
    with ModelServer(fault=planned({"x": ["rate"] * 12})) as server:
        [outcome], _ = run(path, server.url, asked("x"), settings=replace(QUICK, attempts=1))
    assert isinstance(outcome, Reply) and len(server.seen) == 13


def test_a_call_that_waits_to_retry_leaves_its_place_to_others(path):
    """One place, and the first call fails: the second is sent before the first is tried again."""
    with ModelServer(fault=planned({"first": ["server"]})) as server:
        outcomes, _ = run(
            path, server.url, asked("first"), asked("second"), settings=replace(QUICK, concurrency=1, backoff=0.2)
        )
    assert [seen.body["messages"][0]["content"] for seen in server.seen] == ["first", "second", "first"]
    assert all(isinstance(outcome, Reply) for outcome in outcomes)


@pytest.mark.parametrize("fault", ["quota", "quota_200", "auth", "forbidden", "model"])
def test_what_every_call_would_meet_stops_the_run_and_is_asked_again_next_time(path, fault):
    async def main(url):
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, replace(QUICK, concurrency=2)) as runner:
                work = run_ordered(range(200), lambda i: runner.ask(asked(f"x{i}!")), workers=4, window=8)
                done = []
                with pytest.raises(Stopped) as stopped:
                    async for outcome in work:
                        done.append(outcome)
                return done, stopped.value.failure, journal.counts()

    with ModelServer(fault=planned({"x20!": [fault]})) as server:
        done, failure, counts = asyncio.run(main(server.url))
        sent = len(server.seen)
        assert failure.fatal and server.url in failure.message and "sk-" not in failure.message
        assert len(done) == 20 and sent <= 24 and counts.unfinished == 0 and counts.failures == {}
        outcomes, _ = run(path, server.url, *[asked(f"x{i}!") for i in range(30)])
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    repeated = [seen.body["messages"][0]["content"] for seen in server.seen if seen.nth > 1]
    assert repeated == ["x20!"]


def test_nobody_there_stops_the_run(path):
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        outcomes, _ = run(path, url, *[asked(f"x{i}") for i in range(20)])
    assert all(isinstance(outcome, Stopped) for outcome in outcomes)
    assert url in str(outcomes[0]) and "never answered" in str(outcomes[0])
    with Journal(path) as journal:
        assert journal.counts().failures == {}


def test_an_endpoint_that_goes_away_stops_the_run_instead_of_failing_every_row(path):
    async def main():
        with Journal(path) as journal:
            with ModelServer() as server:
                runner = Runner(Endpoint(server.url, "m"), journal, QUICK)
                assert isinstance(await runner.ask(asked("x0")), Reply)
                url = server.url
            async with runner:
                with pytest.raises(Stopped, match="any more") as stopped:
                    await runner.ask(asked("x1"))
            assert url in str(stopped.value) and journal.counts().failures == {}

    asyncio.run(main())


def test_a_raw_reply_is_kept_even_when_it_cannot_be_read(path):
    with ModelServer(fault=planned({"x": ["no_choices!"]})) as server:
        [outcome], runner = run(path, server.url, asked("x"), settings=replace(QUICK, attempts=2))
    assert isinstance(outcome, Failure) and outcome.kind == "malformed"
    assert runner.counters.completion_tokens > 0  # they were billed all the same
    with Journal(path) as journal:
        assert journal.counts().replies == 2
        name = key(runner.endpoint.identity, "m", asked("x"))
        assert json.loads(journal.get(name))["choices"] == []


def test_a_better_parser_makes_use_of_old_replies(path, monkeypatch):
    with ModelServer(fault=planned({"x": ["no_choices!"]})) as server:
        run(path, server.url, asked("x"), settings=replace(QUICK, attempts=1))
        monkeypatch.setattr("datatools.llm.runner.parse", lambda body, secret="": Reply("read after all"))
        [outcome], _ = run(path, server.url, asked("x"))
    assert outcome == Reply("read after all", cached=True) and len(server.seen) == 1


def test_a_journal_that_cannot_be_written_ends_the_run_with_an_oserror(path):
    async def main(url):
        with Journal(path) as journal:
            journal._write_connection.execute("pragma query_only = on")
            async with Runner(Endpoint(url, "m"), journal, QUICK) as runner:
                with pytest.raises(OSError, match="readonly"):
                    async for _ in run_ordered(range(50), lambda i: runner.ask(asked(f"{i}")), workers=4, window=8):
                        pass

    with ModelServer() as server:
        asyncio.run(main(server.url))
    assert server.seen == []


@pytest.mark.parametrize("seed", [1, 2])
def test_a_mix_of_faults_gives_the_same_replies_as_none(path, seed, tmp_path):
    requests = [asked(f"第{number}问") for number in range(300)]
    mix = "rate=0.05,server=0.05,reset=0.03,reset_body=0.02,truncated_json=0.02,html=0.02,null=0.02,busy:0=0.02"
    with ModelServer(fault=mixed(mix, seed)) as server:
        found, runner = run(path, server.url, *requests, settings=replace(QUICK, attempts=20))
    with ModelServer() as server:
        good, _ = run(tmp_path / "other.sqlite", server.url, *requests)
    assert found == good
    assert runner.counters.retried > 20 and runner.counters.sent == 300 + runner.counters.retried


@pytest.mark.slow
def test_kill_9_at_random_moments_never_asks_for_a_finished_request_again(path, tmp_path):
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom tests.llm.test_runner import job\n"
        "asyncio.run(job(Path(sys.argv[1]), sys.argv[2]))"
    )
    log, chance, kills = tmp_path / "log.jsonl", random.Random(7), 5
    with ModelServer(latency=0.01, log=log, fault=mixed("rate=0.03,server=0.03,reset=0.02")) as server:
        command = [sys.executable, "-c", script, str(path), server.url]
        finished: set[str] = set()
        for kill in range(kills + 1):
            process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
            lines = []
            for line in process.stdout:
                lines.append(line)
                if kill < kills and len(lines) > len(finished) + chance.randint(0, 40):
                    process.kill()
            process.communicate()
            before = len(finished)
            finished |= {line for line in lines if line.endswith("\n")}
            assert before == 0 or len(lines) >= before  # what was finished comes first, from the journal
        assert process.returncode == 0 and len(finished) == 200
    seen = [json.loads(line) for line in log.read_bytes().splitlines()]
    good = [entry["key"] for entry in seen if entry["outcome"] == "ok"]
    assert len(set(good)) == 200 and len(good) <= 200 + 8 * kills


async def job(path, url):
    """200 requests; prints the number of each as its reply is handed out."""
    with Journal(path) as journal:
        async with Runner(Endpoint(url, "m"), journal, QUICK) as runner:
            number = 0
            async for outcome in run_ordered(
                range(200), lambda i: runner.ask(asked(f"第{i}问")), workers=16, window=64
            ):
                assert isinstance(outcome, Reply)
                print(number, outcome.text, flush=True)
                number += 1


# run_ordered


def ordered(items, work, workers=4, window=8):
    async def main():
        return [result async for result in run_ordered(items, work, workers=workers, window=window)]

    return asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 6), st.integers(1, 12))
def test_results_come_in_order_whatever_the_workers_do(yields, workers, window):
    async def work(item):
        index, times = item
        for _ in range(times):
            await asyncio.sleep(0)
        return index

    assert ordered(enumerate(yields), work, workers, window) == list(range(len(yields)))


def test_no_more_than_the_window_is_pulled_ahead_of_the_oldest_unfinished():
    async def main():
        pulled, handed_out, first = 0, 0, asyncio.Event()

        def items():
            nonlocal pulled
            for number in range(100):
                pulled += 1
                assert pulled - handed_out <= 8
                yield number

        async def work(number):
            if number == 0:
                await first.wait()
            elif pulled == 8:
                first.set()
            return number

        async for _ in run_ordered(items(), work, workers=4, window=8):
            handed_out += 1
        return handed_out

    assert asyncio.run(main()) == 100


def test_an_exception_in_the_work_cancels_the_rest_and_is_raised():
    cancelled = []

    async def work(number):
        if number == 3:
            raise ValueError("row 3")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    with pytest.raises(ValueError, match="row 3"):
        ordered(range(10), work)
    assert sorted(cancelled) == [0, 1, 2]


def test_an_exception_of_the_input_is_raised():
    def items():
        yield 1
        raise OSError("torn input")

    async def work(number):
        return number

    with pytest.raises(OSError, match="torn input"):
        ordered(items(), work)


def test_after_stopped_what_is_under_way_ends_and_nothing_new_starts():
    began, ended = [], []

    async def work(number):
        began.append(number)
        if number == 2:
            raise Stopped(Failure("quota", "no credit"))
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append(number)
        return number

    handed_out = []

    async def main():
        async for result in run_ordered(range(100), work, workers=4, window=8):
            handed_out.append(result)

    with pytest.raises(Stopped):
        asyncio.run(main())
    assert handed_out == [0, 1] and sorted(ended) == sorted(set(began) - {2}) and len(began) <= 5


def test_a_consumer_that_leaves_stops_the_workers():
    async def main():
        running = 0

        async def work(number):
            nonlocal running
            running += 1
            try:
                await asyncio.sleep(0 if number == 0 else 3600)
            finally:
                running -= 1

        results = run_ordered(range(100), work, workers=4, window=8)
        async for _ in results:
            break
        await results.aclose()
        return running

    assert asyncio.run(main()) == 0
