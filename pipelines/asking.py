"""What every job that calls a model does around its runner: limits, budget, the progress line, Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from datatools.llm.endpoint import is_local
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.money import Budget, Price, price
from datatools.llm.runner import Runner, Settings
from datatools.report.progress import Bar
from pipelines.ask_run import AskRun

CEILING, LOCAL_CEILING = 128, 256  # calls in flight at most without --concurrency: elsewhere, and on our own machines
TICK = 1.0  # seconds between looks at the progress line while nothing comes back


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


def open_budget(run: AskRun, model: str, paid: Price | None, journal: Journal) -> Budget | None:
    """The budget with what earlier runs of the job spent on this model, calls that may have been billed included."""
    if run.budget is None or paid is None:
        return None
    if run.lane == "batch" and paid.batch is not None:
        paid = Price(paid.prompt * paid.batch, paid.completion * paid.batch, source=paid.source)
    before = journal.counts_by_model().get(model)
    if before is None:
        return Budget(run.budget, paid)
    spent = paid.of(before.prompt_tokens, before.completion_tokens)
    lost = before.may_have_been_billed * spent / before.replies if before.replies else 0.0
    return Budget(run.budget, paid, spent=spent + lost, lost=lost)


def cost_of(paid: Price | None, run: AskRun, prompt_tokens: float, completion_tokens: float) -> float | None:
    """What tokens of this run cost; None where the price is not known."""
    if paid is None:
        return None if prompt_tokens or completion_tokens else 0.0
    factor = (paid.batch if paid.batch is not None else 1.0) if run.lane == "batch" else 1.0
    return round(factor * paid.of(prompt_tokens, completion_tokens), 6)


class Status:
    """The part of the progress line that tells of the calls."""

    def __init__(self, runner: Runner, paid: Price | None, run: AskRun) -> None:
        self._runner, self._paid, self._run = runner, paid, run
        self._began = asyncio.get_running_loop().time()

    def __str__(self) -> str:
        """Tokens a second, calls in flight and their limit, cost so far, retries by class."""
        runner, counters = self._runner, self._runner.counters
        seconds = max(asyncio.get_running_loop().time() - self._began, 0.1)
        tokens = counters.prompt_tokens + counters.completion_tokens
        control = runner.control
        limit = f"{int(control.limit)}" + ("" if control.rate is None else f" and {control.rate:.3g}/s")
        parts = [f"{tokens / seconds:,.0f} tokens/s", f"{runner.in_flight} in flight of {limit}"]
        if counters.cached:
            parts.append(f"{counters.cached:,} from the journal")
        cost = cost_of(self._paid, self._run, counters.prompt_tokens, counters.completion_tokens)
        parts.append("cost unknown" if cost is None else f"cost {cost:.4f}")
        if retries := {kind: number for kind, number in counters.retries.items() if number}:
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
def interruptible(runner: Runner, say: Callable[[str], None]) -> Iterator[None]:
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
            say(f"interrupted: waiting for {runner.in_flight} calls under way; Ctrl-C again stops at once")
            runner.stop(Failure("interrupted", "interrupted; every reply that came is stored", fatal=True))
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
