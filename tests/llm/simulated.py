"""Providers in virtual time: minutes of an endpoint's life in seconds, the same every time.

`VirtualLoop` is an event loop whose clock jumps to the next timer instead of waiting for it; the journal commits in
the loop's own thread, so that no time passes meanwhile. `play` drives the real Runner, with a real journal, against a
provider in this process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datatools.llm.endpoint import refusal
from datatools.llm.journal import Journal
from datatools.llm.request import Request
from datatools.llm.runner import Runner, Settings

NETWORK = 0.02  # seconds one way


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which nothing takes time but waiting, and that none of the real one."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._really_select = self._selector.select
        self._selector.select = self._select  # type: ignore[method-assign]

    def time(self) -> float:
        return self._now

    def _select(self, timeout: float | None) -> Any:
        assert timeout is not None, "everyone waits, and nothing will ever happen"
        self._now += timeout
        return self._really_select(0)


class NoThread(Executor):
    """Does what it is given before it returns: a thread that works is nothing that this loop could see."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(function(*arguments, **named))
        return done


@dataclass
class Simulated:
    """A provider that takes or refuses calls; `seconds` draws how long a reply takes on an idle one."""

    seconds: Callable[[random.Random], float]
    retry_after: bool = False
    seed: int = 1
    in_flight: int = 0
    taken: list[float] = field(default_factory=list)  # when a call was taken
    refusals: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    base_url = "simulated"
    model = "m"
    identity = "local"
    api_key = ""

    def __post_init__(self) -> None:
        self.refused: set[str] = set()  # names of parameters
        self._random = random.Random(self.seed)

    def wait_for(self, now: float) -> float | None:
        """Seconds until a call would be taken; None when it is."""
        return None

    def duration(self, now: float) -> float:
        """Seconds that a call taken now takes."""
        return self.seconds(self._random)

    async def post(self, request: Request) -> bytes:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(NETWORK)
        now = loop.time()
        if (wait := self.wait_for(now)) is not None:
            self.refusals.append(now)
            await asyncio.sleep(NETWORK)
            headers = {"retry-after": str(math.ceil(wait))} if self.retry_after else {}
            raise refusal(429, headers, b'{"error": {"message": "Too many requests"}}')
        self.taken.append(now)
        self.in_flight += 1
        try:
            await asyncio.sleep(self.duration(now))
        finally:
            self.in_flight -= 1
        self.done.append(loop.time())
        await asyncio.sleep(NETWORK)
        return REPLY

    async def close(self) -> None:
        pass


REPLY = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "好"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50},
    }
).encode()


@dataclass
class TokenBucket(Simulated):
    """`rpm` calls a minute; unused ones are kept up to `depth` seconds' worth."""

    rpm: float = 60
    depth: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._tokens, self._at = self.rate * self.depth, 0.0

    @property
    def rate(self) -> float:
        return self.rpm / 60

    def wait_for(self, now: float) -> float | None:
        self._tokens = min(self._tokens + (now - self._at) * self.rate, max(1.0, self.rate * self.depth))
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self.rate
        self._tokens -= 1
        return None


@dataclass
class FixedWindow(Simulated):
    """`rpm` calls in every minute of the clock."""

    rpm: float = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        self._window, self._used = -1, 0

    def wait_for(self, now: float) -> float | None:
        window = int((now + 17) // 60)
        if window != self._window:
            self._window, self._used = window, 0
        if self._used >= self.rpm:
            return 60 - (now + 17) % 60
        self._used += 1
        return None


@dataclass
class AtOnce(Simulated):
    """At most `most` calls at once."""

    most: int = 500

    def wait_for(self, now: float) -> float | None:
        return 1.0 if self.in_flight >= self.most else None


@dataclass
class Queue(Simulated):
    """`slots` calls are worked on at a time, the others wait for their turn: nothing is refused."""

    slots: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        self._free: deque[float] = deque([0.0] * self.slots)

    def duration(self, now: float) -> float:
        begin = max(now, self._free.popleft())
        end = begin + self.seconds(self._random)
        place = next((at for at, other in enumerate(self._free) if other > end), len(self._free))
        self._free.insert(place, end)
        return end - now


@dataclass
class Crowded(Simulated):
    """Latency grows with the square of the load: beyond `best` at once the whole gets slower."""

    best: int = 50

    def duration(self, now: float) -> float:
        return self.seconds(self._random) * (1 + (self.in_flight / self.best) ** 2)


@dataclass
class Random429(Simulated):
    """Refuses a share of the calls whatever the load."""

    share: float = 0.1

    def wait_for(self, now: float) -> float | None:
        return 1.0 if self._random.random() < self.share else None


def around(mean: float, spread: float = 0.5) -> Callable[[random.Random], float]:
    """Log-normal seconds with that mean."""
    return lambda chance: mean * math.exp(chance.gauss(-spread * spread / 2, spread))


@dataclass
class Played:
    """What a provider saw, and what the runner's limits were at every tenth of a second."""

    provider: Simulated
    seconds: float
    limits: list[tuple[float, float, float | None, int]] = field(default_factory=list)

    def rate(self, after: float = 60.0) -> float:
        """Calls finished a second."""
        return sum(at >= after for at in self.provider.done) / (self.seconds - after)

    def refused(self, after: float = 60.0) -> float:
        """Share of calls refused."""
        refused = sum(at >= after for at in self.provider.refusals)
        taken = sum(at >= after for at in self.provider.taken)
        return refused / max(1, refused + taken)


def play(provider: Simulated, folder: Path, settings: Settings, seconds: float = 180.0) -> Played:
    """Ask for something new as fast as the runner lets, for so many seconds of the provider's time."""
    played = Played(provider, seconds)
    random.seed(7)  # of the waits before another try

    async def main() -> None:
        numbers = itertools.count()
        with Journal(folder / "journal.sqlite") as journal:
            journal._write_connection.execute("pragma synchronous = off")
            journal._writer.shutdown()
            journal._writer = NoThread()
            async with Runner(provider, journal, settings) as runner:

                async def work() -> None:
                    for number in numbers:
                        await runner.ask(Request([{"role": "user", "content": str(number)}]))

                async def watch() -> None:
                    while True:
                        now, control = asyncio.get_running_loop().time(), runner.control
                        played.limits.append((now, control.limit, control.rate, control.in_flight))
                        await asyncio.sleep(0.1)

                tasks = [asyncio.create_task(work()) for _ in range(2 * settings.most)]
                tasks.append(asyncio.create_task(watch()))
                await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    with asyncio.Runner(loop_factory=VirtualLoop) as loop:
        loop.run(main())
    return played
