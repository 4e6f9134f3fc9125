"""What every job that calls models does around its runners: limits, budget, the progress line, Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from datatools.llm.endpoint import is_local
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.money import Budget, Price, price
from datatools.llm.provider import Provider
from datatools.llm.runner import Runner, Settings
from datatools.report.progress import Bar
from datatools.report.summary import Summary
from pipelines.ask_run import AskRun

CEILING, LOCAL_CEILING = 128, 256  # calls in flight at most without --concurrency: elsewhere, and on our own machines
HERE = "asked from this machine alone: a pilot, a batch, and a model in this process are not spread over nodes"
TICK = 1.0  # seconds between looks at the progress line while nothing comes back


@dataclass(frozen=True)
class Model:
    """Who is asked: what makes the provider once the loop runs, where it is, and its price where that is known."""

    provider: Callable[[], Provider]
    name: str
    base_url: str
    price: Price | None

    @property
    def place(self) -> tuple[str, str]:
        """What tells it from another."""
        return self.base_url, self.name


@dataclass(frozen=True)
class Team:
    """The runners of a job's models over one journal and one budget, in the order of the models.

    A model that is named twice, as writer and as judge, has one runner.
    """

    models: Sequence[Model]
    runners: Sequence[Runner]
    run: AskRun

    @property
    def each(self) -> list[tuple[Model, Runner]]:
        """Every runner once, with its model."""
        found = {model.place: (model, runner) for model, runner in zip(self.models, self.runners, strict=True)}
        return list(found.values())

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(runner.in_flight for _, runner in self.each)

    def stop(self, reason: Failure) -> None:
        """Start no new call."""
        for _, runner in self.each:
            runner.stop(reason)

    @property
    def cost(self) -> float | None:
        """What this run cost until now; None where a price is not known."""
        costs = [
            cost_of(model.price, self.run, runner.counters.prompt_tokens, runner.counters.completion_tokens)
            for model, runner in self.each
        ]
        known = [cost for cost in costs if cost is not None]
        return round(sum(known), 6) if len(known) == len(costs) else None

    def count(self, summary: Summary) -> None:
        """Fill the summary's requests, tokens and cost."""
        counters = [runner.counters for _, runner in self.each]
        before = self.runners[0].total()  # of the journal, so of all models, and what this one did
        more = counters[1:]
        summary.requests = {name: sum(getattr(one, name) for one in counters) for name in ("sent", "cached", "retried")}
        summary.requests_total = {
            "sent": before.sent + sum(one.sent for one in more),
            "retried": before.retried + sum(one.retried for one in more),
        }
        summary.tokens = {
            "prompt": sum(one.prompt_tokens for one in counters),
            "completion": sum(one.completion_tokens for one in counters),
        }
        summary.cost = self.cost


@asynccontextmanager
async def team(
    models: Sequence[Model],
    journal: Journal,
    run: AskRun,
    say: Callable[[str], None],
    kind: type[Runner] = Runner,
) -> AsyncIterator[Team]:
    """The runners of the models, `kind` each; closed in the end. On Ray each stands for one a node."""
    budget = open_budget(run, models, journal)
    async with AsyncExitStack() as open_runners:
        distinct = {model.place: model for model in models}
        makers: dict[tuple[str, str], Callable[..., Runner]] = dict.fromkeys(distinct, kind)
        if kind is Runner and spreads(run, models):
            makers = await open_runners.enter_async_context(spread(distinct, journal, run, budget, say))
        elif run.engine.spreads:
            say(HERE)
        found: dict[tuple[str, str], Runner] = {}
        for place, model in distinct.items():
            settings, price = runner_settings(run, model.base_url), batch_price(run, model.price)
            runner = makers[place](model.provider(), journal, settings, say, budget, price)
            found[place] = await open_runners.enter_async_context(runner)
        yield Team(models, [found[model.place] for model in models], run)


def spreads(run: AskRun, models: Sequence[Model]) -> bool:
    """Whether every node of a cluster asks: a batch is one request, and a model in this process is here."""
    in_process = any(model.base_url == model.name for model in models)
    return run.engine.spreads and run.lane != "batch" and not in_process


@asynccontextmanager
async def spread(
    models: Mapping[tuple[str, str], Model],
    journal: Journal,
    run: AskRun,
    budget: Budget | None,
    say: Callable[[str], None],
) -> AsyncIterator[dict[tuple[str, str], Callable[..., Runner]]]:
    """What makes the runner of each model, while the nodes of the cluster ask for it."""
    from datatools.engine.ray import connect
    from datatools.llm.crew import Crew
    from datatools.llm.front import Front
    from datatools.llm.node import Asked

    cluster = connect(run.engine)
    try:
        asked = [
            Asked(model.name, model.provider, runner_settings(run, model.base_url), model.price)
            for model in models.values()
        ]
        async with Crew(journal, asked, budget, say) as crew:
            yield {place: partial(Front, crew=crew, place=number) for number, place in enumerate(models)}
    finally:
        cluster.shutdown()


