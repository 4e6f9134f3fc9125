"""Requests that are sent together as a file: the lane of providers' batches, at half the price and within a day.

Whoever asks waits; when nobody has asked for a moment, all that wait become one batch. A batch and its requests are in
the journal before anything is sent, then the id of its file, then its own, then its replies as they are read. So a run
may be killed at any point: the next one looks for a batch that may have been sent and keeps what came back of it; only
what was never sent is free to be asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from datatools.llm.batch_api import MOST_BYTES, MOST_REQUESTS, Broken, Problem, Remote
from datatools.llm.batch_courier import Batch, Courier, Ways
from datatools.llm.batch_lines import OVERHEAD, Result, cancelled, expired, missing, refused, unsent
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped, classify, failure
from datatools.llm.journal import Journal

LULL = 0.1  # seconds without a new request after which those that wait are sent
TURNS = 4  # of the loop after them: who was held up by a busy loop asks in these
READS = 3  # of files that have fewer lines than the batch has replies, before these are given up

Found: TypeAlias = bytes | Failure | None  # None: the batch was never sent


@dataclass(frozen=True, slots=True)
class _Queued:
    asked: bytes  # canonical JSON
    again: bool


class Batches:
    """The batches of one endpoint and one journal: those of earlier runs, and those of what is asked now.

    `stop` is told the failure after which nothing more can be done, `say` a line for the user when a batch is sent or
    has ended.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal: Journal,
        ways: Ways,
        stop: Callable[[Failure], None],
        say: Callable[[str], None],
    ) -> None:
        self._endpoint, self._journal, self._ways, self._stop, self._say = endpoint, journal, ways, stop, say
        self._courier = Courier(endpoint, journal, ways, say)
        self._futures: dict[bytes, asyncio.Future[Found]] = {}  # of all requests that wait, in a batch or for one
        self._wanted: set[bytes] = set()  # of these, the ones that somebody in this run asked for
        self._queue: dict[bytes, _Queued] = {}
        self._count = 0  # requests that were ever queued
        self._full = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._running: set[str] = set()  # names of batches that the endpoint works on
        self._reading: set[str] = set()  # names of batches whose replies come in
        self._hint = "; the run may be ended, the same line again goes on with it"  # said once
        self._most = MOST_REQUESTS
        self._one_at_a_time = False

    @property
    def in_flight(self) -> int:
        """Requests in batches that have not come back."""
        return len(self._futures) - len(self._queue)

    def waits(self, key: bytes) -> bool:
        """Whether a request waits in a batch, of this run or an earlier one."""
        return key in self._futures

    def resume(self) -> None:
        """Go on with the batches that earlier runs left under way at this endpoint for this model."""
        for stored in self._journal.batches():
            keys = dict.fromkeys(self._journal.waiting(stored.name))
            if stored.endpoint == self._endpoint.identity and self._are_own(keys):
                batch = Batch(stored.name, stored.at, keys, stored.file, stored.remote, stored.status, resumed=True)
                self._carry_on(batch)

    def _are_own(self, keys: Iterable[bytes]) -> bool:
        """Whether requests, which all are for one model, are for this one."""
        return all(json.loads(self._journal.asked(key))["model"] == self._endpoint.model for key in islice(keys, 1))

    async def ask(self, key: bytes, asked: bytes, again: bool = False) -> Found:
        """The raw reply to a request, or why there is none; None where the run that meant to send it ended before.

        `asked` is the request's canonical JSON; `again` says that it was sent before. One caller at a time for a key.
        Raises Stopped, and OSError from the journal.
        """
        if key not in self._futures:
            self._futures[key] = asyncio.get_running_loop().create_future()
            self._enqueue(key, _Queued(asked, again))
        self._wanted.add(key)
        return await self._futures[key]

    def stop(self, reason: Failure) -> None:
        """Send nothing more: whoever waits gets Stopped; batches under way stay under way, and in the journal."""
        self._queue.clear()
        self._give_up(list(self._futures), Stopped(reason))
        for task in self._tasks():
            task.cancel()

    async def close(self) -> None:
        """Let go of everything. What the endpoint works on goes on there."""
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._carrying, *([self._gathering] if self._gathering else [])]

    # From requests to batches

    def _enqueue(self, key: bytes, queued: _Queued) -> None:
        self._queue[key] = queued
        self._count += 1
        if len(self._queue) >= self._most:
            self._full.set()
        if self._gathering is None or self._gathering.done():
            self._gathering = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        while self._queue:
            await self._lull()
            if self._one_at_a_time and self._carrying:
                await asyncio.wait(self._carrying)
            taken = self._take()
            batch = Batch(secrets.token_hex(8), time.time(), dict.fromkeys(taken))
            rows = [(key, queued.asked, queued.again) for key, queued in taken.items()]
            try:
                await self._journal.begin_batch(batch.name, self._endpoint.identity, self._endpoint.model, rows)
            except OSError as error:
                self._give_up(taken, error)
                return
            self._carry_on(batch)

    async def _lull(self) -> None:
        """Return when a file is full, or when nobody has asked for a while and nobody is being answered."""
        count = -1
        while (count != self._count or self._reading) and not self._full.is_set():
            count = self._count
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LULL):
                    await self._full.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def _take(self) -> dict[bytes, _Queued]:
        """As many waiting requests as one file may hold."""
        taken: dict[bytes, _Queued] = {}
        size = 0
        for key, queued in islice(self._queue.items(), self._most):
            size += len(queued.asked) + OVERHEAD
            if taken and size > MOST_BYTES:
                break
            taken[key] = queued
        for key in taken:
            del self._queue[key]
        self._full.clear()
        if len(self._queue) >= self._most:
            self._full.set()
        return taken

    # From batches to replies

    def _carry_on(self, batch: Batch) -> None:
        for key in batch.keys:
            if key not in self._futures:
                self._futures[key] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry(batch))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, batch: Batch) -> None:
        """A batch from wherever it stands to its end, or to the end of the run."""
        try:
            await self._brought_home(batch)
        except Broken as broken:
            self._abandon(batch, broken)
        except Exception as error:
            wanted = self._wants(batch)
            self._give_up(batch.keys, error)
            if not wanted:
                raise
        finally:
            self._running.discard(batch.name)
            self._reading.discard(batch.name)

    async def _brought_home(self, batch: Batch) -> None:
        try:
            if batch.remote is None and batch.resumed and not await self._courier.find(batch):
                await self._settle(batch, map(unsent, batch.keys))
                return
            if batch.remote is None and not await self._submitted(batch):
                return
            self._say(
                f"{batch}: {len(batch.keys):,} requests under way; if this run ends, the same line goes on with it"
            )
            self._running.add(batch.name)
            remote = await self._courier.ended(batch)
            self._running.discard(batch.name)
            self._reading.add(batch.name)
            await self._take_in(batch, remote)
        except Broken as broken:
            if not (broken.unknown and batch.remote and self._ways.ask_lost):
                raise
            self._say(f"{batch} is not known any more; its {len(batch.keys):,} requests are asked again")
            await self._settle(batch, map(missing, batch.keys))

    async def _submitted(self, batch: Batch) -> bool:
        """Send a batch; False where its file is too large, and its requests wait for smaller ones."""
        try:
            await self._courier.submit(batch)
        except Broken as broken:
            if broken.failure.kind != "context_length" or len(batch.keys) == 1:
                raise
            self._most = len(batch.keys) // 2
            await self._requeue(batch, broken.failure)
        return batch.remote is not None

    async def _take_in(self, batch: Batch, remote: Remote) -> None:
        """The replies of a batch that has ended, into the journal and to those who wait."""
        if remote.status == "failed":
            await self._refused(batch, remote.problems)
            return
        for _ in range(READS):
            lines = [
                await self._courier.read(batch, file, lambda results: self._settle(batch, results))
                for file in remote.files
            ]
            if not batch.keys or sum(lines) >= remote.done:
                break
        if remote.status == "cancelled" and batch.keys and batch.watched:
            await self._journal.settle(cancelled(key).row() for key in batch.keys)
            raise Broken(failure("server", "it was cancelled at the endpoint", fatal=True))
        lost = {"expired": expired, "cancelled": cancelled}.get(remote.status, missing)
        await self._settle(batch, map(lost, batch.keys))
        self._say(f"{batch}: {remote.status}, {batch.replies:,} replies, {batch.failures:,} without")

    async def _settle(self, batch: Batch, results: Iterable[Result]) -> None:
        """Results into the journal, then to who waits for them."""
        found = list(results)
        if not found:
            return
        await self._journal.settle(result.row() for result in found)
        for result in found:
            batch.replies += isinstance(result.found, bytes)
            batch.failures += isinstance(result.found, Failure)
            batch.keys.pop(result.key, None)
            self._wanted.discard(result.key)
            future = self._futures.pop(result.key, None)
            if future is not None and not future.done():
                future.set_result(result.found)

    async def _refused(self, batch: Batch, problems: tuple[Problem, ...]) -> None:
        """A batch that failed its validation, of which nothing was billed: ask again for what was not at fault."""
        keys = list(batch.keys)
        at = {problem.line: problem for problem in problems if problem.line and problem.line <= len(keys)}
        whole = next((problem for problem in problems if problem.line not in at), None)
        if whole is not None and _too_much(whole):
            self._one_at_a_time = True
            if not self._running:
                if len(keys) == 1:
                    raise Broken(_reason(whole))
                self._most = max(1, len(keys) // 2)
        elif whole is not None or not at or any(_reason(problem).fatal for problem in at.values()):
            why = _reason(whole or next(iter(at.values()), None))
            await self._journal.settle(refused(key, why).row() for key in keys)
            raise Broken(why)
        self._say(f"{batch}: failed its validation, {problems[0].message}")
        bad = [refused(keys[line - 1], _reason(problem)) for line, problem in at.items() if line]
        await self._settle(batch, bad)
        await self._requeue(batch, _reason(whole))

    async def _requeue(self, batch: Batch, why: Failure) -> None:
        """The requests of a batch that was not accepted wait for another one."""
        keys = list(batch.keys)
        await self._journal.settle(refused(key, why).row() for key in keys)
        batch.keys.clear()
        for key in keys:
            self._enqueue(key, _Queued(self._journal.asked(key), again=True))

    # When something goes wrong

    def _abandon(self, batch: Batch, broken: Broken) -> None:
        """Nothing more can be done for a batch: the run stops, unless nobody in it wants the batch's replies."""
        message = f"{self._endpoint.base_url}, {batch}: {broken.failure.message}"
        if broken.unknown and batch.remote:
            message += "; with the key of its account the same line goes on"
            message += f", --retry-failed asks again for its {len(batch.keys):,} requests"
        elif broken.unknown:
            message += "; does it take batches? --lane batch needs /files and /batches"
        reason = replace(broken.failure, message=message, retry=False, fatal=True)
        wanted = self._wants(batch)
        self._give_up(batch.keys, Stopped(reason))
        if wanted:
            self._stop(reason)
        else:
            self._say(f"{message}; left as it is")

    def _wants(self, batch: Batch) -> bool:
        """Whether anybody in this run waits for a reply of this batch."""
        return not self._wanted.isdisjoint(batch.keys)

    def _give_up(self, keys: Iterable[bytes], error: Exception) -> None:
        for key in keys:
            future = self._futures.get(key)
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # marks it as seen: there may be nobody who waits


def _too_much(problem: Problem) -> bool:
    """Whether more tokens wait in batches than the account may have waiting."""
    return problem.code == "token_limit_exceeded" or "enqueued token" in problem.message.lower()


def _reason(problem: Problem | None) -> Failure:
    """A problem of the validation as a failure: no other try would help."""
    if problem is None:
        return failure("server", "the batch failed its validation", retry=False)
    found = classify({"error": {"code": problem.code, "message": problem.message or problem.code}})
    return replace(found, retry=False)
