"""What the limits make of simulated providers: minutes of theirs through the real runner, the same in every run."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from datatools.llm.control import Control
from datatools.llm.endpoint import Endpoint
from datatools.llm.journal import Journal
from datatools.llm.request import Request
from datatools.llm.runner import Runner, Settings, run_ordered
from tests.llm.model_server import ModelServer
from tests.llm.simulated import AtOnce, Crowded, Queue, Random429, TokenBucket, around, play

USED, REFUSED = 0.90, 0.05  # share of the capacity at least; share of calls refused at most; after the first minute
WIDE = Settings(ceiling=256)
# Name → provider, settings, calls a second that it can take.
PROVIDERS = {
    "60 a minute": (lambda: TokenBucket(around(1.0), rpm=60), WIDE, 1.0),
    "60 a minute, slow replies": (lambda: TokenBucket(around(8.0), rpm=60), WIDE, 1.0),
    "600 a minute": (lambda: TokenBucket(around(2.0), rpm=600, retry_after=True), WIDE, 10.0),
    "600 a minute, no bursts": (lambda: TokenBucket(around(5.0), rpm=600, depth=1), WIDE, 10.0),
    "50 at a time, others wait": (lambda: Queue(around(2.0), slots=50), WIDE, 25.0),
    "best at 50 at a time": (lambda: Crowded(around(2.0), best=50), WIDE, 12.5),
}
LARGE = {
    "6000 a minute": (lambda: TokenBucket(around(1.0), rpm=6000), WIDE, 100.0),
    "6000 a minute, no bursts": (lambda: TokenBucket(around(1.0), rpm=6000, depth=1, retry_after=True), WIDE, 100.0),
    "500 at once": (lambda: AtOnce(around(4.0), most=500), Settings(ceiling=1024), 500 / 4.04),
    "500 at once, from 1000": (lambda: AtOnce(around(4.0), most=500), Settings(concurrency=1000), 500 / 4.04),
}


def meets_the_figures(name, tmp_path):
    provider, settings, capacity = {**PROVIDERS, **LARGE}[name]
    played = play(provider(), tmp_path, settings)
    assert played.rate() >= USED * capacity
    assert played.refused() < REFUSED


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_is_used_and_rarely_refuses(name, tmp_path):
    meets_the_figures(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_large_provider_is_used_and_rarely_refuses(name, tmp_path):
    meets_the_figures(name, tmp_path)


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_refusals_that_have_nothing_to_do_with_the_load_do_not_slow_a_run_down(share, tmp_path):
    """A cut that does not help is taken back."""
    played = play(Random429(around(1.0), share=share), tmp_path, Settings(ceiling=32), seconds=150)
    assert played.rate() >= 0.9 * (1 - share) * 32 / 1.04


def test_a_played_provider_is_the_same_in_every_run(tmp_path):
    seen = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        played = play(TokenBucket(around(1.0), rpm=600, depth=5), tmp_path / name, WIDE, seconds=60)
        seen.append((played.provider.taken, played.provider.refusals, played.limits))
    assert seen[0] == seen[1] and len(seen[0][0]) > 400


def test_a_given_concurrency_is_there_from_the_start_and_never_passed():
    control = Control(50.0, 50)
    calls = [control.start(0.0) for _ in range(50)]
    assert control.wait(0.0) == float("inf")
    for number, call in enumerate(calls):
        control.leave()
        control.taken(call, 1.0 + number)
    assert control.limit == 50


def test_most_calls_timing_out_halves_the_limit_once():
    control = Control(40.0, 40)
    calls = [control.start(0.0) for _ in range(40)]
    for call in calls:
        control.leave()
        control.failed(call, 120.0, timed_out=True)
    assert control.limit == 20


class TenASecond(ModelServer):
    """A real server with a token bucket: 10 calls a second, 10 in reserve, 429 beyond."""

    def __init__(self) -> None:
        super().__init__(latency=0.1)
        self.bucket = TokenBucket(around(1.0), rpm=600, depth=1)
        self.fault = lambda key, nth, body: "" if self.bucket.wait_for(time.monotonic()) is None else "rate"


@pytest.mark.slow
def test_the_rate_of_a_real_server_is_learned(tmp_path):
    """All times of the control are a quarter of what they are for users, so that it need not last minutes."""

    async def main(url):
        with Journal(tmp_path / "journal.sqlite") as journal:
            async with Runner(Endpoint(url, "m"), journal, Settings(backoff=0.25)) as runner:
                work = run_ordered(itertools.count(), lambda i: runner.ask(asked(i)), workers=64, window=256)
                async for _ in work:
                    if runner.counters.sent >= 300:
                        break
                return runner.control.rate

    def asked(number):
        return Request([{"role": "user", "content": str(number)}])

    with TenASecond() as server:
        rate = asyncio.run(main(server.url))
    late = server.seen[len(server.seen) // 2 :]
    good = sum(not seen.fault for seen in late)
    assert 5 < rate < 20
    assert good / len(late) > 0.9
