"""How many calls are in flight."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Limit:
    """A gate that lets `maximum` calls through at once, and none during a cooldown.

    A call holds its place only while it is on the wire (`async with limit:`), never while it waits to be tried again.
    """

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError(f"at least one call must be in flight at a time, not {maximum}")
        self._places = asyncio.Semaphore(maximum)
        self._closed_until = 0.0
        self._released = asyncio.Event()
        self.in_flight = 0

    def cool_down(self, seconds: float) -> None:
        """Let no call start for `seconds`; a longer cooldown that is running already stays."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    def release(self) -> None:
        """Forget the cooldown, now and later: the run is ending and who waits here must hear of it."""
        self._released.set()

    async def __aenter__(self) -> None:
        while True:
            await self._cooled_down()
            await self._places.acquire()
            if self._remaining() <= 0:
                self.in_flight += 1
                return
            self._places.release()  # another call was pushed back while this one waited for a place

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.in_flight -= 1
        self._places.release()

    async def _cooled_down(self) -> None:
        while (seconds := self._remaining()) > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._released.wait()
            except TimeoutError:
                continue

    def _remaining(self) -> float:
        if self._released.is_set():
            return 0.0
        return self._closed_until - asyncio.get_running_loop().time()
