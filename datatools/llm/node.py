"""The runner of a node: an actor that asks models through a journal of its own, within what all nodes share.

It is given requests (`give`) and gives back what became of them (`take`), many at a time; each is a task here.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.journal_nodes import held, node_of
from datatools.llm.money import Price
from datatools.llm.owner import GATHER_SECONDS, LISTEN_SECONDS
from datatools.llm.provider import Provider
from datatools.llm.request import Request
from datatools.llm.runner import Counters, Outcome, Runner, Settings
from datatools.llm.shared import Line, SharedBudget, SharedGate

T = TypeVar("T")
Done: TypeAlias = tuple[int, Outcome | BaseException]  # number of the request


@dataclass(frozen=True)
class Asked:
    """A model as a node asks it."""

    name: str
    provider: Callable[[], Provider]
    settings: Settings
    price: Price | None


@dataclass(frozen=True)
class Job:
    """What all nodes are told."""

    models: Sequence[Asked]
    cap: tuple[float, Price] | None  # of the budget, and the price of a call that brings no other
    folder: str  # where the job was started
    code: str  # digest of the driver's


class NodeRunner:
    """The actor. Its journal is `file`, which nobody else may use while it works."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()
        self._runners: list[Runner] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[Done] = []
        self._some = asyncio.Event()
        self._told: set[Failure] = set()  # why to stop, by the driver

    async def begin(self, name: str, file: Path, job: Job, owner: Any) -> None:
        """Open the journal and the runners. Not in the constructor: what an actor is made with, Ray keeps, and there
        is a key in it. ValueError where this node has other code or lacks the folder."""
        from datatools.engine.ray import begin_work, needs_folder

        begin_work(job.folder, job.code)
        needs_folder(file.parent)
        self._open.enter_context(held(file))
        journal = self._open.enter_context(Journal(file))
        line = Line(lambda messages: _heard(owner.tell.remote(name, messages)), lambda: _heard(owner.hear.remote(name)))
        line.open()
        self._open.push_async_callback(line.close)
        budget = None if job.cap is None else SharedBudget(line, *job.cap)
        for place, model in enumerate(job.models):
            runner = Runner(
                model.provider(),
                journal,
                model.settings,
                budget=budget,
                price=model.price,
                gate=SharedGate(line, place),
            )
            self._runners.append(await self._open.enter_async_context(runner))
        self._node = node_of(file)

    async def give(self, requests: Sequence[tuple[int, int, Request]]) -> None:
        """Ask for these: a number of the driver's, the model's place, the request."""
        for number, place, request in requests:
            task = asyncio.create_task(self._ask(number, self._runners[place], request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self) -> tuple[list[Done], list[Counters], list[int]]:
        """What became of requests, as soon as it is known of one; counters and calls on the wire of every model."""
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS)
        except TimeoutError:
            pass
        self._some.clear()
        done, self._done = self._done, []
        return done, *self._figures()

    async def stop(self, place: int, reason: Failure) -> None:
        """Start no new call to this model."""
        self._told.add(reason)
        self._runners[place].stop(reason)

    async def end(self) -> tuple[list[Counters], list[int]]:
        """Give up what is under way, close the journal and let go of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._open.aclose()
        return self._figures()

    def _figures(self) -> tuple[list[Counters], list[int]]:
        return [replace(one.counters) for one in self._runners], [one.in_flight for one in self._runners]

    async def _ask(self, number: int, runner: Runner, request: Request) -> None:
        outcome: Outcome | BaseException
        try:
            outcome = await runner.once(request)
        except Stopped as stopped:
            failure = stopped.failure
            if failure not in self._told and failure.kind != "budget":  # a node may not reach what others do
                failure = replace(failure, message=f"node {self._node}: {failure.message}")
            outcome = Stopped(failure)
        except Exception as error:  # is raised again in the driver
            outcome = error
        self._done.append((number, outcome))
        self._some.set()


async def _heard(reply: Awaitable[T]) -> T:
    """The owner's reply. Raises OSError where it is gone."""
    from ray.exceptions import RayError

    try:
        return await reply
    except RayError as error:
        raise OSError(errno.ECONNRESET, "the node that owns the limits is lost") from error
