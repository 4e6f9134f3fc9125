"""Runners of nodes that share limits and a budget, in one process: what they ask together never passes either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datatools.engine.ray import code
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.journal_nodes import FOLDER, held, new_file
from datatools.llm.limits import Limit
from datatools.llm.money import Budget, Price
from datatools.llm.node import Asked, Job, NodeRunner
from datatools.llm.owner import Owner
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Outcome, Settings
from tests.llm.model_server import ModelServer, echo, planned

ONE = Price(1e6, 1e6)  # a token costs 1
QUICK = Settings(attempts=4, concurrency=6, backoff=0.01)
REQUESTS = [Request([{"role": "user", "content": f"第{number}问"}]) for number in range(60)]


class Remote:
    """An actor's handle, without Ray: `handle.method.remote(…)` is awaited."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._actor, name))


class Nodes:
    """Three runners and what they share."""

    def __init__(self, folder: Path, url: str, settings: Settings, budget: Budget | None) -> None:
        self.owner = Owner([settings.limit()], budget)
        cap = None if budget is None else (budget.cap, budget.price)
        self._job = Job([Asked("m", lambda: Endpoint(url, "m"), settings, ONE)], cap, str(Path.cwd()), code())
        (folder / FOLDER).mkdir(exist_ok=True)
        self.files = [new_file(folder / "journal.sqlite", f"n{number}") for number in range(3)]
        self.runners = [NodeRunner() for _ in self.files]
        self.outcomes: dict[int, Outcome | BaseException] = {}

    @property
    def limit(self) -> Limit:
        return self.owner._limits[0]

    async def begin(self) -> None:
        for runner, file in zip(self.runners, self.files, strict=True):
            await runner.begin(file.name, file, self._job, Remote(self.owner))

    async def ask(self, requests: list[Request]) -> None:
        """Each third to a node, and what became of all."""
        for place, runner in enumerate(self.runners):
            numbered = [(number, 0, request) for number, request in enumerate(requests) if number % 3 == place]
            await runner.give(numbered)
        await asyncio.gather(*(self._take(runner, len(requests)) for runner in self.runners))

    async def _take(self, runner: NodeRunner, count: int) -> None:
        while len(self.outcomes) < count:
            try:
                async with asyncio.timeout(0.2):
                    done, _, _ = await runner.take()
            except TimeoutError:
                continue
            self.outcomes.update(done)

    async def end(self) -> int:
        """Calls sent by all."""
        return sum(counters[0].sent for counters, _ in [await runner.end() for runner in self.runners])


def run(
    folder: Path,
    url: str,
    work: Callable[[Nodes], Awaitable[None]],
    settings: Settings = QUICK,
    budget: Budget | None = None,
) -> Nodes:
    async def main() -> Nodes:
        nodes = Nodes(folder, url, settings, budget)
        await nodes.begin()
        await work(nodes)
        await nodes.end()
        return nodes

    return asyncio.run(main())


async def ask_all(nodes: Nodes) -> None:
    await nodes.ask(REQUESTS)


def test_all_together_never_have_more_calls_on_the_wire_than_one(tmp_path: Path) -> None:
    with ModelServer(latency=0.02) as server:
        nodes = run(tmp_path, server.url, ask_all)
    assert server.most_in_flight == 6 and len(server.seen) == 60 and nodes.limit.in_flight == 0
    for number, request in enumerate(REQUESTS):
        outcome = nodes.outcomes[number]
        assert isinstance(outcome, Reply) and outcome.text == echo(list(map(dict, request.messages)))
    counts = []
    for file in nodes.files:
        with Journal(file) as journal:
            counts.append(journal.counts())
    assert [(one.sent, one.replies, one.unfinished) for one in counts] == [(20, 20, 0)] * 3


def test_a_refusal_that_one_meets_is_waited_for_by_all(tmp_path: Path) -> None:
    with ModelServer(fault=planned({"第3问": ["rate:0.5"]}), latency=0.01) as server:
        run(tmp_path, server.url, ask_all)
    refused = next(seen.arrival for seen in server.seen if seen.fault)
    soon = [seen for seen in server.seen if refused < seen.arrival < refused + 0.45]
    assert len(soon) <= 6 and len(server.seen) == 61  # those that were on their way


