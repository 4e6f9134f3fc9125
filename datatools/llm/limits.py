"""The gate in front of an endpoint: what may start now, and who waits."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Protocol

from datatools.llm.control import Call, Control

MINUTE = 60.0
TICK = 1e-6  # seconds: shorter waits are none
BURST_SECONDS = 0.5  # of a minute's allowance that may come at once


class PerMinute:
    """A cap on what starts within any 60 seconds, spread evenly: `--rpm` and `--tpm`.

    An amount larger than the cap itself may start when the minute before it was empty.
    """

    def __init__(self, cap: float) -> None:
        self._cap = cap
        self._entries: deque[list[float]] = deque()  # time and amount
        self._sum = 0.0
        self._due = -math.inf

    def wait(self, now: float, amount: float) -> float:
        """Seconds until `amount` may start, unless something else starts before."""
        while self._entries and self._entries[0][0] + MINUTE <= now:
            self._sum -= self._entries.popleft()[1]
        spread = self._due - now
        over = self._sum + amount - self._cap
        if over <= 0 or not self._entries:
            return max(0.0, spread)
        for at, old in self._entries:
            over -= old
            if over <= 0:
                return max(spread, at + MINUTE - now)
        return max(spread, self._entries[-1][0] + MINUTE - now)

    def add(self, now: float, amount: float) -> list[float]:
        """`amount` starts; the entry it is kept under."""
        self._due = max(self._due, now - BURST_SECONDS) + amount * MINUTE / self._cap
        self._entries.append([now, amount])
        self._sum += amount
        return self._entries[-1]

    def settle(self, entry: list[float], amount: float) -> None:
        """What started turned out to be `amount`."""
        if self._entries and entry[0] >= self._entries[0][0]:
            self._sum += amount - entry[1]
            self._due += (amount - entry[1]) * MINUTE / self._cap
        entry[1] = amount


class Place:
    """A call that was let through the gate."""

    __slots__ = ("call", "tokens")

    def __init__(self, call: Call, tokens: list[float] | None) -> None:
        self.call = call
        self.tokens = tokens


class Gate(Protocol):
    """What a Runner's calls go through: a `Limit`, or one that several runners share."""

    @property
    def in_flight(self) -> int:
        """Calls on the wire."""

    async def enter(self, tokens: float = 0.0) -> Place:
        """Wait for a place; `tokens` is what the call will use of `tpm`."""

    def leave(self, place: Place) -> None:
        """The call is not on the wire any more."""

    def taken(self, place: Place, tokens: float, work: float) -> None:
        """A reply came that used `tokens` in all; `work` as in `Control.taken`."""

    def refused(self, place: Place, wait: float | None) -> None:
        """The endpoint asked to slow down, and everyone to wait `wait` seconds where it said so."""

    def failed(self, place: Place, timed_out: bool = False) -> None:
        """The call ended without a reply for another reason."""

    def release(self) -> None:
        """Let everyone through: the run is ending."""


class Limit:
    """Lets calls through as `control` and the caps allow, first come first served.

    A call holds its place only while it is on the wire, never while it waits to be tried again. Every place must be
    left, and what came of the call be told with one of `taken`, `refused` and `failed`.
    """

    def __init__(self, control: Control, rpm: float | None = None, tpm: float | None = None) -> None:
        self.control = control
        self._rpm = None if rpm is None else PerMinute(rpm)
        self._tpm = None if tpm is None else PerMinute(tpm)
        self._waiting: deque[tuple[asyncio.Future[Place], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._released = False

    @property
    def in_flight(self) -> int:
        """Calls on the wire."""
        return self.control.in_flight

    async def enter(self, tokens: float = 0.0) -> Place:
        """Wait for a place; `tokens` is what the call will use of `tpm`."""
        if not self._waiting and self._wait(tokens) <= 0:
            return self._start(tokens)
        place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, tokens))
        self._admit()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(place.result())
            raise

    def leave(self, place: Place) -> None:
        """The call is not on the wire any more."""
        self.control.leave()
        self._admit()

    def taken(self, place: Place, tokens: float, work: float) -> None:
        """A reply came that used `tokens` in all; `work` as in `Control.taken`."""
        self._settle(place, tokens)
        self.control.taken(place.call, self._now(), work)
        self._admit()

    def refused(self, place: Place, wait: float | None) -> None:
        """The endpoint asked to slow down, and everyone to wait `wait` seconds where it said so."""
        self._settle(place, 0.0)
        now = self._now()
        if wait:
            self.control.close(now + wait)
        self.control.refused(place.call, now)

    def failed(self, place: Place, timed_out: bool = False) -> None:
        """The call ended without a reply for another reason."""
        self.control.failed(place.call, self._now(), timed_out)

    def release(self) -> None:
        """Let everyone through, now and later: the run is ending and who waits here must hear of it."""
        self._released = True
        self._admit()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wait(self, tokens: float) -> float:
        if self._released:
            return 0.0
        now = self._now()
        wait = self.control.wait(now)
        if self._rpm is not None:
            wait = max(wait, self._rpm.wait(now, 1))
        if self._tpm is not None:
            wait = max(wait, self._tpm.wait(now, tokens))
        return wait if wait > TICK else 0.0

    def _start(self, tokens: float) -> Place:
        now = self._now()
        if self._rpm is not None:
            self._rpm.add(now, 1)
        entry = None if self._tpm is None else self._tpm.add(now, tokens)
        return Place(self.control.start(now), entry)

    def _settle(self, place: Place, tokens: float) -> None:
        if self._tpm is not None and place.tokens is not None:
            self._tpm.settle(place.tokens, tokens)

    def _admit(self) -> None:
        """Let through who may start, and come back when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            place, tokens = self._waiting[0]
            if place.done():  # its caller was cancelled
                self._waiting.popleft()
                continue
            wait = self._wait(tokens)
            if wait > 0:
                if wait < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._waiting.popleft()
            place.set_result(self._start(tokens))
