"""Takes batches to the endpoint and their replies back; calls that break are made again while that may help.

A call that begins a batch and breaks may have begun it all the same, so the batch is looked for before it is begun
again: by our name for it, which the endpoint keeps as metadata, or by its file.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import BinaryIO, TypeVar, cast

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from datatools.llm.batch_api import ENDED, BatchApi, Broken, Remote
from datatools.llm.batch_lines import Result, read_line, request_line
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, failure
from datatools.llm.journal import Journal

POLL = 30.0  # seconds between two looks at a batch
PATIENCE = 1800.0  # times the backoff: how long a call to the endpoint is made again
UNREACHABLE = 35.0  # the same where nobody has ever been there
LONGEST_BACKOFF = 60  # times the backoff
ROWS = 64  # lines of a file whose results go on together

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ways:
    """How batches are dealt with."""

    backoff: float = 1.0  # seconds, as in the runner's settings
    poll: float = POLL
    ask_lost: bool = False  # a batch that the endpoint does not know any more is given up, and its requests asked again


@dataclass(slots=True)
class Batch:
    """A batch under way; `keys` are the requests that have not come back, in the order of its file."""

    name: str
    begun: float  # Unix time
    keys: dict[bytes, None]
    file: str | None = None  # the endpoint's ids, as far as they are known
    remote: str | None = None
    status: str | None = None
    resumed: bool = False  # it is of an earlier run
    watched: bool = False  # it was seen before it ended
    replies: int = 0  # that were read in this run
    failures: int = 0

    def __str__(self) -> str:
        return f"batch {self.remote or self.name}"


class Courier:
    """Deals with one endpoint. Methods raise Broken when trying again does not help, OSError from the journal."""

    def __init__(self, endpoint: Endpoint, journal: Journal, ways: Ways, say: Callable[[str], None]) -> None:
        self._endpoint, self._journal, self._ways, self._say = endpoint, journal, ways, say
        self._api = BatchApi(endpoint)
        self._answered = False
        self._backoff = wait_random_exponential(ways.backoff, ways.backoff * LONGEST_BACKOFF)

    async def submit(self, batch: Batch) -> None:
        """Upload the batch's file and begin it."""
        file = await self._persist(lambda: self._upload(batch))
        await self._journal.batch_uploaded(batch.name, file)
        first = True

        async def create() -> Remote:
            nonlocal first
            found = None if first else await self._look_for(batch, file)
            first = False
            return found or await self._api.create(batch.name, file)

        await self._begun(batch, await self._persist(create))

    async def find(self, batch: Batch) -> bool:
        """Whether the endpoint has a batch whose run ended before it knew."""
        if batch.file is None:
            return False
        file = batch.file
        remote = await self._persist(lambda: self._look_for(batch, file))
        if remote is not None:
            await self._begun(batch, remote)
        return remote is not None

    async def ended(self, batch: Batch) -> Remote:
        """Look at a batch until it has ended."""
        assert batch.remote is not None
        name, tenths = batch.remote, 0
        while True:
            remote = await self._persist(lambda: self._api.look(name))
            if remote.total and tenths < (tenths := 10 * remote.done // remote.total) < 10:
                self._say(f"{batch}: {remote.done:,} of {remote.total:,} requests done")
            if remote.status != batch.status:
                batch.status = remote.status
                await self._journal.batch_seen(batch.name, name, remote.status)
            if remote.status in ENDED:
                return remote
            batch.watched = True
            await asyncio.sleep(self._ways.poll)

    async def read(self, batch: Batch, file: str, settle: Callable[[Iterable[Result]], Awaitable[None]]) -> int:
        """Give `settle` what a file says of the batch's keys, ROWS at a time, and take them off the batch there.

        Returns the number of lines. What was settled before the file broke off is not settled again.
        """
        return await self._persist(lambda: self._read(batch, file, settle))

    async def _upload(self, batch: Batch) -> str:
        names = self._endpoint.names()
        lines = cast(BinaryIO, tempfile.TemporaryFile(dir=self._journal.path.parent))  # noqa: SIM115 # upload closes it
        for number, key in enumerate(batch.keys):
            lines.write(request_line(key, self._journal.asked(key), self._api.url, names))
            if number % ROWS == 0:
                await asyncio.sleep(0)
        lines.seek(0)
        return await self._api.upload(batch.name, lines)

    async def _look_for(self, batch: Batch, file: str) -> Remote | None:
        """The batch at the endpoint, which is given a second chance to show it."""
        found = await self._api.find(batch.name, file, batch.begun)
        if found is None:
            await asyncio.sleep(self._ways.poll)
            found = await self._api.find(batch.name, file, batch.begun)
        return found

    async def _begun(self, batch: Batch, remote: Remote) -> None:
        batch.remote, batch.status = remote.id, remote.status
        await self._journal.batch_seen(batch.name, remote.id, remote.status)

    async def _read(self, batch: Batch, file: str, settle: Callable[[Iterable[Result]], Awaitable[None]]) -> int:
        results: dict[bytes, Result] = {}
        number = 0
        try:
            async with contextlib.aclosing(self._api.lines(file)) as lines:
                async for line in lines:
                    result = read_line(line, self._endpoint.api_key)
                    if result is None:
                        raise Broken(failure("malformed", f"file {file}: a line is not one of a batch's"))
                    number += 1
                    # The requests of a batch that was cancelled are dealt with together.
                    if result.key in batch.keys and result.event != "cancelled":
                        results.setdefault(result.key, self._renamed(result))
                    if len(results) == ROWS:
                        await settle(results.values())
                        results = {}
        except Broken:
            await settle(results.values())
            raise
        await settle(results.values())
        if not number:
            raise Broken(failure("malformed", f"file {file} is empty"))
        return number

    def _renamed(self, result: Result) -> Result:
        """A request that was refused for the name of a parameter is asked again with the other one."""
        found = result.found
        if not (isinstance(found, Failure) and self._endpoint.wants_other_name(found.message)):
            return result
        return replace(result, found=replace(found, retry=True))

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


def _broken(state: RetryCallState) -> Broken:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Broken)
    return error