@pytest.mark.parametrize("rpm, tpm", [(1200.0, None), (None, 24_000.0)])
def test_a_minutes_allowance_is_that_of_all(tmp_path: Path, rpm: float | None, tpm: float | None) -> None:
    async def some(nodes: Nodes) -> None:
        await nodes.ask([replace(request, max_tokens=30) for request in REQUESTS[:30]])

    with ModelServer() as server:
        nodes = run(tmp_path, server.url, some, replace(QUICK, concurrency=30, rpm=rpm, tpm=tpm))
    took = server.seen[-1].arrival - server.seen[0].arrival
    used = [one.prompt_tokens + one.completion_tokens for one in nodes.outcomes.values() if isinstance(one, Reply)]
    # At first what half a second allows goes at once; the last one is not waited for.
    amount, a_second = (30, 20.0) if rpm else (sum(used), 400.0)
    assert took >= (amount - 0.5 * a_second) / a_second - 0.5


def test_a_budget_is_that_of_all(tmp_path: Path) -> None:
    def reply(messages: list[dict[str, str]]) -> str:
        return "答" * 40

    budget = Budget(1000.0, ONE)  # a call is 10 + 40
    with ModelServer(reply, latency=0.01) as server:
        nodes = run(tmp_path, server.url, ask_all, budget=budget)
    stopped = [one.failure for one in nodes.outcomes.values() if isinstance(one, Stopped)]
    assert len(server.seen) == budget.spent / 50 and 900 <= budget.spent <= 1000
    assert len(stopped) + len(server.seen) == 60 and {one.kind for one in stopped} == {"budget"}
    assert all(one.message.startswith("the budget of 1000 does not hold another call") for one in stopped)
    assert (budget.reserved, nodes.limit.in_flight) == (0, 0)


def test_a_node_that_is_lost_gives_back_its_places_and_its_calls_count_as_billed(tmp_path: Path) -> None:
    budget = Budget(1e9, ONE)

    async def lose_one(nodes: Nodes) -> None:
        await nodes.runners[0].give([(number, 0, REQUESTS[number]) for number in range(12)])
        while nodes.limit.in_flight < 6:
            await asyncio.sleep(0.001)
        assert await nodes.owner.lose(nodes.files[0].name) == 6
        assert nodes.limit.in_flight == 0 and budget.lost > 0
        lost, cost = budget.lost, budget.spent
        gone, *nodes.runners = nodes.runners
        await asyncio.gather(
            *(runner.give([(place, 0, REQUESTS[20 + place])]) for place, runner in enumerate(nodes.runners))
        )
        await asyncio.gather(*(nodes._take(runner, 2) for runner in nodes.runners))
        assert all(isinstance(one, Reply) for one in nodes.outcomes.values())
        assert budget.lost == lost == cost and budget.spent > cost and budget.reserved == 0
        await gone.end()

    with ModelServer(latency=0.3) as server:
        run(tmp_path, server.url, lose_one, budget=budget)


def test_what_no_call_would_survive_stops_them_and_says_where(tmp_path: Path) -> None:
    with ModelServer(fault=planned({"": ["auth!"]})) as server:
        nodes = run(tmp_path, server.url, ask_all)
    failures = [one.failure for one in nodes.outcomes.values() if isinstance(one, Stopped)]
    assert len(failures) == 60 and {one.kind for one in failures} == {"auth"}
    assert all(one.message.startswith("node n") and "sk-secret" not in one.message for one in failures)
    assert len(server.seen) <= 18 and nodes.limit.in_flight == 0


def test_an_answer_that_the_node_has_is_not_asked_again(tmp_path: Path) -> None:
    async def twice(nodes: Nodes) -> None:
        for _ in range(2):
            nodes.outcomes.clear()
            await nodes.ask(REQUESTS[:9])

    with ModelServer() as server:
        nodes = run(tmp_path, server.url, twice)
    assert len(server.seen) == 9
    assert all(isinstance(one, Reply) and one.cached for one in nodes.outcomes.values())


def test_a_failure_for_good_comes_back_as_one(tmp_path: Path) -> None:
    with ModelServer(fault=planned({"第1": ["filter!"], "第2": ["server!"]})) as server:
        nodes = run(tmp_path, server.url, ask_all)
    found = {number: one for number, one in nodes.outcomes.items() if isinstance(one, Failure)}
    assert set(found) == {1, 2, *range(10, 30)}
    assert {(one.kind, one.attempts) for one in found.values()} == {("content_filter", 1), ("server", 4)}


def test_two_runners_have_no_journal_in_common(tmp_path: Path) -> None:
    async def another(nodes: Nodes) -> None:
        with pytest.raises(BlockingIOError), held(nodes.files[0]):
            pass

    with ModelServer() as server:
        nodes = run(tmp_path, server.url, another)
    with held(nodes.files[0]):
        pass


def test_a_node_with_other_code_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        nodes = Nodes(tmp_path, "http://127.0.0.1:9/v1", QUICK, None)
        nodes._job = replace(nodes._job, code="another")
        with pytest.raises(ValueError, match="other code of datatools"):
            await nodes.begin()

    asyncio.run(main())
