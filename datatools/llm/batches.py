"""Requests that are sent together as a file: the lane of providers' batches, at half the price and within a day.

Whoever asks waits; when nobody has asked for a moment, all that wait become one batch. A batch and its requests are in
the journal before anything is sent, then the id of its file, then its own, then its replies as they are read. So a run
may be killed at any point: the next one looks for a batch that may have been sent and keeps what came back of it; only
what was never sent is free to be asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import BinaryIO, TypeAlias, TypeVar, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from datatools.llm.batch_api import ENDED, MOST_BYTES, MOST_REQUESTS, BatchApi, Broken, Problem, Remote
from datatools.llm.batch_lines import (
    OVERHEAD,
    Result,
    cancelled,
    expired,
    missing,
    read_line,
    refused,
    request_line,
    unsent,
)
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped, classify, failure
from datatools.llm.journal import Journal, StoredBatch

POLL = 30.0  # seconds between two looks at a batch
LULL = 0.1  # seconds without a new request after which those that wait are sent
TURNS = 4  # of the loop after them: who was held up by a busy loop asks in these
PATIENCE = 1800.0  # times the backoff: how long a call to the endpoint is made again
UNREACHABLE = 35.0  # the same where nobody has ever been there
LONGEST_BACKOFF = 60  # times the backoff
ROWS = 64  # of a file that go into the journal together
READS = 3  # of files that have fewer lines than the batch has replies, before these are given up

T = TypeVar("T")
Found: TypeAlias = bytes | Failure | None  # None: the batch was never sent


@dataclass(frozen=True, slots=True)
class Ways:
    """How batches are dealt with."""

    backoff: float = 1.0  # seconds, as in the runner's settings
    poll: float = POLL
    ask_lost: bool = False  # a batch that the endpoint does not know any more is given up, and its requests asked again


@dataclass(frozen=True, slots=True)
class _Queued:
    asked: bytes  # canonical JSON
    again: bool


@dataclass(slots=True)
class _Batch:
    """A batch under way; `keys` are the requests that have not come back, in the order of its file."""

    name: str
    begun: float
    keys: dict[bytes, None]
    file: str | None = None
    remote: str | None = None
    status: str | None = None
    resumed: bool = False  # it is of an earlier run
    watched: bool = False  # it was seen before it ended
    replies: int = 0  # that were read in this run
    failures: int = 0

    def __str__(self) -> str:
        return f"batch {self.remote or self.name}"


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
        self._api = BatchApi(endpoint)
        self._futures: dict[bytes, asyncio.Future[Found]] = {}  # of all requests that wait, in a batch or for one
        self._wanted: set[bytes] = set()  # of these, the ones that somebody in this run asked for
        self._queue: dict[bytes, _Queued] = {}
        self._count = 0  # requests that were ever queued
        self._full = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._running: set[str] = set()  # names of batches that the endpoint works on
        self._most = MOST_REQUESTS
        self._one_at_a_time = False
        self._answered = False
        self._backoff = wait_random_exponential(ways.backoff, ways.backoff * LONGEST_BACKOFF)

    @property
    def in_flight(self) -> int:
        """Requests in batches that have not come back."""
        return len(self._futures) - len(self._queue)

    def waits(self, key: bytes) -> bool:
        """Whether a request waits in a batch, of this run or an earlier one."""
        return key in self._futures

    def resume(self) -> None:
        """Go on with the batches that earlier runs left under way."""
        for stored in self._journal.batches():
            if stored.endpoint == self._endpoint.identity:
                self._carry_on(_resumed(stored, self._journal.waiting(stored.name)))

    async def ask(self, key: bytes, asked: bytes, again: bool = False) -> Found:
        """The raw reply to a request, or why there is none; None where the run that meant to send it ended before.

        Raises Stopped, and OSError from the journal.

        `asked` is the request's canonical JSON; `again` says that it was sent before. One caller at a time for a key.
        """
        if key not in self._futures:
            self._futures[key] = asyncio.get_running_loop().create_future()
            self._enqueue(key, _Queued(asked, again))
        self._wanted.add(key)
        return await self._futures[key]

    def stop(self, reason: Failure) -> None:
        """Whoever waits gets Stopped; batches under way stay under way, and in the journal."""
        self._queue.clear()
        self._give_up(list(self._futures), Stopped(reason))

    async def close(self) -> None:
        """Let go of everything. What the endpoint works on goes on there."""
        tasks = [*self._carrying, *([self._gathering] if self._gathering else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
            if not taken:
                continue
            batch = _Batch(secrets.token_hex(8), time.time(), dict.fromkeys(taken))
            rows = [(key, queued.asked, queued.again) for key, queued in taken.items()]
            try:
                await self._journal.begin_batch(batch.name, self._endpoint.identity, self._endpoint.model, rows)
            except OSError as error:
                self._give_up(taken, error)
                return
            self._carry_on(batch)

    async def _lull(self) -> None:
        """Return when nobody has asked for a while, or when a file is full."""
        count = -1
        while count != self._count and not self._full.is_set():
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

    def _carry_on(self, batch: _Batch) -> None:
        for key in batch.keys:
            if key not in self._futures:
                self._futures[key] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._carry(batch))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, batch: _Batch) -> None:
        """A batch from wherever it stands to its end."""
        try:
            try:
                if batch.remote is None and not await (self._find(batch) if batch.resumed else self._submit(batch)):
                    return
                remote = await self._ended(batch)
                await self._take_in(batch, remote)
            except Broken as broken:
                if not (broken.unknown and batch.remote and self._ways.ask_lost):
                    raise
                self._say(f"{batch} is not known any more; its {len(batch.keys):,} requests are asked again")
                await self._settle(batch, map(missing, batch.keys))
        except Broken as broken:
            self._abandon(batch, broken)
        except Exception as error:
            wanted = self._wants(batch)
            self._give_up(batch.keys, error)
            if not wanted:
                raise

    async def _submit(self, batch: _Batch) -> bool:
        """Upload the file and begin the batch."""
        file = await self._persist(lambda: self._upload(batch))
        await self._journal.batch_uploaded(batch.name, file)
        first = True

        async def create() -> Remote:
            nonlocal first
            found = None if first else await self._look_for(batch, file)
            first = False  # a call that broke may have begun it all the same
            return found or await self._api.create(batch.name, file)

        await self._begun(batch, await self._persist(create))
        return True

    async def _find(self, batch: _Batch) -> bool:
        """Whether an earlier run sent a batch, which ended before it knew; else its requests are free to be asked."""
        if batch.file is not None:
            file = batch.file
            remote = await self._persist(lambda: self._look_for(batch, file))
            if remote is not None:
                await self._begun(batch, remote)
                return True
        await self._settle(batch, map(unsent, batch.keys))
        return False

    async def _look_for(self, batch: _Batch, file: str) -> Remote | None:
        """The batch at the endpoint, which is given a second chance to show it."""
        found = await self._api.find(batch.name, file, batch.begun)
        if found is None:
            await asyncio.sleep(self._ways.poll)
            found = await self._api.find(batch.name, file, batch.begun)
        return found

    async def _begun(self, batch: _Batch, remote: Remote) -> None:
        batch.remote, batch.status = remote.id, remote.status
        await self._journal.batch_seen(batch.name, remote.id, remote.status)
        self._say(f"{batch}: {len(batch.keys):,} requests sent; if this run ends, the same line goes on with it")

    async def _upload(self, batch: _Batch) -> str:
        names = self._endpoint.names()
        lines = cast(BinaryIO, tempfile.TemporaryFile(dir=self._journal.path.parent))  # noqa: SIM115 # upload closes it
        for number, key in enumerate(batch.keys):
            lines.write(request_line(key, self._journal.asked(key), self._api.url, names))
            if number % ROWS == 0:
                await asyncio.sleep(0)
        lines.seek(0)
        return await self._api.upload(batch.name, lines)

    async def _ended(self, batch: _Batch) -> Remote:
        """Look at a batch until it has ended."""
        assert batch.remote is not None
        name = batch.remote
        self._running.add(batch.name)
        try:
            while True:
                remote = await self._persist(lambda: self._api.look(name))
                if remote.status != batch.status:
                    batch.status = remote.status
                    await self._journal.batch_seen(batch.name, name, remote.status)
                if remote.status in ENDED:
                    return remote
                batch.watched = True
                await asyncio.sleep(self._ways.poll)
        finally:
            self._running.discard(batch.name)

    async def _take_in(self, batch: _Batch, remote: Remote) -> None:
        """The replies of a batch that has ended, into the journal and to those who wait."""
        if remote.status == "failed":
            await self._refused(batch, remote.problems)
            return
        for _ in range(READS):
            lines = [await self._persist(partial(self._read, batch, file)) for file in remote.files]
            if not batch.keys or sum(lines) >= remote.done:
                break
        if remote.status == "cancelled" and batch.keys and batch.watched:
            await self._journal.settle(cancelled(key).row() for key in batch.keys)
            raise Broken(failure("server", "it was cancelled at the endpoint", fatal=True))
        lost = {"expired": expired, "cancelled": cancelled}.get(remote.status, missing)
        await self._settle(batch, map(lost, batch.keys))
        self._say(f"{batch}: {remote.status}, {batch.replies:,} replies, {batch.failures:,} without")

    async def _read(self, batch: _Batch, file: str) -> int:
        """The number of lines in one file of a batch. What was read before it broke off is settled only once."""
        results: dict[bytes, Result] = {}
        number = 0
        try:
            async with contextlib.aclosing(self._api.lines(file)) as lines:
                async for line in lines:
                    result = read_line(line, self._endpoint.api_key)
                    if result is None:
                        raise Broken(failure("malformed", f"file {file}: a line is not one of a batch's"))
                    number += 1
                    if result.key in batch.keys and result.event != "cancelled":  # of those below
                        results.setdefault(result.key, self._renamed(result))
                    if len(results) == ROWS:
                        await self._settle(batch, results.values())
                        results = {}
        finally:
            await self._settle(batch, results.values())
        if not number:
            raise Broken(failure("malformed", f"file {file} is empty"))
        return number

    def _renamed(self, result: Result) -> Result:
        """A request that was refused for the name of a parameter is asked again with the other one."""
        found = result.found
        if not (isinstance(found, Failure) and self._endpoint.wants_other_name(found.message)):
            return result
        return replace(result, found=replace(found, retry=True))

    async def _settle(self, batch: _Batch, results: Iterable[Result]) -> None:
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

    async def _refused(self, batch: _Batch, problems: tuple[Problem, ...]) -> None:
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
        elif whole is not None or not at:
            await self._journal.settle(refused(key, _reason(whole)).row() for key in keys)
            raise Broken(_reason(whole))
        self._say(f"{batch}: failed its validation, {problems[0].message}")
        bad = [refused(keys[line - 1], _reason(problem)) for line, problem in at.items() if line]
        await self._settle(batch, bad)
        rest = list(batch.keys)
        await self._journal.settle(refused(key, _reason(whole)).row() for key in rest)
        batch.keys.clear()
        for key in rest:
            self._enqueue(key, _Queued(self._journal.asked(key), again=True))

    # When something goes wrong

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of a call to the endpoint, made again while its errors may pass; raises Broken after that."""

        def wait(state: RetryCallState) -> float:
            broken = _broken(state)
            self._answered = self._answered or broken.failure.kind not in ("connection", "timeout")
            return max(self._backoff(state), min(broken.failure.retry_after or 0.0, PATIENCE))

        def stop(state: RetryCallState) -> bool:
            nobody = _broken(state).failure.unreachable and not self._answered
            patience = UNREACHABLE if nobody else PATIENCE
            return (state.seconds_since_start or 0.0) >= patience * self._ways.backoff

        async def once() -> T:  # tenacity awaits what it can tell is a coroutine function
            return await call()

        again = retry_if_exception(lambda error: isinstance(error, Broken) and error.failure.retry)
        found: T = await AsyncRetrying(retry=again, wait=wait, stop=stop, reraise=True)(once)
        self._answered = True
        return found

    def _abandon(self, batch: _Batch, broken: Broken) -> None:
        """Nothing more can be done for a batch: the run stops, unless nobody in it wants the batch's replies."""
        message = f"{self._endpoint.base_url}, {batch}: {broken.failure.message}"
        if broken.unknown:
            message += (
                f"; with the key of its account the same line goes on, --retry-failed asks again for its "
                f"{len(batch.keys):,} requests"
                if batch.remote
                else "; does it take batches? --lane batch needs /files and /batches"
            )
        reason = replace(broken.failure, message=message, retry=False, fatal=True)
        wanted = self._wants(batch)
        self._give_up(batch.keys, Stopped(reason))
        if wanted:
            self._stop(reason)
        else:
            self._say(f"{message}; left as it is")

    def _wants(self, batch: _Batch) -> bool:
        """Whether anybody in this run waits for a reply of this batch."""
        return not self._wanted.isdisjoint(batch.keys)

    def _give_up(self, keys: Iterable[bytes], error: Exception) -> None:
        for key in keys:
            future = self._futures.get(key)
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # marks it as seen: there may be nobody who waits


def _resumed(stored: StoredBatch, keys: list[bytes]) -> _Batch:
    return _Batch(stored.name, stored.at, dict.fromkeys(keys), stored.file, stored.remote, stored.status, resumed=True)


def _broken(state: RetryCallState) -> Broken:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Broken)
    return error


def _too_much(problem: Problem) -> bool:
    """Whether more tokens wait in batches than the account may have waiting."""
    return problem.code == "token_limit_exceeded" or "enqueued token" in problem.message.lower()


def _reason(problem: Problem | None) -> Failure:
    """A problem of the validation as a failure: no other try would help."""
    if problem is None:
        return failure("server", "the batch failed its validation", retry=False)
    found = classify({"error": {"code": problem.code, "message": problem.message or problem.code}})
    return replace(found, retry=False)