def runner_settings(run: AskRun, base_url: str) -> Settings:
    """The runner's settings from the options."""
    default = Settings()
    return Settings(
        attempts=default.attempts if run.attempts is None else run.attempts,
        concurrency=run.concurrency,
        ceiling=LOCAL_CEILING if is_local(base_url) else CEILING,
        rpm=run.rpm,
        tpm=run.tpm,
        retry_failed=run.retry_failed,
        lane=run.lane,
        poll=default.poll if run.poll is None else run.poll,
    )


def known_price(run: AskRun, model: str, host: str) -> Price | None:
    """What the model costs, as far as it is known. ValueError where a budget needs it and it is not."""
    found = price(model, host, run.price_in, run.price_out)
    if found is None and run.budget is not None:
        raise ValueError(
            f"--budget {run.budget:g}: the price of {model} at {host} is not known; "
            "give --price-in and --price-out, per million tokens"
        )
    return found


def batch_price(run: AskRun, paid: Price | None) -> Price | None:
    """The price in the lane of the run."""
    if run.lane != "batch" or paid is None or paid.batch is None:
        return paid
    return Price(paid.prompt * paid.batch, paid.completion * paid.batch, source=paid.source)


def open_budget(run: AskRun, models: Sequence[Model], journal: Journal) -> Budget | None:
    """The budget with what earlier runs of the job spent on these models, calls that may have been billed included."""
    prices = {model.name: batch_price(run, model.price) for model in models}
    paid = next(iter(prices.values()))
    if run.budget is None or paid is None:
        return None
    spent = lost = 0.0
    for name, before in journal.counts_by_model().items():
        if (each := prices.get(name)) is not None:
            cost = each.of(before.prompt_tokens, before.completion_tokens)
            broken = before.may_have_been_billed * cost / before.replies if before.replies else 0.0
            spent, lost = spent + cost + broken, lost + broken
    return Budget(run.budget, paid, spent=spent, lost=lost)


def cost_of(paid: Price | None, run: AskRun, prompt_tokens: float, completion_tokens: float) -> float | None:
    """What tokens of this run cost; None where the price is not known."""
    if paid is None:
        return None if prompt_tokens or completion_tokens else 0.0
    factor = (paid.batch if paid.batch is not None else 1.0) if run.lane == "batch" else 1.0
    return round(factor * paid.of(prompt_tokens, completion_tokens), 6)


class Status:
    """The part of the progress line that tells of the calls."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._began = asyncio.get_running_loop().time()

    def __str__(self) -> str:
        """Tokens a second, calls in flight and their limit, cost so far, retries by class."""
        runners = [runner for _, runner in self._team.each]
        seconds = max(asyncio.get_running_loop().time() - self._began, 0.1)
        tokens = sum(runner.counters.prompt_tokens + runner.counters.completion_tokens for runner in runners)
        limit = str(sum(int(runner.control.limit) for runner in runners))
        rates = [runner.control.rate for runner in runners if runner.control.rate is not None]
        limit += f" and {sum(rates):.3g}/s" if rates else ""
        parts = [f"{tokens / seconds:,.0f} tokens/s", f"{self._team.in_flight} in flight of {limit}"]
        if cached := sum(runner.counters.cached for runner in runners):
            parts.append(f"{cached:,} from the journal")
        cost = self._team.cost
        parts.append("cost unknown" if cost is None else f"cost {cost:.4f}")
        retries: Counter[str] = sum((runner.counters.retries for runner in runners), Counter())
        if retries:
            parts.append("retried: " + ", ".join(f"{kind} {number:,}" for kind, number in retries.items()))
        return ", ".join(parts)


@contextmanager
def ticking(bar: Bar, status: Status) -> Iterator[None]:
    """Keep the progress line true while nothing comes back."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK)
            bar.advance(0, detail=str(status))

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()


@contextmanager
def interruptible(team: Team, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C once: calls under way are awaited; twice, or SIGTERM: they are given up.

    Raises Stopped of kind `interrupted`. The loop takes the signals, because an exception out of a signal handler would
    be raised in whatever task is running.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task, pressed = asyncio.get_running_loop(), asyncio.current_task(), 0
    assert task is not None
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def press() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            say(f"interrupted: waiting for {team.in_flight} calls under way; Ctrl-C again stops at once")
            team.stop(Failure("interrupted", "interrupted; every reply that came is stored", fatal=True))
        else:
            task.cancel()

    def end() -> None:
        nonlocal pressed
        pressed = 2
        task.cancel()

    loop.add_signal_handler(signal.SIGINT, press)
    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if pressed < 2:
            raise
        said = "interrupted at once; calls under way may have been billed"
        raise Stopped(Failure("interrupted", said, fatal=True)) from None
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
