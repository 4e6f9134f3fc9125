"""What the runners of a cluster share: one gate for each model, and one budget, which one actor owns.

A runner says what its calls do (`tell`) and hears which of them may go on, at once or later (`hear`); many calls are in
one message. The gates and the budget are those of a single runner, so that a refusal that one node meets slows all, and
every cap holds for all of them together. Calls of a node that is lost are taken off the wire here, and count as billed.

Nothing here knows of Ray.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from datatools.llm.limits import Limit, Place
from datatools.llm.money import Budget, Need, Reservation, Spent

GATHER_SECONDS = 0.001  # answers that come so close together are one message
LISTEN_SECONDS = 20.0  # after which a runner that heard nothing asks anew

Message: TypeAlias = tuple[Any, ...]  # kind, number of the call, values
Answer: TypeAlias = tuple[int, float | None]  # number of what was asked, `spent`; None: the budget is spent
_Name: TypeAlias = tuple[str, int]  # runner, number


@dataclass(slots=True)
class _Placed:
    """A call that was let through: its place is forgotten when it has left the wire and its outcome was told."""

    limit: Limit
    place: Place
    left: bool = False
    told: bool = False


@dataclass(slots=True)
class _Box:
    """Answers that a runner has not heard."""

    answers: list[Answer] = field(default_factory=list)
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def empty(self) -> list[Answer]:
        self.filled.clear()
        found, self.answers = self.answers, []
        return found


@dataclass(frozen=True, slots=True)
class State:
    """What is shown of a gate: calls in flight at most, calls a second at most, calls in flight."""

    limit: float
    rate: float | None
    in_flight: int


class Owner:
    """Owns the limits of the models, in their order, and the budget."""

    def __init__(self, limits: Sequence[Limit], budget: Budget | None = None) -> None:
        self._limits, self._budget = limits, budget
        self._boxes: dict[str, _Box] = defaultdict(_Box)
        self._waiting: dict[_Name, asyncio.Task[None]] = {}
        self._placed: dict[_Name, _Placed] = {}
        self._held: dict[_Name, Reservation] = {}
        self._lost: set[str] = set()

    async def tell(self, runner: str, messages: Sequence[Message]) -> list[Answer]:
        """What a runner's calls did, in this order; returns the answers that are there."""
        if runner in self._lost:  # it is on its own, and what it held is given back
            return []
        for kind, number, *values in messages:
            _KINDS[kind](self, (runner, number), *values)
        await asyncio.sleep(0)  # what may go on at once does so now
        return self._boxes[runner].empty()

    async def hear(self, runner: str) -> list[Answer]:
        """Wait for answers."""
        box = self._boxes[runner]
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await box.filled.wait()
        except TimeoutError:
            return []
        await asyncio.sleep(GATHER_SECONDS)
        return box.empty()

    async def lose(self, runner: str) -> int:
        """The runner is gone: its calls are off the wire and may have been billed. Returns how many they were."""
        self._lost.add(runner)
        for name in [name for name in self._waiting if name[0] == runner]:
            self._waiting.pop(name).cancel()
        gone = [name for name in self._placed if name[0] == runner]
        under_way = sum(not self._placed[name].left for name in gone)
        for name in gone:
            if not self._placed[name].left:
                self._leave(name)
            self._placed.pop(name, None)
        for name in [name for name in self._held if name[0] == runner]:
            assert self._budget is not None
            self._budget.lose(self._held.pop(name))
        return under_way

    async def learn(self, kind: str, completion_tokens: float) -> None:
        """A reply of an earlier run was that long."""
        if self._budget is not None:
            self._budget.learned(kind, completion_tokens)

    async def pay(self, cost: float) -> None:
        """A call that an earlier run made turned out to cost so much."""
        if self._budget is not None:
            self._budget.pay(cost)

    async def state(self) -> tuple[list[State], float]:
        """Of every gate, and what is spent."""
        states = [State(one.control.limit, one.control.rate, one.in_flight) for one in self._limits]
        return states, 0.0 if self._budget is None else self._budget.spent

    def _enter(self, name: _Name, model: int, tokens: float) -> None:
        self._waiting[name] = asyncio.create_task(self._let_in(name, self._limits[model], tokens))

    async def _let_in(self, name: _Name, limit: Limit, tokens: float) -> None:
        self._placed[name] = _Placed(limit, await limit.enter(tokens))
        self._answer(name)

    def _leave(self, name: _Name) -> None:
        if name in self._waiting:
            self._waiting.pop(name).cancel()
            return
        placed = self._placed[name]
        placed.left = True
        placed.limit.leave(placed.place)
        if placed.told:
            del self._placed[name]

    def _outcome(self, name: _Name) -> _Placed:
        placed = self._placed[name]
        placed.told = True
        if placed.left:
            del self._placed[name]
        return placed

    def _taken(self, name: _Name, tokens: float, work: float) -> None:
        placed = self._outcome(name)
        placed.limit.taken(placed.place, tokens, work)

    def _refused(self, name: _Name, wait: float | None) -> None:
        placed = self._outcome(name)
        placed.limit.refused(placed.place, wait)

    def _failed(self, name: _Name, timed_out: bool) -> None:
        placed = self._outcome(name)
        placed.limit.failed(placed.place, timed_out)

    def _reserve(self, name: _Name, need: Need) -> None:
        self._waiting[name] = asyncio.create_task(self._hold(name, need))

    async def _hold(self, name: _Name, need: Need) -> None:
        assert self._budget is not None
        try:
            self._held[name] = await self._budget.hold(need)
        except Spent:
            self._answer(name, spent=True)
        else:
            self._answer(name)

    def _free(self, name: _Name) -> None:
        if name in self._waiting:
            self._waiting.pop(name).cancel()
        elif self._budget is not None and name in self._held:
            self._budget.free(self._held.pop(name))

    def _miss(self, name: _Name) -> None:
        assert self._budget is not None
        self._budget.lose(self._held.pop(name))

    def _settle(self, name: _Name, prompt_tokens: int, completion_tokens: float) -> None:
        assert self._budget is not None
        self._budget.paid(self._held.pop(name), prompt_tokens, completion_tokens)

    def _answer(self, name: _Name, spent: bool = False) -> None:
        self._waiting.pop(name, None)
        box = self._boxes[name[0]]
        box.answers.append((name[1], None if spent else 0.0 if self._budget is None else self._budget.spent))
        box.filled.set()


_KINDS: dict[str, Any] = {
    "enter": Owner._enter,
    "leave": Owner._leave,
    "taken": Owner._taken,
    "refused": Owner._refused,
    "failed": Owner._failed,
    "reserve": Owner._reserve,
    "free": Owner._free,
    "lose": Owner._miss,
    "settle": Owner._settle,
}
